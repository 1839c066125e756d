package all_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

var update = flag.Bool("update", false, "write what is found into the cases")

// TestCases runs every extractor on the files of each case in testdata, as if
// they were an image, and compares what they find with the file "want". A new
// case is a new file: -update fills in "want", for you to read. Of files in which
// nothing is found "want" has whether they belong to a package.
func TestCases(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := -1
			var got, rest []string
			var layer []extracttest.Entry
			for i, f := range archive.Files {
				if f.Name == "want" {
					want = i
					continue
				}
				lines := found(t, f.Name, f.Data)
				if len(lines) == 0 {
					rest = append(rest, f.Name)
				}
				got = append(got, lines...)
				layer = append(layer, extracttest.File(f.Name, string(f.Data)))
			}
			got = append(got, owned(t, layer, rest)...)
			text := strings.Join(got, "")
			if want < 0 {
				t.Fatal("the case has no file want")
			}
			if *update {
				archive.Files[want].Data = []byte(text)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[want].Data), text); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// found returns what the extractors say about a file, a line each.
func found(t *testing.T, name string, content []byte) []string {
	t.Helper()
	var lines []string
	line := func(f string, args ...any) { lines = append(lines, fmt.Sprintf(f, args...)+"\n") }
	for _, e := range all.Extractors() {
		if !e.Wants(name, 0o644, int64(len(content))) {
			continue
		}
		got, err := e.Extract(context.Background(), extract.Input{Path: name, Mode: 0o644, Size: int64(len(content)), ReaderAt: bytes.NewReader(content)})
		for _, p := range got.Packages {
			if p.Extractor != e.Name() {
				t.Errorf("%s: package %s is said to be found by %q", e.Name(), p.Name, p.Extractor)
			}
			rest := ""
			for _, said := range []struct{ key, value string }{
				{"namespace", p.Namespace},
				{"source", strings.TrimSpace(p.SourceName + " " + p.SourceVersion)},
				{"arch", p.Architecture},
				{"licenses", strings.Join(p.Licenses, "; ")},
			} {
				if said.value != "" {
					rest += fmt.Sprintf(" | %s %s", said.key, said.value)
				}
			}
			line("%s: %s %s %s %s%s", path.Base(name), e.Name(), ecosystem(p.Ecosystem), p.Name, p.Version, rest)
		}
		for _, s := range got.Systems {
			line("%s: %s system %+v", path.Base(name), e.Name(), s)
		}
		for _, c := range got.Cuts {
			line("%s: %s cut %s: %s", path.Base(name), e.Name(), c.Code, c.Reason)
		}
		if err != nil {
			line("%s: %s error: %v", path.Base(name), e.Name(), err)
		}
	}
	return lines
}

// owned returns which of the files belong to packages of the layer, a line each.
func owned(t *testing.T, layer []extracttest.Entry, files []string) []string {
	t.Helper()
	archive := extracttest.Tar(t, layer...)
	facts := extracttest.Layer(t, archive, archive, extract.Options{Extractors: all.Extractors()})
	is := make(map[string]bool)
	for _, f := range facts.Files {
		is[f.Path] = f.Owned
	}
	for _, p := range facts.Packages {
		if !is[p.Path] {
			t.Errorf("%s has a package, but belongs to none", p.Path)
		}
	}
	var lines []string
	for _, name := range files {
		whose := "belongs to no package"
		if is[name] {
			whose = "belongs to a package"
		}
		lines = append(lines, name+" "+whose+"\n")
	}
	return lines
}

func ecosystem(name string) string {
	if name == "" {
		return "-"
	}
	return name
}

// TestTable looks at the table itself.
func TestTable(t *testing.T) {
	names := make(map[string]bool)
	for _, e := range all.Extractors() {
		if names[e.Name()] {
			t.Errorf("two extractors are called %s", e.Name())
		}
		names[e.Name()] = true
		if e.Version() < 1 {
			t.Errorf("%s has version %d", e.Name(), e.Version())
		}
		for _, mode := range []fs.FileMode{fs.ModeDir | 0o755, fs.ModeSymlink | 0o777, fs.ModeDevice, fs.ModeNamedPipe} {
			for _, name := range slices.Concat(wanted, []string{"a", ""}) {
				if e.Wants(name, mode, 4096) {
					t.Errorf("%s wants %s, which is no file: %v", e.Name(), name, mode)
				}
			}
		}
	}
}

// wanted are paths that one extractor wants each.
var wanted = []string{
	"var/lib/dpkg/status", "var/lib/dpkg/status.d/base", "var/lib/chisel/manifest.wall", "lib/apk/db/installed",
	"var/lib/rpm/Packages", "usr/lib/sysimage/rpm/Packages.db", "usr/lib/sysimage/rpm/rpmdb.sqlite",
	"var/lib/rpmmanifest/container-manifest-2", "etc/os-release",
	"usr/lib/python3/dist-packages/six-1.16.0.egg-info", "usr/lib/python3/site-packages/six-1.16.0.dist-info/METADATA",
	"opt/conda/conda-meta/six-1.16.0-pyh_0.json", "app/node_modules/@a/b/package.json", "app/node_modules/b/package.json",
	"srv/app.jar", "app/app.deps.json", "usr/lib/ruby/gems/3.1.0/specifications/default/json-2.6.1.gemspec",
	"app/vendor/composer/installed.json", "usr/local/lib/perl5/x86_64/.meta/Try-Tiny-0.31/install.json",
	"usr/lib/R/library/stats/DESCRIPTION", "var/lib/dpkg/info/libc6:amd64.list", "var/lib/dpkg/status.d/base.md5sums", "var/lib/dpkg/diversions",
	"usr/lib/python3/site-packages/six-1.16.0.dist-info/RECORD", "usr/lib/python3/site-packages/six-1.16.0.egg-info/installed-files.txt",
	"usr/local/lib/perl5/auto/Try/Tiny/.packlist",
}

func TestWants(t *testing.T) {
	for _, name := range wanted {
		var by []string
		for _, e := range all.Extractors() {
			if e.Wants(name, 0o644, 4096) {
				by = append(by, e.Name())
			}
			if e.Wants(name, 0o644, 0) {
				t.Errorf("%s wants %s, which is empty", e.Name(), name)
			}
		}
		if len(by) != 1 {
			t.Errorf("%s is wanted by %q", name, by)
		}
	}
	for _, name := range []string{
		"var/lib/dpkg/status-old", "var/lib/dpkg/info/libc6:amd64.md5sums", "var/lib/dpkg/info/a/b.list", "app/RECORD", "app/installed-files.txt", "var/lib/dpkg/status.d/a/b", "home/var/lib/dpkg/status",
		"package.json", "app/package.json", "app/node_modules/b/lib/package.json", "app/node_modules/.package-lock.json",
		"app/node_modules/.bin/package.json", "app/node_modules/@a/package.json", "app/METADATA", "src/six.egg-info/SOURCES.txt",
		"app/app.gemspec", "vendor/bundle/gems/rack-2.2/rack.gemspec", "app/composer.lock", "app/installed.json",
		"var/lib/rpm/Name", "var/lib/rpm/rpmdb.sqlite-shm", "a/b/install.json", "etc/os-release.d/x",
	} {
		for _, e := range all.Extractors() {
			if e.Wants(name, 0o644, 4096) {
				t.Errorf("%s wants %s", e.Name(), name)
			}
		}
	}
}
