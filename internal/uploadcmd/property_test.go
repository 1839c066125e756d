package uploadcmd

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"mvdan.cc/sh/v3/syntax"
	"pgregory.net/rapid"
)

// parsedCases is the number of requests whose commands are parsed in each
// shell language.
const parsedCases = 100_000

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func parsers() map[string]*syntax.Parser {
	return map[string]*syntax.Parser{
		"posix": syntax.NewParser(syntax.Variant(syntax.LangPOSIX)),
		"bash":  syntax.NewParser(syntax.Variant(syntax.LangBash)),
		"zsh":   syntax.NewParser(syntax.Variant(syntax.LangZsh)),
	}
}

// checkCommand holds for every legal request: the length of the command, and
// what it means in each shell language; and the same for the compact form,
// which most commands do not need.
func checkCommand(t rapid.TB, r Request, parsers map[string]*syntax.Parser) {
	t.Helper()
	command := Push(r, testImage)
	if n := utf8.RuneCountInString(command); n > MaxCommand {
		t.Fatalf("%d characters: %s", n, command)
	}
	short := compact(r, testImage)
	if got, want := utf8.RuneCountInString(short), compactLength(r, testImage); got != want {
		t.Fatalf("compact form has %d characters, want %d: %s", got, want, short)
	}
	want := wantCalls(r, testImage)
	for lang, parser := range parsers {
		checkMeaning(t, lang, parser, command, want)
	}
	checkMeaning(t, "posix", parsers["posix"], short, want)
}

func checkMeaning(t rapid.TB, lang string, parser *syntax.Parser, command string, want []call) {
	t.Helper()
	got, err := evaluate(parser, command)
	if err != nil {
		t.Fatalf("%s: %v\n%s", lang, err, command)
	}
	if !reflect.DeepEqual(got, want) { // much faster than cmp.Equal
		t.Fatalf("%s: %s\n%s", lang, cmp.Diff(want, got), command)
	}
}

// compactLength is what the compact form must take: nothing in it depends on
// what the values are made of, except the quotes of an IPv6 address.
func compactLength(r Request, img Image) int {
	const fixed = 276
	n := fixed + len(img.Name) + len(img.Version) + len(img.Archive)
	n += len(r.Address.String()) + len(r.Namespace)
	n += utf8.RuneCountInString(r.Username) + utf8.RuneCountInString(r.Password)
	if r.Address.Host[0] == '[' {
		n += len("''")
	}
	return n
}

func TestPushMeansTheSameInEveryLanguage(t *testing.T) {
	t.Parallel()
	cases := uint64(parsedCases)
	if testing.Short() {
		cases /= 50
	}
	const parts = 4
	for part := range uint64(parts) {
		t.Run(strconv.FormatUint(part, 10), func(t *testing.T) {
			t.Parallel()
			languages := parsers()
			for seed := part; seed < cases; seed += parts {
				atSeed := fatalPrefix{t, fmt.Sprintf("seed %d: ", seed)}
				checkCommand(atSeed, legalRequest(atSeed, seeded(seed).IntN), languages)
			}
		})
	}
}

// fatalPrefix is a test whose failures begin with a prefix.
type fatalPrefix struct {
	*testing.T
	prefix string
}

func (f fatalPrefix) Fatalf(format string, args ...any) {
	f.Helper()
	f.T.Fatalf(f.prefix+format, args...)
}

func TestPushProperties(t *testing.T) {
	languages := parsers()
	rapid.Check(t, func(rt *rapid.T) {
		r := legalRequest(rt, func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "n") })
		checkCommand(rt, r, languages)
	})
}
