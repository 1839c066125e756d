package scan

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Run does what is due until the context ends: the rest of large tasks, tasks
// that are stopping, work that was given up too often, and policies. It may run in several servers at once. Failures are
// logged and tried again.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	var spaced time.Time
	for {
		s.try(ctx, "scheduled scans could not be started", s.runPolicies)
		s.try(ctx, "scan tasks could not be gone on with", s.expandAll)
		s.try(ctx, "scan tasks could not be stopped", s.stopAll)
		s.try(ctx, "exhausted scans could not be ended", s.failExhausted)
		if now := time.Now(); now.Sub(spaced) >= spaceEvery {
			spaced = now
			s.try(ctx, "scans could not be kept to their rates", s.keepRates)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.nudged:
		}
	}
}

func (s *Service) try(ctx context.Context, failure string, f func(context.Context) error) {
	if err := f(ctx); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, failure, slog.Any("error", err))
	}
}

// expandAll finds the images of tasks that have not found all yet, in turns.
func (s *Service) expandAll(ctx context.Context) error {
	for {
		ids, err := s.store.OpenScanTasks(ctx, tidewaiter.ScanRunning)
		if err != nil || len(ids) == 0 {
			return err
		}
		moved := false
		for _, id := range ids {
			err := s.expand(ctx, id)
			if err != nil && !lostRace(err) {
				return err
			}
			moved = moved || err == nil
		}
		if !moved {
			return nil // others are at it
		}
	}
}

func (s *Service) stopAll(ctx context.Context) error {
	ids, err := s.store.OpenScanTasks(ctx, tidewaiter.ScanStopping)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := s.takeBack(ctx, id, math.MaxInt); err != nil {
			return err
		}
	}
	return nil
}

const exhaustedReason = "the scan was begun several times and never came to an end: the scan components were stopped, lost their connection or broke down (out of memory?); look at their logs"

// failExhausted ends scans that were begun again and again and never finished.
func (s *Service) failExhausted(ctx context.Context) error {
	for {
		list, err := s.store.ExhaustedWork(ctx, []tidewaiter.WorkKind{tidewaiter.ScanWork}, s.now(), tidewaiter.MaxAttempts, batch)
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
	manifest, err := store.ManifestOfWork(w)
	if err != nil {
		return err
	}
	now := s.now()
	return s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.LockScan(ctx, manifest); err != nil {
			return err
		}
		if err := tx.FailWork(ctx, w.ID, w.Attempt, exhaustedReason, now); err != nil {
			return err
		}
		if err := tx.DropClaims(ctx, w.ID); err != nil {
			return err
		}
		return tx.EndScan(ctx, w.ID, manifest, tidewaiter.ScanOutcome{Failed: true, Code: tidewaiter.FailUnknown, Reason: exhaustedReason}, now)
	})
}

// requeueStranded queues work for images that tasks wait for and nobody does.
func (s *Service) requeueStranded(ctx context.Context) error {
	for {
		list, err := s.store.StrandedScans(ctx, batch)
		if err != nil || len(list) == 0 {
			return err
		}
		err = s.store.Tx(ctx, func(tx *store.DB) error {
			locked, err := tx.LockScans(ctx, list)
			if err != nil {
				return err
			}
			now := s.now()
			var works []tidewaiter.Work
			var manifests []int64
			for _, i := range locked {
				if i.WorkID == "" {
					works = append(works, newWork(i, tidewaiter.SweepPriority, now))
				}
				manifests = append(manifests, i.ManifestID)
			}
			if err := tx.BeginScans(ctx, works, nil, tidewaiter.SweepPriority, now); err != nil {
				return err
			}
			return tx.ShowScans(ctx, manifests)
		})
		if err != nil || len(list) < batch {
			return err
		}
	}
}

// keepRates keeps tasks to their rates where scans have become due that nobody
// has begun, such as while no component was there.
func (s *Service) keepRates(ctx context.Context) error {
	tasks, err := s.store.RatedScanTasks(ctx)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		for {
			n, err := s.store.SpaceScans(ctx, t.ID, time.Hour/time.Duration(t.RateLimit), batch, s.now())
			if err != nil {
				return err
			}
			if n < batch {
				break
			}
		}
	}
	return nil
}

// endOrphaned ends the waiting for images that are gone.
func (s *Service) endOrphaned(ctx context.Context) error {
	for {
		list, err := s.store.OrphanedScans(ctx, batch)
		if err != nil || len(list) == 0 {
			return err
		}
		if err := s.store.EndItems(ctx, list, goneOutcome(), s.now()); err != nil || len(list) < batch {
			return err
		}
	}
}

// goneOutcome is what is said of an image that is in no registry any more.
func goneOutcome() tidewaiter.ScanOutcome {
	return tidewaiter.ScanOutcome{Failed: true, Code: tidewaiter.FailNotFound, Reason: "the image is no longer in the registry, or its tag stands for another one by now; scan it again"}
}

// Sweep puts right what a server that broke down in the middle may have left
// behind, and removes what is old. It is to be called every few minutes, by one
// of all servers.
func (s *Service) Sweep(ctx context.Context) error {
	for _, f := range []func(context.Context) error{s.requeueStranded, s.endOrphaned, s.removeOld} {
		if err := f(ctx); err != nil {
			return err
		}
	}
	return nil
}

// removeOld removes tasks that have ended, and layers and packages that no
// image has.
func (s *Service) removeOld(ctx context.Context) error {
	now := s.now()
	if _, err := s.store.PurgeScanTasks(ctx, now.Add(-historyRetention)); err != nil {
		return err
	}
	for _, purge := range []func() (int64, error){
		func() (int64, error) { return s.store.PurgeClaims(ctx) },
		func() (int64, error) { return s.store.PurgePackages(ctx, 20) },
		func() (int64, error) { return s.store.PurgeLayers(ctx, now.Add(-layerRetention), 20) },
	} {
		for {
			n, err := purge()
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}
