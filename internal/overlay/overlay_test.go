package overlay_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
)

// facts reads the layers of an image.
func facts(tb testing.TB, layers ...[]extracttest.Entry) []tidewaiter.LayerFacts {
	var all []tidewaiter.LayerFacts
	for _, entries := range layers {
		archive := extracttest.Tar(tb, entries...)
		all = append(all, extracttest.Layer(tb, archive, archive, extract.Options{
			Extractors: []extract.Extractor{extracttest.Lists{}},
			Reopen: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(archive)), nil
			},
		}))
	}
	return all
}

// describe returns what a view holds, one line each.
func describe(v overlay.View) (files, packages, cuts []string) {
	for _, f := range v.Files {
		files = append(files, fmt.Sprintf("%s %s %s%s owned %v @%d", f.Path, f.Type, f.SHA256, target(f.File), f.Owned, f.Layer))
	}
	for _, p := range v.Packages {
		packages = append(packages, fmt.Sprintf("%s %s %s @%d since %d", p.Path, p.Name, p.Version, p.Layer, p.Origin))
	}
	for _, c := range v.Cuts {
		cuts = append(cuts, fmt.Sprintf("%s %s @%d", c.Code, c.Path, c.Layer))
	}
	return files, packages, cuts
}

func target(f tidewaiter.File) string {
	if f.Type == tidewaiter.SymbolicLink {
		return "-> " + f.Link
	}
	return ""
}

func TestMerge(t *testing.T) {
	list := func(name string) extracttest.Entry { return extracttest.File(name, name+" 1\n") }
	whiteout := func(name string) extracttest.Entry { return extracttest.File(name, "") }
	for _, c := range []struct {
		name   string
		layers [][]extracttest.Entry
		want   []string // "path @layer"
	}{
		{"whiteout", [][]extracttest.Entry{{list("a"), list("b")}, {whiteout(".wh.a")}}, []string{"b @0"}},
		{"whiteout of a folder", [][]extracttest.Entry{{list("d/a"), list("d/e/b"), list("d-")}, {whiteout(".wh.d")}}, []string{"d- @0"}},
		{"whiteout of nothing", [][]extracttest.Entry{{list("a")}, {whiteout("x/.wh.y")}}, []string{"a @0"}},
		{"whiteout and file, file first", [][]extracttest.Entry{{list("a")}, {list("a"), whiteout(".wh.a")}}, []string{"a @1"}},
		{"whiteout and file, whiteout first", [][]extracttest.Entry{{list("a")}, {whiteout(".wh.a"), list("a")}}, []string{"a @1"}},
		{"whiteout of a parent, recreated", [][]extracttest.Entry{{list("d/a"), list("d/b")}, {whiteout(".wh.d"), extracttest.Folder("d"), list("d/c")}}, []string{"d @1", "d/c @1"}},
		{"whiteout, recreated above", [][]extracttest.Entry{{list("a")}, {whiteout(".wh.a")}, {list("a")}}, []string{"a @2"}},
		{"whiteout of its own layer's file", [][]extracttest.Entry{{list("a"), whiteout(".wh.a")}}, []string{"a @0"}},
		{"opaque", [][]extracttest.Entry{{extracttest.Folder("d"), list("d/a"), list("d/e/b"), list("c")}, {whiteout("d/.wh..wh..opq"), list("d/x")}}, []string{"c @0", "d @0", "d/x @1"}},
		{"opaque, last", [][]extracttest.Entry{{list("d/a")}, {list("d/x"), whiteout("d/.wh..wh..opq")}}, []string{"d/x @1"}},
		{"opaque root", [][]extracttest.Entry{{list("d/a"), list("b")}, {whiteout(".wh..wh..opq"), list("c")}}, []string{"c @1"}},
		{"folder by file and back", [][]extracttest.Entry{{extracttest.Folder("d"), list("d/a")}, {list("d")}, {extracttest.Folder("d"), list("d/b")}}, []string{"d @2", "d/b @2"}},
		{"folder by symlink and back", [][]extracttest.Entry{{extracttest.Folder("d"), list("d/a")}, {extracttest.Symlink("d", "e")}, {list("d/b")}}, []string{"d/b @2"}},
		{"folder over folder", [][]extracttest.Entry{{extracttest.Folder("d"), list("d/a")}, {extracttest.Folder("d"), list("d/b")}}, []string{"d @1", "d/a @0", "d/b @1"}},
		{"file in the place of a file's parent", [][]extracttest.Entry{{list("d")}, {list("d/a")}}, []string{"d/a @1"}},
		{"whiteout beneath a file", [][]extracttest.Entry{{list("d")}, {whiteout("d/.wh.a")}}, nil},
		{"last of a path", [][]extracttest.Entry{{list("a"), extracttest.Folder("a"), list("a/b"), extracttest.File("a", "last")}}, []string{"a @0"}},
		{"replaced within a layer", [][]extracttest.Entry{{list("d/a")}, {list("d"), list("d/b")}}, []string{"d/b @1"}},
		{"AUFS", [][]extracttest.Entry{{extracttest.File(".wh..wh.plnk/1", "x"), extracttest.File(".wh..wh.aufs", ""), extracttest.Link("a", ".wh..wh.plnk/1")}}, []string{"a @0"}},
		{"a folder that looks like a whiteout", [][]extracttest.Entry{{list("d/.wh.x/a")}}, []string{"d/.wh.x/a @0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := overlay.Merge(facts(t, c.layers...))
			var got []string
			for _, f := range v.Files {
				got = append(got, fmt.Sprintf("%s @%d", f.Path, f.Layer))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if len(v.Cuts) > 0 {
				t.Errorf("cuts: %v", v.Cuts)
			}
		})
	}
}

// TestOrigin follows packages through a database that each layer writes anew.
func TestOrigin(t *testing.T) {
	v := overlay.Merge(facts(t,
		[]extracttest.Entry{extracttest.File("db.list", "libc 1\ncurl 7\nvim 9\n")},
		[]extracttest.Entry{extracttest.File("db.list", "libc 1\ncurl 8\nvim 9\n")},
		[]extracttest.Entry{extracttest.File("db.list", "libc 1\ncurl 8\n"), extracttest.File("other.list", "libc 1\n")},
		[]extracttest.Entry{extracttest.File("db.list", "libc 1\ncurl 8\nvim 9\n"), extracttest.File(".wh.other.list", "")},
		[]extracttest.Entry{extracttest.File("unrelated", "")},
	))
	_, got, _ := describe(v)
	want := []string{"db.list libc 1 @3 since 0", "db.list curl 8 @3 since 1", "db.list vim 9 @3 since 3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

// TestOwned follows files that belong to packages through layers that replace
// and remove them.
func TestOwned(t *testing.T) {
	list := extracttest.File("db.list", "+/etc/passwd\n+/etc/gone\n+/etc/link\n+/etc/dir\n+/etc/dir/x\n*/opt/p\n")
	base := []extracttest.Entry{list, extracttest.File("etc/passwd", "1"), extracttest.File("etc/gone", ""), extracttest.File("etc/link", ""),
		extracttest.Folder("etc/dir"), extracttest.File("etc/dir/x", ""), extracttest.File("opt/p/x", ""), extracttest.File("other", "")}
	for _, c := range []struct {
		name   string
		layers [][]extracttest.Entry
		want   string // paths that are owned
	}{
		{"as it is", nil, "etc/dir etc/dir/x etc/gone etc/link etc/passwd opt/p/x"},
		{"replaced, twice", [][]extracttest.Entry{{extracttest.File("etc/passwd", "2"), extracttest.File("other", "2")}, {extracttest.File("etc/passwd", "3")}}, "etc/dir etc/dir/x etc/gone etc/link etc/passwd opt/p/x"},
		{"by a link", [][]extracttest.Entry{{extracttest.Symlink("etc/link", "x")}}, "etc/dir etc/dir/x etc/gone etc/link etc/passwd opt/p/x"},
		{"removed", [][]extracttest.Entry{{extracttest.File("etc/.wh.gone", "")}, {extracttest.File("etc/gone", "")}}, "etc/dir etc/dir/x etc/link etc/passwd opt/p/x"},
		{"removed and made in one layer", [][]extracttest.Entry{{extracttest.File("etc/gone", ""), extracttest.File("etc/.wh.gone", "")}}, "etc/dir etc/dir/x etc/link etc/passwd opt/p/x"},
		{"opaque", [][]extracttest.Entry{{extracttest.File("etc/.wh..wh..opq", ""), extracttest.File("etc/passwd", "")}}, "opt/p/x"},
		{"folder by a file and back", [][]extracttest.Entry{{extracttest.File("etc/dir", "")}, {extracttest.Folder("etc/dir"), extracttest.File("etc/dir/x", "")}}, "etc/dir etc/gone etc/link etc/passwd opt/p/x"},
		{"beside", [][]extracttest.Entry{{extracttest.File("opt/p/y", "")}}, "etc/dir etc/dir/x etc/gone etc/link etc/passwd opt/p/x"},
		{"a new list", [][]extracttest.Entry{{extracttest.File("db.list", "+/opt/p/y\n+/other\n"), extracttest.File("opt/p/y", "")}}, "etc/dir etc/dir/x etc/gone etc/link etc/passwd opt/p/x opt/p/y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, f := range overlay.Merge(facts(t, append([][]extracttest.Entry{base}, c.layers...)...)).Files {
				if f.Owned {
					got = append(got, f.Path)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("owned (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSystem(t *testing.T) {
	etc, usr := "etc/os-release", "usr/lib/os-release"
	for _, c := range []struct {
		name   string
		layers [][]extracttest.Entry
		want   string
	}{
		{"none", [][]extracttest.Entry{{extracttest.File("a", "")}}, ""},
		{"etc", [][]extracttest.Entry{{extracttest.File(etc, "a"), extracttest.File(usr, "b")}}, "a"},
		{"usr", [][]extracttest.Entry{{extracttest.File(usr, "b")}}, "b"},
		{"relative link", [][]extracttest.Entry{{extracttest.Symlink(etc, "../usr/lib/os-release"), extracttest.File(usr, "b")}}, "b"},
		{"absolute link", [][]extracttest.Entry{{extracttest.Symlink(etc, "/opt/os-release"), extracttest.File("opt/os-release", "c"), extracttest.File(usr, "b")}}, "c"},
		{"link out of the image", [][]extracttest.Entry{{extracttest.Symlink(etc, "../../../../usr/lib/os-release"), extracttest.File(usr, "b")}}, "b"},
		{"linked folder", [][]extracttest.Entry{{extracttest.Symlink("etc", "system/etc"), extracttest.File("system/etc/os-release", "d")}}, "d"},
		{"link in circles", [][]extracttest.Entry{{extracttest.Symlink(etc, "os-release"), extracttest.File(usr, "b")}}, "b"},
		{"links without end", [][]extracttest.Entry{{extracttest.Symlink("etc", "etc/etc"), extracttest.File(usr, "b")}}, "b"},
		{"dangling link", [][]extracttest.Entry{{extracttest.Symlink(etc, "nowhere"), extracttest.File(usr, "b")}}, "b"},
		{"replaced", [][]extracttest.Entry{{extracttest.File(etc, "a")}, {extracttest.File(etc, "z")}}, "z"},
		{"whited out", [][]extracttest.Entry{{extracttest.File(etc, "a")}, {extracttest.File("etc/.wh.os-release", "")}}, ""},
		{"beside", [][]extracttest.Entry{{extracttest.File("etc/alpine-os-release", "e")}}, "e"},
		{"elsewhere", [][]extracttest.Entry{{extracttest.File("chroot/etc/os-release", "f")}}, ""},
		{"hard link", [][]extracttest.Entry{{extracttest.File(usr, "b"), extracttest.Link(etc, usr)}, {extracttest.File("usr/lib/.wh.os-release", "")}}, "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := overlay.Merge(facts(t, c.layers...)).System; got.ID != c.want {
				t.Errorf("system is %q, want %q", got.ID, c.want)
			}
		})
	}
}

// TestCuts keeps those of files that are in the image, and of what is no file.
func TestCuts(t *testing.T) {
	_, _, got := describe(overlay.Merge(facts(t,
		[]extracttest.Entry{extracttest.File("a.list", "!"), extracttest.File("b.list", "!"), extracttest.File("../x", ""), {Header: tar.Header{Typeflag: 'Z', Name: "odd"}}},
		[]extracttest.Entry{extracttest.File("a.list", "fine 1\n"), extracttest.File(".wh.odd", "")},
	)))
	if want := []string{"path ../x @0", "entry odd @0", "parse b.list @0"}; !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("cuts are %q", got)
	}
}

// TestLinksAcrossLayers has hard links to files of lower layers.
func TestLinksAcrossLayers(t *testing.T) {
	v := overlay.Merge(facts(t,
		[]extracttest.Entry{extracttest.File("a", "first")},
		[]extracttest.Entry{extracttest.Link("b", "a"), extracttest.File("a", "second")},
		[]extracttest.Entry{extracttest.Link("c", "b"), extracttest.Link("dangling", "nothing"), extracttest.File(".wh.a", "")},
	))
	got := make(map[string]tidewaiter.Digest)
	for _, f := range v.Files {
		got[f.Path] = f.SHA256
	}
	first := tidewaiter.DigestOf([]byte("first"))
	if want := map[string]tidewaiter.Digest{"b": first, "c": first, "dangling": ""}; !maps.Equal(got, want) {
		t.Errorf("files are %v", got)
	}
}

// TestMergeIsTheImage lays random layers over one another and compares with a
// file system that the archives were unpacked to, one entry after the other.
func TestMergeIsTheImage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel()
		var layers [][]extracttest.Entry
		for i := range rapid.IntRange(1, 4).Draw(rt, "layers") {
			layers = append(layers, m.layer(rt, i))
		}
		got := overlay.Merge(facts(t, layers...))
		files, packages, cuts := describe(got)
		wantFiles, wantPackages, wantCuts := m.describe()
		for _, c := range []struct {
			what      string
			got, want []string
		}{{"files", files, wantFiles}, {"packages", packages, wantPackages}, {"cuts", cuts, wantCuts}} {
			slices.Sort(c.got)
			slices.Sort(c.want)
			if diff := cmp.Diff(c.want, c.got); diff != "" {
				rt.Fatalf("%s of\n%s(-want +got):\n%s", c.what, dump(layers), diff)
			}
		}
		// What the layers say about the image is what the image says, in one layer.
		flat := overlay.Merge(facts(t, m.flat()))
		var one, many []string
		for _, p := range flat.Packages {
			if !m.nodes[p.Path].foreign {
				one = append(one, p.Path+" "+p.Name+" "+p.Version)
			}
		}
		for _, p := range got.Packages {
			many = append(many, p.Path+" "+p.Name+" "+p.Version)
		}
		if diff := cmp.Diff(one, many); diff != "" {
			rt.Fatalf("packages of the flattened image, -flat +layers:\n%s", diff)
		}
	})
}

func dump(layers [][]extracttest.Entry) string {
	var b strings.Builder
	for i, entries := range layers {
		for _, e := range entries {
			fmt.Fprintf(&b, "%d: %c %s %s %q\n", i, e.Typeflag, e.Name, e.Linkname, e.Body)
		}
	}
	return b.String()
}
