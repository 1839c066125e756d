package identity

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of the lock-out.
const (
	maxFailures = 5
	lockTime    = 5 * time.Minute
	// forgetTime is after how long without a failure the count starts anew.
	forgetTime = 15 * time.Minute
	// unknownBuckets is how many counters all names share that do not exist.
	unknownBuckets = 1 << 16
)

// lockout counts failures in a row and says who is locked out.
//
// Memory is bounded: who exists has an entry of their own, and all names that
// do not exist share a fixed number of counters, so that a guesser can neither
// fill memory nor push a locked entry out, and learns nothing from who gets
// locked. To make names that do not exist look locked before their fifth
// failure, a guesser would have to fill the counters faster than they are
// forgotten; the limit on password hashes at once is in the way of that.
type lockout struct {
	now    func() time.Time
	active atomic.Int64 // entries in known: while there is none, nobody pays for a look
	mu     sync.RWMutex
	known  map[string]failures
	prune  int // the size of known at which to drop stale entries

	seed    maphash.Seed
	unknown []failures
}

// failures counts the failures of one name.
type failures struct {
	count int
	last  int64 // Unix nanoseconds of the last failure
}

func newLockout(now func() time.Time) *lockout {
	return &lockout{now: now, known: map[string]failures{}, prune: 1024, seed: maphash.MakeSeed()}
}

// locked reports whether who exists is locked out.
func (l *lockout) locked(name string) bool {
	if l.active.Load() == 0 {
		return false
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.known[name].locked(l.now())
}

// failed counts a failure of who exists.
func (l *lockout) failed(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	f := l.known[name]
	f.add(now)
	l.known[name] = f
	if len(l.known) >= l.prune {
		for n, f := range l.known {
			if f.stale(now) {
				delete(l.known, n)
			}
		}
		l.prune = max(1024, 2*len(l.known))
	}
	l.active.Store(int64(len(l.known)))
}

// succeeded ends the row of failures of who exists.
func (l *lockout) succeeded(name string) {
	if l.active.Load() == 0 {
		return
	}
	l.mu.RLock()
	_, ok := l.known[name]
	l.mu.RUnlock()
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, name)
	l.active.Store(int64(len(l.known)))
}

// unknownLocked reports whether a name that does not exist looks locked out.
func (l *lockout) unknownLocked(name string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.unknown != nil && l.unknown[l.bucket(name)].locked(l.now())
}

// unknownFailed counts a failure of a name that does not exist.
func (l *lockout) unknownFailed(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unknown == nil {
		l.unknown = make([]failures, unknownBuckets)
	}
	l.unknown[l.bucket(name)].add(l.now())
}

func (l *lockout) bucket(name string) uint64 {
	return maphash.String(l.seed, name) % unknownBuckets
}

func (f *failures) add(now time.Time) {
	if f.stale(now) || f.count >= maxFailures && !f.locked(now) {
		f.count = 0
	}
	f.count++
	f.last = now.UnixNano()
}

func (f failures) locked(now time.Time) bool {
	return f.count >= maxFailures && now.UnixNano()-f.last < int64(lockTime)
}

func (f failures) stale(now time.Time) bool {
	return now.UnixNano()-f.last >= int64(forgetTime)
}
