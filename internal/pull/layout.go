package pull

import (
	"context"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// layout is an OCI image layout
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
type layout struct{ files files }

var _ registry.Content = layout{}

// The annotations that name an image in an index.json: the tag or the whole
// reference, and containerd's and docker's whole reference.
const (
	annotationRefName   = "org.opencontainers.image.ref.name"
	annotationImageName = "io.containerd.image.name"
)

// index returns what index.json lists.
func (l layout) index() ([]tidewaiter.Descriptor, error) {
	if b, err := read(l.files, "oci-layout", maxControl); err == nil {
		var version struct {
			Version string `json:"imageLayoutVersion"`
		}
		if json.Unmarshal(b, &version) != nil || !strings.HasPrefix(version.Version, "1.") {
			return nil, invalid("oci-layout names a version of the layout other than 1")
		}
	} else if tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return nil, err
	}
	b, err := read(l.files, "index.json", maxControl)
	if err != nil {
		return nil, err
	}
	d, err := registry.Classify(tidewaiter.MediaTypeOCIIndex, b)
	if err != nil {
		return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "index.json cannot be used: %s", messageOf(err))
	}
	if len(d.Manifests) == 0 {
		return nil, invalid("index.json lists no image")
	}
	return d.Manifests, nil
}

// blob opens a blob. Its bytes are not checked.
func (l layout) blob(d tidewaiter.Descriptor) (io.ReadCloser, error) {
	digest, err := tidewaiter.ParseDigest(string(d.Digest))
	if err != nil {
		return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "a manifest names a digest that is none")
	}
	algorithm, digits, _ := strings.Cut(string(digest), ":")
	r, size, err := l.files.open("blobs/" + algorithm + "/" + digits)
	switch {
	case tidewaiter.KindOf(err) == tidewaiter.NotFound:
		return nil, notFound("the blob %s is not there; the image was saved without it, or the copy is not complete", digest)
	case err != nil:
		return nil, err
	case size != d.Size:
		_ = r.Close()
		return nil, invalid("the blob %s has another size than its manifest says", digest)
	}
	return r, nil
}

// Blob opens a blob; its reader returns io.EOF only after the right bytes.
func (l layout) Blob(_ context.Context, _ string, d tidewaiter.Descriptor) (io.ReadCloser, error) {
	r, err := l.blob(d)
	if err != nil {
		return nil, err
	}
	return &checked{ReadCloser: r, digest: d.Digest, hash: d.Digest.Hash()}, nil
}

// Manifest is not how a layout is read: there, each manifest is described.
func (l layout) Manifest(context.Context, string, string) (registry.Manifest, error) {
	return registry.Manifest{}, notFound("a layout has no tags")
}

// ManifestOf reads the manifest that a descriptor points to.
func (l layout) ManifestOf(ctx context.Context, repository string, d tidewaiter.Descriptor) (registry.Manifest, error) {
	if d.Size > registry.MaxManifest {
		return registry.Manifest{}, tidewaiter.Errorf(tidewaiter.TooLarge, "a manifest has more than %d bytes", registry.MaxManifest)
	}
	r, err := l.Blob(ctx, repository, d)
	if err != nil {
		return registry.Manifest{}, err
	}
	defer r.Close() //nolint:errcheck // read
	b, err := io.ReadAll(r)
	if err != nil {
		return registry.Manifest{}, err
	}
	return registry.Manifest{Descriptor: d, Bytes: b}, nil
}

// checked is a blob that must have a digest. Its end is reported only if it does.
type checked struct {
	io.ReadCloser
	digest tidewaiter.Digest
	hash   hash.Hash
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.hash.Write(p[:n])
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, tidewaiter.Wrap(tidewaiter.Invalid, err, "the blob %s cannot be read", c.digest)
	case !c.digest.Matches(c.hash):
		return n, invalid("the blob %s has other bytes than its name says: its digest is wrong", c.digest)
	}
	return n, io.EOF
}

// named are the descriptors of an index.json that have the same name.
type named struct {
	names []string
	descs []tidewaiter.Descriptor
}

// fromLayout finds images in a layout. Those that have no name belong together,
// as they are the platforms of one image.
func (o Options) fromLayout(ctx context.Context, l layout) ([]Image, []registry.Child, error) {
	descs, err := l.index()
	if err != nil {
		return nil, nil, err
	}
	var groups []named
	for _, desc := range descs {
		names := namesOf(desc)
		i := slices.IndexFunc(groups, func(g named) bool { return slices.Equal(g.names, names) })
		if i < 0 {
			groups, i = append(groups, named{names: names}), len(groups)
		}
		groups[i].descs = append(groups[i].descs, desc)
	}
	groups = merge(groups)
	group, err := o.group(groups)
	if err != nil {
		return nil, nil, err
	}
	images, others, err := o.take(ctx, l, "", group.descs)
	for i := range images {
		images[i].Names = group.names
	}
	return images, others, err
}

// merge joins the groups that are the same image under several names.
func merge(groups []named) []named {
	var merged []named
	for _, g := range groups {
		i := slices.IndexFunc(merged, func(m named) bool {
			return slices.EqualFunc(m.descs, g.descs, func(a, b tidewaiter.Descriptor) bool { return a.Digest == b.Digest })
		})
		if i < 0 {
			merged = append(merged, g)
			continue
		}
		for _, n := range g.names {
			if !slices.Contains(merged[i].names, n) {
				merged[i].names = append(merged[i].names, n)
			}
		}
	}
	return merged
}

// group chooses by name, or by digest.
func (o Options) group(groups []named) (named, error) {
	var all []string
	for _, g := range groups {
		if o.Name != "" && slices.ContainsFunc(g.names, func(n string) bool { return sameName(n, o.Name) }) {
			return g, nil
		}
		for _, desc := range g.descs {
			if o.Name != "" && o.Name == string(desc.Digest) {
				return named{g.names, []tidewaiter.Descriptor{desc}}, nil
			}
		}
		if len(g.names) > 0 {
			all = append(all, g.names[0])
		} else {
			for _, desc := range g.descs {
				all = append(all, string(desc.Digest))
			}
		}
	}
	switch {
	case o.Name != "":
		return named{}, notFound("there is no image of that name; choose with --image-name: %s", list(all))
	case len(groups) > 1:
		return named{}, tidewaiter.Errorf(tidewaiter.Conflict, "there are several images; choose with --image-name: %s", list(all))
	}
	return groups[0], nil
}

// namesOf returns the names that an index gives an image.
func namesOf(d tidewaiter.Descriptor) []string {
	var names []string
	for _, key := range []string{annotationImageName, annotationRefName} {
		if n := d.Annotations[key]; n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// sameName tells whether two references mean the same, as alpine:3 and
// docker.io/library/alpine:3 do.
func sameName(a, b string) bool {
	if a == b {
		return true
	}
	x, err := name.ParseReference(a)
	if err != nil {
		return false
	}
	y, err := name.ParseReference(b)
	return err == nil && x.Name() == y.Name()
}
