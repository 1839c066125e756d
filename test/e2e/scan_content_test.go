//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

// Images to scan, by the hundred: small, and each with packages that no other
// has. Images with real content are in real_image_test.go.

// scanRepository is where they are.
const scanRepository = "scan/"

// A cargo is what a scan must find: for each image its packages, each as
// "name version layer"; and the layers, each once, with their sizes.
type cargo struct {
	Images map[string][]string // by "repository:tag", an image of an index as "repository:tag architecture"
	Layers map[string]int64    // compressed bytes by digest
}

func newCargo() *cargo { return &cargo{Images: map[string][]string{}, Layers: map[string]int64{}} }

// names are those of the images, in order: what scan_task_images counts.
func (c *cargo) names() []string {
	tagged := map[string]bool{}
	for name := range c.Images {
		name, _, _ = strings.Cut(name, " ")
		tagged[name] = true
	}
	return slices.Sorted(maps.Keys(tagged))
}

// layerOf makes a layer, compressed with gzip.
func layerOf(t testing.TB, entries ...extracttest.Entry) v1.Layer {
	t.Helper()
	archive := extracttest.Tar(t, entries...)
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil },
		tarball.WithMediaType(types.DockerLayer))
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// noise is so many bytes that do not compress, always the same for a word.
func noise(word string, n int) string {
	var seed [32]byte
	copy(seed[:], word)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return string(b)
}

// baseLayer is a small Debian with a file of so many bytes.
func baseLayer(t testing.TB, word string, size int) v1.Layer {
	return layerOf(t,
		extracttest.File("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
		extracttest.File("var/lib/dpkg/status", "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9\n\n"+
			"Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2\n\n"),
		extracttest.File("var/lib/dpkg/info/bash.list", "/.\n/bin\n/bin/bash\n"),
		extracttest.File("bin/bash", "#!"),
		extracttest.File("opt/"+word, noise(word, size)))
}

// npmLayer holds one package of npm, and a file of so many bytes.
func npmLayer(t testing.TB, name, version string, size int) v1.Layer {
	return layerOf(t,
		extracttest.File("app/node_modules/"+name+"/package.json", fmt.Sprintf(`{"name":%q,"version":%q}`, name, version)),
		extracttest.File("app/"+name+".bin", noise(name+version, size)))
}

// basePackages are those of baseLayer, as the lowest layer of an image.
func basePackages() []string { return []string{"bash 5.2.15-2 0", "libc6 2.36-9 0"} }

// imageOf is an image for linux of these layers, each with a build step.
func imageOf(t testing.TB, architecture string, layers ...v1.Layer) v1.Image {
	t.Helper()
	image := empty.Image
	created := v1.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for i, layer := range layers {
		var err error
		image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: fmt.Sprintf("step %d", i), Created: created}})
		if err != nil {
			t.Fatal(err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", architecture, created
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// put pushes what a scan finds these packages in: one list for an image, one
// for each platform of an index.
func (c *cargo) put(t testing.TB, r *registryServer, repository, tag string, content partial.Describable, packages ...[]string) {
	t.Helper()
	r.Push(t, repository, tag, content)
	c.add(t, repository, tag, content, packages...)
}

// add says that it was pushed.
func (c *cargo) add(t testing.TB, repository, tag string, content partial.Describable, packages ...[]string) {
	t.Helper()
	images := map[string]v1.Image{repository + ":" + tag: nil}
	if image, ok := content.(v1.Image); ok {
		images[repository+":"+tag] = image
		c.Images[repository+":"+tag] = inOrder(packages[0])
	}
	if index, ok := content.(v1.ImageIndex); ok {
		manifest, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		clear(images)
		for i, child := range manifest.Manifests {
			name := repository + ":" + tag + " " + child.Platform.Architecture
			c.Images[name] = inOrder(packages[i])
			if images[name], err = index.Image(child.Digest); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, image := range images {
		manifest, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, layer := range manifest.Layers {
			c.Layers[layer.Digest.String()] = layer.Size
		}
	}
}

// fillBase puts images on one base into a registry, each with a layer of its
// own. The sizes are those of the noise in the base and in each of the others.
func (r *registryServer) fillBase(t testing.TB, images, baseSize, ownSize int) *cargo {
	t.Helper()
	c := newCargo()
	base := baseLayer(t, "base", baseSize)
	for i := range images {
		name := fmt.Sprintf("app-%03d", i)
		c.put(t, r, scanRepository+name, "v1", imageOf(t, "amd64", base, npmLayer(t, name, "1.0.0", ownSize)),
			append(basePackages(), name+" 1.0.0 1"))
	}
	return c
}

// fillHundred puts a hundred images of three layers into a registry, ten in
// each repository: all on one base, each ten on one layer above it, and each
// with a layer of its own. One is an index of two platforms. The word makes them
// differ from others, but for the base.
func (r *registryServer) fillHundred(t testing.TB, word string) *cargo {
	t.Helper()
	c := newCargo()
	base := baseLayer(t, "base", 1<<20)
	push := map[name.Reference]remote.Taggable{}
	for i := range 100 {
		group, tag := fmt.Sprintf("group-%s-%d", word, i/10), fmt.Sprintf("v%d", i)
		above := npmLayer(t, group, "2.0.0", 64<<10)
		image := func(architecture string) (v1.Image, []string) {
			own := fmt.Sprintf("app-%s-%d-%s", word, i, architecture)
			return imageOf(t, architecture, base, above, npmLayer(t, own, "1.0.0", 16<<10)), append(basePackages(), group+" 2.0.0 1", own+" 1.0.0 2")
		}
		amd64, packages := image("amd64")
		push[r.reference(t, scanRepository+group, tag)] = amd64
		if i != 50 {
			c.add(t, scanRepository+group, tag, amd64, packages)
			continue
		}
		arm64, others := image("arm64")
		platform := func(architecture string) v1.Descriptor {
			return v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}}
		}
		index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
			mutate.IndexAddendum{Add: amd64, Descriptor: platform("amd64")},
			mutate.IndexAddendum{Add: arm64, Descriptor: platform("arm64")})
		push[r.reference(t, scanRepository+group, tag)] = index
		c.add(t, scanRepository+group, tag, index, packages, others)
	}
	if err := remote.MultiWrite(push, r.options()...); err != nil {
		t.Fatal(err)
	}
	return c
}

func layerDigest(t testing.TB, layer v1.Layer) string {
	t.Helper()
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func inOrder(list []string) []string { return slices.Sorted(slices.Values(list)) }
