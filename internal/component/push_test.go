package component

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/tidewaiter/tidewaiter"
)

const (
	pushUser     = "robot$pusher"
	pushPassword = `p"a ss/wörd%`
)

// A target is a real registry behind a handler that a test chooses.
type target struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // the Authorization headers that arrived
}

func (s *target) host() string { return s.Listener.Addr().String() }

// newTarget starts a registry. The gate sees each request first; it returns
// false if it answered.
func newTarget(t *testing.T, secure bool, gate func(w http.ResponseWriter, r *http.Request) bool) *target {
	t.Helper()
	inner := registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, 0)))
	s := &target{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if a := r.Header.Get("Authorization"); a != "" {
			s.seen = append(s.seen, a)
		}
		s.mu.Unlock()
		if gate(w, r) {
			inner.ServeHTTP(w, r)
		}
	})
	if secure {
		s.Server = httptest.NewUnstartedServer(handler)
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		s.StartTLS()
	} else {
		s.Server = httptest.NewServer(handler)
	}
	t.Cleanup(s.Close)
	return s
}

func basicGate(w http.ResponseWriter, r *http.Request) bool {
	if user, password, _ := r.BasicAuth(); user == pushUser && password == pushPassword {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

func pushOptions(t *testing.T, url string) PushOptions {
	t.Helper()
	address, err := tidewaiter.ParseRegistryAddress(url)
	check(t, err)
	return PushOptions{Address: address, Namespace: "team/security", Username: pushUser, Password: pushPassword}
}

func TestPush(t *testing.T) {
	b, key := fakeBundle(t), fakeKey(t)
	server := newTarget(t, false, basicGate)
	result, err := Push(t.Context(), b, key, pushOptions(t, server.URL))
	check(t, err)
	if want := server.host() + "/team/security/scan-component@" + b.IndexDigest().String(); result.Reference != want || result.Digest != b.IndexDigest() {
		t.Errorf("pushed %+v, want %s", result, want)
	}

	repo, err := name.NewRepository(server.host() + "/team/security/scan-component")
	check(t, err)
	auth := remote.WithAuth(&authn.Basic{Username: pushUser, Password: pushPassword})
	want, err := newRepository(b, key)
	check(t, err)
	got := map[string]string{}
	for _, tag := range result.Tags {
		d, err := remote.Get(repo.Tag(tag), auth)
		check(t, err)
		got[tag] = d.Digest.String()
	}
	expected := map[string]string{}
	for tag, digest := range want.tags {
		expected[tag] = digest.String()
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	index, err := remote.Index(repo.Digest(b.IndexDigest().String()), auth)
	check(t, err)
	check(t, validate.Index(index))

	// Once more: nothing that is there already is in the way.
	if _, err := Push(t.Context(), b, key, pushOptions(t, server.URL)); err != nil {
		t.Errorf("second push: %v", err)
	}
}

// tokenService issues the token "granted" to who has the password.
func tokenService(w http.ResponseWriter, r *http.Request) {
	if !basicGate(w, r) {
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"token": "granted"})
}

func bearerGate(realm func() string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token":
			tokenService(w, r)
			return false
		case r.Header.Get("Authorization") == "Bearer granted":
			return true
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="registry"`, realm()))
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
}

func TestPushWithToken(t *testing.T) {
	var server *target
	server = newTarget(t, false, bearerGate(func() string { return server.URL + "/token" }))
	_, err := Push(t.Context(), fakeBundle(t), fakeKey(t), pushOptions(t, server.URL))
	check(t, err)
}

// A token service on another host gets the password if it was named, and
// otherwise is not even asked.
func TestPushTokenHost(t *testing.T) {
	tokens := newTarget(t, true, func(w http.ResponseWriter, r *http.Request) bool {
		tokenService(w, r)
		return false
	})
	server := newTarget(t, true, bearerGate(func() string { return "https://example.com/token" }))
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "example.com:443" {
			address = tokens.host()
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	opts := pushOptions(t, server.URL)
	opts.Transport = transport

	_, err := Push(t.Context(), fakeBundle(t), fakeKey(t), opts)
	if tidewaiter.KindOf(err) != tidewaiter.Forbidden || !strings.Contains(err.Error(), `"example.com"`) {
		t.Errorf("error %v, want one of kind Forbidden that names the host", err)
	}
	if len(tokens.seen) > 0 {
		t.Error("credentials went to a host that nobody named")
	}
	opts.TokenHosts = []string{"example.com:443"}
	if _, err := Push(t.Context(), fakeBundle(t), fakeKey(t), opts); err != nil {
		t.Errorf("with the token host named: %v", err)
	}
	if len(tokens.seen) == 0 {
		t.Error("the token host was not asked")
	}
}

func TestPushRefused(t *testing.T) {
	echo := func(status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return basicGate(w, r)
			}
			_, password, _ := r.BasicAuth()
			quoted, _ := json.Marshal(password)
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%s,"detail":%q}]}`, quoted, r.Header.Get("Authorization"))
			return false
		}
	}
	for _, tt := range []struct {
		name   string
		gate   func(http.ResponseWriter, *http.Request) bool
		change func(*PushOptions)
		kind   tidewaiter.Kind
		want   string
	}{
		{"wrong password", basicGate, func(o *PushOptions) { o.Password += "x" }, tidewaiter.Unauthenticated, "user name or the password"},
		{"no credentials", basicGate, func(o *PushOptions) { o.Username, o.Password = "", "" }, tidewaiter.Unauthenticated, "user name or the password"},
		{"forbidden", echo(403), nil, tidewaiter.Forbidden, "push to this namespace"},
		{"no plain http", basicGate, func(o *PushOptions) { o.Address.Scheme = "" }, tidewaiter.Unavailable, "registry"},
		{"gone", echo(410), nil, tidewaiter.Unavailable, "refused the push"},
		{"no address", basicGate, func(o *PushOptions) { o.Address = tidewaiter.RegistryAddress{} }, tidewaiter.Invalid, "registry:"},
		{"no namespace", basicGate, func(o *PushOptions) { o.Namespace = "" }, tidewaiter.Invalid, "namespace:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := newTarget(t, false, tt.gate)
			opts := pushOptions(t, server.URL)
			if tt.change != nil {
				tt.change(&opts)
			}
			_, err := Push(t.Context(), fakeBundle(t), fakeKey(t), opts)
			if err == nil || tidewaiter.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v of kind %v, want kind %v and %q", err, tidewaiter.KindOf(err), tt.kind, tt.want)
			}
			if opts.Password != "" && err != nil {
				for _, secret := range []string{opts.Password, "cm9ib3QkcHVzaGVy", `ss/w`} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("the error shows %q: %v", secret, err)
					}
				}
			}
			if tt.name == "no plain http" && len(server.seen) > 0 {
				t.Error("the password went over plain http")
			}
		})
	}
}

func TestPushCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := newTarget(t, false, func(w http.ResponseWriter, r *http.Request) bool {
		cancel()
		return basicGate(w, r)
	})
	if _, err := Push(ctx, fakeBundle(t), fakeKey(t), pushOptions(t, server.URL)); !strings.Contains(fmt.Sprint(err), "context canceled") {
		t.Errorf("error %v, want context canceled", err)
	}
}

// The layers that arrive are byte for byte those of the bundle.
func TestPushBytes(t *testing.T) {
	b := fakeBundle(t)
	server := newTarget(t, false, func(http.ResponseWriter, *http.Request) bool { return true })
	opts := pushOptions(t, server.URL)
	opts.Username, opts.Password = "", ""
	_, err := Push(t.Context(), b, fakeKey(t), opts)
	check(t, err)
	for digest, blob := range b.blobs {
		want, err := blob.bytes()
		check(t, err)
		_, got := fetch(t, "GET", server.URL+"/v2/team/security/scan-component/blobs/"+digest.String())
		if !bytes.Equal(want, got) {
			t.Errorf("blob %s arrived with %d bytes, want %d", digest, len(got), len(want))
		}
	}
	if slices.Contains(server.seen, "Basic Og==") {
		t.Error("empty credentials were sent")
	}
}
