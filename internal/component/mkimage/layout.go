package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// writeLayout replaces the image layout in dir
// (https://specs.opencontainers.org/image-spec/image-layout/). Other files in
// dir stay. The index goes last: without it the folder counts as empty.
func writeLayout(dir, version string, index blob, images []image) error {
	indexJSON, err := json.Marshal(v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests: []v1.Descriptor{{
			MediaType: types.DockerManifestList,
			Size:      int64(len(index.content)),
			Digest:    index.digest,
			Annotations: map[string]string{
				"org.opencontainers.image.ref.name": version,
			},
		}},
	})
	if err != nil {
		return err
	}
	for _, old := range []string{"index.json", "oci-layout", "blobs"} {
		if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
			return fmt.Errorf("clear output folder: %w", err)
		}
	}
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return fmt.Errorf("create output folder: %w", err)
	}
	all := []blob{index}
	for _, img := range images {
		all = append(all, img.layer, img.config, img.manifest)
	}
	for _, b := range all {
		if err := os.WriteFile(filepath.Join(blobs, b.digest.Hex), b.content, 0o644); err != nil {
			return fmt.Errorf("write blob: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		return fmt.Errorf("write layout version: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), indexJSON, 0o644); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}
