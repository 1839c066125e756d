package snapshots_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// counting counts what comes into force.
type counting struct {
	snapshots.Activator

	n int
}

func (c *counting) Activate(ctx context.Context, a snapshots.Activation) error {
	c.n++
	return c.Activator.Activate(ctx, a)
}

// broken fails before a set comes into force, or within the transaction.
type broken struct {
	snapshots.Activator

	within bool
}

var errPlanted = errors.New("planted")

func (b broken) Activate(ctx context.Context, a snapshots.Activation) error {
	if !b.within {
		return errPlanted
	}
	inner := a.Put
	a.Put = func(ctx context.Context, tx *store.DB) (int64, error) {
		n, err := inner(ctx, tx)
		return n, errors.Join(err, errPlanted)
	}
	return b.Activator.Activate(ctx, a)
}

func (w *world) state() store.AdvisoryState {
	w.Helper()
	state, err := w.db.AdvisoryState(context.Background())
	w.ok(err)
	return state
}

// sources are the locations of the sources in force.
func (w *world) sources() (list []string) {
	w.Helper()
	sources, err := w.db.AdvisorySources(context.Background())
	w.ok(err)
	for _, s := range sources {
		list = append(list, s.Location)
	}
	return list
}

// files counts the sets and the sources in the folder.
func (w *world) files() (sets, sources int) {
	w.Helper()
	a, err := filepath.Glob(filepath.Join(w.folder, "*.advisories"))
	w.ok(err)
	b, err := filepath.Glob(filepath.Join(w.folder, "sources", "*"))
	w.ok(err)
	return len(a), len(b)
}

func TestImportTwiceDoesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		to := &counting{Activator: w.findings}
		path := w.file("all.zip", archive(t, advisory("A-1", 1)))
		first, err := w.sets.Import(ctx, []string{path}, to)
		w.ok(err)
		if first.Unchanged || to.n != 1 {
			t.Fatalf("got %+v after %d", first, to.n)
		}
		before := w.state()
		w.later(time.Hour)
		again, err := w.sets.Import(ctx, []string{path, path}, to)
		w.ok(err)
		if !again.Unchanged || to.n != 1 || again.Set.Digest != first.Set.Digest || w.state() != before {
			t.Errorf("got %+v after %d", again, to.n)
		}
		// Of another file and order, but nothing else: it is the same set.
		other := w.file("other.json", []byte(" ["+advisory("A-1", 1)+"]"))
		same, err := w.sets.Import(ctx, []string{other}, to)
		w.ok(err)
		if !same.Unchanged || to.n != 1 || same.Set.Number != first.Set.Number || w.state() != before {
			t.Errorf("got %+v after %d", same, to.n)
		}
		if got := w.sources(); len(got) != 2 {
			t.Errorf("the sources are %q", got)
		}
		// When it was imported last is known.
		sources, err := db.AdvisorySources(ctx)
		w.ok(err)
		for _, s := range sources {
			if !s.Imported.Equal(w.clock()) || s.Advisories != 1 {
				t.Errorf("got %+v", s)
			}
		}
		w.holds("A-1")
		w.tidy()
	})
}

func TestForget(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		one := w.file("one.zip", archive(t, advisory("A-1", 1), advisory("A-2", 1)))
		two := w.file("two.zip", archive(t, advisory("A-2", 1), advisory("A-3", 9)))
		_, err := w.sets.Import(ctx, []string{one, two}, w.findings)
		w.ok(err)
		w.holds("A-1", "A-2", "A-3")
		for _, location := range []string{w.TempDir(), "https://example.com/all.zip"} {
			_, err = w.sets.Forget(ctx, location, w.findings)
			w.wants(err, tidewaiter.NotFound, "nothing was imported from there")
		}
		for _, location := range []string{"", "a\nb", "https://me:planted@example.com"} {
			_, err = w.sets.Forget(ctx, location, w.findings)
			w.wants(err, tidewaiter.Invalid, "")
		}
		// What was newest goes: that is no older set than the one in force.
		r, err := w.sets.Forget(ctx, two, w.findings)
		w.ok(err)
		if r.Unchanged || r.Set.Advisories != 2 {
			t.Errorf("got %+v", r)
		}
		w.holds("A-1", "A-2")
		if got := w.sources(); !slices.Equal(got, []string{one}) {
			t.Errorf("the sources are %q", got)
		}
		// What was forgotten may come back as it was.
		_, err = w.sets.Rollback(ctx, "", w.findings)
		w.ok(err)
		w.holds("A-1", "A-2", "A-3")
		if got := w.sources(); !slices.Equal(got, []string{one, two}) {
			t.Errorf("the sources are %q", got)
		}
		// The last source: a set of nothing is in force, and another begins anew.
		for _, location := range []string{two, one} {
			_, err = w.sets.Forget(ctx, location, w.findings)
			w.ok(err)
		}
		w.holds()
		if got := w.sources(); got != nil {
			t.Errorf("the sources are %q", got)
		}
		w.ok(os.WriteFile(one, archive(t, advisory("B-1", 1)), 0o600))
		_, err = w.sets.Import(ctx, []string{one}, w.findings)
		w.ok(err)
		w.holds("B-1")
		w.tidy()
	})
}

// TestFailedActivations: what was in force is, with its sources, whichever step
// fails; the next import goes well; and only what was in force is gone back to.
func TestFailedActivations(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		path := filepath.Join(t.TempDir(), "all.zip")
		bring := func(day int, to snapshots.Activator) error {
			t.Helper()
			w.ok(os.WriteFile(path, archive(t, advisory(fmt.Sprintf("A-%d", day), day)), 0o600))
			_, err := w.sets.Import(ctx, []string{path}, to)
			return err
		}
		w.ok(bring(1, w.findings))
		w.ok(bring(2, w.findings))
		before := w.state()
		for day := 3; day <= 6; day++ {
			if err := bring(day, broken{w.findings, day%2 == 0}); !errors.Is(err, errPlanted) {
				t.Errorf("got %v", err)
			}
			w.open() // as after the end of the process
			w.holds("A-2")
			sources, err := db.AdvisorySources(ctx)
			w.ok(err)
			if len(sources) != 1 || sources[0].Newest.Day() != 2 || w.state() != before {
				t.Errorf("got %+v", sources)
			}
		}
		// The set before may be gone back to, in spite of failures.
		if _, err := w.sets.Rollback(ctx, "", broken{w.findings, true}); !errors.Is(err, errPlanted) {
			t.Errorf("got %v", err)
		}
		w.holds("A-2")
		w.ok(bring(6, w.findings))
		w.holds("A-6")
		_, err := w.sets.Rollback(ctx, "", w.findings)
		w.ok(err)
		w.holds("A-2")
		_, err = w.sets.Rollback(ctx, "", w.findings)
		w.ok(err)
		w.holds("A-1")
		w.tidy()
	})
}

// TestRollbackFails: what is in force stays where the file of the set before is
// gone or damaged.
func TestRollbackFails(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	_, err := w.sets.Rollback(ctx, "", w.findings)
	w.wants(err, tidewaiter.NotFound, "no such earlier set")
	path := w.file("all.zip", archive(t, advisory("A-1", 1)))
	first, err := w.sets.Import(ctx, []string{path}, w.findings)
	w.ok(err)
	w.ok(os.WriteFile(path, archive(t, advisory("A-2", 2)), 0o600))
	second, err := w.sets.Import(ctx, []string{path}, w.findings)
	w.ok(err)
	set, err := w.sets.Rollback(ctx, second.Set.Digest, &counting{}) // it is in force
	w.ok(err)
	if set.Number != second.Set.Number {
		t.Errorf("got %+v", set)
	}
	file := filepath.Join(w.folder, strings.ReplaceAll(string(first.Set.Digest), ":", "-")+".advisories")
	text, err := os.ReadFile(file)
	w.ok(err)
	w.ok(os.Remove(file))
	if _, err := w.sets.Rollback(ctx, "", w.findings); err == nil {
		t.Error("it went back to a set that is gone")
	}
	w.holds("A-2")
	text[len(text)/2] ^= 1
	w.ok(os.WriteFile(file, text, 0o600))
	if _, err := w.sets.Rollback(ctx, "", w.findings); err == nil {
		t.Error("it went back to a set that is damaged")
	}
	w.open()
	w.holds("A-2")
}

// TestRollbackGoesBackInTime: the set before is the one that was made before, also
// where the one in force was known already; its sources are those that it had last.
func TestRollbackGoesBackInTime(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		one, same := w.file("one.zip", archive(t, advisory("A-1", 1))), w.file("same.json", []byte("["+advisory("A-1", 1)+"]"))
		two := w.file("two.zip", archive(t, advisory("A-2", 2)))
		for _, path := range []string{one, same, two} {
			_, err := w.sets.Import(ctx, []string{path}, w.findings)
			w.ok(err)
		}
		// The clock stands still; and this is the first set again.
		_, err := w.sets.Forget(ctx, two, w.findings)
		w.ok(err)
		w.holds("A-1")
		_, err = w.sets.Rollback(ctx, "", w.findings)
		w.ok(err)
		w.holds("A-1", "A-2")
		_, err = w.sets.Rollback(ctx, "", w.findings)
		w.wants(err, tidewaiter.NotFound, "no such earlier set")

		three := w.file("three.zip", archive(t, advisory("A-3", 3)))
		_, err = w.sets.Import(ctx, []string{three}, w.findings)
		w.ok(err)
		w.holds("A-1", "A-2", "A-3")
		// Before it somebody had gone back: to that, and not to what was left.
		_, err = w.sets.Rollback(ctx, "", w.findings)
		w.ok(err)
		w.holds("A-1", "A-2")
		_, err = w.sets.Forget(ctx, two, w.findings)
		w.ok(err)
		w.holds("A-1")
		if got := w.sources(); !slices.Equal(got, []string{one, same}) {
			t.Errorf("the sources are %q", got)
		}
		w.tidy()
	})
}

// TestSourceGone: another import needs what was kept of all sources.
func TestSourceGone(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	one, two := w.file("one.zip", archive(t, advisory("A-1", 1))), w.file("two.zip", archive(t, advisory("A-2", 1)))
	_, err := w.sets.Import(ctx, []string{one}, w.findings)
	w.ok(err)
	kept, err := filepath.Glob(filepath.Join(w.folder, "sources", "*"))
	w.ok(err)
	for _, path := range kept {
		w.ok(os.Remove(path))
	}
	_, err = w.sets.Import(ctx, []string{two}, w.findings)
	w.wants(err, tidewaiter.Conflict, "import the source again, or forget it")
	w.holds("A-1")
	_, err = w.sets.Import(ctx, []string{one, two}, w.findings)
	w.ok(err)
	w.holds("A-1", "A-2")
	w.tidy()
}

// TestFailuresLeaveNothing: sources that were refused are not kept.
func TestFailuresLeaveNothing(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	s := newSite(t, archive(t, advisory("A-1", 1)))
	_, err := w.sets.Import(ctx, []string{s.url()}, w.findings)
	w.ok(err)
	for name, content := range damaged(t) {
		if len(content) > 64<<10 {
			continue // it takes long to read
		}
		s.set(func() { s.content, s.tag = content, `"`+name+`"` })
		r, err := w.sets.Update(ctx, nil, w.findings)
		w.ok(err)
		if len(r.Failed) != 1 || !r.Unchanged {
			t.Errorf("%s: got %+v", name, r)
		}
	}
	if sets, sources := w.files(); sets != 1 || sources != 1 {
		t.Errorf("kept are %d sets and %d sources", sets, sources)
	}
	w.holds("A-1")
}

// TestOldSetIsReadToItsEnd: a reader keeps the set that it began with.
func TestOldSetIsReadToItsEnd(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		path := filepath.Join(t.TempDir(), "all.zip")
		bring := func(day int) {
			t.Helper()
			w.ok(os.WriteFile(path, archive(t, advisory(fmt.Sprintf("A-%d", day), day)), 0o600))
			_, err := w.sets.Import(ctx, []string{path}, w.findings)
			w.ok(err)
		}
		bring(1)
		index, generation, release, err := w.sets.InForce(ctx)
		w.ok(err)
		for day := 2; day <= 6; day++ { // its file is removed on the way
			bring(day)
		}
		w.holds("A-6")
		if _, err := index.Advisory("A-1"); err != nil {
			t.Error(err)
		}
		release()
		release() // does no harm
		_, now, release, err := w.sets.InForce(ctx)
		w.ok(err)
		release()
		if now != generation+5 {
			t.Errorf("got generation %d after %d", now, generation)
		}
	})
}

// TestSweep: what a killed import left is removed by the next.
func TestSweep(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	path := w.file("all.zip", archive(t, advisory("A-1", 1)))
	_, err := w.sets.Import(ctx, []string{path}, w.findings)
	w.ok(err)
	for _, name := range []string{".advisories-1.tmp", ".part-2.tmp", "sources/.part-3.tmp"} {
		w.ok(os.WriteFile(filepath.Join(w.folder, name), []byte("half"), 0o600))
	}
	// Who has no lock may be fetching a file.
	fetching, left := filepath.Join(w.folder, ".fetch-4.tmp"), filepath.Join(w.folder, ".fetch-5.tmp")
	for _, name := range []string{fetching, left} {
		w.ok(os.WriteFile(name, []byte("half"), 0o600))
	}
	long := time.Now().Add(-2 * time.Hour)
	w.ok(os.Chtimes(left, long, long))
	_, err = w.sets.Import(ctx, []string{path}, w.findings)
	w.ok(err)
	if _, err := os.Stat(fetching); err != nil {
		t.Errorf("what is being fetched is gone: %v", err)
	}
	w.ok(os.Remove(fetching))
	w.tidy()
	w.holds("A-1")
}

// TestStatus shows what is in force, before and after there is something.
func TestStatus(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		st, err := w.sets.Status(ctx)
		w.ok(err)
		if st.State.SetNumber != 0 || len(st.Sets) != 0 || len(st.Sources) != 0 || st.Meta.Advisories != 0 {
			t.Errorf("got %+v", st)
		}
		path := w.file("all.zip", archive(t, advisory("A-1", 1), `{"id": "A-2", "affected": 1}`))
		r, err := w.sets.Import(ctx, []string{path}, w.findings)
		w.ok(err)
		st, err = w.sets.Status(ctx)
		w.ok(err)
		if st.State.Digest != r.Set.Digest || len(st.Sets) != 1 || st.Sets[0].Number != st.State.SetNumber || st.Meta.Advisories != 1 || st.Meta.Ecosystems["npm"] != 1 {
			t.Errorf("got %+v", st)
		}
		if len(st.Sources) != 1 || st.Sources[0].Location != path || st.Sources[0].Refused != 1 || st.Sources[0].Newest.Day() != 1 {
			t.Errorf("got %+v", st.Sources)
		}
	})
}

// TestFutureDates: an advisory that was changed in the future does not have all
// that comes later be older.
func TestFutureDates(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	far := strings.Replace(advisory("A-2", 2), "2026-01-02", "2999-01-02", 1)
	path := filepath.Join(t.TempDir(), "all.zip")
	for day, list := range [][]string{{advisory("A-1", 1), far}, {advisory("A-1", 3), advisory("A-3", 3)}} {
		w.ok(os.WriteFile(path, archive(t, list...), 0o600))
		_, err := w.sets.Import(ctx, []string{path}, w.findings)
		w.ok(err)
		st, err := w.sets.Status(ctx)
		w.ok(err)
		if got := st.Sources[0].Newest.Format(time.DateOnly); got != []string{"2026-01-01", "2026-01-03"}[day] || !st.Sets[0].Newest.Equal(st.Sources[0].Newest) {
			t.Errorf("the newest is of %s, and of the set of %s", got, st.Sets[0].Newest)
		}
	}
	w.holds("A-1", "A-3")
}
