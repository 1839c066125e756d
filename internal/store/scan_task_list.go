package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// ScanTaskFilter says which tasks to list. What is zero lets all through.
type ScanTaskFilter struct {
	ID          string
	Kinds       []tidewaiter.ScanTaskKind // nil is all
	CreatedFrom time.Time
	EndedUntil  time.Time
	Running     *bool // also those that are stopping
	Scope       *int  // those that look for all of this mask; for 0 those that look for nothing
}

// maxFailures bounds how many failures are listed of one task.
const maxFailures = 200

// ScanTasks returns a page of the tasks of an extent that the filter lets
// through, newest first, with the first of their failures, and how many there
// are in all.
func (db *DB) ScanTasks(ctx context.Context, e tidewaiter.Extent, f ScanTaskFilter, p Page) ([]tidewaiter.ScanTask, int, error) {
	var list []tidewaiter.ScanTask
	total := 0
	err := db.snapshot(ctx, func(tx *DB) error {
		var rows []scanTaskRow
		q := in(extent(tx.read.NewSelect().Model(&rows), e), "kind", f.Kinds)
		if f.ID != "" {
			q = q.Where("id = ?", f.ID)
		}
		if f.Running != nil {
			q = q.Where("(ended = 0) = ?", *f.Running)
		}
		if !f.CreatedFrom.IsZero() {
			q = q.Where("created >= ?", micros(f.CreatedFrom))
		}
		if !f.EndedUntil.IsZero() {
			q = q.Where("ended > 0 AND ended <= ?", micros(f.EndedUntil))
		}
		switch {
		case f.Scope != nil && *f.Scope == 0:
			q = q.Where("scope = 0")
		case f.Scope != nil:
			q = q.Where("(scope & ?0) = ?0", *f.Scope)
		}
		var err error
		if total, err = paged(ctx, q, p, "scan tasks", "created DESC", "id DESC"); err != nil {
			return err
		}
		list = nouns(rows, scanTaskRow.noun)
		for i := range list {
			if list[i].Failed == 0 {
				continue
			}
			if list[i].Failures, err = tx.failures(ctx, list[i].ID); err != nil {
				return err
			}
		}
		return nil
	})
	return list, total, err
}

func (db *DB) failures(ctx context.Context, taskID string) ([]tidewaiter.ScanFailure, error) {
	var list []tidewaiter.ScanFailure
	err := db.read.NewRaw(`SELECT image_id, registry_id, registry_name, registry_type, namespace, name, tag, code, reason
		FROM scan_failures WHERE task_id = ? ORDER BY image_id LIMIT ?`, taskID, maxFailures).Scan(ctx, &list)
	return list, notFound(err, "failures of a scan task")
}

// LastScanTask returns the newest task of a kind in an extent, or NotFound.
func (db *DB) LastScanTask(ctx context.Context, e tidewaiter.Extent, kind tidewaiter.ScanTaskKind) (tidewaiter.ScanTask, error) {
	var row scanTaskRow
	err := extent(db.read.NewSelect().Model(&row), e).Where("kind = ?", kind).Order("created DESC", "id DESC").Limit(1).Scan(ctx)
	if err != nil {
		return tidewaiter.ScanTask{}, notFound(err, "scan task")
	}
	return row.noun(), nil
}

// WaitsFor tells whether images of a task wait for a cluster.
func (db *DB) WaitsFor(ctx context.Context, taskID, clusterID string) (bool, error) {
	var list []string
	err := db.read.NewRaw(`SELECT i.task_id FROM scan_task_images AS i JOIN scans AS s ON s.manifest_id = i.manifest_id
		WHERE i.task_id = ? AND i.status = 'waiting' AND s.registry_number IN (?) LIMIT 1`,
		taskID, db.read.NewSelect().Table("registries").Column("number").Where("cluster_id = ?", clusterID)).Scan(ctx, &list)
	if err != nil {
		return false, fmt.Errorf("read images of a scan task: %w", err)
	}
	return len(list) > 0, nil
}
