// Package version orders the versions of packages as their ecosystems do.
//
// A version is turned into a key once; keys are compared as bytes. So what is
// said about many boundaries is answered by comparing bytes, keys can be kept
// in files, and the order is total, whatever the versions are: no three
// versions can go round in a circle, as they can with comparers of pairs.
package version

import "strings"

// Revision says how keys are made. It is raised when one changes, so that keys
// which are kept elsewhere are made anew.
const Revision = 1

// maxLength is more than any version has: what is longer is not understood.
const maxLength = 512

// Order is how versions are ordered.
type Order uint8

// The orders.
const (
	Unordered Order = iota // nothing is known: versions are equal or not
	SemVer
	NuGet    // SemVer, but for capitals
	Pub      // SemVer, but for build metadata
	PEP440   // Python
	Maven    // ComparableVersion
	RubyGems // Gem::Version
	Composer // PHP
	Numbers  // R, Haskell: numbers, and the shorter comes first
	Debian
	APK
	RPM
)

// OrderOf returns the order of an ecosystem, with or without a suffix, as OSV
// names them.
func OrderOf(ecosystem string) Order {
	base, suffix, _ := strings.Cut(ecosystem, ":")
	switch base {
	case "Go", "npm", "crates.io", "Hex", "SwiftURL", "Julia", "Bitnami", "ConanCenter",
		"GHC", "GitHub Actions", "VSCode", "Kubernetes", "Docker Hardened Images":
		return SemVer
	case "NuGet":
		return NuGet
	case "Pub":
		return Pub
	case "PyPI":
		return PEP440
	case "Maven":
		return Maven
	case "RubyGems":
		return RubyGems
	case "Packagist":
		return Composer
	case "CRAN", "Bioconductor", "Hackage":
		return Numbers
	case "Debian", "Ubuntu", "Echo":
		return Debian
	case "Alpine", "Wolfi", "Chainguard", "Alpaquita", "BellSoft Hardened Containers", "MinimOS":
		return APK
	case "AlmaLinux", "Azure Linux", "Mageia", "openEuler", "openSUSE", "Photon OS", "Red Hat", "Rocky Linux", "SUSE":
		return RPM
	case "Root": // of another ecosystem's packages, with patches
		return OrderOf(suffix)
	}
	return Unordered
}

// Key returns the key of a version. Of two keys, [bytes.Compare] says which
// version comes first. It is false for a version that the order does not know:
// its key comes before those of all others.
func (o Order) Key(version string) ([]byte, bool) {
	if len(version) > maxLength {
		return append([]byte{unknown}, version[:maxLength]...), false
	}
	k := append(make(key, 0, 64), known)
	ok := true
	switch o {
	case SemVer:
		ok = k.semVer(version, false)
	case NuGet:
		ok = k.semVer(strings.ToLower(version), false)
	case Pub:
		ok = k.semVer(version, true)
	case PEP440:
		ok = k.pep440(version)
	case Maven:
		k.maven(version)
	case RubyGems:
		ok = k.rubyGems(version)
	case Composer:
		ok = k.composer(version)
	case Numbers:
		ok = k.numbers(version)
	case Debian:
		k.debian(version)
	case APK:
		ok = k.apk(version)
	case RPM:
		k.rpm(version)
	default:
		ok = false
	}
	if !ok || version == "" {
		return append([]byte{unknown}, version...), false
	}
	return k, true
}

// The first byte of a key.
const (
	unknown = iota
	known
)

// key is a key in the making. What is put in first decides first.
type key []byte

func (k *key) tag(t byte) { *k = append(*k, t) }

// number puts in digits: the more there are, less leading zeros, the larger is
// the number, and so their count comes first.
func (k *key) number(digits string) {
	digits = strings.TrimLeft(digits, "0")
	if n := len(digits); n < 0x80 {
		*k = append(*k, byte(n))
	} else {
		*k = append(*k, 0x80|byte(n>>8), byte(n))
	}
	*k = append(*k, digits...)
}

// text puts in a text, and its end.
func (k *key) text(s string) {
	for i := range len(s) {
		if s[i] <= 1 { // the end is 0: a 0 or 1 in the text must come after it, in order
			*k = append(*k, 1)
		}
		*k = append(*k, s[i])
	}
	*k = append(*k, 0)
}

// leading returns the part of s that begins it and is all of that class.
func leading(s string, class func(byte) bool) string {
	for i := range len(s) {
		if !class(s[i]) {
			return s[:i]
		}
	}
	return s
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isNumber(s string) bool { return s != "" && leading(s, isDigit) == s }
