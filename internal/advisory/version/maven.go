package version

import "strings"

// maven is https://maven.apache.org/pom.html#version-order-specification, as
// ComparableVersion has it: tokens, of which a word comes before "-1", and that
// before ".1".
func (k *key) maven(v string) {
	const release, sp, word, afterHyphen, afterDot = 6, 7, 8, 9, 10
	for _, t := range mavenTrim(mavenTokens(v)) {
		if t.number {
			if t.hyphen {
				k.tag(afterHyphen)
			} else {
				k.tag(afterDot)
			}
			k.number(t.text)
			continue
		}
		switch t.text {
		case "alpha":
			k.tag(1)
		case "beta":
			k.tag(2)
		case "milestone":
			k.tag(3)
		case "rc":
			k.tag(4)
		case "snapshot":
			k.tag(5)
		case "":
			k.tag(release)
		case "sp":
			k.tag(sp)
		default:
			k.tag(word)
			k.text(t.text)
		}
	}
	k.tag(release)
}

type mavenToken struct {
	hyphen bool // before it is a hyphen, or a change between digits and letters
	number bool
	text   string
}

// null tells whether the token says nothing at the end.
func (t mavenToken) null() bool {
	if t.number {
		return strings.Trim(t.text, "0") == ""
	}
	return t.text == ""
}

func mavenTokens(v string) []mavenToken {
	v = strings.ToLower(strings.TrimSpace(v))
	var tokens []mavenToken
	hyphen := false
	for {
		i := strings.IndexAny(v, ".-")
		part := v
		if i >= 0 {
			part = v[:i]
		}
		if part == "" {
			tokens = append(tokens, mavenToken{hyphen, true, "0"})
		}
		for part != "" {
			run := leading(part, isDigit)
			number := run != ""
			if !number {
				run = leading(part, func(c byte) bool { return !isDigit(c) })
			}
			part = part[len(run):]
			if !number {
				run = mavenWord(run, part != "")
			}
			tokens = append(tokens, mavenToken{hyphen, number, run})
			hyphen = true
		}
		if i < 0 {
			return tokens
		}
		hyphen = v[i] == '-'
		v = v[i+1:]
	}
}

func mavenWord(w string, beforeDigit bool) string {
	switch w {
	case "cr":
		return "rc"
	case "ga", "final", "release":
		return ""
	}
	if beforeDigit {
		switch w {
		case "a":
			return "alpha"
		case "b":
			return "beta"
		case "m":
			return "milestone"
		}
	}
	return w
}

// mavenTrim takes away tokens that say nothing at the end, and before each
// hyphen or word.
func mavenTrim(tokens []mavenToken) []mavenToken {
	var kept []mavenToken
	for i, t := range tokens {
		if i > 0 && (t.hyphen || !t.number) {
			for len(kept) > 0 && kept[len(kept)-1].null() {
				kept = kept[:len(kept)-1]
			}
		}
		kept = append(kept, t)
	}
	for len(kept) > 0 && kept[len(kept)-1].null() {
		kept = kept[:len(kept)-1]
	}
	return kept
}
