package pull

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

// TestSameEverywhere reads an image from wherever images can be, and wants the
// same packages.
func TestSameEverywhere(t *testing.T) {
	host := newRegistry(t, nil)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n > 30 {
			return // each of them is written, sent and read eight times
		}
		layers := drawLayers(rt)
		image := newImage(t, "linux/amd64", layers...)
		tag := fmt.Sprintf("%s/team/app:v%d", host, n)
		push(t, tag, image)

		dir := t.TempDir()
		ref, err := name.NewTag("team/app:v1")
		if err != nil {
			t.Fatal(err)
		}
		if err := tarball.WriteToFile(filepath.Join(dir, "compressed.tar"), ref, image); err != nil {
			t.Fatal(err)
		}
		files := layoutFiles(t, nil, image)
		written, err := ocilayout.Write(filepath.Join(dir, "written"), newIndex(t, nil))
		if err == nil {
			err = written.AppendImage(image)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := lists(t, tag, Options{})
		for what, target := range map[string]string{
			"archive of go-containerregistry": filepath.Join(dir, "compressed.tar"),
			"archive of docker":               writeArchive(t, dockerFiles(t, []string{"team/app:v1"}, image, layers...)),
			"unpacked archive of docker":      writeFolder(t, dockerFiles(t, []string{"team/app:v1"}, image, layers...)),
			"layout of go-containerregistry":  filepath.Join(dir, "written"),
			"folder with a layout":            writeFolder(t, files),
			"archive of a layout":             writeArchive(t, files),
			"archive of docker 25":            writeArchive(t, bothFiles(t, image)),
		} {
			if diff := cmp.Diff(want, lists(t, target, Options{})); diff != "" {
				rt.Fatalf("%s has other packages (-registry +it):\n%s", what, diff)
			}
		}
	})
}

// drawLayers draws layers with lists of packages, some of them the same, and
// whiteouts of those beneath.
func drawLayers(rt *rapid.T) [][]extracttest.Entry {
	var layers [][]extracttest.Entry
	for n := range rapid.IntRange(1, 4).Draw(rt, "layers") {
		if n > 0 && rapid.IntRange(0, 4).Draw(rt, "same") == 0 {
			layers = append(layers, layers[n-1])
			continue
		}
		var entries []extracttest.Entry
		seen := map[string]bool{}
		for range rapid.IntRange(0, 3).Draw(rt, "files") {
			file := rapid.SampledFrom([]string{"a.list", "b.list", "c.list"}).Draw(rt, "file")
			if seen[file] {
				continue
			}
			seen[file] = true
			if rapid.IntRange(0, 3).Draw(rt, "gone") == 0 {
				entries = append(entries, extracttest.File(".wh."+file, ""))
				continue
			}
			lines := rapid.SliceOfN(rapid.SampledFrom([]string{"one 1", "one 2", "two 1", "!broken"}), 1, 2).Draw(rt, "lines")
			entries = append(entries, extracttest.File(file, strings.Join(lines, "\n")+"\n"))
		}
		layers = append(layers, entries)
	}
	return layers
}
