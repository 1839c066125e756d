package fleet_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// share does the work of sealing the cluster's key for another component.
func (c *component) share() {
	c.w.Helper()
	work, lease := c.gets(tidewaiter.ShareKeyWork)
	to, err := c.w.fleet.ShareKey(c.w.Context(), *work)
	c.w.ok(err)
	sealed, err := seal.SealKey(to.Recipient, c.key)
	c.w.ok(err)
	c.w.ok(c.w.fleet.FinishShareKey(c.w.Context(), lease, protocol.FinishRequest{Attempt: work.Attempt, Outcome: protocol.OutcomeDone, SealedClusterKey: sealed}))
}

// inForce wants a key to be the one in force.
func (w *world) inForce(k *seal.Key) {
	w.Helper()
	want := ""
	if k != nil {
		want = k.Recipient()
	}
	if got := w.state().Recipient; got != want {
		w.Errorf("the key in force is %q, want %q", got, want)
	}
}

func TestFirstComponentBringsTheKey(t *testing.T) {
	each(t, func(w *world) {
		one := w.enrolled("one")
		got := one.hello(nil)
		want := protocol.HelloResponse{
			Protocol: protocol.Newest, ClusterID: w.cluster.ID, ClusterName: "harbour", ClusterRecipient: one.key.Recipient(),
			HeartbeatSeconds: 4, LeaseSeconds: 60, ServerVersion: tidewaiter.Version,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("hello (-want +got):\n%s", diff)
		}
		one.getsNone()
	})
}

func TestKeyIsShared(t *testing.T) {
	each(t, func(w *world) {
		one, two := w.enrolled("one"), w.enrolled("two")
		w.inForce(one.key)
		_, err := two.ask()
		w.refused(err, tidewaiter.Conflict, protocol.ErrHelloRequired)
		for range 3 { // it says hello again and again while it waits
			if out := two.hello(nil); out.ClusterRecipient != one.key.Recipient() || out.SealedClusterKey != nil {
				w.Errorf("hello: %+v", out)
			}
		}
		one.share()
		one.getsNone() // there was one piece of work

		out := two.hello(nil)
		key, err := seal.OpenKey(two.own, out.SealedClusterKey)
		w.ok(err)
		if key.Recipient() != out.ClusterRecipient || key.Private() != one.key.Private() {
			w.Error("another key arrived than was sent")
		}
		two.key = key
		if out := two.hello(nil); out.SealedClusterKey != nil {
			w.Error("the sealed key is kept though the component has it")
		}
		two.getsNone()
		one.getsNone()
	})
}

func TestRefusedKeyIsSharedAgain(t *testing.T) {
	each(t, func(w *world) {
		one, two := w.enrolled("one"), w.enrolled("two")
		work, lease := one.gets()
		w.ok(w.fleet.FinishShareKey(w.Context(), lease, protocol.FinishRequest{Attempt: work.Attempt, Outcome: protocol.OutcomeDone, SealedClusterKey: []byte("damaged")}))
		if out := two.hello(nil); string(out.SealedClusterKey) != "damaged" {
			w.Errorf("hello: %+v", out)
		}
		if out := two.hello(func(r *protocol.HelloRequest) { r.KeyRefused = true }); out.SealedClusterKey != nil {
			w.Error("the refused key comes again")
		}
		one.share()
		if out := two.hello(nil); len(out.SealedClusterKey) < 100 {
			w.Error("no new key came")
		}
	})
}

func TestFinishShareKeyRefuses(t *testing.T) {
	each(t, func(w *world) {
		one := w.enrolled("one")
		w.enrolled("two")
		work, lease := one.gets()
		finish := func(l tidewaiter.Lease, outcome string, key []byte) error {
			return w.fleet.FinishShareKey(w.Context(), l, protocol.FinishRequest{Attempt: l.Attempt, Outcome: outcome, SealedClusterKey: key})
		}
		w.refused(finish(lease, protocol.OutcomeDone, nil), tidewaiter.Invalid, "")
		w.refused(finish(lease, protocol.OutcomeDone, make([]byte, 9<<10)), tidewaiter.Invalid, "")
		other := lease
		other.Owner = "somebody"
		w.refused(finish(other, protocol.OutcomeDone, []byte("x")), tidewaiter.Conflict, protocol.ErrLeaseLost)
		w.ok(finish(lease, protocol.OutcomeFailed, nil))
		w.refused(finish(lease, protocol.OutcomeDone, []byte("x")), tidewaiter.Conflict, protocol.ErrLeaseLost)
		if got, err := w.db.Work(w.Context(), work.ID); err != nil || got.State != tidewaiter.WorkFailed {
			w.Errorf("the work is %+v, %v", got, err)
		}
	})
}

// TestShareKeyIsNeverGivenUp lets the work run out again and again: the
// newcomer that still waits gets another.
func TestShareKeyIsNeverGivenUp(t *testing.T) {
	each(t, func(w *world) {
		one, two := w.enrolled("one"), w.enrolled("two")
		for range 7 {
			one.gets(tidewaiter.ShareKeyWork)
			w.clock.Pass(61 * time.Second)
			one.hello(nil) // or two's key would take over
			two.hello(nil)
		}
		one.share()
	})
}

func TestTakeover(t *testing.T) {
	each(t, func(w *world) {
		one, two := w.enrolled("one"), w.enrolled("two")
		w.clock.Pass(90 * time.Second)
		two.hello(nil)
		w.inForce(one.key) // one is still there

		w.clock.Pass(time.Second)
		r := w.registry("r", one.key)
		two.hello(nil)
		w.inForce(one.key) // something is sealed to it

		w.ok(w.db.DeleteRegistry(w.Context(), r.ID))
		two.hello(nil)
		w.inForce(two.key)
		two.getsNone()

		if out := one.hello(nil); out.ClusterRecipient != two.key.Recipient() {
			w.Errorf("the first comes back and hears %+v", out)
		}
		two.share()
	})
}

// TestOneKeyInForce lets components come to two replicas at once.
func TestOneKeyInForce(t *testing.T) {
	each(t, func(w *world) {
		replicas := []*fleet.Service{w.fleet, w.replica(time.Hour)}
		rows := make([]tidewaiter.Component, 6)
		requests := make([]protocol.HelloRequest, len(rows))
		for i := range rows {
			c := w.newcomer(fmt.Sprint("component ", i))
			c.enrolment.Token = w.token()
			out, err := w.fleet.Enrol(w.Context(), c.enrolment)
			w.ok(err)
			rows[i], err = w.fleet.Component(w.Context(), out.ComponentID)
			w.ok(err)
			requests[i] = c.request()
		}
		heard := make([]string, len(rows))
		var all sync.WaitGroup
		for i := range rows {
			all.Go(func() {
				out, err := replicas[i%2].Hello(w.Context(), rows[i], requests[i])
				if err != nil {
					w.Error(err)
				}
				heard[i] = out.ClusterRecipient
			})
		}
		all.Wait()
		for i, recipient := range heard {
			if recipient == "" || recipient != w.state().Recipient {
				w.Errorf("component %d heard %q; in force is %q", i, recipient, w.state().Recipient)
			}
		}
	})
}

func TestRotateKey(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		w.refused(w.fleet.RotateKey(ctx, w.cluster.ID), tidewaiter.Conflict, "")
		w.refused(w.fleet.RotateKey(ctx, "nobody"), tidewaiter.NotFound, "")

		one, two := w.enrolled("one"), w.enrolled("two")
		shared, sharing := one.gets(tidewaiter.ShareKeyWork)
		r, bare := w.registry("r", one.key), w.registry("bare", nil)
		syncing := w.queue(tidewaiter.SyncWork, r.ID)
		_, lease := one.gets(tidewaiter.SyncWork)
		w.ok(w.db.CreateSyncTask(ctx, tidewaiter.SyncTask{ID: "task", ProjectID: "p", EnterpriseProjectID: "0", Kind: tidewaiter.ManualSync, Created: w.clock.Now()},
			[]tidewaiter.SyncTaskRegistry{{TaskID: "task", RegistryID: r.ID, RegistryName: r.Name, RegistryType: r.Type, WorkID: syncing, Status: tidewaiter.SyncRunning}}))

		w.ok(w.fleet.RotateKey(ctx, w.cluster.ID))
		w.inForce(nil)
		if got := w.state().KeyEpoch; got != 1 {
			w.Errorf("key epoch %d, want 1", got)
		}
		w.failed(r.ID, "task")
		if got, err := w.db.Registry(ctx, bare.ID); err != nil || got.Status != tidewaiter.RegistrySuccess {
			w.Errorf("a registry without secrets: %+v, %v", got, err)
		}
		if stop, err := w.fleet.Heartbeat(ctx, lease, protocol.Progress{}); err != nil || !stop {
			w.Errorf("heartbeat: stop %v, %v", stop, err)
		}
		_, err := one.ask()
		w.refused(err, tidewaiter.Conflict, protocol.ErrHelloRequired)

		// The old key does not come back, neither by hello nor by sharing.
		w.ok(w.fleet.FinishShareKey(ctx, sharing, protocol.FinishRequest{Attempt: shared.Attempt, Outcome: protocol.OutcomeDone, SealedClusterKey: []byte("old")}))
		if out := one.hello(nil); out.ClusterRecipient != "" {
			w.Errorf("the old key is accepted: %+v", out)
		}
		if out := two.hello(nil); out.ClusterRecipient != two.key.Recipient() || out.SealedClusterKey != nil {
			w.Errorf("a key that was never in force: %+v", out)
		}
		w.inForce(two.key)
		w.clock.Pass(time.Hour)
		if out := one.hello(nil); out.ClusterRecipient != two.key.Recipient() {
			w.Errorf("the old key takes over: %+v", out)
		}
		one.key = newKey(t)
		if out := one.hello(nil); out.ClusterRecipient != one.key.Recipient() {
			w.Errorf("a fresh key does not take over from one that is away: %+v", out)
		}
	})
}

// failed wants a registry, and a task that waited for it, to have failed in
// words that say what to do.
func (w *world) failed(registryID, taskID string) {
	w.Helper()
	r, err := w.db.Registry(w.Context(), registryID)
	w.ok(err)
	if r.Status != tidewaiter.RegistryFail || r.FailReason != tidewaiter.FailRequestAPI ||
		!strings.Contains(r.FailDetail, "harbour") || !strings.Contains(r.FailDetail, "password") {
		w.Errorf("the registry is %s, %s, %q", r.Status, r.FailReason, r.FailDetail)
	}
	tasks, _, err := w.db.SyncTaskRegistries(w.Context(), taskID, store.SyncRegistryFilter{}, store.Page{Limit: 10})
	w.ok(err)
	for _, task := range tasks {
		if task.Status != tidewaiter.SyncFailed || !strings.Contains(task.FailedReason, "password") {
			w.Errorf("the task is %s, %q", task.Status, task.FailedReason)
		}
	}
}

func TestHelloRefuses(t *testing.T) {
	each(t, func(w *world) {
		c := w.enrolled("one")
		row, err := w.fleet.Component(w.Context(), c.id)
		w.ok(err)
		for _, change := range []func(*protocol.HelloRequest){
			func(r *protocol.HelloRequest) { r.ClusterRecipient = "" },
			func(r *protocol.HelloRequest) { r.ClusterRecipient = "ssh-ed25519 AAAA" },
			func(r *protocol.HelloRequest) { r.Name = "" },
			func(r *protocol.HelloRequest) { r.Versions = protocol.Versions{} },
		} {
			req := c.request()
			change(&req)
			_, err := w.fleet.Hello(w.Context(), row, req)
			w.refused(err, tidewaiter.Invalid, "")
		}
		w.ok(w.fleet.RemoveComponent(w.Context(), w.cluster.ID, c.id))
		_, err = w.fleet.Hello(w.Context(), row, c.request())
		w.refused(err, tidewaiter.Unauthenticated, protocol.ErrUnknownComponent)
	})
}
