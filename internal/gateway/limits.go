package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/tidewaiter/tidewaiter"
)

// Limits of a request, as the vendor's API gateway has them.
const (
	MaxURI     = 32 << 10  // bytes of the request target
	MaxHeader  = 32 << 10  // bytes of one header field
	MaxHeaders = 128 << 10 // bytes of all header fields
	MaxBody    = 12 << 20  // bytes of the body
)

// statusHeaderTooLarge is the gateway's own status for too large a header.
const statusHeaderTooLarge = 494

// checkSize refuses a request whose target or header is too large.
func checkSize(r *http.Request) error {
	if len(r.RequestURI) > MaxURI {
		return &statusError{verdict{http.StatusRequestURITooLong, "APIGW.0201"},
			fmt.Sprintf("Bad request: the request URI is longer than %d bytes", MaxURI)}
	}
	total := 0
	for name, values := range r.Header {
		for _, v := range values {
			if total += len(name) + len(v); len(v) > MaxHeader || total > MaxHeaders {
				return &statusError{verdict{statusHeaderTooLarge, "APIGW.0201"}, fmt.Sprintf(
					"Bad request: a header is longer than %d bytes, or all of them are longer than %d", MaxHeader, MaxHeaders)}
			}
		}
	}
	return nil
}

// readBody reads the whole body, and puts it back into the request for the next
// reader.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, tidewaiter.Errorf(tidewaiter.TooLarge, "Bad request: the body is larger than %d bytes", MaxBody)
		}
		return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "the body could not be read to its end")
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return b, nil
}

// recovered answers a request whose handler panicked. The panic's value may
// hold anything, so only its type is logged, and its text where it comes from
// the Go runtime, beside the stack (which has no strings of the request).
func (g *Gateway) recovered(rec *recorder, r *http.Request, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	what := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error()
	}
	g.log.ErrorContext(r.Context(), "panic", "request_id", InfoFrom(r.Context()).ID,
		"route", r.Pattern, "panic", what, "stack", string(debug.Stack()))
	if rec.code == 0 {
		WriteError(rec, r, tidewaiter.Errorf(tidewaiter.Internal, "panic"))
	}
}
