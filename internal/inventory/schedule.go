package inventory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// syncOff is the time of day of what is never synchronised by itself.
const syncOff = "off"

// dueAtOnce is how many registries are looked at together.
const dueAtOnce = 500

// clockTime reads hours and minutes, as in 01:00.
func clockTime(s string) (hour, minute int, ok bool) {
	t, err := time.Parse("15:04", s)
	return t.Hour(), t.Minute(), err == nil && len(s) == len("15:04")
}

// nextSync returns when a registry is synchronised next after now: once on
// each day of the server's calendar, or never (zero).
func (s *Service) nextSync(settings tidewaiter.RegistrySettings, now time.Time) time.Time {
	at := settings.SyncAt
	if at == "" {
		at = s.syncAt
	}
	hour, minute, ok := clockTime(at)
	if !ok {
		return time.Time{}
	}
	local := now.In(s.location)
	for day := -1; ; day++ {
		next := onDay(local.Year(), local.Month(), local.Day()+day, hour, minute, s.location)
		if next.After(now) {
			return next.UTC()
		}
	}
}

// onDay returns the moment of a day at which clocks show a time. If they show
// it twice it is one of the two, always the same. If they jump over it, it is
// as long after the jump as the time is after the jump's begin: time.Date may
// settle for a moment before it, which can be on the day before.
func onDay(year int, month time.Month, day, hour, minute int, location *time.Location) time.Time {
	t := time.Date(year, month, day, hour, minute, 0, 0, location)
	shown := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), 0, 0, time.UTC)
	early := time.Date(year, month, day, hour, minute, 0, 0, time.UTC).Sub(shown)
	return t.Add(max(0, early))
}

// reschedule puts right what the schedules of the registries say after the
// default, the time zone or the clock was changed: none is farther away than
// the settings want it. What is due stays due.
func (s *Service) reschedule(ctx context.Context) error {
	after := ""
	for {
		list, err := s.store.RegistriesAfter(ctx, after, dueAtOnce)
		if err != nil || len(list) == 0 {
			return err
		}
		now := s.now()
		for _, r := range list {
			after = r.ID
			next := s.nextSync(r.Settings, now)
			if r.NextSync.Equal(next) || !r.NextSync.IsZero() && !r.NextSync.After(now) {
				continue
			}
			if err := s.store.SetNextSync(ctx, r.ID, r.NextSync, next); err != nil && !lostRace(err) {
				return err
			}
		}
	}
}

// lostRace tells that another server, or a user, was faster.
func lostRace(err error) bool {
	kind := tidewaiter.KindOf(err)
	return err != nil && (kind == tidewaiter.Conflict || kind == tidewaiter.NotFound)
}

// runDue queues the synchronisation of the registries that are due: one task
// for each project and enterprise project. Of several servers one does it for
// each registry.
func (s *Service) runDue(ctx context.Context) error {
	for {
		due, err := s.store.DueRegistries(ctx, s.now(), dueAtOnce)
		if err != nil || len(due) == 0 {
			return err
		}
		type group struct{ projectID, enterpriseProjectID string }
		groups := make(map[group][]tidewaiter.Registry)
		var order []group
		for _, r := range due {
			g := group{r.ProjectID, r.EnterpriseProjectID}
			if groups[g] == nil {
				order = append(order, g)
			}
			groups[g] = append(groups[g], r)
		}
		for _, g := range order {
			if err := s.runGroup(ctx, g.projectID, g.enterpriseProjectID, groups[g]); err != nil {
				return err
			}
		}
		if len(due) < dueAtOnce {
			return nil
		}
	}
}

// runGroup queues what is due in one enterprise project of one project. A
// registry that waits for a synchronisation already is left to it.
func (s *Service) runGroup(ctx context.Context, projectID, enterpriseProjectID string, due []tidewaiter.Registry) error {
	// The order of locking.
	slices.SortFunc(due, func(a, b tidewaiter.Registry) int { return strings.Compare(a.ID, b.ID) })
	var wake []string
	err := s.store.Tx(ctx, func(tx *store.DB) error {
		wake = nil
		now := s.now()
		task := newTask(projectID, enterpriseProjectID, tidewaiter.AutoSync, now)
		var rows []tidewaiter.SyncTaskRegistry
		for _, was := range due {
			r, err := tx.LockRegistry(ctx, was.ID)
			if err == nil && !r.NextSync.Equal(was.NextSync) {
				continue // another server was faster
			}
			next := s.nextSync(r.Settings, now)
			if err == nil {
				err = tx.SetNextSync(ctx, r.ID, r.NextSync, next)
			}
			if lostRace(err) {
				continue
			}
			if err != nil {
				return err
			}
			if next.IsZero() {
				continue // it is off by now
			}
			work, joined, err := joinSync(ctx, tx, r, now)
			if err != nil {
				return err
			}
			if !joined {
				rows = append(rows, taskRow(task, r, work))
				wake = append(wake, r.ClusterID)
			}
		}
		if len(rows) == 0 {
			return nil
		}
		return tx.CreateSyncTask(ctx, task, rows)
	})
	if err != nil {
		return err
	}
	s.wakeAll(wake)
	return nil
}
