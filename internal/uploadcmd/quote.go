package uploadcmd

import (
	"strings"
)

// quote returns s as one word of a shell command: bare where no shell gives
// any of its characters a meaning, else in single or in double quotes,
// whichever is shorter. s must not be empty and must hold no control
// characters.
func quote(s string) string {
	if isBare(s) {
		return s
	}
	single := singleQuote(s)
	// Within double quotes '\', '$' and '`' have a meaning in every shell, and
	// '!' in an interactive bash or zsh. bash's history expansion and its
	// parser do not even agree on where a quoted string with a backslash ends.
	// Strings with any of these stay in single quotes.
	if double := `"` + s + `"`; len(double) < len(single) && !strings.ContainsAny(s, "\"\\$`!") {
		return double
	}
	return single
}

// singleQuote puts every run of characters other than the single quote in
// single quotes, where all shells take all of them as they are, and a
// backslash before each single quote.
func singleQuote(s string) string {
	var b strings.Builder
	for i, run := range strings.Split(s, "'") {
		if i > 0 {
			b.WriteString(`\'`)
		}
		if run != "" {
			b.WriteString("'" + run + "'")
		}
	}
	return b.String()
}

// isBare tells whether s holds only characters without a meaning in dash, bash
// and zsh, under any of their options, wherever in a word they stand.
// A leading '-' is one of them: what an option is, programs decide, and the
// commands of this package put no value where a program looks for options.
func isBare(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("_./:@%+,-", c) >= 0) {
			return false
		}
	}
	return true
}

// markers are candidates for the character that stands for a single quote in
// the compact form. No shell gives any of them a meaning, bare or in a pattern.
//
// There are 167 of them, and a value has at most 128 characters, so that at
// least one is free in every value. Digits and punctuation come first because
// bash's nocasematch option makes letters match in either case. The ideographs
// serve only a value that holds all the others; they have no case either, no
// second normal form, and no byte that dash uses as a mark of its own (0x81 to
// 0x88).
const markers = "0123456789_,.:@%+/-" +
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" +
	"丐丑丒专且丕世丗丘丙业丛东丝丞丟丠両丢丣两严並丧丨丩个丫丬中丮丯丰丱串丳临丵丶丷丸丹为主丼丽举丿" +
	"乐乑乒乓乔乕乖乗乘乙乚乛乜九乞也习乡乢乣乤乥书乧乨乩乪乫乬乭乮乯买乱乲乳乴乵乶乷乸乹乺乻乼乽乾乿"

// marker returns a character that s does not hold.
func marker(s string) string {
	for _, m := range markers {
		if !strings.ContainsRune(s, m) {
			return string(m)
		}
	}
	panic("uploadcmd: value longer than 128 characters")
}
