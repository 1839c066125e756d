package scan

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (w *world) want(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

// stocked has a registry r with a:x and b:x of one digest, a:y, and the index
// a:multi.
func stocked(t *testing.T, db *store.DB, raw *sql.DB) (*world, string) {
	w := newWorld(t, db, raw)
	r := w.newRegistry("r")
	w.sync(r, content{"a": {"x": 0, "y": 1, "multi": 4}, "b": {"x": 0}})
	return w, r
}

func TestStopTask(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w, _ := stocked(t, db, raw)
		ctx := t.Context()
		w.scan("r/a:y")
		w.doAll()
		w.sync(w.image("r/a:x").RegistryID, content{"a": {"x": 0, "y": 1, "multi": 4, "z": -1}, "b": {"x": 0}})
		task := w.scan()
		w.want("the task", w.progress(task.ID), "running: 1 and 1 of 5") // a:y is known, a:z cannot be scanned
		j := w.nextOf("one", 0)
		w.want("both tags of what is scanned", w.status("r/a:x")+", "+w.status("r/b:x"), "scanning, scanning")

		w.ok(w.Stop(ctx, w.everything(), task.ID))
		w.want("the task", w.progress(task.ID), "stopped: 1 and 1 of 5")
		for name, want := range map[string]string{"r/a:x": "unscan", "r/b:x": "unscan", "r/a:y": "success", "r/a:multi": "unscan", "r/a:z": "failed unknown_error"} {
			w.want(name, w.status(name), want)
		}
		if w.next("two") != nil {
			t.Error("a task that was stopped gives out work")
		}
		held, err := db.HeartbeatWork(ctx, j.lease, w.time.Add(leaseTime), tidewaiter.WorkProgress{})
		if w.ok(err); !held.Stop {
			t.Error("the heartbeat does not say that the scan is to stop")
		}
		if _, err := j.layers(0, "usual"); protocol.CodeOf(err) != protocol.ErrLeaseLost {
			t.Errorf("a layer for a scan that is to stop: %v", err)
		}
		if err := j.report(0, "usual", ""); protocol.CodeOf(err) != protocol.ErrLeaseLost {
			t.Errorf("a report of a scan that is to stop: %v", err)
		}

		// Somebody wants the image again while the component has not noticed yet.
		again := w.scan("r/a:x")
		w.want("r/b:x", w.status("r/b:x"), "waiting_for_scan")
		w.ok(j.finish(protocol.FinishRequest{Outcome: protocol.OutcomeDone}))
		w.want("the task again", w.progress(again.ID), "running: 0 and 0 of 1")
		if got := w.doAll(); !slices.Equal(got, []thing{0}) {
			t.Errorf("scanned: %v", got)
		}
		w.want("the task again", w.progress(again.ID), "finished: 1 and 0 of 1")
		w.want("the task", w.progress(task.ID), "stopped: 1 and 1 of 5")
		w.want("r/b:x", w.status("r/b:x"), "success")

		w.ok(w.Stop(ctx, w.everything(), task.ID)) // once more
		if err := w.Stop(ctx, w.everything(), again.ID); tidewaiter.KindOf(err) != tidewaiter.Conflict {
			t.Errorf("a task that has ended is stopped: %v", err)
		}
		for _, e := range []tidewaiter.Extent{{ProjectID: "another", All: true}, {ProjectID: w.project, EnterpriseProjects: []string{"1"}}} {
			if err := w.Stop(ctx, e, task.ID); tidewaiter.KindOf(err) != tidewaiter.NotFound {
				t.Errorf("somebody else's task is stopped: %v", err)
			}
		}
	})
}

func TestTwoTasksWantOneImage(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w, _ := stocked(t, db, raw)
		one, two := w.scan("r/a:x", "r/a:y"), w.scan("r/b:x")
		j := w.nextOf("one", 0)
		w.ok(w.Stop(t.Context(), w.everything(), one.ID))
		w.want("one", w.progress(one.ID), "stopped: 0 and 0 of 2")
		w.want("what the other wants too", w.status("r/a:x"), "scanning")
		w.want("what it does not", w.status("r/a:y"), "unscan")
		held, err := db.Holds(t.Context(), j.lease)
		if w.ok(err); held.Stop {
			t.Error("a scan that another task wants is to stop")
		}
		j.do()
		w.want("two", w.progress(two.ID), "finished: 1 and 0 of 1")
		w.want("one", w.progress(one.ID), "stopped: 0 and 0 of 2")
		w.want("r/a:x", w.status("r/a:x"), "success")
		if w.next("one") != nil {
			t.Error("there is more work")
		}
	})
}

// TestLastGoodResultStays fails a scan of an image that was scanned well.
func TestLastGoodResultStays(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w, _ := stocked(t, db, raw)
		w.scan("r/a:y")
		w.doAll()
		before, err := db.Result(t.Context(), w.image("r/a:y").ManifestID)
		w.ok(err)

		// Newer extractors look again, and find less.
		w.Service = New(Options{Store: db, Extractors: "set-3", Now: func() time.Time { return w.time }})
		task := w.scan("r/a:y")
		j := w.next("one")
		w.ok(j.report(1, "usual", tidewaiter.FailDownload))
		w.ok(j.finish(protocol.FinishRequest{Outcome: protocol.OutcomeDone}))
		w.want("the task", w.progress(task.ID), "finished: 0 and 1 of 1")
		w.want("r/a:y", w.status("r/a:y"), "failed download_failed")
		after, err := db.Result(t.Context(), w.image("r/a:y").ManifestID)
		if w.ok(err); len(after.Packages) != 1 || !after.Complete || !after.Scanned.Equal(before.Scanned) {
			t.Errorf("the last good result has become %+v", after)
		}

		// They are cut short by limits.
		w.set = "set-3"
		task = w.scan("r/a:y")
		j = w.next("one")
		_, err = j.layers(1, "narrow")
		w.ok(err)
		w.ok(j.send(1, "narrow", true))
		w.ok(j.report(1, "narrow", ""))
		w.ok(j.finish(protocol.FinishRequest{Outcome: protocol.OutcomeDone}))
		w.want("the task", w.progress(task.ID), "finished: 0 and 1 of 1")
		w.want("r/a:y", w.status("r/a:y"), "failed failed_to_scan_software")
		after, err = db.Result(t.Context(), w.image("r/a:y").ManifestID)
		if w.ok(err); !after.Complete || after.Extractors != extractors {
			t.Errorf("the last good result has become %+v", after)
		}

		// With others they are not.
		w.scan("r/a:y")
		j = w.next("one")
		j.do()
		after, err = db.Result(t.Context(), w.image("r/a:y").ManifestID)
		if w.ok(err); !after.Complete || after.Extractors != "set-3" || w.status("r/a:y") != "success" {
			t.Errorf("the result is %+v", after)
		}
	})
}

// TestKnownImageNeedsNoWork scans what is known already.
func TestKnownImageNeedsNoWork(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w, r := stocked(t, db, raw)
		w.scan()
		w.doAll()
		scanned := w.image("r/a:x").Scan.Scanned
		w.pass(time.Hour)
		task := w.scan()
		w.want("the task", w.progress(task.ID), "finished: 4 and 0 of 4")
		if w.next("one") != nil {
			t.Error("what is known needs work")
		}
		if got := w.image("r/a:x").Scan.Scanned; !got.Equal(scanned.Add(time.Hour)) {
			t.Errorf("scanned at %s, then at %s", scanned, got)
		}
		// Another tag of what is known, too.
		w.sync(r, content{"a": {"x": 0, "y": 1, "multi": 4}, "b": {"x": 0, "copy": 1}})
		w.want("r/b:copy", w.status("r/b:copy"), "success")
		w.want("a tag that moved", w.progress(w.scan("r/b:copy").ID), "finished: 1 and 0 of 1")

		// Newer extractors make work of it.
		w.Service = New(Options{Store: db, Extractors: "set-3", Now: func() time.Time { return w.time }})
		w.want("with newer extractors", w.progress(w.scan("r/a:y").ID), "running: 0 and 0 of 1")
	})
}

func TestRateLimit(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w := newWorld(t, db, raw)
		tags := map[string]thing{"0": 0, "1": 1, "2": 2, "3": 3}
		w.sync(w.newRegistry("r"), content{"a": tags})
		wish := Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualScan, RateLimit: 60, All: true}
		_, err := w.Create(t.Context(), w.everything(), wish)
		w.ok(err)
		one := func(x thing, problem string) {
			t.Helper()
			j := w.next("one")
			if j == nil || j.thing() != x {
				t.Fatal(problem)
			}
			j.do()
			if w.next("one") != nil {
				t.Fatal("there is more work than the rate limit allows")
			}
		}
		one(0, "at once there is to be one scan")
		// A second task with a limit makes none of these earlier, one without does.
		_, err = w.Create(t.Context(), w.everything(), wish)
		w.ok(err)
		if w.next("one") != nil {
			t.Fatal("a task with a rate limit hurries the scans of another")
		}
		w.pass(time.Minute)
		one(1, "after a minute there is to be another")
		w.scan("r/a:3")
		one(3, "a task without a rate limit waits")
		w.pass(time.Minute - time.Second)
		if w.next("one") != nil {
			t.Fatal("the third comes too early")
		}
		w.pass(time.Second)
		one(2, "the third does not come")

		// For hours there is no component. What was missed is not made up for at once.
		w.sync(w.image("r/a:0").RegistryID, content{"a": {"0": 10, "1": 11, "2": 12, "3": 13, "4": 14}})
		task, err := w.Create(t.Context(), w.everything(), wish)
		w.ok(err)
		w.pass(5 * time.Hour)
		w.ok(w.keepRates(t.Context()))
		for n := range 5 {
			if j := w.any(); j == nil {
				t.Fatalf("%d are there, and no more", n)
			}
			if w.any() != nil {
				t.Fatal("what was missed is made up for at once")
			}
			w.ok(w.keepRates(t.Context()))
			w.pass(time.Minute)
		}
		w.want("the task", w.progress(task.ID), "finished: 0 and 5 of 5")
	})
}

// any fails the next scan, whatever it is about, or returns nil.
func (w *world) any() *job {
	w.t.Helper()
	j := w.next("one")
	if j != nil {
		w.ok(j.finish(protocol.FinishRequest{Outcome: protocol.OutcomeFailed, Failure: &protocol.Failure{Code: tidewaiter.FailDownload, Message: "it failed"}}))
	}
	return j
}

// TestImageVanishes takes away what a task waits for.
func TestImageVanishes(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w, r := stocked(t, db, raw)
		task := w.scan("r/a:x", "r/a:y")
		w.sync(r, content{"a": {"y": 2}}) // a:y stands for another image
		if got := w.doAll(); !slices.Equal(got, []thing{0}) {
			t.Errorf("scanned: %v", got) // a tag that is gone may come again
		}
		w.want("the task", w.progress(task.ID), "finished: 1 and 1 of 2")
		w.want("r/a:y", w.status("r/a:y"), "unscan")
		list, _, err := w.Tasks(t.Context(), w.everything(), store.ScanTaskFilter{ID: task.ID}, store.Page{Limit: 1})
		w.ok(err)
		if f := list[0].Failures; len(f) != 1 || f[0].Code != tidewaiter.FailNotFound || f[0].Tag != "y" || f[0].Reason != goneOutcome().Reason {
			t.Errorf("failures: %+v", f)
		}

		// The registry goes, while one scan is under way.
		r2 := w.newRegistry("r2")
		w.sync(r2, content{"a": {"x": 0, "y": 1, "z": 3}})
		task = w.scan("r2/a:x", "r2/a:y", "r2/a:z")
		j := w.next("one")
		w.deleteRegistry(r2)
		w.want("the task", w.progress(task.ID), "finished: 0 and 3 of 3")
		if err := j.report(0, "usual", ""); protocol.CodeOf(err) != protocol.ErrLeaseLost {
			t.Errorf("a report about nothing: %v", err)
		}
		w.ok(j.finish(protocol.FinishRequest{Outcome: protocol.OutcomeDone}))
		if w.next("one") != nil {
			t.Error("there is work about nothing")
		}

		// A manifest is purged while a task waits for it.
		r3 := w.newRegistry("r3")
		w.sync(r3, content{"a": {"x": 0}})
		task = w.scan("r3/a:x")
		w.pass(time.Second)
		w.sync(r3, content{"a": {"x": 1}})
		w.pass(time.Second)
		w.purge()
		w.want("the task", w.progress(task.ID), "finished: 0 and 1 of 1")
		if w.next("one") != nil {
			t.Error("there is work about nothing")
		}
	})
}

// purge removes all that is gone by now.
func (w *world) purge() {
	w.t.Helper()
	for {
		n, err := w.db.PurgeGone(w.t.Context(), w.time, 100)
		if w.ok(err); n == 0 {
			return
		}
	}
}

// TestLargeTask has more images than are looked at together, and is stopped
// before it has found all.
func TestLargeTask(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w := newWorld(t, db, raw)
		a, b := make(map[string]thing), make(map[string]thing)
		for i := range 1200 {
			a[fmt.Sprint("t", i)], b[fmt.Sprint("t", i)] = thing(10_000+i), thing(20_000+i)
		}
		w.sync(w.newRegistry("r"), content{"a": a, "b": b})
		ctx := t.Context()
		task := w.scan()
		w.want("at first", w.progress(task.ID), "running: 0 and 0 of 500")
		w.ok(w.expand(ctx, task.ID))
		w.ok(w.Stop(ctx, w.everything(), task.ID))
		w.want("once stopped", w.progress(task.ID), "stopped: 0 and 0 of 1000")
		if w.next("one") != nil {
			t.Error("a task that was stopped gives out work")
		}
		again := w.scan()
		w.ok(w.expandAll(ctx))
		w.want("once all are found", w.progress(again.ID), "running: 0 and 0 of 2400")
		w.want("how much work", w.text("SELECT COUNT(*) FROM work WHERE state = 'queued'"), "2400")
		n, total, err := w.db.Images(ctx, w.everything(), store.ImageFilter{ScanStatuses: []string{tidewaiter.WaitingForScan}}, store.Page{Limit: 1})
		if w.ok(err); total != 2400 || len(n) != 1 {
			t.Errorf("%d images wait", total)
		}
		w.ok(w.Stop(ctx, w.everything(), again.ID))
		w.want("while it stops", w.progress(again.ID), "stopping: 0 and 0 of 2400")
		if w.next("one") != nil {
			t.Error("a task that is stopping gives out work")
		}
		w.ok(w.Stop(ctx, w.everything(), again.ID)) // once more
		w.ok(w.stopAll(ctx))
		w.want("once stopped", w.progress(again.ID), "stopped: 0 and 0 of 2400")
		if _, total, err = w.db.Images(ctx, w.everything(), store.ImageFilter{ScanStatuses: []string{tidewaiter.Unscanned}}, store.Page{Limit: 1}); err != nil || total != 2400 {
			t.Errorf("%d images are as they were: %v", total, err)
		}
	})
}

func TestRemaining(t *testing.T) {
	now := store.Now()
	for _, tt := range []struct {
		task tidewaiter.ScanTask
		want time.Duration
	}{
		{tidewaiter.ScanTask{State: tidewaiter.ScanRunning, Total: 10}, 0},
		{tidewaiter.ScanTask{State: tidewaiter.ScanRunning, Total: 10, Succeeded: 2, Failed: 3, Pace: tidewaiter.ScanPace{Since: now.Add(-time.Minute), Images: 5}}, time.Minute},
		{tidewaiter.ScanTask{State: tidewaiter.ScanRunning, Total: 10, RateLimit: 60}, 10 * time.Minute},
		{tidewaiter.ScanTask{State: tidewaiter.ScanRunning, Total: 10, RateLimit: 600, Pace: tidewaiter.ScanPace{Since: now.Add(-time.Hour), Images: 1}}, 10 * time.Hour},
		{tidewaiter.ScanTask{State: tidewaiter.ScanFinished, Total: 10, RateLimit: 60}, 0},
		{tidewaiter.ScanTask{State: tidewaiter.ScanRunning, Total: 10, Succeeded: 10}, 0},
	} {
		if got := tt.task.Remaining(now); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.task, got, tt.want)
		}
	}
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w := newWorld(t, db, raw)
		w.sync(w.newRegistry("r"), content{"a": {"0": 0, "1": 1, "2": 2, "3": 3}})
		task := w.scan()
		for i, want := range []time.Duration{15 * time.Minute, 10 * time.Minute, 5 * time.Minute, 0} {
			w.pass(5 * time.Minute)
			w.next("one").do()
			got, err := w.task(t.Context(), task.ID)
			if w.ok(err); got.Remaining(w.time) != want {
				t.Errorf("after %d: %s, want %s (%+v)", i+1, got.Remaining(w.time), want, got.Pace)
			}
		}
	})
}

// TestSelection makes tasks about what filters let through.
func TestSelection(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w, r := stocked(t, db, raw)
		w.scan()
		j := w.nextOf("one", 1)
		w.ok(j.finish(protocol.FinishRequest{Outcome: protocol.OutcomeFailed, Failure: &protocol.Failure{Code: tidewaiter.FailDownload, Message: "it failed"}}))
		w.doAll()
		no := false
		for i, tt := range []struct {
			filter store.ImageFilter
			want   string
		}{
			{store.ImageFilter{}, "4"},
			{store.ImageFilter{Software: "package0"}, "3"}, // two tags, and the index
			{store.ImageFilter{Software: "package1"}, "2"}, // the index, and what is known of its image by that
			{store.ImageFilter{Software: "package*"}, "4"},
			{store.ImageFilter{Software: "Package0"}, "none"},
			{store.ImageFilter{FailedCodes: []string{tidewaiter.FailDownload}, ScanStatuses: []string{tidewaiter.ScanFailed}}, "1"},
			{store.ImageFilter{FailedCodes: []string{tidewaiter.FailImageSize}}, "none"},
			{store.ImageFilter{RegistryIDs: []string{r}, MultiArch: &no}, "3"},
			{store.ImageFilter{RegistryIDs: []string{}}, "none"},
			{store.ImageFilter{Name: "a", Tag: "x"}, "1"},
			{store.ImageFilter{Namespace: "b"}, "none"},
			{store.ImageFilter{ScannedTo: &w.time}, "4"},
		} {
			task, err := w.Create(t.Context(), w.everything(), Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualScan, Selection: store.Selection{Filter: tt.filter}})
			got := fmt.Sprint(task.Total)
			if tidewaiter.KindOf(err) == tidewaiter.NotFound && err != nil {
				got, err = "none", nil
			}
			if w.ok(err); got != tt.want {
				t.Errorf("%d: %+v: %s images, want %s", i, tt.filter, got, tt.want)
			}
			if task.State == tidewaiter.ScanRunning {
				w.ok(w.Stop(t.Context(), w.everything(), task.ID))
			}
		}
	})
}
