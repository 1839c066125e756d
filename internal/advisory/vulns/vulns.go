// Package vulns puts matches of advisories together into vulnerabilities: what
// several databases say about one of them under several names is one.
package vulns

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// maxList bounds the lists of a vulnerability.
const maxList = 50

var (
	cve  = regexp.MustCompile(`^CVE-\d{4}-\d{4,}$`)
	tail = regexp.MustCompile(`CVE-\d{4}-\d{4,}$`)
)

// Of returns the vulnerabilities that the matches of one version of a package
// come to, by name. The names of a match are, whatever others there are:
//
//  1. all CVEs among its id, its aliases and the vulnerabilities upstream of it;
//  2. or else all ids of GitHub's database among the first two;
//  3. or else the CVE with which its id ends (DEBIAN-CVE-2024-1234);
//  4. or else the vulnerabilities upstream, or else its id.
//
// So one match may be several vulnerabilities, such as a security announcement
// of Debian, and several matches one. Of these the one has the last word that
// is about a vulnerability and not a notice, has a fix, has a severity, and has
// the lowest id: the first of these that tells them apart. A severity that it
// does not have is the highest of the others.
func Of(matches []tidewaiter.Match) []tidewaiter.Vulnerability {
	byName := make(map[string][]*tidewaiter.Match)
	for i := range matches {
		for _, name := range names(&matches[i]) {
			byName[name] = append(byName[name], &matches[i])
		}
	}
	list := make([]tidewaiter.Vulnerability, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, merge(name, byName[name]))
	}
	return list
}

func names(m *tidewaiter.Match) []string {
	ids := append([]string{m.AdvisoryID}, m.Aliases...)
	found := matching(append(slices.Clone(ids), m.Upstream...), cve.MatchString)
	if len(found) == 0 {
		found = matching(ids, func(id string) bool { return strings.HasPrefix(id, "GHSA-") })
	}
	if last := tail.FindString(m.AdvisoryID); len(found) == 0 && last != "" {
		found = []string{last}
	}
	if len(found) == 0 {
		found = matching(m.Upstream, func(id string) bool { return id != "" })
	}
	if len(found) == 0 {
		found = []string{m.AdvisoryID}
	}
	return found
}

// matching returns those of the ids that fit, each once.
func matching(ids []string, fits func(string) bool) []string {
	var found []string
	for _, id := range ids {
		if fits(id) && !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	return found
}

// before orders matches: the first has the last word.
func before(a, b *tidewaiter.Match) int {
	return cmp.Or(
		first(a.Kind == "", b.Kind == ""),
		first(a.Status == tidewaiter.MatchFixable, b.Status == tidewaiter.MatchFixable),
		first(a.Severity.Level != tidewaiter.UnknownSeverity, b.Severity.Level != tidewaiter.UnknownSeverity),
		cmp.Compare(a.AdvisoryID, b.AdvisoryID),
		cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version),
	)
}

// first orders what is true before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return +1
}

func merge(name string, matches []*tidewaiter.Match) tidewaiter.Vulnerability {
	slices.SortFunc(matches, before)
	m := matches[0]
	v := tidewaiter.Vulnerability{
		Name: name, Advisory: m.AdvisoryID, Kind: m.Kind, Severity: m.Severity, Status: m.Status, Fixed: m.Fixed[:min(len(m.Fixed), maxList)], Urgency: m.Urgency,
		Ecosystem: m.Ecosystem, PackageName: m.Name, Version: m.Version, Reason: m.Reason, Range: m.Range[:min(len(m.Range), maxList)],
	}
	for _, m := range matches {
		if v.Severity.Level == tidewaiter.UnknownSeverity || matches[0].Severity.Level == tidewaiter.UnknownSeverity && worse(m.Severity, v.Severity) {
			if m.Severity.Level != tidewaiter.UnknownSeverity {
				v.Severity = m.Severity
			}
		}
		v.Advisories = append(v.Advisories, m.AdvisoryID)
		v.Aliases = append(v.Aliases, m.Aliases...)
		if m.AdvisoryID != name {
			v.Aliases = append(v.Aliases, m.AdvisoryID)
		}
	}
	v.Advisories = list(v.Advisories)
	v.Aliases = list(slices.DeleteFunc(v.Aliases, func(id string) bool { return id == name }))
	return v
}

// worse tells whether a severity is higher than another.
func worse(a, b tidewaiter.Severity) bool {
	return cmp.Or(cmp.Compare(a.Level.Rank(), b.Level.Rank()), cmp.Compare(a.Score, b.Score), cmp.Compare(b.Source, a.Source)) > 0
}

// list returns ids in order, each once, not too many.
func list(ids []string) []string {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return ids[:min(len(ids), maxList)]
}

// IsSystem tells whether a package is one of the operating system, and not of an
// application.
func IsSystem(p tidewaiter.Package) bool {
	switch p.Type {
	case "deb", "rpm", "apk", "alpm":
		return true
	}
	return false
}
