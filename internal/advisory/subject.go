package advisory

import (
	"errors"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/version"
)

var errDamaged = errors.New("read the index: an entry cannot be read")

// subject is a name under which advisories may speak of a package.
type subject struct {
	ecosystem, name, version string // the first two as in the key of a package
	rank                     int    // the lower one has the last word
	gap                      tidewaiter.MatchGap

	order      version.Order
	key        []byte
	understood bool
	semVer     []byte // the key as SemVer, if somebody asked
}

// makeKey makes the key of the version.
func (s *subject) makeKey() { s.key, s.understood = s.order.Key(s.version) }

// keyFor returns the key of the version in the order of a range.
func (s *subject) keyFor(l *line) (key []byte, understood bool) {
	if l.order != bySemVer || s.order == version.SemVer {
		return s.key, s.understood
	}
	if s.semVer == nil {
		s.semVer, _ = version.SemVer.Key(s.version)
	}
	return s.semVer, s.semVer[0] != 0
}

// subjectsOf returns the names under which advisories may speak of a package.
func subjectsOf(p *tidewaiter.Package, release tidewaiter.Release) ([]subject, tidewaiter.MatchGap) {
	var orders version.Order
	switch p.Type {
	case "deb":
		orders = version.Debian
	case "apk":
		orders = version.APK
	case "rpm":
		orders = version.RPM
	default:
		v := p.Version
		if p.Ecosystem == "Go" {
			v = goVersion(p.Name, v)
		}
		return []subject{{
			ecosystem: ecosystemKey(p.Ecosystem), name: nameKey(p.Ecosystem, p.Name), version: v, order: version.OrderOf(p.Ecosystem),
		}}, tidewaiter.NoGap
	}
	var subjects []subject
	for rank, ecosystem := range withBases(release.Ecosystems, p) {
		if version.OrderOf(ecosystem) != orders {
			continue // a package manager of another distribution within this one
		}
		for _, is := range packageNames(p, ecosystem) {
			subjects = append(subjects, subject{
				ecosystem: ecosystemKey(ecosystem), name: nameKey(ecosystem, is.name), version: is.version, rank: rank, order: orders,
			})
		}
	}
	if len(subjects) == 0 {
		return nil, tidewaiter.GapRelease
	}
	return subjects, tidewaiter.NoGap
}

// withBases adds to the ecosystems of a release those that speak before and
// after them: of Ubuntu's packages with extended maintenance first those
// advisories that know of it, and last the advisories that speak of no release.
func withBases(ecosystems []string, p *tidewaiter.Package) []string {
	all := make([]string, 0, 2*len(ecosystems)+1)
	for _, e := range ecosystems {
		if rest, ok := strings.CutPrefix(e, "Ubuntu:"); ok && strings.Contains(p.Version, "esm") && !strings.HasPrefix(rest, "Pro:") {
			all = append(all, "Ubuntu:Pro:"+rest)
		}
	}
	all = append(all, ecosystems...)
	for _, e := range ecosystems {
		if base, _, ok := strings.Cut(e, ":"); ok {
			all = append(all, base)
		}
	}
	return all
}

type named struct{ name, version string }

// packageNames returns the names and versions of a package of a distribution
// under which its advisories stand: mostly those of its source package.
func packageNames(p *tidewaiter.Package, ecosystem string) []named {
	binary := named{p.Name, p.Version}
	source := named{p.SourceName, p.SourceVersion}
	if source.name == "" {
		return []named{binary}
	}
	if source.version == "" {
		source.version = p.Version
	}
	base, _, _ := strings.Cut(ecosystem, ":")
	switch base {
	case "Debian", "Ubuntu", "Echo", "Alpine", "Alpaquita", "BellSoft Hardened Containers":
		return []named{source}
	case "Wolfi", "Chainguard", "MinimOS":
	default: // rpm: the file of the source package says no epoch, and both have the same
		if epoch, _, ok := strings.Cut(p.Version, ":"); ok && !strings.Contains(source.version, ":") {
			source.version = epoch + ":" + source.version
		}
	}
	if source == binary {
		return []named{binary}
	}
	return []named{binary, source}
}

// goVersion returns a version of Go's standard library as advisories have it:
// 1.21.0-rc.2 for 1.21rc2. That of a module that was built from a folder is
// none.
func goVersion(name, v string) string {
	v = strings.TrimPrefix(v, "(devel)")
	if name != "stdlib" && name != "toolchain" {
		return v
	}
	v = strings.TrimPrefix(v, "go")
	for _, word := range []string{"rc", "beta"} {
		if core, n, ok := strings.Cut(v, word); ok && !strings.HasSuffix(core, "-") && !strings.HasSuffix(core, ".") {
			for strings.Count(core, ".") < 2 {
				core += ".0"
			}
			return core + "-" + word + "." + n
		}
	}
	return v
}
