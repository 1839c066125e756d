package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// anonymous has no credentials, whatever this machine is configured with.
type anonymous struct{}

func (anonymous) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

// gzipped is a layer of an image, compressed.
type gzipped struct {
	v1.Layer
	diffID v1.Hash
}

func (l gzipped) DiffID() (v1.Hash, error) { return l.diffID, nil }

func sum(b []byte) v1.Hash {
	s := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(s[:])}
}

// newImage returns an image for a platform, with a layer for each list of entries.
func newImage(tb testing.TB, platform string, layers ...[]extracttest.Entry) v1.Image {
	tb.Helper()
	image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	for n, entries := range layers {
		archive := extracttest.Tar(tb, entries...)
		var err error
		image, err = mutate.Append(image, mutate.Addendum{
			Layer:   gzipped{static.NewLayer(extracttest.Gzip(tb, archive), types.OCILayer), sum(archive)},
			History: v1.History{CreatedBy: fmt.Sprintf("COPY layer%d /", n)},
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		tb.Fatal(err)
	}
	config = config.DeepCopy()
	parts := strings.Split(platform, "/")
	config.OS, config.Architecture = parts[0], parts[1]
	if image, err = mutate.ConfigFile(image, config); err != nil {
		tb.Fatal(err)
	}
	return image
}

// newIndex returns an index of images, by their platforms.
func newIndex(tb testing.TB, images map[string]v1.Image, order ...string) v1.ImageIndex {
	tb.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range order {
		parts := strings.Split(platform, "/")
		p := &v1.Platform{OS: parts[0], Architecture: parts[1]}
		if len(parts) > 2 {
			p.Variant = parts[2]
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: images[platform], Descriptor: v1.Descriptor{Platform: p}})
	}
	return index
}

// content returns the parts of an image.
func content(tb testing.TB, image v1.Image) (manifest, config []byte, layers [][]byte) {
	tb.Helper()
	manifest, err := image.RawManifest()
	if err == nil {
		config, err = image.RawConfigFile()
	}
	var all []v1.Layer
	if err == nil {
		all, err = image.Layers()
	}
	for _, l := range all {
		r, e := l.Compressed()
		if e != nil {
			tb.Fatal(e)
		}
		var b bytes.Buffer
		_, e = b.ReadFrom(r)
		if e != nil {
			tb.Fatal(e)
		}
		layers = append(layers, b.Bytes())
	}
	if err != nil {
		tb.Fatal(err)
	}
	return manifest, config, layers
}

// dockerFiles are an image as docker save writes it before version 25: layers
// uncompressed, and those that an image has twice as links.
func dockerFiles(tb testing.TB, tags []string, image v1.Image, layers ...[]extracttest.Entry) []extracttest.Entry {
	tb.Helper()
	_, config, _ := content(tb, image)
	s := saved{Config: sum(config).Hex + ".json", RepoTags: tags}
	files := []extracttest.Entry{extracttest.File(s.Config, string(config))}
	first := map[string]string{}
	for n, entries := range layers {
		archive := string(extracttest.Tar(tb, entries...))
		file := fmt.Sprintf("layer%d-%s/layer.tar", n, s.Config[:8])
		files = append(files, extracttest.Folder(filepath.Dir(file)), extracttest.File(filepath.Dir(file)+"/VERSION", "1.0"))
		if same, ok := first[archive]; ok {
			files = append(files, extracttest.Symlink(file, "../"+same))
		} else {
			files = append(files, extracttest.File(file, archive))
			first[archive] = file
		}
		s.Layers = append(s.Layers, file)
	}
	return append(files, extracttest.File("manifest.json", toJSON(tb, []saved{s})))
}

// bothFiles are an image as docker save writes it since version 25: an OCI
// layout that has a manifest.json, too.
func bothFiles(tb testing.TB, image v1.Image) []extracttest.Entry {
	tb.Helper()
	_, config, layers := content(tb, image)
	s := saved{Config: "blobs/sha256/" + sum(config).Hex, RepoTags: []string{"team/app:v1"}}
	for _, l := range layers {
		s.Layers = append(s.Layers, "blobs/sha256/"+sum(l).Hex)
	}
	files := layoutFiles(tb, func(_ int, d map[string]any) {
		d["annotations"] = map[string]string{annotationImageName: "docker.io/team/app:v1", annotationRefName: "v1"}
	}, image)
	return append(files, extracttest.File("manifest.json", toJSON(tb, []saved{s})), extracttest.File("repositories", "{}"))
}

func toJSON(tb testing.TB, v any) string {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// blob is a file of a layout.
func blob(b []byte) extracttest.Entry { return extracttest.File("blobs/sha256/"+sum(b).Hex, string(b)) }

// layoutFiles are images as an OCI layout; described changes each descriptor.
func layoutFiles(tb testing.TB, described func(n int, d map[string]any), images ...v1.Image) []extracttest.Entry {
	tb.Helper()
	files := []extracttest.Entry{extracttest.File("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)}
	var descs []map[string]any
	there := map[string]bool{}
	add := func(b []byte) {
		if f := blob(b); !there[f.Name] {
			there[f.Name] = true
			files = append(files, f)
		}
	}
	for n, image := range images {
		manifest, config, layers := content(tb, image)
		add(manifest)
		add(config)
		for _, l := range layers {
			add(l)
		}
		d := map[string]any{"mediaType": tidewaiter.MediaTypeOCIManifest, "digest": sum(manifest).String(), "size": len(manifest)}
		if described != nil {
			described(n, d)
		}
		descs = append(descs, d)
	}
	return append(files, extracttest.File("index.json", toJSON(tb, map[string]any{"schemaVersion": 2, "manifests": descs})))
}

// writeArchive writes a tar archive and returns its name.
func writeArchive(tb testing.TB, entries []extracttest.Entry) string {
	tb.Helper()
	return writeBytes(tb, extracttest.Tar(tb, entries...))
}

func writeBytes(tb testing.TB, b []byte) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "image.tar")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// writeFolder writes the regular files and links among entries into a folder.
func writeFolder(tb testing.TB, entries []extracttest.Entry) string {
	tb.Helper()
	dir := tb.TempDir()
	for _, e := range entries {
		file := filepath.Join(dir, e.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			tb.Fatal(err)
		}
		var err error
		switch {
		case strings.HasSuffix(e.Name, "/"):
			err = os.MkdirAll(file, 0o700)
		case e.Linkname != "":
			err = os.Symlink(e.Linkname, file)
		default:
			err = os.WriteFile(file, []byte(e.Body), 0o600)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// newRegistry starts a registry and returns its host and port.
func newRegistry(tb testing.TB, wrap func(http.Handler) http.Handler) string {
	tb.Helper()
	handler := ggcr.New(ggcr.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)))
	if wrap != nil {
		handler = wrap(handler)
	}
	s := httptest.NewServer(handler)
	tb.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func push(tb testing.TB, reference string, what remote.Taggable, o ...remote.Option) {
	tb.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		tb.Fatal(err)
	}
	if index, ok := what.(v1.ImageIndex); ok {
		err = remote.WriteIndex(ref, index, o...)
	} else {
		err = remote.Write(ref, what.(v1.Image), o...)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// lists says what the extractor of tests finds in an image: its packages, and
// what was cut.
func lists(tb testing.TB, target string, o Options) []string {
	tb.Helper()
	o.PlainHTTP, o.Keychain, o.Registry = true, anonymous{}, registry.Options{Attempts: 1}
	s, err := Open(context.Background(), target, o)
	if err != nil {
		tb.Fatalf("%s: %v", target, err)
	}
	defer s.Close()
	if len(s.Images) != 1 {
		tb.Fatalf("%s: %d images", target, len(s.Images))
	}
	return found(tb, &s.Images[0])
}

func found(tb testing.TB, i *Image) []string {
	tb.Helper()
	facts, err := i.Facts(context.Background(), extract.Options{Extractors: []extract.Extractor{extracttest.Lists{}}})
	if err != nil {
		tb.Fatal(err)
	}
	view := overlay.Merge(facts)
	var lines []string
	for _, p := range view.Packages {
		step := ""
		if n := i.Config.StepOf(p.Origin); n >= 0 {
			step = i.Config.Steps[n].Command
		}
		lines = append(lines, fmt.Sprintf("%s %s in %s, layer %d by %s", p.Name, p.Version, p.Path, p.Origin, step))
	}
	for _, c := range view.Cuts {
		lines = append(lines, fmt.Sprintf("cut %s %s, layer %d", c.Code, c.Path, c.Layer))
	}
	return lines
}

// open opens an archive or a folder.
func open(tb testing.TB, target string, o Options) (*Source, error) {
	tb.Helper()
	o.Keychain = anonymous{}
	s, err := Open(context.Background(), target, o)
	if err == nil {
		tb.Cleanup(func() {
			if err := s.Close(); err != nil {
				tb.Error(err)
			}
		})
	}
	return s, err
}
