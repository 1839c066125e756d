package tidewaiter

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"
)

// Digest names bytes by their hash: "sha256:" and 64, or "sha512:" and 128
// lower-case hexadecimal digits
// (https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests).
// A Digest that came from [ParseDigest] is safe in paths and URLs.
type Digest string

// ParseDigest checks a digest. Errors are of kind [Invalid] and name digest:
// other algorithms, upper-case digits, a wrong length.
func ParseDigest(s string) (Digest, error) {
	algorithm, digits, ok := strings.Cut(s, ":")
	if !ok {
		return "", InvalidField("digest", "has no algorithm; write sha256: and 64 hexadecimal digits")
	}
	length := 0
	switch algorithm {
	case "sha256":
		length = 2 * sha256.Size
	case "sha512":
		length = 2 * sha512.Size
	default:
		return "", InvalidField("digest", "has an algorithm other than sha256 and sha512")
	}
	if len(digits) != length {
		return "", InvalidField("digest", "has the wrong length; %s has %d hexadecimal digits", algorithm, length)
	}
	for _, c := range []byte(digits) {
		if !isDigit(c) && !('a' <= c && c <= 'f') {
			return "", InvalidField("digest", "has a character other than 0-9 and a-f")
		}
	}
	return Digest(s), nil
}

// DigestOf returns the sha256 digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// Hash returns a new hash of the digest's algorithm, sha256 if it names none.
func (d Digest) Hash() hash.Hash {
	if strings.HasPrefix(string(d), "sha512:") {
		return sha512.New()
	}
	return sha256.New()
}

// Matches tells whether h, made by [Digest.Hash], has hashed the bytes that d names.
func (d Digest) Matches(h hash.Hash) bool {
	_, digits, _ := strings.Cut(string(d), ":")
	return digits == hex.EncodeToString(h.Sum(nil))
}

// Platform is what an image runs on.
type Platform struct {
	OS           string // "linux", "windows", …
	Architecture string // "amd64", "arm64", …
	Variant      string // "v7", "v8" or ""
	OSVersion    string // Windows: the build
}

// String returns os/architecture or os/architecture/variant.
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Descriptor points to a manifest, a config or a layer
// (https://github.com/opencontainers/image-spec/blob/main/descriptor.md).
type Descriptor struct {
	MediaType    string
	ArtifactType string // of a manifest that is no image, or ""
	Digest       Digest
	Size         int64             // bytes
	Platform     *Platform         // nil if it does not say
	Annotations  map[string]string // hostile text
	URLs         []string          // of foreign layers: never dialled
}

// The media types of manifests, configs and layers that make up images.
const (
	MediaTypeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	MediaTypeOCIConfig      = "application/vnd.oci.image.config.v1+json"
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	MediaTypeSchema1        = "application/vnd.docker.distribution.manifest.v1+json"
	MediaTypeSchema1Signed  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// Image is one image of one platform, as its manifest and config describe it.
type Image struct {
	Digest    Digest // of the manifest
	MediaType string // of the manifest
	ID        Digest // of the config
	Platform  Platform
	Size      int64 // bytes: the manifest's layers and config, as compressed
	Layers    []Descriptor
	DiffIDs   []Digest // of the layers, uncompressed, in the order of Layers
}

// ChainID names a stack of layers by their diff IDs, the lowest first, as the
// OCI image spec does: it stands for what the layers are when they lie over one
// another (https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid).
// It is "" of no layers.
func ChainID(diffIDs []Digest) Digest {
	var chain Digest
	for i, d := range diffIDs {
		if i == 0 {
			chain = d
			continue
		}
		chain = DigestOf([]byte(string(chain) + " " + string(d)))
	}
	return chain
}
