package advisory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
)

// build builds an index of advisories in a new folder.
func build(t testing.TB, list ...tidewaiter.Advisory) advisory.Built {
	t.Helper()
	b := advisory.NewBuilder(t.TempDir())
	for _, a := range list {
		if err := b.Add(a); err != nil {
			t.Fatal(err)
		}
	}
	built, err := b.Finish(context.Background())
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	return built
}

// open opens an index until the test ends.
func open(t testing.TB, built advisory.Built) *advisory.Index {
	t.Helper()
	x, err := advisory.Open(built.Path, built.Digest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// simple returns an advisory about the versions of a package before a fix.
func simple(id, ecosystem, name, fixed string) tidewaiter.Advisory {
	r := tidewaiter.VersionRange{Type: tidewaiter.EcosystemRange, Events: []tidewaiter.VersionEvent{{Kind: tidewaiter.Introduced, Version: "0"}}}
	if fixed != "" {
		r.Events = append(r.Events, tidewaiter.VersionEvent{Kind: tidewaiter.Fixed, Version: fixed})
	}
	return tidewaiter.Advisory{
		ID: id, Modified: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Affected: []tidewaiter.Affected{{Ecosystem: ecosystem, Name: name, Ranges: []tidewaiter.VersionRange{r}}},
	}
}

// many returns advisories about made-up packages.
func many(n int) []tidewaiter.Advisory {
	list := make([]tidewaiter.Advisory, n)
	for i := range list {
		list[i] = simple(fmt.Sprintf("T-%06d", i), "npm", fmt.Sprintf("pkg-%d", i%(n/2+1)), fmt.Sprintf("1.%d.0", i%7))
		list[i].Aliases = []string{fmt.Sprintf("CVE-%d", i)}
		list[i].Details = fmt.Sprintf("Something %d", i)
	}
	return list
}

// TestSameBytes builds from the same advisories in any order.
func TestSameBytes(t *testing.T) {
	list := many(5000)
	first := build(t, list...)
	for range 3 {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		if again := build(t, list...); again.Digest != first.Digest {
			t.Fatalf("%s, and then %s", first.Digest, again.Digest)
		}
	}
	if filepath.Base(first.Path) != advisory.FileName(first.Digest) {
		t.Errorf("%s is called %s", first.Digest, first.Path)
	}
	if entries, err := os.ReadDir(filepath.Dir(first.Path)); err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// TestLastChangeCounts has two advisories of one id.
func TestLastChangeCounts(t *testing.T) {
	older, newer := simple("A-1", "npm", "a", "1.0.0"), simple("A-1", "npm", "a", "2.0.0")
	newer.Modified = older.Modified.Add(time.Hour)
	for _, list := range [][]tidewaiter.Advisory{{older, newer}, {newer, older}, {older, newer, older}} {
		built := build(t, list...)
		if built.Meta.Advisories != 1 || built.Meta.Entries != 1 || !built.Meta.Newest.Equal(newer.Modified) {
			t.Errorf("%+v", built.Meta)
		}
		got, err := open(t, built).Match(tidewaiter.Package{Ecosystem: "npm", Name: "a", Version: "1.5.0"}, tidewaiter.Release{})
		if err != nil || len(got.Matches) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestMeta(t *testing.T) {
	withdrawn := simple("W-1", "npm", "w", "")
	withdrawn.Withdrawn = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	built := build(t, simple("A-1", "npm", "a", "1"), simple("A-2", "npm", "a", "2"), simple("D-1", "Debian:12", "openssl", "3"), withdrawn)
	built.Meta.Orders = 0
	want := advisory.Meta{
		Format: 1, Advisories: 4, Withdrawn: 1, Packages: 2, Entries: 3,
		Ecosystems: map[string]int{"npm": 1, "Debian:12": 1}, Newest: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, built.Meta); diff != "" {
		t.Error(diff)
	}
}

// TestAdvisory reads back what people read.
func TestAdvisory(t *testing.T) {
	a := simple("A-1", "npm", "a", "1")
	a.Published, a.Aliases, a.Upstream, a.Related = a.Modified.Add(-time.Hour), []string{"CVE-1"}, []string{"CVE-2"}, []string{"CVE-3"}
	a.Summary, a.Details, a.Kind = "Summary", "Details\x00ä", "unsound"
	a.References = []tidewaiter.Reference{{Type: "FIX", URL: "https://example.org"}}
	a.Severities = []tidewaiter.Severity{{Method: "CVSS_V3", Vector: "CVSS:3.1/AV:N", Score: 9.8, Level: tidewaiter.CriticalSeverity}}
	x := open(t, build(t, a, simple("B-1", "npm", "b", "1")))
	got, err := x.Advisory("A-1")
	want := a
	want.Affected = nil
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := x.Advisory("A-2"); tidewaiter.KindOf(err) != tidewaiter.NotFound {
		t.Error(err)
	}
	for name, want := range map[string][]string{"CVE-1": {"A-1"}, "CVE-2": {"A-1"}, "CVE-3": nil, "CVE": nil} {
		if got, err := x.About(name); err != nil || !slices.Equal(got, want) {
			t.Errorf("about %s: %v, %v", name, got, err)
		}
	}
}

// TestEachAdvisory finds each of many, of which dozens are packed together.
func TestEachAdvisory(t *testing.T) {
	list := many(3000)
	list[1500].Details = strings.Repeat("long ", 6000)
	x := open(t, build(t, list...))
	for _, want := range list {
		got, err := x.Advisory(want.ID)
		if err != nil || got.Details != want.Details || got.ID != want.ID {
			t.Fatalf("%s: %+v, %v", want.ID, got, err)
		}
	}
	for _, id := range []string{"", "A", "T-000000a", "T-9"} {
		if _, err := x.Advisory(id); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestOpenRefuses has files that are not what they should be.
func TestOpenRefuses(t *testing.T) {
	built := build(t, many(100)...)
	content, err := os.ReadFile(built.Path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(content)
	flipped[len(flipped)/2] ^= 1
	for name, is := range map[string]struct {
		content []byte
		digest  tidewaiter.Digest
		kind    tidewaiter.Kind
	}{
		"flipped":                  {flipped, built.Digest, tidewaiter.Conflict},
		"cut short":                {content[:len(content)-1], built.Digest, tidewaiter.Conflict},
		"empty":                    {nil, built.Digest, tidewaiter.Conflict},
		"empty, with its digest":   {nil, tidewaiter.DigestOf(nil), tidewaiter.Conflict},
		"text, with its digest":    {[]byte("hello"), tidewaiter.DigestOf([]byte("hello")), tidewaiter.Conflict},
		"flipped, with its digest": {flipMeta(content), tidewaiter.DigestOf(flipMeta(content)), tidewaiter.Conflict},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, is.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := advisory.Open(path, is.digest); tidewaiter.KindOf(err) != is.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := advisory.Open(filepath.Join(t.TempDir(), "none"), built.Digest); tidewaiter.KindOf(err) != tidewaiter.NotFound {
		t.Error(err)
	}
}

// flipMeta damages both of the pages that say where the rest is.
func flipMeta(content []byte) []byte {
	content = slices.Clone(content)
	content[20] ^= 1
	content[4096+20] ^= 1
	return content
}

// TestFinishLeavesNothing cancels, and takes the folder away.
func TestFinishLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	b := advisory.NewBuilder(folder)
	for _, a := range many(100) {
		if err := b.Add(a); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.Finish(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

func TestChanged(t *testing.T) {
	list := many(1000)
	list = append(list, simple("GONE", "npm", "gone", "1"), simple("D-1", "Debian:12", "openssl", "3"))
	older := open(t, build(t, list...))
	keys := func(a, b *advisory.Index) (found []string) {
		for key, err := range advisory.Changed(a, b) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, key.Ecosystem+"/"+key.Name)
		}
		return found
	}
	if got := keys(older, older); got != nil {
		t.Errorf("the same: %v", got)
	}
	change := func(change func(list []tidewaiter.Advisory) []tidewaiter.Advisory) []string {
		return keys(older, open(t, build(t, change(slices.Clone(list))...)))
	}
	for name, is := range map[string]struct {
		change func([]tidewaiter.Advisory) []tidewaiter.Advisory
		want   []string
	}{
		"new": {func(l []tidewaiter.Advisory) []tidewaiter.Advisory {
			return append(l, simple("N", "PyPI", "New.Name", "1"))
		}, []string{"PyPI/new-name"}},
		"gone": {func(l []tidewaiter.Advisory) []tidewaiter.Advisory { return slices.Delete(l, 1000, 1001) }, []string{"npm/gone"}},
		"fixed": {func(l []tidewaiter.Advisory) []tidewaiter.Advisory {
			l[1001] = simple("D-1", "Debian:12", "openssl", "4")
			return l
		}, []string{"Debian:12/openssl"}},
		"withdrawn": {func(l []tidewaiter.Advisory) []tidewaiter.Advisory { l[7].Withdrawn = l[7].Modified; return l }, []string{"npm/pkg-7"}},
		"alias":     {func(l []tidewaiter.Advisory) []tidewaiter.Advisory { l[8].Aliases = nil; return l }, []string{"npm/pkg-8"}},
		"severity by alias": {func(l []tidewaiter.Advisory) []tidewaiter.Advisory {
			s := tidewaiter.Advisory{ID: "CVE-9", Severities: []tidewaiter.Severity{{Method: "CVSS_V3", Vector: "v", Score: 5, Level: tidewaiter.MediumSeverity}}}
			return append(l, s)
		}, []string{"npm/pkg-9"}},
		"words": {func(l []tidewaiter.Advisory) []tidewaiter.Advisory {
			l[10].Summary, l[10].Details, l[10].Modified = "x", "y", l[10].Modified.Add(1e12)
			return l
		}, nil},
	} {
		if diff := cmp.Diff(is.want, change(is.change)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	if got := keys(nil, older); len(got) != older.Meta().Packages || !slices.IsSorted(got) && len(got) == 0 {
		t.Errorf("from nothing: %d of %d", len(got), older.Meta().Packages)
	}
	for _, err := range advisory.Changed(older, nil) {
		if err != nil {
			t.Error(err)
		}
		break // and no panic
	}
}
