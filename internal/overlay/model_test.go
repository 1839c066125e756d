package overlay_test

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

// A modelNode is a path of the model's file system.
type modelNode struct {
	kind    tidewaiter.FileType // "" of a folder that only had to be there
	content string
	link    string
	layer   int
	foreign bool // a hard link whose content another layer brought
	owned   bool // by a package, now or before it was replaced
}

// list returns what a list says: a package on its first line, claims on the others.
func (n modelNode) list() (pkg string, claims []string) {
	lines := strings.Split(strings.TrimSpace(n.content), "\n")
	return lines[0], lines[1:]
}

func (n modelNode) solid() bool { return n.kind != tidewaiter.Folder && n.kind != "" }

// A model is a file system that layers are unpacked to, naively.
type model struct {
	nodes   map[string]modelNode
	origins map[string]int  // of packages that are there
	solids  map[string]bool // where the layer at hand had something that was no folder
}

func newModel() *model {
	return &model{nodes: make(map[string]modelNode), origins: make(map[string]int)}
}

func (m *model) remove(p string) {
	delete(m.nodes, p)
	m.clear(p)
}

func (m *model) clear(folder string) {
	for p := range m.nodes {
		if folder == "" || strings.HasPrefix(p, folder+"/") {
			delete(m.nodes, p)
		}
	}
}

// parents sees to it that a path can be: all above it are folders.
func (m *model) parents(p string) {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if n, ok := m.nodes[dir]; !ok || n.solid() {
			m.nodes[dir] = modelNode{}
		}
	}
}

func (m *model) put(p string, n modelNode) {
	old, ok := m.nodes[p]
	if ok && (n.kind != tidewaiter.Folder || old.solid()) {
		m.remove(p)
	}
	m.parents(p)
	m.nodes[p] = n
	if n.solid() {
		m.solids[p] = true
	}
}

var names = rapid.SampledFrom([]string{"a", "b", "a-", "p.list", "q.list"})

func drawPath(rt *rapid.T) string {
	return strings.Join(rapid.SliceOfN(names, 1, 3).Draw(rt, "path"), "/")
}

// layer draws a layer, and unpacks it: the whiteouts first, as they are about
// what lies beneath the layer, then all else in its order.
func (m *model) layer(rt *rapid.T, layer int) []extracttest.Entry {
	var marks, entries []extracttest.Entry
	for range rapid.IntRange(0, 3).Draw(rt, "whiteouts") {
		p := drawPath(rt)
		if rapid.Bool().Draw(rt, "opaque") {
			m.clear(p)
			m.parents(p + "/x")
			marks = append(marks, extracttest.File(p+"/.wh..wh..opq", ""))
			continue
		}
		m.remove(p)
		m.parents(p)
		marks = append(marks, extracttest.File(path.Join(path.Dir(p), ".wh."+path.Base(p)), ""))
	}
	below := maps.Clone(m.nodes)
	m.solids = make(map[string]bool)
	for range rapid.IntRange(0, 8).Draw(rt, "entries") {
		p := drawPath(rt)
		switch rapid.IntRange(0, 5).Draw(rt, "kind") {
		case 0:
			m.put(p, modelNode{kind: tidewaiter.Folder, layer: layer})
			entries = append(entries, extracttest.Folder(p))
		case 1:
			m.put(p, modelNode{kind: tidewaiter.SymbolicLink, link: "a", layer: layer})
			entries = append(entries, extracttest.Symlink(p, "a"))
		case 2:
			if to, ok := m.drawTarget(rt); ok && to != p && !strings.HasPrefix(to, p+"/") && !strings.HasPrefix(p, to+"/") {
				n := m.nodes[to]
				n.foreign = n.foreign || n.layer != layer
				n.layer = layer
				if n.kind == tidewaiter.RegularFile {
					n.kind = tidewaiter.HardLink
				}
				m.put(p, n)
				entries = append(entries, extracttest.Link(p, to))
			}
		default:
			body := fmt.Sprintf("%s %d\n", rapid.SampledFrom([]string{"one", "two", "three"}).Draw(rt, "package"), rapid.IntRange(1, 2).Draw(rt, "version"))
			for range rapid.IntRange(0, 2).Draw(rt, "claims") {
				body += rapid.SampledFrom([]string{"+/", "*/"}).Draw(rt, "claim") + drawPath(rt) + "\n"
			}
			m.put(p, modelNode{kind: tidewaiter.RegularFile, content: body, layer: layer})
			entries = append(entries, extracttest.File(p, body))
		}
	}
	m.countPackages(layer)
	m.own(layer, below)
	// Where among the rest the whiteouts stand makes no difference.
	for _, mark := range marks {
		entries = slices.Insert(entries, rapid.IntRange(0, len(entries)).Draw(rt, "place"), mark)
	}
	return entries
}

// drawTarget draws a file that can be linked to. The target of a hard link to
// another layer's symbolic link is not known from one layer's facts.
func (m *model) drawTarget(rt *rapid.T) (string, bool) {
	var files []string
	for p, n := range m.nodes {
		if n.kind == tidewaiter.RegularFile || n.kind == tidewaiter.HardLink {
			files = append(files, p)
		}
	}
	if len(files) == 0 {
		return "", false
	}
	slices.Sort(files)
	return rapid.SampledFrom(files).Draw(rt, "target"), true
}

// lists returns the lists that an extractor sees.
func (m *model) lists() map[string]modelNode {
	lists := make(map[string]modelNode)
	for p, n := range m.nodes {
		if strings.HasSuffix(p, ".list") && (n.kind == tidewaiter.RegularFile || n.kind == tidewaiter.HardLink && !n.foreign) {
			lists[p] = n
		}
	}
	return lists
}

// own says of the files of a layer whether they belong to packages: by the lists
// of the layer, or since they replaced one of below that does. What something
// else had replaced in between, in the same layer, is not replaced by them.
func (m *model) own(layer int, below map[string]modelNode) {
	broken := func(p string) bool {
		for q := range m.solids {
			if n := m.nodes[q]; n.layer == layer && n.solid() {
				continue // it is still there
			}
			if q == p || strings.HasPrefix(p, q+"/") || strings.HasPrefix(q, p+"/") && below[p].solid() {
				return true
			}
		}
		return false
	}
	claimed := func(p string) bool {
		for file, n := range m.lists() {
			if n.layer != layer {
				continue
			}
			if file == p {
				return true
			}
			_, claims := n.list()
			for _, c := range claims {
				if name := c[2:]; name == p || c[0] == '*' && strings.HasPrefix(p, name+"/") {
					return true
				}
			}
		}
		return false
	}
	for p, n := range m.nodes {
		if n.layer == layer && n.kind != "" {
			n.owned = claimed(p) || below[p].owned && !broken(p)
			m.nodes[p] = n
		}
	}
}

func (m *model) countPackages(layer int) {
	there := make(map[string]int)
	for _, n := range m.lists() {
		k, _ := n.list()
		if origin, ok := m.origins[k]; ok {
			there[k] = origin
		} else {
			there[k] = layer
		}
	}
	m.origins = there
}

func (m *model) describe() (files, packages, cuts []string) {
	for _, p := range slices.Sorted(maps.Keys(m.nodes)) {
		n := m.nodes[p]
		var sum tidewaiter.Digest
		switch n.kind {
		case "":
			continue
		case tidewaiter.RegularFile, tidewaiter.HardLink:
			sum = tidewaiter.DigestOf([]byte(n.content))
		case tidewaiter.SymbolicLink:
			sum = tidewaiter.Digest("-> " + n.link)
		}
		files = append(files, fmt.Sprintf("%s %s %s owned %v @%d", p, n.kind, sum, n.owned, n.layer))
		if n.foreign && strings.HasSuffix(p, ".list") {
			cuts = append(cuts, fmt.Sprintf("entry %s @%d", p, n.layer))
		}
	}
	for p, n := range m.lists() {
		k, _ := n.list()
		packages = append(packages, fmt.Sprintf("%s %s @%d since %d", p, k, n.layer, m.origins[k]))
	}
	return files, packages, cuts
}

// flat returns the file system as one layer.
func (m *model) flat() []extracttest.Entry {
	var entries []extracttest.Entry
	for _, p := range slices.Sorted(maps.Keys(m.nodes)) {
		switch n := m.nodes[p]; n.kind {
		case tidewaiter.RegularFile, tidewaiter.HardLink:
			entries = append(entries, extracttest.File(p, n.content))
		case tidewaiter.SymbolicLink:
			entries = append(entries, extracttest.Symlink(p, n.link))
		default:
			entries = append(entries, extracttest.Folder(p))
		}
	}
	return entries
}
