//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What real tools put into registries, made here.

// tinyImage is an image of one layer; word makes it different from others.
func tinyImage(t testing.TB, word, architecture string) v1.Image {
	t.Helper()
	layer := static.NewLayer([]byte("layer of "+word), types.DockerLayer)
	image, err := mutate.Append(empty.Image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "e2e " + word}})
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	config.Created = v1.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// multiArch is what `docker buildx build --platform --provenance` makes: an
// index with an image for each platform and an attestation for each of them.
func multiArch(t testing.TB, word string) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range []string{"amd64", "arm64"} {
		image := mutate.MediaType(tinyImage(t, word+" "+architecture, architecture), types.OCIManifestSchema1)
		image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		attestation := artifact(t, "", types.OCIConfigJSON, "application/vnd.in-toto+json", `{"predicateType":"https://slsa.dev/provenance/v0.2"}`+architecture)
		index = mutate.AppendManifests(index,
			mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}}},
			mutate.IndexAddendum{Add: attestation, Descriptor: v1.Descriptor{
				Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
				Annotations: map[string]string{
					"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest.String(),
				},
			}})
	}
	return index
}

// artifact is an OCI manifest of one layer.
func artifact(t testing.TB, artifactType string, config, layer types.MediaType, content string) v1.Image {
	t.Helper()
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), config)
	image, err := mutate.Append(image, mutate.Addendum{Layer: static.NewLayer([]byte(content), layer)})
	if err != nil {
		t.Fatal(err)
	}
	if artifactType != "" {
		annotated, ok := mutate.Annotations(image, map[string]string{"org.opencontainers.image.title": artifactType}).(v1.Image)
		if !ok {
			t.Fatal("an annotated image is no image")
		}
		image = annotated
	}
	return image
}

// helmChart has the media types of `helm push`.
func helmChart(t testing.TB, name string) v1.Image {
	t.Helper()
	return artifact(t, "", "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "chart "+name)
}

// foreignImage has a layer that is to be had elsewhere only, as Windows' have.
func foreignImage(t testing.TB) v1.Image {
	t.Helper()
	layer := static.NewLayer([]byte("not in the registry"), types.DockerForeignLayer)
	image, err := mutate.Append(tinyImage(t, "foreign", "amd64"), mutate.Addendum{
		Layer: layer, MediaType: types.DockerForeignLayer, URLs: []string{"http://169.254.169.254/latest/meta-data"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// Push puts an image or an index under a tag, as crane does.
func (r *registryServer) Push(t testing.TB, repository, tag string, content partial.Describable) {
	t.Helper()
	ref := r.reference(t, repository, tag)
	var err error
	switch content := content.(type) {
	case v1.Image:
		err = remote.Write(ref, content, r.options()...)
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, content, r.options()...)
	default:
		t.Fatalf("a %T is nothing to push", content)
	}
	if err != nil {
		t.Fatalf("push %s:%s: %v", repository, tag, err)
	}
}

// Tag gives what a tag stands for another tag.
func (r *registryServer) Tag(t testing.TB, repository, from string, tags ...string) {
	t.Helper()
	found, err := remote.Get(r.reference(t, repository, from), r.options()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		if err := remote.Tag(r.repository(t, repository).Tag(tag), found, r.options()...); err != nil {
			t.Fatal(err)
		}
	}
}

// onDisk writes an index as an OCI layout, and returns how skopeo calls it.
func onDisk(t testing.TB, index v1.ImageIndex) string {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]string{"org.opencontainers.image.ref.name": "it"}
	if err := path.AppendIndex(index, layout.WithAnnotations(named)); err != nil {
		t.Fatal(err)
	}
	return "oci:" + dir + ":it"
}

// Skopeo copies into the registry with Debian's skopeo, in one of its formats:
// oci with all that is in an index, or v2s1 for a manifest of the first schema.
func (r *registryServer) Skopeo(t testing.TB, from, repository, tag, format string) {
	t.Helper()
	need(t, "/usr/bin/skopeo")
	home := t.TempDir()
	skopeo := func(input string, args ...string) {
		t.Helper()
		output(t, command([]string{"HOME=" + home}, "/usr/bin/skopeo", args...), input)
	}
	authFile := filepath.Join(home, "auth.json")
	args := []string{"copy", "--format", format, "--src-tls-verify=false", "--dest-tls-verify=false"}
	if format == "oci" {
		args = append(args, "--all")
	}
	if r.User != "" {
		skopeo(r.Password, "login", "--tls-verify=false", "--authfile", authFile, "-u", r.User, "--password-stdin", r.Addr)
		args = append(args, "--authfile", authFile)
	}
	skopeo("", append(args, from, "docker://"+r.Addr+"/"+repository+":"+tag)...)
}

// A listing is what a synchronisation must find: for each image, as
// "repository:tag", its digest and those of its platforms; and how many other
// things there are, by repository.
type listing struct {
	Images map[string]imageListed
	Others []string // "repository:tag" of what is no image
}

type imageListed struct {
	Digest    string
	Platforms []string // digests of an index's images, in order
}

// Repositories are those with images or other things.
func (l listing) Repositories() []string {
	seen := map[string]bool{}
	for tagged := range l.Images {
		repository, _, _ := strings.Cut(tagged, ":")
		seen[repository] = true
	}
	for _, tagged := range l.Others {
		repository, _, _ := strings.Cut(tagged, ":")
		seen[repository] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// add says that an image was pushed.
func (l listing) add(t testing.TB, repository, tag string, content partial.Describable) {
	t.Helper()
	digest, err := content.Digest()
	if err != nil {
		t.Fatal(err)
	}
	image := imageListed{Digest: digest.String()}
	if index, ok := content.(v1.ImageIndex); ok {
		manifest, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, child := range manifest.Manifests {
			if child.Platform.OS != "unknown" {
				image.Platforms = append(image.Platforms, child.Digest.String())
			}
		}
	}
	l.Images[repository+":"+tag] = image
}

// addFrom says that a tag is there whose content the registry knows better.
func (l listing) addFrom(t testing.TB, r *registryServer, repository, tag string) {
	t.Helper()
	found, err := remote.Get(r.reference(t, repository, tag), r.options()...)
	if err != nil {
		t.Fatal(err)
	}
	if found.MediaType == types.DockerManifestSchema1Signed {
		l.Images[repository+":"+tag] = imageListed{Digest: found.Digest.String()}
		return
	}
	if found.MediaType.IsIndex() {
		index, err := found.ImageIndex()
		if err != nil {
			t.Fatal(err)
		}
		l.add(t, repository, tag, index)
		return
	}
	image, err := found.Image()
	if err != nil {
		t.Fatal(err)
	}
	l.add(t, repository, tag, image)
}

// fill puts one of everything into a registry, and returns what is to be found.
func (r *registryServer) fill(t testing.TB) listing {
	t.Helper()
	l := listing{Images: map[string]imageListed{}}
	put := func(repository, tag string, content partial.Describable) {
		t.Helper()
		r.Push(t, repository, tag, content)
		l.add(t, repository, tag, content)
	}
	put("team/app", "v1", tinyImage(t, "app 1", "amd64"))
	put("team/app", "v2", tinyImage(t, "app 2", "amd64"))
	put("alone", "latest", tinyImage(t, "alone", "arm64"))
	put("deep/er/path/name", "1.0", tinyImage(t, "deep", "amd64"))
	put("team/multi", "1.0", multiArch(t, "multi"))
	if r.Product == dockerRegistry {
		put("win/foreign", "1", foreignImage(t))
	}
	other := func(repository, tag string, content v1.Image) {
		t.Helper()
		r.Push(t, repository, tag, content)
		l.Others = append(l.Others, repository+":"+tag)
	}
	other("charts/web", "1.2.3", helmChart(t, "web"))
	other("charts/web", "1.2.4", helmChart(t, "web again"))
	other("team/thing", "1", artifact(t, "thing", "application/vnd.example.thing.config.v1+json", "application/vnd.example.thing", "what is it"))
	return l
}

// fillMany puts images into many repositories: each a tag of its own digest,
// and one tag more of the first's.
func (r *registryServer) fillMany(t testing.TB, repositories, tags int) listing {
	t.Helper()
	l := listing{Images: map[string]imageListed{}}
	for i := range repositories {
		repository := fmt.Sprintf("many/repo-%02d", i)
		for j := range tags {
			image := tinyImage(t, fmt.Sprintf("%d %d", i, j), "amd64")
			tag := fmt.Sprintf("v%d", j)
			r.Push(t, repository, tag, image)
			l.add(t, repository, tag, image)
		}
		r.Tag(t, repository, "v0", "stable")
		l.Images[repository+":stable"] = l.Images[repository+":v0"]
	}
	return l
}

func TestContentOfRegistries(t *testing.T) {
	for _, o := range []registryOptions{
		{Product: dockerRegistry, User: "alice", Password: "pa ss", Schema1: true},
		{Product: distribution},
		{Product: olareg, TLS: true},
	} {
		t.Run(filepath.Base(o.Product), func(t *testing.T) {
			r := startRegistry(t, o)
			for tagged, image := range r.fill(t).Images {
				repository, tag, _ := strings.Cut(tagged, ":")
				if got := r.Digest(t, repository, tag); got != image.Digest {
					t.Errorf("%s has digest %q, want %q", tagged, got, image.Digest)
				}
			}
			r.Skopeo(t, onDisk(t, multiArch(t, "copied")), "copied/multi", "1", "oci")
			if got := r.Digest(t, "copied/multi", "1"); got == "" {
				t.Error("skopeo's copy is not there")
			}
			if r.Schema1 {
				r.Skopeo(t, "docker://"+r.Addr+"/alone:latest", "legacy/old", "1", "v2s1")
				old, err := remote.Get(r.reference(t, "legacy/old", "1"), r.options()...)
				if err != nil || old.MediaType != types.DockerManifestSchema1Signed {
					t.Errorf("not of the first schema: %v, %v", old, err)
				}
			}
			r.Stop()
			r.Start(t)
			r.Tag(t, "copied/multi", "1", "2")
			r.Delete(t, "copied/multi", "2")
			if tags := r.Tags(t, "copied/multi"); len(tags) != 0 {
				t.Errorf("after the deletion: %q", tags)
			}
		})
	}
}
