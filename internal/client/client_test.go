package client

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
)

// TestDo sends a request to a handler in this process, and reads what the three
// forms of errors say.
func TestDo(t *testing.T) {
	var got *http.Request
	answer, status := "", http.StatusOK
	c := Local(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.WriteHeader(status)
		w.Write([]byte(answer)) //nolint:errcheck // it is kept in memory
	}))

	answer = `{"name": "mine"}`
	var out struct {
		Name string `json:"name"`
	}
	if err := c.Do(t.Context(), http.MethodGet, "/v5/p/x", url.Values{"name": {"a b&c"}}, nil, &out); err != nil || out.Name != "mine" {
		t.Fatalf("got %q, %v", out.Name, err)
	}
	if got.URL.Path != "/v5/p/x" || got.URL.RawQuery != "name=a+b%26c" {
		t.Errorf("asked for %s", got.URL)
	}

	for _, test := range []struct {
		answer string
		status int
		want   string
	}{
		{`{"error_code": "HSS.0001", "error_msg": "limit: too large", "request_id": "1"}`, 400, "limit: too large"},
		{`{"error": {"code": 401, "message": "wrong password", "title": "Unauthorized"}}`, 401, "wrong password"},
		{`{"error_code": "HSS.0004", "error_msg": "internal error", "request_id": "77"}`, 500, "internal error (request 77)"},
	} {
		answer, status = test.answer, test.status
		err := c.Do(t.Context(), http.MethodGet, "/", nil, nil, nil)
		e, ok := errors.AsType[*Error](err)
		if !ok || err.Error() != test.want || e.Status != test.status {
			t.Errorf("%s: got %v", test.answer, err)
		}
	}
	answer, status = "<html>", 502
	if err := c.Do(t.Context(), http.MethodGet, "/", nil, nil, nil); err == nil || err.Error() != "the server answered 502 Bad Gateway, and not in the form of Tidewaiter; check its URL" {
		t.Errorf("of a proxy's page: %v", err)
	}
}
