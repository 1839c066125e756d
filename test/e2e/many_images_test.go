//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/tidewaiter/tidewaiter"
)

// A pushed is an image that was made for its number, not for what is in it.
type pushed struct {
	Repository, Tag string
	Digest          string
	Layers          []string // digests, as compressed
	Package         tidewaiter.Package
}

// twentyOnOneBase pushes 20 images whose lower layers are the same Debian, each
// with a layer of its own that holds a package no other has.
func (r *registryServer) twentyOnOneBase(t testing.TB) []pushed {
	t.Helper()
	return r.pushMany(t, "twenty", 20, newRealImage(t, "debian"))
}

// hundredSmall pushes 100 images of a few kilobytes, each with a package that no
// other has.
func (r *registryServer) hundredSmall(t testing.TB) []pushed {
	t.Helper()
	release := filesLayer(t, map[string]string{"etc/os-release": "ID=tiny\nVERSION_ID=1\nPRETTY_NAME=\"Tiny 1\"\n"})
	base, err := mutate.AppendLayers(empty.Image, release)
	if err != nil {
		t.Fatal(err)
	}
	return r.pushMany(t, "hundred", 100, base)
}

// pushMany pushes an image, and so many over it.
func (r *registryServer) pushMany(t testing.TB, namespace string, n int, base v1.Image) []pushed {
	t.Helper()
	r.Push(t, namespace+"/base", "v1", base)
	// Taken from the registry, its layers are mounted and not sent again.
	base, err := remote.Image(r.reference(t, namespace+"/base", "v1"), r.options()...)
	if err != nil {
		t.Fatal(err)
	}
	var list []pushed
	for i := range n {
		p := pushed{Repository: fmt.Sprintf("%s/image-%03d", namespace, i), Tag: "v1"}
		p.Package = tidewaiter.Package{Ecosystem: "npm", Type: "npm", Name: fmt.Sprintf("only-in-%s-%03d", namespace, i), Version: fmt.Sprintf("1.0.%d", i)}
		layer := filesLayer(t, map[string]string{
			"srv/app/node_modules/" + p.Package.Name + "/package.json": fmt.Sprintf(`{"name": %q, "version": %q, "license": "MIT"}`, p.Package.Name, p.Package.Version),
			"srv/app/data": strings.Repeat(p.Package.Name+"\n", 100),
		})
		image, err := mutate.AppendLayers(base, layer)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", "amd64"
		if image, err = mutate.ConfigFile(image, config); err != nil {
			t.Fatal(err)
		}
		r.Push(t, p.Repository, p.Tag, image)
		manifest, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range manifest.Layers {
			p.Layers = append(p.Layers, l.Digest.String())
		}
		p.Digest = r.Digest(t, p.Repository, p.Tag)
		list = append(list, p)
	}
	return list
}

// filesLayer is a layer with these files, and the folders that they are in.
func filesLayer(t testing.TB, files map[string]string) v1.Layer {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	seen := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for i, c := range name {
			if c == '/' && !seen[name[:i+1]] {
				seen[name[:i+1]] = true
				if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name[:i+1], Mode: 0o755}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), ModTime: time.Unix(1_700_000_000, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

func TestManyImages(t *testing.T) {
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	started := time.Now()
	for _, made := range [][]pushed{r.twentyOnOneBase(t), r.hundredSmall(t)} {
		layers := make(map[string]bool)
		for _, p := range made {
			for _, l := range p.Layers {
				layers[l] = true
			}
		}
		if want := len(made) + len(made[0].Layers) - 1; len(layers) != want {
			t.Errorf("%d images have %d layers, want %d", len(made), len(layers), want)
		}
		last := made[len(made)-1]
		if r.Digest(t, last.Repository, last.Tag) != last.Digest || last.Digest == "" {
			t.Errorf("%s is not in the registry", last.Repository)
		}
		packages := packagesOf(t, r, last.Repository, last.Tag)
		if !slices.ContainsFunc(packages, func(p tidewaiter.Package) bool {
			return p.Name == last.Package.Name && p.Version == last.Package.Version && p.Ecosystem == "npm"
		}) {
			t.Errorf("%s does not hold %s", last.Repository, last.Package.Name)
		}
	}
	t.Logf("in %s", time.Since(started).Round(time.Millisecond))
}
