// Package component is the scan component as this server hands it out: the
// image for every platform, embedded in the program; the zip with archives
// for docker, podman and nerdctl; a read-only OCI distribution endpoint; the
// signatures over all of it; and a push without docker.
//
// The images are made by the command in mkimage, ahead of the build. Nothing
// here copies them to memory: they are read where the program has them.
package component

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter"
)

// Repository is the name of the image at this server's OCI endpoint.
const Repository = "tidewaiter/scan-component"

// ImageName is the name of the image in archives, and the last part of its
// path in a user's registry.
const ImageName = "scan-component"

// dist is what mkimage wrote: an image layout, or nothing but .gitignore.
//
//go:embed all:dist
var dist embed.FS

// A Bundle is one version of the scan component, for all its platforms.
// It is safe for concurrent use.
type Bundle struct {
	version   string
	created   time.Time
	index     v1.Descriptor
	platforms []Platform
	manifests map[v1.Hash]blob // the index and each platform's manifest
	blobs     map[v1.Hash]blob // configurations and layers
}

// A Platform is what one of the images runs on, and which image that is.
type Platform struct {
	OS, Architecture string  // as Go and OCI name them: "linux", "arm64"
	Manifest         v1.Hash // digest of the manifest: what a registry calls the image
	Config           v1.Hash // digest of the configuration: what docker calls the image ID

	manifestSize int64
}

// String returns the platform as "linux/arm64".
func (p Platform) String() string { return p.OS + "/" + p.Architecture }

// ArchiveName is the name of the platform's archive in the zip, such as
// "scan-component-arm64.tar".
func (p Platform) ArchiveName() string { return ImageName + "-" + p.Architecture + ".tar" }

// Embedded returns the bundle that this program carries. Its error is of kind
// [tidewaiter.Unavailable] if the program was built without one.
func Embedded() (*Bundle, error) {
	layout, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, err
	}
	return Load(layout)
}

// Load returns the bundle in an image layout as mkimage writes it. The files
// must be [io.ReaderAt]s and must not change while the bundle is in use.
//
// Manifests and configurations are checked against their digests here, layers
// when they are first read. Errors are of kind [tidewaiter.Unavailable] if
// there is no layout, and [tidewaiter.Internal] if there is a wrong one.
func Load(layout fs.FS) (*Bundle, error) {
	text, err := fs.ReadFile(layout, "index.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tidewaiter.Errorf(tidewaiter.Unavailable, "this program was built without the scan component: run make build")
	}
	if err != nil {
		return nil, fmt.Errorf("read image layout: %w", err)
	}
	var top v1.IndexManifest
	if err := json.Unmarshal(text, &top); err != nil {
		return nil, fmt.Errorf("read index of image layout: %w", err)
	}
	if len(top.Manifests) != 1 {
		return nil, fmt.Errorf("image layout has %d images, want 1", len(top.Manifests))
	}
	b := &Bundle{
		version:   top.Manifests[0].Annotations[refNameAnnotation],
		index:     top.Manifests[0],
		manifests: map[v1.Hash]blob{},
		blobs:     map[v1.Hash]blob{},
	}
	b.index.Annotations = nil
	if !tagPattern.MatchString(b.version) {
		return nil, fmt.Errorf("image layout has no valid version")
	}
	list, err := readJSON[v1.IndexManifest](layout, b.index, b.manifests)
	if err != nil {
		return nil, err
	}
	for _, d := range list.Manifests {
		if err := b.loadImage(layout, d); err != nil {
			return nil, err
		}
	}
	if len(b.platforms) == 0 {
		return nil, fmt.Errorf("image layout has no platform")
	}
	return b, nil
}

// loadImage adds the image of one platform.
func (b *Bundle) loadImage(layout fs.FS, d v1.Descriptor) error {
	if d.Platform == nil || !namePattern.MatchString(d.Platform.Architecture) {
		return fmt.Errorf("manifest %s has no platform", d.Digest)
	}
	manifest, err := readJSON[v1.Manifest](layout, d, b.manifests)
	if err != nil {
		return err
	}
	config, err := readJSON[v1.ConfigFile](layout, manifest.Config, b.blobs)
	if err != nil {
		return err
	}
	for _, layer := range manifest.Layers {
		if b.blobs[layer.Digest], err = openBlob(layout, layer); err != nil {
			return err
		}
	}
	p := Platform{OS: d.Platform.OS, Architecture: d.Platform.Architecture, Manifest: d.Digest, Config: manifest.Config.Digest, manifestSize: d.Size}
	if slices.ContainsFunc(b.platforms, func(q Platform) bool { return q.ArchiveName() == p.ArchiveName() }) {
		return fmt.Errorf("platform %s is there twice", p)
	}
	b.platforms = append(b.platforms, p)
	b.created = config.Created.UTC()
	return nil
}

// Version is the version of the component, such as "1.2.3".
func (b *Bundle) Version() string { return b.version }

// IndexDigest is the digest of the image index: all platforms in one.
func (b *Bundle) IndexDigest() v1.Hash { return b.index.Digest }

// Platforms returns the platforms, in the order of the index.
func (b *Bundle) Platforms() []Platform { return slices.Clone(b.platforms) }

// ZipName is the name of the download: "scan-component-VERSION.zip".
func (b *Bundle) ZipName() string { return ImageName + "-" + b.version + ".zip" }

// modTime is the one time that archives and answers carry: that of the
// commit, but not before what a zip file can hold.
func (b *Bundle) modTime() time.Time {
	if first := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC); b.created.Before(first) {
		return first
	}
	return b.created
}

const (
	// https://specs.opencontainers.org/image-spec/annotations/
	refNameAnnotation = "org.opencontainers.image.ref.name"
	// containerd's: the full name that an import gives to an image. Docker
	// with containerd's store, nerdctl and podman go by it.
	imageNameAnnotation = "io.containerd.image.name"
)

var (
	// tagPattern is a tag in the grammar of the OCI distribution
	// specification, and so safe in a file name.
	tagPattern  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	namePattern = regexp.MustCompile(`^[a-z0-9]+$`)
)

// readJSON adds the blob that d describes to blobs, and parses it.
func readJSON[T any](layout fs.FS, d v1.Descriptor, blobs map[v1.Hash]blob) (T, error) {
	var value T
	content, err := openBlob(layout, d)
	if err != nil {
		return value, err
	}
	text, err := content.bytes()
	if err != nil {
		return value, err
	}
	if err := json.Unmarshal(text, &value); err != nil {
		return value, fmt.Errorf("read blob %s: %w", d.Digest, err)
	}
	blobs[d.Digest] = content
	return value, nil
}

// openBlob finds the blob that d describes, and checks its size.
func openBlob(layout fs.FS, d v1.Descriptor) (blob, error) {
	digest, err := parseDigest(d.Digest.String())
	if err != nil {
		return blob{}, err
	}
	f, err := layout.Open(path.Join("blobs", digest.Algorithm, digest.Hex))
	if err != nil {
		return blob{}, fmt.Errorf("open blob: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return blob{}, fmt.Errorf("open blob: %w", err)
	}
	content, ok := f.(io.ReaderAt)
	if !ok || info.Size() != d.Size {
		return blob{}, fmt.Errorf("blob %s is not a file of %d bytes", digest, d.Size)
	}
	return newBlob(d.MediaType, digest, io.NewSectionReader(content, 0, d.Size)), nil
}

// manifestDescriptor describes the platform's manifest.
func (p Platform) manifestDescriptor() v1.Descriptor {
	return v1.Descriptor{
		MediaType: types.DockerManifestSchema2,
		Size:      p.manifestSize,
		Digest:    p.Manifest,
		Platform:  &v1.Platform{OS: p.OS, Architecture: p.Architecture},
	}
}
