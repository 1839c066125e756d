package extract

import (
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// noContent is the content of what is no file, and of a hard link to nothing
// in the layer.
const noContent = -1

// contents returns, for each entry of an archive, the entry that brought its
// content: of a regular file itself, of a hard link that of the last entry
// before it that had the path of its target. A hard link to a symbolic link or
// a device becomes one itself, and one to a hard link to another layer points there.
func contents(entries []tidewaiter.File) []int {
	content := make([]int, len(entries))
	var byPath []int // made if there is a hard link
	for n, f := range entries {
		content[n] = noContent
		switch f.Type {
		case tidewaiter.RegularFile:
			content[n] = n
		case tidewaiter.HardLink:
			if byPath == nil {
				byPath = sorted(entries)
			}
			// The last entry of that path that comes before this one.
			i, _ := slices.BinarySearchFunc(byPath, n, func(m, n int) int {
				if c := tidewaiter.ComparePaths(entries[m].Path, f.Link); c != 0 {
					return c
				}
				return m - n
			})
			if i == 0 || entries[byPath[i-1]].Path != f.Link {
				continue
			}
			target := &entries[byPath[i-1]]
			content[n] = content[byPath[i-1]]
			switch target.Type {
			case tidewaiter.SymbolicLink, tidewaiter.SpecialFile:
				entries[n].Type, entries[n].Mode, entries[n].Link = target.Type, target.Mode, target.Link
			case tidewaiter.HardLink:
				if content[n] == noContent { // it is in another layer
					entries[n].Link = target.Link
				}
			}
		}
	}
	return content
}

// sorted returns the numbers of entries in the order of their paths, those of
// one path in the order of the archive.
func sorted(entries []tidewaiter.File) []int {
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return tidewaiter.ComparePaths(entries[a].Path, entries[b].Path)
	})
	return order
}

// A branch is a path on the way to the one that settle is at.
type branch struct {
	path  string
	last  int // its last entry
	solid int // its last entry that is no folder, or -1
	above int // the same of all paths above it
	below int // the last entry beneath it, or -1
}

// settle returns the entries that are left when an archive was unpacked, in the
// order of their paths, and the paths at which something was replaced, so that
// it hides what lies beneath the layer as a whiteout does.
//
// The last entry of a path wins. What is no folder replaces all that is beneath
// its path, and gives way to a folder when something is put beneath it.
func settle(entries []tidewaiter.File) (left []int, replaced []string) {
	keep := make([]bool, len(entries))
	var open []branch
	shut := func(depth int) {
		for len(open) > depth {
			b := open[len(open)-1]
			open = open[:len(open)-1]
			if len(open) > 0 {
				up := &open[len(open)-1]
				up.below = max(up.below, b.below, b.last)
			}
			isSolid := b.solid == b.last
			keep[b.last] = b.last > b.above && !(isSolid && b.below > b.last)
			if b.solid >= 0 && !(isSolid && keep[b.last]) {
				replaced = append(replaced, b.path)
			}
		}
	}
	order := sorted(entries)
	for i := 0; i < len(order); {
		p := entries[order[i]].Path
		b := branch{path: p, solid: -1, above: -1, below: -1}
		for ; i < len(order) && entries[order[i]].Path == p; i++ {
			b.last = order[i]
			if entries[b.last].Type != tidewaiter.Folder {
				b.solid = b.last
			}
		}
		for len(open) > 0 && !beneath(p, open[len(open)-1].path) {
			shut(len(open) - 1)
		}
		if len(open) > 0 {
			up := open[len(open)-1]
			b.above = max(up.above, up.solid)
		}
		open = append(open, b)
	}
	shut(0)
	for _, n := range order {
		if keep[n] {
			left = append(left, n)
		}
	}
	return left, replaced
}

// beneath tells whether a path lies in a folder.
func beneath(path, folder string) bool {
	return len(path) > len(folder) && path[len(folder)] == '/' && strings.HasPrefix(path, folder)
}

// facts puts together what a walk and the extractors found. content is what
// contents returned; missing are the
// contents that an extractor wants to see as a hard link, and was not given;
// nil means that nothing can be done about them.
func (w *walker) facts(content []int, missing map[int][]want) tidewaiter.LayerFacts {
	left, replaced := settle(w.entries)
	facts := tidewaiter.LayerFacts{
		Files:     make([]tidewaiter.File, 0, len(left)),
		Whiteouts: unique(append(replaced, w.whiteouts...)),
		Opaque:    unique(w.opaque),
	}
	survives := make(map[int]bool, len(w.cuts))
	for _, c := range w.cuts {
		survives[c.entry] = c.entry < 0
	}
	c := collector{walker: w, facts: &facts, missing: missing, owned: ownedSet{room: w.limits.Owned}}
	for _, n := range left {
		f := w.entries[n]
		if _, ok := survives[n]; ok {
			survives[n] = true
		}
		if strings.HasPrefix(f.Path, aufsPrefix) {
			continue
		}
		if m := content[n]; m != noContent {
			f.SHA256, f.Size = w.entries[m].SHA256, w.entries[m].Size
		}
		facts.Files = append(facts.Files, f)
		if f.Type == tidewaiter.RegularFile || f.Type == tidewaiter.HardLink {
			c.collect(n, content[n], &f)
		}
	}
	for _, cut := range w.cuts {
		if survives[cut.entry] {
			c.cut(cut.Cut)
		}
	}
	if len(facts.Files) == 0 {
		facts.Files = nil
	}
	c.owned.mark(facts.Files)
	if c.owned.more {
		facts.Notes = append(facts.Notes, NoteOwned)
	}
	return facts
}

// A collector gives the files of a layer what was found in their contents.
type collector struct {
	*walker
	facts   *tidewaiter.LayerFacts
	missing map[int][]want
	owned   ownedSet
}

// unknownSize stands for the size of a file in another layer: large enough to
// be wanted, if its name is.
const unknownSize = 1 << 20

func (c *collector) collect(entry, content int, f *tidewaiter.File) {
	asked := *f
	if content == noContent {
		asked.Size = unknownSize
	}
	for _, want := range c.pool.wants(&asked) {
		o, ok := c.pool.outcomes[finding{content, want.extractor}]
		switch {
		case ok:
			c.add(f.Path, o)
		case entry == content: // it has its cut
		case content == noContent:
			c.cut(tidewaiter.Cut{Path: f.Path, Code: CutEntry, Reason: "a hard link to a file of another layer was not looked into"})
			return
		case c.unread[content].Code != "":
			c.cut(tidewaiter.Cut{Path: f.Path, Code: c.unread[content].Code, Reason: c.unread[content].Reason})
			return
		case c.missing != nil:
			c.missing[content] = append(c.missing[content], want)
		default:
			c.cut(tidewaiter.Cut{Path: f.Path, Code: CutEntry, Reason: "a hard link to a file that had gone by was not looked into"})
			return
		}
	}
}

// add adds an outcome to the facts, as that of a file with the given path.
func (c *collector) add(path string, o outcome) {
	for _, pkg := range o.found.Packages {
		pkg.Path = path
		c.facts.Packages = append(c.facts.Packages, pkg)
	}
	c.owned.add(path, &o.found.Owned, len(o.found.Packages) > 0)
	for _, s := range o.found.Systems {
		s.Path = path
		c.facts.Systems = append(c.facts.Systems, s)
	}
	for _, cut := range append(o.found.Cuts, o.cut) {
		if cut.Code != "" {
			cut.Path, cut.Reason = path, readable(cut.Reason)
			c.cut(cut)
		}
	}
}

func (c *collector) cut(cut tidewaiter.Cut) {
	switch n := len(c.facts.Cuts); {
	case n < maxCuts:
		c.facts.Cuts = append(c.facts.Cuts, cut)
	case n == maxCuts:
		c.facts.Cuts = append(c.facts.Cuts, tidewaiter.Cut{Code: cut.Code, Reason: "more was not looked into than is listed here"})
	}
}

// unique returns paths in order and without repetitions, in a list of its own.
func unique(paths []string) []string {
	paths = slices.Clone(paths)
	slices.SortFunc(paths, tidewaiter.ComparePaths)
	return slices.Compact(paths)
}
