package advisory

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/version"
)

// What an index has about a package is a list of entries, one for each package
// of each advisory, in the order of their ids:
//
//	entry    = length of the rest, id, ecosystem, name, stand, urgency, severities, versions, ranges
//	versions = count, versions and keys, in the order of the keys: those that are in none of the ranges
//	ranges   = count, ranges
//	range    = order, limits, events in the order of their versions
//	event    = kind, version, key
//
// Ecosystem and name are empty where they are those of the key.

// The bits of the kind of an event.
const (
	eventIntroduced = iota + 1
	eventFixed
	eventLastAffected
	eventLimit
	eventMask = 0x0f
	// eventAlways is of an introduction that is before all versions.
	eventAlways = 0x10
	// eventUnreadable is of a version that its order does not know. As nobody
	// knows where it stands, an introduction counts as always, and a fix as never.
	eventUnreadable = 0x20
)

// The orders of a range.
const (
	byEcosystem = iota
	bySemVer
)

// line is a range, ready to be asked.
type line struct {
	order  byte
	limits []happening
	events []happening
}

// happening is an event with the key of its version.
type happening struct {
	kind    byte
	version []byte
	key     []byte
}

// newLine reads a range. It is false for one about which nothing can be said.
func newLine(r tidewaiter.VersionRange, ecosystem version.Order) (line, bool) {
	l := line{order: byEcosystem}
	order := ecosystem
	if r.Type == tidewaiter.SemVerRange {
		l.order, order = bySemVer, version.SemVer
	}
	unlimited := false
	for _, e := range r.Events {
		h := happening{version: []byte(e.Version)}
		switch e.Kind {
		case tidewaiter.Introduced:
			h.kind = eventIntroduced
			if e.Version == "0" {
				h.kind |= eventAlways
			}
		case tidewaiter.Fixed:
			h.kind = eventFixed
		case tidewaiter.LastAffected:
			h.kind = eventLastAffected
		case tidewaiter.Limit:
			h.kind = eventLimit
			unlimited = unlimited || e.Version == "*"
		}
		if h.kind&eventAlways == 0 {
			key, ok := order.Key(e.Version)
			if h.key = key; !ok {
				h.kind, h.key = h.kind|eventUnreadable, nil
			}
		}
		if order == version.Unordered && h.kind != eventIntroduced|eventAlways {
			return l, false // without an order, only "all versions" can be said
		}
		if h.kind&eventMask == eventLimit {
			unlimited = unlimited || h.kind&eventUnreadable != 0
			l.limits = append(l.limits, h)
		} else {
			l.events = append(l.events, h)
		}
	}
	if unlimited {
		l.limits = nil
	}
	// Of two events in one version, the first in the advisory comes first.
	slices.SortStableFunc(l.events, func(a, b happening) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), bytes.Compare(a.key, b.key))
	})
	return l, len(l.events) > 0
}

// rank puts events whose version has no key before all others or after them.
func (h *happening) rank() int {
	switch {
	case h.kind&(eventAlways|eventUnreadable) == 0:
		return 1
	case h.kind&eventMask == eventIntroduced:
		return 0
	}
	return 2
}

// holds tells whether a version is within a range, by its key. It is sure
// unless something could not be compared. This is the algorithm of the schema:
// https://ossf.github.io/osv-schema/#evaluation
func (l *line) holds(key []byte) (affected, sure bool) {
	if len(l.limits) > 0 && !slices.ContainsFunc(l.limits, func(h happening) bool { return bytes.Compare(key, h.key) < 0 }) {
		return false, true
	}
	sure = true
	for i := range l.events {
		h := &l.events[i]
		unreadable := h.kind&eventUnreadable != 0
		if unreadable {
			sure = false
		}
		switch h.kind & eventMask {
		case eventIntroduced:
			if unreadable || h.kind&eventAlways != 0 || bytes.Compare(key, h.key) >= 0 {
				affected = true
			}
		case eventFixed:
			if !unreadable && bytes.Compare(key, h.key) >= 0 {
				affected = false
			}
		case eventLastAffected:
			if !unreadable && bytes.Compare(key, h.key) > 0 {
				affected = false
			}
		}
	}
	return affected, sure
}

// appendEntry writes an entry.
func appendEntry(e *encoder, id string, a *tidewaiter.Affected) {
	var body encoder
	body.text(id)
	body.text(unless(a.Ecosystem, ecosystemKey(a.Ecosystem)))
	body.text(unless(a.Name, nameKey(a.Ecosystem, a.Name)))
	body.text(string(a.Stand))
	body.text(a.Urgency)
	body.severities(a.Severities)

	order := version.OrderOf(a.Ecosystem)
	var lines []line
	for _, r := range a.Ranges {
		if l, ok := newLine(r, order); ok {
			lines = append(lines, l)
		}
	}
	listed := listedVersions(a.Versions, order, lines)
	body.number(uint64(len(listed)))
	for _, h := range listed {
		body.bytes(h.version)
		body.bytes(h.key)
	}
	body.number(uint64(len(lines)))
	for _, l := range lines {
		body.byte(l.order)
		for _, list := range [][]happening{l.limits, l.events} {
			body.number(uint64(len(list)))
			for _, h := range list {
				body.byte(h.kind)
				body.bytes(h.version)
				body.bytes(h.key)
			}
		}
	}
	e.bytes(body)
}

func unless(s, other string) string {
	if s == other {
		return ""
	}
	return s
}

// listedVersions returns the versions that are listed and in none of the
// ranges. Most advisories list what their ranges say once more. Ranges in
// another order do not count: what they say of one spelling of a version they
// need not say of another.
func listedVersions(versions []string, order version.Order, lines []line) []happening {
	var listed []happening
	for _, v := range versions {
		key, _ := order.Key(v)
		if !slices.ContainsFunc(lines, func(l line) bool {
			affected, sure := l.holds(key)
			return affected && sure && (l.order == byEcosystem || order == version.SemVer)
		}) {
			listed = append(listed, happening{version: []byte(v), key: key})
		}
	}
	slices.SortFunc(listed, func(a, b happening) int {
		return cmp.Or(bytes.Compare(a.key, b.key), bytes.Compare(a.version, b.version))
	})
	return slices.CompactFunc(listed, func(a, b happening) bool { return bytes.Equal(a.key, b.key) })
}
