package component

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The formats are cosign's: specs/SIGNATURE_SPEC.md in
// github.com/sigstore/cosign, and for the payload
// https://github.com/containers/image/blob/main/docs/containers-signature.5.md.
const (
	simpleSigning       types.MediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation string          = "dev.cosignproject.cosign/signature"
)

// signatureTag is the tag that cosign looks for.
func signatureTag(digest v1.Hash) string { return digest.Algorithm + "-" + digest.Hex + ".sig" }

// A payload says what was signed.
type payload struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest v1.Hash `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]string `json:"optional"`
}

// sign makes the image that holds the signature over a manifest's digest, and
// the blobs that belong to it.
func sign(key *SigningKey, digest v1.Hash) (manifest blob, blobs []blob, err error) {
	var p payload
	p.Critical.Identity.Reference = Repository
	p.Critical.Image.Digest = digest
	p.Critical.Type = "cosign container image signature"
	text, err := json.Marshal(p)
	if err != nil {
		return blob{}, nil, fmt.Errorf("marshal signature payload: %w", err)
	}
	signature, err := key.Sign(text)
	if err != nil {
		return blob{}, nil, err
	}
	layer := newMemoryBlob(simpleSigning, text)
	configText, err := json.Marshal(v1.ConfigFile{RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{layer.digest}}})
	if err != nil {
		return blob{}, nil, fmt.Errorf("marshal signature configuration: %w", err)
	}
	config := newMemoryBlob(types.OCIConfigJSON, configText)
	signed := layer.descriptor()
	signed.Annotations = map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(signature)}
	manifestText, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        config.descriptor(),
		Layers:        []v1.Descriptor{signed},
	})
	if err != nil {
		return blob{}, nil, fmt.Errorf("marshal signature manifest: %w", err)
	}
	return newMemoryBlob(types.OCIManifestSchema1, manifestText), []blob{config, layer}, nil
}
