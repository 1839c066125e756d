// Package osv reads advisories in the Open Source Vulnerability format
// (https://ossf.github.io/osv-schema/, 1.0 to 1.7): a file, a folder, or the
// zip files that databases publish.
package osv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
)

// What an advisory may have. The largest in public databases have some
// thousand packages, and some ten thousand versions.
const (
	maxDocument   = 16 << 20
	maxElements   = 400_000 // objects, and members of objects and arrays
	maxAffected   = 50_000
	maxVersions   = 500_000 // of all packages
	maxEvents     = 100_000 // of all packages
	maxNames      = 5_000   // aliases, upstream, related
	maxReferences = 500
	maxID         = 256
	maxName       = 1024
	maxVersion    = 512
	maxVector     = 256
	maxSummary    = 1 << 10
	maxDetails    = 32 << 10
	maxURL        = 2 << 10
)

// document is an advisory as it is written.
type document struct {
	ID         string           `json:"id"`
	Modified   string           `json:"modified"`
	Published  string           `json:"published"`
	Withdrawn  string           `json:"withdrawn"`
	Aliases    []string         `json:"aliases"`
	Upstream   []string         `json:"upstream"`
	Related    []string         `json:"related"`
	Summary    string           `json:"summary"`
	Details    string           `json:"details"`
	Severity   []severity       `json:"severity"`
	Affected   []affected       `json:"affected"`
	References []reference      `json:"references"`
	Database   documentDatabase `json:"database_specific"`
}

type severity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type reference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

type affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Severity []severity `json:"severity"`
	Ranges   []struct {
		Type   string  `json:"type"`
		Events []event `json:"events"`
	} `json:"ranges"`
	Versions  []string `json:"versions"`
	Ecosystem vendor   `json:"ecosystem_specific"`
	Database  vendor   `json:"database_specific"`
}

type event struct {
	Introduced   *string `json:"introduced"`
	Fixed        *string `json:"fixed"`
	LastAffected *string `json:"last_affected"`
	Limit        *string `json:"limit"`
}

// Parse reads one advisory. Errors are of kind [tidewaiter.Invalid].
//
// An advisory that says less than it might is read as far as it goes; one that
// could be misunderstood is refused: without an id, withdrawn at what is no time,
// or with packages beyond the limits.
func Parse(text []byte) (tidewaiter.Advisory, error) {
	if len(text) > maxDocument {
		return tidewaiter.Advisory{}, tidewaiter.Errorf(tidewaiter.TooLarge, "an advisory may have up to %d bytes", maxDocument)
	}
	if elements(text) > maxElements {
		return tidewaiter.Advisory{}, tidewaiter.Errorf(tidewaiter.TooLarge, "an advisory may have up to %d elements", maxElements)
	}
	var d document
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &d); err != nil {
		return tidewaiter.Advisory{}, tidewaiter.Wrap(tidewaiter.Invalid, err, "this is no advisory in OSV format")
	}
	a := tidewaiter.Advisory{
		ID:      d.ID,
		Summary: cut(d.Summary, maxSummary),
		Details: cut(d.Details, maxDetails),
		Kind:    d.kind(),
	}
	if !isName(a.ID, maxID) {
		return a, tidewaiter.InvalidField("id", "has to be there, of up to %d characters that can be printed", maxID)
	}
	var err error
	// An advisory with a time that is none is better than none at all.
	a.Modified, _ = parseTime("modified", d.Modified)
	a.Published, _ = parseTime("published", d.Published)
	if a.Withdrawn, err = parseTime("withdrawn", d.Withdrawn); err != nil {
		return a, err
	}
	if a.Aliases, err = names("aliases", d.Aliases); err != nil {
		return a, err
	}
	if a.Upstream, err = names("upstream", d.Upstream); err != nil {
		return a, err
	}
	if a.Related, err = names("related", d.Related); err != nil {
		return a, err
	}
	a.Severities = severities(d.Severity)
	if len(a.Severities) == 0 {
		a.Severities = d.Database.severities()
	}
	for _, r := range d.References[:min(len(d.References), maxReferences)] {
		if len(r.URL) <= maxURL && len(r.Type) <= maxID && utf8.ValidString(r.URL) {
			a.References = append(a.References, tidewaiter.Reference{Type: r.Type, URL: r.URL})
		}
	}
	a.Affected, err = packages(d.Affected)
	return a, err
}

// elements counts what becomes a value in memory: a short text of commas and
// braces can take a hundred times its size.
func elements(text []byte) int {
	n := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', ',', '[':
			n++
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}
	return n
}

// kind returns what the advisory is about, where that is no vulnerability.
func (d *document) kind() string {
	if strings.HasPrefix(d.ID, "MAL-") {
		return "malicious"
	}
	if isName(string(d.Database.Informational), maxID) {
		return string(d.Database.Informational)
	}
	for _, a := range d.Affected {
		if isName(string(a.Database.Informational), maxID) { // RustSec
			return string(a.Database.Informational)
		}
	}
	return ""
}

// parseTime reads a time. What is before the year 1 in UTC is not there.
func parseTime(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() > 9999 {
		return time.Time{}, tidewaiter.InvalidField(field, "has to be a time as in RFC 3339, such as 2026-01-31T12:00:00Z")
	}
	if t = t.UTC().Truncate(time.Second); t.Year() < 1970 {
		return time.Time{}, nil
	}
	return t, nil
}

// names returns a list of ids, less what is no id, and what comes twice.
func names(field string, list []string) ([]string, error) {
	if len(list) > maxNames {
		return nil, tidewaiter.InvalidField(field, "may have up to %d entries", maxNames)
	}
	var kept []string
	for _, name := range list {
		if isName(name, maxID) {
			kept = append(kept, name)
		}
	}
	slices.Sort(kept)
	return slices.Compact(kept), nil
}

func packages(list []affected) ([]tidewaiter.Affected, error) {
	if len(list) > maxAffected {
		return nil, tidewaiter.InvalidField("affected", "may have up to %d packages", maxAffected)
	}
	var found []tidewaiter.Affected
	versions, events := 0, 0
	for i := range list {
		a := &list[i]
		if a.Package.Ecosystem == "" && a.Package.Name == "" {
			continue // of a repository, by commits
		}
		field := fmt.Sprintf("affected[%d]", i)
		if !isName(a.Package.Ecosystem, maxID) || !isName(a.Package.Name, maxName) {
			return nil, tidewaiter.InvalidField(field+".package", "has to have an ecosystem and a name that can be printed")
		}
		versions += len(a.Versions)
		for _, r := range a.Ranges {
			events += len(r.Events)
		}
		if versions > maxVersions || events > maxEvents {
			return nil, tidewaiter.InvalidField(field, "goes beyond %d versions and %d events in an advisory", maxVersions, maxEvents)
		}
		p := tidewaiter.Affected{
			Ecosystem:  a.Package.Ecosystem,
			Name:       a.Package.Name,
			Severities: severities(a.Severity),
			Versions:   slices.DeleteFunc(a.Versions, func(v string) bool { return v == "" || len(v) > maxVersion }),
			Stand:      a.stand(),
			Urgency:    a.urgency(),
		}
		if len(p.Severities) == 0 {
			p.Severities = a.vendorSeverities(p.Urgency)
		}
		var err error
		if p.Ranges, err = a.ranges(field); err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, nil
}

func (a *affected) ranges(field string) ([]tidewaiter.VersionRange, error) {
	var ranges []tidewaiter.VersionRange
	for i, r := range a.Ranges {
		kind := tidewaiter.RangeType(r.Type)
		switch kind {
		case tidewaiter.SemVerRange, tidewaiter.EcosystemRange:
		case tidewaiter.GitRange:
			continue // nobody asks about commits
		default:
			return nil, tidewaiter.InvalidField(fmt.Sprintf("%s.ranges[%d].type", field, i), "has to be SEMVER, ECOSYSTEM or GIT")
		}
		found := tidewaiter.VersionRange{Type: kind}
		for _, e := range r.Events {
			event, err := e.read()
			if err != nil {
				return nil, tidewaiter.InvalidField(fmt.Sprintf("%s.ranges[%d].events", field, i), "%s", err)
			}
			found.Events = append(found.Events, event...)
		}
		ranges = append(ranges, found)
	}
	return ranges, nil
}

// read returns what happens in a version. The schema allows one thing in each
// object; old records have an introduction and a fix in one.
func (e event) read() ([]tidewaiter.VersionEvent, error) {
	var list []tidewaiter.VersionEvent
	for _, is := range []struct {
		kind    tidewaiter.EventKind
		version *string
	}{
		{tidewaiter.Introduced, e.Introduced}, {tidewaiter.Fixed, e.Fixed},
		{tidewaiter.LastAffected, e.LastAffected}, {tidewaiter.Limit, e.Limit},
	} {
		if is.version == nil {
			continue
		}
		if *is.version == "" || len(*is.version) > maxVersion {
			return nil, errors.New("each has to have a version of up to 512 characters")
		}
		list = append(list, tidewaiter.VersionEvent{Kind: is.kind, Version: *is.version})
	}
	return list, nil
}

// isName tells whether a text can be a key and be printed.
func isName(s string, limit int) bool {
	return s != "" && len(s) <= limit && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// cut returns as much of a text as there is room for, as UTF-8.
func cut(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		s = s[:max(len(s)-1, 0)] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
