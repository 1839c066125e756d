// Package aksk makes and checks request signatures of the algorithm
// SDK-HMAC-SHA256, with an access key (AK) and its secret key (SK), as the SDKs
// of Huawei Cloud make them (github.com/huaweicloud/huaweicloud-sdk-go-v3,
// core/auth/signer). It is pure: no clock, no store, no network.
//
// What is signed, six parts joined by line feeds:
//
//	METHOD
//	path: decoded, cut at "/", each part percent-encoded, "/" appended if need be
//	query: decoded, percent-encoded, sorted by key and then by value, joined by "&"
//	"name:value" and a line feed for each signed header, in the order of the names
//	the names of the signed headers, in lower case, sorted, joined by ";"
//	SHA-256 of the body in hex, or the value of X-Sdk-Content-Sha256
//
// Decisions where the algorithm leaves room:
//
//   - X-Sdk-Date must be signed, and within [Window] of the clock.
//   - The headers Authorization and Content-Type need not be signed, nor Host;
//     but X-Project-Id, X-Security-Token and X-Sdk-Content-Sha256 must be,
//     when they are there: they change what the request means.
//   - A signed header must be there exactly once. The SDKs cannot send one
//     twice, and two lines are read differently by different programs.
//   - X-Sdk-Content-Sha256 must be the sum of the body, or UNSIGNED-PAYLOAD,
//     which the SDKs send with bodies that are neither JSON nor BSON. Then only
//     the transport protects the body; so an unsigned body is refused where the
//     Content-Type says that it is JSON, which is all that the API reads.
//   - A request can be sent again by who sees it on its way, until its date is
//     out of the window: the algorithm has no nonce, and remembering signatures
//     would refuse honest clients that send the same twice in a second. TLS is
//     what keeps others from seeing it.
package aksk

import (
	"net/http"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// Algorithm is the name that an Authorization header begins with.
const Algorithm = "SDK-HMAC-SHA256"

// DateFormat is the form of X-Sdk-Date, in UTC.
const DateFormat = "20060102T150405Z"

// Window is how far X-Sdk-Date may be from the clock, either way.
const Window = 15 * time.Minute

// UnsignedPayload is the value of X-Sdk-Content-Sha256 for a body that is not
// part of the signature.
const UnsignedPayload = "UNSIGNED-PAYLOAD"

// EmptySHA256 is the SHA-256 of an empty body, in hex.
const EmptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Limits of what is looked at.
const (
	maxAuthorization = 8 << 10
	maxSignedHeaders = 100
	maxAccessKey     = 64
)

// Canonical names of the headers that matter.
const (
	headerDate          = "X-Sdk-Date"
	headerContentSHA256 = "X-Sdk-Content-Sha256"
	headerProject       = "X-Project-Id"
	headerSecurityToken = "X-Security-Token"
)

// Signature is a parsed Authorization header with the date of its request. It
// has been checked for form, not for truth.
type Signature struct {
	AccessKey     string // well-formed: letters and digits only
	Date          time.Time
	signedHeaders string // as it came: "a;b;c", lower case, strictly ascending
	sum           [32]byte
	date          string
}

// Messages of the errors, in the words of the vendor's gateway.
const (
	messageFail    = "verify aksk signature fail"
	messageExpired = "calc ak sk signature fail:signature expired"
)

func fail(detail string) error {
	return tidewaiter.Errorf(tidewaiter.Unauthenticated, "%s, %s", messageFail, detail)
}

// Parse reads the signature of a request:
//
//	Authorization: SDK-HMAC-SHA256 Access=AK, SignedHeaders=a;b, Signature=hex
//
// The three parts may come in any order, with any blanks around them. Errors
// are of kind [tidewaiter.Unauthenticated].
func Parse(r *http.Request) (Signature, error) {
	var s Signature
	lines := r.Header["Authorization"]
	if len(lines) != 1 {
		return s, fail("the header Authorization must be there once")
	}
	if len(lines[0]) > maxAuthorization {
		return s, fail("the header Authorization is too long")
	}
	algorithm, rest, _ := strings.Cut(strings.TrimLeft(lines[0], " \t"), " ")
	if algorithm != Algorithm {
		return s, fail("the algorithm in Authorization must be " + Algorithm)
	}
	if err := s.parseParts(rest); err != nil {
		return s, err
	}
	if err := checkSignedHeaders(s.signedHeaders); err != nil {
		return s, err
	}
	date, ok := single(r, headerDate)
	if !ok || !s.signs("x-sdk-date") {
		return s, fail("the header X-Sdk-Date must be there once, and signed")
	}
	s.date = strings.TrimSpace(date)
	if s.Date, ok = parseDate(s.date); !ok {
		return s, fail("X-Sdk-Date must have the form 20060102T150405Z, in UTC")
	}
	return s, nil
}

// parseParts reads the three parts that follow the algorithm.
func (s *Signature) parseParts(rest string) error {
	var access, headers, signature bool
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case ok && name == "Access" && !access:
			access = true
			if !wellFormedKey(value) {
				return fail("the access key in Authorization is not well formed")
			}
			s.AccessKey = value
		case ok && name == "SignedHeaders" && !headers:
			headers = true
			s.signedHeaders = value
		case ok && name == "Signature" && !signature:
			signature = true
			if !decodeHex(&s.sum, value) {
				return fail("the signature in Authorization is not 64 hex digits")
			}
		default:
			return fail("Authorization must hold Access, SignedHeaders and Signature, once each")
		}
	}
	if !access || !headers || !signature {
		return fail("Authorization must hold Access, SignedHeaders and Signature, once each")
	}
	return nil
}

// checkSignedHeaders checks that the names are lower-case header names in
// strictly ascending order, as every signer sends them.
func checkSignedHeaders(list string) error {
	previous, n := "", 0
	for name := range strings.SplitSeq(list, ";") {
		if n++; n > maxSignedHeaders {
			return fail("there are too many signed headers")
		}
		if name <= previous {
			return fail("the names in SignedHeaders must be sorted, and each there once")
		}
		for i := range len(name) {
			if c := name[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
				return fail("the names in SignedHeaders must be lower-case header names")
			}
		}
		previous = name
	}
	return nil
}

// signs reports whether a header is among the signed ones.
func (s *Signature) signs(name string) bool {
	for n := range strings.SplitSeq(s.signedHeaders, ";") {
		if n == name {
			return true
		}
	}
	return false
}

// single returns the value of a header that must be there exactly once.
func single(r *http.Request, canonicalName string) (string, bool) {
	v := r.Header[canonicalName]
	if len(v) != 1 {
		return "", false
	}
	return v[0], true
}

func wellFormedKey(s string) bool {
	if s == "" || len(s) > maxAccessKey {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return true
}

// parseDate reads a date such as 20261123T112024Z. It is many times as fast as
// time.Parse, and takes no fraction of a second.
func parseDate(s string) (time.Time, bool) {
	if len(s) != len(DateFormat) || s[8] != 'T' || s[15] != 'Z' {
		return time.Time{}, false
	}
	var n [14]int
	for i, j := 0, 0; i < 15; i++ {
		if i == 8 {
			continue
		}
		if s[i] < '0' || s[i] > '9' {
			return time.Time{}, false
		}
		n[j] = int(s[i] - '0')
		j++
	}
	two := func(i int) int { return n[i]*10 + n[i+1] }
	year, month, day := two(0)*100+two(2), time.Month(two(4)), two(6)
	t := time.Date(year, month, day, two(8), two(10), two(12), 0, time.UTC)
	// time.Date takes the 32nd of January for the 1st of February.
	ok := t.Year() == year && t.Month() == month && t.Day() == day &&
		two(8) < 24 && two(10) < 60 && two(12) < 60
	return t, ok
}

// decodeHex reads 64 hex digits of either case.
func decodeHex(sum *[32]byte, s string) bool {
	if len(s) != 2*len(sum) {
		return false
	}
	for i := range sum {
		high, ok1 := unhex(s[2*i])
		low, ok2 := unhex(s[2*i+1])
		if !ok1 || !ok2 {
			return false
		}
		sum[i] = high<<4 | low
	}
	return true
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
