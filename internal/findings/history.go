package findings

import (
	"context"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// historyDays is for how many days it is kept how things stood.
const historyDays = 400

// RecordRisks notes how things stand today. It is to be called every hour, so that
// what stays of a day is how it ended.
func (s *Service) RecordRisks(ctx context.Context) error {
	now := s.now()
	if err := s.store.RecordRisks(ctx, now); err != nil {
		return err
	}
	return s.store.PurgeRiskDays(ctx, now.AddDate(0, 0, -historyDays))
}

// RiskDays returns how things stood in an extent on so many days, today among
// them: the oldest first. Days on which no server ran are missing.
func (s *Service) RiskDays(ctx context.Context, e tidewaiter.Extent, days int) ([]tidewaiter.RiskDay, error) {
	return s.store.RiskDays(ctx, e, s.now().Add(-time.Duration(days-1)*24*time.Hour))
}

// Recent returns the vulnerabilities that somebody has to look at in images of an
// extent, those found last first.
func (s *Service) Recent(ctx context.Context, e tidewaiter.Extent, limit int) ([]store.ListedVulnerability, error) {
	return s.store.RecentVulnerabilities(ctx, e, limit)
}
