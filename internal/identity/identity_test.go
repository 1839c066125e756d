package identity_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/identity/aksk"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 23, 11, 20, 24, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// house is a service with its first account.
type house struct {
	*testing.T
	*identity.Service
	db    *store.DB
	clock *clock
	boot  identity.Bootstrap
	root  *tidewaiter.Caller
}

func eachHouse(t *testing.T, f func(h *house)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { f(newHouse(t, db)) })
}

func newHouse(t *testing.T, db *store.DB) *house {
	t.Helper()
	h := &house{T: t, db: db, clock: newClock()}
	key, err := identity.LoadOrCreateKey(filepath.Join(t.TempDir(), "keys", "secret.key"))
	h.must(err)
	h.Service = h.service(key)
	var created bool
	h.boot, created, err = h.Bootstrap(t.Context(), identity.BootstrapOptions{})
	h.must(err)
	if !created {
		t.Fatal("bootstrap did nothing")
	}
	h.root, err = h.Operator(t.Context(), "")
	h.must(err)
	return h
}

// service returns one more service on the database, as another process has it.
func (h *house) service(key *identity.Key) *identity.Service {
	h.Helper()
	s, err := identity.New(h.Context(), identity.Options{Store: h.db, Key: key, Now: h.clock.now})
	h.must(err)
	return s
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// want checks kind and message of an error.
func (h *house) want(err error, kind tidewaiter.Kind, message string) {
	h.Helper()
	e, ok := errors.AsType[*tidewaiter.Error](err)
	if !ok || e.Kind != kind || !strings.Contains(e.Error(), message) {
		h.Errorf("got error %v, want one of kind %v with %q", err, kind, message)
	}
}

// request is the sign-in of the root user.
func (h *house) request() identity.TokenRequest {
	return identity.TokenRequest{UserName: h.boot.User.Name, DomainName: h.boot.Domain.Name, Password: h.boot.Password}
}

func (h *house) issue(r identity.TokenRequest) string {
	h.Helper()
	token, _, err := h.IssueToken(h.Context(), r)
	h.must(err)
	return token
}

// user makes a user with a password.
func (h *house) user(name string) (tidewaiter.User, identity.TokenRequest) {
	h.Helper()
	u, password, err := h.CreateUser(h.Context(), h.root, identity.NewUser{Name: name})
	h.must(err)
	return u, identity.TokenRequest{UserID: u.ID, Password: password}
}

// dead checks that a token is good for nothing.
func (h *house) dead(token, message string) {
	h.Helper()
	_, err := h.AuthenticateToken(h.Context(), token)
	h.want(err, tidewaiter.Unauthenticated, message)
}

func (h *house) alive(token string) *tidewaiter.Caller {
	h.Helper()
	c, err := h.AuthenticateToken(h.Context(), token)
	h.must(err)
	return c
}

// sign returns a signed request.
func (h *house) sign(ak, sk string) *http.Request {
	h.Helper()
	r := httptest.NewRequest("GET", "http://h/v3/projects?name=a%20b", nil)
	h.must(aksk.Sign(r, ak, []byte(sk), nil, h.clock.now()))
	return r
}

func (h *house) signature(r *http.Request) (*tidewaiter.Caller, error) {
	return h.AuthenticateSignature(h.Context(), r, aksk.EmptySHA256)
}

func TestBootstrap(t *testing.T) {
	eachHouse(t, func(h *house) {
		b := h.boot
		if len(b.Password) < 20 || len(b.AccessKey) != 20 || strings.ToUpper(b.AccessKey) != b.AccessKey || len(b.SecretKey) != 40 {
			h.Errorf("secrets are not as promised: %d, %s, %d", len(b.Password), b.AccessKey, len(b.SecretKey))
		}
		if b.Domain.Name != "tidewaiter" || b.User.Name != "admin" || !b.User.Root || b.Project.Name != "default" {
			h.Errorf("got %+v", b)
		}
		if _, created, err := h.Bootstrap(h.Context(), identity.BootstrapOptions{}); created || err != nil {
			h.Errorf("a second bootstrap: %v, %v", created, err)
		}
		c := h.alive(h.issue(h.request()))
		if c.UserID != b.User.ID || c.DomainID != b.Domain.ID || c.DomainName != "tidewaiter" || !c.Root || c.Scope != tidewaiter.DomainScope {
			h.Errorf("caller is %+v", c)
		}
		c, err := h.signature(h.sign(b.AccessKey, b.SecretKey))
		h.must(err)
		h.must(c.Authorize("hss:images:get", b.Project.ID, "", false))
	})
}

func TestBootstrapOfManyReplicas(t *testing.T) {
	storetest.EachURL(t, func(t *testing.T, url string) {
		key, err := identity.LoadOrCreateKey(filepath.Join(t.TempDir(), "key"))
		if err != nil {
			t.Fatal(err)
		}
		storetest.Open(t, url)
		var mu sync.Mutex
		var delivered, created int
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				db, err := store.Open(context.Background(), store.Options{URL: url})
				if err != nil {
					t.Error(err)
					return
				}
				defer db.Close()
				s, err := identity.New(context.Background(), identity.Options{Store: db, Key: key})
				if err != nil {
					t.Error(err)
					return
				}
				_, did, err := s.Bootstrap(context.Background(), identity.BootstrapOptions{Deliver: func(identity.Bootstrap) error {
					mu.Lock()
					defer mu.Unlock()
					delivered++
					return nil
				}})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if did {
					created++
				}
			})
		}
		wg.Wait()
		if delivered != 1 || created != 1 {
			t.Errorf("%d delivered, %d created", delivered, created)
		}
	})
}

func TestBootstrapThatCannotBeDelivered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		key, err := identity.LoadOrCreateKey(filepath.Join(t.TempDir(), "key"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := identity.New(t.Context(), identity.Options{Store: db, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		full := errors.New("disk full")
		_, created, err := s.Bootstrap(t.Context(), identity.BootstrapOptions{Deliver: func(identity.Bootstrap) error { return full }})
		if created || !errors.Is(err, full) {
			t.Errorf("got %v, %v", created, err)
		}
		if d, err := db.Domains(t.Context()); err != nil || len(d) != 0 {
			t.Errorf("something was left: %v, %v", d, err)
		}
		if _, created, err = s.Bootstrap(t.Context(), identity.BootstrapOptions{Domain: "acme"}); !created || err != nil {
			t.Errorf("the next start: %v, %v", created, err)
		}
	})
}

func TestAnotherKeyIsRefused(t *testing.T) {
	h := newHouse(t, storetest.Open(t, storetest.SQLite(t)))
	key, err := identity.LoadOrCreateKey(filepath.Join(t.TempDir(), "another"))
	h.must(err)
	_, err = identity.New(t.Context(), identity.Options{Store: h.db, Key: key})
	h.want(err, tidewaiter.Conflict, "sealed with another key")
}

func TestScopes(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx := h.Context()
		other, err := h.CreateAccount(ctx, identity.BootstrapOptions{Domain: "other"})
		h.must(err)
		second, err := h.CreateProject(ctx, h.root, "second", "")
		h.must(err)
		off, err := h.CreateProject(ctx, h.root, "off", "")
		h.must(err)
		no := false
		_, err = h.UpdateProject(ctx, h.root, off.ID, identity.ProjectChange{Enabled: &no})
		h.must(err)

		reader, readerRequest := h.user("reader")
		_, err = h.Grant(ctx, h.root, tidewaiter.Grant{UserID: "reader", PolicyID: "HSS ReadOnlyAccess", ProjectID: "second"})
		h.must(err)
		identityPolicy := tidewaiter.IdentityPolicyAuthorization
		_, newStyleRequest := h.user("newstyle")
		_, err = h.UpdateUser(ctx, h.root, "newstyle", identity.UserChange{Authorization: &identityPolicy})
		h.must(err)

		const forbidden = tidewaiter.Forbidden
		for _, c := range []struct {
			name    string
			request identity.TokenRequest
			scope   identity.TokenScope
			project string // of the token; "" for the domain
			kind    tidewaiter.Kind
			message string
		}{
			{"root, nothing", h.request(), identity.TokenScope{}, "", 0, ""},
			{"root, project id", h.request(), identity.TokenScope{ProjectID: second.ID}, second.ID, 0, ""},
			{"root, project name", h.request(), identity.TokenScope{ProjectName: "second"}, second.ID, 0, ""},
			{"root, project and domain", h.request(), identity.TokenScope{ProjectName: "second", DomainName: "tidewaiter"}, second.ID, 0, ""},
			{"root, domain id", h.request(), identity.TokenScope{DomainID: h.boot.Domain.ID}, "", 0, ""},
			{"root, domain name", h.request(), identity.TokenScope{DomainName: "tidewaiter"}, "", 0, ""},
			{"root, another domain", h.request(), identity.TokenScope{DomainName: "other"}, "", forbidden, "auth.scope.domain"},
			{"root, another domain's id", h.request(), identity.TokenScope{DomainID: other.Domain.ID}, "", forbidden, "auth.scope.domain"},
			{"root, project of another domain", h.request(), identity.TokenScope{ProjectID: other.Project.ID}, "", forbidden, "auth.scope.project"},
			{"root, no such project", h.request(), identity.TokenScope{ProjectName: "x"}, "", forbidden, "auth.scope.project"},
			{"root, disabled project", h.request(), identity.TokenScope{ProjectID: off.ID}, "", forbidden, "disabled"},
			{"root, hostile project", h.request(), identity.TokenScope{ProjectName: "x\x00\xff'"}, "", forbidden, "auth.scope.project"},
			{"reader, granted", readerRequest, identity.TokenScope{ProjectID: second.ID}, second.ID, 0, ""},
			{"reader, not granted", readerRequest, identity.TokenScope{ProjectName: "default"}, "", forbidden, "auth.scope.project"},
			{"reader, domain", readerRequest, identity.TokenScope{}, "", 0, ""},
			{"identity policy, any project", newStyleRequest, identity.TokenScope{ProjectName: "default"}, h.boot.Project.ID, 0, ""},
			{"identity policy, another domain", newStyleRequest, identity.TokenScope{ProjectID: other.Project.ID}, "", forbidden, "auth.scope.project"},
		} {
			c.request.Scope = c.scope
			token, info, err := h.IssueToken(ctx, c.request)
			if c.message != "" {
				h.want(err, c.kind, c.message)
				continue
			}
			if err != nil {
				h.Errorf("%s: %v", c.name, err)
				continue
			}
			caller := h.alive(token)
			if caller.ProjectID != c.project || (info.Project != nil) != (c.project != "") || info.Project != nil && info.Project.ID != c.project {
				h.Errorf("%s: caller %+v, token %+v", c.name, caller, info)
			}
			if !info.Expires.Equal(info.Issued.Add(24*time.Hour)) || info.User.ID != caller.UserID || info.Domain.ID != caller.DomainID {
				h.Errorf("%s: token %+v", c.name, info)
			}
		}

		// What a token of project A may do in B, and AK/SK in another account.
		c := h.alive(h.issue(identity.TokenRequest{UserID: reader.ID, Password: readerRequest.Password, Scope: identity.TokenScope{ProjectID: second.ID}}))
		h.must(c.Authorize("hss:images:get", second.ID, "", false))
		h.want(c.Authorize("hss:images:get", h.boot.Project.ID, "", false), forbidden, "another project")
		h.want(c.Authorize("hss:images:set", second.ID, "", false), forbidden, "no policy")
		key, err := h.signature(h.sign(other.AccessKey, other.SecretKey))
		h.must(err)
		h.must(key.Authorize("hss:images:get", other.Project.ID, "", false))
		h.want(key.Authorize("hss:images:get", second.ID, "", false), forbidden, "does not exist in the caller's account")
	})
}

func TestSignInErrors(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx := h.Context()
		wrong := "the user name or the password is wrong"
		for name, change := range map[string]func(r *identity.TokenRequest){
			"password":         func(r *identity.TokenRequest) { r.Password = "x" },
			"empty password":   func(r *identity.TokenRequest) { r.Password = "" },
			"endless password": func(r *identity.TokenRequest) { r.Password = strings.Repeat("x", 1<<20) },
			"user":             func(r *identity.TokenRequest) { r.UserName = "nobody" },
			"domain":           func(r *identity.TokenRequest) { r.DomainName = "nowhere" },
			"id":               func(r *identity.TokenRequest) { r.UserID = "x" },
			"bytes":            func(r *identity.TokenRequest) { r.UserName = "\x00\xff'\";--" },
			"endless name":     func(r *identity.TokenRequest) { r.UserName = strings.Repeat("x", 1<<20) },
			"nothing":          func(r *identity.TokenRequest) { *r = identity.TokenRequest{} },
		} {
			r := h.request()
			change(&r)
			_, _, err := h.IssueToken(ctx, r)
			if e, ok := errors.AsType[*tidewaiter.Error](err); !ok || e.Kind != tidewaiter.Unauthenticated || e.Message != wrong {
				h.Errorf("wrong %s: got %v", name, err)
			}
		}
		u, r := h.user("u")
		no := false
		_, err := h.UpdateUser(ctx, h.root, u.ID, identity.UserChange{Enabled: &no})
		h.must(err)
		_, _, err = h.IssueToken(ctx, r)
		h.want(err, tidewaiter.Unauthenticated, "disabled")
		r.Password = "wrong"
		_, _, err = h.IssueToken(ctx, r)
		h.want(err, tidewaiter.Unauthenticated, wrong) // that it is disabled is not for everybody
	})
}
