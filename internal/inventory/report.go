package inventory

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// The longest texts that are kept of what a component reports, in characters.
const (
	maxWord     = 128   // kinds, parts of a platform, an owner
	maxReason   = 512   // why something is as it is
	maxChildren = 1_000 // images of one index
	maxSize     = 1 << 50
	maxCount    = 1_000_000_000
	maxSkipped  = 100 // kinds and reasons of one report
)

// A repositoryReport is a report that was checked: its names and digests are
// well formed, its texts short and harmless, its numbers and times sane.
type repositoryReport struct {
	name, owner, problem string
	manifests            []tidewaiter.Manifest
	tags                 []protocol.Tag
	complete             bool
	skipped              []tidewaiter.Skipped
}

// checkReport refuses a report that no honest component sends, and cuts down
// what may come from a registry. Errors are of kind Invalid.
func checkReport(p protocol.RepositoryReport, now time.Time) (repositoryReport, error) {
	r := repositoryReport{name: p.Name, owner: clean(p.Owner, maxWord), problem: clean(p.Problem, maxReason), complete: p.Complete}
	if reason := registry.CheckRepository(p.Name); reason != "" {
		// A name that no repository may have is reported for its problem alone.
		if r.problem == "" || len(p.Tags)+len(p.Manifests) > 0 {
			return r, tidewaiter.InvalidField("name", "is no repository's: %s; report it with its problem, and without tags and manifests", reason)
		}
		if r.name = clean(p.Name, maxReason/2); r.name == "" {
			return r, tidewaiter.InvalidField("name", "is empty; name the repository")
		}
	}
	switch {
	case len(p.Manifests) > protocol.MaxReport:
		return r, tidewaiter.InvalidField("manifests", "has more than %d entries; send them in several reports", protocol.MaxReport)
	case len(p.Tags) > protocol.MaxReport:
		return r, tidewaiter.InvalidField("tags", "has more than %d entries; send them in several reports", protocol.MaxReport)
	case len(p.Skipped) > protocol.MaxReport:
		return r, tidewaiter.InvalidField("skipped", "has more than %d entries; count by kind and reason", protocol.MaxReport)
	}
	var err error
	seen := make(map[tidewaiter.Digest]bool, len(p.Manifests))
	for _, m := range p.Manifests {
		checked, err := checkManifest(m, now)
		if err != nil {
			return r, err
		}
		if !seen[checked.Digest] {
			seen[checked.Digest] = true
			r.manifests = append(r.manifests, checked)
		}
	}
	if r.tags, err = checkTags(p.Tags, now); err != nil {
		return r, err
	}
	if p.Complete {
		r.skipped = checkSkipped(p.Skipped)
	}
	return r, nil
}

// checkTags refuses names that no tag has and digests that are none. Of a name
// that comes twice the last stands: a tag is one thing.
func checkTags(tags []protocol.Tag, now time.Time) ([]protocol.Tag, error) {
	checked := make([]protocol.Tag, 0, len(tags))
	at := make(map[string]int, len(tags))
	for _, t := range tags {
		if reason := registry.CheckTag(t.Name); reason != "" {
			return nil, tidewaiter.InvalidField("tags", "has one that is none: %s; count it as skipped", reason)
		}
		if _, err := tidewaiter.ParseDigest(string(t.Digest)); err != nil {
			return nil, err
		}
		t.Pushed = saneTime(t.Pushed, now)
		if i, twice := at[t.Name]; twice {
			checked[i] = t
			continue
		}
		at[t.Name] = len(checked)
		checked = append(checked, t)
	}
	return checked, nil
}

func checkManifest(m protocol.Manifest, now time.Time) (tidewaiter.Manifest, error) {
	var none tidewaiter.Manifest
	digest, err := tidewaiter.ParseDigest(string(m.Digest))
	if err != nil {
		return none, err
	}
	kind := registry.ArtifactKind(m.Kind)
	if !isKnown(kind) {
		return none, tidewaiter.InvalidField("kind", "of a manifest is unknown; see the protocol's list of kinds")
	}
	checked := tidewaiter.Manifest{Digest: digest, MediaType: clean(m.MediaType, maxWord), Kind: m.Kind, Reason: clean(m.Reason, maxReason)}
	if !kind.Scannable() && checked.Reason == "" {
		checked.Reason = "the scan component does not say why" // never empty: it would look as if it could be scanned
	}
	if !kind.IsImage() {
		return checked, nil
	}
	if m.Size < 0 || m.Size > maxSize {
		return none, tidewaiter.InvalidField("size", "of a manifest is below zero or beyond all measure; give the bytes of config and layers")
	}
	image := digest
	if m.ConfigDigest != "" && kind != registry.KindIndex {
		if image, err = tidewaiter.ParseDigest(string(m.ConfigDigest)); err != nil {
			return none, err
		}
	}
	_, checked.ImageID, _ = strings.Cut(string(image), ":")
	checked.Size, checked.Created = m.Size, saneTime(m.Created, now)
	if kind != registry.KindIndex {
		if len(m.Children) > 0 {
			return none, tidewaiter.InvalidField("children", "belong to an index, and this manifest is none")
		}
		checked.Platform = tidewaiter.Platform{
			OS: clean(m.OS, maxWord), Architecture: clean(m.Architecture, maxWord),
			Variant: clean(m.Variant, maxWord), OSVersion: clean(m.OSVersion, maxWord),
		}
		return checked, nil
	}
	checked.Children, err = checkChildren(digest, m.Children)
	return checked, err
}

func checkChildren(index tidewaiter.Digest, children []tidewaiter.Digest) ([]tidewaiter.Digest, error) {
	switch {
	case len(children) == 0:
		return nil, tidewaiter.InvalidField("children", "of an index are missing; an index without images is no image")
	case len(children) > maxChildren:
		return nil, tidewaiter.InvalidField("children", "of an index are more than %d; list only the images", maxChildren)
	}
	seen := map[tidewaiter.Digest]bool{index: true}
	list := make([]tidewaiter.Digest, 0, len(children))
	for _, c := range children {
		d, err := tidewaiter.ParseDigest(string(c))
		if err != nil {
			return nil, err
		}
		if !seen[d] {
			list = append(list, d)
		}
		seen[d] = true
	}
	if len(list) == 0 {
		return nil, tidewaiter.InvalidField("children", "of an index are only itself")
	}
	return list, nil
}

func isKnown(k registry.ArtifactKind) bool {
	switch k {
	case registry.KindAttestation, registry.KindSignature, registry.KindHelmChart, registry.KindArtifact:
		return true
	}
	return k.IsImage()
}

// checkSkipped sums up by kind and reason. What says nothing is left out.
func checkSkipped(list []protocol.Skipped) []tidewaiter.Skipped {
	type key struct{ kind, reason string }
	at := make(map[key]int)
	var sums []tidewaiter.Skipped
	for _, p := range list {
		k := key{clean(p.Kind, maxWord), clean(p.Reason, maxReason)}
		if p.Count <= 0 || k.kind == "" {
			continue
		}
		i, known := at[k]
		if !known {
			if len(sums) == maxSkipped {
				continue
			}
			i, at[k] = len(sums), len(sums)
			sums = append(sums, tidewaiter.Skipped{Kind: k.kind, Reason: k.reason, Example: clean(p.Example, maxWord)})
		}
		sums[i].Count = min(sums[i].Count+min(p.Count, maxCount), maxCount)
	}
	return sums
}

// checkAccess makes a report fit to be shown: known steps in their order, each
// once, with short and harmless texts. A check with a failed step failed.
func checkAccess(p protocol.AccessReport) protocol.AccessReport {
	r := protocol.AccessReport{FailReason: failCode(p.FailReason), Steps: []protocol.Step{}}
	for _, name := range []string{"dns", "tcp", "tls", "auth", "list", "pull"} {
		for _, step := range p.Steps {
			if step.Name != name {
				continue
			}
			if step.Status != "ok" && step.Status != "skipped" {
				step.Status = "failed"
			}
			if step.Status == "failed" && r.FailReason == "" {
				r.FailReason = tidewaiter.FailServer
			}
			step.Microseconds = max(0, min(step.Microseconds, time.Hour.Microseconds()))
			step.Message = clean(step.Message, protocol.MaxMessage)
			r.Steps = append(r.Steps, step)
			break
		}
	}
	for _, w := range p.Warnings[:min(len(p.Warnings), 20)] {
		if w = clean(w, protocol.MaxMessage); w != "" {
			r.Warnings = append(r.Warnings, w)
		}
	}
	return r
}

// failCode returns a reason in the contract's codes, "" for none.
func failCode(code string) string {
	switch code {
	case "", tidewaiter.FailRequestAPI:
		return code
	}
	return tidewaiter.FailServer
}

// checkProgress returns what may be kept of a component's numbers.
func checkProgress(p protocol.Progress) tidewaiter.WorkProgress {
	n := func(i int) int { return max(0, min(i, maxCount)) }
	return tidewaiter.WorkProgress{
		Repositories: n(p.Repositories), RepositoriesDone: n(p.RepositoriesDone),
		Images: n(p.Images), Skipped: n(p.Skipped), Requests: n(p.Requests),
	}
}

// saneTime drops times that nothing was made at: before 2000, as tools write
// that want the same bytes each time, and in the future.
func saneTime(t, now time.Time) time.Time {
	if t.Year() < 2000 || t.After(now.Add(24*time.Hour)) {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// clean makes a text from outside fit for one line of anything: valid UTF-8
// without controls, separators of lines and invisible characters that turn the
// direction of text, and at most limit characters.
func clean(s string, limit int) string {
	if len(s) > 8*limit {
		s = s[:8*limit] // more than can be left, so that cutting is cheap
	}
	s = strings.ToValidUTF8(s, "�")
	s = strings.Map(func(r rune) rune {
		switch {
		case ' ' <= r && r < 0x7f:
			return r
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control), !unicode.IsPrint(r) && !unicode.IsSpace(r):
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}
