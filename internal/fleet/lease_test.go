package fleet_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

func TestLeaseOrder(t *testing.T) {
	each(t, func(w *world) {
		one := w.enrolled("one")
		w.queue(tidewaiter.SyncWork, "r1")
		w.clock.Pass(time.Second)
		w.queue(tidewaiter.SyncWork, "r2")
		w.queue(tidewaiter.AccessCheckWork, "r3")
		w.queue(tidewaiter.ShareKeyWork, "c")
		var got []string
		for range 4 {
			work, _ := one.gets()
			got = append(got, string(work.Kind)+" "+work.Subject)
		}
		if diff := cmp.Diff([]string{"share_key c", "access_check r3", "sync r1", "sync r2"}, got); diff != "" {
			w.Errorf("work comes in another order (-want +got):\n%s", diff)
		}
		w.queue(tidewaiter.SyncWork, "r4")
		if work, err := one.ask(tidewaiter.AccessCheckWork, "a kind of the future"); work != nil || err != nil {
			w.Errorf("it gets %+v, %v, which it did not ask for", work, err)
		}
		_, err := one.ask("a kind of the future")
		w.refused(err, tidewaiter.Invalid, "")
	})
}

func TestLostLease(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		one := w.enrolled("one")
		id := w.queue(tidewaiter.SyncWork, "r")
		_, first := one.gets()
		w.clock.Pass(59 * time.Second)
		one.getsNone()
		stop, err := w.fleet.Heartbeat(ctx, first, protocol.Progress{Images: 7})
		w.ok(err)
		if got, err := w.db.Work(ctx, id); stop || err != nil || got.Progress.Images != 7 {
			w.Errorf("after the heartbeat: stop %v, %+v, %v", stop, got, err)
		}
		w.clock.Pass(60 * time.Second)
		one.getsNone()
		w.clock.Pass(time.Second)
		_, second := one.gets()
		if second.Attempt <= first.Attempt || second.WorkID != first.WorkID {
			w.Fatalf("first %+v, then %+v", first, second)
		}
		for name, call := range map[string]func(l tidewaiter.Lease) error{
			"heartbeat": func(l tidewaiter.Lease) error { _, err := w.fleet.Heartbeat(ctx, l, protocol.Progress{}); return err },
			"held":      func(l tidewaiter.Lease) error { _, err := w.fleet.Held(ctx, l); return err },
			"release":   func(l tidewaiter.Lease) error { return w.fleet.Release(ctx, l) },
			"drop":      func(l tidewaiter.Lease) error { return w.fleet.Drop(ctx, l) },
		} {
			for _, l := range []tidewaiter.Lease{first, {WorkID: id, Owner: "two", Attempt: second.Attempt}, {WorkID: "x", Owner: one.id, Attempt: 1}} {
				if err := call(l); protocol.CodeOf(err) != protocol.ErrLeaseLost || tidewaiter.KindOf(err) != tidewaiter.Conflict {
					w.Errorf("%s of %+v: %v", name, l, err)
				}
			}
		}
		if _, err := w.fleet.Held(ctx, second); err != nil {
			w.Error(err)
		}
	})
}

func TestPoison(t *testing.T) {
	each(t, func(w *world) {
		one := w.enrolled("one")
		w.queue(tidewaiter.SyncWork, "r")
		attempts := make(map[int]bool)
		for range 5 {
			work, lease := one.gets()
			attempts[work.Attempt] = true
			w.ok(w.fleet.Release(w.Context(), lease)) // that does not count
			work, _ = one.gets()
			attempts[work.Attempt] = true
			w.clock.Pass(61 * time.Second)
		}
		one.getsNone()
		if len(attempts) != 10 {
			w.Errorf("%d attempts have a number of their own, want 10", len(attempts))
		}
	})
}

func TestStartedFreesLeases(t *testing.T) {
	each(t, func(w *world) {
		one := w.enrolled("one")
		w.queue(tidewaiter.SyncWork, "r")
		_, lease := one.gets()
		one.hello(nil)
		one.getsNone() // it goes on
		one.hello(func(r *protocol.HelloRequest) { r.Started = true })
		work, _ := one.gets()
		if work.ID != lease.WorkID || work.Attempt == lease.Attempt {
			w.Errorf("it gets %+v, want another attempt of %+v", work, lease)
		}
	})
}

func TestStopAndDrop(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		one := w.enrolled("one")
		id := w.queue(tidewaiter.SyncWork, "r")
		_, lease := one.gets()
		w.ok(w.db.StopWork(ctx, "r", w.clock.Now()))
		if stop, err := w.fleet.Heartbeat(ctx, lease, protocol.Progress{}); err != nil || !stop {
			w.Errorf("heartbeat: stop %v, %v", stop, err)
		}
		w.ok(w.fleet.Release(ctx, lease))
		if got, err := w.db.Work(ctx, id); err != nil || got.State != tidewaiter.WorkStopped {
			w.Errorf("stopped work that is given back is %+v, %v", got, err)
		}
		id = w.queue(tidewaiter.SyncWork, "r")
		_, lease = one.gets()
		w.ok(w.fleet.Drop(ctx, lease))
		if got, err := w.db.Work(ctx, id); err != nil || got.State != tidewaiter.WorkStopped {
			w.Errorf("dropped work is %+v, %v", got, err)
		}
		one.getsNone()
	})
}

type answer struct {
	work *tidewaiter.Work
	err  error
}

// waiting starts a request that waits for work.
func (c *component) waiting(ctx context.Context, s *fleet.Service) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		work, err := s.Lease(ctx, tidewaiter.Component{ID: c.id, ClusterID: c.w.cluster.ID}, protocol.LeaseRequest{
			Kinds: []tidewaiter.WorkKind{tidewaiter.SyncWork}, WaitSeconds: 1_000_000, ClusterRecipient: c.key.Recipient(),
		})
		done <- answer{work, err}
	}()
	return done
}

func TestWaiting(t *testing.T) {
	each(t, func(w *world) {
		one := w.enrolled("one")
		want := func(what string, a answer, id string) {
			w.Helper()
			if a.err != nil || (a.work == nil) != (id == "") || a.work != nil && a.work.ID != id {
				w.Errorf("%s: %+v, %v; want %q", what, a.work, a.err, id)
			}
		}
		done := one.waiting(w.Context(), w.fleet)
		id := w.queue(tidewaiter.SyncWork, "r1")
		w.fleet.Wake("another cluster")
		w.fleet.Wake(w.cluster.ID)
		want("woken", <-done, id)

		polling := w.replica(time.Millisecond)
		done = one.waiting(w.Context(), polling)
		id = w.queue(tidewaiter.SyncWork, "r2") // as another process does
		want("polled", <-done, id)

		ctx, cancel := context.WithCancel(w.Context())
		done = one.waiting(ctx, w.fleet)
		cancel()
		want("given up", <-done, "")
		id = w.queue(tidewaiter.SyncWork, "r3")
		if work, _ := one.gets(); work.ID != id || work.Attempt != 1 {
			w.Errorf("after that it gets %+v", work)
		}

		done = one.waiting(w.Context(), w.fleet)
		w.fleet.Close()
		want("closed", <-done, "")
		w.fleet.Close() // again
	})
}

// TestWaitingHearsOfChanges changes the key, and removes the component, while
// it waits.
func TestWaitingHearsOfChanges(t *testing.T) {
	each(t, func(w *world) {
		one := w.enrolled("one")
		done := one.waiting(w.Context(), w.fleet)
		w.ok(w.fleet.RotateKey(w.Context(), w.cluster.ID))
		w.refused((<-done).err, tidewaiter.Conflict, protocol.ErrHelloRequired)

		one.key = newKey(t)
		one.hello(nil)
		done = one.waiting(w.Context(), w.fleet)
		w.ok(w.fleet.RemoveComponent(w.Context(), w.cluster.ID, one.id))
		w.refused((<-done).err, tidewaiter.Unauthenticated, protocol.ErrUnknownComponent)
	})
}

// TestEachWorkOnce lets four components at two replicas take work at once.
func TestEachWorkOnce(t *testing.T) {
	each(t, func(w *world) {
		replicas := []*fleet.Service{w.fleet, w.replica(time.Hour)}
		var components []*component
		for i := range 4 {
			c := w.enrolled(fmt.Sprint("component ", i))
			if i > 0 {
				components[0].share()
				c.key = components[0].key
				c.hello(nil)
			}
			components = append(components, c)
		}
		const works = 20
		for i := range works {
			w.queue(tidewaiter.SyncWork, fmt.Sprint("r", i))
		}
		var mu sync.Mutex
		taken := make(map[string]int)
		var all sync.WaitGroup
		for i, c := range components {
			all.Go(func() {
				for {
					work, err := c.askOf(replicas[i%2], 0)
					if err != nil {
						w.Error(err)
					}
					if work == nil {
						return
					}
					mu.Lock()
					taken[work.Subject]++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		for subject, n := range taken {
			if n != 1 {
				w.Errorf("%s was given out %d times", subject, n)
			}
		}
		if len(taken) != works {
			w.Errorf("%d of %d were given out", len(taken), works)
		}
	})
}

// A scan that a component may have died of is given to it alone, with none but
// scans that are new beside it; and not at once.
func TestSuspectsGoAlone(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		one := w.enrolled("one")
		none := func() {
			w.Helper()
			if got, err := one.ask(tidewaiter.ScanWork); got != nil || err != nil {
				w.Errorf("it gets %+v, %v, want nothing", got, err)
			}
		}
		died := map[string]bool{}
		for i := range 3 {
			w.queue(tidewaiter.ScanWork, fmt.Sprint(i))
			got, _ := one.gets(tidewaiter.ScanWork)
			died[got.ID] = true
		}
		started := func(r *protocol.HelloRequest) { r.Started = true }
		one.hello(started)
		none()
		w.clock.Pass(3 * time.Second)
		first, lease := one.gets(tidewaiter.ScanWork)
		if !died[first.ID] || first.Lost != 1 || first.Failures != 1 {
			w.Errorf("it gets %+v", first)
		}
		w.clock.Pass(10 * time.Second)
		none()
		w.queue(tidewaiter.ScanWork, "new")
		if fresh, _ := one.gets(tidewaiter.ScanWork); died[fresh.ID] {
			w.Errorf("it gets %+v", fresh)
		}
		w.ok(w.db.EndWork(ctx, lease, tidewaiter.WorkDone, "", tidewaiter.WorkProgress{}, w.clock.Now()))
		w.clock.Pass(6 * time.Second)
		second, _ := one.gets(tidewaiter.ScanWork)
		if !died[second.ID] || second.ID == first.ID {
			w.Errorf("it gets %+v", second)
		}
		// Others that run out of time count the same.
		w.clock.Pass(61 * time.Second)
		third, lease := one.gets(tidewaiter.ScanWork)
		none()
		if third.Lost == 0 {
			w.Errorf("it gets %+v", third)
		}
		w.ok(w.db.EndWork(ctx, lease, tidewaiter.WorkDone, "", tidewaiter.WorkProgress{}, w.clock.Now()))
		// Work that failed with a word is no suspect.
		w.queue(tidewaiter.SyncWork, "r")
		_, lease = one.gets()
		w.ok(w.db.ReleaseWork(ctx, lease, w.clock.Now(), true))
		if got, _ := one.gets(); got.Lost != 0 || got.Failures != 1 {
			w.Errorf("it gets %+v", got)
		}
	})
}
