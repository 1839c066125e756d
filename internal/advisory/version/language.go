package version

import "strings"

// semVer is https://semver.org/#spec-item-11, and for versions that are not
// quite so: a leading v, fewer numbers than three, or more.
func (k *key) semVer(v string, buildCounts bool) bool {
	v = strings.TrimLeft(v, "vV= ")
	v, build, _ := strings.Cut(v, "+")
	core, pre, hasPre := v, "", false
	if i := strings.IndexFunc(v, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i >= 0 {
		core, pre, hasPre = v[:i], strings.TrimPrefix(v[i:], "-"), true
	}
	if core == "" || !isDigit(core[0]) {
		return false
	}
	k.release(core)
	if !hasPre || pre == "" {
		k.tag(0xff)
	} else {
		k.tag(1)
		k.identifiers(pre)
	}
	if buildCounts {
		k.tag(1)
		if build != "" {
			k.tag(2)
			k.identifiers(build)
		}
	}
	return true
}

// release puts in numbers, of which missing ones are zero.
func (k *key) release(s string) {
	parts := strings.Split(s, ".")
	for len(parts) > 0 && strings.Trim(parts[len(parts)-1], "0") == "" {
		parts = parts[:len(parts)-1]
	}
	for _, p := range parts {
		k.tag(2)
		k.number(p)
	}
	k.tag(1)
}

// identifiers puts in what is between dots: numbers before text, and the end
// before both.
func (k *key) identifiers(s string) {
	for id := range strings.SplitSeq(s, ".") {
		if isNumber(id) {
			k.tag(2)
			k.number(id)
		} else {
			k.tag(3)
			k.text(id)
		}
	}
	k.tag(1)
}

// numbers is what compareVersion of R and Data.Version of Haskell say.
func (k *key) numbers(v string) bool {
	for p := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == '.' || r == '-' }) {
		if !isNumber(p) {
			return false
		}
		k.tag(2)
		k.number(p)
	}
	k.tag(1)
	return len(*k) > 2
}

// rubyGems is Gem::Version: text comes before numbers, missing numbers are zero.
func (k *key) rubyGems(v string) bool {
	v = strings.ReplaceAll(strings.TrimSpace(v), "-", ".pre.")
	if v == "" || !isDigit(v[0]) {
		return false
	}
	var parts []string
	firstText := -1
	for v != "" {
		part := leading(v, isDigit)
		if part == "" {
			if part = leading(v, isLetter); part != "" && firstText < 0 {
				firstText = len(parts)
			}
		}
		if part == "" {
			if v[0] != '.' {
				return false
			}
			v = v[1:]
			continue
		}
		parts, v = append(parts, part), v[len(part):]
	}
	if firstText >= 0 { // zeros before the first text do not count
		head := firstText
		for head > 0 && strings.Trim(parts[head-1], "0") == "" {
			head--
		}
		parts = append(parts[:head:head], parts[firstText:]...)
	}
	k.padded(parts)
	return true
}

// padded puts in numbers and text, of which missing ones are the number zero
// and text comes before numbers. What zeros mean depends on what comes after
// them: 1.a.0.b is before 1.a, which is before 1.a.0.1.
func (k *key) padded(parts []string) {
	zeros := 0
	for _, p := range parts {
		switch {
		case !isDigit(p[0]) && zeros == 0:
			k.tag(1)
			k.text(p)
		case !isDigit(p[0]):
			k.tag(2)
			k.count(zeros)
			k.text(p)
			zeros = 0
		case strings.Trim(p, "0") == "":
			zeros++
		case zeros > 0:
			k.tag(4)
			k.count(maxLength - zeros)
			k.number(p)
			zeros = 0
		default:
			k.tag(5)
			k.number(p)
		}
	}
	k.tag(3)
}

func (k *key) count(n int) { *k = append(*k, byte(n>>8), byte(n)) }

// composer is PHP's version_compare over what Composer makes of a version:
// four numbers, of which missing ones are zero, and a stability.
func (k *key) composer(v string) bool {
	v = strings.ToLower(strings.TrimSpace(v))
	v = strings.TrimPrefix(v, "v")
	v, _, _ = strings.Cut(v, "+")
	if v == "" || !isDigit(v[0]) {
		return false
	}
	core := leading(v, func(c byte) bool { return isDigit(c) || c == '.' })
	rest := v[len(core):]
	k.release(strings.TrimRight(core, "."))
	for rest != "" {
		if part := leading(rest, isDigit); part != "" {
			k.tag(7)
			k.number(part)
			rest = rest[len(part):]
			continue
		}
		part := leading(rest, func(c byte) bool { return !isDigit(c) && !strings.ContainsRune(".-_+", rune(c)) })
		if part == "" {
			rest = rest[1:]
			continue
		}
		rest = rest[len(part):]
		k.stability(part)
	}
	k.tag(6)
	return true
}

func (k *key) stability(name string) {
	switch name {
	case "dev":
		k.tag(2)
	case "alpha", "a":
		k.tag(3)
	case "beta", "b":
		k.tag(4)
	case "rc":
		k.tag(5)
	case "stable":
	case "pl", "p", "patch":
		k.tag(8)
	default:
		k.tag(1)
		k.text(name)
	}
}
