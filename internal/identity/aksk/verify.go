package aksk

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// ErrMismatch is the cause of the error of [Signature.Verify] where everything
// is in order but the signature itself: a wrong secret key, or a request that
// was changed on its way. This, and nothing else, looks like guessing.
var ErrMismatch = errors.New("signatures differ")

// InWindow checks the date of the signature. The error is of kind
// [tidewaiter.Unauthenticated].
func (s *Signature) InWindow(now time.Time) error {
	if d := now.Sub(s.Date); d > Window || d < -Window {
		return tidewaiter.Errorf(tidewaiter.Unauthenticated, "%s", messageExpired)
	}
	return nil
}

// A Key is the secret half of an access key. It may be used by several
// goroutines at once.
type Key struct {
	macs sync.Pool // of hash.Hash: setting one up costs as much as using it
}

// NewKey returns the Key of a secret.
func NewKey(secret []byte) *Key {
	secret = bytes.Clone(secret)
	return &Key{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}}
}

// Verify checks that the request was signed with the secret key, within
// [Window] of now. bodySHA256 is the sum of the body as it arrived, in lower-case
// hex. The sums are compared in constant time. Errors are of kind
// [tidewaiter.Unauthenticated].
func (s *Signature) Verify(r *http.Request, bodySHA256 string, key *Key, now time.Time) error {
	if err := s.InWindow(now); err != nil {
		return err
	}
	for _, h := range []struct{ canonical, lower string }{
		{headerProject, "x-project-id"},
		{headerSecurityToken, "x-security-token"},
		{headerContentSHA256, "x-sdk-content-sha256"},
	} {
		if r.Header[h.canonical] != nil && !s.signs(h.lower) {
			return fail("the header " + h.canonical + " must be signed")
		}
	}
	payload, err := payloadSum(r, bodySHA256)
	if err != nil {
		return err
	}
	var space [1024]byte
	canonical, err := appendCanonical(space[:0], r, s.signedHeaders, payload)
	if err != nil {
		return err
	}
	sum := key.sum(canonical, s.date)
	if !hmac.Equal(sum[:], s.sum[:]) {
		return tidewaiter.Wrap(tidewaiter.Unauthenticated, ErrMismatch, "%s", messageFail)
	}
	return nil
}

// payloadSum returns what stands for the body in the canonical request.
func payloadSum(r *http.Request, bodySHA256 string) (string, error) {
	if r.Header[headerContentSHA256] == nil {
		return bodySHA256, nil
	}
	v, ok := single(r, headerContentSHA256)
	switch {
	case !ok:
		return "", fail("the header X-Sdk-Content-Sha256 must be there once")
	case v == bodySHA256:
		return v, nil
	case v == UnsignedPayload && (bodySHA256 == EmptySHA256 || !strings.Contains(r.Header.Get("Content-Type"), "json")):
		return v, nil
	case v == UnsignedPayload:
		return "", fail("a JSON body must be part of the signature")
	}
	return "", fail("X-Sdk-Content-Sha256 is not the sum of the body")
}

// sum returns the signature of a canonical request.
func (k *Key) sum(canonical []byte, date string) (out [sha256.Size]byte) {
	sum := sha256.Sum256(canonical)
	text := make([]byte, 0, 128)
	text = append(text, Algorithm+"\n"...)
	text = append(text, date...)
	text = append(text, '\n')
	text = hex.AppendEncode(text, sum[:])
	mac := k.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write(text)
	copy(out[:], mac.Sum(text[:0]))
	k.macs.Put(mac)
	return out
}

// appendCanonical appends the canonical form of a request.
func appendCanonical(b []byte, r *http.Request, signedHeaders, payload string) ([]byte, error) {
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = appendPath(b, r.URL.Path)
	b = append(b, '\n')
	b, err := appendQuery(b, r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	for name := range strings.SplitSeq(signedHeaders, ";") {
		value, ok := headerValue(r, name)
		if !ok {
			return nil, fail("each signed header must be there exactly once")
		}
		b = append(b, name...)
		b = append(b, ':')
		b = append(b, strings.TrimSpace(value)...)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, signedHeaders...)
	b = append(b, '\n')
	return append(b, payload...), nil
}

// headerValue returns the one value of a header. net/http keeps Host apart
// from the others.
func headerValue(r *http.Request, name string) (string, bool) {
	switch name {
	case "host":
		return r.Host, r.Host != ""
	case "x-sdk-date": // as below, without an allocation
		return single(r, headerDate)
	case "x-project-id":
		return single(r, headerProject)
	}
	return single(r, textproto.CanonicalMIMEHeaderKey(name))
}
