package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// ArtifactKind says what a manifest stands for.
type ArtifactKind string

// The kinds. Only the first two can be scanned; Windows, foreign, encrypted
// and schema 1 images are images all the same, and are listed as such.
const (
	KindImage       ArtifactKind = "image"
	KindIndex       ArtifactKind = "index" // of images of several platforms
	KindWindows     ArtifactKind = "windows image"
	KindForeign     ArtifactKind = "image with foreign layers"
	KindEncrypted   ArtifactKind = "encrypted image"
	KindSchema1     ArtifactKind = "schema 1 image"
	KindAttestation ArtifactKind = "attestation"
	KindSignature   ArtifactKind = "signature"
	KindHelmChart   ArtifactKind = "helm chart"
	KindArtifact    ArtifactKind = "other artifact"
)

// IsImage tells whether the kind is listed as an image.
func (k ArtifactKind) IsImage() bool {
	return k == KindImage || k == KindIndex || k == KindWindows || k == KindForeign || k == KindEncrypted || k == KindSchema1
}

// Scannable tells whether the layers of the kind can be scanned.
func (k ArtifactKind) Scannable() bool { return k == KindImage || k == KindIndex }

// Document is what a manifest or an index says, checked for what holds in any:
// digests are well formed, sizes are not negative, nothing is both.
type Document struct {
	Kind      ArtifactKind
	Reason    string // why it is of that kind and cannot be scanned, in words; "" if it can
	Config    tidewaiter.Descriptor
	Layers    []tidewaiter.Descriptor
	Manifests []tidewaiter.Descriptor // of an index
	Subject   tidewaiter.Digest       // the manifest that this one says something about, or ""
}

// rawDescriptor, rawDocument: as on the wire.
type rawDescriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls"`
	Annotations  map[string]string `json:"annotations"`
	ArtifactType string            `json:"artifactType"`
	Platform     *struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
		OSVersion    string `json:"os.version"`
	} `json:"platform"`
}

type rawDocument struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *rawDescriptor    `json:"config"`
	Layers        *[]rawDescriptor  `json:"layers"`
	Manifests     *[]rawDescriptor  `json:"manifests"`
	Blobs         json.RawMessage   `json:"blobs"` // of the artifact manifest that OCI 1.1 gave up
	FSLayers      json.RawMessage   `json:"fsLayers"`
	Subject       *rawDescriptor    `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// Classify reads a manifest or an index of the media type under which it was
// sent. What it does not know is an artifact, never an image. Errors are of
// kind Invalid (it contradicts itself) or TooLarge.
func Classify(mediaType string, manifest []byte) (Document, error) {
	var raw rawDocument
	if err := json.Unmarshal(manifest, &raw); err != nil {
		return Document{}, failure(tidewaiter.Invalid, ReasonAnswer, "a manifest cannot be read: it is no JSON of a manifest's form")
	}
	if isSchema1(mediaType) || isSchema1(raw.MediaType) || raw.SchemaVersion == 1 {
		return Document{Kind: KindSchema1, Reason: "it has a manifest of schema 1, which lists layers in a form given up in 2017; push it again with a current docker"}, nil
	}
	switch {
	case raw.MediaType != "" && mediaType != "" && raw.MediaType != mediaType:
		return Document{}, failure(tidewaiter.Invalid, ReasonAnswer, "a manifest names another media type than the one it was sent under")
	case raw.Manifests != nil && (raw.Layers != nil || raw.Config != nil || raw.FSLayers != nil):
		return Document{}, failure(tidewaiter.Invalid, ReasonAnswer, "a manifest has both layers and manifests; it means different things to different programs")
	}
	if raw.MediaType == "" {
		raw.MediaType = mediaType
	}
	if isIndexType(raw.MediaType) || raw.Manifests != nil && !isManifestType(raw.MediaType) {
		return classifyIndex(raw)
	}
	if raw.Manifests != nil {
		return Document{}, failure(tidewaiter.Invalid, ReasonAnswer, "a manifest of one image lists manifests")
	}
	return classifyManifest(raw)
}

func classifyIndex(raw rawDocument) (Document, error) {
	if raw.Layers != nil || raw.Config != nil {
		return Document{}, failure(tidewaiter.Invalid, ReasonAnswer, "an index has layers")
	}
	d := Document{Kind: KindIndex}
	if raw.Manifests == nil {
		d.Manifests = []tidewaiter.Descriptor{}
	} else {
		var err error
		if d.Manifests, err = descriptors(*raw.Manifests); err != nil {
			return Document{}, err
		}
	}
	switch {
	case raw.ArtifactType != "":
		d.Kind, d.Reason = KindArtifact, "it is an index of artifacts of type "+display(raw.ArtifactType)
	case len(d.Manifests) == 0:
		d.Kind, d.Reason = KindArtifact, "it is an index without any manifest"
	case !slices.ContainsFunc(d.Manifests, func(m tidewaiter.Descriptor) bool {
		return isManifestType(m.MediaType) || isIndexType(m.MediaType) || isSchema1(m.MediaType)
	}):
		d.Kind, d.Reason = KindArtifact, "it is an index that lists no images (a build cache, for instance)"
	}
	return d, nil
}

func classifyManifest(raw rawDocument) (Document, error) {
	d := Document{Kind: KindImage}
	var err error
	if raw.Subject != nil {
		subject, err := raw.Subject.descriptor()
		if err != nil {
			return Document{}, err
		}
		d.Subject = subject.Digest
	}
	if raw.Layers != nil {
		if d.Layers, err = descriptors(*raw.Layers); err != nil {
			return Document{}, err
		}
	}
	if raw.Config == nil || raw.Layers == nil {
		d.Kind, d.Reason = KindArtifact, "its manifest has no config or no layers, as those of images have"
		return d, nil
	}
	if d.Config, err = raw.Config.descriptor(); err != nil {
		return Document{}, err
	}
	d.Kind, d.Reason = judge(raw, d)
	return d, nil
}

// judge tells images from what is stored in their form.
func judge(raw rawDocument, d Document) (ArtifactKind, string) {
	has := func(part string) bool {
		return slices.ContainsFunc(d.Layers, func(l tidewaiter.Descriptor) bool { return strings.Contains(l.MediaType, part) })
	}
	config := d.Config.MediaType
	switch {
	case has("vnd.dev.cosign.simplesigning"), has("vnd.cncf.notary"), strings.Contains(config, "vnd.cncf.notary"),
		strings.Contains(raw.ArtifactType, "vnd.cncf.notary"), strings.Contains(raw.ArtifactType, "vnd.dev.sigstore"),
		strings.Contains(raw.ArtifactType, "vnd.dev.cosign"), has("vnd.dev.sigstore"):
		return KindSignature, "it is a signature of an image"
	case has("vnd.in-toto+json"), has("vnd.dsse.envelope"):
		return KindAttestation, "it is an attestation about an image (how it was built, or what is in it)"
	case strings.Contains(config, "vnd.cncf.helm.config"):
		return KindHelmChart, "it is a Helm chart"
	case config != tidewaiter.MediaTypeOCIConfig && config != tidewaiter.MediaTypeDockerConfig:
		return KindArtifact, "it is an artifact of type " + display(first(raw.ArtifactType, config, "unknown"))
	case raw.ArtifactType != "" && raw.ArtifactType != config:
		return KindArtifact, "it is an artifact of type " + display(raw.ArtifactType)
	case len(d.Layers) == 0 && raw.Subject != nil:
		return KindArtifact, "it has no layers and only says something about another manifest"
	}
	for _, l := range d.Layers {
		if base, encrypted := strings.CutSuffix(l.MediaType, "+encrypted"); encrypted && isLayerType(base) {
			return KindEncrypted, "its layers are encrypted; there is no key to read them with"
		}
		if !isLayerType(l.MediaType) {
			return KindArtifact, "it has a layer of type " + display(first(l.MediaType, "unknown")) + ", which no image has"
		}
	}
	for _, l := range d.Layers {
		if isForeignType(l.MediaType) || len(l.URLs) > 0 {
			return KindForeign, "it has layers that are kept outside of the registry; those places are never dialled"
		}
	}
	return KindImage, ""
}

// ClassifyChild tells what an entry of an index is, as far as the index says.
func ClassifyChild(d tidewaiter.Descriptor) (ArtifactKind, string) {
	switch {
	case d.Annotations["vnd.docker.reference.type"] == "attestation-manifest":
		return KindAttestation, "it is an attestation about an image of the same index"
	case isIndexType(d.MediaType):
		return KindIndex, ""
	case isSchema1(d.MediaType):
		return KindSchema1, "it has a manifest of schema 1"
	case !isManifestType(d.MediaType):
		return KindArtifact, "it is an artifact of type " + display(first(d.MediaType, "unknown"))
	case d.Platform != nil && (d.Platform.OS == "unknown" || d.Platform.Architecture == "unknown"):
		return KindArtifact, "its index says that its platform is unknown, as attestations have it"
	case d.Platform != nil && d.Platform.OS == "windows":
		return KindWindows, "it is an image for Windows; only Linux images are scanned"
	}
	return KindImage, ""
}

func descriptors(raw []rawDescriptor) ([]tidewaiter.Descriptor, error) {
	if len(raw) > MaxDescriptors {
		return nil, failure(tidewaiter.TooLarge, ReasonLimit, "a manifest lists more than %d things", MaxDescriptors)
	}
	list := make([]tidewaiter.Descriptor, len(raw))
	for i := range raw {
		var err error
		if list[i], err = raw[i].descriptor(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (r rawDescriptor) descriptor() (tidewaiter.Descriptor, error) {
	digest, err := tidewaiter.ParseDigest(r.Digest)
	if err != nil {
		return tidewaiter.Descriptor{}, tidewaiter.Wrap(tidewaiter.Invalid, &Failure{Reason: ReasonDigest, Err: err}, "a manifest names a digest that is none")
	}
	if r.Size < 0 {
		return tidewaiter.Descriptor{}, failure(tidewaiter.Invalid, ReasonAnswer, "a manifest names a size below zero")
	}
	d := tidewaiter.Descriptor{MediaType: r.MediaType, ArtifactType: r.ArtifactType, Digest: digest, Size: r.Size, URLs: r.URLs, Annotations: r.Annotations}
	if r.Platform != nil {
		d.Platform = &tidewaiter.Platform{
			OS: r.Platform.OS, Architecture: r.Platform.Architecture, Variant: r.Platform.Variant, OSVersion: r.Platform.OSVersion,
		}
	}
	return d, nil
}

func isIndexType(t string) bool {
	return t == tidewaiter.MediaTypeOCIIndex || t == tidewaiter.MediaTypeDockerList
}

func isManifestType(t string) bool {
	return t == tidewaiter.MediaTypeOCIManifest || t == tidewaiter.MediaTypeDockerManifest
}

func isLayerType(t string) bool {
	switch t {
	case "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.image.rootfs.diff.tar.zstd":
		return true
	}
	return isForeignType(t)
}

func isForeignType(t string) bool {
	switch t {
	case "application/vnd.docker.image.rootfs.foreign.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return true
	}
	return false
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// String returns the kind, and the reason if there is one.
func (d Document) String() string {
	if d.Reason == "" {
		return string(d.Kind)
	}
	return fmt.Sprintf("%s: %s", d.Kind, d.Reason)
}
