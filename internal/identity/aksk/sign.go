package aksk

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Sign signs a request that is about to be sent: it sets X-Sdk-Date and
// Authorization. Every header that is there is signed, but Content-Type, and
// those whose name has an underscore; so set all others before. A header that
// is there twice cannot be signed.
//
// The errors are of kind [tidewaiter.Unauthenticated].
func Sign(r *http.Request, accessKey string, secret, body []byte, now time.Time) error {
	date := now.UTC().Format(DateFormat)
	r.Header.Del("Authorization")
	r.Header.Set(headerDate, date)

	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		name = strings.ToLower(name)
		if !strings.HasPrefix(name, "content-type") && !strings.Contains(name, "_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	signedHeaders := strings.Join(names, ";")

	sum := sha256.Sum256(body)
	payload, err := payloadSum(r, hex.EncodeToString(sum[:]))
	if err != nil {
		return err
	}
	canonical, err := appendCanonical(nil, r, signedHeaders, payload)
	if err != nil {
		return err
	}
	signature := NewKey(secret).sum(canonical, date)
	r.Header.Set("Authorization", Algorithm+" Access="+accessKey+", SignedHeaders="+signedHeaders+
		", Signature="+hex.EncodeToString(signature[:]))
	return nil
}
