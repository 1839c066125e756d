package registry

import (
	"net/http"
	"strings"
)

// Challenge is one challenge of a WWW-Authenticate header
// (https://www.rfc-editor.org/rfc/rfc9110#name-www-authenticate).
type Challenge struct {
	Scheme     string            // lower case
	Parameters map[string]string // names in lower case
}

// ParseChallenges reads all WWW-Authenticate headers, as far as they can be
// read: what follows a fault in a header is ignored. At most 16 challenges.
func ParseChallenges(h http.Header) []Challenge {
	var list []Challenge
	for _, s := range h.Values("WWW-Authenticate") {
		for s != "" && len(list) < 16 {
			var c Challenge
			var ok bool
			if c, s, ok = cutChallenge(s); !ok {
				break
			}
			list = append(list, c)
		}
	}
	return list
}

// cutChallenge reads one challenge off the front: a scheme and name=value
// pairs up to what looks like the next scheme.
func cutChallenge(s string) (c Challenge, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t,")
	scheme, s := cutToken(s)
	if scheme == "" {
		return c, "", false
	}
	c = Challenge{Scheme: strings.ToLower(scheme), Parameters: map[string]string{}}
	for {
		s = strings.TrimLeft(s, " \t,")
		name, after := cutToken(s)
		after = strings.TrimLeft(after, " \t")
		if name == "" || !strings.HasPrefix(after, "=") {
			return c, s, true // the end, or the next scheme
		}
		value, after, ok := cutValue(strings.TrimLeft(after[1:], " \t"))
		if !ok {
			return c, "", true
		}
		if name = strings.ToLower(name); c.Parameters[name] == "" { // the first counts
			c.Parameters[name] = value
		}
		s = after
	}
}

// cutValue reads a token or a quoted string.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, rest, true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

func cutToken(s string) (token, rest string) {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

func isTokenByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
