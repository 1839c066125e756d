package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/jobs"
)

// openJobs opens the queue of the server's own background jobs, and says what
// each kind of them does.
func (s *state) openJobs(ctx context.Context, log *slog.Logger) error {
	r, err := jobs.New(ctx, jobs.Options{Store: s.db, Logger: log})
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	for _, k := range []jobs.Kind{
		{Name: "sweep.inventory", Every: 10 * time.Minute, Timeout: 10 * time.Minute,
			Run: func(ctx context.Context, _ json.RawMessage) error { return s.inventory.Sweep(ctx) }},
		{Name: "sweep.scans", Every: 10 * time.Minute, Timeout: 10 * time.Minute,
			Run: func(ctx context.Context, _ json.RawMessage) error { return s.scans.Sweep(ctx) }},
		{Name: "findings.catchup", Every: time.Hour, Timeout: time.Hour,
			Run: func(ctx context.Context, _ json.RawMessage) error { return s.findings.CatchUpAll(ctx) }},
		{Name: "update.advisories", Every: 10 * time.Minute, Timeout: 2 * time.Hour,
			Run: func(ctx context.Context, _ json.RawMessage) error { return s.updates.run(ctx) }},
		{Name: "deliver.changes", Every: 10 * time.Second, Timeout: 10 * time.Minute,
			Run: func(ctx context.Context, _ json.RawMessage) error { return s.feed.Deliver(ctx) }},
		{Name: "sweep.changes", Every: time.Hour, Timeout: 10 * time.Minute,
			Run: func(ctx context.Context, _ json.RawMessage) error { return s.feed.Sweep(ctx) }},
		{Name: "settle.exceptions", Every: time.Minute, Timeout: 10 * time.Minute,
			Run: func(ctx context.Context, _ json.RawMessage) error { return s.findings.SettleExceptions(ctx) }},
		{Name: "record.risks", Every: time.Hour, Timeout: 10 * time.Minute,
			Run: func(ctx context.Context, _ json.RawMessage) error { return s.findings.RecordRisks(ctx) }},
		{Name: "sweep.tokens", Every: time.Hour,
			Run: func(ctx context.Context, _ json.RawMessage) error {
				_, err := s.identity.PurgeTokens(ctx)
				return err
			}},
	} {
		if err := r.Register(k); err != nil {
			return errors.Join(fmt.Errorf("jobs: %w", err), r.Close())
		}
	}
	s.jobs = r
	return nil
}
