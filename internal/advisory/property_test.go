package advisory_test

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/advisory/osv"
)

// matched returns the ids of the advisories about a version.
func matched(t testing.TB, x *advisory.Index, ecosystem, name, version string) []string {
	t.Helper()
	p := tidewaiter.Package{Ecosystem: ecosystem, Name: name, Version: version}
	var release tidewaiter.Release
	if strings.HasPrefix(ecosystem, "Debian") {
		p = tidewaiter.Package{Type: "deb", Name: "lib" + name, Version: "99", SourceName: name, SourceVersion: version}
		release.Ecosystems = []string{ecosystem}
	}
	result, err := x.Match(p, release)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range result.Matches {
		ids = append(ids, m.AdvisoryID)
	}
	return ids
}

type m = map[string]any

// madeUp draws advisories about few packages with few versions, so that
// boundaries meet.
func madeUp(t *rapid.T) []m {
	ecosystem := rapid.SampledFrom([]string{"npm", "PyPI", "Debian:12", "Go"})
	boundary := rapid.SampledFrom(madeUpVersions)
	event := rapid.Custom(func(t *rapid.T) m {
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0, 1:
			return m{"introduced": "0"}
		case 2, 3, 4:
			return m{"introduced": boundary.Draw(t, "introduced")}
		case 5, 6, 7:
			return m{"fixed": boundary.Draw(t, "fixed")}
		case 8:
			return m{"last_affected": boundary.Draw(t, "last")}
		}
		return m{"limit": rapid.SampledFrom(append([]string{"*"}, madeUpVersions...)).Draw(t, "limit")}
	})
	affected := rapid.Custom(func(t *rapid.T) m {
		var ranges []m
		for range rapid.IntRange(0, 2).Draw(t, "ranges") {
			ranges = append(ranges, m{
				"type":   rapid.SampledFrom([]string{"ECOSYSTEM", "ECOSYSTEM", "SEMVER", "GIT"}).Draw(t, "type"),
				"events": rapid.SliceOfN(event, 1, 6).Draw(t, "events"),
			})
		}
		return m{
			"package":  m{"ecosystem": ecosystem.Draw(t, "ecosystem"), "name": rapid.SampledFrom([]string{"a", "b_B", "b.b"}).Draw(t, "name")},
			"ranges":   ranges,
			"versions": rapid.SliceOfN(boundary, 0, 3).Draw(t, "versions"),
		}
	})
	var list []m
	for i := range rapid.IntRange(1, 6).Draw(t, "advisories") {
		a := m{"id": fmt.Sprint("A-", i), "modified": "2026-01-01T00:00:00Z", "affected": rapid.SliceOfN(affected, 1, 3).Draw(t, "affected")}
		if rapid.IntRange(0, 9).Draw(t, "withdrawn") == 0 {
			a["withdrawn"] = "2026-01-01T00:00:00Z"
		}
		list = append(list, a)
	}
	return list
}

// madeUpVersions are versions in all of the orders.
var madeUpVersions = []string{
	"0.0.1", "0.9.0", "1.0.0-alpha.1", "1.0.0-rc.1", "1.0.0", "1.0.0+1", "1.0.1", "1.2.0", "1.10.0", "2.0.0-0", "2.0.0", "10.0.0",
}

// TestLikeTheSchema compares the index with the naive scan of all advisories,
// for random advisories, packages and versions.
func TestLikeTheSchema(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var list []tidewaiter.Advisory
		var naive []naiveAdvisory
		for _, a := range madeUp(rt) {
			text, err := json.Marshal(a)
			if err != nil {
				rt.Fatal(err)
			}
			parsed, err := osv.Parse(text)
			if err != nil {
				rt.Fatal(err)
			}
			list, naive = append(list, parsed), append(naive, naiveParse(t, text))
		}
		built := build(t, list...)
		x, err := advisory.Open(built.Path, built.Digest)
		if err != nil {
			rt.Fatal(err)
		}
		defer x.Close()
		for _, ecosystem := range []string{"npm", "PyPI", "Debian:12", "Go"} {
			for _, name := range []string{"a", "b_B", "b-b", "b.b", "c"} {
				for _, version := range madeUpVersions {
					got, want := matched(t, x, ecosystem, name, version), naiveMatch(naive, ecosystem, name, version)
					if !slices.Equal(got, want) {
						text, _ := json.MarshalIndent(naive, "", " ")
						rt.Fatalf("%s %s %s: %v, want %v\n%s", ecosystem, name, version, got, want, text)
					}
				}
			}
		}
		if err := os.RemoveAll(filepath.Dir(built.Path)); err != nil {
			rt.Fatal(err)
		}
	})
}

// TestManyReaders asks one index from many goroutines.
func TestManyReaders(t *testing.T) {
	x := open(t, build(t, many(300)...))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for i := range 300 {
				p := tidewaiter.Package{Ecosystem: "npm", Name: fmt.Sprint("pkg-", i%150), Version: "0.1.0"}
				if result, err := x.Match(p, tidewaiter.Release{}); err != nil || len(result.Matches) == 0 {
					t.Errorf("%+v: %+v, %v", p, result, err)
					return
				}
				if _, err := x.Advisory(fmt.Sprintf("T-%06d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

// maxPublished is about how many versions of a package are tried. The naive scan
// takes a minute for all those of tensorflow.
const maxPublished = 100

// unreadable has the advisories with a fix in what PEP 440 does not take for a
// version. The naive scan, as the schema says nothing about such, takes them to
// be before all others, and so nothing to be affected. For us what cannot be
// compared is affected, and says so (tidewaiter.ByUnreadableRange).
var unreadable = map[string]string{
	"PYSEC-2021-371": "fixed in 0.2.0-n653, a version of a Helm chart",
	"PYSEC-2019-125": "fixed in 2019-09-12, a day",
}

// TestLikeTheSchemaPublished compares the index of what databases published
// with the naive scan: for each package the boundaries of its advisories, and
// versions right before and after.
func TestLikeTheSchemaPublished(t *testing.T) {
	folder := os.Getenv("TIDEWAITER_OSV")
	if folder == "" {
		t.Skip("TIDEWAITER_OSV names no folder with advisories")
	}
	b := advisory.NewBuilder(t.TempDir())
	report, err := osv.Read(context.Background(), folder, osv.Limits{}, b.Add)
	if err != nil || report.Refused > 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	built, err := b.Finish(context.Background())
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	x := open(t, built)
	byPackage := published(t, folder)
	pairs, found, explained := 0, 0, 0
	for key, naive := range byPackage {
		ecosystem, name, _ := strings.Cut(key, "/")
		versions := slices.Sorted(maps.Keys(boundaries(naive, ecosystem, name)))
		for i, version := range versions {
			if n := len(versions) / maxPublished; n > 1 && i%n != 0 {
				continue
			}
			pairs++
			want := naiveMatch(naive, ecosystem, name, version)
			found += len(want)
			got := matched(t, x, ecosystem, name, version)
			if slices.Equal(got, want) {
				continue
			}
			got = slices.DeleteFunc(got, func(id string) bool { return unreadable[id] != "" && !slices.Contains(want, id) })
			if !slices.Equal(got, want) {
				t.Errorf("%s %s: %v, want %v", key, version, got, want)
				continue
			}
			explained++
		}
	}
	t.Logf("an index of %d bytes for %d of JSON", built.Size, report.Bytes)
	t.Logf("%d advisories, %d packages, %d versions of them, %d matches, %d differences that are explained", report.Read, len(byPackage), pairs, found, explained)
}

// published returns advisories by package: the naive scan of each would go
// through all advisories, of which all others are about other packages.
func published(t *testing.T, folder string) map[string][]naiveAdvisory {
	t.Helper()
	byPackage := make(map[string][]naiveAdvisory)
	zips, err := filepath.Glob(filepath.Join(folder, "*", "all.zip"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range zips {
		z, err := zip.OpenReader(name)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				t.Fatal(err)
			}
			a := naiveParse(t, text)
			seen := make(map[string]bool)
			for _, p := range a.Affected {
				key := p.Package.Ecosystem + "/" + p.Package.Name
				if p.Package.Ecosystem == "PyPI" {
					key = "PyPI/" + naivePython(p.Package.Name)
				}
				if !seen[key] {
					seen[key] = true
					byPackage[key] = append(byPackage[key], a)
				}
			}
		}
	}
	return byPackage
}

// boundaries returns the versions at which something changes for a package, and
// versions right before and after each.
func boundaries(list []naiveAdvisory, ecosystem, name string) map[string]bool {
	versions := map[string]bool{"0": true, "99999": true}
	add := func(v string) {
		before, after := v+"-0", v+".0-1" // SemVer: a pre-release, and a later one's
		switch {
		case strings.HasPrefix(ecosystem, "Debian"):
			before, after = v+"~", v+"+b1"
		case ecosystem == "PyPI":
			before, after = v+".dev0", v+".post1"
			if strings.Contains(v, "dev") || strings.Contains(v, "post") || strings.Contains(v, "+") {
				before, after = v, v
			}
		default:
			if strings.ContainsAny(v, "-+") {
				before, after = v, v+".0"
			} else if i := strings.LastIndex(v, "."); i > 0 {
				after = v[:i+1] + v[i+1:] + "0" // 1.2.3 and 1.2.30
			}
		}
		versions[before], versions[v], versions[after] = true, true, true
	}
	for _, a := range list {
		for _, p := range a.Affected {
			if !naiveSame(p.Package.Ecosystem, p.Package.Name, ecosystem, name) {
				continue
			}
			for _, r := range p.Ranges {
				for _, e := range r.Events {
					for _, v := range e {
						if r.Type != "GIT" && v != "*" {
							add(v)
						}
					}
				}
			}
			for i, v := range p.Versions {
				if i < 5 || i >= len(p.Versions)-5 {
					add(v)
				}
			}
		}
	}
	return versions
}
