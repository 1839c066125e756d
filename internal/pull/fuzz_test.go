package pull

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

// FuzzArchive reads the contents of whatever archive: what it finds is whole,
// and what is wrong is an error for people.
func FuzzArchive(f *testing.F) {
	image := newImage(f, "linux/amd64", oneLayer())
	f.Add(extracttest.Tar(f, dockerFiles(f, []string{"app:v1"}, image, oneLayer(), oneLayer())...), false)
	f.Add(extracttest.Tar(f, layoutFiles(f, nil, image)...), true)
	f.Add(extracttest.Tar(f, extracttest.Symlink("index.json", "a"), extracttest.Link("a", "index.json")), false)
	f.Fuzz(func(t *testing.T, b []byte, all bool) {
		a, err := newArchive(context.Background(), bytes.NewReader(b), bytes.NewReader(b))
		if err != nil {
			checkError(t, err)
			return
		}
		s, err := openFiles(context.Background(), a, Options{All: all})
		if err != nil {
			checkError(t, err)
			return
		}
		if len(s.Images) == 0 || !all && len(s.Images) > 1 {
			t.Errorf("%d images", len(s.Images))
		}
		checkImages(t, s)
	})
}

// FuzzIndexes reads an index.json and a manifest.json.
func FuzzIndexes(f *testing.F) {
	image := newImage(f, "linux/amd64", oneLayer())
	parts := map[string]string{}
	for _, e := range append(dockerFiles(f, []string{"app:v1"}, image, oneLayer()), layoutFiles(f, nil, image)...) {
		parts[e.Name] = e.Body
	}
	f.Add(parts["index.json"], "", "")
	f.Add("", parts["manifest.json"], "app:v1")
	f.Add(parts["index.json"], parts["manifest.json"], "app:v1")
	f.Fuzz(func(t *testing.T, index, manifest, name string) {
		all := map[string]string{"index.json": index, "manifest.json": manifest}
		var b strings.Builder
		a := &archive{members: map[string]member{}, close: func() error { return nil }}
		for n, text := range parts {
			if given, ok := all[n]; ok {
				text = given
			}
			if text != "" {
				a.members[n] = member{offset: int64(b.Len()), size: int64(len(text))}
				b.WriteString(text)
			}
		}
		a.file = strings.NewReader(b.String())
		s, err := openFiles(context.Background(), a, Options{Name: name, Platform: tidewaiter.Platform{OS: "linux", Architecture: "amd64"}})
		if err != nil {
			checkError(t, err)
			return
		}
		checkImages(t, s)
	})
}

func checkError(t *testing.T, err error) {
	switch tidewaiter.KindOf(err) {
	case tidewaiter.Invalid, tidewaiter.NotFound, tidewaiter.TooLarge, tidewaiter.Conflict:
	default:
		t.Errorf("%v: %v", tidewaiter.KindOf(err), err)
	}
	if e := messageOf(err); strings.ContainsFunc(e, func(r rune) bool { return r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 }) {
		t.Errorf("%q", e)
	}
}

func checkImages(t *testing.T, s *Source) {
	for _, i := range s.Images {
		if i.Problem() == "" && (len(i.DiffIDs) != len(i.Layers) || len(i.keys) != len(i.Layers) || i.open == nil) {
			t.Errorf("%d layers, %d diff IDs, %d files", len(i.Layers), len(i.DiffIDs), len(i.keys))
		}
	}
}
