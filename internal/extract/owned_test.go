package extract_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

// owned returns the paths of the files that belong to packages.
func owned(f tidewaiter.LayerFacts) []string {
	var list []string
	for _, file := range f.Files {
		if file.Owned {
			list = append(list, file.Path)
		}
	}
	return list
}

// A claims is what lists say, as paths, to compare with hashes of them.
type claims struct {
	files, folders map[string]bool
}

// add reads a list as the extractor does.
func (c *claims) add(file, list string) {
	for line := range strings.Lines(list) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		to := c.files
		switch line[0] {
		case '*':
			to = c.folders
		case '+':
		default: // a package
			c.files[file] = true
			continue
		}
		name := line[1:]
		if strings.HasPrefix(name, "/") {
			name = strings.TrimPrefix(path.Clean(name), "/")
		} else {
			name = path.Join(path.Dir(file), name)
		}
		if name != "" && name != "." && name != ".." && !strings.HasPrefix(name, "../") {
			to[name] = true
		}
	}
}

// own tells whether a file belongs to a package, by the paths that it may have.
func (c *claims) own(file string) bool {
	names := []string{file}
	for _, top := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		if file == top || strings.HasPrefix(file, top+"/") {
			names = append(names, "usr/"+file)
		}
		if below := strings.TrimPrefix(file, "usr/"); below != file && (below == top || strings.HasPrefix(below, top+"/")) {
			names = append(names, below)
		}
	}
	for _, name := range names {
		if c.files[name] || c.folders[name] {
			return true
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if path.Base(dir) == "node_modules" && !c.folders[dir] {
				break
			}
			if c.folders[dir] {
				return true
			}
		}
	}
	return false
}

// TestOwnedModel lets random lists claim random files, and compares with paths.
func TestOwnedModel(t *testing.T) {
	names := []string{"a", "b", "usr", "bin", "lib64", "node_modules", "x.list"}
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(from []string, most int) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(from), 1, most).Draw(rt, "path"), "/")
		}
		files := make(map[string]string)
		var order []string
		for range rapid.IntRange(1, 12).Draw(rt, "files") {
			p := draw(names, 4)
			var list strings.Builder
			for range rapid.IntRange(0, 3).Draw(rt, "lines") {
				kind := rapid.SampledFrom([]string{"+", "*", "+/", "*/", "package "}).Draw(rt, "kind")
				fmt.Fprintf(&list, "%s%s\n", kind, draw(append([]string{"..", ".", ""}, names...), 6))
			}
			if !slices.Contains(order, p) {
				order = append(order, p)
			}
			files[p] = list.String()
		}
		var entries []extracttest.Entry
		for _, p := range order {
			entries = append(entries, extracttest.File(p, files[p]))
		}
		archive := extracttest.Tar(t, entries...)
		facts := extracttest.Layer(t, archive, archive, lists())
		checkOwned(rt, facts, files)
	})
}

// checkOwned compares facts with what their lists claim.
func checkOwned(t rapid.TB, facts tidewaiter.LayerFacts, contents map[string]string) {
	t.Helper()
	c := claims{make(map[string]bool), make(map[string]bool)}
	for _, f := range facts.Files {
		if f.Type == tidewaiter.RegularFile && strings.HasSuffix(f.Path, ".list") {
			c.add(f.Path, contents[f.Path])
		}
	}
	for _, f := range facts.Files {
		if want := c.own(f.Path); f.Owned != want {
			t.Errorf("%q is owned: %v, want %v, by %q and %q", f.Path, f.Owned, want, c.files, c.folders)
		}
	}
}

// FuzzOwned has a list at some path that claims anything, and a file.
func FuzzOwned(f *testing.F) {
	f.Add("usr/lib/a.list", "+../bin/x\n+/bin/y\n*../share\n", "usr/bin/x")
	f.Add("a.list", "*.\n+..\n*/\n+./../a//b/../c\n", "a")
	f.Add("x.list", "*usr\n", "bin")
	f.Add("opt/node_modules/a/x.list", "*.\npackage 1\n", "opt/node_modules/a/node_modules/b/c")
	f.Fuzz(func(t *testing.T, list, body, file string) {
		if !strings.HasSuffix(list, ".list") || strings.ContainsAny(body, "\r!") || len(list)+len(file) > 180 || len(body) > 1<<16 {
			return
		}
		for line := range strings.Lines(body) { // what is a package, and what is none, is for other tests
			if line[0] != '+' && line[0] != '*' && line != "\n" && line != "package 1\n" {
				return
			}
		}
		archive := join(raw(extracttest.File(list, body)), raw(extracttest.File(file, "")), end())
		facts := extracttest.Layer(t, archive, archive, lists())
		if len(facts.Files) > 0 {
			contents := make(map[string]string)
			for _, f := range facts.Files {
				if f.Size > 0 {
					contents[f.Path] = body
				}
			}
			checkOwned(t, facts, contents)
		}
		check(t, facts)
	})
}

// TestOwnedByLink has lists that are hard links: a claim that is relative is
// meant from where the link is.
func TestOwnedByLink(t *testing.T) {
	archive := extracttest.Tar(t,
		extracttest.File("cache/a.list", "+x\n*y\n+/z\n"), extracttest.File("cache/x", ""), extracttest.File("cache/y/x", ""),
		extracttest.Link("app/lib/b.list", "cache/a.list"), extracttest.Link("app/lib/x", "cache/x"), extracttest.File("app/lib/y/x", ""),
		extracttest.Symlink("z", "cache"), extracttest.File("x", ""), extracttest.Folder("app/lib/y/d"))
	facts := extracttest.Layer(t, archive, archive, lists())
	same(t, "owned", owned(facts), []string{"app/lib/x", "app/lib/y/d", "app/lib/y/x", "cache/x", "cache/y/x", "z"})
}

// TestOwnedByTheLast has a list that a later one of the same path replaces.
func TestOwnedByTheLast(t *testing.T) {
	archive := extracttest.Tar(t, extracttest.File("a.list", "+x\n"), extracttest.File("x", ""), extracttest.File("y", ""), extracttest.File("a.list", "+y\n"))
	same(t, "owned", owned(extracttest.Layer(t, archive, archive, lists())), []string{"y"})
}

// TestOwnedLimit has more claims than are kept: that is noted, and nothing is cut.
func TestOwnedLimit(t *testing.T) {
	archive := extracttest.Tar(t, extracttest.File("a.list", "+x\n+y\n+z\n"), extracttest.File("b.list", "*z\n"),
		extracttest.File("x", ""), extracttest.File("y", ""), extracttest.File("z", ""))
	for room, want := range map[int][]string{2: {"x", "y"}, 3: {"x", "y", "z"}, 4: {"x", "y", "z"}} {
		o := lists()
		o.Workers = 1
		o.Limits.Owned = room
		facts := extracttest.Layer(t, archive, archive, o)
		same(t, fmt.Sprint("owned, with room for ", room), owned(facts), want)
		var notes []string
		if room < 4 {
			notes = []string{extract.NoteOwned}
		}
		same(t, fmt.Sprint("notes, with room for ", room), facts.Notes, notes)
		same(t, "cuts", codes(facts), []string(nil))
	}
}

// TestOwnedLinksAreBounded has a list that thousands of hard links repeat.
func TestOwnedLinksAreBounded(t *testing.T) {
	var body bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&body, "+%d\n", i)
	}
	entries := []extracttest.Entry{extracttest.File("0.list", body.String())}
	for i := range 20_000 {
		entries = append(entries, extracttest.Link(fmt.Sprintf("d%d/a.list", i), "0.list"))
	}
	archive := extracttest.Tar(t, entries...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	facts := extracttest.Layer(t, archive, archive, lists())
	runtime.ReadMemStats(&after)
	same(t, "notes", facts.Notes, []string{extract.NoteOwned})
	same(t, "cuts", codes(facts), []string(nil))
	if took := int64(after.TotalAlloc - before.TotalAlloc); took > 256<<20 {
		t.Errorf("200 million claims took %d bytes", took)
	}
}

// TestOwnedMemory has 400,000 paths in a thousand lists, as many as a machine
// with everything installed has.
func TestOwnedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 400,000 paths")
	}
	r, w := io.Pipe()
	go func() {
		for i := range 1000 {
			var body strings.Builder
			for j := range 400 {
				fmt.Fprintf(&body, "+/usr/share/doc/package-%d/html/reference/classes/page-%d.html\n", i, j)
			}
			_, _ = w.Write(raw(extracttest.File(fmt.Sprintf("var/lib/dpkg/info/package-%d.list", i), body.String())))
			_, _ = w.Write(raw(extracttest.File(fmt.Sprintf("usr/share/doc/package-%d/html/reference/classes/page-399.html", i), "")))
		}
		_, _ = w.Write(raw(extracttest.File("odd", "at the end")))
		_, _ = w.Write(end())
		_ = w.Close()
	}()
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	o := lists()
	o.Verified = true
	o.Extractors = append(o.Extractors, odd{extract: func(context.Context, extract.Input) (extract.Found, error) {
		runtime.GC()
		runtime.ReadMemStats(&during)
		return extract.Found{}, nil
	}})
	facts, err := extract.Layer(t.Context(), r, tidewaiter.Descriptor{}, tidewaiter.DigestOf(nil), o)
	if err != nil || len(owned(facts)) != 1000 || len(facts.Notes) > 0 {
		t.Errorf("%d files are owned, notes %v, %v", len(owned(facts)), facts.Notes, err)
	}
	if held := int64(during.HeapAlloc) - int64(before.HeapAlloc); held > 16<<20 {
		t.Errorf("400,000 paths hold %d bytes", held)
	} else {
		t.Logf("400,000 paths hold %d bytes, with the buffers of the stations", held)
	}
}
