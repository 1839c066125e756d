package version

import "strings"

// debian is deb-version(7): [epoch:]upstream[-revision].
func (k *key) debian(v string) {
	v = strings.TrimSpace(v)
	epoch, rest, ok := strings.Cut(v, ":")
	if !ok || !isNumber(epoch) {
		epoch, rest = "", v
	}
	upstream, revision := rest, ""
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		upstream, revision = rest[:i], rest[i+1:]
	}
	k.number(epoch)
	k.debianPart(upstream)
	k.debianPart(revision)
}

// debianPart puts in text and numbers in turns. In text, a tilde comes before
// the end, the end before letters, and letters before all else.
func (k *key) debianPart(s string) {
	const tilde, end, other = 0x01, 0x02, 0x80
	for first := true; first || s != ""; first = false {
		i := 0
		for ; i < len(s) && !isDigit(s[i]); i++ {
			switch c := s[i]; {
			case c == '~':
				k.tag(tilde)
			case isLetter(c):
				k.tag(c)
			case c < 0x7f:
				k.tag(other + c)
			default:
				k.tag(0xff)
				k.tag(c)
			}
		}
		k.tag(end)
		digits := leading(s[i:], isDigit)
		k.number(digits)
		s = s[i+len(digits):]
	}
	k.tag(end)
}

// rpm is rpmvercmp of epoch, version and release.
func (k *key) rpm(v string) {
	v = strings.TrimSpace(v)
	epoch, rest, ok := strings.Cut(v, ":")
	if !ok || !isNumber(epoch) {
		epoch, rest = "", v
	}
	version, release := rest, ""
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		version, release = rest[:i], rest[i+1:]
	}
	k.number(epoch)
	k.rpmPart(version)
	k.rpmPart(release)
}

func (k *key) rpmPart(s string) {
	const tilde, end, caret, letters, digits = 1, 2, 3, 4, 5
	for s != "" {
		switch c := s[0]; {
		case c == '~':
			k.tag(tilde)
			s = s[1:]
		case c == '^':
			k.tag(caret)
			s = s[1:]
		case isDigit(c):
			run := leading(s, isDigit)
			k.tag(digits)
			k.number(run)
			s = s[len(run):]
		case isLetter(c):
			run := leading(s, isLetter)
			k.tag(letters)
			k.text(run)
			s = s[len(run):]
		default: // separates, and says nothing
			s = s[1:]
		}
	}
	k.tag(end)
}

// What a part of a version of apk is, in the order in which such parts come
// where two versions differ. See apk_version_compare of apk-tools.
const (
	apkBefore = iota + 1 // _alpha, _beta, _pre, _rc
	apkEnd
	apkRevision // -r1
	apkCommit   // ~1a2b
	apkSuffixNumber
	apkAfter // _cvs, _svn, _git, _hg, _p
	apkLetter
	apkNumber
)

// apk puts in the parts, as far as they are understood, and what is left after
// the end: such versions are refused today, and advisories about old packages
// have them.
func (k *key) apk(v string) bool {
	first := leading(v, isDigit)
	if first == "" {
		return false
	}
	k.number(first)
	v = k.apkNumbers(v[len(first):])
	if v != "" && 'a' <= v[0] && v[0] <= 'z' {
		k.tag(apkLetter)
		k.tag(v[0])
		digits := leading(v[1:], isDigit)
		if digits != "" { // 1.8.28p1 of sudo
			k.tag(apkNumber)
			k.number(digits)
		}
		v = k.apkNumbers(v[1+len(digits):])
	}
	for strings.HasPrefix(v, "_") {
		name := leading(v[1:], isLetter)
		if !k.apkSuffix(name) {
			break
		}
		v = v[1+len(name):]
		if digits := leading(v, isDigit); digits != "" {
			k.tag(apkSuffixNumber)
			k.number(digits)
			v = v[len(digits):]
		}
	}
	if strings.HasPrefix(v, "~") {
		commit := leading(v[1:], func(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' })
		k.tag(apkCommit)
		k.text(commit)
		v = v[1+len(commit):]
	}
	if after, ok := strings.CutPrefix(v, "-r"); ok && isNumber(after) {
		k.tag(apkRevision)
		k.number(after)
		v = ""
	}
	k.tag(apkEnd)
	k.text(v)
	return true
}

func (k *key) apkNumbers(v string) (rest string) {
	for strings.HasPrefix(v, ".") {
		digits := leading(v[1:], isDigit)
		if digits == "" {
			break
		}
		k.tag(apkNumber)
		if digits[0] == '0' { // a fraction: 1.05 comes before 1.1
			k.tag(0)
			k.text(digits)
		} else {
			k.number(digits)
		}
		v = v[1+len(digits):]
	}
	return v
}

func (k *key) apkSuffix(name string) bool {
	for i, known := range []string{"alpha", "beta", "pre", "rc", "cvs", "svn", "git", "hg", "p"} {
		if name != known {
			continue
		}
		if i < 4 {
			k.tag(apkBefore)
		} else {
			k.tag(apkAfter)
		}
		k.tag(byte(i))
		return true
	}
	return false
}
