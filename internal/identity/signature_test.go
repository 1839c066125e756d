package identity_test

import (
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

const (
	mismatch = "verify aksk signature fail"
	lockedAK = "AK access failed to reach the limit,forbidden"
)

func TestSignatureErrors(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx, no, yes := h.Context(), false, true
		_, err := h.signature(h.sign("ABSENT", "x"))
		h.want(err, tidewaiter.Unauthenticated, "Get secretKey failed,ak:ABSENT,err:ak not exist")
		_, err = h.signature(h.sign("a'b", "x"))
		h.want(err, tidewaiter.Unauthenticated, mismatch+", the access key in Authorization is not well formed")
		r := h.sign(h.boot.AccessKey, h.boot.SecretKey)
		r.URL.Path = "/v3/users"
		_, err = h.signature(r)
		h.want(err, tidewaiter.Unauthenticated, mismatch)

		u, _ := h.user("u")
		key, secret, err := h.CreateAccessKey(ctx, h.root, u.ID)
		h.must(err)
		good := func() { h.Helper(); _, err := h.signature(h.sign(key.ID, secret)); h.must(err) }
		bad := func(message string) {
			h.Helper()
			_, err := h.signature(h.sign(key.ID, secret))
			h.want(err, tidewaiter.Unauthenticated, message)
		}
		good()
		h.must(h.EnableAccessKey(ctx, h.root, key.ID, false))
		bad("disabled")
		_, err = h.signature(h.sign(key.ID, "wrong")) // is not told that it is disabled
		h.want(err, tidewaiter.Unauthenticated, mismatch+": ")
		h.must(h.EnableAccessKey(ctx, h.root, key.ID, true))
		good()
		_, err = h.UpdateUser(ctx, h.root, u.ID, identity.UserChange{Enabled: &no})
		h.must(err)
		bad("disabled")
		_, err = h.UpdateUser(ctx, h.root, u.ID, identity.UserChange{Enabled: &yes})
		h.must(err)
		good()
		h.must(h.DeleteAccessKey(ctx, h.root, key.ID))
		bad("ak not exist")
	})
}

func TestAccessKeyLockOut(t *testing.T) {
	eachHouse(t, func(h *house) {
		ak, sk := h.boot.AccessKey, h.boot.SecretKey
		good := func(message string) {
			h.Helper()
			if _, err := h.signature(h.sign(ak, sk)); message == "" {
				h.must(err)
			} else {
				h.want(err, tidewaiter.Unauthenticated, message)
			}
		}
		wrong := func(n int, message string) {
			h.Helper()
			for range n {
				_, err := h.signature(h.sign(ak, "wrong"))
				h.want(err, tidewaiter.Unauthenticated, message)
			}
		}
		wrong(4, mismatch)
		good("") // a success ends the row
		wrong(4, mismatch)
		old := h.sign(ak, sk) // a wrong clock is no failure
		h.clock.add(15*time.Minute + time.Second)
		for range 9 {
			_, err := h.signature(old)
			h.want(err, tidewaiter.Unauthenticated, "calc ak sk signature fail:signature expired")
		}
		good("")
		wrong(5, mismatch)
		good(lockedAK)
		wrong(3, lockedAK)
		h.clock.add(5*time.Minute - time.Second)
		good(lockedAK) // those while locked do not prolong it
		h.clock.add(time.Second)
		wrong(4, mismatch)
		good("")

		for range 50 { // keys that do not exist lock nobody
			_, err := h.signature(h.sign("ABSENT", "wrong"))
			h.want(err, tidewaiter.Unauthenticated, "ak not exist")
		}
		good("")
	})
}

func TestPasswordLockOut(t *testing.T) {
	h := newHouseOnSQLite(t)
	try := func(user, password string) string {
		r := h.request()
		r.UserName, r.Password = user, password
		_, _, err := h.IssueToken(h.Context(), r)
		if err == nil {
			return ""
		}
		return err.Error()
	}
	const wrong = "the user name or the password is wrong"
	const locked = "the user is locked after too many wrong passwords in a row; try again in a few minutes"
	// Who exists and who does not get the same answers all the way.
	for _, user := range []string{"admin", "nobody"} {
		for i := range 5 {
			if got := try(user, "x"); got != wrong {
				t.Fatalf("%s, failure %d: %s", user, i+1, got)
			}
		}
		if got := try(user, "x"); got != locked {
			t.Errorf("%s: %s", user, got)
		}
	}
	if got := try("admin", h.boot.Password); got != locked {
		t.Errorf("with the right password: %s", got)
	}
	h.user("another")
	if got := try("another", "x"); got != wrong {
		t.Errorf("another user: %s", got)
	}
	// Naming the domain in another way is no way around, and tells nothing.
	for _, user := range []string{"admin", "nobody"} {
		_, _, err := h.IssueToken(t.Context(), identity.TokenRequest{DomainID: h.boot.Domain.ID, UserName: user, Password: "x"})
		h.want(err, tidewaiter.Unauthenticated, locked)
	}
	h.clock.add(5 * time.Minute)
	if got := try("admin", h.boot.Password); got != "" {
		t.Errorf("after five minutes: %s", got)
	}
	if got := try("nobody", "x"); got != wrong {
		t.Errorf("after five minutes: %s", got)
	}
	for range 5 {
		try("admin", "x")
	}
	password := "a new password"
	_, err := h.UpdateUser(t.Context(), h.root, "admin", identity.UserChange{Password: &password})
	h.must(err)
	if got := try("admin", password); got != "" {
		t.Errorf("a new password does not unlock: %s", got)
	}
}
