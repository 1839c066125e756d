package scan

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// crowd is what happens all at once.
type crowd struct {
	*testing.T
	*world
	wg sync.WaitGroup
}

// often does something many times, beside all else.
func (c *crowd) often(times int, f func() error) {
	c.wg.Go(func() {
		for range times {
			if err := f(); err != nil && !lostRace(err) && protocol.CodeOf(err) != protocol.ErrLeaseLost {
				c.Error(err)
				return
			}
		}
	})
}

// component takes a scan, and does it in some way.
func (c *crowd) component(name string) error {
	ctx := c.Context()
	now := c.time
	w, err := c.db.LeaseWork(ctx, c.cluster, []tidewaiter.WorkKind{tidewaiter.ScanWork}, name, now, now.Add(leaseTime), tidewaiter.MaxAttempts)
	if err != nil {
		return err
	}
	j := &job{world: c.world, work: w, lease: tidewaiter.Lease{WorkID: w.ID, Owner: name, Attempt: w.Attempt}}
	if _, j.scan, err = c.Describe(ctx, w); err != nil {
		if protocol.CodeOf(err) == protocol.ErrLeaseLost {
			return c.db.EndWork(ctx, j.lease, tidewaiter.WorkStopped, "", w.Progress, now)
		}
		return err
	}
	f := protocol.FinishRequest{Outcome: protocol.OutcomeDone}
	for _, x := range j.thing().images() {
		state, err := j.layers(x, "usual")
		if err != nil {
			return err
		}
		switch state {
		case protocol.LayerBusy:
			f.Outcome = protocol.OutcomeReleased
		case protocol.LayerClaimed:
			if err := j.send(x, "usual", rand.IntN(4) == 0); err != nil {
				return err
			}
		}
		if err := j.report(x, "usual", ""); err != nil && protocol.CodeOf(err) != protocol.ErrLayersMissing {
			return err
		}
	}
	switch rand.IntN(8) {
	case 0:
		f.Outcome = protocol.OutcomeReleased
	case 1:
		f = protocol.FinishRequest{Outcome: protocol.OutcomeFailed, Failure: &protocol.Failure{Code: tidewaiter.FailDownload, Message: "it failed", RetrySeconds: rand.IntN(2)}}
	}
	return j.finish(f)
}

// TestAllAtOnce lets several servers, components, users and synchronisations
// work on one database at the same time. In the end nothing is left waiting,
// and what is counted is what is there.
func TestAllAtOnce(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		c := &crowd{T: t, world: newWorld(t, db, raw)}
		ctx := t.Context()
		r, s := c.newRegistry("r"), c.newRegistry("s")
		random := func() content {
			there := content{"a": {}, "b": {}}
			for _, tags := range there {
				for i := range 6 {
					if rand.IntN(4) > 0 {
						tags[fmt.Sprint("t", i)] = thing(rand.IntN(8) - 1)
					}
				}
			}
			return there
		}
		c.sync(r, random())
		c.sync(s, random())
		for n := range 3 {
			c.often(60, func() error { return c.component(fmt.Sprint("component ", n)) })
		}
		for range 2 { // servers
			server := New(Options{Store: db, Extractors: extractors, Now: func() time.Time { return c.time }})
			c.often(15, func() error {
				for _, f := range []func(context.Context) error{server.expandAll, server.stopAll, server.failExhausted, server.requeueStranded, server.endOrphaned} {
					if err := f(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for range 2 { // users
			c.often(12, func() error {
				task, err := c.Create(ctx, c.everything(), Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualScan, All: true})
				if err == nil && rand.IntN(2) == 0 {
					err = c.Stop(ctx, c.everything(), task.ID)
				}
				return err
			})
		}
		c.wg.Go(func() {
			for range 10 {
				c.sync(r, random())
			}
		})
		c.often(10, func() error {
			return db.Tx(ctx, func(tx *store.DB) error { return tx.RequeueScans(ctx, s, c.cluster, c.time) })
		})
		c.often(1, func() error {
			time.Sleep(200 * time.Millisecond)
			return db.Tx(ctx, func(tx *store.DB) error {
				if _, err := tx.LockRegistry(ctx, s); err != nil {
					return err
				}
				if err := tx.AbandonScans(ctx, s, "the registry was deleted", c.time); err != nil {
					return err
				}
				return tx.DeleteRegistry(ctx, s)
			})
		})
		c.wg.Wait()
		if t.Failed() {
			return
		}
		c.settled()
		if db.Dialect() == "postgres" {
			t.Logf("%s transactions were broken off for a deadlock", c.text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))
		}
	})
}

// settled does what is left to do, and compares all that is counted with what
// is there.
func (c *crowd) settled() {
	c.Helper()
	ctx := c.Context()
	for range tidewaiter.MaxAttempts {
		c.pass(2 * time.Minute)
		for _, f := range []func(context.Context) error{c.expandAll, c.stopAll, c.failExhausted, c.requeueStranded, c.endOrphaned} {
			c.ok(f(ctx))
		}
		c.doAll()
	}
	c.want("tasks under way", c.text("SELECT COUNT(*) FROM scan_tasks WHERE ended = 0"), "0")
	c.want("images that tasks wait for", c.text("SELECT COUNT(*) FROM scan_task_images WHERE status = 'waiting'"), "0")
	c.want("work under way", c.text("SELECT COUNT(*) FROM work WHERE state IN ('queued', 'leased')"), "0")
	c.want("tasks whose counters are wrong", c.text(wrongCounters), "0")
	counts := make(map[string]int)
	for _, i := range c.images() {
		counts[i.Scan.Status]++
		if i.Scan.Status == tidewaiter.WaitingForScan || i.Scan.Status == tidewaiter.Scanning {
			c.Errorf("%s is %s", c.nameOf(i), i.Scan.Status)
		}
	}
	for _, status := range []string{tidewaiter.Unscanned, tidewaiter.ScanSucceeded, tidewaiter.ScanFailed} {
		_, total, err := c.db.Images(ctx, c.everything(), store.ImageFilter{ScanStatuses: []string{status}}, store.Page{Limit: 1})
		if c.ok(err); total != counts[status] {
			c.Errorf("%d images are counted as %s, there are %d", total, status, counts[status])
		}
	}
}
