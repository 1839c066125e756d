package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// Reason says more closely than a [tidewaiter.Kind] what went wrong.
type Reason string

// The reasons.
const (
	ReasonNetwork     Reason = "network"      // no connection, or it broke: the cause tells
	ReasonTimeout     Reason = "timeout"      // no answer, or too slow a one
	ReasonAddress     Reason = "address"      // an address that is never dialled
	ReasonProxy       Reason = "proxy"        // the proxy does not let us through
	ReasonRedirect    Reason = "redirect"     // a redirect that is not followed
	ReasonRealm       Reason = "realm"        // a token service that gets no credential
	ReasonCredential  Reason = "credential"   // 401 with the credential
	ReasonForbidden   Reason = "forbidden"    // 403
	ReasonNotFound    Reason = "not found"    // 404
	ReasonUnsupported Reason = "unsupported"  // 405, 501: the registry cannot do this
	ReasonThrottled   Reason = "rate limited" // 429
	ReasonServer      Reason = "server"       // 5xx
	ReasonStatus      Reason = "status"       // any other status
	ReasonLimit       Reason = "limit"        // a limit of ours
	ReasonAnswer      Reason = "answer"       // an answer that breaks the rules
	ReasonDigest      Reason = "digest"       // bytes other than those asked for
)

// Failure is the cause within a [tidewaiter.Error] of this package. Find it
// with errors.AsType. Neither holds a credential, a token, or the query of a URL.
type Failure struct {
	Reason Reason
	Status int       // HTTP status, or 0
	Until  time.Time // rate limited: when to come again, or zero
	At     Origin    // network failures: who did not answer, if known
	Err    error     // the cause, or nil
}

// Error returns the reason and the cause.
func (f *Failure) Error() string {
	s := string(f.Reason)
	if f.Status != 0 {
		s += fmt.Sprintf(" (HTTP %d)", f.Status)
	}
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// ReasonOf returns the reason of the first [Failure] in err's chain, or "".
func ReasonOf(err error) Reason {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Reason
	}
	return ""
}

// Errorf returns an error of a kind and with a reason, for connectors.
func Errorf(kind tidewaiter.Kind, reason Reason, format string, args ...any) error {
	return failure(kind, reason, format, args...)
}

func failure(kind tidewaiter.Kind, reason Reason, format string, args ...any) error {
	return tidewaiter.Wrap(kind, &Failure{Reason: reason}, format, args...)
}

// networkError wraps what a round trip returned, less the URL: a redirect's
// query often is the permission to read a blob.
func networkError(err error, to Origin) error {
	if e, ok := errors.AsType[*tidewaiter.Error](err); ok {
		return e // refused by the guard
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	reason, message := ReasonNetwork, "cannot reach %s; check the address, the network between here and there, and the proxy"
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		reason, message = ReasonTimeout, "%s does not answer in time; check the network, the proxy, and the load of the registry"
	}
	return tidewaiter.Wrap(tidewaiter.Unavailable, &Failure{Reason: reason, At: to, Err: err}, message, to)
}

// statusError returns the error of an answer that is no success.
func statusError(status int, to Origin) error {
	kind, reason, message := tidewaiter.Invalid, ReasonStatus, "%s gives an unexpected answer; check that the address is that of a registry of the given type"
	switch {
	case status == 401:
		kind, reason, message = tidewaiter.Unauthenticated, ReasonCredential, "%s does not accept the user name or the password; correct them"
	case status == 403:
		kind, reason, message = tidewaiter.Forbidden, ReasonForbidden, "%s knows the user and does not allow this; give the user a role that may list and pull"
	case status == 404:
		kind, reason, message = tidewaiter.NotFound, ReasonNotFound, "%s has no such thing"
	case status == 405 || status == 501:
		kind, reason, message = tidewaiter.NotFound, ReasonUnsupported, "%s cannot do this"
	case status == 429:
		kind, reason, message = tidewaiter.Throttled, ReasonThrottled, "%s limits the rate of requests; lower the request budget, or try again later"
	case status >= 500:
		kind, reason, message = tidewaiter.Unavailable, ReasonServer, "%s fails; look into its log, or try again later"
	}
	return tidewaiter.Wrap(kind, &Failure{Reason: reason, Status: status}, message, to)
}
