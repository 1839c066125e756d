package componentapi

import (
	"maps"
	"net/netip"
	"sync"
	"time"
)

// Limits of enrolments that fail for their token. A token cannot be guessed;
// this keeps those who try from keeping the database busy.
const (
	maxBadTokens  = 10
	badTokensFor  = time.Minute
	maxThrottlees = 1024
)

// throttle counts failures by address, in a table with room for so many and one.
type throttle struct {
	mu     sync.Mutex
	counts map[netip.Prefix]tally
}

type tally struct {
	failures int
	until    time.Time
}

// blocked tells whether an address has failed too often.
func (t *throttle) blocked(remote string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.counts[t.key(remote)]
	return ok && c.failures >= maxBadTokens && now.Before(c.until)
}

// failed counts a failure.
func (t *throttle) failed(remote string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[netip.Prefix]tally)
	}
	if len(t.counts) >= maxThrottlees {
		maps.DeleteFunc(t.counts, func(_ netip.Prefix, c tally) bool { return !now.Before(c.until) })
	}
	key := t.key(remote)
	c := t.counts[key]
	if !now.Before(c.until) {
		c = tally{until: now.Add(badTokensFor)}
	}
	c.failures++
	t.counts[key] = c
}

// key returns what an address is counted under: an IPv4 address, or the network
// of an IPv6 address, of which one host has many. Once the table is full, all
// that are not in it share an entry.
func (t *throttle) key(remote string) netip.Prefix {
	var shared netip.Prefix
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return shared
	}
	bits := 64
	ip := a.Addr().Unmap().WithZone("")
	if ip.Is4() {
		bits = 32
	}
	p := netip.PrefixFrom(ip, bits).Masked()
	if _, ok := t.counts[p]; !ok && len(t.counts) >= maxThrottlees {
		return shared
	}
	return p
}
