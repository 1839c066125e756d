package overlay_test

import (
	"fmt"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
)

// BenchmarkMerge lays the layers of an image of 34,500 files over one another,
// each of which has also a package database of 300 packages.
func BenchmarkMerge(b *testing.B) {
	const layers, files = 8, 34_500
	all := make([]tidewaiter.LayerFacts, layers)
	for l := range all {
		f := &all[l]
		f.Files = append(f.Files, tidewaiter.File{Path: "lib/status", Type: tidewaiter.RegularFile})
		for i := range files / layers {
			f.Files = append(f.Files, tidewaiter.File{Path: fmt.Sprintf("usr/lib/app%d/part%02d/module_%05d.js", l%6, i/200, i), Type: tidewaiter.RegularFile, SHA256: "sha256:00"})
		}
		for i := range 300 {
			f.Packages = append(f.Packages, tidewaiter.Package{Ecosystem: "Debian", Name: fmt.Sprint("package-", i), Version: fmt.Sprint(l / (1 + i%8)), Path: "lib/status"})
		}
		f.Whiteouts = []string{"tmp/x"}
	}
	b.ReportAllocs()
	for b.Loop() {
		if v := overlay.Merge(all); len(v.Packages) != 300 {
			b.Fatalf("%d packages", len(v.Packages))
		}
	}
}
