package componentapi

import (
	"fmt"
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fail := func(remote string, times int) {
		for range times {
			th.failed(remote, now)
		}
	}
	want := func(remote string, blocked bool) {
		t.Helper()
		if got := th.blocked(remote, now); got != blocked {
			t.Errorf("%s: blocked %v, want %v", remote, got, blocked)
		}
	}
	fail("192.0.2.1:1000", maxBadTokens-1)
	want("192.0.2.1:1000", false)
	fail("192.0.2.1:1001", 1)
	want("192.0.2.1:1002", true)
	want("[::ffff:192.0.2.1]:1002", true) // the same address
	want("192.0.2.2:1000", false)

	fail("[2001:db8::1]:1", 5)
	fail("[2001:db8::2]:1", 5)
	want("[2001:db8::3]:1", true) // one host has them all
	want("[2001:db8:0:1::1]:1", false)

	fail("in-process", maxBadTokens)
	want("", true) // whoever has no address is one

	now = now.Add(badTokensFor)
	want("192.0.2.1:1000", false)
	fail("192.0.2.1:1000", 1)
	want("192.0.2.1:1000", false)
}

func TestThrottleIsBounded(t *testing.T) {
	var th throttle
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	th.failed("192.0.2.1:1", now)
	for i := range 3 * maxThrottlees {
		th.failed(fmt.Sprintf("10.%d.%d.1:1", i/256, i%256), now)
	}
	if n := len(th.counts); n > maxThrottlees+1 {
		t.Errorf("the table has %d entries", n)
	}
	if !th.blocked("203.0.113.1:1", now) {
		t.Error("with the table full, one who fills it is not stopped")
	}
	if th.blocked("192.0.2.1:1", now) {
		t.Error("one who has failed once is stopped by the others")
	}
	now = now.Add(badTokensFor)
	for range maxBadTokens {
		th.failed("203.0.113.1:1", now)
	}
	if th.blocked("203.0.113.2:1", now) || !th.blocked("203.0.113.1:1", now) {
		t.Error("the table does not recover")
	}
}
