package identity_test

import (
	"crypto/sha256"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/identity/aksk"
)

func TestTokenErrors(t *testing.T) {
	eachHouse(t, func(h *house) {
		token := h.issue(h.request())
		if !strings.HasPrefix(token, "tw1_") {
			h.Errorf("token is %s", token)
		}
		for _, bad := range []string{"", "x", token[:len(token)-1], token + "x", "tw1_" + strings.Repeat("A", 43), strings.Repeat("\x00", 47), strings.ToUpper(token)} {
			h.dead(bad, "decrypt token fail")
		}
		h.clock.add(24*time.Hour - time.Microsecond)
		h.alive(token)
		h.clock.add(time.Microsecond)
		h.dead(token, "token expires, expires_at: 2026-11-24T11:20:24.000000Z")
		h.clock.add(cacheTime)
		h.dead(token, "token expires, expires_at: 2026-11-24T11:20:24.000000Z")

		if n, err := h.PurgeTokens(h.Context()); n != 0 || err != nil {
			h.Errorf("purged %d, %v", n, err)
		}
		h.clock.add(25 * time.Hour)
		if n, err := h.PurgeTokens(h.Context()); n != 1 || err != nil {
			h.Errorf("purged %d, %v", n, err)
		}
		h.clock.add(cacheTime)
		h.dead(token, "decrypt token fail")
	})
}

// cacheTime is after how long a cache knows what other processes did.
const cacheTime = time.Second

func TestRevocation(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx, yes, no := h.Context(), true, false
		const gone = "decrypt token fail"
		setUser := func(u tidewaiter.User, c identity.UserChange) {
			h.Helper()
			_, err := h.UpdateUser(ctx, h.root, u.ID, c)
			h.must(err)
		}
		setProject := func(enabled *bool) {
			h.Helper()
			_, err := h.UpdateProject(ctx, h.root, "default", identity.ProjectChange{Enabled: enabled})
			h.must(err)
		}
		u, r := h.user("u")
		bystander := h.issue(h.request())

		token := h.issue(r)
		h.alive(token)
		setUser(u, identity.UserChange{Enabled: &no})
		h.dead(token, gone)
		setUser(u, identity.UserChange{Enabled: &yes})
		h.dead(token, gone) // enabling does not bring it back

		token = h.issue(r)
		r.Password = "another password"
		setUser(u, identity.UserChange{Password: &r.Password})
		h.dead(token, gone)

		token = h.issue(r)
		name := "renamed"
		setUser(u, identity.UserChange{Name: &name, Root: &yes})
		if c := h.alive(token); c.UserName != "renamed" || !c.Root {
			h.Errorf("caller is %+v", c)
		}

		inProject := r
		inProject.Scope.ProjectName = "default"
		scoped := h.issue(inProject)
		h.alive(scoped)
		setProject(&no)
		h.dead(scoped, gone)
		h.alive(token)
		setProject(&yes)
		h.dead(scoped, gone)
		scoped = h.issue(inProject)
		h.must(h.DeleteProject(ctx, h.root, "default"))
		h.dead(scoped, gone)

		h.must(h.RevokeToken(ctx, h.alive(token), token))
		h.dead(token, gone)

		token = h.issue(r)
		h.must(h.DeleteUser(ctx, h.root, u.ID))
		h.dead(token, gone)
		h.alive(bystander)
	})
}

// TestASignInDuringARevocation: a token that is written just after its user's
// password was changed, by a sign-in with the old one, is dead on arrival.
func TestASignInDuringARevocation(t *testing.T) {
	eachHouse(t, func(h *house) {
		u, r := h.user("u")
		token := h.issue(r)
		hash := sha256.Sum256([]byte(token))
		stored, err := h.db.Token(h.Context(), hash[:])
		h.must(err)
		password := "another password"
		_, err = h.UpdateUser(h.Context(), h.root, u.ID, identity.UserChange{Password: &password})
		h.must(err)
		h.must(h.db.CreateToken(h.Context(), stored))
		h.dead(token, "decrypt token fail")
	})
}

// TestADisabledDomain: nothing in it is good for anything.
func TestADisabledDomain(t *testing.T) {
	eachHouse(t, func(h *house) {
		token := h.issue(h.request())
		domain := h.boot.Domain
		domain.Enabled = false
		h.must(h.db.UpdateDomain(h.Context(), domain))
		h.clock.add(cacheTime)
		h.dead(token, "decrypt token fail")
		_, err := h.signature(h.sign(h.boot.AccessKey, h.boot.SecretKey))
		h.want(err, tidewaiter.Unauthenticated, "disabled")
		_, _, err = h.IssueToken(h.Context(), h.request())
		h.want(err, tidewaiter.Unauthenticated, "disabled")
	})
}

// TestRevocationUnderLoad: while others use the same token and key without
// pause, a change is in force as soon as its method returns.
func TestRevocationUnderLoad(t *testing.T) {
	h := newHouseOnSQLite(t)
	ctx := t.Context()
	u, r := h.user("u")
	key, secret, err := h.CreateAccessKey(ctx, h.root, u.ID)
	h.must(err)
	signed := h.sign(key.ID, secret)
	var token atomic.Value
	token.Store(h.issue(r))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				_, _ = h.AuthenticateToken(ctx, token.Load().(string))
				_, _ = h.AuthenticateSignature(ctx, signed, aksk.EmptySHA256)
			}
		})
	}
	for range 10 {
		for _, enabled := range []bool{false, true} {
			_, err := h.UpdateUser(ctx, h.root, u.ID, identity.UserChange{Enabled: &enabled})
			h.must(err)
			h.dead(token.Load().(string), "decrypt token fail")
			if _, err := h.AuthenticateSignature(ctx, signed, aksk.EmptySHA256); (err == nil) != enabled {
				t.Errorf("enabled %v: got %v", enabled, err)
			}
		}
		token.Store(h.issue(r))
		h.alive(token.Load().(string))
	}
	stop.Store(true)
	wg.Wait()
}

func TestGrantsCountAtTheTimeOfUse(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx := h.Context()
		u, r := h.user("u")
		grant := tidewaiter.Grant{UserID: u.ID, PolicyID: "HSS FullAccess", ProjectID: "default"}
		given, err := h.Grant(ctx, h.root, grant)
		h.must(err)
		if given.ProjectID != h.boot.Project.ID || given.PolicyID == "HSS FullAccess" {
			h.Errorf("grant is %+v", given)
		}
		r.Scope.ProjectName = "default"
		token := h.issue(r)
		may := func() error { return h.alive(token).Authorize("hss:images:set", h.boot.Project.ID, "", false) }
		h.must(may())

		denied, err := h.CreatePolicy(ctx, h.root, tidewaiter.Policy{Name: "no images", Document: tidewaiter.PolicyDocument{Version: "1.1",
			Statement: []tidewaiter.PolicyStatement{{Effect: tidewaiter.Deny, Action: []string{"hss:images:*"}}}}})
		h.must(err)
		_, err = h.Grant(ctx, h.root, tidewaiter.Grant{UserID: u.ID, PolicyID: denied.ID})
		h.must(err)
		h.want(may(), tidewaiter.Forbidden, "denies")
		denied.Document.Statement[0].Action = []string{"hss:images:get"}
		_, err = h.UpdatePolicy(ctx, h.root, denied.ID, identity.PolicyChange{Document: &denied.Document})
		h.must(err)
		h.must(may())
		h.must(h.DeletePolicy(ctx, h.root, "no images"))
		h.must(may())
		h.must(h.Revoke(ctx, h.root, grant))
		h.want(may(), tidewaiter.Forbidden, "no policy")
	})
}

func TestChangesOfOthersAreSeenWithinASecond(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx := h.Context()
		u, r := h.user("u")
		token := h.issue(r)
		h.alive(token)
		project, err := h.db.Project(ctx, h.boot.Project.ID)
		h.must(err)
		key, err := h.signature(h.sign(h.boot.AccessKey, h.boot.SecretKey))
		h.must(err)
		h.must(key.Authorize("hss:images:get", project.ID, "", false))

		h.must(h.db.DeleteUser(ctx, u.ID)) // as another process would
		project.Enabled = false
		h.must(h.db.UpdateProject(ctx, project))
		h.clock.add(cacheTime)
		h.dead(token, "decrypt token fail")
		key, err = h.signature(h.sign(h.boot.AccessKey, h.boot.SecretKey))
		h.must(err)
		h.want(key.Authorize("hss:images:get", project.ID, "", false), tidewaiter.Forbidden, "disabled")
	})
}

func TestLookupToken(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx := h.Context()
		_, r := h.user("u")
		mine := h.issue(r)
		roots := h.issue(h.request())
		u, root := h.alive(mine), h.alive(roots)
		other, err := h.CreateAccount(ctx, identity.BootstrapOptions{Domain: "other"})
		h.must(err)
		stranger, err := h.signature(h.sign(other.AccessKey, other.SecretKey))
		h.must(err)

		for _, ok := range []struct {
			c     *tidewaiter.Caller
			token string
		}{{u, mine}, {root, roots}, {root, mine}} {
			info, err := h.LookupToken(ctx, ok.c, ok.token)
			h.must(err)
			if info.User.DomainID != h.boot.Domain.ID {
				h.Errorf("got %+v", info)
			}
		}
		_, err = h.LookupToken(ctx, u, roots)
		h.want(err, tidewaiter.NotFound, "")
		_, err = h.LookupToken(ctx, stranger, mine)
		h.want(err, tidewaiter.NotFound, "")
		_, err = h.LookupToken(ctx, root, "x")
		h.want(err, tidewaiter.NotFound, "")
		h.want(h.RevokeToken(ctx, u, roots), tidewaiter.NotFound, "")
		h.want(h.RevokeToken(ctx, stranger, mine), tidewaiter.NotFound, "")
		h.must(h.RevokeToken(ctx, root, mine))
		h.dead(mine, "decrypt token fail")
		h.alive(roots)
	})
}
