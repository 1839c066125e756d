package pull

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// memory is an image whose layers are in memory. opened counts how often they
// were opened, and busy how many are open.
type memory struct {
	Image
	opened       []atomic.Int32
	busy, busier atomic.Int32
	fail         func(layer, attempt int) error // within the layer
}

type counted struct {
	io.Reader
	m    *memory
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.m.busy.Add(-1) })
	return nil
}

// failing fails after some bytes.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func newMemory(tb testing.TB, layers ...string) *memory {
	m := &memory{opened: make([]atomic.Int32, len(layers))}
	m.Kind = registry.KindImage
	var archives [][]byte
	for _, text := range layers {
		b := extracttest.Tar(tb, extracttest.File(text[:1]+".list", text))
		archives = append(archives, b)
		m.Layers = append(m.Layers, tidewaiter.Descriptor{Size: int64(len(b)), Digest: tidewaiter.DigestOf(b)})
		m.DiffIDs = append(m.DiffIDs, tidewaiter.DigestOf(b))
		m.keys = append(m.keys, text)
	}
	m.open = func(_ context.Context, n int) (io.ReadCloser, error) {
		attempt := int(m.opened[n].Add(1))
		if busy := m.busy.Add(1); busy > m.busier.Load() {
			m.busier.Store(busy)
		}
		var r io.Reader = bytes.NewReader(archives[n])
		if m.fail != nil {
			if err := m.fail(n, attempt); err != nil {
				r = io.MultiReader(io.LimitReader(r, 600), failing{err})
			}
		}
		return &counted{Reader: r, m: m}, nil
	}
	return m
}

func facts(m *memory) ([]tidewaiter.LayerFacts, error) {
	return m.Facts(context.Background(), extract.Options{Extractors: []extract.Extractor{extracttest.Lists{}}})
}

// TestEachLayerOnce reads layers once, though an image may have them twice, and
// two at a time.
func TestEachLayerOnce(t *testing.T) {
	m := newMemory(t, "a 1\n", "b 1\n", "a 1\n", "c 1\n", "b 1\n", "b 1\n", "d 1\n", "e 1\n")
	all, err := facts(m)
	if err != nil {
		t.Fatal(err)
	}
	for n, f := range all {
		if len(f.Packages) != 1 || f.Packages[0].Name != m.keys[n][:1] || f.DiffID != m.DiffIDs[n] {
			t.Errorf("layer %d: %+v", n, f)
		}
		want := int32(1)
		if n == 2 || n == 4 || n == 5 {
			want = 0
		}
		if got := m.opened[n].Load(); got != want {
			t.Errorf("layer %d was opened %d times", n, got)
		}
	}
	if most := m.busier.Load(); most > parallel {
		t.Errorf("%d layers were open at a time", most)
	}
}

// TestBrokenLayers tries again what the network cut off, and nothing else.
func TestBrokenLayers(t *testing.T) {
	cutOff := tidewaiter.Errorf(tidewaiter.Unavailable, "cut off")
	m := newMemory(t, "a 1\n", "b 1\n", "c 1\n")
	m.fail = func(layer, attempt int) error {
		if layer == 1 && attempt < attempts {
			return cutOff
		}
		return nil
	}
	if all, err := facts(m); err != nil || len(all[1].Packages) != 1 || m.opened[1].Load() != attempts {
		t.Errorf("%v, opened %d times", err, m.opened[1].Load())
	}
	m = newMemory(t, "a 1\n", "b 1\n", "c 1\n")
	m.fail = func(layer, _ int) error {
		if layer == 1 {
			return cutOff
		}
		return nil
	}
	if _, err := facts(m); tidewaiter.KindOf(err) != tidewaiter.Unavailable || !strings.HasPrefix(err.Error(), "layer 1: ") || m.opened[1].Load() != attempts {
		t.Errorf("%v, opened %d times", err, m.opened[1].Load())
	}
	m = newMemory(t, "a 1\n", "b 1\n")
	m.fail = func(int, int) error { return tidewaiter.Errorf(tidewaiter.Invalid, "other bytes") }
	if _, err := facts(m); tidewaiter.KindOf(err) != tidewaiter.Invalid || m.opened[0].Load() != 1 {
		t.Errorf("%v, opened %d times", err, m.opened[0].Load())
	}
	if m.busy.Load() != 0 {
		t.Errorf("%d layers are still open", m.busy.Load())
	}
}

// TestTooManyFacts stops when the facts are too much to hold, and says so.
func TestTooManyFacts(t *testing.T) {
	m := newMemory(t, "a 1\n", "b 1\n", "c 1\n", "d 1\n", "e 1\n", "a 1\n")
	all, err := m.facts(context.Background(), extract.Options{Extractors: []extract.Extractor{extracttest.Lists{}}}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range all {
		if len(f.Cuts) > 0 {
			got = append(got, f.Cuts[0].Code)
		} else {
			got = append(got, f.Packages[0].Name)
		}
	}
	if want := "a b c layer_too_large layer_too_large a"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

func TestFactsEndWithTheContext(t *testing.T) {
	m := newMemory(t, "a 1\n", "b 1\n")
	ctx, cancel := context.WithCancel(context.Background())
	m.fail = func(int, int) error { cancel(); return errors.New("cut off") }
	if _, err := m.Facts(ctx, extract.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
