package advisory

import (
	"bytes"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/version"
)

// Rules counts the changes of what matches mean. What was matched by other
// rules has to be matched again, whether its advisories changed or not.
const Rules = 100*version.Revision + 1

// Result is what is known about a version of a package.
type Result struct {
	Matches []tidewaiter.Match // in the order of the ids of their advisories
	Gap     tidewaiter.MatchGap
}

// Match returns the advisories that are about a version of a package. Packages
// of a distribution are judged by its release, those of languages by themselves.
func (x *Index) Match(p tidewaiter.Package, release tidewaiter.Release) (Result, error) {
	var result Result
	err := x.MatchEach([]tidewaiter.Package{p}, release, func(_ int, r Result) error {
		result = r
		return nil
	})
	return result, err
}

// MatchEach matches many packages of one release, such as those of an image,
// and gives the result of each to visit.
func (x *Index) MatchEach(packages []tidewaiter.Package, release tidewaiter.Release, visit func(i int, r Result) error) error {
	return x.view(func(tx *bolt.Tx) error {
		m := matching{
			packages:   tx.Bucket([]byte(bucketPackages)),
			advisories: tx.Bucket([]byte(bucketAdvisories)),
			ecosystems: x.meta.Ecosystems,
			stale:      x.stale,
			scopes:     scopesOf(release, false),
			scopesESM:  scopesOf(release, true),
		}
		for i := range packages {
			result, err := m.match(&packages[i])
			if err != nil {
				return err
			}
			if err := visit(i, result); err != nil {
				return err
			}
		}
		return nil
	})
}

// matching collects the matches of one package after the other.
type matching struct {
	packages, advisories *bolt.Bucket
	ecosystems           map[string]int
	stale                bool
	scopes, scopesESM    []scope
	subjects             []subject // of this package
	key                  []byte
	content              content
	later                []happening
	found                []tidewaiter.Match // of this package
	asked                []asked
}

// asked is what a subject was told: the rank of its ecosystem, and the entries
// about it.
type asked struct {
	rank    int
	entries []byte
}

func (m *matching) match(p *tidewaiter.Package) (Result, error) {
	scopes := m.scopes
	if strings.Contains(p.Version, "esm") {
		scopes = m.scopesESM
	}
	subjects, gap := subjectsOf(m.subjects[:0], p, scopes)
	m.subjects = subjects
	m.found, m.asked = nil, m.asked[:0]
	known := gap == tidewaiter.GapRelease
	for i := range subjects {
		s := &subjects[i]
		known = known || m.ecosystems[s.ecosystem] > 0
		if err := m.ask(s); err != nil {
			return Result{}, err
		}
		if s.gap != tidewaiter.NoGap {
			gap = s.gap
		}
	}
	if !known {
		gap = tidewaiter.GapEcosystem
	}
	if len(m.asked) > 1 {
		slices.SortStableFunc(m.found, func(a, b tidewaiter.Match) int { return strings.Compare(a.AdvisoryID, b.AdvisoryID) })
	}
	return Result{Matches: m.found, Gap: gap}, nil
}

// ask looks for advisories about a subject.
func (m *matching) ask(s *subject) error {
	m.key = append(append(append(m.key[:0], s.ecosystem...), keySeparator...), s.name...)
	entries := m.packages.Get(m.key)
	if entries == nil {
		return nil
	}
	if s.version == "" {
		s.gap = tidewaiter.GapVersion
		return nil
	}
	s.makeKey()
	if !s.understood {
		s.gap = tidewaiter.GapVersion
	}
	settled := m.settled(s.rank)
	d := decoder{rest: entries}
	for len(d.rest) > 0 {
		e := readEntry(&d)
		if d.bad {
			return errDamaged
		}
		if tidewaiter.VendorStand(e.stand) == tidewaiter.NotAffected || settled[string(e.id)] {
			continue
		}
		if n := len(m.found); n > 0 && m.found[n-1].AdvisoryID == string(e.id) {
			continue // of two entries of one advisory, which stand side by side
		}
		m.content.read(&e.rest)
		if e.rest.bad {
			return errDamaged
		}
		if m.stale {
			m.content.renew(s.order)
		}
		if held, reason := m.content.holds(s); reason != "" {
			if err := m.add(s, &e, held, reason); err != nil {
				return err
			}
		}
	}
	m.asked = append(m.asked, asked{s.rank, entries})
	return nil
}

// settled returns the ids of the advisories at which there is no need to look
// any more: those that are matched, and those of which an ecosystem has spoken
// that comes first.
func (m *matching) settled(rank int) map[string]bool {
	if len(m.asked) == 0 {
		return nil
	}
	ids := make(map[string]bool)
	for i := range m.found {
		ids[m.found[i].AdvisoryID] = true
	}
	for _, a := range m.asked {
		d := decoder{rest: a.entries}
		for a.rank < rank && len(d.rest) > 0 {
			e := readEntry(&d)
			ids[string(e.id)] = true
		}
	}
	return ids
}

// holds tells why an entry is about a version, if it is, and which of its
// ranges says so.
func (c *content) holds(s *subject) (*line, tidewaiter.MatchReason) {
	var unsure *line
	for i := range c.lines {
		l := &c.lines[i]
		key, understood := s.keyFor(l)
		affected, sure := l.holds(key)
		switch {
		case affected && sure && understood:
			return l, tidewaiter.ByRange
		case affected && unsure == nil:
			unsure = l
		}
	}
	for i := range c.listed {
		if bytes.Equal(c.listed[i].key, s.key) {
			return nil, tidewaiter.ByVersion
		}
	}
	if unsure != nil {
		return unsure, tidewaiter.ByUnreadableRange
	}
	return nil, ""
}

// add takes a match down.
func (m *matching) add(s *subject, e *entry, held *line, reason tidewaiter.MatchReason) error {
	record := m.advisories.Get(e.id)
	d := decoder{rest: record}
	h := readHead(&d)
	if record == nil || d.bad {
		return errDamaged
	}
	match := tidewaiter.Match{
		AdvisoryID: string(e.id),
		Aliases:    h.aliases,
		Upstream:   h.upstream,
		Kind:       h.kind,
		Severity:   h.severity,
		Ecosystem:  s.ecosystem,
		Name:       s.name,
		Version:    s.version,
		Fixed:      m.fixes(s),
		Urgency:    string(e.urgency),
		Reason:     reason,
	}
	if len(e.ecosystem) > 0 {
		match.Ecosystem = string(e.ecosystem)
	}
	if len(e.name) > 0 {
		match.Name = string(e.name)
	}
	if own, ok := severityOf(m.content.severities.severities(), match.AdvisoryID); ok {
		match.Severity = own
	}
	if held != nil {
		match.Range = eventsOf(held)
	}
	switch stand := tidewaiter.VendorStand(e.stand); {
	case len(match.Fixed) > 0:
		match.Status = tidewaiter.MatchFixable
	case stand == tidewaiter.WillNotFix:
		match.Status = tidewaiter.MatchIgnored
	case stand == tidewaiter.FixDeferred:
		match.Status = tidewaiter.MatchDeferred
	default:
		match.Status = tidewaiter.MatchAffected
	}
	m.found = append(m.found, match)
	return nil
}

// fixes returns the versions after the subject's in which it is fixed, and
// that are in no other range, the nearest first.
func (m *matching) fixes(s *subject) []string {
	c, later := &m.content, m.later[:0]
	for i := range c.lines {
		order := c.lines[i].order
		key, _ := s.keyFor(&c.lines[i])
		for _, h := range c.lines[i].events {
			if h.kind&eventMask == eventFixed && bytes.Compare(h.key, key) > 0 && !slices.ContainsFunc(c.lines, func(l line) bool {
				affected, _ := l.holds(h.key)
				return l.order == order && affected
			}) {
				later = append(later, h)
			}
		}
	}
	m.later = later
	if len(later) == 0 {
		return nil
	}
	slices.SortStableFunc(later, func(a, b happening) int { return bytes.Compare(a.key, b.key) })
	versions := make([]string, 0, len(later))
	for _, h := range later {
		if v := string(h.version); !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	return versions
}
