package iamapi_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/iamapi"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// FuzzTokens sends any body to sign in with, and any token to be asked about.
// Nothing of it gets in or breaks the server, and every refusal is in the form
// that clients read.
func FuzzTokens(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""}, {"{}", "tw1_"}, {`{"auth":{}}`, "gAAAAAB"},
		{`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","password":"x","domain":{"name":"tidewaiter"}}}},"scope":{"project":{"name":"default"}}}}`, "tw1_" + strings.Repeat("A", 43)},
		{`{"auth":{"identity":{"methods":["token"],"password":null},"scope":null}}`, "\x00"},
		{`{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"","password":"` + strings.Repeat("é", 300) + `"}}}}}`, strings.Repeat("a", 40000)},
	} {
		f.Add(seed[0], seed[1])
	}
	key, err := identity.LoadOrCreateKey(filepath.Join(f.TempDir(), "secret.key"))
	if err != nil {
		f.Fatal(err)
	}
	id, err := identity.New(f.Context(), identity.Options{Store: storetest.Open(f, storetest.SQLite(f)), Key: key})
	if err != nil {
		f.Fatal(err)
	}
	if _, _, err := id.Bootstrap(f.Context(), identity.BootstrapOptions{}); err != nil {
		f.Fatal(err)
	}
	g, err := gateway.New(gateway.Options{Identity: id, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	api := g.NewAPI("test")
	iamapi.Register(api, iamapi.Options{Identity: id, Endpoint: endpoint})
	server := g.Wrap(api)

	f.Fuzz(func(t *testing.T, body, token string) {
		post := httptest.NewRequest(http.MethodPost, "/v3/auth/tokens", strings.NewReader(body))
		post.Header.Set("Content-Type", "application/json")
		get := httptest.NewRequest(http.MethodGet, "/v3/auth/tokens", nil)
		get.Header["X-Auth-Token"] = []string{token}
		get.Header["X-Subject-Token"] = []string{token}
		for _, r := range []*http.Request{post, get} {
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			if w.Code < 400 || w.Code >= 500 {
				t.Fatalf("%s: status %d: %s", r.Method, w.Code, w.Body)
			}
			var e struct {
				Error struct{ Message string }
				Code  string `json:"error_code"`
				Msg   string `json:"error_msg"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code == "" || e.Msg == "" || e.Error.Message != e.Msg {
				t.Fatalf("%s: status %d, body %s (%v)", r.Method, w.Code, w.Body, err)
			}
		}
	})
}
