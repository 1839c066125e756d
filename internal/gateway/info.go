package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"

	"github.com/tidewaiter/tidewaiter"
)

// Info is what the gateway knows of one request.
type Info struct {
	// ID is 32 hex digits, made here; what a client sends as X-Request-Id is
	// not taken over. It stands in the header of the answer, in error bodies
	// and in the log.
	ID string
	// Caller is who sent the request, once that is known.
	Caller *tidewaiter.Caller

	header    [1]string // the ID as the value of a header
	dialect   Dialect
	errorCode string
	cause     error // what the operator should read, never sent
}

type infoKey struct{}

func (i *Info) init() {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // crypto/rand.Read never fails since Go 1.24
	i.ID = hex.EncodeToString(b[:])
	i.header[0] = i.ID
}

// InfoFrom returns the Info of the request that ctx belongs to. Outside of
// [Gateway.Wrap] it returns an empty one.
func InfoFrom(ctx context.Context) *Info {
	if i, ok := ctx.Value(infoKey{}).(*Info); ok {
		return i
	}
	return &Info{}
}

// CallerFrom returns the authenticated caller of the request that ctx belongs
// to, or nil.
func CallerFrom(ctx context.Context) *tidewaiter.Caller { return InfoFrom(ctx).Caller }

// recorder remembers what was answered, beside the request's Info.
type recorder struct {
	http.ResponseWriter
	info  Info
	code  int
	bytes int64
}

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

// Fail notes for the access log with what error a handler answers that writes
// its errors itself. cause is nil or what the client does not get to read.
func (i *Info) Fail(code string, cause error) { i.errorCode, i.cause = code, cause }
