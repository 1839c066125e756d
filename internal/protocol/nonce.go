package protocol

import (
	"crypto/sha256"
	"sync"
	"time"
)

// maxNonces is how many nonces are remembered in each of two generations.
const maxNonces = 1 << 16

// nonces remembers what signatures have been used. A signature is good for up
// to two Windows, so that a nonce which is kept for one generation of that
// length after its own outlives it. Whoever sends more than fits shortens that
// memory; only components with an identity can.
type nonces struct {
	mu        sync.Mutex
	now, past map[[sha256.Size]byte]struct{}
	until     time.Time // end of the generation now
}

// use notes a nonce, and reports whether it is new. Nonces of two components
// never meet.
func (n *nonces) use(p params, now time.Time) bool {
	key := sha256.Sum256([]byte(p.id + "\x00" + p.nonce))
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.now == nil || len(n.now) >= maxNonces || now.After(n.until) {
		n.past, n.now = n.now, make(map[[sha256.Size]byte]struct{})
		n.until = now.Add(2 * Window)
	}
	if _, used := n.now[key]; used {
		return false
	}
	if _, used := n.past[key]; used {
		return false
	}
	n.now[key] = struct{}{}
	return true
}
