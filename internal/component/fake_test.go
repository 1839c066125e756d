package component

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"
	"testing/fstest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// fakeVersion is the version of the fake bundle.
const fakeVersion = "1.2.3"

// fakeLayout is a layout like mkimage's, with a few bytes for a program.
func fakeLayout(t testing.TB) fstest.MapFS {
	t.Helper()
	layout := fstest.MapFS{".gitignore": {Data: []byte("*\n")}}
	add := func(mediaType types.MediaType, content []byte) v1.Descriptor {
		digest, size, err := v1.SHA256(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		layout["blobs/sha256/"+digest.Hex] = &fstest.MapFile{Data: content}
		return v1.Descriptor{MediaType: mediaType, Size: size, Digest: digest}
	}
	list := v1.IndexManifest{SchemaVersion: 2, MediaType: types.DockerManifestList}
	for _, arch := range []string{"amd64", "arm64"} {
		var layerTar, layerGzip bytes.Buffer
		w := tar.NewWriter(&layerTar)
		program := []byte("the program for " + arch)
		check(t, w.WriteHeader(&tar.Header{Name: "scan-component", Mode: 0o755, Size: int64(len(program)), Format: tar.FormatUSTAR}))
		_, err := w.Write(program)
		check(t, err)
		check(t, w.Close())
		z := gzip.NewWriter(&layerGzip)
		_, err = z.Write(layerTar.Bytes())
		check(t, err)
		check(t, z.Close())
		diffID := v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(layerTar.Bytes()))}
		manifest := v1.Manifest{
			SchemaVersion: 2,
			MediaType:     types.DockerManifestSchema2,
			Config: add(types.DockerConfigJSON, marshal(t, v1.ConfigFile{
				OS: "linux", Architecture: arch, Created: v1.Time{Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)},
				RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diffID}},
			})),
			Layers: []v1.Descriptor{add(types.DockerLayer, layerGzip.Bytes())},
		}
		d := add(types.DockerManifestSchema2, marshal(t, manifest))
		d.Platform = &v1.Platform{OS: "linux", Architecture: arch}
		list.Manifests = append(list.Manifests, d)
	}
	top := add(types.DockerManifestList, marshal(t, list))
	top.Annotations = map[string]string{refNameAnnotation: fakeVersion}
	index, err := layoutIndex(top)
	check(t, err)
	layout["index.json"] = &fstest.MapFile{Data: index}
	layout["oci-layout"] = &fstest.MapFile{Data: []byte(layoutVersion)}
	return layout
}

func fakeBundle(t testing.TB) *Bundle {
	t.Helper()
	b, err := Load(fakeLayout(t))
	check(t, err)
	return b
}

// fakeKey is the same key in every run.
func fakeKey(t testing.TB) *SigningKey {
	t.Helper()
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	check(t, err)
	return &SigningKey{private: private}
}

// fakeServer serves the fake bundle.
func fakeServer(t testing.TB) (*httptest.Server, *Bundle) {
	t.Helper()
	b := fakeBundle(t)
	handler, err := NewHandler(b, fakeKey(t), slog.New(slog.DiscardHandler))
	check(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server, b
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "   ")
	check(t, err)
	return text
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
