package keystone

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
)

// good is a token, and says is what Keystone says of it.
const (
	good = "gAAAAAgood-token_0123456789"
	says = `{"token":{"methods":["password"],"issued_at":"2026-01-01T00:00:00.000000Z","expires_at":"%s",
		"user":{"id":"u1","name":"ann","domain":{"id":"d1","name":"Acme"},"password_expires_at":null},
		"project":{"id":"p1","name":"cn-test-1","domain":{"id":"d2","name":"Other"}},
		"roles":[{"id":"r1","name":"reader"},{"id":"r2","name":"HSS FullAccess"}],"is_domain":false}}`
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// A fake is a Keystone with one good token, and a clock that stands still.
type fake struct {
	*Client
	asked   atomic.Int64
	expires time.Time
	status  int    // answered in place of 200, if not 0
	body    string // answered in place of says, if not ""
	delay   chan struct{}
	clock   atomic.Int64 // seconds since start
}

func newFake(t *testing.T, o Options) *fake {
	t.Helper()
	f := &fake{expires: start.Add(time.Hour)}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	o.URL = server.URL
	client, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	client.now = func() time.Time { return start.Add(time.Duration(f.clock.Load()) * time.Second) }
	f.Client = client
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked.Add(1)
	if f.delay != nil {
		<-f.delay
	}
	token := r.Header.Get("X-Auth-Token")
	switch {
	case r.Method != http.MethodGet || r.URL.Path != "/v3/auth/tokens" || token != r.Header.Get("X-Subject-Token"):
		http.Error(w, "wrong question", http.StatusTeapot)
	case f.status != 0:
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(f.status)
	case token != good:
		w.WriteHeader(http.StatusNotFound)
	case f.body != "":
		fmt.Fprint(w, f.body)
	default:
		fmt.Fprintf(w, says, f.expires.Format("2006-01-02T15:04:05.000000Z"))
	}
}

// want asks about a token and wants an error of the kind that does not repeat
// the token.
func (f *fake) want(t *testing.T, token string, kind tidewaiter.Kind) {
	t.Helper()
	v, err := f.AuthenticateToken(t.Context(), token)
	if err == nil || v != nil {
		t.Fatalf("got %+v, %v; want an error", v, err)
	}
	if got := tidewaiter.KindOf(err); got != kind {
		t.Errorf("kind of %v is %s, want %s", err, got, kind)
	}
	if token != "" && strings.Contains(err.Error(), token) {
		t.Error("the error repeats the token")
	}
}

func (f *fake) wantAsked(t *testing.T, want int64) {
	t.Helper()
	if got := f.asked.Load(); got != want {
		t.Errorf("Keystone was asked %d times, want %d", got, want)
	}
}

func TestGoodToken(t *testing.T) {
	f := newFake(t, Options{RoleMap: map[string]string{"reader": "HSS ReadOnlyAccess"}})
	got, err := f.AuthenticateToken(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	want := &Validated{
		UserID: "u1", UserName: "ann", DomainID: "d1", DomainName: "Acme",
		ProjectID: "p1", ProjectName: "cn-test-1", ProjectDomainID: "d2",
		Roles: []string{"HSS ReadOnlyAccess", "HSS FullAccess"}, Expires: start.Add(time.Hour),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCache(t *testing.T) {
	f := newFake(t, Options{})
	steps := []struct {
		at    int64 // seconds
		token string
		asked int64 // in all, afterwards
		ok    bool
	}{
		{0, good, 1, true},
		{29, good, 1, true},
		{30, good, 2, true},
		{30, "other", 3, false},
		{31, "other", 3, false},
		{32, "other", 4, false},
		{3590, good, 5, true},
		{3599, good, 5, true},
		{3600, good, 6, false}, // the token has expired, whatever Keystone says
	}
	for _, s := range steps {
		f.clock.Store(s.at)
		_, err := f.AuthenticateToken(t.Context(), s.token)
		if (err == nil) != s.ok {
			t.Fatalf("at %d s: %v", s.at, err)
		}
		f.wantAsked(t, s.asked)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := cache{entries: make(map[key]entry)}
	for i := range 3 * maxCached {
		k := key{byte(i), byte(i >> 8), byte(i >> 16)}
		c.put(k, entry{until: start.Add(time.Duration(i) * time.Second)}, start.Add(maxCached*time.Second))
		if _, ok := c.entries[k]; !ok || len(c.entries) > maxCached {
			t.Fatalf("after %d puts the cache holds %d entries, the last one: %t", i+1, len(c.entries), ok)
		}
	}
}

func TestFailures(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		kind   tidewaiter.Kind
	}{
		"401":             {status: 401, kind: tidewaiter.Unauthenticated},
		"404":             {status: 404, kind: tidewaiter.Unauthenticated},
		"403":             {status: 403, kind: tidewaiter.Unavailable},
		"429":             {status: 429, kind: tidewaiter.Unavailable},
		"500":             {status: 500, kind: tidewaiter.Unavailable},
		"503":             {status: 503, kind: tidewaiter.Unavailable},
		"redirect":        {status: 307, kind: tidewaiter.Unavailable},
		"no content":      {status: 204, kind: tidewaiter.Unavailable},
		"HTML":            {body: "<html>hello</html>", kind: tidewaiter.Unavailable},
		"empty object":    {body: "{}", kind: tidewaiter.Unavailable},
		"no expiry":       {body: `{"token":{"user":{"id":"u1"}}}`, kind: tidewaiter.Unavailable},
		"no user":         {body: `{"token":{"expires_at":"2099-01-01T00:00:00Z"}}`, kind: tidewaiter.Unavailable},
		"expired":         {body: fmt.Sprintf(says, "2026-05-01T12:00:00.000000Z"), kind: tidewaiter.Unauthenticated},
		"endless":         {body: strings.Repeat(" ", maxAnswer) + "{}", kind: tidewaiter.Unavailable},
		"token echoed":    {body: `{"token":"` + good + `"}`, kind: tidewaiter.Unavailable},
		"expiry nonsense": {body: fmt.Sprintf(says, good), kind: tidewaiter.Unavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, Options{})
			f.status, f.body = tt.status, tt.body
			f.want(t, good, tt.kind)
			f.wantAsked(t, 1) // and not asked at the address of a redirect
			f.status, f.body = 0, ""
			if tt.kind == tidewaiter.Unavailable {
				if _, err := f.AuthenticateToken(t.Context(), good); err != nil {
					t.Errorf("Keystone is well again, but: %v", err)
				}
			}
		})
	}
}

func TestMalformedTokensAreNotSent(t *testing.T) {
	f := newFake(t, Options{})
	for _, token := range []string{"", strings.Repeat("x", maxToken+1), "a b", "a\r\nX-Admin: 1", "a\x00", "töken"} {
		f.want(t, token, tidewaiter.Unauthenticated)
	}
	f.wantAsked(t, 0)
	f.want(t, strings.Repeat("x", maxToken), tidewaiter.Unauthenticated)
	f.wantAsked(t, 1)
}

func TestKeystoneDown(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	client, err := New(Options{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	f := &fake{Client: client}
	f.want(t, good, tidewaiter.Unavailable)
}

func TestOneQuestionForAll(t *testing.T) {
	f := newFake(t, Options{})
	f.delay = make(chan struct{})

	// The first caller gives up while Keystone thinks.
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := f.AuthenticateToken(ctx, good)
		gone <- err
	}()
	for f.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-gone; tidewaiter.KindOf(err) != tidewaiter.Unavailable {
		t.Errorf("a caller who left got %v", err)
	}

	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if v, err := f.AuthenticateToken(t.Context(), good); err != nil || v.UserID != "u1" {
				t.Errorf("got %+v, %v", v, err)
			}
		})
	}
	close(f.delay)
	callers.Wait()
	f.wantAsked(t, 1)
}

func TestURL(t *testing.T) {
	const operation = "/v3/auth/tokens?nocatalog"
	good := map[string]string{
		"https://k.example.com:5000":      "https://k.example.com:5000" + operation,
		"https://k.example.com/v3":        "https://k.example.com" + operation,
		"https://k.example.com/v3/":       "https://k.example.com" + operation,
		"https://k.example.com/identity/": "https://k.example.com/identity" + operation,
		"http://127.0.0.1:5000":           "http://127.0.0.1:5000" + operation,
		"http://[::1]:5000/v3":            "http://[::1]:5000" + operation,
		"http://localhost":                "http://localhost" + operation,
	}
	for in, want := range good {
		if c, err := New(Options{URL: in}); err != nil || c.endpoint != want {
			t.Errorf("New(%q): %v, want endpoint %q", in, err, want)
		}
	}
	for _, in := range []string{
		"", "k.example.com", "ftp://k", "https://", "http://k.example.com", "http://127.0.0.1.example.com",
		"https://ann:s3cret@k.example.com", "https://k.example.com?x=y", "https://k.example.com?", "https://k.example.com#x", "https://k\x7f",
	} {
		_, err := New(Options{URL: in})
		if tidewaiter.KindOf(err) != tidewaiter.Invalid || err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("New(%q): %v, want an error of kind invalid", in, err)
		}
	}
	if _, err := New(Options{URL: "http://k.example.com", AllowHTTP: true}); err != nil {
		t.Errorf("with AllowHTTP: %v", err)
	}
}

func TestTLSIsVerified(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, says, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // it tells of handshakes that fail
	server.StartTLS()
	defer server.Close()

	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	trusting, err := New(Options{URL: server.URL, CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trusting.AuthenticateToken(t.Context(), good); err != nil {
		t.Errorf("with the CA: %v", err)
	}
	wary, err := New(Options{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	(&fake{Client: wary}).want(t, good, tidewaiter.Unavailable)

	for _, file := range []string{ca + ".absent", os.Args[0]} {
		if _, err := New(Options{URL: server.URL, CAFile: file}); tidewaiter.KindOf(err) != tidewaiter.Invalid || err == nil {
			t.Errorf("CA file %s: %v, want an error of kind invalid", filepath.Base(file), err)
		}
	}
}

// FuzzParse wants an answer to be a token with a user and an end, or an error.
func FuzzParse(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(says, "2026-05-01T12:00:00.000000Z")))
	f.Add([]byte(`{"token":{"roles":null,"project":null}}`))
	c := &Client{}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := c.parse(raw)
		if err == nil && (v.UserID == "" || v.Expires.IsZero() || !json.Valid(raw)) {
			t.Errorf("%q passes as %+v", raw, v)
		}
	})
}
