package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"
)

// RegistryCheck is the last access check of a registry.
type RegistryCheck struct {
	RegistryID string
	WorkID     string
	Report     []byte // JSON
	Ended      time.Time
}

type checkRow struct {
	bun.BaseModel `bun:"registry_checks"`

	RegistryID string
	WorkID     string
	Report     string
	Ended      int64
}

// PutRegistryCheck writes the check of a registry, over the one before.
// Errors: NotFound if the registry is not there.
func (db *DB) PutRegistryCheck(ctx context.Context, c RegistryCheck) error {
	row := checkRow{RegistryID: c.RegistryID, WorkID: c.WorkID, Report: string(c.Report), Ended: micros(c.Ended)}
	_, err := db.write.NewInsert().Model(&row).
		On("CONFLICT (registry_id) DO UPDATE SET work_id = excluded.work_id, report = excluded.report, ended = excluded.ended").Exec(ctx)
	return conflict(err, "access check")
}

// RegistryCheck returns the last check of a registry. Errors: NotFound if
// there was none yet.
func (db *DB) RegistryCheck(ctx context.Context, registryID string) (RegistryCheck, error) {
	var row checkRow
	if err := db.read.NewSelect().Model(&row).Where("registry_id = ?", registryID).Scan(ctx); err != nil {
		return RegistryCheck{}, notFound(err, "access check")
	}
	return RegistryCheck{RegistryID: row.RegistryID, WorkID: row.WorkID, Report: []byte(row.Report), Ended: fromMicros(row.Ended)}, nil
}
