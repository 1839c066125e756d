package ospkg_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/extract/ospkg"
)

// owned returns which of the files belong to packages, in a layer that has also
// the file of the given path.
func owned(t *testing.T, name string, content []byte, files ...string) []string {
	t.Helper()
	entries := []extracttest.Entry{extracttest.File(name, string(content))}
	for _, f := range files {
		entries = append(entries, extracttest.File(f, ""))
	}
	archive := extracttest.Tar(t, entries...)
	var list []string
	for _, f := range extracttest.Layer(t, archive, archive, extract.Options{Extractors: ospkg.Extractors()}).Files {
		if f.Owned && f.Path != name {
			list = append(list, f.Path)
		}
	}
	return list
}

func numbers(list ...uint32) string {
	var b []byte
	for _, n := range list {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return string(b)
}

func TestRPMFiles(t *testing.T) {
	named := []entry{{tag: 1000, kind: 6, data: "a\x00"}, {tag: 1001, kind: 6, data: "1\x00"}}
	for _, c := range []struct {
		name string
		rest []entry
		want string
	}{
		{"folders", []entry{{1116, 4, numbers(0, 1, 0), 3}, {1117, 8, "ls\x00passwd\x00env\x00", 3}, {1118, 8, "/usr/bin/\x00/etc/\x00", 2}}, "bin/ls etc/passwd usr/bin/env"},
		{"whole paths", []entry{{1027, 8, "/etc/passwd\x00/usr/bin/env\x00", 2}}, "etc/passwd usr/bin/env"},
		{"no files", nil, ""},
		{"more names than indexes", []entry{{1116, 4, numbers(0), 1}, {1117, 8, "ls\x00env\x00", 2}, {1118, 8, "/usr/bin/\x00", 1}}, "bin/ls"},
		{"an index of no folder", []entry{{1116, 4, numbers(7, 0), 2}, {1117, 8, "ls\x00env\x00", 2}, {1118, 8, "/usr/bin/\x00", 1}}, "usr/bin/env"},
		{"fewer names than said", []entry{{1116, 4, numbers(0, 0), 1 << 31}, {1117, 8, "ls\x00env\x00", 1 << 31}, {1118, 8, "/usr/bin/\x00", 1 << 31}}, "bin/ls usr/bin/env"},
		{"numbers as names", []entry{{1116, 8, "0\x00", 1}, {1117, 4, numbers(1), 1}, {1118, 4, numbers(1), 1}}, ""},
		{"a second list", []entry{{1027, 8, "/etc/passwd\x00", 1}, {1027, 8, "/usr/bin/env\x00", 1}}, "etc/passwd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := owned(t, "var/lib/rpm/Packages.db", ndb(t, index(slices.Concat(named, c.rest))), "bin/ls", "usr/bin/env", "etc/passwd", "etc/other")
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// TestRPMFilesOfManyEntries has a header that names its files a hundred thousand
// times: one time counts.
func TestRPMFilesOfManyEntries(t *testing.T) {
	entries := []entry{{tag: 1000, kind: 6, data: "a\x00"}, {tag: 1001, kind: 6, data: "1\x00"}}
	h := index(append(entries, entry{1027, 8, strings.Repeat("/a\x00", 1<<20), 1 << 20}))
	const more = 100_000
	head := binary.BigEndian.AppendUint32(nil, 3+more)
	head = append(head, h[4:8+2*16]...)
	head = append(head, bytes.Repeat(h[8+2*16:8+3*16], more+1)...)
	found := rpmFound(t, ndb(t, append(head, h[8+3*16:]...)))
	if len(found.Packages) != 1 || found.Owned.Len() > 1_000_000 {
		t.Errorf("%d packages, %d files", len(found.Packages), found.Owned.Len())
	}
}

// TestRPMFilesOfDatabases finds some of the files of the packages that rpm wrote
// into its own databases.
func TestRPMFilesOfDatabases(t *testing.T) {
	files := []string{"usr/bin/harbour", "usr/bin/harbour2", "usr/include/harbour/header_with_a_long_name_101.h", "usr/include/harbour/x.h", "usr/lib/harbour/lib.so"}
	for _, db := range []string{"Packages", "Packages.bigendian", "rpmdb.sqlite"} {
		name := "var/lib/rpm/" + strings.TrimSuffix(db, ".bigendian")
		got := owned(t, name, unzipped(t, "rpm/"+db+".gz"), files...)
		if diff := cmp.Diff([]string{files[0], files[2], files[4]}, got); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", db, diff)
		}
	}
}

// TestDpkgSearch compares with dpkg-query --search, on a machine that has it.
func TestDpkgSearch(t *testing.T) {
	lists, err := filepath.Glob("/var/lib/dpkg/info/*.list")
	if _, missing := exec.LookPath("dpkg-query"); err != nil || len(lists) == 0 || missing != nil {
		t.Skip("no dpkg here")
	}
	var entries []extracttest.Entry
	for _, l := range append(lists, "/var/lib/dpkg/diversions") {
		b, err := os.ReadFile(l)
		if err != nil {
			t.Skipf("no list here: %v", err)
		}
		entries = append(entries, extracttest.File(l[1:], string(b)))
	}
	asked := []string{"/etc/passwd", "/bin/sh", "/usr/bin/dpkg", "/bin/dpkg", "/usr/share/doc/dpkg/copyright"}
	for _, dir := range []string{"/usr/bin", "/etc"} {
		names, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names[:min(len(names), 300)] {
			asked = append(asked, path.Join(dir, n.Name()))
		}
	}
	for _, name := range asked {
		entries = append(entries, extracttest.File(name[1:], ""))
	}
	// Where /bin is a link to /usr/bin, dpkg knows a file by either name.
	other := func(name string) string {
		if below, ok := strings.CutPrefix(name, "/usr"); ok {
			return below
		}
		return "/usr" + name
	}
	search := []string{"--search"}
	for _, name := range asked {
		search = append(search, name, other(name))
	}
	out, _ := exec.Command("dpkg-query", search...).Output() // fails, as some are not found
	known := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "local diversion from") {
			continue // of a file that need not belong to a package
		}
		if _, name, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			known[name], known[other(name)] = true, true
		}
	}
	archive := extracttest.Tar(t, entries...)
	facts := extracttest.Layer(t, archive, archive, extract.Options{Extractors: ospkg.Extractors()})
	is := make(map[string]bool)
	for _, f := range facts.Files {
		is["/"+f.Path] = f.Owned
	}
	for _, name := range asked {
		if is[name] != known[name] {
			t.Errorf("%s belongs to a package: %v, by dpkg: %v", name, is[name], known[name])
		}
	}
}
