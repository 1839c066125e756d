package inventory

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func done() protocol.FinishRequest { return protocol.FinishRequest{Outcome: protocol.OutcomeDone} }

func failed(f protocol.Failure) protocol.FinishRequest {
	return protocol.FinishRequest{Outcome: protocol.OutcomeFailed, Failure: &f}
}

// lost fails the test unless err says that the lease is lost.
func (w *world) lost(err error) {
	w.t.Helper()
	w.wants(tidewaiter.Conflict, err)
	if protocol.CodeOf(err) != protocol.ErrLeaseLost {
		w.t.Fatalf("%v does not have the code of a lost lease", err)
	}
}

// TestFencing: a component whose lease went to another changes nothing more.
func TestFencing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.ready("harbor")
		work, slow := w.lease("slow", tidewaiter.SyncWork)
		w.ok(w.Report(ctx, slow, tagged("team/app", false, "v1", imageOf("1"))))
		w.pass(2 * time.Minute)
		again, l := w.lease("fast", tidewaiter.SyncWork)
		if again.ID != work.ID || l.Attempt == slow.Attempt {
			t.Fatalf("leased %+v after %+v", again, work)
		}
		before := w.images()
		w.lost(w.Report(ctx, slow, tagged("team/app", true, "evil", imageOf("2"))))
		_, err := w.Pending(ctx, slow, []string{"team/app"})
		w.lost(err)
		_, err = w.Unknown(ctx, slow, []tidewaiter.Digest{imageOf("1").Digest})
		w.lost(err)
		for _, f := range []protocol.FinishRequest{done(), failed(protocol.Failure{Code: tidewaiter.FailRequestAPI, Message: "no"}), {Outcome: protocol.OutcomeReleased}} {
			w.lost(w.finish(work, slow, f))
		}
		// Nor does who never had it, or says another attempt.
		w.lost(w.finish(work, tidewaiter.Lease{WorkID: work.ID, Owner: "mallory", Attempt: l.Attempt}, done()))
		w.lost(w.finish(work, tidewaiter.Lease{WorkID: work.ID, Owner: "fast", Attempt: l.Attempt + 1}, done()))
		if diff := cmp.Diff(before, w.images()); diff != "" {
			t.Errorf("a lost lease changed images:\n%s", diff)
		}
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistrySuccess || !got.Synced.IsZero() {
			t.Errorf("a lost lease changed the registry: %+v", got)
		}
		unknown, err := w.Unknown(ctx, l, []tidewaiter.Digest{imageOf("1").Digest, imageOf("2").Digest})
		w.ok(err)
		if want := []tidewaiter.Digest{imageOf("2").Digest}; !cmp.Equal(unknown, want) {
			t.Errorf("unknown %v, want %v", unknown, want)
		}
		w.ok(w.Report(ctx, l, tagged("team/app", true, "v1", imageOf("1"))))
		pending, err := w.Pending(ctx, l, []string{"other", "team/app", "NOT a name"})
		w.ok(err)
		if want := map[string]bool{"other": true, "NOT a name": true}; len(pending) != 2 || !want[pending[0]] || !want[pending[1]] {
			t.Errorf("pending %q", pending)
		}
		w.ok(w.finish(again, l, done()))
		w.lost(w.finish(again, l, done())) // the second time there is nothing left to finish
		w.lost(w.Report(ctx, l, tagged("team/app", true, "v2", imageOf("2"))))
		if task := w.tasks()[0]; task.Finished != 1 {
			t.Errorf("task %+v", task)
		}
	})
}

// TestChangeUnderWay: what was begun before the registry was changed counts
// for nothing; a synchronisation begins again for the same task.
func TestChangeUnderWay(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.ready("harbor")
		sync, syncLease := w.lease("component-1", tidewaiter.SyncWork)
		w.ok(w.Report(ctx, syncLease, tagged("team/app", true, "v1", imageOf("1"))))
		w.pass(time.Second)
		next := "another " + password
		changed, err := w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Password: &next})
		w.ok(err)
		if changed.Status != tidewaiter.RegistryAccessing || changed.Revision != r.Revision+1 {
			t.Errorf("changed: %+v", changed)
		}
		w.lost(w.Report(ctx, syncLease, tagged("team/b", true, "v1", imageOf("1"))))
		w.ok(w.finish(sync, syncLease, failed(protocol.Failure{Code: tidewaiter.FailRequestAPI, Message: "401"})))
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistryAccessing {
			t.Errorf("the failure with the old password changed the status: %+v", got)
		}
		if task := w.tasks()[0]; !task.Ended.IsZero() || task.Failed != 0 {
			t.Errorf("the task: %+v", task)
		}

		check, checkLease := w.lease("component-1", tidewaiter.AccessCheckWork)
		w.pass(time.Second)
		third := "a third " + password
		_, err = w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Password: &third})
		w.ok(err)
		bad := &protocol.AccessReport{FailReason: tidewaiter.FailRequestAPI, Steps: []protocol.Step{{Name: "auth", Status: "failed", Message: "401"}}}
		w.ok(w.finish(check, checkLease, protocol.FinishRequest{Outcome: protocol.OutcomeDone, AccessCheck: bad}))
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistryAccessing {
			t.Errorf("the check of the old password changed the status: %+v", got)
		}

		work, l := w.lease("component-1")
		if work.Kind != tidewaiter.AccessCheckWork {
			t.Fatalf("leased %+v", work)
		}
		p, err := w.Describe(ctx, work)
		w.ok(err)
		opened, err := w.key.Open(p.Secrets[tidewaiter.SecretPassword], seal.Binding{
			RegistryID: r.ID, Name: tidewaiter.SecretPassword, Origin: "https://harbor.example.com:443", Username: "robot"})
		if err != nil || opened != third {
			t.Errorf("the next lease has the password of before: %v", err)
		}
		w.ok(w.finish(work, l, protocol.FinishRequest{Outcome: protocol.OutcomeDone, AccessCheck: goodReport()}))
		w.sync(tagged("team/app", true, "v1", imageOf("1")))
		if _, _, err := w.tryLease("component-1"); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("there is more work: %v", err)
		}
		tasks := w.tasks()
		if len(tasks) != 1 || tasks[0].Finished != 1 || tasks[0].Ended.IsZero() {
			t.Errorf("tasks %+v", tasks)
		}
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistrySuccess || got.Images != 1 {
			t.Errorf("in the end %+v", got)
		}
	})
}

// TestDeleteUnderWay: work about a registry that is gone is dropped, and the
// task hears of it.
func TestDeleteUnderWay(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.ready("harbor")
		keep := w.add(w.new("keep"))
		w.passCheck()
		work, l := w.lease("component-1", tidewaiter.SyncWork)
		if work.Subject != r.ID {
			r, keep = keep, r
		}
		w.ok(w.DeleteRegistries(ctx, w.everything(), []string{r.ID}))
		w.lost(w.Report(ctx, l, tagged("team/app", true, "v1", imageOf("1"))))
		_, err := w.Describe(ctx, work)
		w.lost(err)
		if held, err := w.db.Holds(ctx, l); err != nil || !held.Stop {
			t.Errorf("the component is not told to stop: %+v, %v", held, err)
		}
		w.ok(w.finish(work, l, done()))
		ended := 0
		for _, task := range w.tasks() {
			for _, row := range w.rows(task.ID) {
				if row.RegistryID == r.ID && row.Status == tidewaiter.SyncFailed && strings.Contains(row.FailedReason, "deleted") && !task.Ended.IsZero() {
					ended++
				}
			}
		}
		if ended != 1 {
			t.Errorf("%d tasks ended for the deletion, want 1", ended)
		}
		if other, _ := w.lease("component-1"); other.Subject != keep.ID {
			t.Errorf("leased %+v", other)
		}
	})
}

// TestFailures of checks and synchronisations.
func TestFailures(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r := w.add(w.new("harbor"))
		work, l := w.lease("component-1")
		bad := goodReport()
		bad.FailReason = tidewaiter.FailRequestAPI
		bad.Steps[3] = protocol.Step{Name: "auth", Status: "failed", Message: "give\x1b another\u202e password"}
		w.ok(w.finish(work, l, protocol.FinishRequest{Outcome: protocol.OutcomeDone, AccessCheck: bad}))
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistryFail || got.FailReason != tidewaiter.FailRequestAPI || got.FailDetail != "AUTH: give another password" {
			t.Errorf("failed check: %+v", got)
		}
		if len(w.tasks()) != 0 {
			t.Errorf("a registry that cannot be used is synchronised: %+v", w.tasks())
		}

		w.wish()
		work, l = w.lease("component-1")
		w.ok(w.finish(work, l, failed(protocol.Failure{Code: tidewaiter.FailServer, Message: "503", RetrySeconds: 600})))
		if task := w.tasks()[0]; !task.Ended.IsZero() {
			t.Errorf("the task ended before the other attempts: %+v", task)
		}
		if _, _, err := w.tryLease("component-1"); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("it is tried again at once: %v", err)
		}
		attempts := 1
		for ; attempts < 20 && w.tasks()[0].Ended.IsZero(); attempts++ {
			w.pass(11 * time.Minute)
			work, l = w.lease("component-1")
			w.ok(w.finish(work, l, failed(protocol.Failure{Code: tidewaiter.FailServer, Message: "503 again", RetrySeconds: 600})))
		}
		row := w.rows(w.tasks()[0].ID)[0]
		if attempts != tidewaiter.MaxAttempts || row.Status != tidewaiter.SyncFailed || row.FailedReason != "503 again" || row.Ended.IsZero() {
			t.Errorf("after %d attempts: %+v", attempts, row)
		}

		w.wish()
		work, l = w.lease("component-1")
		w.ok(w.finish(work, l, failed(protocol.Failure{Code: tidewaiter.FailServer, Message: "other key", Credential: true, RetrySeconds: 5})))
		got := w.registry(r.ID)
		if got.Status != tidewaiter.RegistryFail || got.FailReason != tidewaiter.FailRequestAPI || !strings.Contains(got.FailDetail, "registry_password") {
			t.Errorf("failed credential: %+v", got)
		}
		w.wish()
		w.sync()
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistrySuccess || got.FailDetail != "" {
			t.Errorf("after a synchronisation that went well: %+v", got)
		}
		for _, f := range []protocol.FinishRequest{{}, {Outcome: "won"}, {Outcome: protocol.OutcomeFailed}} {
			w.wish()
			work, l, err := w.tryLease("component-1")
			if err == nil {
				w.wants(tidewaiter.Invalid, w.finish(work, l, f))
				w.ok(w.finish(work, l, done()))
			}
		}
	})
}

// TestGivenBack: a component that stops gives work back, and nobody counts it.
func TestGivenBack(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.ready("harbor")
		for range 3 * tidewaiter.MaxAttempts {
			work, l := w.lease("component-1", tidewaiter.SyncWork)
			w.ok(w.finish(work, l, protocol.FinishRequest{Outcome: protocol.OutcomeReleased}))
		}
		w.ok(w.failExhausted(t.Context()))
		// A failure that is worth another attempt still gets it.
		work, l := w.lease("component-1", tidewaiter.SyncWork)
		w.ok(w.finish(work, l, failed(protocol.Failure{Code: tidewaiter.FailServer, Message: "503", RetrySeconds: 1})))
		w.pass(time.Minute)
		w.sync()
		if task := w.tasks()[0]; task.Finished != 1 {
			t.Errorf("task %+v", task)
		}
	})
}

// TestPoison: work that kills its component is given up, with its consequences.
func TestPoison(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		poisoned := func(kind tidewaiter.WorkKind) {
			t.Helper()
			for i := range tidewaiter.MaxAttempts {
				w.ok(w.failExhausted(ctx))
				if _, _, err := w.tryLease("component-1", kind); err != nil {
					t.Fatalf("attempt %d: %v", i+1, err)
				}
				w.pass(2 * time.Minute)
			}
			w.ok(w.failExhausted(ctx))
			_, _, err := w.tryLease("component-1", kind)
			w.wants(tidewaiter.NotFound, err)
		}
		r := w.add(w.new("harbor"))
		poisoned(tidewaiter.AccessCheckWork)
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistryFail || got.FailReason != tidewaiter.FailServer || got.FailDetail == "" {
			t.Errorf("poisoned check: %+v", got)
		}
		_, err := w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Password: ptrTo("new " + password)})
		w.ok(err)
		w.passCheck()
		poisoned(tidewaiter.SyncWork)
		task := w.tasks()[0]
		if row := w.rows(task.ID)[0]; task.Ended.IsZero() || task.Failed != 1 || row.FailedReason == "" {
			t.Errorf("poisoned synchronisation: %+v, %+v", task, row)
		}
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistrySuccess {
			t.Errorf("the connection is said to be broken: %+v", got)
		}
		w.ok(w.failExhausted(ctx))
	})
}

func ptrTo[T any](v T) *T { return &v }

// TestUntaken: a registry whose check nobody takes says so after 30 s, and
// becomes right when somebody does.
func TestUntaken(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.add(w.new("harbor"))
		w.pass(20 * time.Second)
		w.ok(w.failUntaken(ctx))
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistryAccessing {
			t.Errorf("after 20 s: %+v", got)
		}
		w.pass(11 * time.Second)
		w.ok(w.failUntaken(ctx))
		got := w.registry(r.ID)
		if got.Status != tidewaiter.RegistryFail || got.FailReason != tidewaiter.FailCreateJob || !strings.Contains(got.FailDetail, "tidewaiter cluster token site") {
			t.Errorf("after 31 s: %+v", got)
		}
		w.ok(w.failUntaken(ctx))
		w.passCheck()
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistrySuccess || got.FailReason != "" || got.FailDetail != "" {
			t.Errorf("when a component came: %+v", got)
		}

		// A component that dies in the middle, and no other.
		_, err := w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Password: ptrTo("new " + password)})
		w.ok(err)
		w.lease("component-1", tidewaiter.AccessCheckWork)
		w.pass(50 * time.Second)
		w.ok(w.failUntaken(ctx))
		if got := w.registry(r.ID); got.Status != tidewaiter.RegistryAccessing {
			t.Errorf("while it is checked: %+v", got)
		}
		w.pass(time.Minute)
		w.ok(w.failUntaken(ctx))
		if got := w.registry(r.ID); got.FailReason != tidewaiter.FailCreateJob {
			t.Errorf("after the component died: %+v", got)
		}
	})
}

// TestTest waits for what a component says, and for no longer than it should.
func TestTest(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.ready("harbor")
		w.sync()
		type result struct {
			report protocol.AccessReport
			err    error
		}
		results := make(chan result)
		// test returns once the check is queued, or joined.
		test := func() {
			for len(w.wakes) > 0 {
				<-w.wakes
			}
			go func() {
				report, err := w.Test(ctx, w.everything(), r.ID)
				results <- result{report, err}
			}()
			<-w.wakes
		}
		test()
		test()
		work, l := w.lease("component-1")
		w.ok(w.finish(work, l, protocol.FinishRequest{Outcome: protocol.OutcomeDone, AccessCheck: goodReport()}))
		for range 2 {
			if got := <-results; got.err != nil || len(got.report.Steps) != 6 {
				t.Errorf("got %+v", got)
			}
		}
		_, _, err := w.tryLease("component-1")
		w.wants(tidewaiter.NotFound, err) // both waited for the same check

		test() // nobody takes it
		w.pass(31 * time.Second)
		got := <-results
		w.wants(tidewaiter.Unavailable, got.err)
		if !strings.Contains(got.err.Error(), "tidewaiter cluster token site") {
			t.Errorf("%q does not say what to do", got.err)
		}

		test() // joins the one that is still queued; it fails
		work, l = w.lease("component-1")
		w.ok(w.finish(work, l, failed(protocol.Failure{Code: tidewaiter.FailServer, Message: "it broke"})))
		got = <-results
		w.wants(tidewaiter.Unavailable, got.err)
		if !strings.Contains(got.err.Error(), "it broke") {
			t.Errorf("%q does not say why", got.err)
		}

		test() // the password has to be given again
		work, l = w.lease("component-1")
		w.ok(w.finish(work, l, failed(protocol.Failure{Code: tidewaiter.FailServer, Message: "other key", Credential: true})))
		got = <-results
		w.wants(tidewaiter.Conflict, got.err)

		test() // the component is slow
		w.lease("component-1")
		w.pass(91 * time.Second)
		got = <-results
		w.wants(tidewaiter.Unavailable, got.err)

		test() // the registry is deleted meanwhile
		w.ok(w.DeleteRegistries(ctx, w.everything(), []string{r.ID}))
		got = <-results
		if kind := tidewaiter.KindOf(got.err); got.err == nil || kind != tidewaiter.Conflict && kind != tidewaiter.NotFound {
			t.Errorf("got %+v", got)
		}
	})
}

// TestRetention keeps what is gone for as long as it should: an image that
// comes back in time is the same one, with its id and so its results.
func TestRetention(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		ids := func() map[string]int64 {
			t.Helper()
			list, _, err := w.Images(ctx, w.everything(), store.ImageFilter{}, store.Page{Limit: 10})
			w.ok(err)
			m := make(map[string]int64)
			for _, i := range list {
				m[i.Name+":"+i.Tag] = i.ID
			}
			return m
		}
		r := w.ready("harbor")
		all := []protocol.RepositoryReport{
			tagged("team/app", true, "v1", imageOf("1"), "v2", imageOf("2")), tagged("team/old", true, "v1", imageOf("3"), "chart", chartOf("1"))}
		w.sync(all...)
		first := ids()
		w.pass(time.Hour)
		w.wish()
		w.sync(tagged("team/app", true, "v2", imageOf("2")))
		if got := ids(); len(first) != 3 || len(got) != 1 || got["app:v2"] != first["app:v2"] {
			t.Errorf("images %v, then %v", first, got)
		}
		w.pass(7*24*time.Hour - time.Minute)
		w.ok(w.Sweep(ctx))
		w.wish()
		w.sync(all...)
		if diff := cmp.Diff(first, ids()); diff != "" {
			t.Errorf("what came back in time is not what it was:\n%s", diff)
		}
		w.wish()
		w.sync(tagged("team/app", true, "v2", imageOf("2")))
		w.pass(7*24*time.Hour + time.Minute)
		w.ok(w.Sweep(ctx))
		if list, n, err := w.db.Repositories(ctx, r.ID, store.Page{Limit: 10}); err != nil || n != 1 {
			t.Errorf("repositories %+v, %v", list, err)
		}
		w.wish()
		w.sync(all...)
		if got := ids(); len(got) != 3 || got["app:v2"] != first["app:v2"] || got["app:v1"] == first["app:v1"] || got["old:v1"] == first["old:v1"] {
			t.Errorf("images %v, after those of before were removed: %v", got, first)
		}

		last := w.wish()
		w.pass(31 * 24 * time.Hour)
		w.ok(w.Sweep(ctx))
		if tasks := w.tasks(); len(tasks) != 1 || tasks[0].ID != last.ID {
			t.Errorf("tasks %+v, want the one that has not ended", tasks)
		}
	})
}

// TestJoin: a second wish joins the synchronisation that waits or is under way.
func TestJoin(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r := w.ready("harbor")
		w.wish()
		work, l := w.lease("component-1")
		w.wish()
		if _, _, err := w.tryLease("component-2"); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("one registry is synchronised twice at once: %v", err)
		}
		w.ok(w.finish(work, l, done()))
		for _, task := range w.tasks() {
			if task.Finished != 1 || task.Ended.IsZero() || w.rows(task.ID)[0].WorkID != work.ID {
				t.Errorf("task %+v", task)
			}
		}
		if n := len(w.tasks()); n != 3 {
			t.Errorf("%d tasks", n)
		}
		_, err := w.Synchronize(t.Context(), w.everything(), Wish{Kind: tidewaiter.ManualSync, IDs: []string{r.ID, "no-such"}})
		w.wants(tidewaiter.NotFound, err)
		if !strings.Contains(err.Error(), "position 2") {
			t.Errorf("%q does not say which", err)
		}
		_, err = w.Synchronize(t.Context(), w.everything(), Wish{Kind: tidewaiter.ManualSync, Types: []tidewaiter.RegistryType{tidewaiter.RegistryJfrog}})
		w.wants(tidewaiter.NotFound, err)
		_, err = w.Synchronize(t.Context(), w.everything(), Wish{Kind: tidewaiter.ManualSync, IDs: []string{}})
		w.wants(tidewaiter.NotFound, err)
	})
}
