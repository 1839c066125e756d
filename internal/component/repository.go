package component

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A repository is the bundle and its signatures as a registry keeps them:
// what the OCI endpoint serves, and what a push sends.
type repository struct {
	manifests map[v1.Hash]blob
	blobs     map[v1.Hash]blob
	tags      map[string]v1.Hash
}

// newRepository signs the index and each platform's manifest, so that a
// registry that holds one platform only can be verified too; without a key there
// are no signatures.
//
// There is no tag such as "latest": whoever pulls, pulls what was announced.
func newRepository(b *Bundle, key *SigningKey) (*repository, error) {
	r := &repository{
		manifests: maps.Clone(b.manifests),
		blobs:     maps.Clone(b.blobs),
		tags:      map[string]v1.Hash{b.version: b.index.Digest},
	}
	signed := []v1.Hash{b.index.Digest}
	for _, p := range b.platforms {
		r.tags[b.version+"-"+p.Architecture] = p.Manifest
		signed = append(signed, p.Manifest)
	}
	if key == nil {
		return r, nil
	}
	for _, digest := range signed {
		manifest, blobs, err := sign(key, digest)
		if err != nil {
			return nil, fmt.Errorf("sign %s: %w", digest, err)
		}
		r.manifests[manifest.digest] = manifest
		for _, blob := range blobs {
			r.blobs[blob.digest] = blob
		}
		r.tags[signatureTag(digest)] = manifest.digest
	}
	return r, nil
}

// tagNames returns the tags in the order of the distribution specification.
func (r *repository) tagNames() []string { return slices.Sorted(maps.Keys(r.tags)) }

// manifest finds a manifest by tag or by digest.
func (r *repository) manifest(reference string) (blob, bool) {
	digest, tagged := r.tags[reference]
	if !tagged {
		var err error
		if digest, err = parseDigest(reference); err != nil {
			return blob{}, false
		}
	}
	b, ok := r.manifests[digest]
	return b, ok
}

// index returns an index as go-containerregistry sees it.
func (r *repository) index(digest v1.Hash) v1.ImageIndex {
	return storedIndex{stored{r, r.manifests[digest]}}
}

// image returns an image as go-containerregistry sees it.
func (r *repository) image(digest v1.Hash) (v1.Image, error) {
	return partial.CompressedToImage(storedImage{stored{r, r.manifests[digest]}})
}

// stored is what images and indexes have in common.
type stored struct {
	repository *repository
	manifest   blob
}

func (s stored) MediaType() (types.MediaType, error) { return s.manifest.mediaType, nil }
func (s stored) Digest() (v1.Hash, error)            { return s.manifest.digest, nil }
func (s stored) Size() (int64, error)                { return s.manifest.size(), nil }
func (s stored) RawManifest() ([]byte, error)        { return s.manifest.bytes() }

type storedIndex struct{ stored }

var _ v1.ImageIndex = storedIndex{}

func (s storedIndex) IndexManifest() (*v1.IndexManifest, error) {
	text, err := s.RawManifest()
	if err != nil {
		return nil, err
	}
	var list v1.IndexManifest
	return &list, json.Unmarshal(text, &list)
}

func (s storedIndex) Image(digest v1.Hash) (v1.Image, error) { return s.repository.image(digest) }

func (s storedIndex) ImageIndex(digest v1.Hash) (v1.ImageIndex, error) {
	return nil, fmt.Errorf("%s is no index", digest)
}

type storedImage struct{ stored }

var _ partial.CompressedImageCore = storedImage{}

func (s storedImage) RawConfigFile() ([]byte, error) {
	text, err := s.RawManifest()
	if err != nil {
		return nil, err
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, err
	}
	return s.repository.blobs[manifest.Config.Digest].bytes()
}

func (s storedImage) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	b, ok := s.repository.blobs[digest]
	if !ok {
		return nil, fmt.Errorf("there is no blob %s", digest)
	}
	return storedLayer{b}, nil
}

type storedLayer struct{ blob blob }

func (l storedLayer) Digest() (v1.Hash, error)            { return l.blob.digest, nil }
func (l storedLayer) Size() (int64, error)                { return l.blob.size(), nil }
func (l storedLayer) MediaType() (types.MediaType, error) { return l.blob.mediaType, nil }

func (l storedLayer) Compressed() (io.ReadCloser, error) {
	r, err := l.blob.open()
	if err != nil {
		return nil, err
	}
	return io.NopCloser(r), nil
}
