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

// scope is an ecosystem whose advisories count for the packages of a release.
type scope struct {
	ecosystem string
	key       string // as in the key of a package
	base      string
	order     version.Order
}

// scopesOf returns the ecosystems that count for a release. Those that speak of
// no release come last. With esm (extended maintenance of Ubuntu) those that
// know of it come first.
func scopesOf(release tidewaiter.Release, esm bool) []scope {
	var scopes []scope
	add := func(ecosystem string) {
		base, _, _ := strings.Cut(ecosystem, ":")
		scopes = append(scopes, scope{ecosystem, ecosystemKey(ecosystem), base, version.OrderOf(ecosystem)})
	}
	for _, e := range release.Ecosystems {
		if rest, ok := strings.CutPrefix(e, "Ubuntu:"); ok && esm && !strings.HasPrefix(rest, "Pro:") {
			add("Ubuntu:Pro:" + rest)
		}
	}
	for _, e := range release.Ecosystems {
		add(e)
	}
	for _, e := range release.Ecosystems {
		if base, _, ok := strings.Cut(e, ":"); ok {
			add(base)
		}
	}
	return scopes
}

// subjectsOf appends the names under which advisories may speak of a package.
func subjectsOf(subjects []subject, p *tidewaiter.Package, scopes []scope) ([]subject, tidewaiter.MatchGap) {
	var order version.Order
	switch p.Type {
	case "deb":
		order = version.Debian
	case "apk":
		order = version.APK
	case "rpm":
		order = version.RPM
	default:
		v := p.Version
		if p.Ecosystem == "Go" {
			v = goVersion(p.Name, v)
		}
		return append(subjects, subject{
			ecosystem: ecosystemKey(p.Ecosystem), name: nameKey(p.Ecosystem, p.Name), version: v, order: version.OrderOf(p.Ecosystem),
		}), tidewaiter.NoGap
	}
	gap := tidewaiter.GapRelease
	for rank := range scopes {
		in := &scopes[rank]
		if in.order != order {
			continue // a package manager of another distribution within this one
		}
		gap = tidewaiter.NoGap
		binary, source := packageNames(p, in.base)
		if binary.name != "" {
			subjects = append(subjects, subject{ecosystem: in.key, name: nameKey(in.ecosystem, binary.name), version: binary.version, rank: rank, order: order})
		}
		if source.name != "" && source != binary {
			subjects = append(subjects, subject{ecosystem: in.key, name: nameKey(in.ecosystem, source.name), version: source.version, rank: rank, order: order})
		}
	}
	return subjects, gap
}

type named struct{ name, version string }

// packageNames returns the names and versions of a package of a distribution
// under which its advisories stand: mostly those of its source package alone.
func packageNames(p *tidewaiter.Package, base string) (binary, source named) {
	binary = named{p.Name, p.Version}
	source = named{p.SourceName, p.SourceVersion}
	if source.name == "" {
		return binary, named{}
	}
	if source.version == "" {
		source.version = p.Version
	}
	switch base {
	case "Debian", "Ubuntu", "Echo", "Alpine", "Alpaquita", "BellSoft Hardened Containers":
		return named{}, source
	case "Wolfi", "Chainguard", "MinimOS":
	default: // rpm: the file of the source package says no epoch, and both have the same
		if epoch, _, ok := strings.Cut(p.Version, ":"); ok && !strings.Contains(source.version, ":") {
			source.version = epoch + ":" + source.version
		}
	}
	return binary, source
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

// Subjects returns the names under which advisories may speak of a package:
// whenever advisories about one of them change ([Changed]), what is known of
// the package may.
func Subjects(p tidewaiter.Package, release tidewaiter.Release) []PackageKey {
	esm := strings.Contains(p.Version, "esm")
	subjects, _ := subjectsOf(nil, &p, scopesOf(release, esm))
	keys := make([]PackageKey, 0, len(subjects))
	for _, s := range subjects {
		keys = append(keys, PackageKey{Ecosystem: s.ecosystem, Name: s.name})
	}
	return keys
}

// Ecosystems returns the ecosystems, with their releases, that an index has
// advisories about.
func (x *Index) Ecosystems() map[string]bool {
	known := make(map[string]bool)
	if x != nil {
		for e, n := range x.meta.Ecosystems {
			known[e] = n > 0
		}
	}
	return known
}
