package aksk

import (
	"cmp"
	"slices"
	"strings"
)

// maxPairs is how many parameters a signed query may have.
const maxPairs = 1000

// appendPath appends the canonical form of a decoded path. It ends in "/".
func appendPath(b []byte, path string) []byte {
	b = appendEscaped(b, path, '/')
	if !strings.HasSuffix(path, "/") {
		b = append(b, '/')
	}
	return b
}

// pair is a parameter of a query, decoded.
type pair struct{ key, value string }

// appendQuery appends the canonical form of a query as it came on the wire. A
// parameter without "=" has the empty value; "+" stands for a blank, as in
// what url.Values encodes; empty parameters are nothing.
func appendQuery(b []byte, raw string) ([]byte, error) {
	var space [16]pair
	pairs := space[:0]
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		if part == "" {
			continue
		}
		if len(pairs) == maxPairs {
			return nil, fail("the query has too many parameters")
		}
		key, value, _ := strings.Cut(part, "=")
		key, ok1 := unescape(key)
		value, ok2 := unescape(value)
		if !ok1 || !ok2 {
			return nil, fail("the query has a % that is no percent escape")
		}
		pairs = append(pairs, pair{key, value})
	}
	slices.SortFunc(pairs, func(x, y pair) int {
		if c := cmp.Compare(x.key, y.key); c != 0 {
			return c
		}
		return cmp.Compare(x.value, y.value)
	})
	for i, p := range pairs {
		if i > 0 {
			b = append(b, '&')
		}
		b = appendEscaped(b, p.key, 0)
		b = append(b, '=')
		b = appendEscaped(b, p.value, 0)
	}
	return b, nil
}

// unescape decodes percent escapes and "+". It allocates only where there are
// any.
func unescape(s string) (string, bool) {
	if !strings.ContainsAny(s, "%+") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '+':
			b = append(b, ' ')
		case '%':
			if i+2 >= len(s) {
				return "", false
			}
			high, ok1 := unhex(s[i+1])
			low, ok2 := unhex(s[i+2])
			if !ok1 || !ok2 {
				return "", false
			}
			b = append(b, high<<4|low)
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b), true
}

// appendEscaped appends s with all but unreserved characters (RFC 3986) and
// the byte keep percent-encoded.
func appendEscaped(b []byte, s string, keep byte) []byte {
	const upper = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			c == '-' || c == '_' || c == '.' || c == '~' || c == keep && keep != 0 {
			b = append(b, c)
			continue
		}
		b = append(b, '%', upper[c>>4], upper[c&15])
	}
	return b
}
