package console

import (
	"net/http"
	"strings"
)

// policy is what a page may load and do: what is of this server, and no script
// or style that stands in the page itself. Images may be data, as the style
// sheet has its marks so.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// maxForm is the longest form that is read, in bytes.
const maxForm = 256 << 10

// protect says to browsers what pages may do, and refuses what a page of
// another site sends: see [http.CrossOriginProtection].
func protect(next http.Handler) http.Handler {
	var sameOrigin http.CrossOriginProtection
	return sameOrigin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	}))
}

func isHTTPS(endpoint string) bool { return strings.HasPrefix(endpoint, "https://") }
