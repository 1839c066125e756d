package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// Dialect says which API a request speaks, and so how its errors look.
type Dialect int

// The dialects.
const (
	// HSS is the image API under /v5: business errors are 400 with a code
	// HSS.nnnn, whatever they are; what fails before them has a code APIGW.nnnn.
	HSS Dialect = iota
	// IAM is the identity API under /v3: an "error" object, and beside it the
	// same in the fields of HSS, since clients read either.
	IAM
	// Native is this server's own API under /tidewaiter/v1: the body of HSS,
	// with the HTTP status that fits.
	Native
)

// verdict is a status and a code.
type verdict struct {
	status int
	code   string
}

// verdictOf is the one table from kinds of error to the wire. The codes are
// those of the HSS error code list, of the API gateway's, and of IAM's.
func verdictOf(d Dialect, k tidewaiter.Kind) verdict {
	switch k {
	case tidewaiter.Unauthenticated:
		return verdict{http.StatusUnauthorized, pick(d, "APIGW.0301", "IAM.0001", "APIGW.0301")}
	case tidewaiter.Forbidden:
		return verdict{http.StatusForbidden, pick(d, "APIGW.0302", "IAM.0003", "APIGW.0302")}
	case tidewaiter.Invalid:
		return verdict{http.StatusBadRequest, pick(d, "HSS.0001", "IAM.0011", "HSS.0001")}
	case tidewaiter.NotFound:
		if d == HSS {
			return verdict{http.StatusBadRequest, "HSS.0011"}
		}
		return verdict{http.StatusNotFound, pick(d, "", "IAM.0004", "HSS.0011")}
	case tidewaiter.Conflict:
		if d == HSS {
			return verdict{http.StatusBadRequest, "HSS.0010"}
		}
		return verdict{http.StatusConflict, pick(d, "", "IAM.0005", "HSS.0010")}
	case tidewaiter.TooLarge:
		return verdict{http.StatusRequestEntityTooLarge, "APIGW.0201"}
	case tidewaiter.Throttled:
		return verdict{http.StatusTooManyRequests, "APIGW.0308"}
	case tidewaiter.Unavailable:
		return verdict{http.StatusServiceUnavailable, "APIGW.0613"}
	case tidewaiter.Internal:
	}
	return verdict{http.StatusInternalServerError, pick(d, "APIGW.0601", "IAM.0006", "APIGW.0601")}
}

func pick(d Dialect, hss, iam, native string) string {
	return [...]string{HSS: hss, IAM: iam, Native: native}[d]
}

// statusError is an error whose status and code are known already: the few
// that the gateway itself gives.
type statusError struct {
	verdict
	message string
}

func (e *statusError) Error() string { return e.message }

// errorBody is the body of every error. Clients of HSS read error_code and
// error_msg; those of IAM read error.
type errorBody struct {
	IAM         *iamError `json:"error,omitempty"`
	Code        string    `json:"error_code" doc:"code of the error, for programs"`
	Msg         string    `json:"error_msg" doc:"what is wrong and how to mend it, for people"`
	Description string    `json:"error_description" doc:"the same text as error_msg"`
	RequestID   string    `json:"request_id" doc:"id of the request, as in the header X-Request-Id and in the server's log"`
}

type iamError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Title   string `json:"title"`
}

// render turns an error into status and body, and notes for the log what must
// not be sent.
func render(info *Info, err error) (int, errorBody) {
	v, msg := verdict{}, ""
	if se, ok := errors.AsType[*statusError](err); ok {
		v, msg = se.verdict, se.message
	} else {
		v = verdictOf(info.dialect, tidewaiter.KindOf(err))
		msg = publicMessage(err)
		if v.status >= 500 {
			info.cause = err
		} else if e, ok := errors.AsType[*tidewaiter.Error](err); ok && e.Err != nil {
			info.cause = e.Err
		}
	}
	info.errorCode = v.code
	body := errorBody{Code: v.code, Msg: msg, Description: msg, RequestID: info.ID}
	if info.dialect == IAM {
		body.IAM = &iamError{Code: v.status, Message: msg, Title: http.StatusText(v.status)}
	}
	return v.status, body
}

// publicMessage returns what the caller may read of err.
func publicMessage(err error) string {
	e, ok := errors.AsType[*tidewaiter.Error](err)
	if !ok || e.Kind == tidewaiter.Internal {
		return "internal error; the server's log has the details under this request id"
	}
	switch {
	case e.Kind == tidewaiter.Unauthenticated:
		return "Incorrect IAM authentication information: " + e.Message
	case e.Field != "":
		return "Invalid parameter " + e.Field + ": " + e.Message
	}
	return e.Message
}

// WriteError answers a request with an error, in the dialect of its API.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	status, body := render(InfoFrom(r.Context()), err)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(body) //nolint:errcheck // the client is gone; nothing is left to do
}

// NotFound answers for a path or a method that no API has.
func NotFound(w http.ResponseWriter, r *http.Request) {
	InfoFrom(r.Context()).dialect = dialectOf(r.URL.Path)
	WriteError(w, r, &statusError{verdict{http.StatusNotFound, "APIGW.0101"},
		"The API does not exist or has not been published: check the method and the path"})
}

// NotBuilt answers for an operation of the contract that this release does not
// have yet.
func NotBuilt(operation string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		WriteError(w, r, &statusError{verdict{http.StatusNotFound, "APIGW.0101"},
			"The API does not exist or has not been published: " + operation +
				" is part of the contract, but this release of Tidewaiter does not have it yet"})
	}
}

func dialectOf(path string) Dialect {
	switch {
	case strings.HasPrefix(path, "/v3/"):
		return IAM
	case strings.HasPrefix(path, "/tidewaiter/"), strings.HasPrefix(path, "/component/"):
		return Native
	}
	return HSS
}
