package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// TestServerRemovesWhatIsOld wants the jobs of a server to remove, soon after its
// start, a token and an enrolment that expired long ago, and no others.
func TestServerRemovesWhatIsOld(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c := &Config{Data: t.TempDir(), TokenLifetime: time.Hour}
	c.Keys = filepath.Join(c.Data, "keys")
	s, err := openState(t.Context(), c, slog.New(slog.DiscardHandler))
	must(err)
	defer s.Close()
	now := store.Now()
	must(s.db.CreateDomain(t.Context(), tidewaiter.Domain{ID: "d", Name: "d", Enabled: true, Created: now}))
	must(s.db.CreateUser(t.Context(), store.User{User: tidewaiter.User{ID: "u", DomainID: "d", Name: "u", Enabled: true, Created: now}}))
	must(s.db.CreateCluster(t.Context(), tidewaiter.Cluster{ID: "c", Name: "c", Created: now}))
	for name, expires := range map[string]time.Time{"old": now.AddDate(0, -2, 0), "new": now.Add(time.Hour)} {
		must(s.db.CreateToken(t.Context(), store.Token{Hash: []byte(name), UserID: "u", Issued: expires, Expires: expires}))
		must(s.db.CreateEnrolment(t.Context(), store.Enrolment{Hash: []byte(name), ClusterID: "c", Created: expires, Expires: expires}))
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.jobs.Run(ctx) }()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, token := s.db.Token(t.Context(), []byte("old"))
		_, enrolment := s.db.Enrolment(t.Context(), []byte("old"))
		if tidewaiter.KindOf(token) == tidewaiter.NotFound && tidewaiter.KindOf(enrolment) == tidewaiter.NotFound {
			break
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("after 30 s the old token and enrolment: %v, %v", token, enrolment)
		}
	}
	_, token := s.db.Token(t.Context(), []byte("new"))
	_, enrolment := s.db.Enrolment(t.Context(), []byte("new"))
	must(errors.Join(token, enrolment))
	cancel()
	must(<-ended)
}
