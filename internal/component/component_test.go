package component

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/tidewaiter/tidewaiter"
)

func TestLoad(t *testing.T) {
	b := fakeBundle(t)
	if b.Version() != fakeVersion || b.ZipName() != "scan-component-1.2.3.zip" || b.LocalName() != "scan-component:1.2.3" {
		t.Errorf("version %q, zip %q, image %q", b.Version(), b.ZipName(), b.LocalName())
	}
	var got []string
	for _, p := range b.Platforms() {
		got = append(got, p.String()+" "+p.ArchiveName())
	}
	want := []string{"linux/amd64 scan-component-amd64.tar", "linux/arm64 scan-component-arm64.tar"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

// The program may be built with or without the component; both must say so.
func TestEmbedded(t *testing.T) {
	b, err := Embedded()
	if err != nil {
		if tidewaiter.KindOf(err) != tidewaiter.Unavailable || !strings.Contains(err.Error(), "run make build") {
			t.Errorf("error %v, want one of kind Unavailable that names make build", err)
		}
		return
	}
	if b.Version() != tidewaiter.Version {
		t.Errorf("embedded component is version %s, the program is %s: run make build", b.Version(), tidewaiter.Version)
	}
	for digest, blob := range b.blobs {
		if err := blob.check(); err != nil {
			t.Errorf("%s: %v", digest, err)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	good := fakeLayout(t)
	b := fakeBundle(t)
	manifest := "blobs/sha256/" + b.platforms[0].Manifest.Hex
	config := "blobs/sha256/" + b.platforms[0].Config.Hex
	for _, tt := range []struct {
		name   string
		change func(fstest.MapFS)
		want   string
	}{
		{"empty", func(l fstest.MapFS) { delete(l, "index.json") }, "without the scan component"},
		{"index is no JSON", func(l fstest.MapFS) { l["index.json"] = &fstest.MapFile{Data: []byte("{")} }, "read index"},
		{"no image", func(l fstest.MapFS) { l["index.json"] = &fstest.MapFile{Data: []byte("{}")} }, "0 images"},
		{"version is a path", func(l fstest.MapFS) {
			l["index.json"] = &fstest.MapFile{Data: []byte(strings.Replace(string(l["index.json"].Data), fakeVersion, "../1", 1))}
		}, "no valid version"},
		{"missing manifest", func(l fstest.MapFS) { delete(l, manifest) }, "open blob"},
		{"manifest of another length", func(l fstest.MapFS) { l[manifest] = &fstest.MapFile{Data: []byte("{}")} }, "is not a file of"},
		{"damaged configuration", func(l fstest.MapFS) {
			data := []byte(strings.Replace(string(l[config].Data), "linux", "minix", 1))
			l[config] = &fstest.MapFile{Data: data}
		}, "is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := maps.Clone(good)
			tt.change(changed)
			if _, err := Load(changed); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// A damaged layer is found before it is handed out.
func TestDamagedLayer(t *testing.T) {
	layout := fakeLayout(t)
	b := fakeBundle(t)
	manifest, err := b.manifests[b.platforms[0].Manifest].bytes()
	check(t, err)
	var m v1.Manifest
	check(t, json.Unmarshal(manifest, &m))
	file := "blobs/sha256/" + m.Layers[0].Digest.Hex
	data := append([]byte(nil), layout[file].Data...)
	data[len(data)/2] ^= 1
	layout[file] = &fstest.MapFile{Data: data}

	damaged, err := Load(layout)
	check(t, err)
	if _, _, err := damaged.archive(damaged.platforms[0]); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("error %v, want one that says the layer is damaged", err)
	}
}

// Each archive is a docker archive and an OCI layout of the same image.
func TestArchive(t *testing.T) {
	b := fakeBundle(t)
	for _, p := range b.Platforms() {
		t.Run(p.Architecture, func(t *testing.T) {
			archive, _, err := b.archive(p)
			check(t, err)
			file := filepath.Join(t.TempDir(), p.ArchiveName())
			content, err := io.ReadAll(archive.reader())
			check(t, err)
			check(t, os.WriteFile(file, content, 0o600))

			tag, err := name.NewTag(b.LocalName())
			check(t, err)
			img, err := tarball.ImageFromPath(file, &tag)
			check(t, err)
			check(t, validate.Image(img))
			config, err := img.ConfigName()
			check(t, err)
			if config != p.Config {
				t.Errorf("docker sees the image %s, want %s", config, p.Config)
			}

			dir := t.TempDir()
			untar(t, file, dir)
			index, err := layout.ImageIndexFromPath(dir)
			check(t, err)
			check(t, validate.Index(index))
			list, err := index.IndexManifest()
			check(t, err)
			if len(list.Manifests) != 1 || list.Manifests[0].Digest != p.Manifest {
				t.Errorf("the layout has %+v, want the manifest %s", list.Manifests, p.Manifest)
			}
			want := map[string]string{
				"org.opencontainers.image.ref.name": fakeVersion,
				"io.containerd.image.name":          "docker.io/library/scan-component:1.2.3",
			}
			if diff := cmp.Diff(want, list.Manifests[0].Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
		})
	}
}

// untar unpacks a file of our own.
func untar(t *testing.T, file, dir string) {
	t.Helper()
	f, err := os.Open(file)
	check(t, err)
	defer f.Close()
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		check(t, err)
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			check(t, os.MkdirAll(path, 0o700))
			continue
		}
		content, err := io.ReadAll(r)
		check(t, err)
		check(t, os.WriteFile(path, content, 0o600))
	}
}
