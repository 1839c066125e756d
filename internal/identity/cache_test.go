package identity

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCache(t *testing.T) {
	now := time.Unix(0, 0)
	var generation atomic.Uint64
	c := newCache[string, int](func() time.Time { return now }, &generation)
	loads := 0
	get := func() int {
		t.Helper()
		v, err := c.get(t.Context(), "k", now, func(context.Context) (int, error) { loads++; return loads, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, step := range []struct {
		name   string
		before func()
		want   int
	}{
		{"first", func() {}, 1},
		{"again", func() {}, 1},
		{"just fresh", func() { now = now.Add(cacheTTL - 1) }, 1},
		{"stale", func() { now = now.Add(1) }, 2},
		{"after a change", func() { generation.Add(1) }, 3},
		{"clock set back", func() { now = now.Add(-time.Hour) }, 4},
	} {
		step.before()
		if got := get(); got != step.want {
			t.Errorf("%s: %d, want %d", step.name, got, step.want)
		}
	}
	broken := errors.New("broken")
	if _, err := c.get(t.Context(), "x", now, func(context.Context) (int, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if v, err := c.get(t.Context(), "x", now, func(context.Context) (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Errorf("an error was kept: %v, %v", v, err)
	}
}

// TestCacheOfAChangeDuringALoad: what was loaded while a change went on is not
// used after it.
func TestCacheOfAChangeDuringALoad(t *testing.T) {
	var generation atomic.Uint64
	c := newCache[string, string](time.Now, &generation)
	load := func(value string, during func()) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { during(); return value, nil }
	}
	if v, err := c.get(t.Context(), "k", time.Now(), load("old", func() { generation.Add(1) })); v != "old" || err != nil {
		t.Fatal(v, err)
	}
	if v, err := c.get(t.Context(), "k", time.Now(), load("new", func() {})); v != "new" || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	var generation atomic.Uint64
	c := newCache[int, int](time.Now, &generation)
	for i := range 3 * cacheSize {
		if _, err := c.get(t.Context(), i, time.Now(), func(context.Context) (int, error) { return i, nil }); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	c.entries.Range(func(any, any) bool { n++; return true })
	if n > cacheSize {
		t.Errorf("%d entries", n)
	}
}

// TestCacheLoadsOnce: of many who miss one key at once, one loads; a waiter
// whose context ends does not wait on.
func TestCacheLoadsOnce(t *testing.T) {
	var generation atomic.Uint64
	c := newCache[string, int](time.Now, &generation)
	var loads atomic.Int64
	began, goOn := make(chan struct{}), make(chan struct{})
	load := func(context.Context) (int, error) {
		if loads.Add(1) == 1 {
			close(began)
			<-goOn
		}
		return 1, nil
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if v, err := c.get(t.Context(), "k", time.Now(), load); v != 1 || err != nil {
				t.Error(v, err)
			}
		})
	}
	<-began
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.get(ctx, "k", time.Now(), load); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(goOn)
	wg.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads", n)
	}
}
