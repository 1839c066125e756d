package uploadcmd

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
)

// source draws a number from 0 to n-1. Both a seeded generator and rapid can
// be one, so that one set of generators serves all tests.
type source func(n int) int

func pick[T any](src source, from []T) T { return from[src(len(from))] }

// legalRequest draws a request from all that ParseRequest accepts, with a
// strong taste for what hurts.
func legalRequest(t rapid.TB, src source) Request {
	t.Helper()
	addr, namespace := legalAddress(src), legalNamespace(src)
	username, password := legalValue(src), legalValue(src)
	r, err := ParseRequest(addr, namespace, username, password)
	if err != nil {
		t.Fatalf("ParseRequest(%q, %q, %q, %q): %v", addr, namespace, username, password, err)
	}
	return r
}

// longest are the longest values that the grammars allow.
var (
	longestAddress   = strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 61) + ":80"
	longestNamespace = strings.Repeat("n/", 63) + "nn"
)

func legalAddress(src source) string {
	scheme := pick(src, []string{"", "", "http://", "https://", "HTTPS://"})
	port := pick(src, []string{"", ":5000", ":" + strconv.Itoa(1+src(65535))})
	switch src(8) {
	case 0:
		return longestAddress
	case 1:
		return scheme + pick(src, []string{"127.0.0.1", "10.200.30.255", "0.0.0.0"}) + port
	case 2:
		return scheme + pick(src, []string{"[::1]", "[2001:DB8::a]", "[fe80:0:0:0:1:2:3:4]"}) + port
	case 3:
		return scheme + pick(src, []string{"localhost", "myharbor", "MyHarbor", "r3---a"}) + port
	}
	labels := make([]string, 1+src(4))
	for i := range labels {
		labels[i] = word(src, "abcXYZ019", "-", 1+src(40))
	}
	return scheme + strings.Join(labels, ".") + ".example" + port
}

func legalNamespace(src source) string {
	if src(8) == 0 {
		return longestNamespace
	}
	parts := make([]string, 1+src(5))
	for i := range parts {
		parts[i] = word(src, "abcxyz019", pick(src, []string{"-", "--", ".", "_", "__"}), 1+src(25))
	}
	s := strings.Join(parts, "/")
	return strings.TrimRight(s[:min(len(s), tidewaiter.MaxNamespace)], "/._-")
}

// word draws a word of some length that begins and ends with a letter and has
// a separator in the middle if there is room.
func word(src source, alphabet, separator string, length int) string {
	var b strings.Builder
	for b.Len() < length {
		b.WriteByte(alphabet[src(len(alphabet))])
	}
	s := b.String()
	if length > 4 {
		s = s[:length/2] + separator + s[length/2:]
	}
	return s[:min(len(s), 60)]
}

// hostile are the pieces that values are made of: what shells give a meaning,
// what would run a program, and text whose bytes shells have stumbled over.
var hostile = []string{
	"'", "'", "'", `"`, `\`, "`", "$", "!", "!!", "!$", "!d", "!-1", "!?load?", "^a^b^", "#", " ", " #",
	"~", "~root", "=docker", "%", "%s", "%1", `\n`, `\047`, `\0`, `\c`, "{a,b}", "{1..9}", "*", "?", "[a-z]",
	"@(a|b)", "!(a)", "(", ")", "<", ">", "<(docker evil)", ";", "&", "&&", "||", "|", ";;", "esac", "fi", "}",
	"$HOME", "${PATH}", "$@", "$*", "$0", "$'a'", `$"a"`, "$(docker evil)", "`docker evil`", ";docker evil;",
	"';docker evil;'", `";docker evil;"`, "' '", "''", `\'`, `'\''`, `"'"'"`, `'"'"'`, `\"`, `\\`, "-p", "--help", "-",
	"$1", "$2", "${2#*$1}", "_q", "addr=x", "A=1", ":", ",", ".", "/", "@", "+", "0", "1", "a", "Z",
	"é", "Á", "ß", "\u00a0", "\u00ad", "\u200b", "\u200d", "\u2041", "\u2042", "\u2047", "\u2048", "\u3000", "\ufeff", "\ufffd",
	"\u0301", "漢字", "丐", "丿", "\uff01", "\uff07", "👩‍🚀", "\U0001f041", "\U00081042", "\U0010ffff", "\u05d0", "\u0627",
}

// legalValue draws a user name or a password of 1 to 128 characters.
func legalValue(src source) string {
	length := pick(src, []int{1 + src(8), 1 + src(MaxPassword), MaxPassword, MaxPassword, MaxPassword - 1})
	var next func() string
	switch src(5) {
	case 0: // a short pattern, repeated: the extremes of every quoting style
		pattern := ""
		for range 1 + src(4) {
			pattern += pick(src, hostile)
		}
		next = func() string { return pattern }
	case 1: // two characters of ASCII, in any mixture
		a, b := printable(src), printable(src)
		next = func() string { return pick(src, []string{a, b}) }
	case 2: // any legal characters
		next = func() string { return anyRune(src) }
	case 3: // all candidates for the marker but a few, in any order
		runes := []rune(markers)
		for i := range runes {
			j := i + src(len(runes)-i)
			runes[i], runes[j] = runes[j], runes[i]
		}
		if src(2) == 0 { // those that come first, to get to the last ones
			runes = []rune(markers)
		}
		i := -1
		next = func() string { i++; return pick(src, []string{"", "", "", "'"}) + string(runes[i]) }
	default:
		next = func() string { return pick(src, hostile) }
	}
	var b strings.Builder
	for n := 0; n < length; {
		piece := next()
		b.WriteString(piece)
		n += utf8.RuneCountInString(piece)
	}
	runes := []rune(b.String())
	return string(runes[:length])
}

func printable(src source) string { return string(rune(' ' + src('~'-' '+1))) }

func anyRune(src source) string {
	for {
		s := string(rune(pick(src, []int{src(0x80), src(0x800), src(0x10000), src(utf8.MaxRune + 1)})))
		if s != "\ufffd" && checkCredential("", s, 1) == nil {
			return s
		}
	}
}

// call is one run of docker.
type call struct {
	Args  []string
	Stdin string // of login only
}

// wantCalls says what a command must do, from the specification alone.
func wantCalls(r Request, img Image) []call {
	local := img.Name + ":" + img.Version
	remote := r.Address.String() + "/" + string(r.Namespace) + "/" + local
	return []call{
		{Args: []string{"load", "-i", img.Archive}},
		{Args: []string{"login", "-u", r.Username, "--password-stdin", r.Address.String()}, Stdin: r.Password},
		{Args: []string{"tag", local, remote}},
		{Args: []string{"push", remote}},
	}
}

// testImage has the longest version that a release may have.
var testImage = Image{Name: "scan-component", Version: "100.200.300-rc.40000", Archive: "scan-component-amd64.tar"}

func TestGeneratorReachesTheExtremes(t *testing.T) {
	rng := seeded(1)
	var addresses, namespaces, values []int
	for range 2000 {
		r := legalRequest(t, rng.IntN)
		addresses = append(addresses, len(r.Address.String()))
		namespaces = append(namespaces, len(r.Namespace))
		values = append(values, utf8.RuneCountInString(r.Username), utf8.RuneCountInString(r.Password))
	}
	for name, lengths := range map[string][]int{"address": addresses, "namespace": namespaces, "value": values} {
		want := map[string]int{"address": 256, "namespace": 128, "value": 128}[name]
		if got := slices.Max(lengths); got != want {
			t.Errorf("longest %s has %d characters, want %d", name, got, want)
		}
	}
	if got := slices.Min(values); got != 1 {
		t.Errorf("shortest value has %d characters, want 1", got)
	}
}
