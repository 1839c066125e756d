package componentapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// errorBody is the body of every error, in the shape of the other APIs.
type errorBody struct {
	Code        string `json:"error_code"`
	Msg         string `json:"error_msg"`
	Description string `json:"error_description"`
	RequestID   string `json:"request_id"`
}

// fail answers with an error. What the component may not read goes into the
// access log.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	info := gateway.InfoFrom(r.Context())
	status, body := errorOf(err)
	body.RequestID = info.ID
	if status < http.StatusInternalServerError {
		err = nil // the body has all of it
	}
	info.Fail(body.Code, err)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if status == http.StatusTooManyRequests {
		h.Set("Retry-After", "60")
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the client is gone; nothing is left to do
}

// errorOf returns the status and the body for an error: the one table from
// kinds and codes to the wire.
func errorOf(err error) (int, errorBody) {
	kind := tidewaiter.KindOf(err)
	code := strings.ReplaceAll(kind.String(), " ", "_")
	msg := "internal error; the server's log has the details under this request id"
	if e, ok := errors.AsType[*tidewaiter.Error](err); ok && kind != tidewaiter.Internal {
		msg = e.Message
		if e.Field != "" {
			msg = e.Field + ": " + msg
		}
	}
	status := statusOf(kind)
	if c := protocol.CodeOf(err); c != "" {
		code = c
		if c == protocol.ErrVersion {
			status = http.StatusUpgradeRequired
		}
	}
	return status, errorBody{Code: code, Msg: msg, Description: msg}
}

func statusOf(k tidewaiter.Kind) int {
	switch k {
	case tidewaiter.Invalid:
		return http.StatusBadRequest
	case tidewaiter.Unauthenticated:
		return http.StatusUnauthorized
	case tidewaiter.Forbidden:
		return http.StatusForbidden
	case tidewaiter.NotFound:
		return http.StatusNotFound
	case tidewaiter.Conflict:
		return http.StatusConflict
	case tidewaiter.TooLarge:
		return http.StatusRequestEntityTooLarge
	case tidewaiter.Throttled:
		return http.StatusTooManyRequests
	case tidewaiter.Unavailable:
		return http.StatusServiceUnavailable
	case tidewaiter.Internal:
	}
	return http.StatusInternalServerError
}
