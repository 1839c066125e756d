package extracttest

import (
	"bytes"
	"context"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/extract"
)

// A Sample is a file that an extractor wants.
type Sample struct {
	Path string
	Mode fs.FileMode
	Body []byte
}

// Input returns the sample as an extractor gets it.
func (s Sample) Input() extract.Input {
	return extract.Input{Path: s.Path, Mode: s.Mode, Size: int64(len(s.Body)), ReaderAt: bytes.NewReader(s.Body)}
}

// Conform checks what every extractor owes its caller: a name and a version;
// to want its samples and nothing that any layer has; the same answer for the
// same bytes, also to several goroutines; to survive samples that are cut
// short or damaged; to end when its context does.
func Conform(t *testing.T, e extract.Extractor, samples ...Sample) {
	t.Helper()
	if e.Name() == "" || e.Version() < 1 || strings.TrimSpace(e.Name()) != e.Name() {
		t.Errorf("name %q, version %d: both must be set", e.Name(), e.Version())
	}
	for _, path := range []string{"etc/passwd", "a", "usr/share/doc/x/copyright", strings.Repeat("a/", 100) + "b"} {
		if e.Wants(path, 0o644, 100) {
			t.Errorf("wants %q", path)
		}
	}
	for _, s := range samples {
		t.Run(s.Path, func(t *testing.T) {
			if !e.Wants(s.Path, s.Mode, int64(len(s.Body))) {
				t.Fatal("does not want its sample")
			}
			conform(t, e, s)
		})
	}
}

func conform(t *testing.T, e extract.Extractor, s Sample) {
	t.Helper()
	first, err := e.Extract(t.Context(), s.Input())
	if err != nil {
		t.Fatalf("Extract: %v", err)
	}
	if len(first.Packages)+len(first.Systems)+first.Owned.Len() == 0 {
		t.Error("finds nothing in its sample")
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			again, err := e.Extract(t.Context(), s.Input())
			if diff := cmp.Diff(first, again); err != nil || diff != "" {
				t.Errorf("the same file gives another answer: %v\n%s", err, diff)
			}
		})
	}
	wait.Wait()
	for _, n := range []int{0, 1, len(s.Body) / 2, len(s.Body) - 1} {
		short := s
		short.Body = s.Body[:max(0, min(n, len(s.Body)))]
		_, _ = e.Extract(t.Context(), short.Input())
	}
	for i := range 64 {
		damaged := s
		damaged.Body = bytes.Clone(s.Body)
		if len(damaged.Body) > 0 {
			damaged.Body[i*len(damaged.Body)/64] ^= 0xff
		}
		_, _ = e.Extract(t.Context(), damaged.Input())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = e.Extract(ctx, s.Input())
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("does not end when its context does")
	}
}
