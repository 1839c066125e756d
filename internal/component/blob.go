package component

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A blob is content with a digest. It may be read by many at a time, each
// through its own [blob.open].
type blob struct {
	mediaType types.MediaType
	digest    v1.Hash
	content   *io.SectionReader
	check     func() error // compares content and digest, the first time
}

func newBlob(mediaType types.MediaType, digest v1.Hash, content *io.SectionReader) blob {
	return blob{mediaType: mediaType, digest: digest, content: content, check: sync.OnceValue(func() error {
		got, _, err := v1.SHA256(io.NewSectionReader(content, 0, content.Size()))
		if err != nil {
			return fmt.Errorf("read blob %s: %w", digest, err)
		}
		if got != digest {
			return fmt.Errorf("blob %s is damaged: its content has the digest %s", digest, got)
		}
		return nil
	})}
}

// newMemoryBlob makes a blob of content that this program made.
func newMemoryBlob(mediaType types.MediaType, content []byte) blob {
	sum := sha256.Sum256(content)
	return blob{
		mediaType: mediaType,
		digest:    v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])},
		content:   io.NewSectionReader(bytes.NewReader(content), 0, int64(len(content))),
		check:     func() error { return nil },
	}
}

func (b blob) size() int64 { return b.content.Size() }

// open returns the content from its beginning, known to match the digest.
func (b blob) open() (*io.SectionReader, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	return io.NewSectionReader(b.content, 0, b.size()), nil
}

// bytes returns the content in memory: for manifests and configurations.
func (b blob) bytes() ([]byte, error) {
	r, err := b.open()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func (b blob) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: b.mediaType, Size: b.size(), Digest: b.digest}
}

// digestPattern is stricter than the grammar of digests: one algorithm, its
// exact length, lower case. Nothing else is ever looked up.
var digestPattern = regexp.MustCompile(`^sha256:([0-9a-f]{64})$`)

func parseDigest(s string) (v1.Hash, error) {
	m := digestPattern.FindStringSubmatch(s)
	if m == nil {
		return v1.Hash{}, fmt.Errorf("a digest must be sha256: and 64 hexadecimal digits in lower case")
	}
	return v1.Hash{Algorithm: "sha256", Hex: m[1]}, nil
}
