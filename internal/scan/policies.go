package scan

import (
	"context"
	"log/slog"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Policy returns the policy of an enterprise project, or NotFound.
func (s *Service) Policy(ctx context.Context, projectID, enterpriseProjectID string) (tidewaiter.ScanPolicy, error) {
	return s.store.ScanPolicy(ctx, projectID, enterpriseProjectID)
}

// LastManual returns the newest manual task of an extent, or NotFound.
func (s *Service) LastManual(ctx context.Context, e tidewaiter.Extent) (tidewaiter.ScanTask, error) {
	return s.store.LastScanTask(ctx, e, tidewaiter.ManualScan)
}

// SetPolicy sets the policy of an enterprise project. One that was not enabled
// before runs at once; a change of one that was leaves when it ran last as it is.
func (s *Service) SetPolicy(ctx context.Context, p tidewaiter.ScanPolicy) error {
	err := s.store.Tx(ctx, func(tx *store.DB) error {
		old, err := tx.ScanPolicy(ctx, p.ProjectID, p.EnterpriseProjectID)
		if err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
			return err
		}
		now := s.now()
		p.ID, p.Updated, p.NextRun = store.NewID(), now, time.Time{}
		switch {
		case p.Enabled && old.Enabled:
			p.NextRun = latest(old.NextRun.Add(cycle(p)-cycle(old)), now)
		case p.Enabled:
			p.NextRun = now
		}
		return tx.PutScanPolicy(ctx, p)
	})
	if err == nil {
		s.nudge()
	}
	return err
}

func cycle(p tidewaiter.ScanPolicy) time.Duration {
	return time.Duration(max(p.CycleDays, 1)) * 24 * time.Hour
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// runPolicies starts the scans that are due. A policy that cannot be run does
// not keep others from it.
func (s *Service) runPolicies(ctx context.Context) error {
	due, err := s.store.DuePolicies(ctx, s.now(), batch)
	if err != nil {
		return err
	}
	for _, p := range due {
		if err := s.runPolicy(ctx, p); err != nil && !lostRace(err) && ctx.Err() == nil {
			s.log.WarnContext(ctx, "a scheduled scan could not be started", slog.String("policy", p.ID), slog.Any("error", err))
		}
	}
	return nil
}

// runPolicy starts the scan of a policy that is due, unless the last one is
// still under way. However many runs were missed, it is one. Errors: Conflict
// if another server was faster.
func (s *Service) runPolicy(ctx context.Context, p tidewaiter.ScanPolicy) error {
	extent := tidewaiter.Extent{ProjectID: p.ProjectID, EnterpriseProjects: []string{p.EnterpriseProjectID}}
	filter := store.ImageFilter{RegistryIDs: append([]string{}, p.RegistryIDs...)} // never nil, which is all
	now := s.now()
	if p.TimeScope > 0 {
		since := now.AddDate(0, 0, -p.TimeScope)
		filter.UpdatedFrom = &since
	}
	task, selection, err := s.newTask(extent, Wish{
		EnterpriseProjectID: p.EnterpriseProjectID, Kind: tidewaiter.CycleScan, PolicyID: p.ID, Scope: p.Scope, RateLimit: p.RateLimit,
		Selection: store.Selection{Filter: filter},
	})
	if err != nil {
		return err
	}
	// The same hour as the first run, whatever was missed.
	next := p.NextRun.Add((now.Sub(p.NextRun)/cycle(p) + 1) * cycle(p))
	under := false
	err = s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.RunPolicy(ctx, p, next); err != nil {
			return err
		}
		var err error
		if under, err = tx.PolicyRuns(ctx, p.ID); err != nil || under {
			return err
		}
		return tx.CreateScanTask(ctx, task, selection)
	})
	if err != nil {
		return err
	}
	if under {
		s.log.InfoContext(ctx, "a scheduled scan was left out, since the last one is still under way", slog.String("policy", p.ID), slog.Time("next", next))
		return nil
	}
	s.log.InfoContext(ctx, "a scheduled scan begins", slog.String("policy", p.ID), slog.String("task", task.ID), slog.Time("next", next))
	return s.expand(ctx, task.ID)
}
