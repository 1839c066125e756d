package pull

import (
	"context"
	"io"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// listed are the images that a list of descriptors, and indexes among them,
// comes to.
type listed struct {
	content    registry.Content
	repository string
	images     []tidewaiter.Descriptor
	others     []registry.Child
	seen       map[tidewaiter.Digest]bool
	missing    error // of an index within that cannot be read
}

// add goes through descriptors and the indexes among them.
func (l *listed) add(ctx context.Context, descs []tidewaiter.Descriptor, depth int) error {
	for _, desc := range descs {
		if l.seen[desc.Digest] {
			continue // listed twice, or an index within itself
		}
		l.seen[desc.Digest] = true
		if len(l.seen) > registry.MaxDescriptors {
			return tidewaiter.Errorf(tidewaiter.TooLarge, "an index and those within it list more than %d manifests", registry.MaxDescriptors)
		}
		kind, reason := registry.ClassifyChild(desc)
		switch {
		case kind == registry.KindIndex && depth > registry.MaxNesting:
			l.other(desc, registry.KindArtifact, "it is an index within too many others")
		case kind == registry.KindIndex:
			if err := l.index(ctx, desc, depth); err != nil {
				return err
			}
		case !kind.IsImage():
			l.other(desc, kind, reason)
		default:
			l.images = append(l.images, desc)
		}
	}
	return nil
}

func (l *listed) index(ctx context.Context, desc tidewaiter.Descriptor, depth int) error {
	m, err := l.content.ManifestOf(ctx, l.repository, desc)
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		l.missing = err // the others may be there
		return nil
	}
	if err != nil {
		return err
	}
	d, err := registry.Classify(m.MediaType, m.Bytes)
	if err != nil {
		return err
	}
	if d.Kind != registry.KindIndex {
		l.other(desc, d.Kind, d.Reason)
		return nil
	}
	return l.add(ctx, d.Manifests, depth+1)
}

func (l *listed) other(desc tidewaiter.Descriptor, kind registry.ArtifactKind, reason string) {
	l.others = append(l.others, registry.Child{Image: tidewaiter.Image{Digest: desc.Digest, MediaType: desc.MediaType}, Kind: kind, Reason: reason})
}

// take returns the images among descriptors that are wanted.
func (o Options) take(ctx context.Context, content registry.Content, repository string, descs []tidewaiter.Descriptor) ([]Image, []registry.Child, error) {
	l := &listed{content: content, repository: repository, seen: make(map[tidewaiter.Digest]bool)}
	if err := l.add(ctx, descs, 1); err != nil {
		return nil, nil, err
	}
	var children []registry.Child
	var kept budget
	inspect := func(desc tidewaiter.Descriptor) {
		c := registry.InspectImage(ctx, content, repository, desc)
		kept.config(&c)
		children = append(children, c)
	}
	if chosen, err := o.byIndex(l.images); chosen >= 0 || err != nil {
		if err != nil {
			return nil, nil, err
		}
		inspect(l.images[chosen])
	} else {
		for _, desc := range l.images {
			inspect(desc)
		}
	}
	var images []Image
	for _, c := range children {
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case c.Err == nil && !c.Kind.IsImage():
			l.others = append(l.others, c)
		default:
			images = append(images, imageOf(content, repository, c))
		}
	}
	switch {
	case len(images) == 0 && l.missing != nil:
		return nil, nil, l.missing
	case len(images) == 0 && len(l.others) == 1:
		return nil, nil, invalid("there is no image: %s", l.others[0].Reason)
	case len(images) == 0:
		return nil, nil, invalid("there is no image: it is an index that holds none")
	case !o.All && len(images) > 1:
		have := make([]tidewaiter.Platform, len(images))
		for i := range images {
			have[i] = images[i].Platform
		}
		i, err := o.choose(have)
		if err != nil {
			return nil, nil, err
		}
		images = images[i : i+1]
	}
	if !o.All {
		if err := o.fits(&images[0]); err != nil {
			return nil, nil, err
		}
	}
	return images, l.others, nil
}

// byIndex chooses by what the index says alone, which saves requests. It
// returns -1 if all are wanted, or if the index does not say.
func (o Options) byIndex(images []tidewaiter.Descriptor) (int, error) {
	if o.All || len(images) < 2 {
		return -1, nil
	}
	have := make([]tidewaiter.Platform, len(images))
	for i, desc := range images {
		if desc.Platform == nil || desc.Platform.OS == "" || desc.Platform.Architecture == "" {
			return -1, nil
		}
		have[i] = *desc.Platform
	}
	return o.choose(have)
}

// fits refuses an image for another platform than the one that was asked for.
func (o Options) fits(i *Image) error {
	if i.Err != nil {
		return i.Err
	}
	if o.Platform == (tidewaiter.Platform{}) || i.Kind == registry.KindSchema1 {
		return nil
	}
	_, err := o.choose([]tidewaiter.Platform{i.Platform})
	return err
}

// budget bounds the configs of many images that are kept.
type budget int

// config drops the config of an image if those before it are too much.
func (b *budget) config(c *registry.Child) {
	if c.Config == nil {
		return
	}
	n := len(c.Config.User) + len(c.Config.WorkDir)
	for _, s := range c.Config.Steps {
		n += len(s.Command) + len(s.Comment) + 100
	}
	for _, list := range [][]string{c.Config.Entrypoint, c.Config.Command, c.Config.Env, c.Config.Ports} {
		for _, s := range list {
			n += len(s)
		}
	}
	for name, value := range c.Config.Labels {
		n += len(name) + len(value)
	}
	if *b += budget(n); *b > registry.MaxConfigs {
		c.Config = nil
	}
}

// imageOf returns an image whose layers are blobs of content.
func imageOf(content registry.Content, repository string, c registry.Child) Image {
	keys := make([]string, len(c.Layers))
	for n, l := range c.Layers {
		keys[n] = string(l.Digest)
	}
	return Image{Child: c, keys: keys, open: func(ctx context.Context, n int) (io.ReadCloser, error) {
		return content.Blob(ctx, repository, c.Layers[n])
	}}
}
