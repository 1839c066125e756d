package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// epoch is when the stories of these tests begin.
func epoch() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

func newCluster(t *testing.T, db *store.DB, id string) tidewaiter.Cluster {
	t.Helper()
	c := tidewaiter.Cluster{ID: id, ProjectID: "p", Name: id, Kind: tidewaiter.AttachedCluster, Created: epoch()}
	must(t, db.CreateCluster(context.Background(), c))
	return c
}

func newWork(t *testing.T, db *store.DB, id string, kind tidewaiter.WorkKind, created time.Time) tidewaiter.Work {
	t.Helper()
	w := tidewaiter.Work{ID: id, ClusterID: "c", Kind: kind, Subject: "subject of " + id, State: tidewaiter.WorkQueued,
		NotBefore: created, Created: created}
	must(t, db.CreateWork(context.Background(), w))
	return w
}

func leaseOf(w tidewaiter.Work) tidewaiter.Lease {
	return tidewaiter.Lease{WorkID: w.ID, Owner: w.Owner, Attempt: w.Attempt}
}

var allKinds = []tidewaiter.WorkKind{tidewaiter.ShareKeyWork, tidewaiter.AccessCheckWork, tidewaiter.SyncWork} //nolint:gochecknoglobals // read only

func lease(t *testing.T, db *store.DB, owner string, now time.Time) tidewaiter.Work {
	t.Helper()
	w, err := db.LeaseWork(context.Background(), "c", allKinds, owner, now, now.Add(time.Minute), tidewaiter.MaxAttempts)
	must(t, err)
	return w
}

func TestWorkIsGivenInOrder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		newCluster(t, db, "c")
		newCluster(t, db, "another")
		newWork(t, db, "new sync", tidewaiter.SyncWork, now.Add(-time.Second))
		newWork(t, db, "old sync", tidewaiter.SyncWork, now.Add(-time.Hour))
		newWork(t, db, "check", tidewaiter.AccessCheckWork, now)
		newWork(t, db, "share", tidewaiter.ShareKeyWork, now)
		newWork(t, db, "later", tidewaiter.AccessCheckWork, now.Add(time.Second))

		_, err := db.LeaseWork(ctx, "another", allKinds, "x", now, now, 5)
		wantKind(t, err, tidewaiter.NotFound)
		_, err = db.LeaseWork(ctx, "c", nil, "x", now, now, 5)
		wantKind(t, err, tidewaiter.NotFound)
		for _, want := range []string{"share", "check", "old sync", "new sync"} {
			got := lease(t, db, "x", now)
			if got.ID != want || got.State != tidewaiter.WorkLeased || got.Attempt != 1 || got.Owner != "x" || !got.Deadline.Equal(now.Add(time.Minute)) {
				t.Errorf("got %+v, want %s", got, want)
			}
			stored, err := db.Work(ctx, want)
			must(t, err)
			if d := cmp.Diff(got, stored); d != "" {
				t.Error(d)
			}
		}
		_, err = db.LeaseWork(ctx, "c", allKinds, "x", now, now, 5)
		wantKind(t, err, tidewaiter.NotFound)
		if got := lease(t, db, "y", now.Add(time.Second)); got.ID != "later" {
			t.Errorf("got %+v", got)
		}
	})
}

// TestLeasesFence follows a piece of work through lost leases: who has lost
// one can do nothing with it.
func TestLeasesFence(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		newCluster(t, db, "c")
		newWork(t, db, "w", tidewaiter.SyncWork, now)
		progress := tidewaiter.WorkProgress{Repositories: 5, RepositoriesDone: 4, Images: 3, Skipped: 2, Requests: 1}

		first := lease(t, db, "one", now)
		w, err := db.HeartbeatWork(ctx, leaseOf(first), now.Add(2*time.Minute), progress)
		must(t, err)
		if w.Progress != progress || !w.Deadline.Equal(now.Add(2*time.Minute)) {
			t.Errorf("got %+v", w)
		}
		now = now.Add(2 * time.Minute)
		_, err = db.LeaseWork(ctx, "c", allKinds, "two", now, now, 5)
		wantKind(t, err, tidewaiter.NotFound) // the deadline is not past

		now = now.Add(time.Microsecond)
		second := lease(t, db, "two", now)
		if second.Attempt != 2 || second.Failures != 1 || second.Progress != progress {
			t.Errorf("got %+v", second)
		}
		stale := []tidewaiter.Lease{
			leaseOf(first), {WorkID: "w", Owner: "one", Attempt: 2}, {WorkID: "w", Owner: "two", Attempt: 1}, {WorkID: "none", Owner: "two", Attempt: 2},
		}
		for _, l := range stale {
			_, err := db.Holds(ctx, l)
			wantKind(t, err, tidewaiter.Conflict)
			_, err = db.HeartbeatWork(ctx, l, now, progress)
			wantKind(t, err, tidewaiter.Conflict)
			wantKind(t, db.EndWork(ctx, l, tidewaiter.WorkDone, "", progress, now), tidewaiter.Conflict)
			wantKind(t, db.ReleaseWork(ctx, l, now, true), tidewaiter.Conflict)
		}
		wantKind(t, db.FailWork(ctx, "w", 1, "stale", now), tidewaiter.Conflict)
		wantKind(t, db.FailWork(ctx, "none", 1, "", now), tidewaiter.NotFound)

		// Given back it does not count, and the attempt still fences.
		must(t, db.ReleaseWork(ctx, leaseOf(second), now.Add(time.Hour), false))
		wantKind(t, db.ReleaseWork(ctx, leaseOf(second), now, false), tidewaiter.Conflict)
		_, err = db.LeaseWork(ctx, "c", allKinds, "two", now, now, 5)
		wantKind(t, err, tidewaiter.NotFound)
		now = now.Add(time.Hour)
		third := lease(t, db, "two", now)
		if third.Attempt != 3 || third.Failures != 1 {
			t.Errorf("got %+v", third)
		}
		_, err = db.Holds(ctx, leaseOf(second))
		wantKind(t, err, tidewaiter.Conflict)
		must(t, db.EndWork(ctx, leaseOf(third), tidewaiter.WorkFailed, "why", progress, now))
		wantKind(t, db.EndWork(ctx, leaseOf(third), tidewaiter.WorkDone, "", progress, now), tidewaiter.Conflict)
		wantKind(t, db.FailWork(ctx, "w", 3, "", now), tidewaiter.Conflict)
		ended, err := db.Work(ctx, "w")
		must(t, err)
		if ended.State != tidewaiter.WorkFailed || ended.Failure != "why" || !ended.Finished.Equal(now) {
			t.Errorf("got %+v", ended)
		}
		n, err := db.PurgeWork(ctx, now)
		if must(t, err); n != 0 {
			t.Error("purged too early")
		}
		n, err = db.PurgeWork(ctx, now.Add(time.Microsecond))
		if must(t, err); n != 1 {
			t.Errorf("purged %d", n)
		}
	})
}

func TestWorkIsExhausted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		newCluster(t, db, "c")
		newWork(t, db, "w", tidewaiter.SyncWork, now)
		exhausted := func() []tidewaiter.Work {
			t.Helper()
			list, err := db.ExhaustedWork(ctx, nil, now, 3, 10)
			must(t, err)
			return list
		}
		for attempt := 1; attempt <= 3; attempt++ {
			w, err := db.LeaseWork(ctx, "c", allKinds, "x", now, now.Add(time.Minute), 3)
			must(t, err)
			if w.Attempt != attempt || len(exhausted()) != 0 {
				t.Fatalf("got %+v, %+v", w, exhausted())
			}
			switch attempt {
			case 1:
				must(t, db.ReleaseWork(ctx, leaseOf(w), now, true))
			case 2:
				n, err := db.ReleaseWorkOf(ctx, "x", now)
				if must(t, err); n != 1 {
					t.Fatal(n)
				}
			}
		}
		now = now.Add(time.Hour)
		_, err := db.LeaseWork(ctx, "c", allKinds, "x", now, now, 3)
		wantKind(t, err, tidewaiter.NotFound)
		list := exhausted()
		if len(list) != 1 || list[0].ID != "w" {
			t.Fatalf("got %+v", list)
		}
		must(t, db.FailWork(ctx, "w", list[0].Attempt, "too often", now))
		if len(exhausted()) != 0 {
			t.Error("it is still exhausted")
		}
	})
}

func TestWorkIsStopped(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		newCluster(t, db, "c")
		open := func(id string, want tidewaiter.Kind) {
			t.Helper()
			w, err := db.OpenWork(ctx, "subject of "+id, tidewaiter.SyncWork)
			if want != tidewaiter.Internal {
				wantKind(t, err, want)
			} else if must(t, err); w.ID != id {
				t.Errorf("got %+v", w)
			}
		}
		state := func(id string, want tidewaiter.WorkState) {
			t.Helper()
			w, err := db.Work(ctx, id)
			must(t, err)
			if w.State != want || want.Ended() == w.Finished.IsZero() {
				t.Errorf("got %+v, want %s", w, want)
			}
		}
		var leased []tidewaiter.Work
		for _, id := range []string{"released", "dropped", "ran out", "ended"} {
			newWork(t, db, id, tidewaiter.SyncWork, now)
			open(id, tidewaiter.Internal)
			leased = append(leased, lease(t, db, "owner of "+id, now))
			open(id, tidewaiter.Internal)
		}
		newWork(t, db, "queued", tidewaiter.SyncWork, now)
		newWork(t, db, "untouched", tidewaiter.SyncWork, now)
		for _, id := range []string{"released", "dropped", "ran out", "ended", "queued"} {
			must(t, db.StopWork(ctx, "subject of "+id, now))
			open(id, tidewaiter.NotFound)
		}
		state("queued", tidewaiter.WorkStopped)
		state("untouched", tidewaiter.WorkQueued)
		for _, w := range leased {
			held, err := db.Holds(ctx, leaseOf(w))
			if must(t, err); !held.Stop {
				t.Errorf("got %+v", held)
			}
		}
		must(t, db.ReleaseWork(ctx, leaseOf(leased[0]), now, false))
		state("released", tidewaiter.WorkStopped)
		_, err := db.ReleaseWorkOf(ctx, "owner of dropped", now)
		must(t, err)
		state("dropped", tidewaiter.WorkStopped)
		must(t, db.EndWork(ctx, leaseOf(leased[3]), tidewaiter.WorkStopped, "", tidewaiter.WorkProgress{}, now))
		state("ended", tidewaiter.WorkStopped)

		now = now.Add(time.Hour)
		if w := lease(t, db, "x", now); w.ID != "untouched" {
			t.Errorf("got %+v", w)
		}
		list, err := db.ExhaustedWork(ctx, nil, now, 5, 10)
		must(t, err)
		if len(list) != 1 || list[0].ID != "ran out" {
			t.Fatalf("got %+v", list)
		}
		must(t, db.FailWork(ctx, "ran out", 1, "", now))
		state("ran out", tidewaiter.WorkStopped)
	})
}

func TestWaitingWork(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		newCluster(t, db, "c")
		waiting := func(at time.Time) (ids []string) {
			t.Helper()
			list, err := db.WaitingWork(ctx, tidewaiter.AccessCheckWork, at, 10)
			must(t, err)
			for _, w := range list {
				ids = append(ids, w.ID)
			}
			return ids
		}
		newWork(t, db, "sync", tidewaiter.SyncWork, now.Add(-time.Hour))
		newWork(t, db, "check", tidewaiter.AccessCheckWork, now)
		newWork(t, db, "stopped", tidewaiter.AccessCheckWork, now)
		must(t, db.StopWork(ctx, "subject of stopped", now))
		if got := waiting(now); got != nil {
			t.Errorf("got %v", got)
		}
		if d := cmp.Diff([]string{"check"}, waiting(now.Add(time.Second))); d != "" {
			t.Error(d)
		}
		w, err := db.LeaseWork(ctx, "c", []tidewaiter.WorkKind{tidewaiter.AccessCheckWork}, "x", now, now.Add(time.Minute), 5)
		must(t, err)
		if got := waiting(now.Add(time.Minute)); got != nil {
			t.Errorf("got %v", got)
		}
		if d := cmp.Diff([]string{"check"}, waiting(now.Add(2*time.Minute))); d != "" {
			t.Error(d)
		}
		must(t, db.ReleaseWork(ctx, leaseOf(w), now.Add(time.Hour), true))
		if got := waiting(now.Add(time.Hour)); got != nil {
			t.Errorf("got %v", got)
		}
	})
}

// TestNoWorkIsLeasedTwice lets the components of two servers go for the same
// work, some of which they lose on the way.
func TestNoWorkIsLeasedTwice(t *testing.T) {
	storetest.EachURL(t, func(t *testing.T, url string) {
		const works, maxAttempts = 30, 4
		servers := []*store.DB{storetest.Open(t, url), storetest.Open(t, url)}
		newCluster(t, servers[0], "c")
		for i := range works {
			newWork(t, servers[0], fmt.Sprintf("w%02d", i), tidewaiter.SyncWork, epoch())
		}
		var clock atomic.Int64 // each look at it is one second later
		now := func() time.Time { return epoch().Add(time.Duration(clock.Add(1)) * time.Second) }
		var mu sync.Mutex
		leases := make(map[tidewaiter.Lease]bool) // by work and attempt
		ends := make(map[string]int)
		var wg sync.WaitGroup
		for g := range 8 {
			db, owner := servers[g%2], fmt.Sprintf("component-%d", g)
			wg.Go(func() {
				for misses := 0; misses < 20; {
					at := now()
					w, err := db.LeaseWork(context.Background(), "c", allKinds, owner, at, at.Add(10*time.Second), maxAttempts)
					if tidewaiter.KindOf(err) == tidewaiter.NotFound {
						misses++
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					key := tidewaiter.Lease{WorkID: w.ID, Attempt: w.Attempt}
					if leases[key] || w.Owner != owner {
						t.Errorf("leased twice: %+v", w)
					}
					leases[key] = true
					mu.Unlock()
					if w.Attempt%2 == 1 { // killed; the lease runs out
						continue
					}
					err = db.EndWork(context.Background(), leaseOf(w), tidewaiter.WorkDone, "", tidewaiter.WorkProgress{}, now())
					if tidewaiter.KindOf(err) == tidewaiter.Conflict && err != nil {
						continue // it ran out meanwhile
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					ends[w.ID]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for i := range works {
			id := fmt.Sprintf("w%02d", i)
			w, err := servers[0].Work(context.Background(), id)
			must(t, err)
			for a := 1; a <= w.Attempt; a++ {
				if !leases[tidewaiter.Lease{WorkID: id, Attempt: a}] {
					t.Errorf("nobody got attempt %d of %s", a, id)
				}
			}
			if done := w.State == tidewaiter.WorkDone; ends[id] > 1 || done != (ends[id] == 1) || !done && w.Attempt < maxAttempts {
				t.Errorf("%s ended %d times: %+v", id, ends[id], w)
			}
		}
	})
}
