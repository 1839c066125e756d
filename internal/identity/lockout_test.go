package identity

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestLockoutForgets(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLockout(func() time.Time { return now })
	fail := func(n int) {
		for range n {
			l.failed("a")
		}
	}
	fail(4)
	now = now.Add(forgetTime)
	fail(4)
	if l.locked("a") {
		t.Error("failures long ago count")
	}
	fail(1)
	if !l.locked("a") || l.locked("b") {
		t.Error("five failures do not lock, or lock another")
	}
	now = now.Add(lockTime)
	if l.locked("a") {
		t.Error("the lock does not end")
	}
	fail(4)
	if l.locked("a") {
		t.Error("the row does not begin anew after a lock")
	}
	l.succeeded("a")
	fail(4)
	if l.locked("a") {
		t.Error("a success does not end the row")
	}
}

// TestLockoutIsBounded: guesses at many names neither fill memory nor push out
// who is locked.
func TestLockoutIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLockout(func() time.Time { return now })
	for range maxFailures {
		l.failed("victim")
		l.unknownFailed("absent")
	}
	for i := range 200_000 {
		l.unknownFailed(fmt.Sprint("guess ", i))
	}
	if !l.locked("victim") || !l.unknownLocked("absent") {
		t.Error("a lock was pushed out")
	}
	if len(l.unknown) != unknownBuckets || len(l.known) != 1 {
		t.Errorf("%d and %d entries", len(l.unknown), len(l.known))
	}
	// Keys that were deleted since do not stay forever.
	for i := range 5000 {
		l.failed(fmt.Sprint("key ", i))
	}
	now = now.Add(forgetTime)
	for i := range 5000 {
		l.failed(fmt.Sprint("later ", i))
	}
	if n := len(l.known); n > 10_000 {
		t.Errorf("%d entries", n)
	}
	if l.locked("key 1") {
		t.Error("still locked")
	}
}

func TestLockoutAtOnce(t *testing.T) {
	l := newLockout(time.Now)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprint(i % 4)
			for range 500 {
				l.failed(name)
				l.locked(name)
				l.unknownFailed(name)
				l.unknownLocked(name)
				l.succeeded(name)
			}
		})
	}
	wg.Wait()
	for i := range 4 {
		if l.locked(fmt.Sprint(i)) {
			t.Errorf("%d is locked after a success", i)
		}
	}
}
