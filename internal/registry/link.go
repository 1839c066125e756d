package registry

import (
	"net/http"
	"net/url"
	"strings"
)

// NextQuery returns the query of the first Link with rel=next
// (https://www.rfc-editor.org/rfc/rfc8288), or ok=false if there is none. Only
// the query counts: the next page is asked of the same path on the same host,
// wherever the link points.
func NextQuery(h http.Header) (query string, ok bool) {
	for _, s := range h.Values("Link") {
		for s != "" {
			var target, rel string
			target, rel, s = cutLink(s)
			if !hasWord(rel, "next") {
				continue
			}
			u, err := url.Parse(target)
			if err != nil || u.RawQuery == "" {
				return "", false
			}
			return u.RawQuery, true
		}
	}
	return "", false
}

// cutLink reads one link off the front: <target>; name=value; … up to a comma.
func cutLink(s string) (target, rel, rest string) {
	_, s, ok := strings.Cut(s, "<")
	if !ok {
		return "", "", ""
	}
	target, s, ok = strings.Cut(s, ">")
	if !ok {
		return "", "", ""
	}
	for {
		s = strings.TrimLeft(s, " \t")
		if !strings.HasPrefix(s, ";") {
			break
		}
		name, after := cutToken(strings.TrimLeft(s[1:], " \t;"))
		after = strings.TrimLeft(after, " \t")
		if !strings.HasPrefix(after, "=") {
			s = after
			continue
		}
		value, after, ok := cutValue(strings.TrimLeft(after[1:], " \t"))
		if !ok {
			return target, rel, ""
		}
		if strings.EqualFold(name, "rel") && rel == "" {
			rel = value
		}
		s = after
	}
	_, rest, _ = strings.Cut(s, ",")
	return target, rel, rest
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}
