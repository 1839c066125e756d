package uploadcmd

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
)

// secret stands in every refused value, and must stand in no error.
const secret = "hunter2"

// TestBadInputs goes through the ways in which parameters have broken upload
// commands elsewhere. The numbers are those of docs/upload-command.md.
func TestBadInputs(t *testing.T) {
	for _, tt := range []struct{ name, addr, namespace, username, password, field string }{
		{"1 empty address", "", "n", "u", secret, "registry_addr"},
		{"1 empty namespace", "h.example", "", "u", secret, "namespace"},
		{"1 empty user", "h.example", "n", "", secret, "username"},
		{"1 empty password", "h.example", "n", secret, "", "password"},
		{"2 address of 257", strings.Repeat("a", 257), "n", "u", secret, "registry_addr"},
		{"2 namespace of 129", "h.example", strings.Repeat("a", 129), "u", secret, "namespace"},
		{"2 user of 129", "h.example", "n", secret + strings.Repeat("u", 122), "p", "username"},
		{"2 password of 129 characters of 2 bytes", "h.example", "n", "u", secret + strings.Repeat("é", 122), "password"},
		{"4 NUL", "h.example", "n", secret + "\x00", "p", "username"},
		{"4 CR", "h.example", "n", "u", secret + "\r", "password"},
		{"4 LF", "h.example", "n", "u", secret + "\n", "password"},
		{"4 tab", "h.example", "n", "u", secret + "\t", "password"},
		{"4 ESC", "h.example", "n", "u", secret + "\x1b[2J", "password"},
		{"4 DEL", "h.example", "n", "u", secret + "\x7f", "password"},
		{"4 C1", "h.example", "n", "u", secret + "\u009b", "password"},
		{"4 line separator", "h.example", "n", "u", secret + "\u2028", "password"},
		{"4 paragraph separator", "h.example", "n", "u", secret + "\u2029", "password"},
		{"4 bidi override", "h.example", "n", secret + "\u202e", "p", "username"},
		{"4 bidi isolate", "h.example", "n", secret + "\u2066", "p", "username"},
		{"4 bidi mark", "h.example", "n", "u", secret + "\u200f", "password"},
		{"4 bad UTF-8", "h.example", "n", "u", secret + "\xff", "password"},
		{"4 changed by zsh", "h.example", "n", "u", secret + "\ue027", "password"},
		{"4 in the address", "h.example\n" + secret, "n", "u", "p", "registry_addr"},
		{"4 in the namespace", "h.example", "n\n" + secret, "u", "p", "namespace"},
		{"6 other scheme", "ftp://" + secret + ".example", "n", "u", "p", "registry_addr"},
		{"6 path", "h.example/" + secret, "n", "u", "p", "registry_addr"},
		{"6 trailing slash", "https://" + secret + ".example/", "n", "u", "p", "registry_addr"},
		{"6 user info", "u:" + secret + "@h.example", "n", "u", "p", "registry_addr"},
		{"6 query", "h.example?" + secret, "n", "u", "p", "registry_addr"},
		{"6 fragment", "h.example#" + secret, "n", "u", "p", "registry_addr"},
		{"7 zone id", "[fe80::1%" + secret + "]:5000", "n", "u", "p", "registry_addr"},
		{"7 port 0", secret + ".example:0", "n", "u", "p", "registry_addr"},
		{"7 port 65536", secret + ".example:65536", "n", "u", "p", "registry_addr"},
		{"8 internationalised name", secret + ".bücher.example", "n", "u", "p", "registry_addr"},
		{"8 punycode of plain ASCII", "xn--" + secret + "-.example", "n", "u", "p", "registry_addr"},
		{"8 trailing dot", secret + ".example.", "n", "u", "p", "registry_addr"},
		{"9 climbing namespace", "h.example", "../" + secret, "u", "p", "namespace"},
		{"9 empty part", "h.example", "a//" + secret, "u", "p", "namespace"},
		{"9 upper case", "h.example", "Team/" + secret, "u", "p", "namespace"},
		{"9 leading hyphen", "h.example", "-" + secret, "u", "p", "namespace"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseRequest(tt.addr, tt.namespace, tt.username, tt.password)
			var e *tidewaiter.Error
			if !errors.As(err, &e) || e.Kind != tidewaiter.Invalid || e.Field != tt.field {
				t.Fatalf("got %v, want an invalid %s", err, tt.field)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error holds the value: %v", err)
			}
		})
	}
}

// TestAwkwardInputs goes through the other numbers: inputs that look bad and
// have to work.
func TestAwkwardInputs(t *testing.T) {
	const addr, ns = "h.example", "n"
	for _, tt := range []struct{ name, addr, namespace, username, password string }{
		{"2 one character", "h", "n", "u", "p"},
		{"2 address of 256", longestAddress, ns, "u", "p"},
		{"2 namespace of 128", addr, longestNamespace, "u", "p"},
		{"2 values of 128 characters of 4 bytes", addr, ns, strings.Repeat("👩", 128), strings.Repeat("👩", 128)},
		{"3 single quote", addr, ns, "'", "a'b"},
		{"3 double quote", addr, ns, `"`, `a"b`},
		{"3 substitution", addr, ns, "$(reboot)", "`reboot`"},
		{"3 backslash", addr, ns, `\`, `a\`},
		{"3 history", addr, ns, "!!", "a!b"},
		{"3 percent", addr, ns, "%s", "100%"},
		{"5 options", addr, ns, "--help", "-p"},
		{"5 end of options", addr, ns, "--", "-"},
		{"7 IPv6", "[::1]:5000", ns, "u", "p"},
		{"8 punycode", "xn--bcher-kva.example", ns, "u", "p"},
		{"8 upper case", "Registry.Example", ns, "u", "p"},
		{"10 all at their limits", longestAddress, longestNamespace, strings.Repeat("'!", 64), strings.Repeat(`'"$!`, 32)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(t, tt.addr, tt.namespace, tt.username, tt.password)
			if r.Username != tt.username || r.Password != tt.password {
				t.Error("a value was changed")
			}
			checkCommand(t, r, parsers())
		})
	}
}

// TestLegalCharacters fixes what is legal in a user name and a password.
func TestLegalCharacters(t *testing.T) {
	legal := 0
	for r := range rune(utf8.MaxRune + 1) {
		if utf8.ValidRune(r) && checkCredential("", string(r), 1) == nil {
			legal++
		}
	}
	// All scalar values but 65 controls, 2 separators, 12 bidirectional
	// controls and 256 private-use characters.
	if want := 0x110000 - 0x800 - 65 - 2 - 12 - 256; legal != want {
		t.Errorf("%d characters are legal, want %d", legal, want)
	}
}
