package fleet_test

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

func TestEnsureLocal(t *testing.T) {
	each(t, func(w *world) {
		for range 2 {
			w.ok(w.replica(time.Hour).EnsureLocal(w.Context()))
		}
		s, err := w.fleet.Cluster(w.Context(), tidewaiter.LocalClusterID)
		w.ok(err)
		if s.Name != "local" || s.Kind != tidewaiter.LocalCluster || !s.In("any project") {
			w.Errorf("got %+v", s)
		}
		if s.Status != fleet.StatusNone || !strings.Contains(s.Advice, "log") {
			w.Errorf("status %s, advice %q", s.Status, s.Advice)
		}
		w.refused(w.fleet.DeleteCluster(w.Context(), tidewaiter.LocalClusterID), tidewaiter.Conflict, "")
	})
}

func TestClusters(t *testing.T) {
	each(t, func(w *world) {
		w.clock.Pass(time.Second)
		mine, err := w.fleet.CreateCluster(w.Context(), "p1", "mine")
		w.ok(err)
		_, err = w.fleet.CreateCluster(w.Context(), "p2", "mine")
		w.ok(err)
		_, err = w.fleet.CreateCluster(w.Context(), "p1", "mine")
		w.refused(err, tidewaiter.Conflict, "")
		for _, name := range []string{"", "a b", "$(x)", "-f", "local", strings.Repeat("a", 65), "a\n", "ü"} {
			_, err := w.fleet.CreateCluster(w.Context(), "p1", name)
			w.refused(err, tidewaiter.Invalid, "")
		}
		states, err := w.fleet.Clusters(w.Context(), "p1")
		w.ok(err)
		var names []string
		for _, s := range states {
			names = append(names, s.ProjectID+"/"+s.Name)
		}
		if diff := cmp.Diff([]string{"/harbour", "p1/mine"}, names); diff != "" {
			w.Errorf("clusters of p1 (-want +got):\n%s", diff)
		}
		s, err := w.fleet.Cluster(w.Context(), mine.ID)
		w.ok(err)
		if !s.In("p1") || s.In("p2") {
			w.Error("a project's cluster is not its own")
		}
		w.ok(w.fleet.DeleteCluster(w.Context(), mine.ID))
		_, err = w.fleet.Cluster(w.Context(), mine.ID)
		w.refused(err, tidewaiter.NotFound, "")

		w.registry("r", nil)
		w.refused(w.fleet.DeleteCluster(w.Context(), w.cluster.ID), tidewaiter.Conflict, "")
	})
}

func TestEnrol(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		c := w.newcomer("one")
		c.enrolment.Token = w.token()

		tooOld := c.enrolment
		tooOld.Versions = protocol.Versions{Newest: protocol.Newest + 1, Oldest: protocol.Newest + 1}
		_, err := w.fleet.Enrol(ctx, tooOld)
		w.refused(err, tidewaiter.Invalid, protocol.ErrVersion)

		first, err := w.fleet.Enrol(ctx, c.enrolment)
		w.ok(err) // and the token is not spent on the version that did not fit
		want := protocol.EnrolResponse{ComponentID: first.ComponentID, ClusterID: w.cluster.ID, ClusterName: "harbour"}
		if diff := cmp.Diff(want, first); diff != "" || first.ComponentID == "" {
			w.Errorf("enrolled (-want +got):\n%s", diff)
		}
		w.clock.Pass(25 * time.Hour) // even then: its first answer may have been lost
		again, err := w.fleet.Enrol(ctx, c.enrolment)
		w.ok(err)
		if diff := cmp.Diff(first, again); diff != "" {
			w.Errorf("enrolled again (-first +again):\n%s", diff)
		}
		if n := len(w.state().Components); n != 1 {
			w.Errorf("there are %d components, want 1", n)
		}

		thief := w.newcomer("thief")
		thief.enrolment.Token = c.enrolment.Token
		_, err = w.fleet.Enrol(ctx, thief.enrolment)
		w.refused(err, tidewaiter.Conflict, "")

		late := w.newcomer("late")
		late.enrolment.Token = w.token()
		w.clock.Pass(24*time.Hour + time.Microsecond)
		_, err = w.fleet.Enrol(ctx, late.enrolment)
		w.refused(err, tidewaiter.Unauthenticated, "")
		if !strings.Contains(err.Error(), "expired") {
			w.Errorf("an expired token: %v", err)
		}

		late.enrolment.Token = "twe_" + strings.Repeat("a", 52)
		_, err = w.fleet.Enrol(ctx, late.enrolment)
		w.refused(err, tidewaiter.Unauthenticated, "")
	})
}

func TestEnrolRefusesFields(t *testing.T) {
	each(t, func(w *world) {
		for field, change := range map[string]func(*protocol.EnrolRequest){
			"signing_key": func(r *protocol.EnrolRequest) { r.SigningKey = r.SigningKey[:31] },
			"recipient":   func(r *protocol.EnrolRequest) { r.Recipient = "age1pq1xyz" },
			"name":        func(r *protocol.EnrolRequest) { r.Name = "\u202ehost" },
			"version":     func(r *protocol.EnrolRequest) { r.Version = strings.Repeat("1", 65) },
			"platform":    func(r *protocol.EnrolRequest) { r.Platform = "" },
			"protocol":    func(r *protocol.EnrolRequest) { r.Versions = protocol.Versions{} },
		} {
			c := w.newcomer("one")
			c.enrolment.Token = w.token()
			change(&c.enrolment)
			_, err := w.fleet.Enrol(w.Context(), c.enrolment)
			w.refused(err, tidewaiter.Invalid, "")
			if err != nil && !strings.HasPrefix(err.Error(), field+":") {
				w.Errorf("%s: %v", field, err)
			}
		}
	})
}

func TestTokens(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		token, err := w.fleet.NewToken(ctx, w.cluster.ID, time.Hour)
		w.ok(err)
		if !strings.HasPrefix(token.Text, "twe_") || len(token.Text) != 56 || !token.Expires.Equal(w.clock.Now().Add(time.Hour)) {
			w.Errorf("token of %d characters until %v", len(token.Text), token.Expires)
		}
		hash := sha256.Sum256([]byte(token.Text))
		if _, err := w.db.Enrolment(ctx, hash[:]); err != nil {
			w.Errorf("the token is not kept by its hash: %v", err)
		}
		for _, valid := range []time.Duration{-1, 31 * 24 * time.Hour} {
			_, err := w.fleet.NewToken(ctx, w.cluster.ID, valid)
			w.refused(err, tidewaiter.Invalid, "")
		}
		_, err = w.fleet.NewToken(ctx, "nobody", 0)
		w.refused(err, tidewaiter.NotFound, "")

		w.clock.Pass(8 * 24 * time.Hour)
		w.token()
		_, err = w.db.Enrolment(ctx, hash[:])
		w.refused(err, tidewaiter.NotFound, "")
	})
}

// TestOneTokenOneComponent lets two components enrol with one token, at two
// replicas at once.
func TestOneTokenOneComponent(t *testing.T) {
	each(t, func(w *world) {
		other := w.replica(time.Hour)
		for range 5 {
			token := w.token()
			one, two := w.newcomer("one"), w.newcomer("two")
			one.enrolment.Token, two.enrolment.Token = token, token
			errs := make(chan error, 2)
			go func() { _, err := w.fleet.Enrol(w.Context(), one.enrolment); errs <- err }()
			go func() { _, err := other.Enrol(w.Context(), two.enrolment); errs <- err }()
			a, b := <-errs, <-errs
			if a == nil {
				a, b = b, a
			}
			w.ok(b)
			w.refused(a, tidewaiter.Conflict, "")
		}
		if n := len(w.state().Components); n != 5 {
			w.Errorf("there are %d components, want 5", n)
		}
	})
}

func TestRemoveComponent(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		c := w.enrolled("one")
		w.queue(tidewaiter.SyncWork, "r1")
		work, _ := c.gets()

		w.refused(w.fleet.RemoveComponent(ctx, "another cluster", c.id), tidewaiter.NotFound, "")
		w.ok(w.fleet.RemoveComponent(ctx, w.cluster.ID, c.id))
		_, err := w.fleet.Component(ctx, c.id)
		w.refused(err, tidewaiter.Unauthenticated, protocol.ErrUnknownComponent)
		_, err = c.ask()
		w.refused(err, tidewaiter.Unauthenticated, protocol.ErrUnknownComponent)
		_, err = w.fleet.Enrol(ctx, c.enrolment)
		w.refused(err, tidewaiter.Unauthenticated, "")

		next := w.enrolled("two") // nothing is sealed and nobody has the key: it is in at once
		if again, _ := next.gets(); again.ID != work.ID || again.Attempt == work.Attempt {
			w.Errorf("the next component gets %+v, want another attempt of %+v", again, work)
		}
	})
}

func TestSawWritesSeldom(t *testing.T) {
	each(t, func(w *world) {
		c := w.enrolled("one")
		seen := func() time.Time {
			row, err := w.fleet.Component(w.Context(), c.id)
			w.ok(err)
			w.ok(w.fleet.Saw(w.Context(), row))
			row, err = w.fleet.Component(w.Context(), c.id)
			w.ok(err)
			return row.Seen
		}
		before := w.clock.Now()
		w.clock.Pass(9 * time.Second)
		if got := seen(); !got.Equal(before) {
			w.Errorf("after 9 s it was written: %v", got)
		}
		w.clock.Pass(time.Second)
		if got := seen(); !got.Equal(w.clock.Now()) {
			w.Errorf("after 10 s it was not written: %v", got)
		}
	})
}

func TestState(t *testing.T) {
	each(t, func(w *world) {
		want := func(status fleet.Status, online int, advice string) {
			w.Helper()
			s := w.state()
			if s.Status != status || s.Online != online || (advice == "") != (s.Advice == "") || !strings.Contains(s.Advice, advice) {
				w.Errorf("status %s, %d online, advice %q; want %s, %d, %q", s.Status, s.Online, s.Advice, status, online, advice)
			}
		}
		want(fleet.StatusNone, 0, "tidewaiter cluster token harbour")
		one := w.enrolled("one")
		want(fleet.StatusOnline, 1, "")
		w.registry("r", one.key)
		w.clock.Pass(90 * time.Second)
		want(fleet.StatusOnline, 1, "")
		w.clock.Pass(time.Second)
		want(fleet.StatusOffline, 0, "since 2026-01-01 00:00:00 UTC")
		if s := w.state(); !s.Since.Equal(w.clock.Now().Add(-91 * time.Second)) {
			w.Errorf("offline since %v", s.Since)
		}
		two := w.enrolled("two")
		want(fleet.StatusWaiting, 0, "rotate-key harbour")
		row, err := w.fleet.Component(w.Context(), two.id)
		w.ok(err)
		req := two.request()
		req.Newest, req.Oldest = protocol.Newest+2, protocol.Newest+1
		_, err = w.fleet.Hello(w.Context(), row, req)
		w.refused(err, tidewaiter.Invalid, protocol.ErrVersion)
		want(fleet.StatusVersion, 0, "release")
		_, err = two.ask()
		w.refused(err, tidewaiter.Conflict, protocol.ErrHelloRequired)
		one.hello(nil)
		want(fleet.StatusOnline, 1, "")
		w.ok(w.fleet.RotateKey(w.Context(), w.cluster.ID))
		w.ok(w.fleet.RemoveComponent(w.Context(), w.cluster.ID, two.id))
		want(fleet.StatusWaiting, 0, "was changed")
	})
}
