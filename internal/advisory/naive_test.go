package advisory_test

import (
	"cmp"
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// This file is a second matcher, for tests: it goes through all advisories as
// they are written, one after the other, as the pseudo-code of the schema has it
// (https://ossf.github.io/osv-schema/#evaluation), with comparers of pairs that
// are written straight from the specifications. It shares nothing with the code
// that it judges.

type naiveAdvisory struct {
	ID        string `json:"id"`
	Withdrawn string `json:"withdrawn"`
	Affected  []struct {
		Package struct {
			Ecosystem string `json:"ecosystem"`
			Name      string `json:"name"`
		} `json:"package"`
		Ranges []struct {
			Type   string              `json:"type"`
			Events []map[string]string `json:"events"`
		} `json:"ranges"`
		Versions []string `json:"versions"`
	} `json:"affected"`
}

func naiveParse(t testing.TB, text []byte) naiveAdvisory {
	t.Helper()
	var a naiveAdvisory
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// naiveMatch returns the ids of the advisories about a version, sorted.
func naiveMatch(all []naiveAdvisory, ecosystem, name, version string) []string {
	var ids []string
	for _, a := range all {
		if a.Withdrawn == "" && isVulnerable(a, ecosystem, name, version) {
			ids = append(ids, a.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func isVulnerable(a naiveAdvisory, ecosystem, name, v string) bool {
	compare := naiveCompare(ecosystem)
	for _, affected := range a.Affected {
		if !naiveSame(affected.Package.Ecosystem, affected.Package.Name, ecosystem, name) {
			continue
		}
		for _, r := range affected.Ranges {
			if r.Type == "GIT" {
				continue
			}
			order := compare
			if r.Type == "SEMVER" {
				order = compareSemVer
			}
			if beforeLimits(v, r.Events, order) && inRange(v, r.Events, order) {
				return true
			}
		}
		if slices.Contains(affected.Versions, v) || slices.ContainsFunc(affected.Versions, func(listed string) bool { return compare(v, listed) == 0 }) {
			return true // one version has many spellings
		}
	}
	return false
}

func inRange(v string, events []map[string]string, compare func(a, b string) int) bool {
	version := func(e map[string]string) string {
		for _, v := range e {
			return v
		}
		return ""
	}
	events = slices.DeleteFunc(slices.Clone(events), func(e map[string]string) bool { _, ok := e["limit"]; return ok })
	slices.SortStableFunc(events, func(a, b map[string]string) int {
		if a["introduced"] == "0" || b["introduced"] == "0" {
			return cmp.Compare(boolToInt(b["introduced"] == "0"), boolToInt(a["introduced"] == "0"))
		}
		return compare(version(a), version(b))
	})
	vulnerable := false
	for _, e := range events {
		if at, ok := e["introduced"]; ok && (at == "0" || compare(v, at) >= 0) {
			vulnerable = true
		} else if at, ok := e["fixed"]; ok && compare(v, at) >= 0 {
			vulnerable = false
		} else if at, ok := e["last_affected"]; ok && compare(v, at) > 0 {
			vulnerable = false
		}
	}
	return vulnerable
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func beforeLimits(v string, events []map[string]string, compare func(a, b string) int) bool {
	limits := 0
	for _, e := range events {
		if limit, ok := e["limit"]; ok {
			limits++
			if limit == "*" || compare(v, limit) < 0 {
				return true
			}
		}
	}
	return limits == 0
}

func naiveSame(ecosystem, name, wantedEcosystem, wanted string) bool {
	if ecosystem != wantedEcosystem {
		return false
	}
	if ecosystem == "PyPI" {
		return naivePython(name) == naivePython(wanted)
	}
	return name == wanted
}

var pep503 = regexp.MustCompile(`[-_.]+`)

func naivePython(name string) string { return strings.ToLower(pep503.ReplaceAllString(name, "-")) }

func naiveCompare(ecosystem string) func(a, b string) int {
	switch base, _, _ := strings.Cut(ecosystem, ":"); base {
	case "PyPI":
		return comparePEP440
	case "Debian":
		return compareDebian
	}
	return compareSemVer
}

func compareNumbers(a, b string) int {
	x, _ := new(big.Int).SetString("0"+a, 10)
	y, _ := new(big.Int).SetString("0"+b, 10)
	return x.Cmp(y)
}

var semVerForm = regexp.MustCompile(`^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+.*)?$`)

// compareSemVer is section 11 of semver.org.
func compareSemVer(a, b string) int {
	x, y := semVerForm.FindStringSubmatch(a), semVerForm.FindStringSubmatch(b)
	if x == nil || y == nil {
		return cmp.Or(cmp.Compare(boolToInt(x != nil), boolToInt(y != nil)), strings.Compare(a, b))
	}
	for i := 1; i <= 3; i++ {
		if c := compareNumbers(x[i], y[i]); c != 0 {
			return c
		}
	}
	if x[4] == "" || y[4] == "" {
		return cmp.Compare(boolToInt(x[4] == ""), boolToInt(y[4] == ""))
	}
	p, q := strings.Split(x[4], "."), strings.Split(y[4], ".")
	for i := range min(len(p), len(q)) {
		numberP, numberQ := digits(p[i]), digits(q[i])
		c := strings.Compare(p[i], q[i])
		switch {
		case numberP && numberQ:
			c = compareNumbers(p[i], q[i])
		case numberP:
			c = -1
		case numberQ:
			c = 1
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(p), len(q))
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// The expression of the specification of version specifiers, appendix.
var pep440Form = regexp.MustCompile(`^v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(alpha|a|beta|b|preview|pre|c|rc)[-_.]?(\d*))?((?:-(\d+))|(?:[-_.]?(post|rev|r)[-_.]?(\d*)))?([-_.]?dev[-_.]?(\d*))?(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?$`)

// pep440Parsed keeps what was parsed: each version is compared thousands of times.
var pep440Parsed = make(map[string][]string)

func parsePEP440(v string) []string {
	parts, ok := pep440Parsed[v]
	if !ok {
		parts = pep440Form.FindStringSubmatch(strings.ToLower(strings.TrimSpace(v)))
		pep440Parsed[v] = parts
	}
	return parts
}

// comparePEP440 compares as the reference implementation does: tuples.
func comparePEP440(a, b string) int {
	x, y := parsePEP440(a), parsePEP440(b)
	if x == nil || y == nil {
		return cmp.Or(cmp.Compare(boolToInt(x != nil), boolToInt(y != nil)), strings.Compare(a, b))
	}
	if c := compareNumbers(x[1], y[1]); c != 0 {
		return c
	}
	p, q := strings.Split(x[2], "."), strings.Split(y[2], ".")
	for i := range max(len(p), len(q)) {
		at := func(list []string) string {
			if i < len(list) {
				return list[i]
			}
			return "0"
		}
		if c := compareNumbers(at(p), at(q)); c != 0 {
			return c
		}
	}
	phase := func(m []string) int {
		switch m[3] {
		case "":
			if m[5] == "" && m[9] != "" {
				return -1
			}
			return 9
		case "a", "alpha":
			return 1
		case "b", "beta":
			return 2
		}
		return 3
	}
	return cmp.Or(
		cmp.Compare(phase(x), phase(y)), compareNumbers(x[4], y[4]),
		cmp.Compare(boolToInt(x[5] != ""), boolToInt(y[5] != "")), compareNumbers(x[6]+x[8], y[6]+y[8]),
		cmp.Compare(boolToInt(x[9] == ""), boolToInt(y[9] == "")), compareNumbers(x[10], y[10]),
		compareLocal(x[11], y[11]))
}

func compareLocal(a, b string) int {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("-_.", r) })
	}
	p, q := split(a), split(b)
	for i := range min(len(p), len(q)) {
		c := strings.Compare(p[i], q[i])
		switch numberP, numberQ := digits(p[i]), digits(q[i]); {
		case numberP && numberQ:
			c = compareNumbers(p[i], q[i])
		case numberP:
			c = 1
		case numberQ:
			c = -1
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(p), len(q))
}

// compareDebian is the algorithm of Debian Policy, 5.6.12.
func compareDebian(a, b string) int {
	split := func(v string) (epoch, upstream, revision string) {
		if before, after, ok := strings.Cut(v, ":"); ok {
			epoch, v = before, after
		}
		if i := strings.LastIndex(v, "-"); i >= 0 {
			return epoch, v[:i], v[i+1:]
		}
		return epoch, v, ""
	}
	epochA, upstreamA, revisionA := split(a)
	epochB, upstreamB, revisionB := split(b)
	return cmp.Or(compareNumbers(epochA, epochB), comparePart(upstreamA, upstreamB), comparePart(revisionA, revisionB))
}

func comparePart(a, b string) int {
	weight := func(s []rune, i int) int {
		switch {
		case i >= len(s):
			return 0
		case s[i] == '~':
			return -1
		case unicode.IsLetter(s[i]):
			return int(s[i])
		}
		return int(s[i]) + 256
	}
	for a != "" || b != "" {
		textA, restA := cutClass(a, false)
		textB, restB := cutClass(b, false)
		for i := range max(len(textA), len(textB)) {
			if c := cmp.Compare(weight([]rune(textA), i), weight([]rune(textB), i)); c != 0 {
				return c
			}
		}
		numberA, restA := cutClass(restA, true)
		numberB, restB := cutClass(restB, true)
		if c := compareNumbers(numberA, numberB); c != 0 {
			return c
		}
		a, b = restA, restB
	}
	return 0
}

func cutClass(s string, digits bool) (part, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r >= '0' && r <= '9') != digits })
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}
