package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type scanPolicyRow struct {
	bun.BaseModel `bun:"scan_policies,alias:scan_policies"`

	ID                  string
	ProjectID           string
	EnterpriseProjectID string
	Enabled             bool
	CycleDays           int
	Scope               int
	RateLimit           int
	TimeScope           int
	Registries          string // JSON, ids
	NextRun             int64
	Updated             int64
}

func (r scanPolicyRow) noun() (tidewaiter.ScanPolicy, error) {
	p := tidewaiter.ScanPolicy{
		ID: r.ID, ProjectID: r.ProjectID, EnterpriseProjectID: r.EnterpriseProjectID, Enabled: r.Enabled, CycleDays: r.CycleDays,
		Scope: r.Scope, RateLimit: r.RateLimit, TimeScope: r.TimeScope, NextRun: optionalTime(r.NextRun), Updated: fromMicros(r.Updated),
	}
	if err := json.Unmarshal([]byte(r.Registries), &p.RegistryIDs); err != nil {
		return p, fmt.Errorf("read registries of scan policy %q: %w", r.ID, err)
	}
	return p, nil
}

// ScanPolicy returns the policy of an enterprise project, or NotFound. Within a
// transaction it stays as it is until that ends.
func (db *DB) ScanPolicy(ctx context.Context, projectID, enterpriseProjectID string) (tidewaiter.ScanPolicy, error) {
	var row scanPolicyRow
	err := db.read.NewRaw("SELECT * FROM scan_policies WHERE project_id = ? AND enterprise_project_id = ??", projectID, enterpriseProjectID, db.lockIn()).Scan(ctx, &row)
	if err != nil {
		return tidewaiter.ScanPolicy{}, notFound(err, "scan policy")
	}
	return row.noun()
}

// lockIn is [DB.forUpdate] within a transaction, and nothing outside of one.
func (db *DB) lockIn() bun.Safe {
	if len(db.pools) > 0 {
		return ""
	}
	return db.forUpdate()
}

// PutScanPolicy sets the policy of an enterprise project. One that is there
// keeps its id.
func (db *DB) PutScanPolicy(ctx context.Context, p tidewaiter.ScanPolicy) error {
	registries, err := json.Marshal(p.RegistryIDs)
	if err != nil {
		return fmt.Errorf("write registries of scan policy %q: %w", p.ID, err)
	}
	row := scanPolicyRow{
		ID: p.ID, ProjectID: p.ProjectID, EnterpriseProjectID: p.EnterpriseProjectID, Enabled: p.Enabled, CycleDays: p.CycleDays,
		Scope: p.Scope, RateLimit: p.RateLimit, TimeScope: p.TimeScope, Registries: string(registries),
		NextRun: optionalMicros(p.NextRun), Updated: micros(p.Updated),
	}
	q := db.write.NewInsert().Model(&row).On("CONFLICT (project_id, enterprise_project_id) DO UPDATE")
	for _, column := range []string{"enabled", "cycle_days", "scope", "rate_limit", "time_scope", "registries", "next_run", "updated"} {
		q = q.Set("? = excluded.?", bun.Ident(column), bun.Ident(column))
	}
	_, err = q.Exec(ctx)
	return conflict(err, "scan policy")
}

// DuePolicies returns the policies that are to run by now, the one that is due
// for longest first.
func (db *DB) DuePolicies(ctx context.Context, now time.Time, limit int) ([]tidewaiter.ScanPolicy, error) {
	var rows []scanPolicyRow
	err := db.read.NewSelect().Model(&rows).Where("next_run > 0 AND next_run <= ?", micros(now)).Order("next_run", "id").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, notFound(err, "scan policies")
	}
	list := make([]tidewaiter.ScanPolicy, len(rows))
	for i, r := range rows {
		if list[i], err = r.noun(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// RunPolicy notes when a policy is to run next, if nothing of it has changed
// since it was read. Errors: NotFound; Conflict if it has, or another server was
// faster.
func (db *DB) RunPolicy(ctx context.Context, p tidewaiter.ScanPolicy, next time.Time) error {
	r, err := db.write.NewRaw("UPDATE scan_policies SET next_run = ? WHERE id = ? AND next_run = ? AND updated = ?",
		micros(next), p.ID, micros(p.NextRun), micros(p.Updated)).Exec(ctx)
	return db.swapped(ctx, r, err, "scan_policies", "scan policy", p.ID, "the policy was changed, or another server runs it")
}

// PolicyRuns tells whether a scan of a policy is under way.
func (db *DB) PolicyRuns(ctx context.Context, policyID string) (bool, error) {
	var n int
	err := db.read.NewRaw("SELECT COUNT(*) FROM scan_tasks WHERE state IN (?, ?) AND policy_id = ?", tidewaiter.ScanRunning, tidewaiter.ScanStopping, policyID).Scan(ctx, &n)
	return n > 0, notFound(err, "scan tasks")
}
