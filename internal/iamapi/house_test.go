package iamapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
	"github.com/tidewaiter/tidewaiter/internal/iamapi"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// endpoint is the address that the server tells of itself. It is not the one
// that the tests reach it at.
const endpoint = "https://tidewaiter.example.com"

// house is a server with its first account.
type house struct {
	*testing.T
	id   *identity.Service
	url  string
	boot identity.Bootstrap
	root *tidewaiter.Caller
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t}
	key, err := identity.LoadOrCreateKey(filepath.Join(t.TempDir(), "secret.key"))
	h.must(err)
	h.id, err = identity.New(t.Context(), identity.Options{Store: storetest.Open(t, storetest.SQLite(t)), Key: key})
	h.must(err)
	h.boot, _, err = h.id.Bootstrap(t.Context(), identity.BootstrapOptions{})
	h.must(err)
	h.root, err = h.id.Operator(t.Context(), "")
	h.must(err)

	g, err := gateway.New(gateway.Options{Identity: h.id, Logger: slog.New(slog.DiscardHandler)})
	h.must(err)
	api := g.NewAPI("test")
	iamapi.Register(api, iamapi.Options{Identity: h.id, Endpoint: endpoint})
	hssapi.Register(api, hssapi.Options{Component: hssapi.Component{
		Image: "scan-component", Version: "1.2.3", DownloadURL: endpoint + "/components/scan-component.zip",
		Repository: "tidewaiter.example.com/tidewaiter/scan-component", Digest: "sha256:" + strings.Repeat("0", 64),
		Archives: map[string]string{"linux/amd64": "scan-component_linux_amd64.tar"},
	}})
	server := httptest.NewServer(g.Wrap(api))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// answer is an answer of the server.
type answer struct {
	*http.Response
	text string
	body map[string]any
}

// do sends a request; headers are pairs of name and value.
func (h *house) do(method, path, body string, headers ...string) answer {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), method, h.url+path, strings.NewReader(body))
	h.must(err)
	r.Header.Set("Content-Type", "application/json;charset=utf8")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	h.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h.must(err)
	a := answer{Response: resp, text: string(b)}
	if len(b) > 0 {
		d := json.NewDecoder(bytes.NewReader(b))
		if err := d.Decode(&a.body); err != nil {
			h.Fatalf("%s %s: the body is no JSON object: %s", method, path, b)
		}
	}
	return a
}

// at returns what is at a path such as token.user.name.
func (a answer) at(path string) any {
	var v any = a.body
	for name := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			i := int(name[0] - '0')
			if i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

// names returns the names in a list.
func (a answer) names(list string) []string {
	names := []string{}
	items, _ := a.body[list].([]any)
	for _, item := range items {
		name, _ := item.(map[string]any)["name"].(string)
		names = append(names, name)
	}
	return names
}

// wantError checks a failure in both of its forms.
func (h *house) wantError(a answer, status int, code, message string) {
	h.Helper()
	msg, _ := a.at("error_msg").(string)
	if a.StatusCode != status || a.at("error_code") != code || !strings.Contains(msg, message) {
		h.Errorf("got %d %s, want %d %s with %q", a.StatusCode, a.text, status, code, message)
	}
	if a.at("error.code") != float64(status) || a.at("error.message") != msg || a.at("error.title") != http.StatusText(status) ||
		a.at("error_description") != msg {
		h.Errorf("the forms of the error differ: %s", a.text)
	}
	if id := a.Header.Get("X-Request-Id"); id == "" || a.at("request_id") != id {
		h.Errorf("request_id is %v, the header has %q", a.at("request_id"), id)
	}
	if got := a.Header.Get("Content-Type"); got != "application/json" {
		h.Errorf("Content-Type is %q", got)
	}
}

// signIn returns the body of a sign-in of a user of the first account; the scope
// is JSON, "" for none.
func (h *house) signIn(user, password, scope string) string {
	h.Helper()
	quote := func(s string) string {
		b, err := json.Marshal(s)
		h.must(err)
		return string(b)
	}
	if scope != "" {
		scope = `,"scope":` + scope
	}
	return `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":` + quote(user) + `,"password":` + quote(password) +
		`,"domain":{"name":` + quote(h.boot.Domain.Name) + `}}}}` + scope + `}}`
}

// token signs the root user in.
func (h *house) token(scope string) string {
	h.Helper()
	a := h.do("POST", "/v3/auth/tokens", h.signIn("admin", h.boot.Password, scope))
	if a.StatusCode != http.StatusCreated {
		h.Fatalf("sign-in: %d %s", a.StatusCode, a.text)
	}
	return a.Header.Get("X-Subject-Token")
}
