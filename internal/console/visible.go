package console

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// visible returns a rendered page in which characters that nobody sees, or that
// turn the text around them, are written out as ⟨U+202E⟩: names come from
// registries and images, and could make one thing look like another. The
// addresses of links are not touched, as they are percent-encoded.
func visible(page []byte) []byte {
	if bytes.IndexFunc(page, hidden) < 0 {
		return page
	}
	out := make([]byte, 0, len(page)+64)
	for len(page) > 0 {
		r, n := utf8.DecodeRune(page)
		if hidden(r) {
			out = fmt.Appendf(out, "⟨U+%04X⟩", r)
		} else {
			out = append(out, page[:n]...)
		}
		page = page[n:]
	}
	return out
}

// hidden reports control characters but those of lines, and the marks that set
// the direction of text (Unicode's Bidi_Control), zero-width characters, and
// separators of lines that are none to a browser.
func hidden(r rune) bool {
	switch {
	case r == '\n' || r == '\t' || r == '\r':
		return false
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r == 0x61c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff:
		return true
	}
	return false
}
