package protocol

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// Window is how far the time of a signature may be from the server's clock,
// either way.
const Window = 5 * time.Minute

// Verifier checks the signatures of requests. It remembers their nonces, so
// that a request that somebody recorded is of no use to them. One Verifier
// remembers up to 131,072 of them; it is not shared between the processes of a
// server, where the leases and attempts make a request that comes twice
// harmless.
type Verifier struct {
	now    func() time.Time
	nonces nonces
}

// NewVerifier returns a Verifier that goes by the clock now.
func NewVerifier(now func() time.Time) *Verifier { return &Verifier{now: now} }

// Signed is what a good signature says about a request.
type Signed struct {
	ID     string // of the component
	digest string
}

// Verify checks the signature in the header of a request, before the body is
// read; [Signed.CheckBody] then checks that. lookup returns the key of a
// component; its errors are returned as they are. All others are of kind
// [tidewaiter.Unauthenticated] with the code [ErrSignature].
func (v *Verifier) Verify(r *http.Request, lookup func(id string) (ed25519.PublicKey, error)) (Signed, error) {
	p, digest, signature, err := parseSignature(r)
	if err != nil {
		return Signed{}, err
	}
	now := v.now()
	if d := now.Sub(time.Unix(p.created, 0)); d > Window || d < -Window {
		return Signed{}, badSignature("its time is more than %d minutes from the server's clock (see the header Date of this answer); set the clock of the scan component's host",
			int(Window.Minutes()))
	}
	key, err := lookup(p.id)
	if err != nil {
		return Signed{}, err
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, signatureBase(r, digest, p), signature) {
		return Signed{}, badSignature("it does not fit the request; a proxy may have changed method or path, or the component's key is not the one that it enrolled with")
	}
	if !v.nonces.use(p, now) {
		return Signed{}, badSignature("its nonce has been used; sign each request anew")
	}
	return Signed{ID: p.id, digest: digest}, nil
}

// CheckBody tells whether the body is the one that was signed. Errors are of
// kind [tidewaiter.Unauthenticated] with the code [ErrSignature].
func (s Signed) CheckBody(body []byte) error {
	if subtle.ConstantTimeCompare([]byte(digestOf(body)), []byte(s.digest)) != 1 {
		return badSignature("the body is not the one that was signed; a proxy may have changed it")
	}
	return nil
}

func badSignature(format string, args ...any) error {
	return Errorf(ErrSignature, tidewaiter.Unauthenticated, "the signature of the request is refused: "+format, args...)
}

// parseSignature reads the three headers of a signed request.
func parseSignature(r *http.Request) (p params, digest string, signature []byte, err error) {
	values := make(map[string]string, 3)
	for _, name := range []string{headerDigest, headerInput, headerSignature} {
		switch v := r.Header[name]; len(v) {
		case 0:
			return p, "", nil, badSignature("the header %s is missing", name)
		case 1:
			values[name] = v[0]
		default:
			return p, "", nil, badSignature("the header %s is there more than once", name)
		}
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return p, "", nil, badSignature("the URL has a query, which the signature would not cover")
	}
	digest = values[headerDigest]
	if _, ok := byteSequence(digest, "sha-256=", sha256.Size); !ok {
		return p, "", nil, badSignature("the header %s is not sha-256=:BASE64:", headerDigest)
	}
	signature, ok := byteSequence(values[headerSignature], label, ed25519.SignatureSize)
	if !ok {
		return p, "", nil, badSignature("the header %s is not %s:BASE64: with %d bytes", headerSignature, label, ed25519.SignatureSize)
	}
	if p, ok = parseParams(values[headerInput]); !ok {
		return p, "", nil, badSignature("the header %s is not exactly of the form in docs/protocol.md", headerInput)
	}
	return p, digest, signature, nil
}

// parseParams reads Signature-Input.
func parseParams(s string) (params, bool) {
	rest, ok := strings.CutPrefix(s, label+components+";created=")
	if !ok || len(rest) > 256 {
		return params{}, false
	}
	created, rest, _ := strings.Cut(rest, ";")
	rest = strings.TrimPrefix(rest, `keyid="`)
	id, rest, _ := strings.Cut(rest, `"`)
	rest = strings.TrimPrefix(rest, `;alg="ed25519";nonce="`)
	nonce, _, _ := strings.Cut(rest, `"`)

	seconds, err := strconv.ParseInt(created, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 || !isID(id) {
		return params{}, false
	}
	if b, err := base64.StdEncoding.Strict().DecodeString(nonce); err != nil || len(b) != nonceSize {
		return params{}, false
	}
	p := params{created: seconds, id: id, nonce: nonce}
	// What the cuts let pass does not come out the same.
	return p, label+p.String() == s
}

// byteSequence reads a dictionary with one member, a byte sequence (RFC 8941)
// of a known length.
func byteSequence(s, key string, size int) ([]byte, bool) {
	s, ok := strings.CutPrefix(s, key+":")
	if !ok {
		return nil, false
	}
	s, ok = strings.CutSuffix(s, ":")
	if !ok || len(s) != base64.StdEncoding.EncodedLen(size) {
		return nil, false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	return b, err == nil && len(b) == size
}

// isID tells whether s may be the id of a component: 1 to 64 letters, digits,
// hyphens and underscores.
func isID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
