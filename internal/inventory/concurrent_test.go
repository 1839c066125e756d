package inventory

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// TestConcurrent lets users, components and the loops of two servers loose on
// a few registries. In the end nothing waits for what will never come: every
// task has ended, and no registry is still being checked.
func TestConcurrent(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		other, err := New(w.options())
		w.ok(err)
		for i := range 3 {
			w.add(w.new("harbor " + strconv.Itoa(i)))
		}
		var users, components sync.WaitGroup
		stop := make(chan struct{})
		for i := range 4 {
			users.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(i))) //nolint:gosec // a test
				for range 25 {
					s := w.Service
					if i%2 == 1 {
						s = other
					}
					if err := w.anything(ctx, s, random); err != nil && !lostRace(err) {
						t.Errorf("a user: %v", err)
					}
				}
			})
		}
		for i := range 3 {
			components.Go(func() {
				owner := "component-" + strconv.Itoa(i)
				for {
					idle, err := w.work(owner)
					if err != nil && !lostRace(err) {
						t.Errorf("a component: %v", err)
					}
					select {
					case <-stop:
						if idle {
							return
						}
					default:
					}
				}
			})
		}
		users.Wait()
		w.pass(10 * time.Minute)
		w.ok(w.failExhausted(ctx))
		close(stop)
		components.Wait()
		for _, task := range w.tasks() {
			if task.Ended.IsZero() || task.Finished+task.Failed != task.Total {
				t.Errorf("task %+v: %+v", task, w.rows(task.ID))
			}
		}
		list, err := w.db.RegistriesOfCluster(ctx, w.cluster.ID)
		w.ok(err)
		if len(list) == 0 {
			t.Error("no registry is left")
		}
		for _, r := range list {
			if r.Status != tidewaiter.RegistrySuccess || r.Synced.IsZero() {
				t.Errorf("registry %+v", r)
			}
		}
	})
}

// anything that a user or a loop of the server may do.
func (w *world) anything(ctx context.Context, s *Service, random *rand.Rand) error {
	list, err := w.db.RegistriesOfCluster(ctx, w.cluster.ID)
	if err != nil || len(list) == 0 {
		return err
	}
	r := list[random.IntN(len(list))]
	switch random.IntN(8) {
	case 0, 1:
		_, err = s.Synchronize(ctx, w.everything(), Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualSync})
	case 2:
		_, err = s.Synchronize(ctx, w.everything(), Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualSync, IDs: []string{r.ID}})
	case 3, 4:
		_, err = s.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Password: ptrTo(password + strconv.Itoa(random.IntN(1000)))})
	case 5:
		if err = s.DeleteRegistries(ctx, w.everything(), []string{r.ID}); err == nil {
			_, err = s.AddRegistry(ctx, w.new(r.Name))
		}
	case 6:
		w.pass(26 * time.Hour)
		err = s.runDue(ctx)
	case 7:
		if err = s.failExhausted(ctx); err == nil {
			err = s.failUntaken(ctx)
		}
	}
	return err
}

// work does one piece of work as a component does, or tells that there is none.
func (w *world) work(owner string) (idle bool, err error) {
	work, l, err := w.tryLease(owner)
	if err != nil {
		return tidewaiter.KindOf(err) == tidewaiter.NotFound, err
	}
	if _, err := w.Describe(w.t.Context(), work); err != nil {
		return false, err
	}
	f := done()
	if work.Kind == tidewaiter.AccessCheckWork {
		f.AccessCheck = goodReport()
		return false, w.finish(work, l, f)
	}
	for _, r := range []protocol.RepositoryReport{
		tagged("team/app", true, "v1", imageOf("1"), "chart", chartOf("1")), tagged("base", true, "v1", imageOf("2")),
	} {
		if err := w.Report(w.t.Context(), l, r); err != nil {
			return false, err
		}
	}
	return false, w.finish(work, l, f)
}

// TestRun: the loop does what is due until it is told to end.
func TestRun(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.ready("harbor")
		w.sync()
		untaken := w.add(w.new("untaken"))
		w.pass(24 * time.Hour)
		for len(w.wakes) > 0 {
			<-w.wakes
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		<-w.wakes // for the synchronisation that is due
		for w.registry(untaken.ID).Status == tidewaiter.RegistryAccessing {
			time.Sleep(time.Millisecond) // poll: the loop says nothing of it
		}
		cancel()
		w.ok(<-ended)
		if task := w.tasks()[0]; task.Kind != tidewaiter.AutoSync || task.Total != 2 {
			t.Errorf("task %+v", task)
		}
		if got := w.registry(untaken.ID); got.FailReason != tidewaiter.FailCreateJob {
			t.Errorf("registry %+v", got)
		}
	})
}
