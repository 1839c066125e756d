package inventory

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// hostile reports, which no honest component sends.
func hostile() map[string]protocol.RepositoryReport {
	image := imageOf("1")
	with := func(change func(m *protocol.Manifest)) protocol.RepositoryReport {
		m := image
		change(&m)
		return protocol.RepositoryReport{Name: "team/app", Manifests: []protocol.Manifest{m}, Complete: true}
	}
	tag := func(name, digest string) protocol.RepositoryReport {
		return protocol.RepositoryReport{Name: "team/app", Manifests: []protocol.Manifest{image}, Complete: true,
			Tags: []protocol.Tag{{Name: name, Digest: tidewaiter.Digest(digest)}}}
	}
	return map[string]protocol.RepositoryReport{
		"no name":              {Complete: true},
		"name of a path":       {Name: "../etc", Complete: true},
		"name with a control":  {Name: "team/\x00app", Complete: true},
		"long name":            {Name: strings.Repeat("a", 256), Complete: true},
		"bad name with tags":   {Name: "TEAM/app", Problem: "upper case", Tags: []protocol.Tag{{Name: "v1", Digest: image.Digest}}},
		"problem of nothing":   {Name: "\x1b\u202e", Problem: "?", Complete: true},
		"tag of a path":        tag("../v1", string(image.Digest)),
		"empty tag":            tag("", string(image.Digest)),
		"long tag":             tag(strings.Repeat("a", 129), string(image.Digest)),
		"tag in Arabic":        tag("\u0663", string(image.Digest)),
		"digest of a path":     tag("v1", "sha256:../../x"),
		"upper-case digest":    tag("v1", strings.ToUpper(string(image.Digest))),
		"md5":                  tag("v1", "md5:d41d8cd98f00b204e9800998ecf8427e"),
		"unknown manifest":     tag("v1", string(imageOf("never reported").Digest)),
		"manifest digest":      with(func(m *protocol.Manifest) { m.Digest = "sha256:0" }),
		"config digest":        with(func(m *protocol.Manifest) { m.ConfigDigest = "sha256:x" }),
		"kind":                 with(func(m *protocol.Manifest) { m.Kind = "<script>" }),
		"no kind":              with(func(m *protocol.Manifest) { m.Kind = "" }),
		"negative size":        with(func(m *protocol.Manifest) { m.Size = -1 }),
		"huge size":            with(func(m *protocol.Manifest) { m.Size = 1 << 62 }),
		"image with children":  with(func(m *protocol.Manifest) { m.Children = []tidewaiter.Digest{image.Digest} }),
		"index of nothing":     with(func(m *protocol.Manifest) { m.Kind = "index" }),
		"index of itself":      with(func(m *protocol.Manifest) { m.Kind, m.Children = "index", []tidewaiter.Digest{m.Digest} }),
		"index of the unknown": with(func(m *protocol.Manifest) { m.Kind, m.Children = "index", []tidewaiter.Digest{imageOf("2").Digest} }),
		"index of a bad digest": with(func(m *protocol.Manifest) {
			m.Kind, m.Children = "index", []tidewaiter.Digest{"sha256:../../x"}
		}),
		"index of a chart": {Name: "team/app", Manifests: []protocol.Manifest{chartOf("1"), indexOf(chartOf("1"))}},
		"index of an index": {Name: "team/app", Manifests: []protocol.Manifest{
			image, indexOf(image), {Digest: imageOf("outer").Digest, Kind: "index", Children: []tidewaiter.Digest{indexOf(image).Digest}}}},
		"index before its image": {Name: "team/app", Manifests: []protocol.Manifest{indexOf(image), image}},
		"many manifests":         {Name: "team/app", Manifests: slices.Repeat([]protocol.Manifest{image}, protocol.MaxReport+1)},
		"many tags":              {Name: "team/app", Tags: slices.Repeat([]protocol.Tag{{Name: "v1", Digest: image.Digest}}, protocol.MaxReport+1)},
		"many skipped":           {Name: "team/app", Complete: true, Skipped: make([]protocol.Skipped, protocol.MaxReport+1)},
	}
}

// TestHostileReports: they are refused as a whole, and nothing of them is kept.
func TestHostileReports(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.ready("harbor")
		_, l := w.lease("component-1", tidewaiter.SyncWork)
		for name, report := range hostile() {
			err := w.Report(ctx, l, report)
			if err == nil || tidewaiter.KindOf(err) != tidewaiter.Invalid {
				t.Errorf("%s: got %v", name, err)
			}
			list, n, err := w.db.Repositories(ctx, r.ID, store.Page{Limit: 10})
			w.ok(err)
			unknown, err := w.Unknown(ctx, l, []tidewaiter.Digest{imageOf("1").Digest, chartOf("1").Digest})
			w.ok(err)
			if n != 0 || len(unknown) != 2 || len(w.images()) != 0 {
				t.Fatalf("%s: something was kept: %+v", name, list)
			}
		}
		_, err := w.Unknown(ctx, l, []tidewaiter.Digest{"sha256:../../x"})
		w.wants(tidewaiter.Invalid, err)
		_, err = w.Unknown(ctx, l, make([]tidewaiter.Digest, protocol.MaxNames+1))
		w.wants(tidewaiter.Invalid, err)
		_, err = w.Pending(ctx, l, make([]string, protocol.MaxNames+1))
		w.wants(tidewaiter.Invalid, err)
		// An access check's lease reports no images.
		w.add(w.new("other"))
		_, check := w.lease("component-1", tidewaiter.AccessCheckWork)
		w.wants(tidewaiter.Invalid, w.Report(ctx, check, tagged("team/app", true, "v1", imageOf("1"))))
	})
}

// TestHostileTexts are cut down and shown.
func TestHostileTexts(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.ready("harbor")
		_, l := w.lease("component-1", tidewaiter.SyncWork)
		evil := "\x1b[2J\u202e<b>\x00" + strings.Repeat("é", 5000) + "\xff"
		m := imageOf("1")
		m.OS, m.Architecture, m.Variant, m.OSVersion, m.MediaType = evil, evil, evil, evil, evil
		m.Created = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)
		windows := imageOf("2")
		windows.Kind, windows.Reason = "windows image", evil
		report := tagged("team/app", true, "v1", m, "v2", windows)
		report.Owner = evil
		report.Tags[1].Pushed = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
		report.Skipped = []protocol.Skipped{
			{Kind: evil, Reason: evil, Count: 3, Example: evil}, {Kind: evil, Reason: evil, Count: 1 << 62},
			{Kind: "none", Count: -5}, {Kind: "\x00", Count: 1}}
		w.ok(w.Report(ctx, l, report))
		w.ok(w.Report(ctx, l, protocol.RepositoryReport{Name: "Bad \x1bName", Problem: evil, Complete: true}))
		list, _, err := w.Images(ctx, w.everything(), store.ImageFilter{}, store.Page{Limit: 10})
		w.ok(err)
		repositories, _, err := w.db.Repositories(ctx, r.ID, store.Page{Limit: 10})
		w.ok(err)
		skipped, err := w.db.SkippedOf(ctx, r.ID)
		w.ok(err)
		if len(list) != 2 || len(repositories) != 2 || len(skipped) != 1 || skipped[0].Count != maxCount {
			t.Errorf("%d images, %d repositories, skipped %+v", len(list), len(repositories), skipped)
		}
		for _, i := range list {
			if i.Updated.Year() != 2026 && i.Updated.Year() != 2025 {
				t.Errorf("%s was updated at %s", i.Tag, i.Updated)
			}
		}
		text, err := json.Marshal([]any{list, repositories, skipped})
		w.ok(err)
		if len(text) > 20_000 {
			t.Errorf("%d bytes are kept", len(text))
		}
		for _, r := range string(text) {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%q is kept", r)
			}
		}
		if strings.Contains(string(text), `\u001b`) || strings.Contains(string(text), `\u0000`) || strings.Contains(string(text), `\u202e`) {
			t.Errorf("kept: %s", text)
		}
	})
}

// TestUpdated is the rule of latest_update_time.
func TestUpdated(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.ready("harbor")
		old := imageOf("reproducible")
		old.Created = time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC)
		pushed := time.Date(2026, 2, 2, 2, 2, 2, 0, time.UTC)
		report := tagged("team/app", true, "pushed", imageOf("1"), "created", imageOf("2"), "seen", old)
		report.Tags[0].Pushed = pushed
		first := w.at()
		w.sync(report)
		w.pass(time.Hour)
		w.wish()
		w.sync(report)
		check := func(want map[string]time.Time) {
			t.Helper()
			list, _, err := w.Images(t.Context(), w.everything(), store.ImageFilter{}, store.Page{Limit: 10})
			w.ok(err)
			got := make(map[string]time.Time)
			for _, i := range list {
				got[i.Tag] = i.Updated
				if latest := i.Tag == "seen"; i.Latest != latest {
					t.Errorf("tag %s: latest %t", i.Tag, i.Latest)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		check(map[string]time.Time{"pushed": pushed, "created": imageOf("2").Created, "seen": first})
		// The tag moves to another digest.
		other := imageOf("another")
		other.Created = old.Created
		report = tagged("team/app", true, "pushed", imageOf("1"), "created", imageOf("2"), "seen", other)
		report.Tags[0].Pushed = pushed
		w.wish()
		w.sync(report)
		check(map[string]time.Time{"pushed": pushed, "created": imageOf("2").Created, "seen": w.at()})
	})
}

// TestProblem: a repository that could not be listed loses nothing.
func TestProblem(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r := w.ready("harbor")
		w.sync(tagged("team/app", true, "v1", imageOf("1"), "chart", chartOf("1")), tagged("team/b", true, "v1", imageOf("2")))
		w.wish()
		w.sync(protocol.RepositoryReport{Name: "team/app", Problem: "the registry answers 403", Complete: true}, tagged("team/b", true))
		if got, want := w.images(), (map[string]tidewaiter.Digest{"team/app:v1": imageOf("1").Digest}); !cmp.Equal(got, want) {
			t.Errorf("images: %s", cmp.Diff(want, got))
		}
		list, _, err := w.db.Repositories(t.Context(), r.ID, store.Page{Limit: 10})
		w.ok(err)
		for _, repository := range list {
			if wrong := repository.Name == "team/app"; (repository.Problem != "") != wrong {
				t.Errorf("%+v", repository)
			}
		}
		w.wish()
		w.sync(tagged("team/app", true, "v1", imageOf("1")))
		if got := w.images(); len(got) != 1 {
			t.Errorf("images %v", got)
		}
		skipped, err := w.db.SkippedOf(t.Context(), r.ID)
		w.ok(err)
		if len(skipped) != 0 {
			t.Errorf("skipped %+v, though the tag is gone", skipped)
		}
	})
}

// TestTagChangesWhatItIs: from an image to a chart and back.
func TestTagChangesWhatItIs(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r := w.ready("harbor")
		for i, step := range []struct {
			manifest protocol.Manifest
			images   int
			skipped  int
		}{{imageOf("1"), 1, 0}, {chartOf("1"), 0, 1}, {chartOf("1"), 0, 1}, {imageOf("1"), 1, 0}} {
			if i > 0 {
				w.wish()
			}
			report := tagged("team/app", true, "v1", step.manifest)
			work, l := w.lease("component-1", tidewaiter.SyncWork)
			for range 3 { // the same again changes nothing
				w.ok(w.Report(t.Context(), l, report))
			}
			w.ok(w.finish(work, l, done()))
			skipped, err := w.db.SkippedOf(t.Context(), r.ID)
			w.ok(err)
			count := 0
			for _, s := range skipped {
				count += s.Count
			}
			if got := len(w.images()); got != step.images || count != step.skipped || w.registry(r.ID).Images != step.images {
				t.Errorf("step %d: %d images, %d skipped, %+v", i, got, count, w.registry(r.ID))
			}
		}
	})
}

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"plain":                    "plain",
		" a\tb\r\nc ":              "a b  c",
		"\x1b[31mred\x07":          "[31mred",
		"a\u202eb\u2028c\u200dd":   "abcd",
		"\xff\xfe":                 "�",
		"Zürich 東京":                "Zürich 東京",
		strings.Repeat("é", 20):    strings.Repeat("é", 9) + "…",
		strings.Repeat("é", 10):    strings.Repeat("é", 10),
		strings.Repeat("a", 1_000): strings.Repeat("a", 9) + "…",
	} {
		if got := clean(text, 10); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		got := clean(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")), limit)
		if got != "" && tidewaiter.CheckText("text", got, limit) != nil {
			t.Fatalf("%q is no text", got)
		}
	})
}

// FuzzReport: what checkReport lets through is well formed, whatever comes.
func FuzzReport(f *testing.F) {
	for _, r := range hostile() {
		b, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 10_000 {
			f.Add(b)
		}
	}
	image := imageOf("1")
	good, err := json.Marshal(tagged("team/app", true, "v1", image, "v2", indexOf(image)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	now := start()
	f.Fuzz(func(t *testing.T, b []byte) {
		var p protocol.RepositoryReport
		if json.Unmarshal(b, &p) != nil {
			return
		}
		r, err := checkReport(p, now)
		if err != nil {
			if tidewaiter.KindOf(err) != tidewaiter.Invalid {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if problem := checkedWell(r, now); problem != "" {
			t.Fatal(problem)
		}
	})
}

// checkedWell says what is wrong with a report that was let through.
func checkedWell(r repositoryReport, now time.Time) string {
	bad := func(s string, limit int) bool { return s != "" && tidewaiter.CheckText("text", s, limit) != nil }
	sane := func(t time.Time) bool {
		return t.IsZero() || t.Year() >= 2000 && !t.After(now.Add(24*time.Hour))
	}
	if bad(r.name, 256) || bad(r.owner, maxWord) || bad(r.problem, maxReason) || !utf8.ValidString(r.name) {
		return fmt.Sprintf("texts of %+v", r)
	}
	if registry.CheckRepository(r.name) != "" && (r.problem == "" || len(r.tags)+len(r.manifests) > 0) {
		return fmt.Sprintf("name of %+v", r)
	}
	names := make(map[string]bool)
	for _, t := range r.tags {
		if _, err := tidewaiter.ParseDigest(string(t.Digest)); err != nil || registry.CheckTag(t.Name) != "" || names[t.Name] || !sane(t.Pushed) {
			return fmt.Sprintf("tag %+v", t)
		}
		names[t.Name] = true
	}
	for _, m := range r.manifests {
		if _, err := tidewaiter.ParseDigest(string(m.Digest)); err != nil || m.Size < 0 || !sane(m.Created) || bad(m.Reason, maxReason) ||
			bad(m.MediaType, maxWord) || bad(m.Platform.OS, maxWord) || bad(m.ImageID, 128) {
			return fmt.Sprintf("manifest %+v", m)
		}
		kind := registry.ArtifactKind(m.Kind)
		if (len(m.Children) > 0) != (kind == registry.KindIndex) || kind.IsImage() != (m.ImageID != "") || !kind.Scannable() && m.Reason == "" {
			return fmt.Sprintf("manifest %+v", m)
		}
	}
	for _, s := range r.skipped {
		if bad(s.Kind, maxWord) || bad(s.Reason, maxReason) || bad(s.Example, maxWord) || s.Count <= 0 || s.Count > maxCount {
			return fmt.Sprintf("skipped %+v", s)
		}
	}
	return ""
}

// TestAccessReports are made fit to be shown, and a failed step is a failure.
func TestAccessReports(t *testing.T) {
	got := checkAccess(protocol.AccessReport{
		FailReason: "",
		Steps: []protocol.Step{
			{Name: "tcp", Status: "<b>", Microseconds: -5, Message: "\x1bno"},
			{Name: "dns", Status: "ok", Microseconds: 1 << 62, Message: strings.Repeat("x", 5000)},
			{Name: "dns", Status: "failed"}, {Name: "evil", Status: "ok"},
		},
		Warnings: slices.Repeat([]string{"\x00", "careful"}, 100),
	})
	if got.FailReason != tidewaiter.FailServer || len(got.Steps) != 2 || got.Steps[0].Name != "dns" || got.Steps[1].Status != "failed" ||
		got.Steps[1].Microseconds != 0 || utf8.RuneCountInString(got.Steps[0].Message) != protocol.MaxMessage || len(got.Warnings) != 10 {
		t.Errorf("got %+v", got)
	}
}
