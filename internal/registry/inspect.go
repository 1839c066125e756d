package registry

import (
	"context"
	"io"
	"math"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// Artifact is what a tag or digest of a repository stands for.
type Artifact struct {
	tidewaiter.Descriptor
	Kind   ArtifactKind
	Reason string  // why it cannot be scanned, or ""
	Images []Child // the image, or those of an index; each once
	Others []Child // what an index lists besides images: never listed as images, with the reason
}

// Child is one manifest of an artifact.
type Child struct {
	tidewaiter.Image
	Created time.Time               // as its config says, or zero
	Config  *tidewaiter.ImageConfig // nil if it was not read, or if an index has more of them than MaxConfigs
	Kind    ArtifactKind
	Reason  string // why it cannot be scanned, or ""
	Err     error  // why it could not be read; then Kind is what its index says
}

// Content is where manifests and blobs are read from: a [Client], or an archive
// of images. What each method returns and checks is written at Client's.
type Content interface {
	Manifest(ctx context.Context, repository, reference string) (Manifest, error)
	ManifestOf(ctx context.Context, repository string, d tidewaiter.Descriptor) (Manifest, error)
	Blob(ctx context.Context, repository string, d tidewaiter.Descriptor) (io.ReadCloser, error)
}

var _ Content = (*Client)(nil)

// Inspect is [Inspect] with the registry of the client.
func (c *Client) Inspect(ctx context.Context, repository, reference string) (Artifact, error) {
	return Inspect(ctx, c, repository, reference)
}

// Inspect reads a manifest by tag or digest, and of an image its config, and
// of an index the manifests and configs of its images: 2 requests, and 2 more
// for each image of an index. An error of one child stays with that child,
// unless it is one that all would have: Unauthenticated, Forbidden, Throttled,
// Unavailable, or the end of the context.
func Inspect(ctx context.Context, c Content, repository, reference string) (Artifact, error) {
	m, err := c.Manifest(ctx, repository, reference)
	if err != nil {
		return Artifact{}, err
	}
	d, err := Classify(m.MediaType, m.Bytes)
	if err != nil {
		return Artifact{}, err
	}
	a := Artifact{Descriptor: m.Descriptor, Kind: d.Kind, Reason: d.Reason}
	if d.Kind == KindIndex {
		w := walk{content: c, repository: repository, artifact: &a, seen: map[tidewaiter.Digest]bool{m.Digest: true}}
		if err := w.index(ctx, d, 1); err != nil {
			return Artifact{}, err
		}
		if len(a.Images) == 0 {
			a.Kind, a.Reason = KindArtifact, "it is an index that holds no image"
		}
		return a, nil
	}
	if !d.Kind.IsImage() {
		return a, nil
	}
	child := readImage(ctx, c, repository, m, d, nil)
	if child.Err != nil {
		return Artifact{}, child.Err
	}
	a.Kind, a.Reason, a.Images = child.Kind, child.Reason, []Child{child}
	return a, nil
}

// walk goes through an index and those within it.
type walk struct {
	content    Content
	repository string
	artifact   *Artifact
	seen       map[tidewaiter.Digest]bool
	configs    int64 // bytes of the configs so far
}

func (w *walk) index(ctx context.Context, d Document, depth int) error {
	for _, desc := range d.Manifests {
		if w.seen[desc.Digest] {
			continue // listed twice, or an index within itself
		}
		w.seen[desc.Digest] = true
		if len(w.seen) > MaxDescriptors {
			return failure(tidewaiter.TooLarge, ReasonLimit, "an index and those within it list more than %d manifests", MaxDescriptors)
		}
		if err := w.child(ctx, desc, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) child(ctx context.Context, desc tidewaiter.Descriptor, depth int) error {
	a := w.artifact
	child := Child{Image: tidewaiter.Image{Digest: desc.Digest, MediaType: desc.MediaType}}
	if desc.Platform != nil {
		child.Platform = *desc.Platform
	}
	if child.Kind, child.Reason = ClassifyChild(desc); !child.Kind.IsImage() {
		a.Others = append(a.Others, child)
		return nil
	}
	if child.Kind == KindIndex && depth >= MaxNesting {
		child.Kind, child.Reason = KindArtifact, "it is an index within too many others"
		a.Others = append(a.Others, child)
		return nil
	}
	m, err := w.content.ManifestOf(ctx, w.repository, desc)
	var d Document
	if err == nil {
		d, err = Classify(m.MediaType, m.Bytes)
	}
	switch {
	case err != nil:
		if concernsAll(ctx, err) {
			return err
		}
		child.Err = err
		a.Images = append(a.Images, child)
	case d.Kind == KindIndex:
		return w.index(ctx, d, depth+1)
	case !d.Kind.IsImage():
		child.Kind, child.Reason = d.Kind, d.Reason
		a.Others = append(a.Others, child)
	default:
		child = readImage(ctx, w.content, w.repository, m, d, desc.Platform)
		if child.Err != nil && concernsAll(ctx, child.Err) {
			return child.Err
		}
		if w.configs += d.Config.Size; w.configs > MaxConfigs {
			child.Config = nil
		}
		a.Images = append(a.Images, child)
	}
	return nil
}

// concernsAll tells an error of the registry from one of a single manifest.
func concernsAll(ctx context.Context, err error) bool {
	switch tidewaiter.KindOf(err) {
	case tidewaiter.Unauthenticated, tidewaiter.Forbidden, tidewaiter.Throttled, tidewaiter.Unavailable:
		return true
	}
	return ctx.Err() != nil
}

// InspectImage reads what an index lists as an image, and its config: 2
// requests. The error of an image that cannot be read is the child's.
func InspectImage(ctx context.Context, c Content, repository string, desc tidewaiter.Descriptor) Child {
	child := Child{Image: tidewaiter.Image{Digest: desc.Digest, MediaType: desc.MediaType}}
	if desc.Platform != nil {
		child.Platform = *desc.Platform
	}
	if child.Kind, child.Reason = ClassifyChild(desc); !child.Kind.IsImage() {
		return child
	}
	m, err := c.ManifestOf(ctx, repository, desc)
	var d Document
	if err == nil {
		d, err = Classify(m.MediaType, m.Bytes)
	}
	if err != nil {
		child.Err = err
		return child
	}
	if child.Kind, child.Reason = d.Kind, d.Reason; !d.Kind.IsImage() || d.Kind == KindIndex {
		return child
	}
	return readImage(ctx, c, repository, m, d, desc.Platform)
}

// readImage reads the config of an image's manifest. said is the platform as an
// index has it, or nil.
func readImage(ctx context.Context, c Content, repository string, m Manifest, d Document, said *tidewaiter.Platform) Child {
	child := Child{Kind: d.Kind, Reason: d.Reason, Image: tidewaiter.Image{
		Digest: m.Digest, MediaType: m.MediaType, ID: d.Config.Digest, Layers: d.Layers, Size: d.Config.Size,
	}}
	if said != nil {
		child.Platform = *said
	}
	if d.Kind == KindSchema1 {
		return child
	}
	for _, l := range d.Layers {
		if child.Size > math.MaxInt64-l.Size {
			child.Err = failure(tidewaiter.Invalid, ReasonAnswer, "the layers of a manifest have no size that can be added up")
			return child
		}
		child.Size += l.Size
	}
	config, err := readConfig(ctx, c, repository, d)
	if err != nil {
		child.Err = err
		return child
	}
	child.Config, child.DiffIDs, child.Created = config, config.DiffIDs, config.Created
	if said == nil || said.OS == "" || said.Architecture == "" {
		child.Platform = config.Platform
	}
	if child.Kind == KindImage && (config.Platform.OS == "windows" || child.Platform.OS == "windows") {
		child.Kind, child.Reason = KindWindows, "it is an image for Windows; only Linux images are scanned"
	}
	return child
}
