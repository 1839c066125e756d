package protocol

import (
	"errors"

	"github.com/tidewaiter/tidewaiter"
)

// The codes of errors that a component acts on; all others it reports and
// tries again. They stand in the field error_code of the answer.
const (
	ErrUnknownComponent = "unknown_component" // 401: enrol again
	ErrSignature        = "bad_signature"     // 401: see the header Date for the server's clock
	ErrHelloRequired    = "hello_required"    // 409
	ErrLeaseLost        = "lease_lost"        // 409: drop the work
	ErrLayersMissing    = "layers_missing"    // 409: ask for the layers of the image once more
	ErrVersion          = "version"           // 426: no version of the protocol is common to both
)

// Error is a failure with one of the codes.
type Error struct {
	Code string
	Err  error // a tidewaiter.Error
}

// Error returns the text of the failure.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the failure without its code.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an [Error] with a [tidewaiter.Error] in it.
func Errorf(code string, kind tidewaiter.Kind, format string, args ...any) error {
	return &Error{Code: code, Err: tidewaiter.Errorf(kind, format, args...)}
}

// CodeOf returns the code of the first [Error] in err's chain, or "".
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
