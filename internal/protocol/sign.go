package protocol

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Requests are signed in one fixed profile of HTTP Message Signatures
// (RFC 9421): Ed25519 over the method, the path and the digest of the body
// (RFC 9530), with the time, the component's id and a nonce. A general reader of
// RFC 9421 can check it; ours takes exactly what [Sign] writes and nothing else.
const (
	headerDigest    = "Content-Digest"
	headerInput     = "Signature-Input"
	headerSignature = "Signature"

	label      = "tidewaiter="
	components = `("@method" "@path" "content-digest")`
	nonceSize  = 16
)

// params are what a signature says of itself.
type params struct {
	created int64 // seconds since 1970
	id      string
	nonce   string // base64 of nonceSize bytes
}

// String returns the value of @signature-params, the only spelling there is.
func (p params) String() string {
	return components + ";created=" + strconv.FormatInt(p.created, 10) +
		`;keyid="` + p.id + `";alg="ed25519";nonce="` + p.nonce + `"`
}

// Sign signs a request with the key of the component that has the id. A
// request that is sent again has to be signed again: the server takes a nonce
// once.
func Sign(req *http.Request, body []byte, id string, key ed25519.PrivateKey, now time.Time) {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) //nolint:errcheck // crypto/rand.Read never fails
	sign(req, body, key, params{created: now.Unix(), id: id, nonce: base64.StdEncoding.EncodeToString(nonce)})
}

func sign(req *http.Request, body []byte, key ed25519.PrivateKey, p params) {
	digest := digestOf(body)
	signature := ed25519.Sign(key, signatureBase(req, digest, p))
	req.Header.Set(headerDigest, digest)
	req.Header.Set(headerInput, label+p.String())
	req.Header.Set(headerSignature, label+":"+base64.StdEncoding.EncodeToString(signature)+":")
}

// digestOf returns the value of Content-Digest for a body.
func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// signatureBase returns the bytes that are signed (RFC 9421, section 2.5).
func signatureBase(r *http.Request, digest string, p params) []byte {
	method, path := r.Method, r.URL.EscapedPath()
	if method == "" {
		method = http.MethodGet // as net/http sends it
	}
	if path == "" {
		path = "/"
	}
	var b strings.Builder
	b.WriteString(`"@method": ` + method + "\n")
	b.WriteString(`"@path": ` + path + "\n")
	b.WriteString(`"content-digest": ` + digest + "\n")
	b.WriteString(`"@signature-params": ` + p.String())
	return []byte(b.String())
}
