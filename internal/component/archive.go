package component

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layoutVersion is the file that marks an OCI image layout.
const layoutVersion = `{"imageLayoutVersion":"1.0.0"}`

// LocalName is the name of the image after an archive was loaded, such as
// "scan-component:1.2.3".
func (b *Bundle) LocalName() string { return ImageName + ":" + b.version }

// archive makes the platform's archive. It is two formats in one, sharing the
// blobs: what "docker save" writes, with manifest.json, which every docker
// loads; and an OCI layout, which podman, nerdctl, skopeo and a docker with
// containerd's store prefer, and which keeps the digest.
func (b *Bundle) archive(p Platform) (*splice, v1.Hash, error) {
	dockerJSON, indexJSON, blobs, err := b.describe(p)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	out := newSplicer()
	w := tar.NewWriter(out)
	header := func(name string, mode, size int64) error {
		h := &tar.Header{Name: name, Mode: mode, Size: size, ModTime: b.modTime(), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		return w.WriteHeader(h)
	}
	file := func(name string, content []byte) error {
		if err := header(name, 0o644, int64(len(content))); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	if err := file("oci-layout", []byte(layoutVersion)); err != nil {
		return nil, v1.Hash{}, err
	}
	if err := file("index.json", indexJSON); err != nil {
		return nil, v1.Hash{}, err
	}
	if err := file("manifest.json", dockerJSON); err != nil {
		return nil, v1.Hash{}, err
	}
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := header(dir, 0o755, 0); err != nil {
			return nil, v1.Hash{}, err
		}
	}
	for _, blob := range blobs {
		content, err := blob.open()
		if err != nil {
			return nil, v1.Hash{}, err
		}
		if err := header(blobPath(blob.digest), 0o644, content.Size()); err != nil {
			return nil, v1.Hash{}, err
		}
		if err := out.insert(w, content); err != nil {
			return nil, v1.Hash{}, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, v1.Hash{}, err
	}
	archive, digest := out.finish()
	return archive, digest, nil
}

// describe returns the two lists of contents of a platform's archive, for
// docker and for OCI, and the blobs that they name.
func (b *Bundle) describe(p Platform) (dockerJSON, indexJSON []byte, blobs []blob, err error) {
	manifestBlob := b.manifests[p.Manifest]
	text, err := manifestBlob.bytes()
	if err != nil {
		return nil, nil, nil, err
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, nil, nil, fmt.Errorf("read manifest %s: %w", p.Manifest, err)
	}
	blobs = []blob{manifestBlob, b.blobs[manifest.Config.Digest]}
	var layers []string
	for _, layer := range manifest.Layers {
		layers = append(layers, blobPath(layer.Digest))
		blobs = append(blobs, b.blobs[layer.Digest])
	}
	dockerJSON, err = json.Marshal([]struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{{blobPath(manifest.Config.Digest), []string{b.LocalName()}, layers}})
	if err != nil {
		return nil, nil, nil, err
	}
	d := p.manifestDescriptor()
	d.Annotations = map[string]string{
		refNameAnnotation:   b.version,
		imageNameAnnotation: "docker.io/library/" + b.LocalName(),
	}
	indexJSON, err = layoutIndex(d)
	return dockerJSON, indexJSON, blobs, err
}

// layoutIndex is the index.json of an image layout with one image.
func layoutIndex(d v1.Descriptor) ([]byte, error) {
	return json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{d}})
}

func blobPath(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }
