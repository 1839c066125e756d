//go:build linux

package e2e

import (
	"archive/zip"
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

// A matcher that is slow, and written straight from the rules of
// https://ossf.github.io/osv-schema/#evaluation: it goes through all advisories
// for each package, and has the ecosystems' own tools compare versions.

type osvAdvisory struct {
	ID        string
	Withdrawn string
	Aliases   []string
	Upstream  []string
	Affected  []struct {
		Package struct{ Ecosystem, Name string }
		Ranges  []struct {
			Type   string
			Events []map[string]string
		}
		Versions []string
	}
}

// readAdvisories reads zip files and JSON arrays.
func readAdvisories(t testing.TB, files ...string) (all []osvAdvisory) {
	t.Helper()
	for _, file := range files {
		if filepath.Ext(file) == ".json" {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var list []osvAdvisory
			if err := json.Unmarshal(text, &list); err != nil {
				t.Fatal(err)
			}
			all = append(all, list...)
			continue
		}
		z, err := zip.OpenReader(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			var a osvAdvisory
			if err := json.NewDecoder(r).Decode(&a); err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		z.Close()
	}
	return all
}

// A comparer asks a program that reads pairs of versions, a line each, and
// answers with lines.
type comparer struct {
	testing.TB
	known map[string]int
	ask   func(a, b string) (string, error)
}

func (c *comparer) compare(a, b string) int {
	key := a + " " + b
	n, ok := c.known[key]
	if ok {
		return n
	}
	answer, err := c.ask(a, b)
	if err == nil {
		_, err = fmt.Sscan(answer, &n)
	}
	if err != nil || n < -1 || n > 1 {
		c.Fatalf("compare %q with %q: %q, %v", a, b, answer, err)
	}
	c.known[key] = n
	return n
}

// program is a comparer that stays.
func program(t testing.TB, name string, args ...string) *comparer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), cmd.Wait() })
	lines := bufio.NewReader(out)
	return &comparer{t, make(map[string]int), func(a, b string) (string, error) {
		if _, err := io.WriteString(in, a+" "+b+"\n"); err != nil {
			return "", err
		}
		return lines.ReadString('\n')
	}}
}

// comparers are how versions are compared, by ecosystem.
func comparers(t testing.TB) map[string]*comparer {
	python := program(t, "/usr/bin/python3", "-uc", `
import sys
from packaging.version import Version
for line in sys.stdin:
    a, b = map(Version, line.split())
    print((a > b) - (a < b))`)
	node := program(t, "/usr/bin/node", "-e", `
let semver;
for (const folder of ["/usr/lib/node_modules/npm/node_modules/semver", "/usr/share/nodejs/semver", "/usr/local/lib/node_modules/npm/node_modules/semver"]) {
  try { semver = require(folder); break } catch (e) {}
}
require("readline").createInterface({input: process.stdin}).on("line", line => console.log(semver.compare(...line.split(" "))))`)
	rpm := &comparer{t, make(map[string]int), func(a, b string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "/usr/bin/rpm", "--eval", fmt.Sprintf("%%{lua:print(rpm.vercmp(%q, %q))}", a, b)).Output()
		return string(out), err
	}}
	dpkg := &comparer{t, make(map[string]int), func(a, b string) (string, error) {
		for operator, n := range map[string]string{"lt": "-1", "eq": "0", "gt": "1"} {
			if exec.CommandContext(t.Context(), "/usr/bin/dpkg", "--compare-versions", a, operator, b).Run() == nil {
				return n, nil
			}
		}
		return "", fmt.Errorf("dpkg does not compare them")
	}}
	numbers := &comparer{t, make(map[string]int), compareNumbers}
	return map[string]*comparer{
		"PyPI": python, "npm": node, "Go": node, "Red Hat": rpm, "openSUSE": rpm, "Debian": dpkg,
		"Alpine": numbers, "Maven": numbers, "Packagist": numbers, "RubyGems": numbers,
	}
}

var versionNumbers = regexp.MustCompile(`^v?(\d+(?:\.\d+)*)(?:-r(\d+))?([-.][A-Za-z].*)?$`)

// compareNumbers compares versions that tell by their numbers alone, as all of
// testdata/advisories do: what stands behind, as in 31.1-jre, must not matter.
func compareNumbers(a, b string) (string, error) {
	x, y := versionNumbers.FindStringSubmatch(a), versionNumbers.FindStringSubmatch(b)
	if x == nil || y == nil {
		return "", fmt.Errorf("it takes more than numbers")
	}
	p, q := append(strings.Split(x[1], "."), "r", x[2]), append(strings.Split(y[1], "."), "r", y[2])
	for i := range min(len(p), len(q)) {
		var m, n int
		if p[i] == "r" || q[i] == "r" {
			break
		}
		if _, err := fmt.Sscan(p[i]+" "+q[i], &m, &n); err != nil {
			return "", err
		}
		if m != n {
			return fmt.Sprint(sign(m - n)), nil
		}
	}
	if len(p) != len(q) {
		return fmt.Sprint(sign(len(p) - len(q))), nil
	}
	var m, n int
	_, _ = fmt.Sscan(x[2], &m)
	_, _ = fmt.Sscan(y[2], &n)
	if m == n && x[3] != y[3] {
		return "", fmt.Errorf("it takes more than numbers")
	}
	return fmt.Sprint(sign(m - n)), nil
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

// A subject is under what name and in which version advisories speak of a package.
type subject struct{ ecosystem, name, version string }

// subjectsOf are those of a package in an image of an operating system.
func subjectsOf(p tidewaiter.Package, system tidewaiter.System) []subject {
	switch p.Type {
	case "deb":
		if system.ID == "debian" {
			return []subject{{"Debian:" + system.VersionID, p.SourceName, p.SourceVersion}}
		}
	case "apk":
		return []subject{{"Alpine:v" + strings.Join(strings.Split(system.VersionID, ".")[:2], "."), p.SourceName, p.Version}}
	case "rpm":
		switch system.ID {
		case "centos":
			list := []subject{{"Red Hat:enterprise_linux:" + system.VersionID, p.Name, p.Version}}
			if p.SourceName != p.Name {
				list = append(list, subject{"Red Hat:enterprise_linux:" + system.VersionID, p.SourceName, p.Version})
			}
			return list
		case "opensuse-leap":
			return []subject{{"openSUSE:Leap " + system.VersionID, p.Name, p.Version}, {"openSUSE:Leap " + system.VersionID, p.SourceName, p.Version}}
		}
	case "pypi":
		return []subject{{"PyPI", pythonName(p.Name), p.Version}}
	case "npm":
		return []subject{{"npm", p.Name, p.Version}}
	case "golang":
		return []subject{{"Go", p.Name, strings.TrimPrefix(p.Version, "v")}}
	case "maven":
		return []subject{{"Maven", p.Name, p.Version}}
	case "composer":
		return []subject{{"Packagist", strings.ToLower(p.Name), p.Version}}
	case "gem":
		return []subject{{"RubyGems", p.Name, p.Version}}
	}
	return nil
}

// A reference says which vulnerabilities packages have.
type reference struct {
	byName   map[[2]string][]osvAdvisory
	compare  map[string]*comparer
	examined int
}

func newReference(t testing.TB, all []osvAdvisory) *reference {
	r := &reference{byName: make(map[[2]string][]osvAdvisory), compare: comparers(t)}
	for _, a := range all {
		for _, affected := range a.Affected {
			key := [2]string{release(affected.Package.Ecosystem), nameIn(affected.Package.Ecosystem, affected.Package.Name)}
			if list := r.byName[key]; len(list) == 0 || list[len(list)-1].ID != a.ID {
				r.byName[key] = append(list, a)
			}
		}
	}
	return r
}

// release is an ecosystem without the repository of Red Hat's.
func release(ecosystem string) string {
	if parts := strings.Split(ecosystem, ":"); parts[0] == "Red Hat" && len(parts) > 3 {
		return strings.Join(parts[:3], ":")
	}
	return ecosystem
}

func nameIn(ecosystem, name string) string {
	switch ecosystem {
	case "PyPI":
		return pythonName(name)
	case "Packagist":
		return strings.ToLower(name)
	}
	return name
}

// vulnerabilities are the names of those that a package has.
func (r *reference) vulnerabilities(s subject) (names []string) {
	base, _, _ := strings.Cut(s.ecosystem, ":")
	order := r.compare[base]
	for _, a := range r.byName[[2]string{s.ecosystem, s.name}] {
		r.examined++
		if a.Withdrawn == "" && r.affects(a, s, order) {
			names = append(names, namesOf(a)...)
		}
	}
	return names
}

func (r *reference) affects(a osvAdvisory, s subject, order *comparer) bool {
	for _, affected := range a.Affected {
		if release(affected.Package.Ecosystem) != s.ecosystem || nameIn(affected.Package.Ecosystem, affected.Package.Name) != s.name {
			continue
		}
		for _, g := range affected.Ranges {
			if g.Type == "GIT" {
				continue
			}
			events := slices.Clone(g.Events)
			at := func(e map[string]string) string { return e["introduced"] + e["fixed"] + e["last_affected"] }
			slices.SortStableFunc(events, func(x, y map[string]string) int {
				if at(x) == "0" || at(y) == "0" {
					return zeroFirst(at(x), at(y))
				}
				return order.compare(at(x), at(y))
			})
			vulnerable := false
			for _, e := range events {
				switch {
				case e["introduced"] == "0" || e["introduced"] != "" && order.compare(s.version, e["introduced"]) >= 0:
					vulnerable = true
				case e["fixed"] != "" && order.compare(s.version, e["fixed"]) >= 0, e["last_affected"] != "" && order.compare(s.version, e["last_affected"]) > 0:
					vulnerable = false
				}
			}
			if vulnerable {
				return true
			}
		}
		for _, v := range affected.Versions {
			if v == s.version || order.compare(s.version, v) == 0 {
				return true
			}
		}
	}
	return false
}

func zeroFirst(a, b string) int {
	if a == b {
		return 0
	}
	if a == "0" {
		return -1
	}
	return 1
}

var cveForm, cveAtEnd = regexp.MustCompile(`^CVE-\d{4}-\d{4,}$`), regexp.MustCompile(`CVE-\d{4}-\d{4,}$`)

// namesOf is what docs/vulnerabilities.md says of names.
func namesOf(a osvAdvisory) (names []string) {
	for _, id := range slices.Concat([]string{a.ID}, a.Aliases, a.Upstream) {
		if cveForm.MatchString(id) {
			names = append(names, id)
		}
	}
	if len(names) > 0 {
		return names
	}
	for _, id := range append([]string{a.ID}, a.Aliases...) {
		if strings.HasPrefix(id, "GHSA-") {
			names = append(names, id)
		}
	}
	switch {
	case len(names) > 0:
		return names
	case cveAtEnd.MatchString(a.ID):
		return []string{cveAtEnd.FindString(a.ID)}
	case len(a.Upstream) > 0:
		return a.Upstream
	}
	return []string{a.ID}
}
