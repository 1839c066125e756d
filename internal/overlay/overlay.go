// Package overlay lays the facts of an image's layers over one another: what
// files and packages the image has, and which layer brought them.
//
// The rules are those of the OCI image specification
// (https://github.com/opencontainers/image-spec/blob/main/layer.md), and where
// it is silent those of runtimes: a whiteout and an opaque mark hide what is in
// layers beneath theirs, and nothing of their own layer; what is no folder
// replaces all beneath its path; what has no folder to be in gets one.
package overlay

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// View is an image as its layers make it.
type View struct {
	Files    []File    // in the order of [tidewaiter.ComparePaths]
	Packages []Package // in the order of their paths; those whose file is in the image
	System   System    // the operating system; its path is "" if none is found
	Systems  []System  // all that files of the image say, in the order of their paths
	Cuts     []Cut     // less those of files that are not in the image
}

// File is a file of an image. It is owned if a package of its own layer says so,
// or if it replaced one that is: a changed etc/passwd still belongs to the
// package that brought it. One that was removed in between is not replaced.
type File struct {
	tidewaiter.File
	Layer int // index of the layer that it is from
}

// Package is a package of an image.
type Package struct {
	tidewaiter.Package
	Layer int // index of the layer whose file says so
	// Origin is the index of the first layer from which on the package is there
	// without a break: by ecosystem, name and version, in whatever file. A package
	// database is written anew by each layer that installs something.
	Origin int
}

// System is an operating system that a file of an image speaks of.
type System struct {
	tidewaiter.System
	Layer int
}

// Cut is something of an image that was not looked into.
type Cut struct {
	tidewaiter.Cut
	Layer int
}

// Merge lays layers over one another, the lowest first. A hard link to a file
// of a lower layer gets its size and digest. Facts need not be consistent.
func Merge(layers []tidewaiter.LayerFacts) View {
	t := newTree(layers)
	for i := range layers {
		t.apply(i)
	}
	return t.view()
}

// A key is what a package is, whatever file says so.
type key struct{ ecosystem, name, version string }

func keyOf(p *tidewaiter.Package) key { return key{p.Ecosystem, p.Name, p.Version} }

// A presence says since when a package is there.
type presence struct {
	files  int // that say so
	before int // the same before the layer at hand
	layer  int // the last layer that changed it
	origin int
}

// A node is a path of the image.
type node struct {
	path       string
	file       int32 // index among the layer's files, or -1 of a folder that no layer lists
	layer      int32
	solid      bool   // no folder
	owned      bool   // the file, or one that it replaced, belongs to a package
	content    *inode // of regular files, and of hard links to them
	parent     *node
	child      *node // the first in it
	prev, next *node
}

// An inode is the content of a regular file.
type inode struct {
	size   int64
	sha256 tidewaiter.Digest
}

type tree struct {
	layers   []tidewaiter.LayerFacts
	nodes    map[string]*node
	root     *node
	packages []map[string][]int32 // by layer, by path: indices
	present  map[key]*presence
}

func newTree(layers []tidewaiter.LayerFacts) *tree {
	most := 0
	for _, l := range layers {
		most = max(most, len(l.Files))
	}
	t := &tree{
		layers: layers, root: &node{file: -1},
		nodes: make(map[string]*node, most), present: make(map[key]*presence),
	}
	for _, l := range layers {
		byPath := make(map[string][]int32)
		for i := range l.Packages {
			byPath[l.Packages[i].Path] = append(byPath[l.Packages[i].Path], int32(i))
		}
		t.packages = append(t.packages, byPath)
	}
	return t
}

// apply lays one layer over what is there.
func (t *tree) apply(layer int) {
	l := &t.layers[layer]
	links := t.links(l)
	for _, path := range l.Whiteouts {
		t.remove(t.nodes[path], layer)
		t.folder(parentOf(path), layer)
	}
	for _, path := range l.Opaque {
		for n := t.folder(path, layer); n.child != nil; {
			t.remove(n.child, layer)
		}
	}
	for i := range l.Files {
		t.put(layer, int32(i), links[int32(i)])
	}
}

// links finds what the hard links of a layer point to that its own files are
// not: what was there before the layer, or nothing. A runtime that meets a
// whiteout of the target first refuses the layer.
func (t *tree) links(l *tidewaiter.LayerFacts) map[int32]*inode {
	var links map[int32]*inode
	for i, f := range l.Files {
		if f.Type != tidewaiter.HardLink || f.SHA256 != "" {
			continue
		}
		if n := t.nodes[f.Link]; n != nil && n.content != nil {
			if links == nil {
				links = make(map[int32]*inode)
			}
			links[int32(i)] = n.content
		}
	}
	return links
}

// put puts a file of a layer into the tree, with its content if that is a lower
// layer's.
func (t *tree) put(layer int, file int32, content *inode) {
	f := &t.layers[layer].Files[file]
	if f.Path == "" {
		return
	}
	solid := f.Type != tidewaiter.Folder
	n := t.nodes[f.Path]
	owned := f.Owned || n != nil && n.owned
	if n != nil && (solid || n.solid) {
		t.remove(n, layer)
		n = nil
	}
	if n == nil {
		n = t.add(f.Path, layer)
	} else if n.file >= 0 {
		t.count(n, layer, -1)
	}
	n.file, n.layer, n.solid, n.owned = file, int32(layer), solid, owned
	if n.content = content; content == nil && (f.Type == tidewaiter.RegularFile || f.SHA256 != "") {
		n.content = &inode{f.Size, f.SHA256}
	}
	t.count(n, layer, +1)
}

// add makes a node, and the folders that it needs.
func (t *tree) add(path string, layer int) *node {
	parent := t.folder(parentOf(path), layer)
	n := &node{path: path, file: -1, parent: parent, next: parent.child}
	if n.next != nil {
		n.next.prev = n
	}
	parent.child = n
	t.nodes[path] = n
	return n
}

// folder returns the folder of a path. It is made if there is none, in the
// place of what is there.
func (t *tree) folder(path string, layer int) *node {
	if path == "" {
		return t.root
	}
	n := t.nodes[path]
	if n != nil && n.solid {
		t.remove(n, layer)
		n = nil
	}
	if n == nil {
		n = t.add(path, layer)
	}
	return n
}

// remove takes away a node and all beneath it.
func (t *tree) remove(n *node, layer int) {
	if n == nil {
		return
	}
	for n.child != nil {
		t.remove(n.child, layer)
	}
	if n.file >= 0 {
		t.count(n, layer, -1)
	}
	switch {
	case n.prev != nil:
		n.prev.next = n.next
	case n.parent != nil:
		n.parent.child = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	}
	delete(t.nodes, n.path)
}

// count counts the packages of a file that comes or goes with a layer.
func (t *tree) count(n *node, layer, by int) {
	for _, i := range t.packages[n.layer][n.path] {
		k := keyOf(&t.layers[n.layer].Packages[i])
		p := t.present[k]
		if p == nil {
			p = &presence{layer: -1}
			t.present[k] = p
		}
		if p.layer != layer {
			p.layer, p.before = layer, p.files
		}
		if p.files += by; p.files > 0 && p.before == 0 {
			p.origin = layer
		}
	}
}

// view returns what is in the tree.
func (t *tree) view() View {
	var v View
	v.Files = make([]File, 0, len(t.nodes))
	for _, n := range t.nodes {
		if n.file < 0 {
			continue
		}
		f := t.layers[n.layer].Files[n.file]
		if n.content != nil {
			f.Size, f.SHA256 = n.content.size, n.content.sha256
		}
		f.Owned = n.owned
		v.Files = append(v.Files, File{f, int(n.layer)})
	}
	slices.SortFunc(v.Files, func(a, b File) int { return tidewaiter.ComparePaths(a.Path, b.Path) })
	for _, f := range v.Files {
		for _, i := range t.packages[f.Layer][f.Path] {
			p := t.layers[f.Layer].Packages[i]
			v.Packages = append(v.Packages, Package{p, f.Layer, t.present[keyOf(&p)].origin})
		}
	}
	for i, l := range t.layers {
		listed := make(map[string]bool)
		if len(l.Cuts) > 0 {
			for _, f := range l.Files {
				listed[f.Path] = true
			}
		}
		for _, c := range l.Cuts {
			if !listed[c.Path] || t.holds(c.Path, i) {
				v.Cuts = append(v.Cuts, Cut{c, i})
			}
		}
		for _, s := range l.Systems {
			if t.holds(s.Path, i) {
				v.Systems = append(v.Systems, System{s, i})
			}
		}
	}
	slices.SortStableFunc(v.Systems, func(a, b System) int {
		return cmp.Or(tidewaiter.ComparePaths(a.Path, b.Path), a.Layer-b.Layer)
	})
	v.System = t.system(v.Systems)
	return v
}

// holds tells whether a path of the image is from a layer.
func (t *tree) holds(path string, layer int) bool {
	n := t.nodes[path]
	return n != nil && n.file >= 0 && int(n.layer) == layer
}

// system returns what the first of the usual files says, be it reached through
// links, else the first of those that lie beside them.
func (t *tree) system(all []System) System {
	for _, path := range []string{"etc/os-release", "usr/lib/os-release"} {
		n := t.resolve(path)
		if n == nil {
			continue
		}
		for _, s := range all {
			if s.Path == n.path {
				return s
			}
		}
	}
	for _, s := range all {
		if dir := parentOf(s.Path); dir == "etc" || dir == "usr/lib" {
			return s
		}
	}
	return System{}
}

// maxLinks is how many symbolic links a path may lead through, as on Linux.
const maxLinks = 40

// resolve follows a path through symbolic links, within the image. It returns
// nil if that leads nowhere, or in circles.
func (t *tree) resolve(path string) *node {
	links, at := 0, t.root
	rest := strings.Split(path, "/")
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if at != t.root {
				at = at.parent
			}
			continue
		}
		n := t.nodes[strings.TrimPrefix(at.path+"/"+name, "/")]
		if n == nil {
			return nil
		}
		if target, ok := t.symlink(n); ok {
			if links++; links > maxLinks || len(target)+len(rest) > 1<<16 {
				return nil
			}
			if strings.HasPrefix(target, "/") {
				at = t.root
			}
			rest = append(strings.Split(target, "/"), rest...)
			continue
		}
		at = n
	}
	return at
}

func (t *tree) symlink(n *node) (string, bool) {
	if n.file < 0 {
		return "", false
	}
	f := &t.layers[n.layer].Files[n.file]
	return f.Link, f.Type == tidewaiter.SymbolicLink
}

// parentOf returns the folder of a path, "" for the root.
func parentOf(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '/'))]
}
