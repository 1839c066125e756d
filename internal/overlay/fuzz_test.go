package overlay_test

import (
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
)

// FuzzMerge lays facts over one another that no extractor makes: a line each, a
// digit for the layer, a letter for what it is, and the path. Whatever they are,
// the files of the image are in order, each once, of the layer that has them, and
// owned only if one of their path is.
func FuzzMerge(f *testing.F) {
	f.Add("0fa/b\n0oa/c\n1wa\n1da\n2fa/c\n2pa/c\n")
	f.Add("0ha\n0fa\n0f\n0f/\n0f..\n1q\n1wa/b/c\n1la\n1fa/x\n")
	f.Add("0oa\n1fa\n2fa/b\n1w\n2qa\n0sa\n0ca\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		layers := make([]tidewaiter.LayerFacts, 3)
		claimed := make(map[string]bool)
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if len(line) < 2 || line[0] < '0' || line[0] > '2' {
				continue
			}
			l, path := &layers[line[0]-'0'], line[2:]
			file := tidewaiter.File{Path: path, Type: tidewaiter.RegularFile, SHA256: "sha256:00"}
			switch line[1] {
			case 'o':
				file.Owned = true
				claimed[path] = true
			case 'd':
				file = tidewaiter.File{Path: path, Type: tidewaiter.Folder}
			case 'l':
				file = tidewaiter.File{Path: path, Type: tidewaiter.SymbolicLink, Link: "a"}
			case 'h':
				file = tidewaiter.File{Path: path, Type: tidewaiter.HardLink, Link: "a"}
			case 'w':
				l.Whiteouts = append(l.Whiteouts, path)
				continue
			case 'q':
				l.Opaque = append(l.Opaque, path)
				continue
			case 'p':
				l.Packages = append(l.Packages, tidewaiter.Package{Name: "p", Path: path})
				continue
			case 's':
				l.Systems = append(l.Systems, tidewaiter.System{ID: "s", Path: path})
				continue
			case 'c':
				l.Cuts = append(l.Cuts, tidewaiter.Cut{Code: "c", Path: path})
				continue
			}
			l.Files = append(l.Files, file)
		}
		view := overlay.Merge(layers)
		for i, file := range view.Files {
			if i > 0 && tidewaiter.ComparePaths(view.Files[i-1].Path, file.Path) >= 0 {
				t.Errorf("%q comes after %q", file.Path, view.Files[i-1].Path)
			}
			if file.Owned && !claimed[file.Path] {
				t.Errorf("%q is owned, and nobody says so", file.Path)
			}
			had := false
			for _, own := range layers[file.Layer].Files {
				had = had || own.Path == file.Path && own.Type == file.Type
			}
			if !had {
				t.Errorf("layer %d has no %q", file.Layer, file.Path)
			}
		}
		for _, p := range view.Packages {
			if p.Origin > p.Layer || p.Origin < 0 {
				t.Errorf("%q is of layer %d, since layer %d", p.Path, p.Layer, p.Origin)
			}
		}
	})
}
