//go:build linux

package e2e

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// packagesOf lists the packages of an image in a registry. What is found in the
// image must be all: a cut fails the test.
func packagesOf(t testing.TB, r *registryServer, repository, reference string) []tidewaiter.Package {
	t.Helper()
	view := viewOf(t, r, repository, reference)
	for _, c := range view.Cuts {
		t.Errorf("%s was not looked into: %s: %s", c.Path, c.Code, c.Reason)
	}
	var packages []tidewaiter.Package
	for _, p := range view.Packages {
		packages = append(packages, p.Package)
	}
	return packages
}

// viewOf reads an image, layer by layer, as a scan does.
func viewOf(t testing.TB, r *registryServer, repository, reference string) overlay.View {
	t.Helper()
	address, err := tidewaiter.ParseRegistryAddress(r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	client, err := registry.NewClient(registry.Config{
		Type: registry.Other, Protocol: r.Scheme(), Address: address, Username: r.User, Password: r.Password,
	}, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	artifact, err := client.Inspect(t.Context(), repository, reference)
	if err != nil || len(artifact.Images) != 1 || artifact.Images[0].Err != nil {
		t.Fatalf("inspect %s: %v, %d images", repository, err, len(artifact.Images))
	}
	image := artifact.Images[0]
	var layers []tidewaiter.LayerFacts
	for i, desc := range image.Layers {
		open := func(ctx context.Context) (io.ReadCloser, error) { return client.Blob(ctx, repository, desc) }
		blob, err := open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		facts, err := extract.Layer(t.Context(), blob, desc, image.DiffIDs[i], extract.Options{
			Extractors: all.Extractors(), Verified: true, Reopen: open, SpoolDir: t.TempDir(),
		})
		_ = blob.Close()
		if err != nil {
			t.Fatalf("layer %d of %s: %v", i, repository, err)
		}
		if !facts.Verified || len(facts.Notes) > 0 {
			t.Errorf("layer %d of %s: verified %t, %q", i, repository, facts.Verified, facts.Notes)
		}
		layers = append(layers, facts)
	}
	return overlay.Merge(layers)
}

// A difference between what the tools of an image list and what we list, that
// is as it should be. The patterns are those of path.Match, in which a * does
// not match a /.
type difference struct {
	image string // pattern
	ours  bool   // we list it, and no tool does; else the other way round
	kind  string // type of the package
	name  string // pattern
	at    string // pattern, "" for any
	why   string
}

// differences are all that there are. One that no longer is fails the test.
var differences = []difference{}

func (d difference) fits(image string, ours bool, f fact) bool {
	match := func(pattern, text string) bool {
		ok, err := path.Match(pattern, text)
		return ok && err == nil
	}
	return d.ours == ours && d.kind == f.Type && match(d.image, image) && match(d.name, f.Name) && (d.at == "" || match(d.at, f.At))
}

// TestPackagesAsToolsListThem compares what we list of images with what their
// own package managers say is installed in them: nothing is missing, and
// nothing invented.
func TestPackagesAsToolsListThem(t *testing.T) {
	images := realImages(t)
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	used := make([]bool, len(differences))
	for _, image := range images {
		t.Run(image.Name, func(t *testing.T) {
			r.Push(t, "real/"+image.Name, "1", image)
			ours := make(map[fact]bool)
			for _, p := range packagesOf(t, r, "real/"+image.Name, "1") {
				ours[factOf(p)] = true
			}
			theirs := make(map[fact]bool)
			for _, answer := range image.Tools {
				for _, f := range answer.read(t) {
					theirs[f] = true
				}
			}
			report := func(ours bool, f fact, says string) {
				for i, d := range differences {
					if d.fits(image.Name, ours, f) {
						used[i] = true
						return
					}
				}
				t.Errorf("%s: %s", says, f)
			}
			for _, f := range sorted(theirs) {
				if !ours[f] {
					report(false, f, "missing")
				}
			}
			for _, f := range sorted(ours) {
				if !theirs[f] {
					report(true, f, "invented")
				}
			}
			t.Logf("%d packages, %d by %d tools", len(ours), len(theirs), len(image.Tools))
		})
	}
	for i, d := range differences {
		if !used[i] && !t.Failed() {
			t.Errorf("the difference in %s %s is no more: %s", d.image, d.name, d.why)
		}
	}
}

func sorted(facts map[fact]bool) []fact {
	var list []fact
	for f := range facts {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b fact) int { return strings.Compare(a.String(), b.String()) })
	return list
}
