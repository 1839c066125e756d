package identity

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

func TestPasswordHashes(t *testing.T) {
	h := newHasher()
	hash, err := h.hash(t.Context(), "a password")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash is %s", hash)
	}
	if again, err := h.hash(t.Context(), "a password"); err != nil || again == hash {
		t.Errorf("the same hash twice, or: %v", err)
	}
	for password, want := range map[string]bool{"a password": true, "a passwore": false, "": false, "a password ": false} {
		if got, err := verifyHash(hash, password); got != want || err != nil {
			t.Errorf("%q: %v, %v", password, got, err)
		}
	}
	if ok, err := verifyHash(h.dummy, ""); ok || err != nil {
		t.Errorf("the dummy: %v, %v", ok, err)
	}
	// With other parameters, such as a later release may choose: from
	// argon2's own reference vectors (argon2 1.3 test.c, "password"/"somesalt").
	reference := "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if ok, err := verifyHash(reference, "password"); !ok || err != nil {
		t.Errorf("the reference: %v, %v", ok, err)
	}
	for _, damaged := range []string{"", "x", "$argon2i$v=19$m=1,t=1,p=1$YQ$YQ", "$argon2id$v=18$m=1,t=1,p=1$YQ$YQ", "$argon2id$v=19$m=x$YQ$YQ",
		"$argon2id$v=19$m=8,t=0,p=1$YQ$YQ", "$argon2id$v=19$m=8,t=1,p=0$YQ$YQ", "$argon2id$v=19$m=8,t=1,p=1$!$YQ", "$argon2id$v=19$m=8,t=1,p=1$YQ$"} {
		if ok, err := verifyHash(damaged, "a"); ok || err == nil {
			t.Errorf("%s: accepted", damaged)
		}
	}
}

func TestHashesWaitForTheirTurn(t *testing.T) {
	h := newHasher()
	var releases []func()
	for range cap(h.slots) {
		release, err := h.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.hash(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	h.waiting.Store(maxWaiting)
	if _, err := h.hash(t.Context(), "x"); tidewaiter.KindOf(err) != tidewaiter.Throttled {
		t.Errorf("got %v", err)
	}
	h.waiting.Store(0)
	releases[0]()
	if _, err := h.hash(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}

func TestRandomText(t *testing.T) {
	seen := map[byte]bool{}
	for range 200 {
		text := randomText(upperAndDigits, 20)
		if len(text) != 20 || strings.Trim(text, upperAndDigits) != "" {
			t.Fatalf("got %q", text)
		}
		for i := range len(text) {
			seen[text[i]] = true
		}
	}
	if len(seen) != len(upperAndDigits) {
		t.Errorf("only %d characters ever came", len(seen))
	}
}
