package advisory

import (
	"hash"
	"slices"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/version"
)

// entry is an entry as it is read: its first fields, and the rest for those
// who need it.
type entry struct {
	id, ecosystem, name, stand, urgency []byte
	rest                                decoder // from severities on
}

func readEntry(d *decoder) entry {
	body := decoder{rest: d.bytes()}
	e := entry{id: body.bytes(), ecosystem: body.bytes(), name: body.bytes(), stand: body.bytes(), urgency: body.bytes()}
	e.rest = body
	if body.bad {
		d.fail()
	}
	return e
}

// content is the rest of an entry. One is used for many entries, as most of
// them are looked at and found to be about other versions.
type content struct {
	severities decoder // still to be read
	listed     []happening
	lines      []line
}

func (c *content) read(d *decoder) {
	c.severities = *d
	for range d.count() {
		d.bytes()
		d.bytes()
		d.number()
		d.bytes()
		d.bytes()
	}
	c.listed = c.listed[:0]
	for range d.count() {
		c.listed = append(c.listed, happening{version: d.bytes(), key: d.bytes()})
	}
	n := d.count()
	if n > len(c.lines) {
		c.lines = slices.Grow(c.lines[:0], min(n, 1024))
	}
	c.lines = c.lines[:0]
	for range n {
		if len(c.lines) < cap(c.lines) {
			c.lines = c.lines[:len(c.lines)+1] // with the memory of the one before
		} else {
			c.lines = append(c.lines, line{})
		}
		l := &c.lines[len(c.lines)-1]
		l.order = d.byte()
		l.limits = readHappenings(d, l.limits[:0])
		l.events = readHappenings(d, l.events[:0])
	}
}

func readHappenings(d *decoder, list []happening) []happening {
	for range d.count() {
		list = append(list, happening{kind: d.byte(), version: d.bytes(), key: d.bytes()})
	}
	return list
}

// renew makes the keys anew, of an index whose keys were made by other rules.
func (c *content) renew(ecosystem version.Order) {
	for i := range c.listed {
		c.listed[i].key, _ = ecosystem.Key(string(c.listed[i].version))
	}
	var lines []line
	for i := range c.lines {
		r := tidewaiter.VersionRange{Type: tidewaiter.EcosystemRange, Events: eventsOf(&c.lines[i])}
		if c.lines[i].order == bySemVer {
			r.Type = tidewaiter.SemVerRange
		}
		if l, ok := newLine(r, ecosystem); ok {
			lines = append(lines, l)
		}
	}
	c.lines = lines
}

// eventsOf returns the events of a range as an advisory has them, limits last.
func eventsOf(l *line) []tidewaiter.VersionEvent {
	events := make([]tidewaiter.VersionEvent, 0, len(l.events)+len(l.limits))
	for i := range cap(events) {
		var h *happening
		if i < len(l.events) {
			h = &l.events[i]
		} else {
			h = &l.limits[i-len(l.events)]
		}
		kind := tidewaiter.Introduced
		switch h.kind & eventMask {
		case eventFixed:
			kind = tidewaiter.Fixed
		case eventLastAffected:
			kind = tidewaiter.LastAffected
		case eventLimit:
			kind = tidewaiter.Limit
		}
		events = append(events, tidewaiter.VersionEvent{Kind: kind, Version: known(h.version)})
	}
	return events
}

// sumEntry hashes an entry, less the keys of its versions, which follow from them.
func sumEntry(sum hash.Hash, text []byte) {
	d := decoder{rest: text}
	var e encoder
	for range 5 { // id, ecosystem, name, stand, urgency
		e.bytes(d.bytes())
	}
	e.severities(d.severities())
	list := func(kinds bool) {
		n := d.count()
		e.number(uint64(n))
		for range n {
			if kinds {
				e.byte(d.byte() & eventMask)
			}
			e.bytes(d.bytes())
			d.bytes()
		}
	}
	list(false)
	n := d.count()
	e.number(uint64(n))
	for range n {
		e.byte(d.byte())
		list(true)
		list(true)
	}
	sum.Write(e)
}
