package bundle_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/bundle"
	"github.com/tidewaiter/tidewaiter/internal/component"
)

func newKey(t testing.TB) (*component.SigningKey, *component.PublicKey) {
	t.Helper()
	key, err := component.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	public, err := component.ParsePublicKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

// contents are the files of the bundles of the tests.
var contents = map[string]string{"sources/one": "advisories", "sources/two": "more advisories", "component/scan-component-1.0.0.zip": strings.Repeat("zip", 1000)}

func manifest() bundle.Manifest {
	m := bundle.Manifest{Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Version: "1.0.0", Set: tidewaiter.DigestOf([]byte("set")), Advisories: 5}
	for _, name := range []string{"sources/one", "sources/two", "component/scan-component-1.0.0.zip"} {
		f := bundle.File{Name: name, Kind: bundle.KindSource, Digest: tidewaiter.DigestOf([]byte(contents[name])), Size: int64(len(contents[name]))}
		if strings.HasPrefix(name, "component/") {
			f.Kind = bundle.KindComponent
		} else {
			m.Sources = append(m.Sources, bundle.Source{Location: "/srv/" + name, Digest: f.Digest, Advisories: 1})
		}
		m.Files = append(m.Files, f)
	}
	return m
}

func write(t testing.TB, key *component.SigningKey) []byte {
	t.Helper()
	var b bytes.Buffer
	open := func(f bundle.File) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(contents[f.Name])), nil
	}
	if err := bundle.Write(&b, manifest(), key.Sign, open); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read returns what a bundle has.
func read(text []byte, public *component.PublicKey) (map[string]string, bundle.Manifest, error) {
	got := make(map[string]string)
	m, err := bundle.Read(bytes.NewReader(text), public.Verify, func(_ bundle.Manifest, f bundle.File, r io.Reader) error {
		b, err := io.ReadAll(r)
		got[f.Name] = string(b)
		return err
	})
	return got, m, err
}

func TestBundle(t *testing.T) {
	key, public := newKey(t)
	text := write(t, key)
	if !bytes.Equal(text, write(t, key)) {
		t.Error("the same makes other bytes")
	}
	got, m, err := read(text, public)
	if err != nil {
		t.Fatal(err)
	}
	want := manifest()
	want.Format = 1
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if !maps.Equal(contents, got) {
		t.Errorf("got %q", got)
	}
	// Whoever does not read a file has it verified all the same.
	if _, err := bundle.Read(bytes.NewReader(text), public.Verify, func(bundle.Manifest, bundle.File, io.Reader) error { return nil }); err != nil {
		t.Error(err)
	}
	stop := errors.New("stop")
	if _, err := bundle.Read(bytes.NewReader(text), public.Verify, func(bundle.Manifest, bundle.File, io.Reader) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	_, other := newKey(t)
	if _, _, err := read(text, other); tidewaiter.KindOf(err) != tidewaiter.Forbidden {
		t.Errorf("with another key: %v", err)
	}
}

// rewrite has a function change the files of a bundle.
func rewrite(t *testing.T, text []byte, change func(name string, content []byte) (string, []byte)) []byte {
	t.Helper()
	var b bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(text)), tar.NewWriter(&b)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name, content := change(h.Name, content)
		if name == "" {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDamagedBundles(t *testing.T) {
	key, public := newKey(t)
	text := write(t, key)
	edit := func(of string, name string, edit func(string) string) []byte {
		return rewrite(t, text, func(n string, content []byte) (string, []byte) {
			if n != of {
				return n, content
			}
			return name, []byte(edit(string(content)))
		})
	}
	same := func(s string) string { return s }
	for name, tt := range map[string]struct {
		text []byte
		kind tidewaiter.Kind
	}{
		"empty":             {nil, tidewaiter.Invalid},
		"no tar":            {[]byte("hello"), tidewaiter.Invalid},
		"cut off":           {text[:len(text)-3000], tidewaiter.Invalid},
		"another manifest":  {edit("bundle.json", "bundle.json", func(s string) string { return strings.Replace(s, "1.0.0", "1.0.1", 1) }), tidewaiter.Forbidden},
		"no signature":      {edit("bundle.json.sig", "", same), tidewaiter.Invalid},
		"half a signature":  {edit("bundle.json.sig", "bundle.json.sig", func(s string) string { return s[:20] }), tidewaiter.Forbidden},
		"other bytes":       {edit("sources/one", "sources/one", strings.ToUpper), tidewaiter.Invalid},
		"more bytes":        {edit("sources/one", "sources/one", func(s string) string { return s + "x" }), tidewaiter.Invalid},
		"another name":      {edit("sources/one", "../one", same), tidewaiter.Invalid},
		"a file less":       {edit("sources/two", "", same), tidewaiter.Invalid},
		"only the manifest": {edit("bundle.json.sig", "sources/one", same), tidewaiter.Invalid},
	} {
		if _, _, err := read(tt.text, public); tidewaiter.KindOf(err) != tt.kind || err == nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
	more := append(bytes.Clone(text[:len(text)-1024]), rewrite(t, text, func(n string, c []byte) (string, []byte) { return n, c })...)
	if _, _, err := read(more, public); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("with more at its end: %v", err)
	}
	for name, change := range map[string]func(*bundle.Manifest){
		"no file of a source": func(m *bundle.Manifest) { m.Files = m.Files[1:] },
		"a path":              func(m *bundle.Manifest) { m.Files[0].Name = "sources/../x" },
		"no digest":           func(m *bundle.Manifest) { m.Files[0].Digest = "x" },
		"an odd kind":         func(m *bundle.Manifest) { m.Files[0].Kind = "x" },
		"too many":            func(m *bundle.Manifest) { m.Files = make([]bundle.File, 2000) },
	} {
		m := manifest()
		change(&m)
		err := bundle.Write(io.Discard, m, key.Sign, func(bundle.File) (io.ReadCloser, error) { return nil, fmt.Errorf("not asked for") })
		if k := tidewaiter.KindOf(err); k != tidewaiter.Invalid && k != tidewaiter.TooLarge {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzRead: whatever it reads, with a signature that everybody takes, is what
// the manifest says.
func FuzzRead(f *testing.F) {
	key, _ := newKey(f)
	text := write(f, key)
	f.Add(text)
	f.Add(text[:2000])
	f.Fuzz(func(t *testing.T, text []byte) {
		got := make(map[string][]byte)
		m, err := bundle.Read(bytes.NewReader(text), func(_, _ []byte) bool { return true }, func(_ bundle.Manifest, f bundle.File, r io.Reader) error {
			b, err := io.ReadAll(r)
			got[f.Name] = b
			return err
		})
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if tidewaiter.DigestOf(got[file.Name]) != file.Digest {
				t.Errorf("%s has other bytes", file.Name)
			}
		}
	})
}
