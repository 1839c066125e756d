// Package client speaks to the APIs of a server in JSON. It is what the command
// line and the console have in common: the one reaches a server by its URL, the
// other the same handlers in its own process.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
)

// MaxAnswer is the longest answer that is read, in bytes.
const MaxAnswer = 64 << 20

// Client sends requests to one server.
type Client struct {
	HTTP *http.Client
	// Base is what paths are appended to, such as https://tidewaiter.example.com.
	Base string
	// Header is sent with every request.
	Header http.Header
}

// Local returns a client of a handler in this process. Who is calling is in the
// context of each request; see gateway.WithCaller.
func Local(h http.Handler) *Client {
	return &Client{Base: "http://local", HTTP: &http.Client{Transport: InProcess(h)}}
}

// InProcess returns a transport that answers requests with a handler, without a
// network. The whole answer is kept before it is returned.
func InProcess(h http.Handler) http.RoundTripper { return inProcess{h} }

// Error is an answer of the server that is an error in its form.
type Error struct {
	Status    int    // of HTTP
	Code      string // such as HSS.0001
	Message   string
	RequestID string
}

// Error returns the server's message; for an error of the server itself with the
// id by which it is found in its log.
func (e *Error) Error() string {
	if e.Status >= http.StatusInternalServerError {
		return fmt.Sprintf("%s (request %s)", e.Message, e.RequestID)
	}
	return e.Message
}

// Do sends a request to a path such as /v5/{project_id}/image/registries, with in
// as its JSON body, and decodes the answer into out; query, in and out may be nil.
//
// An answer that is an error is an [*Error].
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	target := c.Base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return err
	}
	maps.Copy(r.Header, c.Header)
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read as far as needed
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return readError(resp, b)
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}

// readError reads an error in the forms that the three APIs have.
func readError(resp *http.Response, body []byte) error {
	var e struct {
		Code      string `json:"error_code"`
		Message   string `json:"error_msg"`
		RequestID string `json:"request_id"`
		IAM       struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil || e.Message == "" && e.IAM.Message == "" {
		return fmt.Errorf("the server answered %s, and not in the form of Tidewaiter; check its URL", resp.Status)
	}
	if e.Message == "" {
		e.Message = e.IAM.Message
	}
	return &Error{Status: resp.StatusCode, Code: e.Code, Message: e.Message, RequestID: e.RequestID}
}

type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &answer{header: http.Header{}, status: http.StatusOK}
	t.handler.ServeHTTP(w, r)
	return &http.Response{
		StatusCode: w.status, Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), Header: w.header,
		Body: io.NopCloser(&w.body), Request: r,
	}, nil
}

// answer is an http.ResponseWriter that keeps what is written.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
