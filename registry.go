package tidewaiter

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The longest legal values, in characters.
const (
	MaxRegistryAddress = 256
	MaxNamespace       = 128
)

// RegistryAddress says where a registry is, as its user wrote it.
type RegistryAddress struct {
	Scheme string // "", "http" or "https"
	Host   string // a name or an IPv4 address as given, or an IPv6 address in brackets
	Port   string // "" or 1 to 65535, decimal
}

// ParseRegistryAddress reads host, host:port, an IPv4 address with or without
// a port, or an IPv6 address in brackets with or without one, each with or
// without http:// or https:// before it.
//
// The grammar is the domain of a docker reference
// (https://github.com/distribution/reference) less what can never be reached:
// labels and names that DNS refuses, numbers that are no IPv4 address, ports
// out of range. Errors are of kind [Invalid] and name registry_addr.
func ParseRegistryAddress(s string) (RegistryAddress, error) {
	if err := CheckText(addressField, s, MaxRegistryAddress); err != nil {
		return RegistryAddress{}, err
	}
	a, rest, err := cutScheme(s)
	if err != nil {
		return RegistryAddress{}, err
	}
	if err := checkAuthority(rest); err != nil {
		return RegistryAddress{}, err
	}
	port, hasPort := "", false
	if strings.HasPrefix(rest, "[") {
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			return RegistryAddress{}, badAddress("has a bracket that is not closed; write an IPv6 address as in [::1]:5000")
		}
		a.Host, port = rest[:end+1], rest[end+1:]
		if port != "" && port[0] != ':' {
			return RegistryAddress{}, badAddress("has something other than :port after the bracket of an IPv6 address; leave it out")
		}
		port, hasPort = strings.CutPrefix(port, ":")
		err = checkIPv6(a.Host[1:end])
	} else {
		if strings.Count(rest, ":") > 1 {
			return RegistryAddress{}, badAddress("has more than one colon; write host:port, and an IPv6 address in brackets, as in [::1]:5000")
		}
		a.Host, port, hasPort = strings.Cut(rest, ":")
		err = checkHost(a.Host)
	}
	if err != nil {
		return RegistryAddress{}, err
	}
	if hasPort {
		if err := checkPort(port); err != nil {
			return RegistryAddress{}, err
		}
		a.Port = port
	}
	return a, nil
}

// String returns the address as docker must be given it: host or host:port,
// byte for byte as parsed, without the scheme.
//
// Docker takes the first part of "myharbor/team/image" for a namespace of
// Docker Hub unless it has a dot or a colon or is "localhost", and would send
// the password there. Such a name therefore gets the port of its scheme.
func (a RegistryAddress) String() string {
	switch {
	case a.Port != "":
		return a.Host + ":" + a.Port
	case strings.ContainsAny(a.Host, ".:") || a.Host == "localhost":
		return a.Host
	case a.Scheme == "http":
		return a.Host + ":80"
	}
	return a.Host + ":443"
}

// Namespace is the path inside a registry under which a repository lives: one
// or several parts joined by slashes.
type Namespace string

// ParseNamespace checks a namespace against the <name> grammar of the OCI
// distribution specification
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
// Errors are of kind [Invalid] and name namespace.
func ParseNamespace(s string) (Namespace, error) {
	if err := CheckText(namespaceField, s, MaxNamespace); err != nil {
		return "", err
	}
	for part := range strings.SplitSeq(s, "/") {
		if err := checkNamespacePart(part); err != nil {
			return "", err
		}
	}
	return Namespace(s), nil
}

// CheckText refuses a field that is empty, longer than limit characters, not
// UTF-8, or that holds characters that would break or disguise a line of text:
// controls, line and paragraph separators, bidirectional controls. Errors are
// of kind [Invalid].
func CheckText(field, s string, limit int) error {
	switch {
	case s == "":
		return InvalidField(field, "is empty; give 1 to %d characters", limit)
	case !utf8.ValidString(s):
		return InvalidField(field, "is not valid UTF-8; encode it as UTF-8")
	case utf8.RuneCountInString(s) > limit:
		return InvalidField(field, "is too long; give at most %d characters", limit)
	}
	for _, r := range s {
		switch {
		case ' ' <= r && r < 0x7f: // nearly all of them
		case unicode.IsControl(r):
			return InvalidField(field, "has a control character; remove it (tabs and line ends are such)")
		case unicode.In(r, unicode.Zl, unicode.Zp):
			return InvalidField(field, "has a line or paragraph separator; remove it")
		case unicode.Is(unicode.Bidi_Control, r):
			return InvalidField(field, "has an invisible character that changes the direction of text; remove it")
		}
	}
	return nil
}

const (
	addressField   = "registry_addr"
	namespaceField = "namespace"
)

func badAddress(message string) error { return InvalidField(addressField, "%s", message) }

// cutScheme returns an address with only its scheme filled in, and what
// follows the scheme.
func cutScheme(s string) (RegistryAddress, string, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme == "" || strings.ContainsAny(scheme, `/\?#@%`) {
		return RegistryAddress{}, s, nil
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "http", "https":
		return RegistryAddress{Scheme: scheme}, rest, nil
	}
	return RegistryAddress{}, "", badAddress("has an unknown scheme; use https:// or http://, or none")
}

// checkAuthority refuses the parts of a URL that an address must not have.
func checkAuthority(s string) error {
	for _, c := range []struct{ char, message string }{
		{`\`, `has a backslash; write host:port`},
		{"@", "has user info; leave out everything up to the '@' and use the parameters username and password"},
		{"?", "has a query; leave out the '?' and what follows"},
		{"#", "has a fragment; leave out the '#' and what follows"},
		{"/", "has a path; leave out the slash and what follows, and give the project of the registry as namespace"},
		{"%", "has a zone id or a percent escape; leave out the '%' and what follows"},
		{" ", "has a blank; remove it"},
	} {
		if strings.Contains(s, c.char) {
			return badAddress(c.message)
		}
	}
	for _, r := range s {
		if r >= utf8.RuneSelf {
			return badAddress("has a character outside ASCII; write an internationalised name in its punycode form (xn--…)")
		}
	}
	return nil
}

func checkIPv6(s string) error {
	ip, err := netip.ParseAddr(s)
	switch {
	case err != nil || !ip.Is6():
		return badAddress("has no valid IPv6 address between its brackets; write it as in [2001:db8::1]:5000")
	case strings.Contains(s, "."):
		return badAddress("has an IPv4 part within an IPv6 address, which docker does not take; write the IPv4 address alone, or all parts in hexadecimal")
	}
	return nil
}

func checkPort(s string) error {
	if s == "" {
		return badAddress("has a colon without a port; add the port or leave out the colon")
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return badAddress("has a port that is no number; write 1 to 65535 in digits")
		}
		n = min(n*10+int(c-'0'), 1<<16)
	}
	switch {
	case n == 0 || n > 65535:
		return badAddress("has a port out of range; use 1 to 65535")
	case s[0] == '0':
		return badAddress("has a port with leading zeros; leave them out")
	}
	return nil
}

// checkHost accepts the names that DNS can hold and dotted IPv4 addresses.
func checkHost(s string) error {
	switch {
	case s == "":
		return badAddress("has no host; write host or host:port")
	case len(s) > 253:
		return badAddress("has a host name longer than 253 characters; no such name can exist, check it")
	case strings.HasSuffix(s, "."):
		return badAddress("has a trailing dot; leave it out")
	}
	label := ""
	for label = range strings.SplitSeq(s, ".") {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	if isNumber(label) {
		if ip, err := netip.ParseAddr(s); err != nil || !ip.Is4() {
			return badAddress("ends in a number but is no IPv4 address; write four numbers from 0 to 255 without leading zeros, or a name")
		}
	}
	return nil
}

func checkLabel(s string) error {
	switch {
	case s == "":
		return badAddress("has two dots in a row or a leading dot; remove the superfluous dot")
	case len(s) > 63:
		return badAddress("has a part longer than 63 characters between its dots; no such name can exist, check it")
	case s[0] == '-' || s[len(s)-1] == '-':
		return badAddress("has a part that begins or ends with '-'; remove the hyphen")
	}
	for _, c := range []byte(s) {
		switch {
		case c == '_':
			return badAddress("has an underscore, which docker takes in no host name; use a name without it")
		case !isLetter(c) && !isDigit(c) && c != '-':
			return badAddress("has a character that no host name has; use letters, digits, '-' and '.'")
		}
	}
	return nil
}

// isNumber tells whether resolvers may read a last label as part of an IPv4
// address (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func isNumber(label string) bool {
	digits := label
	hex := len(label) > 1 && label[0] == '0' && label[1]|0x20 == 'x'
	if hex {
		digits = label[2:]
	}
	for _, c := range []byte(digits) {
		if !isDigit(c) && !(hex && 'a' <= c|0x20 && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

// checkNamespacePart checks one part of a path: runs of lower-case letters and
// digits, joined by one dot, one or two underscores, or any number of hyphens.
func checkNamespacePart(s string) error {
	if s == "" {
		return InvalidField(namespaceField, "has an empty part; leave out leading, trailing and doubled slashes")
	}
	separator := ""
	for i, c := range []byte(s) {
		switch {
		case 'A' <= c && c <= 'Z':
			return InvalidField(namespaceField, "has an upper-case letter; write it in lower case, the paths of a registry have no others")
		case isLetter(c) || isDigit(c):
			if !isSeparator(separator) {
				return InvalidField(namespaceField, "has a wrong run of separators; use one '.', one or two '_', or hyphens only")
			}
			separator = ""
		case c == '.' || c == '_' || c == '-':
			if i == 0 {
				return InvalidField(namespaceField, "has a part that begins with '%c'; begin and end each part with a letter or digit", c)
			}
			separator += string(rune(c))
		default:
			return InvalidField(namespaceField, "has a character that no repository path has; use lower-case letters, digits, '.', '_', '-' and '/'")
		}
	}
	if separator != "" {
		return InvalidField(namespaceField, "has a part that ends with a separator; begin and end each part with a letter or digit")
	}
	return nil
}

func isSeparator(s string) bool {
	return s == "" || s == "." || s == "_" || s == "__" || strings.Trim(s, "-") == ""
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
