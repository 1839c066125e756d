package version

import "strings"

// pep440 is https://packaging.python.org/en/latest/specifications/version-specifiers/
// with all of its spellings of the same version.
func (k *key) pep440(v string) bool {
	v = strings.ToLower(strings.TrimSpace(v))
	v = strings.TrimPrefix(v, "v")
	v, local, hasLocal := strings.Cut(v, "+")
	epoch := leading(v, isDigit)
	if rest := v[len(epoch):]; epoch != "" && strings.HasPrefix(rest, "!") {
		v = rest[1:]
	} else {
		epoch = ""
	}
	core := leading(v, func(c byte) bool { return isDigit(c) || c == '.' })
	core = strings.TrimSuffix(core, ".") // of 1.0.dev1
	if core == "" || core[0] == '.' || strings.Contains(core, "..") {
		return false
	}
	s := pythonSuffix{rest: v[len(core):]}
	pre, preNumber := s.take("alpha", "a", "beta", "b", "preview", "pre", "c", "rc")
	post, postNumber := s.takePost()
	dev, devNumber := s.take("dev")
	if s.rest != "" {
		return false
	}
	k.number(epoch)
	k.release(core)
	switch {
	case pre != "":
		k.tag(2)
		switch pre {
		case "alpha", "a":
			k.tag(1)
		case "beta", "b":
			k.tag(2)
		default:
			k.tag(3)
		}
		k.number(preNumber)
	case post == "" && dev != "": // 1.0.dev1 comes before 1.0a1
		k.tag(1)
	default:
		k.tag(3)
	}
	k.optional(post != "", 1, postNumber)
	k.optional(dev != "", 3, devNumber)
	if !hasLocal {
		k.tag(1)
		return true
	}
	return k.pythonLocal(local)
}

// optional puts in a number, or that there is none.
func (k *key) optional(present bool, absent byte, number string) {
	if !present {
		k.tag(absent)
		return
	}
	k.tag(2)
	k.number(number)
}

func (k *key) pythonLocal(local string) bool {
	k.tag(2)
	for part := range strings.SplitSeq(strings.NewReplacer("-", ".", "_", ".").Replace(local), ".") {
		switch {
		case isNumber(part):
			k.tag(3)
			k.number(part)
		case part != "" && leading(part, func(c byte) bool { return isDigit(c) || isLetter(c) }) == part:
			k.tag(2)
			k.text(part)
		default:
			return false
		}
	}
	k.tag(1)
	return true
}

// pythonSuffix is what is left of a version after its numbers.
type pythonSuffix struct{ rest string }

// take takes one of the words, and its number, off the rest.
func (s *pythonSuffix) take(words ...string) (word, number string) {
	rest := trimOne(s.rest)
	for _, w := range words {
		if after, ok := strings.CutPrefix(rest, w); ok {
			after = trimOne(after)
			number = leading(after, isDigit)
			s.rest = after[len(number):]
			return w, number
		}
	}
	return "", ""
}

// takePost takes a post release, which may be -1 alone.
func (s *pythonSuffix) takePost() (word, number string) {
	if after, ok := strings.CutPrefix(s.rest, "-"); ok {
		if number = leading(after, isDigit); number != "" {
			s.rest = after[len(number):]
			return "post", number
		}
	}
	return s.take("post", "rev", "r")
}

func trimOne(s string) string {
	if s != "" && strings.ContainsRune(".-_", rune(s[0])) {
		return s[1:]
	}
	return s
}
