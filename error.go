package tidewaiter

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an [Error] is. Each API maps kinds to its own
// status and code in one table (internal/hssapi/error.go, internal/iamapi).
type Kind int

// The kinds of failure.
const (
	// Internal is a failure of ours. Its text is logged, never sent.
	Internal Kind = iota
	// Invalid is a request that can never succeed as it stands.
	Invalid
	// Unauthenticated is a missing, wrong, expired or locked credential.
	Unauthenticated
	// Forbidden is a caller who is known and may not.
	Forbidden
	// NotFound is a thing that does not exist, or that the caller may not know of.
	NotFound
	// Conflict is a thing that exists already, or a state that does not allow it.
	Conflict
	// TooLarge is a request beyond a size limit.
	TooLarge
	// Throttled is a caller who asks too often.
	Throttled
	// Unavailable is a part that we need and that does not answer.
	Unavailable
)

// String returns the kind in words, for logs.
func (k Kind) String() string {
	switch k {
	case Internal:
		return "internal"
	case Invalid:
		return "invalid"
	case Unauthenticated:
		return "unauthenticated"
	case Forbidden:
		return "forbidden"
	case NotFound:
		return "not found"
	case Conflict:
		return "conflict"
	case TooLarge:
		return "too large"
	case Throttled:
		return "throttled"
	case Unavailable:
		return "unavailable"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Error is a failure with a kind, and where it makes sense the field at fault.
//
// Message is for the person at the other end: it names the problem and the
// fix. It never repeats a value, because a value may be a secret.
type Error struct {
	Kind    Kind
	Field   string // the parameter, body field or configuration key at fault, or ""
	Message string
	Err     error // the cause, for logs only
}

// Error returns the field and the message, and the cause if there is one.
func (e *Error) Error() string {
	s := e.Message
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an [Error] without a field and without a cause.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an [Error] with a cause. The message may be shown to the
// caller, the cause only to the operator.
func Wrap(kind Kind, cause error, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Err: cause}
}

// InvalidField returns an [Error] of kind [Invalid] about one field.
func InvalidField(field, format string, args ...any) error {
	return &Error{Kind: Invalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first [Error] in err's chain, or [Internal].
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
