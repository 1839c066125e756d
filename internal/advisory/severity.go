package advisory

import (
	"cmp"

	"github.com/tidewaiter/tidewaiter"
)

// severityOf returns the severity that counts, of those that one source names:
// by the newest method of CVSS, and of two by one method the higher; a vendor's
// word where there is no score.
func severityOf(list []tidewaiter.Severity, source string) (tidewaiter.Severity, bool) {
	var best tidewaiter.Severity
	for _, s := range list {
		if compareSeverities(s, best) > 0 {
			best = s
		}
	}
	if best.Method == "" {
		return best, false
	}
	best.Source = source
	return best, true
}

func compareSeverities(a, b tidewaiter.Severity) int {
	return cmp.Or(cmp.Compare(methodRank(a), methodRank(b)), cmp.Compare(a.Score, b.Score),
		cmp.Compare(levelRank(a.Level), levelRank(b.Level)), cmp.Compare(a.Vector, b.Vector), cmp.Compare(b.Source, a.Source))
}

func methodRank(s tidewaiter.Severity) int {
	switch s.Method {
	case "":
		return 0
	case "CVSS_V2":
		return 2
	case "CVSS_V3":
		return 3
	case "CVSS_V4":
		return 4
	}
	return 1
}

func levelRank(l tidewaiter.SeverityLevel) int {
	switch l {
	case tidewaiter.CriticalSeverity:
		return 5
	case tidewaiter.HighSeverity:
		return 4
	case tidewaiter.MediumSeverity:
		return 3
	case tidewaiter.LowSeverity:
		return 2
	case tidewaiter.NoSeverity:
		return 1
	}
	return 0
}

// severities holds what advisories say about the severity of vulnerabilities,
// by their ids and aliases, for those that say nothing.
type severities struct {
	texts map[string]string // an encoded severity by id; those of one advisory share the text
}

// add notes what an advisory says of itself.
func (s *severities) add(id string, aliases []string, severity tidewaiter.Severity) {
	var e encoder
	e.severity(severity)
	text := string(e)
	for _, name := range append([]string{id}, aliases...) {
		known, ok := s.get(name)
		if !ok || name == id && known.Source != id || known.Source != name && compareSeverities(severity, known) > 0 {
			s.texts[name] = text
		}
	}
}

func (s *severities) get(name string) (tidewaiter.Severity, bool) {
	text, ok := s.texts[name]
	if !ok {
		return tidewaiter.Severity{}, false
	}
	d := decoder{rest: []byte(text)}
	return d.severity(), true
}

// find returns the severity of an advisory that says nothing: the highest of
// its aliases, else of the vulnerabilities upstream.
func (s *severities) find(h *head) tidewaiter.Severity {
	for _, names := range [][]string{h.aliases, h.upstream} {
		var best tidewaiter.Severity
		for _, name := range names {
			if is, ok := s.get(name); ok && (best.Method == "" || is.Score > best.Score || is.Score == best.Score && compareSeverities(is, best) > 0) {
				best = is
			}
		}
		if best.Method != "" {
			return best
		}
	}
	return tidewaiter.Severity{}
}
