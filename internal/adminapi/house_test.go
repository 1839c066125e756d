package adminapi_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/feed"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// house is a server with its first account.
type house struct {
	*testing.T
	id        *identity.Service
	fleet     *fleet.Service
	inventory *inventory.Service
	findings  *findings.Service
	db        *store.DB
	url       string
	boot      identity.Bootstrap
	root      *tidewaiter.Caller
	token     string // of the root user, for the domain
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t}
	key, err := identity.LoadOrCreateKey(filepath.Join(t.TempDir(), "secret.key"))
	h.must(err)
	db := storetest.Open(t, storetest.SQLite(t))
	h.db = db
	h.id, err = identity.New(t.Context(), identity.Options{Store: db, Key: key})
	h.must(err)
	log := slog.New(slog.DiscardHandler)
	h.fleet = fleet.New(fleet.Options{Store: db, Logger: log})
	t.Cleanup(h.fleet.Close)
	h.inventory, err = inventory.New(inventory.Options{Store: db, Wake: h.fleet.Wake, Location: time.UTC, SyncAt: "off", Logger: log})
	h.must(err)
	h.boot, _, err = h.id.Bootstrap(t.Context(), identity.BootstrapOptions{})
	h.must(err)
	h.root, err = h.id.Operator(t.Context(), "")
	h.must(err)
	sets := snapshots.New(snapshots.Options{Store: db, Folder: t.TempDir(), Logger: log})
	t.Cleanup(func() { h.must(sets.Close()) })
	h.findings = findings.New(findings.Options{Store: db, Sets: sets, Logger: log})
	g, err := gateway.New(gateway.Options{Identity: h.id, Logger: log})
	h.must(err)
	api := g.NewAPI("test")
	adminapi.Register(api, adminapi.Options{
		Identity: h.id, Fleet: h.fleet, Inventory: h.inventory, Findings: h.findings, Feed: feed.New(feed.Options{Store: db, Sealer: key, Logger: log}), Component: adminapi.Component{
			Server: "https://tidewaiter.example.com", Repository: "tidewaiter.example.com/tidewaiter/scan-component",
			Digest: "sha256:" + strings.Repeat("0", 64),
		},
	})
	server := httptest.NewServer(g.Wrap(api))
	t.Cleanup(server.Close)
	h.url = server.URL
	h.token = h.signIn("admin", h.boot.Password, "")
	return h
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// signIn returns a token for a project, or with "" for the domain.
func (h *house) signIn(user, password, project string) string {
	h.Helper()
	token, _, err := h.id.IssueToken(h.Context(), identity.TokenRequest{
		UserName: user, DomainName: "tidewaiter", Password: password, Scope: identity.TokenScope{ProjectName: project},
	})
	h.must(err)
	return token
}

// user makes a user with policies for all projects, and returns a token for the
// domain.
func (h *house) user(name string, policies ...string) string {
	h.Helper()
	_, password, err := h.id.CreateUser(h.Context(), h.root, identity.NewUser{Name: name})
	h.must(err)
	for _, p := range policies {
		_, err := h.id.Grant(h.Context(), h.root, tidewaiter.Grant{UserID: name, PolicyID: p})
		h.must(err)
	}
	return h.signIn(name, password, "")
}

type object = map[string]any

// answer is an answer of the server.
type answer struct {
	*http.Response
	text string
	body object
}

// as sends a request with a token. The body is text, or else made into JSON.
func (h *house) as(token, method, path string, body any) answer {
	h.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		h.must(err)
		text = string(b)
	}
	return h.send(method, path, text, func(r *http.Request) {
		if token != "" {
			r.Header.Set("X-Auth-Token", token)
		}
	})
}

// send sends a request, once it was prepared.
func (h *house) send(method, path, text string, prepare func(*http.Request)) answer {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), method, h.url+"/tidewaiter/v1"+path, strings.NewReader(text))
	h.must(err)
	r.Header.Set("Content-Type", "application/json")
	prepare(r)
	resp, err := http.DefaultTransport.RoundTrip(r)
	h.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h.must(err)
	a := answer{Response: resp, text: string(b)}
	if len(b) > 0 {
		h.must(json.Unmarshal(b, &a.body))
	}
	return a
}

// ask sends a request of the root user, and wants a status.
func (h *house) ask(status int, method, path string, body any) answer {
	h.Helper()
	a := h.as(h.token, method, path, body)
	if a.StatusCode != status {
		h.Errorf("%s %s: got %d %s, want %d", method, path, a.StatusCode, a.text, status)
	}
	return a
}

// fail wants an error of a request of the root user.
func (h *house) fail(status int, code, message, method, path string, body any) {
	h.Helper()
	h.wantError(h.ask(status, method, path, body), status, code, message)
}

func (h *house) wantError(a answer, status int, code, message string) {
	h.Helper()
	msg, _ := a.body["error_msg"].(string)
	if a.StatusCode != status || a.body["error_code"] != code || !strings.Contains(msg, message) {
		h.Errorf("%s: got %d %s, want %d %s with %q", a.Request.Method, a.StatusCode, a.text, status, code, message)
	}
}

// items returns what a list has under a name, of all its items.
func (a answer) items(field string) []string {
	out := []string{}
	items, _ := a.body["items"].([]any)
	for _, item := range items {
		text, _ := item.(object)[field].(string)
		out = append(out, text)
	}
	return out
}
