package scan

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// cycles returns the progress of all tasks of policies, newest first.
func (w *world) cycles() string {
	w.t.Helper()
	list, _, err := w.Tasks(w.t.Context(), w.everything(), store.ScanTaskFilter{Kinds: []tidewaiter.ScanTaskKind{tidewaiter.CycleScan}}, store.Page{Limit: 100})
	w.ok(err)
	out := make([]string, 0, len(list))
	for _, t := range list {
		out = append(out, fmt.Sprintf("%s %d/%d", t.State, t.Succeeded, t.Total))
	}
	return strings.Join(out, ", ")
}

func (w *world) policy(p tidewaiter.ScanPolicy) {
	w.t.Helper()
	p.ProjectID, p.EnterpriseProjectID, p.Scope = w.project, "0", tidewaiter.ScopeAll
	w.ok(w.SetPolicy(w.t.Context(), p))
}

// next run returns when the policy runs next, from now on.
func (w *world) nextRun() string {
	w.t.Helper()
	p, err := w.Policy(w.t.Context(), w.project, "0")
	w.ok(err)
	if p.NextRun.IsZero() {
		return "never"
	}
	return p.NextRun.Sub(w.time).String()
}

func TestPolicy(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w, r := stocked(t, db, raw)
		ctx := t.Context()
		other := w.newRegistry("other")
		w.sync(other, content{"a": {"x": 2, "y": 3}})
		day := 24 * time.Hour
		tick := func() {
			t.Helper()
			w.ok(w.runPolicies(ctx))
			w.ok(w.runPolicies(ctx))
			w.doAll()
		}
		if _, err := w.Policy(ctx, w.project, "0"); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("a policy that nobody has set: %v", err)
		}
		w.policy(tidewaiter.ScanPolicy{CycleDays: 3, RegistryIDs: []string{r}})
		tick()
		w.want("a policy that is not enabled", w.cycles()+" "+w.nextRun(), " never")

		w.policy(tidewaiter.ScanPolicy{Enabled: true, CycleDays: 3, RegistryIDs: []string{r}, RateLimit: 5})
		w.want("the first run", w.nextRun(), "0s")
		w.pass(time.Minute)
		w.ok(w.runPolicies(ctx))
		w.want("the first run", w.cycles(), "running 0/4")
		w.want("the next", w.nextRun(), (3*day - time.Minute).String())
		w.want("another registry", w.status("other/a:x"), "unscan")
		w.pass(3 * time.Hour)
		w.doAll()
		w.want("the first run", w.cycles(), "finished 4/4")

		// A change does not run it again, unless the cycle is shorter now.
		w.policy(tidewaiter.ScanPolicy{Enabled: true, CycleDays: 3, RegistryIDs: []string{other, "gone"}})
		tick()
		w.want("after a change", w.cycles(), "finished 4/4")
		w.policy(tidewaiter.ScanPolicy{Enabled: true, CycleDays: 7, RegistryIDs: []string{other, "gone"}})
		w.pass(4 * day)
		tick()
		w.want("with a longer cycle", w.cycles(), "finished 4/4")
		w.policy(tidewaiter.ScanPolicy{Enabled: true, CycleDays: 3, RegistryIDs: []string{other, "gone"}})
		w.want("with a shorter cycle", w.nextRun(), "0s")
		tick()
		w.want("with a shorter cycle", w.cycles(), "finished 2/2, finished 4/4")
		w.want("the next", w.nextRun(), (3 * day).String())

		// A server that was down for weeks runs it once, and keeps the hour.
		w.pass(20*day + time.Hour)
		tick()
		w.want("after weeks", w.cycles(), "finished 2/2, finished 2/2, finished 4/4")
		w.want("the next", w.nextRun(), (day - time.Hour).String())

		// A run is left out while the last is under way.
		w.pass(day)
		w.sync(other, content{"a": {"x": 1, "y": 0, "z": 4}, "b": {"new": 5}})
		w.ok(w.runPolicies(ctx))
		w.pass(3 * day)
		w.ok(w.runPolicies(ctx))
		w.want("while one is under way", w.cycles(), "running 0/4, finished 2/2, finished 2/2, finished 4/4")
		w.want("the next", w.nextRun(), (3*day - time.Hour).String())
		w.doAll()

		// Only what was pushed lately.
		w.policy(tidewaiter.ScanPolicy{Enabled: true, CycleDays: 7, TimeScope: 1, RegistryIDs: []string{r, other}})
		w.pass(7 * day)
		w.sync(r, content{"a": {"x": 0, "y": 1, "multi": 4, "late": 3}, "b": {"x": 0}})
		tick()
		w.want("with a time scope", w.cycles(), "finished 1/1, finished 4/4, finished 2/2, finished 2/2, finished 4/4")

		w.policy(tidewaiter.ScanPolicy{CycleDays: 7, RegistryIDs: []string{r}})
		w.pass(30 * day)
		tick()
		w.want("once it was switched off", w.nextRun()+" "+fmt.Sprint(strings.Count(w.cycles(), ",")), "never 4")
		w.policy(tidewaiter.ScanPolicy{Enabled: true, CycleDays: 7, RegistryIDs: []string{}})
		tick()
		w.want("without registries", strings.SplitN(w.cycles(), ",", 2)[0], "finished 0/0")
	})
}

// TestSeveralServersRunAPolicyOnce lets servers look at the same moment.
func TestSeveralServersRunAPolicyOnce(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		w, r := stocked(t, db, raw)
		ctx := t.Context()
		for n := range 5 {
			w.policy(tidewaiter.ScanPolicy{CycleDays: 3, RegistryIDs: []string{r}})
			w.policy(tidewaiter.ScanPolicy{Enabled: true, CycleDays: 3, RegistryIDs: []string{r}})
			var wg sync.WaitGroup
			for range 4 {
				now := w.time
				s := New(Options{Store: db, Extractors: extractors, Now: func() time.Time { return now }})
				wg.Go(func() {
					if err := s.runPolicies(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if got := strings.Count(w.cycles(), "4"); got == 0 || strings.Count(w.cycles(), ",") != n {
				t.Fatalf("after %d times: %s", n+1, w.cycles())
			}
			w.doAll()
			w.pass(time.Hour)
		}
	})
}
