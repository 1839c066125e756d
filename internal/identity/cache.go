package identity

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// cacheTTL is how long an entry is used. It is half a second, because a caller
// is built with an account that may come from a cache too.
const cacheTTL = 500 * time.Millisecond

// cacheSize is how many entries a cache holds before it starts anew. Only what
// exists is cached, so nobody can fill it with guesses.
const cacheSize = 10_000

// cacheLanes is how many loads run at once.
const cacheLanes = 64

// cache keeps values for a short time. Reading takes no lock.
type cache[K comparable, V any] struct {
	now        func() time.Time
	generation *atomic.Uint64
	entries    sync.Map // K to *cacheEntry[V]
	size       atomic.Int64
	seed       maphash.Seed
	lanes      [cacheLanes]chan struct{}
}

type cacheEntry[V any] struct {
	value      V
	generation uint64
	expires    time.Time
}

func newCache[K comparable, V any](now func() time.Time, generation *atomic.Uint64) *cache[K, V] {
	c := &cache[K, V]{now: now, generation: generation, seed: maphash.MakeSeed()}
	for i := range c.lanes {
		c.lanes[i] = make(chan struct{}, 1)
	}
	return c
}

// get returns the value of a key from the cache, or else loads it. Of several
// callers who miss the same key one loads, and the others wait for it.
func (c *cache[K, V]) get(ctx context.Context, key K, now time.Time, load func(context.Context) (V, error)) (V, error) {
	if e, ok := c.fresh(key, now); ok {
		return e.value, nil
	}
	lane := c.lanes[maphash.Comparable(c.seed, key)%cacheLanes]
	select {
	case lane <- struct{}{}:
		defer func() { <-lane }()
	case <-ctx.Done():
		var zero V
		return zero, ctx.Err()
	}
	now = c.now() // it may have taken a while
	if e, ok := c.fresh(key, now); ok {
		return e.value, nil
	}
	e := &cacheEntry[V]{generation: c.generation.Load(), expires: now.Add(cacheTTL)} // as of before the load
	var err error
	if e.value, err = load(ctx); err != nil {
		return e.value, err
	}
	if _, replaced := c.entries.Swap(key, e); !replaced && c.size.Add(1) > cacheSize {
		c.entries.Clear()
		c.size.Store(0)
	}
	return e.value, nil
}

// fresh returns the entry of a key if it may be used.
func (c *cache[K, V]) fresh(key K, now time.Time) (*cacheEntry[V], bool) {
	v, ok := c.entries.Load(key)
	if !ok {
		return nil, false
	}
	e := v.(*cacheEntry[V])
	return e, e.generation == c.generation.Load() && now.Before(e.expires) && !now.Before(e.expires.Add(-cacheTTL))
}
