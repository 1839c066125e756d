package inventory

import (
	"context"
	"log/slog"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// batch is how many rows one look takes at once.
const batch = 500

// Run does what is due until the context ends: schedules, checks that nobody
// takes, and work that was given up too often. It may run in several servers at
// once. Failures are logged and tried again.
func (s *Service) Run(ctx context.Context) error {
	s.log.DebugContext(ctx, "inventory runs", slog.String("sync_at", s.syncAt), slog.String("time_zone", s.location.String()))
	rescheduled := false
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		if !rescheduled {
			rescheduled = s.try(ctx, "schedules could not be put right", s.reschedule)
		}
		s.try(ctx, "due synchronisations could not be queued", s.runDue)
		s.try(ctx, "waiting access checks could not be looked at", s.failUntaken)
		s.try(ctx, "exhausted work could not be ended", s.failExhausted)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Service) try(ctx context.Context, failure string, f func(context.Context) error) bool {
	err := f(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, failure, slog.Any("error", err))
	}
	return err == nil
}

// failUntaken says of registries that are being checked that no component
// takes the check. The check stays: when one comes, the status becomes right.
func (s *Service) failUntaken(ctx context.Context) error {
	now := s.now()
	waiting, err := s.store.WaitingWork(ctx, tidewaiter.AccessCheckWork, now.Add(-leasePatience), 20*batch)
	if err != nil {
		return err
	}
	for _, w := range waiting {
		r, err := s.store.Registry(ctx, w.Subject)
		if err == nil && r.Status == tidewaiter.RegistryAccessing {
			err = s.failUntakenCheck(ctx, w, now)
		}
		if err != nil && !lostRace(err) {
			return err
		}
	}
	return nil
}

func (s *Service) failUntakenCheck(ctx context.Context, w tidewaiter.Work, now time.Time) error {
	detail := s.nobody(ctx, w.ClusterID)
	return s.store.Tx(ctx, func(tx *store.DB) error {
		r, err := tx.LockRegistry(ctx, w.Subject)
		if err != nil {
			return err
		}
		open, err := tx.OpenWork(ctx, w.Subject, tidewaiter.AccessCheckWork)
		if err != nil {
			return err
		}
		taken := open.State == tidewaiter.WorkLeased && open.Deadline.After(now)
		if open.ID != w.ID || taken || r.Status != tidewaiter.RegistryAccessing {
			return nil
		}
		return tx.SetRegistryStatus(ctx, r.ID, r.Revision, tidewaiter.RegistryFail, tidewaiter.FailCreateJob, detail, now)
	})
}

// lastAttempt tells whether leased work may not be leased again.
func lastAttempt(w tidewaiter.Work) bool { return w.Failures+1 >= tidewaiter.MaxAttempts }

// failExhausted ends work that was begun again and again and never finished.
func (s *Service) failExhausted(ctx context.Context) error {
	for {
		kinds := []tidewaiter.WorkKind{tidewaiter.ShareKeyWork, tidewaiter.AccessCheckWork, tidewaiter.SyncWork}
		list, err := s.store.ExhaustedWork(ctx, kinds, s.now(), tidewaiter.MaxAttempts, batch)
		if err != nil {
			return err
		}
		ended := 0
		for _, w := range list {
			err := s.exhausted(ctx, w)
			if err != nil && !lostRace(err) {
				return err
			}
			if err == nil {
				ended++
			}
		}
		if len(list) < batch || ended == 0 {
			return nil
		}
	}
}

func (s *Service) exhausted(ctx context.Context, w tidewaiter.Work) error {
	now := s.now()
	const failure = "the work was begun several times and never came to an end: the scan components were stopped, lost their connection or broke down; look at their logs"
	return s.store.Tx(ctx, func(tx *store.DB) error {
		r, err := tx.LockRegistry(ctx, w.Subject)
		if err != nil && !lostRace(err) {
			return err
		}
		there := err == nil
		if err := tx.FailWork(ctx, w.ID, w.Attempt, failure, now); err != nil {
			return err
		}
		switch {
		case w.Stop:
			return nil
		case w.Kind == tidewaiter.SyncWork:
			return tx.EndSyncOf(ctx, w.ID, tidewaiter.SyncFailed, failure, now)
		case w.Kind == tidewaiter.AccessCheckWork && there:
			return tx.SetRegistryStatus(ctx, r.ID, r.Revision, tidewaiter.RegistryFail, tidewaiter.FailServer, failure, now)
		}
		return nil
	})
}

// Sweep removes what is old: images that are gone, ended work and tasks,
// enrolments that have expired. It is for a job that comes again now and then.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.now()
	for {
		n, err := s.store.PurgeGone(ctx, now.Add(-s.retention), batch)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	before := now.Add(-historyRetention)
	for _, purge := range []func(context.Context, time.Time) (int64, error){
		s.store.PurgeSyncTasks, s.store.PurgeWork, s.store.PurgeEnrolments,
	} {
		if _, err := purge(ctx, before); err != nil {
			return err
		}
	}
	return nil
}
