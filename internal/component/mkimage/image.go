package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/tidewaiter/tidewaiter"
)

// An image is one platform's image: one layer, its configuration, and the
// manifest that names both.
type image struct {
	platform                v1.Platform
	layer, config, manifest blob
}

const (
	caFile = "/etc/ssl/certs/ca-certificates.crt"
	// userID is that of the image's only user. Above the range of system
	// users, so that it owns nothing on the machine by accident.
	userID = 65532
	// stateFolder is where the program keeps its keys. An empty volume that is
	// mounted there takes its owner and mode from the image's folder (docker and
	// podman). It is no declared volume: then a container that was started
	// without one would get one without a name, and lose it unnoticed.
	stateFolder = "/var/lib/tidewaiter"
)

// newImage packs a program for one platform.
func newImage(p v1.Platform, program, certificates []byte, from source) (image, error) {
	layerTar, err := rootTar(program, certificates, from.time)
	if err != nil {
		return image{}, err
	}
	diffID, _, err := v1.SHA256(bytes.NewReader(layerTar))
	if err != nil {
		return image{}, err
	}
	compressed, err := compress(layerTar)
	if err != nil {
		return image{}, err
	}
	layer, err := newBlob(compressed)
	if err != nil {
		return image{}, err
	}
	configJSON, err := json.Marshal(imageConfig(p, diffID, from))
	if err != nil {
		return image{}, err
	}
	config, err := newBlob(configJSON)
	if err != nil {
		return image{}, err
	}
	manifestJSON, err := marshalDocker(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.DockerManifestSchema2,
		Config:        v1.Descriptor{MediaType: types.DockerConfigJSON, Size: int64(len(config.content)), Digest: config.digest},
		Layers:        []v1.Descriptor{{MediaType: types.DockerLayer, Size: int64(len(layer.content)), Digest: layer.digest}},
	})
	if err != nil {
		return image{}, err
	}
	manifest, err := newBlob(manifestJSON)
	return image{platform: p, layer: layer, config: config, manifest: manifest}, err
}

// newIndex makes the manifest list of the images.
func newIndex(images []image) (blob, error) {
	list := v1.IndexManifest{SchemaVersion: 2, MediaType: types.DockerManifestList}
	for _, img := range images {
		list.Manifests = append(list.Manifests, v1.Descriptor{
			MediaType: types.DockerManifestSchema2,
			Size:      int64(len(img.manifest.content)),
			Digest:    img.manifest.digest,
			Platform:  &img.platform,
		})
	}
	listJSON, err := marshalDocker(list)
	if err != nil {
		return blob{}, err
	}
	return newBlob(listJSON)
}

// marshalDocker writes a manifest exactly as "docker push" does: three blanks
// of indentation, and the fields in the order of v1.Manifest. Docker keeps an
// image's configuration and its uncompressed layers, and writes the manifest
// anew when it pushes. Because those bytes are foreseen here, and [compress]
// foresees the layer's, the digest in the user's registry is the one that the
// server announces. For the same reason the media types are Docker's.
//
// See distribution/push_v2.go in github.com/moby/moby, and
// manifest/schema2/manifest.go in github.com/docker/distribution.
func marshalDocker(manifest any) ([]byte, error) {
	return json.MarshalIndent(manifest, "", "   ")
}

// compress is how "docker push" compresses a layer: the standard library's
// gzip, at its default level, with an empty header. It must not be replaced
// by another gzip, nor by the changed one of Go 1.27; a test has its digest.
func compress(layer []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(layer); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func imageConfig(p v1.Platform, diffID v1.Hash, from source) v1.ConfigFile {
	created := v1.Time{Time: from.time}
	return v1.ConfigFile{
		Architecture: p.Architecture,
		OS:           p.OS,
		Created:      created,
		Config: v1.Config{
			User:       fmt.Sprintf("%d:%d", userID, userID),
			Env:        []string{"PATH=/", "SSL_CERT_FILE=" + caFile},
			Entrypoint: []string{"/scan-component"},
			Cmd:        []string{"selfcheck"},
			WorkingDir: "/",
			Labels: map[string]string{
				// https://specs.opencontainers.org/image-spec/annotations/
				"org.opencontainers.image.title":       "Tidewaiter scan component",
				"org.opencontainers.image.description": "Lists and scans the images of a container registry, and sends metadata only",
				"org.opencontainers.image.version":     tidewaiter.Version,
				"org.opencontainers.image.revision":    from.revision,
				"org.opencontainers.image.source":      "https://github.com/tidewaiter/tidewaiter",
				"org.opencontainers.image.licenses":    "Apache-2.0",
				"org.opencontainers.image.created":     from.time.Format(time.RFC3339),
			},
		},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diffID}},
		History: []v1.History{{Created: created, CreatedBy: "mkimage", Comment: "https://github.com/tidewaiter/tidewaiter"}},
	}
}

// rootTar makes the image's file system, sorted by name, owned by root but for
// the state folder.
func rootTar(program, certificates []byte, modTime time.Time) ([]byte, error) {
	passwd := fmt.Sprintf("root:x:0:0:root:/:/sbin/nologin\ntidewaiter:x:%d:%d:Tidewaiter scan component:/:/sbin/nologin\n", userID, userID)
	group := fmt.Sprintf("root:x:0:\ntidewaiter:x:%d:\n", userID)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct {
		name    string // a folder if it ends in a slash
		mode    int64
		content []byte
	}{
		{"etc/", 0o755, nil},
		{"etc/group", 0o644, []byte(group)},
		{"etc/passwd", 0o644, []byte(passwd)},
		{"etc/ssl/", 0o755, nil},
		{"etc/ssl/certs/", 0o755, nil},
		{caFile[1:], 0o644, certificates},
		{"scan-component", 0o755, program},
		{"tmp/", 0o1777, nil},
		{"var/", 0o755, nil},
		{"var/lib/", 0o755, nil},
		{stateFolder[1:] + "/", 0o700, nil},
	} {
		header := &tar.Header{
			Name: f.name, Mode: f.mode, Size: int64(len(f.content)),
			Typeflag: tar.TypeReg, ModTime: modTime, Format: tar.FormatUSTAR,
		}
		if f.name[len(f.name)-1] == '/' {
			header.Typeflag = tar.TypeDir
		}
		if f.name == stateFolder[1:]+"/" {
			header.Uid, header.Gid = userID, userID
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("write %s: %w", f.name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// caBundle returns the CA certificates that Mozilla trusts, as PEM. They come
// with a module, so that go.mod decides what is in the image and the machine
// does not. A root that is trusted under a condition only is left out: a PEM
// file cannot state the condition.
func caBundle() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, fmt.Errorf("write CA bundle: %w", err)
		}
	}
	return out.Bytes(), nil
}
