package registry

import (
	"regexp"
	"slices"
	"strings"
)

// hidden stands in place of a secret.
const hidden = "***"

// redact replaces the values in a command line, or in any other text, whose
// names look like those of secrets: NAME=value, "name: value", --name value,
// --name=value, ENV NAME value, Authorization: scheme value, and the password
// within a URL or after curl's --user. In doubt it takes away too much: up to
// the end of the quote or of the word in which the value stands, and after
// ENV, ARG and LABEL up to the next NAME=, as builders write down their values
// without quotes.
//
// It knows secrets by their names only. One that has no name (echo hunter2 |
// login) remains.
func redact(s string) string {
	r := redactor{text: s, plain: plainLength(s)}
	for r.at < len(s) {
		switch c := s[r.at]; {
		case isNameByte(c):
			r.word()
		case strings.HasPrefix(s[r.at:], "://"):
			r.authority()
		case c == '\\' && r.quote != '\'':
			r.at = min(r.at+2, len(s))
		case c == '"' || c == '\'':
			r.toggle(c)
			r.at++
		default:
			r.at++
		}
	}
	return r.out.String() + s[r.kept:]
}

// redactArguments is redact for the words of a command line, where a value may
// be a word of its own, with blanks in it.
func redactArguments(words []string) []string {
	out := make([]string, len(words))
	before := ""
	for i, w := range words {
		name, rest := w, ""
		if n := strings.IndexFunc(w, func(r rune) bool { return r > 127 || !isNameByte(byte(r)) }); n >= 0 {
			name, rest = w[:n], w[n:]
		}
		switch {
		case takesSecret(before) && w != "":
			out[i] = hidden
		case (before == "-u" || before == "--user") && userSecret.MatchString(w):
			user, _, _ := strings.Cut(w, ":")
			out[i] = user + ":" + hidden
		case !shellFlag.MatchString(before) && len(rest) > 1 && (rest[0] == '=' || rest[0] == ':') && secretName(name):
			out[i] = name + rest[:1] + hidden
		default:
			out[i] = redact(w)
		}
		before = w
	}
	return out
}

var (
	// nextName begins another NAME= after a value without quotes.
	nextName = regexp.MustCompile(`\s[A-Za-z_][\w.-]*=`)
	// listing begins what builders write without quotes: docker's lists of
	// build arguments, and instructions.
	listing = regexp.MustCompile(`^(?:/bin/sh -c #\(nop\)\s+)?(?i:(?:RUN )?\|[0-9]+ |(?:ENV|ARG|LABEL)\s)`)
	// shellFlag is followed by a script.
	shellFlag = regexp.MustCompile(`^-[a-z]*c$`)
	// joiners are left out of names before they are judged, and so are
	// tokenizers, which are no secret.
	joiners = strings.NewReplacer("_", "", "-", "", ".", "", "tokeniz", "", "tokenis", "")
	// userSecret is user:password, but not a pair of numeric ids.
	userSecret = regexp.MustCompile(`^[^:\s]*:(?:.*[^0-9].*)$`)
)

// plainLength returns how far a text is written without quotes.
func plainLength(s string) int {
	begin := listing.FindString(s)
	if begin == "" {
		return 0
	}
	if strings.Contains(begin, "|") {
		if i := strings.Index(s, " /bin/"); i >= 0 {
			return i
		}
	}
	return len(s)
}

// redactor goes through a text as a shell would, to know what is quoted.
type redactor struct {
	text   string
	plain  int // up to here, values have no quotes
	out    strings.Builder
	kept   int    // text[:kept] is in out
	at     int    // where we are
	quote  byte   // of the quoted part that we are in, or 0
	before string // the word before
}

func (r *redactor) toggle(c byte) {
	switch r.quote {
	case 0:
		r.quote = c
	case c:
		r.quote = 0
	}
}

// hide replaces what stands from one offset to another, and goes on from there.
func (r *redactor) hide(from, to int) {
	r.out.WriteString(r.text[r.kept:from])
	r.out.WriteString(hidden)
	r.kept, r.at = to, to
}

// word looks at the word at hand, and hides the value that belongs to it.
func (r *redactor) word() {
	start, end := r.at, r.at
	for end < len(r.text) && isNameByte(r.text[end]) {
		end++
	}
	name, before := r.text[start:end], r.before
	r.at, r.before = end, name
	if before == "-u" || before == "--user" {
		r.user(start)
		return
	}
	if strings.EqualFold(name, "key") && slices.Contains([]string{"api", "private", "access", "secret"}, strings.ToLower(before)) {
		name = before + name
	}
	if !secretName(name) {
		return
	}
	from, ok := r.separator(name, before, start, end)
	if !ok || from == len(r.text) {
		return
	}
	if to := r.valueEnd(from, start, strings.Contains(strings.ToLower(name), "authorization")); to > from {
		r.hide(from, to)
	}
}

// separator returns where the value begins that belongs to a name.
func (r *redactor) separator(name, before string, start, end int) (int, bool) {
	s := r.text
	i := end
	if open := quoteBefore(s, start); open != "" && strings.HasPrefix(s[i:], open) {
		i += len(open) // "name": value
		if len(open) == 1 {
			r.toggle(open[0])
		}
	}
	j := skip(s, i, " ")
	if k := skip(s, j, "=:>"); k > j && s[j] != '>' {
		if j > i || strings.Contains(s[j:k], ":") || strings.Contains(s[j:k], ">") {
			k = skip(s, k, " ") // not NAME= command
		}
		return k, true
	}
	switch k := skip(s, j, " ,"); {
	case k == i:
		return 0, false
	case takesSecret(name):
		return k, true
	case strings.EqualFold(name, "bearer"):
		return k, true
	case slices.Contains([]string{"env", "arg", "set", "setx", "label"}, strings.ToLower(before)):
		return k, true
	}
	return 0, false
}

// valueEnd returns where the value ends that begins at from and whose name
// begins at start.
func (r *redactor) valueEnd(from, start int, scheme bool) int {
	s, to := r.text, from
	open := quoteAt(s, from)
	if r.quote != 0 && open == string(r.quote) {
		return from // the quoted part ends, and has no value
	}
	if open != "" {
		to = closing(s, from+len(open), open)
	}
	switch {
	case from < r.plain:
		if to >= r.plain {
			return to
		}
		if next := nextName.FindStringIndex(s[to:r.plain]); next != nil {
			return to + next[0]
		}
		return r.plain
	case r.quote != 0 && open == "" && (scheme || quoteBefore(s, start) == string(r.quote)):
		return inside(s, from, r.quote)
	case open != "" && (to == len(s) || strings.IndexByte(",;:&|})] \\", s[to]) >= 0):
		return to
	}
	to = wordEnd(s, to, r.quote)
	if strings.Contains(s[from:to], " ") {
		return to
	}
	if scheme || slices.Contains([]string{"bearer", "basic", "digest", "negotiate", "token", "apikey"}, strings.ToLower(s[from:to])) {
		if next := skip(s, to, " "); next > to {
			to = wordEnd(s, next, r.quote)
		}
	}
	return to
}

// user hides the password of user:password.
func (r *redactor) user(start int) {
	end := wordEnd(r.text, start, r.quote)
	if r.quote != 0 && quoteBefore(r.text, start) == string(r.quote) {
		end = inside(r.text, start, r.quote)
	}
	if i := strings.IndexByte(r.text[start:end], ':'); i >= 0 && userSecret.MatchString(r.text[start:end]) {
		r.hide(start+i+1, end)
	}
}

// authority hides what stands before the host of a URL: user:password, or a
// token alone.
func (r *redactor) authority() {
	start := r.at + len("://")
	r.at = start
	end := start
	for end < len(r.text) && strings.IndexByte(" /?#'\"<>\\", r.text[end]) < 0 {
		end++
	}
	at := strings.LastIndexByte(r.text[start:end], '@')
	if at < 0 {
		return
	}
	user, _, pair := strings.Cut(r.text[start:start+at], ":")
	switch {
	case pair && at > len(user)+1:
		r.hide(start+len(user)+1, start+at)
	case !pair && at > 0 && r.before != "ssh" && user != "git":
		r.hide(start, start+at)
	}
}

// secretName tells whether a name looks like that of a secret.
func secretName(name string) bool {
	lower := strings.ToLower(name)
	bare := joiners.Replace(lower)
	for _, part := range []string{
		"password", "passwd", "passphrase", "passcode", "sshpass", "secret", "token", "apikey", "credential",
		"privatekey", "accesskey", "signingkey", "encryptionkey", "authorization", "bearer",
	} {
		if strings.Contains(bare, part) {
			return true
		}
	}
	parts := strings.FieldsFunc(lower, func(r rune) bool { return r == '_' || r == '-' || r == '.' })
	if len(parts) == 0 {
		return false
	}
	switch parts[len(parts)-1] {
	case "pass", "auth":
		return true
	case "pwd":
		return len(parts) > 1
	}
	return false
}

// takesSecret tells whether a word is a flag that is followed by a secret.
func takesSecret(flag string) bool {
	return strings.HasPrefix(flag, "-") && !strings.HasSuffix(flag, "stdin") &&
		strings.IndexFunc(flag, func(r rune) bool { return r > 127 || !isNameByte(byte(r)) }) < 0 && secretName(flag)
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'
}

// skip returns the first offset from i on whose byte is not in set.
func skip(s string, i int, set string) int {
	for i < len(s) && strings.IndexByte(set, s[i]) >= 0 {
		i++
	}
	return i
}

// quoteAt returns the quote that begins at i: ", ' or an escaped one.
func quoteAt(s string, i int) string {
	for _, q := range []string{`"`, `'`, `\"`, `\'`} {
		if strings.HasPrefix(s[i:], q) {
			return q
		}
	}
	return ""
}

// quoteBefore returns the quote that ends at i.
func quoteBefore(s string, i int) string {
	for _, q := range []string{`\"`, `\'`, `"`, `'`} {
		if strings.HasSuffix(s[:i], q) {
			return q
		}
	}
	return ""
}

// closing returns the offset after the end of a quoted part that was opened
// before i, or the end of the text if it has none.
func closing(s string, i int, quote string) int {
	for i < len(s) {
		if strings.HasPrefix(s[i:], quote) {
			return i + len(quote)
		}
		if s[i] == '\\' && quote != `'` {
			i++
		}
		i++
	}
	return len(s)
}

// inside returns the offset of the quote that ends the quoted part i is in.
func inside(s string, i int, quote byte) int {
	end := closing(s, i, string(quote))
	if end > i && s[end-1] == quote {
		return end - 1
	}
	return end
}

// wordEnd returns where the word ends that i is in, which itself is in a
// quoted part if quote is not 0.
func wordEnd(s string, i int, quote byte) int {
	for i < len(s) {
		switch c := s[i]; {
		case c == ' ', c == quote:
			return i
		case c == '\\' && quote != '\'':
			i += 2
		case quote == 0 && (c == '"' || c == '\''):
			i = closing(s, i+1, string(c))
		default:
			i++
		}
	}
	return len(s)
}
