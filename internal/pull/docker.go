package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// saved is an image as the manifest.json of docker save has it
// (https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format).
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// readSaved reads manifest.json.
func readSaved(f files) ([]saved, error) {
	b, err := read(f, "manifest.json", maxControl)
	if err != nil {
		return nil, err
	}
	broken := invalid("manifest.json cannot be read: it is no list of images, as docker save writes it")
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, broken
	}
	var images []saved
	for dec.More() {
		var s saved
		if err := dec.Decode(&s); err != nil || s.Config == "" {
			return nil, broken
		}
		if images = append(images, s); len(images) > maxImages || len(s.RepoTags) > maxImageTags || len(s.Layers) > registry.MaxDescriptors {
			return nil, tidewaiter.Errorf(tidewaiter.TooLarge, "manifest.json lists more than %d images, or an image with more than %d names or %d layers", maxImages, maxImageTags, registry.MaxDescriptors)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, broken
	}
	if _, err := dec.Token(); err != io.EOF { //nolint:errorlint // documented to be io.EOF itself
		return nil, broken
	}
	if len(images) == 0 {
		return nil, invalid("manifest.json lists no image")
	}
	return images, nil
}

// fromDocker finds images in an archive of docker save.
func (o Options) fromDocker(f files) ([]Image, error) {
	all, err := readSaved(f)
	if err != nil {
		return nil, err
	}
	chosen, names := all[:0:0], []string(nil)
	for _, s := range all {
		if o.Name == "" || s.is(o.Name) {
			chosen = append(chosen, s)
		}
		names = append(names, s.name())
	}
	if len(chosen) == 0 {
		return nil, notFound("there is no image of that name; choose with --image-name: %s", list(names))
	}
	if sameNames(chosen) {
		return o.fromSaved(f, chosen)
	}
	return nil, tidewaiter.Errorf(tidewaiter.Conflict, "there are several images; choose with --image-name: %s", list(names))
}

// sameNames tells whether images are the platforms of one: that is so if they
// have the same names, and have any.
func sameNames(images []saved) bool {
	return !slices.ContainsFunc(images[1:], func(s saved) bool { return len(s.RepoTags) == 0 || !slices.Equal(s.RepoTags, images[0].RepoTags) })
}

func (o Options) fromSaved(f files, chosen []saved) ([]Image, error) {
	images := make([]Image, len(chosen))
	have := make([]tidewaiter.Platform, len(chosen))
	var kept budget
	for i, s := range chosen {
		image, err := s.image(f)
		if err != nil {
			return nil, err
		}
		kept.config(&image.Child)
		images[i], have[i] = image, image.Platform
	}
	if o.All {
		return images, nil
	}
	i, err := o.choose(have)
	if err != nil {
		return nil, err
	}
	return images[i : i+1], nil
}

// is tells whether an image is meant by a name, or by the digest of its config.
func (s saved) is(name string) bool {
	return slices.ContainsFunc(s.RepoTags, func(tag string) bool { return sameName(tag, name) }) || name == s.Config || name == string(digestIn(s.Config))
}

func (s saved) name() string {
	if len(s.RepoTags) > 0 {
		return s.RepoTags[0]
	}
	if d := digestIn(s.Config); d != "" {
		return string(d)
	}
	return s.Config
}

// digestIn returns the digest that the name of a file holds, or "": HEX.json,
// blobs/sha256/HEX, sha256:HEX, or HEX.tar.gz.
func digestIn(file string) tidewaiter.Digest {
	hex, _, _ := strings.Cut(strings.TrimPrefix(path.Base(file), "sha256:"), ".")
	d, err := tidewaiter.ParseDigest("sha256:" + hex)
	if err != nil {
		return ""
	}
	return d
}

// image reads the config of an image.
func (s saved) image(f files) (Image, error) {
	body, err := read(f, clean(s.Config), registry.MaxConfig)
	if err != nil {
		return Image{}, err
	}
	id := tidewaiter.DigestOf(body)
	if said := digestIn(s.Config); said != "" && said != id {
		return Image{}, invalid("the config of an image has other bytes than its name says: its digest is wrong")
	}
	config, err := registry.ParseConfig(body, len(s.Layers))
	if err != nil {
		return Image{}, err
	}
	image := Image{Names: s.RepoTags, Child: registry.Child{
		Kind: registry.KindImage, Config: config, Created: config.Created,
		Image: tidewaiter.Image{ID: id, Platform: config.Platform, DiffIDs: config.DiffIDs, Size: int64(len(body))},
	}}
	if config.Platform.OS == "windows" {
		image.Kind, image.Reason = registry.KindWindows, "it is an image for Windows; only Linux images are scanned"
	}
	for _, file := range s.Layers {
		r, size, err := f.open(clean(file))
		if err != nil {
			return Image{}, err
		}
		_ = r.Close()
		image.Size += size
		image.keys = append(image.keys, clean(file))
		// The files of layers may be compressed or not, and need not be called by
		// their digest: it is the diff IDs that say what must be in them.
		image.Layers = append(image.Layers, tidewaiter.Descriptor{Size: size})
	}
	image.open = func(_ context.Context, n int) (io.ReadCloser, error) {
		r, _, err := f.open(image.keys[n])
		return r, err
	}
	return image, nil
}

// clean returns the name of a file as files have it; one that leads outside
// stays so.
func clean(name string) string { return path.Clean(strings.TrimPrefix(name, "./")) }

// agree refuses an archive whose two lists of contents speak of different
// images: which of them a program loads depends on its version.
func (l layout) agree(ctx context.Context) error {
	images, err := readSaved(l.files)
	if err != nil {
		return err
	}
	descs, err := l.index()
	if err != nil {
		return err
	}
	all := &listed{content: l, seen: make(map[tidewaiter.Digest]bool)}
	if err := all.add(ctx, descs, 1); err != nil {
		return err
	}
	configs := make(map[tidewaiter.Digest]bool)
	for _, desc := range all.images {
		m, err := l.ManifestOf(ctx, "", desc)
		if err != nil {
			continue // of a platform that was not saved
		}
		if d, err := registry.Classify(m.MediaType, m.Bytes); err == nil {
			configs[d.Config.Digest] = true
		}
	}
	for _, s := range images {
		id := digestIn(s.Config)
		if id == "" {
			body, err := read(l.files, clean(s.Config), registry.MaxConfig)
			if err != nil {
				return err
			}
			id = tidewaiter.DigestOf(body)
		}
		if !configs[id] {
			return invalid("its manifest.json and its index.json name different images; it means different things to different programs")
		}
	}
	return nil
}
