package tidewaiter_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/distribution/reference"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
)

func TestParseRegistryAddress(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"registry.example.com", "registry.example.com"},
		{"registry.example.com:5000", "registry.example.com:5000"},
		{"https://registry.example.com", "registry.example.com"},
		{"HTTPS://Registry.Example.com:8443", "Registry.Example.com:8443"},
		{"http://registry.example.com", "registry.example.com"},
		{"10.0.0.1", "10.0.0.1"},
		{"http://10.0.0.1:65535", "10.0.0.1:65535"},
		{"[::1]", "[::1]"},
		{"[2001:DB8::1]:1", "[2001:DB8::1]:1"},
		{"https://[::1]:5000", "[::1]:5000"},
		{"localhost", "localhost"},
		{"localhost:5000", "localhost:5000"},
		{"myharbor", "myharbor:443"},
		{"https://MyHarbor", "MyHarbor:443"},
		{"http://myharbor", "myharbor:80"},
		{"LocalHost", "LocalHost:443"},
		{"a--b.r3---x.xn--bcher-kva.example", "a--b.r3---x.xn--bcher-kva.example"},
		{"5.example", "5.example"},
		{"0xg.0xg", "0xg.0xg"},
	} {
		a, err := tidewaiter.ParseRegistryAddress(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if got := a.String(); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
		checkAddress(t, a)
	}
}

func TestParseRegistryAddressErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "is empty",
		strings.Repeat("a", 257):  "too long",
		"a\xff":                   "UTF-8",
		"a\tb":                    "control character",
		"a\u202eb":                "direction",
		"a\u2028b":                "separator",
		"ftp://a":                 "scheme",
		"https:/a":                "path",
		"//a":                     "path",
		"://a":                    "path",
		"https://":                "no host",
		"https://https://a":       "path",
		"user@a":                  "user info",
		"https://u:p@a":           "user info",
		"a/":                      "path",
		"a/b://c":                 "path",
		"a?b":                     "query",
		"a#b":                     "fragment",
		`a\b`:                     "backslash",
		`https:\\a`:               "backslash",
		"a b":                     "blank",
		"a%41":                    "percent",
		"[fe80::1%eth0]:1":        "zone id",
		"::1":                     "brackets",
		"2001:db8::1":             "brackets",
		"a:1:2":                   "more than one colon",
		"[::1":                    "not closed",
		"[::1]5000":               "after the bracket",
		"[::g]":                   "no valid IPv6",
		"[]":                      "no valid IPv6",
		"[1.2.3.4]":               "no valid IPv6",
		"[::ffff:1.2.3.4]":        "IPv4 part",
		"a]":                      "no host name has",
		"a:":                      "without a port",
		"[::1]:":                  "without a port",
		"a:0":                     "out of range",
		"a:00":                    "out of range",
		"a:65536":                 "out of range",
		"a:99999999999999999999":  "out of range",
		"a:080":                   "leading zeros",
		"a:+80":                   "no number",
		"a:-1":                    "no number",
		"a:80a":                   "no number",
		":5000":                   "no host",
		"bücher.example":          "punycode",
		"a.example.":              "trailing dot",
		".":                       "trailing dot",
		".a":                      "dot",
		"a..b":                    "dot",
		strings.Repeat("a", 64):   "63 characters",
		strings.Repeat("a.", 127): "253 characters",
		"-a":                      "hyphen",
		"a-.b":                    "hyphen",
		"xn--abc-.example":        "hyphen",
		"a_b.example":             "underscore",
		"a,b":                     "no host name has",
		"a;b":                     "no host name has",
		"$(a)":                    "no host name has",
		"256.0.0.1":               "no IPv4",
		"1.2.3":                   "no IPv4",
		"1.2.3.04":                "no IPv4",
		"12345":                   "no IPv4",
		"a.0":                     "no IPv4",
		"a.0x1F":                  "no IPv4",
		"a.0x":                    "no IPv4",
		"0X7f.1":                  "no IPv4",
	} {
		_, err := tidewaiter.ParseRegistryAddress(in)
		checkInvalid(t, in, err, "registry_addr", want)
	}
}

func TestParseNamespace(t *testing.T) {
	for _, in := range []string{
		"a", "0", "library", "a/b/c/d", "a.b_c__d-e---f", strings.Repeat("a", 128), strings.Repeat("a/", 63) + "bb",
	} {
		got, err := tidewaiter.ParseNamespace(in)
		if err != nil || string(got) != in {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"":                       "is empty",
		strings.Repeat("a", 129): "too long",
		"a\xff":                  "UTF-8",
		"a\x00":                  "control",
		"a\u2066":                "direction",
		"/a":                     "slashes",
		"a/":                     "slashes",
		"a//b":                   "slashes",
		"../a":                   "begins with '.'",
		"a/..":                   "begins with '.'",
		".a":                     "begins with '.'",
		"-a":                     "begins with '-'",
		"a/_b":                   "begins with '_'",
		"a-":                     "ends with a separator",
		"a./b":                   "ends with a separator",
		"Team":                   "upper-case",
		"a/B":                    "upper-case",
		"a..b":                   "wrong run",
		"a___b":                  "wrong run",
		"a.-b":                   "wrong run",
		"a:b":                    "no repository path has",
		"a@b":                    "no repository path has",
		"a b":                    "no repository path has",
		`a\b`:                    "no repository path has",
		"é":                      "no repository path has",
		"$(a)":                   "no repository path has",
	} {
		_, err := tidewaiter.ParseNamespace(in)
		checkInvalid(t, in, err, "namespace", want)
	}
}

// checkInvalid checks that an error names the field, says what is wrong and
// how to mend it, and does not hold the value.
func checkInvalid(t *testing.T, in string, err error, field, want string) {
	t.Helper()
	var e *tidewaiter.Error
	if !errors.As(err, &e) || e.Kind != tidewaiter.Invalid || e.Field != field {
		t.Errorf("%q: got %v, want an invalid %s", in, err, field)
		return
	}
	if !strings.Contains(e.Message, want) || !strings.ContainsAny(e.Message, ";") {
		t.Errorf("%q: got %q, want %q and what to do", in, e.Message, want)
	}
	if len(in) > 8 && strings.Contains(e.Message, in) {
		t.Errorf("%q: the error repeats the value: %s", in, e.Message)
	}
}

// checkAddress holds for every address: docker reads it as the domain of an
// image, and parsing what docker is given changes nothing.
func checkAddress(t rapid.TB, a tidewaiter.RegistryAddress) {
	t.Helper()
	s := a.String()
	if n := utf8.RuneCountInString(s); n > tidewaiter.MaxRegistryAddress {
		t.Fatalf("%q has %d characters", s, n)
	}
	again, err := tidewaiter.ParseRegistryAddress(s)
	if err != nil || again.String() != s {
		t.Fatalf("%q parses to %q, %v", s, again, err)
	}
	named, err := reference.ParseNormalizedNamed(s + "/a/b/scan-component:0.1.0")
	if err != nil {
		t.Fatalf("docker cannot take %q: %v", s, err)
	}
	want := s
	if s == "index.docker.io" { // docker's only synonym
		want = "docker.io"
	}
	if got := reference.Domain(named); got != want {
		t.Fatalf("docker takes %q for %q", s, got)
	}
}

// namePattern is <name> in the words of the OCI distribution specification.
var namePattern = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

func checkNamespace(t rapid.TB, s string) {
	t.Helper()
	_, err := tidewaiter.ParseNamespace(s)
	want := namePattern.MatchString(s) && len(s) <= tidewaiter.MaxNamespace
	if got := err == nil; got != want {
		t.Fatalf("ParseNamespace(%q): %v, want accepted: %v", s, err, want)
	}
}

func TestNamespaceIsTheGrammarOfTheSpecification(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkNamespace(t, rapid.StringMatching(`[a-c0A./_-]{0,12}`).Draw(t, "namespace"))
	})
}

func TestAddressIsADomainForDocker(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringMatching(`(https?://)?([a-cA0-9][a-cA0-9-]{0,3}\.){0,3}[a-cA0-9][a-c0-9]?(:[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,8}\](:[0-9]{1,5})?`).Draw(t, "address")
		a, err := tidewaiter.ParseRegistryAddress(in)
		if err != nil {
			return
		}
		accepted++
		checkAddress(t, a)
	})
	if accepted == 0 {
		t.Error("no address was accepted")
	}
}

func FuzzRegistryAddress(f *testing.F) {
	for _, s := range []string{"a", "https://a.example:5000", "[::1]:5000", "http://10.0.0.1", "index.docker.io", "a.0x1", "a@b/c?d#e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := tidewaiter.ParseRegistryAddress(s); err == nil {
			checkAddress(t, a)
		}
	})
}

func FuzzNamespace(f *testing.F) {
	for _, s := range []string{"a/b", "a.b_c__d-e--f", "../a", "A", "a//b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkNamespace(t, s) })
}
