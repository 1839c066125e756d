package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// RatedScanTasks returns the running tasks with a rate limit.
func (db *DB) RatedScanTasks(ctx context.Context) ([]tidewaiter.ScanTask, error) {
	var rows []scanTaskRow
	err := db.read.NewSelect().Model(&rows).Where("state = ? AND rate_limit > 0", tidewaiter.ScanRunning).Order("id").Scan(ctx)
	return nouns(rows, scanTaskRow.noun), notFound(err, "scan tasks")
}

// overdue are the scans of a task that could have begun by now, but for the
// first, and that no other task waits for.
const overdue = `SELECT w.id FROM scan_task_images AS i JOIN scans AS s ON s.manifest_id = i.manifest_id JOIN work AS w ON w.id = s.work_id
	WHERE i.task_id = ? AND i.status = 'waiting' AND w.state = 'queued' AND w.failures = 0 AND w.not_before <= ?
	AND NOT EXISTS (SELECT 1 FROM scan_task_images AS o WHERE o.manifest_id = i.manifest_id AND o.status = 'waiting' AND o.task_id <> i.task_id)
	GROUP BY w.id, w.not_before ORDER BY w.not_before, w.id LIMIT ? OFFSET 1`

// SpaceScans puts what has become due of a task while nobody did it behind the
// rest of it, up to limit scans at a time, one each interval: what was missed is
// not made up for all at once. It returns how many it was.
func (db *DB) SpaceScans(ctx context.Context, taskID string, interval time.Duration, limit int, now time.Time) (int, error) {
	n := 0
	err := db.Tx(ctx, func(tx *DB) error {
		var ids []string
		if err := tx.write.NewRaw(overdue, taskID, micros(now), limit).Scan(ctx, &ids); err != nil || len(ids) == 0 {
			return notFound(err, "work")
		}
		n = len(ids)
		var next int64
		if err := tx.write.NewRaw("SELECT next_due FROM scan_tasks WHERE id = ?", taskID).Scan(ctx, &next); err != nil {
			return notFound(err, "scan task")
		}
		next = max(next, micros(now)+interval.Microseconds())
		for chunk := range slices.Chunk(ids, chunkSize) {
			var due strings.Builder
			for i, id := range chunk {
				if i > 0 {
					due.WriteString(", ")
				}
				fmt.Fprintf(&due, "('%s', %d)", id, next) // the ids are our own: hexadecimal digits
				next += interval.Microseconds()
			}
			r, err := tx.write.NewRaw(`WITH p(id, due) AS (VALUES ?)
				UPDATE work SET not_before = (SELECT due FROM p WHERE p.id = work.id) WHERE id IN (SELECT id FROM p) AND state = 'queued'`,
				bun.Safe(due.String())).Exec(ctx)
			if err != nil {
				return wrote(r, err, "work")
			}
		}
		r, err := tx.write.NewRaw("UPDATE scan_tasks SET next_due = ? WHERE id = ?", next, taskID).Exec(ctx)
		return wrote(r, err, "scan task")
	})
	return n, err
}
