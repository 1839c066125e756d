package registry_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/oci"
)

const secret = "s3cret-Password"

// bad is a registry that does what a test wants, and remembers what it was shown.
type bad struct {
	*httptest.Server
	mu    sync.Mutex
	shown []string // Authorization headers, "" for none
	paths []string
}

func newBad(t *testing.T, tls bool, h http.HandlerFunc) *bad {
	t.Helper()
	b := &bad{}
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.shown = append(b.shown, r.Header.Get("Authorization"))
		b.paths = append(b.paths, r.URL.RequestURI())
		b.mu.Unlock()
		if h != nil {
			h(w, r)
		}
	}))
	b.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if tls {
		b.StartTLS()
	} else {
		b.Start()
	}
	t.Cleanup(b.Close)
	return b
}

// sawCredential tells whether any request held an Authorization header.
func (b *bad) sawCredential() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.shown, "") != ""
}

func (b *bad) requests() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.paths)
}

func (b *bad) config(t testing.TB) registry.Config {
	t.Helper()
	u, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	address, err := tidewaiter.ParseRegistryAddress(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	c := registry.Config{Type: registry.Other, Protocol: u.Scheme, Address: address, Username: "user", Password: secret}
	if cert := b.Certificate(); cert != nil {
		c.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	return c
}

func noSleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func newClient(t testing.TB, c registry.Config, o registry.Options) *registry.Client {
	t.Helper()
	if o.Sleep == nil {
		o.Sleep = noSleep
	}
	client, err := registry.NewClient(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// wantError checks kind, reason and that no secret is told.
func wantError(t *testing.T, err error, kind tidewaiter.Kind, reason registry.Reason) {
	t.Helper()
	if err == nil || tidewaiter.KindOf(err) != kind || registry.ReasonOf(err) != reason {
		t.Errorf("error %v (%v, %q), want %v, %q", err, tidewaiter.KindOf(err), registry.ReasonOf(err), kind, reason)
	}
	if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "X-Signature")) {
		t.Errorf("the error tells a secret: %v", err)
	}
}

// Bad input 13 and 14: a realm elsewhere gets no credential.
func TestRealm(t *testing.T) {
	thief := newBad(t, true, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"token":"t"}`) })
	thiefURL, _ := url.Parse(thief.URL)
	plain := newBad(t, false, nil)
	for name, realm := range map[string]string{
		"other port":      thief.URL + "/token",
		"other host":      "https://evil.example.com/token",
		"plain http":      plain.URL + "/token",
		"metadata":        "https://169.254.169.254/latest",
		"metadata mapped": "https://[::ffff:169.254.169.254]/latest",
		"private":         "https://10.1.2.3/token",
		"user info":       "https://a:b@HOST/token",
		"user info host":  "https://HOST@" + thiefURL.Host + "/token",
		"prefix":          "https://HOST.evil.example.com/token",
		"opaque":          "https:token",
		"no scheme":       "//" + thiefURL.Host + "/token",
		"file":            "file:///etc/passwd",
		"nothing":         "",
	} {
		t.Run(name, func(t *testing.T) {
			var own *bad
			own = newBad(t, true, func(w http.ResponseWriter, _ *http.Request) {
				host := strings.TrimPrefix(own.URL, "https://")
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+strings.ReplaceAll(realm, "HOST", host)+`",service="s"`)
				w.WriteHeader(http.StatusUnauthorized)
			})
			err := newClient(t, own.config(t), registry.Options{}).Ping(t.Context())
			wantError(t, err, tidewaiter.Invalid, registry.ReasonRealm)
			if own.sawCredential() || thief.requests() > 0 || plain.requests() > 0 {
				t.Error("somebody was asked who must not be, or was shown the credential")
			}
		})
	}
}

// A listed token host gets the credential; one that redirects does not get it
// carried on.
func TestTokenHosts(t *testing.T) {
	thief := newBad(t, true, nil)
	redirects := false
	var own *bad
	service := newBad(t, true, func(w http.ResponseWriter, r *http.Request) {
		if redirects {
			http.Redirect(w, r, thief.URL+"/token", http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprint(w, `{"access_token":"good"}`)
	})
	own = newBad(t, true, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer good" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+service.URL+`/token?account=x",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	c := own.config(t)
	c.CA = append(c.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: service.Certificate().Raw})...)
	c.TokenHosts = []string{strings.TrimPrefix(service.URL, "https://")}
	if err := newClient(t, c, registry.Options{}).Ping(t.Context()); err != nil {
		t.Errorf("with a listed token host: %v", err)
	}
	if !service.sawCredential() {
		t.Error("the token service was not shown the credential")
	}
	redirects = true
	wantError(t, newClient(t, c, registry.Options{}).Ping(t.Context()), tidewaiter.Invalid, registry.ReasonRealm)
	if thief.requests() > 0 {
		t.Error("the redirect of a token service was followed")
	}

	// A listed host does not get it over plain http.
	plain := newBad(t, false, nil)
	own = newBad(t, true, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+plain.URL+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	c = own.config(t)
	c.TokenHosts = []string{strings.TrimPrefix(plain.URL, "http://")}
	wantError(t, newClient(t, c, registry.Options{}).Ping(t.Context()), tidewaiter.Invalid, registry.ReasonRealm)
	if plain.requests() > 0 {
		t.Error("a token service was asked over plain http")
	}
}

// Many requests at once, none of which knows yet what the registry wants.
func TestFirstRequestsAtOnce(t *testing.T) {
	var gate sync.WaitGroup
	gate.Add(8)
	b := newBad(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			gate.Done()
			gate.Wait() // until all have come without a credential
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	client := newClient(t, b.config(t), registry.Options{Attempts: 1})
	errs := make(chan error)
	for range 8 {
		go func() { errs <- client.Ping(t.Context()) }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// Bad input 15.
func TestEndless401(t *testing.T) {
	for _, scheme := range []string{"Basic", "Bearer"} {
		var b *bad
		b = newBad(t, false, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				fmt.Fprint(w, `{"token":"t"}`)
				return
			}
			w.Header().Set("WWW-Authenticate", scheme+` realm="`+b.URL+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
		err := newClient(t, b.config(t), registry.Options{}).Ping(t.Context())
		wantError(t, err, tidewaiter.Unauthenticated, registry.ReasonCredential)
		if n := b.requests(); n > 3 {
			t.Errorf("%s: %d requests for one 401 after the other", scheme, n)
		}
	}
}

// Bad input 16.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		header string
		waits  []time.Duration // nil is refused
		until  time.Time
	}{
		{"", []time.Duration{time.Second, 2 * time.Second}, time.Time{}},
		{"5", []time.Duration{5 * time.Second, 5 * time.Second}, time.Time{}},
		{now.Add(9 * time.Second).Format(http.TimeFormat), []time.Duration{9 * time.Second, 9 * time.Second}, time.Time{}},
		{now.Add(-time.Hour).Format(http.TimeFormat), []time.Duration{0, 0}, time.Time{}},
		{"-5", []time.Duration{time.Second, 2 * time.Second}, time.Time{}},
		{"soon", []time.Duration{time.Second, 2 * time.Second}, time.Time{}},
		{"3600", nil, now.Add(time.Hour)},
		{"99999999999999999999999999", nil, now.Add(365 * 24 * time.Hour)},
		{"Mon, 01 Jan 9999 00:00:00 GMT", nil, now.Add(365 * 24 * time.Hour)},
	} {
		b := newBad(t, false, nil)
		b.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			b.mu.Lock()
			b.paths = append(b.paths, "")
			n := len(b.paths)
			b.mu.Unlock()
			if n <= 2 {
				w.Header().Set("Retry-After", test.header)
				w.WriteHeader(http.StatusTooManyRequests)
			}
		})
		var waits []time.Duration
		err := newClient(t, b.config(t), registry.Options{
			Now: func() time.Time { return now }, Random: func() float64 { return 0 },
			Sleep: func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil },
		}).Ping(t.Context())
		if fmt.Sprint(waits) != fmt.Sprint(test.waits) {
			t.Errorf("Retry-After %q: waited %v, want %v", test.header, waits, test.waits)
		}
		if test.waits != nil {
			if err != nil {
				t.Errorf("Retry-After %q: %v", test.header, err)
			}
			continue
		}
		wantError(t, err, tidewaiter.Throttled, registry.ReasonThrottled)
		if want := "rate limited until " + test.until.Format(time.RFC3339); !strings.Contains(err.Error(), want) {
			t.Errorf("Retry-After %q: %v, want %q", test.header, err, want)
		}
	}
}

// Bad input 17.
func TestRedirects(t *testing.T) {
	const bytes = "layer"
	d := tidewaiter.Descriptor{Digest: tidewaiter.DigestOf([]byte(bytes)), Size: int64(len(bytes))}
	basic := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
		return true
	}
	var own *bad
	store := newBad(t, true, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/back" {
			http.Redirect(w, r, own.URL+"/secret", http.StatusFound)
			return
		}
		fmt.Fprint(w, bytes)
	})
	plain := newBad(t, false, nil)
	target := ""
	own = newBad(t, true, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/secret":
			if r.Header.Get("Authorization") != "" {
				t.Error("the credential came back by way of another host")
			}
			fmt.Fprint(w, bytes)
		case basic(w, r):
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	})
	c := own.config(t)
	c.CA = append(c.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: store.Certificate().Raw})...)
	client := newClient(t, c, registry.Options{})
	for _, target = range []string{store.URL + "/blob?X-Signature=abc", store.URL + "/back"} {
		r, err := client.Blob(t.Context(), "team/app", d)
		if err != nil {
			t.Errorf("redirect to a blob store: %v", err)
			continue
		}
		if b, err := io.ReadAll(r); string(b) != bytes || err != nil {
			t.Errorf("redirect to a blob store: %q, %v", b, err)
		}
		r.Close()
	}
	if store.sawCredential() {
		t.Error("the blob store was shown the credential")
	}
	for _, refused := range []string{
		plain.URL + "/blob?X-Signature=abc", "https://u:p@example.com/X-Signature", "file:///etc/passwd", "", "https://", "http://%zz/",
	} {
		target = refused
		_, err := client.Blob(t.Context(), "team/app", d)
		wantError(t, err, tidewaiter.Invalid, registry.ReasonRedirect)
	}
	for _, refused := range []string{"https://169.254.169.254/?X-Signature=1", "https://[fd00:ec2::254]/", "https://100.100.100.200/", "https://0.0.0.0/", "https://[::]/",
		"https://[::ffff:169.254.169.254]/", "https://[64:ff9b::a9fe:a9fe]/", "https://metadata.google.internal/"} {
		target = refused
		_, err := client.Blob(t.Context(), "team/app", d)
		wantError(t, err, tidewaiter.Invalid, registry.ReasonAddress)
	}
	target = own.URL + "/again"
	_, err := client.Blob(t.Context(), "team/app", d)
	wantError(t, err, tidewaiter.Invalid, registry.ReasonRedirect)
	if plain.requests() > 0 {
		t.Error("a redirect from https to http was followed")
	}
}

// Bad input 18: a list that never ends, with the same link, with ever new ones
// and ever new names, and one with more names than we take.
func TestEndlessList(t *testing.T) {
	list := func(h http.HandlerFunc) error {
		b := newBad(t, false, h)
		for _, err := range oci.New(newClient(t, b.config(t), registry.Options{})).Tags(t.Context(), registry.Repository{Name: "team/app"}) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	wantError(t, list(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", `</v2/team/app/tags/list?n=1&last=x>; rel="next"`)
		fmt.Fprint(w, `{"tags":["x"]}`)
	}), tidewaiter.Invalid, registry.ReasonAnswer)
	turn := 0
	wantError(t, list(func(w http.ResponseWriter, _ *http.Request) { // two pages that lead to each other
		turn = 1 - turn
		w.Header().Set("Link", fmt.Sprintf(`</v2/team/app/tags/list?last=%d>; rel="next"`, turn))
		fmt.Fprintf(w, `{"tags":["t%d"]}`, turn)
	}), tidewaiter.Invalid, registry.ReasonAnswer)
	n := 0
	wantError(t, list(func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.Header().Set("Link", fmt.Sprintf(`<http://evil.example.com/other?last=%d>; rel=next`, n))
		fmt.Fprintf(w, `{"tags":["t%d"]}`, n)
	}), tidewaiter.TooLarge, registry.ReasonLimit)
	if n != registry.MaxPages+1 {
		t.Errorf("%d pages were read", n)
	}
	wantError(t, list(func(w http.ResponseWriter, _ *http.Request) {
		var tags []string
		for i := range registry.MaxTags + 1 {
			tags = append(tags, fmt.Sprintf("t%d", i))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"tags": tags})
	}), tidewaiter.TooLarge, registry.ReasonLimit)
	wantError(t, list(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, registry.MaxAnswer+1))
	}), tidewaiter.TooLarge, registry.ReasonLimit)
}

// Names that no registry may have are listed with a problem, and are cleaned.
func TestHostileNames(t *testing.T) {
	b := newBad(t, false, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"repositories":["good/name","../../etc","A/B","a//b","x\u0000y","\u001b[31m","`+strings.Repeat("a", 300)+`","a?b","a%2fb",""]}`)
	})
	good, problems := 0, 0
	for r, err := range oci.New(newClient(t, b.config(t), registry.Options{})).Repositories(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(r.Name, "\x00\x1b") {
			t.Errorf("name %q", r.Name)
		}
		if r.Problem == "" {
			good++
		} else {
			problems++
		}
	}
	if good != 1 || problems != 9 {
		t.Errorf("%d good names and %d problems, want 1 and 9", good, problems)
	}
}
