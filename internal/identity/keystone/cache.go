package keystone

import (
	"crypto/sha256"
	"sync"
	"time"
)

// A key is the SHA-256 of a token: the cache holds no tokens.
type key [sha256.Size]byte

// An entry is an answer and how long it is good for.
type entry struct {
	validated *Validated // nil: Keystone does not know the token
	until     time.Time
}

func (e entry) err() error {
	if e.validated == nil {
		return unknownToken()
	}
	return nil
}

// A cache holds at most maxCached answers.
type cache struct {
	mu      sync.Mutex
	entries map[key]entry
}

// get returns the entry of a token that is good now.
func (c *cache) get(k key, now time.Time) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[k]
	if ok && !now.Before(e.until) {
		delete(c.entries, k)
		return entry{}, false
	}
	return e, ok
}

// put keeps an entry. A full cache makes room by looking at a few others, as
// chance (the order of a map) will have it: it drops those that are out of
// date, or one that is not. So the cost of a put has a bound, and nobody can
// push out a certain entry on purpose.
func (c *cache) put(k key, e entry, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.entries[k]; !known && len(c.entries) >= maxCached {
		looked := 0
		for old, e := range c.entries {
			if looked++; looked > 8 {
				break
			}
			if looked == 1 || !now.Before(e.until) {
				delete(c.entries, old)
			}
		}
	}
	c.entries[k] = e
}
