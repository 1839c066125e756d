package uploadcmd

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
)

// image is what a release with a short version has.
var image = Image{Name: "scan-component", Version: "0.1.0", Archive: "scan-component-amd64.tar"}

func request(t testing.TB, addr, namespace, username, password string) Request {
	t.Helper()
	r, err := ParseRequest(addr, namespace, username, password)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func address(t testing.TB, s string) tidewaiter.RegistryAddress {
	t.Helper()
	return request(t, s, "n", "u", "p").Address
}

func TestPushExamples(t *testing.T) {
	for _, tt := range []struct{ name, addr, namespace, username, password, want string }{
		{
			"simple", "https://registry.example.com:5000", "library", "robot", "s3cret",
			`docker load -i scan-component-amd64.tar && addr=registry.example.com:5000` +
				` && image="$addr/library/scan-component:0.1.0"` +
				` && printf %s s3cret | docker login -u robot --password-stdin "$addr"` +
				` && docker tag scan-component:0.1.0 "$image" && docker push "$image"`,
		},
		{
			"quotes", "http://[::1]:5000", "a/b", `robot$ci`, `it's "so" 100%!`,
			`docker load -i scan-component-amd64.tar && addr='[::1]:5000'` +
				` && image="$addr/a/b/scan-component:0.1.0"` +
				` && printf %s 'it'\''s "so" 100%!' | docker login -u 'robot$ci' --password-stdin "$addr"` +
				` && docker tag scan-component:0.1.0 "$image" && docker push "$image"`,
		},
		{
			"compact", "myharbor", "n", strings.Repeat("'", 128), strings.Repeat("'0", 64),
			`docker load -i scan-component-amd64.tar` +
				` && (_q(){ case $2 in *$1*) printf %s\' "${2%%$1*}"; _q $1 "${2#*$1}";; *) printf %s "$2"; esac; }` +
				`; addr=myharbor:443 && n=scan-component:0.1.0 && image="$addr/n/$n"` +
				` && u=$(_q 0 '` + strings.Repeat("0", 128) + `')` +
				` && _q 1 '` + strings.Repeat("10", 64) + `' | docker login -u "$u" --password-stdin "$addr"` +
				` && docker tag "$n" "$image" && docker push "$image")`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(t, tt.addr, tt.namespace, tt.username, tt.password)
			got := Push(r, image)
			if tt.name == "compact" {
				got = compact(r, image)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestQuote(t *testing.T) {
	for s, want := range map[string]string{
		"abc-._/:@%+,019": "abc-._/:@%+,019",
		"-p":              "-p",
		"a b":             "'a b'",
		"~":               "'~'",
		"=ls":             "'=ls'",
		"{a,b}":           "'{a,b}'",
		"é":               "'é'",
		"it's":            `"it's"`,
		"'":               `\'`,
		"''":              `\'\'`,
		"'''":             `"'''"`,
		"'!":              `\''!'`,
		"!'":              `'!'\'`,
		`'"`:              `\''"'`,
		`'\`:              `\''\'`,
		"it's!":           `'it'\''s!'`,
		"'$a'":            `\''$a'\'`,
		"`'`":             "'`'\\''`'",
	} {
		if got := quote(s); got != want {
			t.Errorf("quote(%q) = %s, want %s", s, got, want)
		}
	}
}

func TestPull(t *testing.T) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got, want := Pull("tidewaiter.example/scan-component", digest), "docker pull tidewaiter.example/scan-component@"+digest; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Pull("[::1]:8080/scan-component", digest), "docker pull '[::1]:8080/scan-component@"+digest+"'"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestMarkers counts what the compact form rests on: more candidates than a
// value has room for, so that one is always free.
func TestMarkers(t *testing.T) {
	seen := map[rune]bool{}
	for _, m := range markers {
		if seen[m] || m == '\'' {
			t.Errorf("%q must not be there, or not twice", m)
		}
		seen[m] = true
	}
	if len(seen) < MaxPassword {
		t.Errorf("%d candidates cannot serve a value that has %d characters", len(seen), MaxPassword)
	}
	all := []rune(markers)
	full := string(all[:MaxPassword-1]) + "'"
	if got, want := marker(full), string(all[MaxPassword-1]); got != want {
		t.Errorf("marker of a value with all earlier candidates is %q, want %q", got, want)
	}
}

// worst returns the request with the longest compact form: its length depends
// on the lengths of the values alone, and here all are at their limits.
func worst(t testing.TB) Request {
	return request(t, longestAddress, longestNamespace, strings.Repeat("'!", 64), strings.Repeat(`'\!`, 42)+"'!")
}

func TestWorstCase(t *testing.T) {
	r := worst(t)
	if n := utf8.RuneCountInString(plain(r, image)); n <= MaxCommand {
		t.Fatalf("the plain form has only %d characters: this is not the worst case", n)
	}
	n := utf8.RuneCountInString(Push(r, image))
	if want := compactLength(r, image); n != want {
		t.Errorf("%d characters, want %d", n, want)
	}
	fields := len(image.Name) + len(image.Version) + len(image.Archive)
	if spare := MaxCommand - n + fields; spare != 108 {
		t.Errorf("the fields of Image may have %d characters together; correct the comment on Push", spare)
	}
	doc, err := os.ReadFile("../../docs/upload-command.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "**" + strconv.Itoa(n) + " characters**"; !strings.Contains(string(doc), want) {
		t.Errorf("docs/upload-command.md does not give the worst case as %s", want)
	}
}

// TestLongestPlain shows that the plain form may use the limit up, and gives
// way one character later.
func TestLongestPlain(t *testing.T) {
	for length, want := range map[int]string{MaxCommand: "printf", MaxCommand + 1: "_q"} {
		r := request(t, longestAddress, longestNamespace, "u", "p")
		for utf8.RuneCountInString(plain(r, image)) < length {
			r.Username += "u"
			if rest := length - utf8.RuneCountInString(plain(r, image)); rest >= 4 {
				r.Username = r.Username[:len(r.Username)-1] + "'!"
			}
		}
		if n := utf8.RuneCountInString(plain(r, image)); n != length {
			t.Fatalf("plain form has %d characters, want %d", n, length)
		}
		if got := Push(r, image); !strings.Contains(got, "&& "+want) && !strings.Contains(got, "&& ("+want) {
			t.Errorf("at %d characters: %s", length, got)
		}
	}
}

func BenchmarkPush(b *testing.B) {
	for name, r := range map[string]Request{
		"usual": request(b, "https://registry.example.com:5000", "library", "robot$ci", "s3cret-0123456789!"),
		"worst": worst(b),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Push(r, image)
			}
		})
	}
}
