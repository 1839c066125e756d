package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type scanTaskRow struct {
	bun.BaseModel `bun:"scan_tasks"`

	ID                  string
	ProjectID           string
	EnterpriseProjectID string
	Kind                tidewaiter.ScanTaskKind
	PolicyID            string
	State               tidewaiter.ScanTaskState
	Scope               int
	RateLimit           int
	IsAll               bool
	Priority            tidewaiter.ScanPriority
	Selection           string
	Cursor              int64
	AllThere            bool
	NextDue             int64
	Total               int
	Succeeded           int
	Failed              int
	Risky               int
	Created             int64
	Ended               int64
	Looked              int
	PaceTime            int64
	PaceLooked          int
	MarkTime            int64
	MarkLooked          int
}

func (r scanTaskRow) noun() tidewaiter.ScanTask {
	return tidewaiter.ScanTask{
		ID: r.ID, ProjectID: r.ProjectID, EnterpriseProjectID: r.EnterpriseProjectID, Kind: r.Kind, PolicyID: r.PolicyID,
		State: r.State, Scope: r.Scope, RateLimit: r.RateLimit, All: r.IsAll, Priority: r.Priority,
		Created: fromMicros(r.Created), Ended: optionalTime(r.Ended),
		Total: r.Total, Succeeded: r.Succeeded, Failed: r.Failed, Risky: r.Risky, Complete: r.AllThere, NextDue: optionalTime(r.NextDue),
		Pace: tidewaiter.ScanPace{Since: fromMicros(r.PaceTime), Images: r.Looked - r.PaceLooked},
	}
}

// CreateScanTask adds a task that has no images yet. selection says which it
// is to have, in the caller's own form.
func (db *DB) CreateScanTask(ctx context.Context, t tidewaiter.ScanTask, selection string) error {
	row := scanTaskRow{
		ID: t.ID, ProjectID: t.ProjectID, EnterpriseProjectID: t.EnterpriseProjectID, Kind: t.Kind, PolicyID: t.PolicyID,
		State: t.State, Scope: t.Scope, RateLimit: t.RateLimit, IsAll: t.All, Priority: t.Priority, Selection: selection,
		Created: micros(t.Created), NextDue: optionalMicros(t.NextDue), PaceTime: micros(t.Created), MarkTime: micros(t.Created),
	}
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "scan task")
}

// ScanProgress is how far a task has come in finding its images.
type ScanProgress struct {
	Cursor int64 // the last image that is among its items
	tidewaiter.ScanTask
	Selection string
}

// ScanTaskProgress returns a task and how far it has come, or NotFound.
func (db *DB) ScanTaskProgress(ctx context.Context, id string) (ScanProgress, error) {
	var row scanTaskRow
	err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	return ScanProgress{Cursor: row.Cursor, ScanTask: row.noun(), Selection: row.Selection}, notFound(err, "scan task")
}

// OpenScanTasks returns the ids of tasks in a state: of running ones, those that
// have not found all their images yet.
func (db *DB) OpenScanTasks(ctx context.Context, state tidewaiter.ScanTaskState) ([]string, error) {
	var ids []string
	err := db.read.NewRaw("SELECT id FROM scan_tasks WHERE state = ? AND (state <> 'running' OR NOT all_there) ORDER BY priority, created, id", state).Scan(ctx, &ids)
	return ids, notFound(err, "scan tasks")
}

// ScanItem is an image of a task.
type ScanItem struct {
	ImageID    int64
	ManifestID int64
	Outcome    *tidewaiter.ScanOutcome // of an image that need not be scanned; nil of one that waits
}

const (
	itemWaiting = "waiting"
	itemStopped = "stopped"
)

func itemStatus(o *tidewaiter.ScanOutcome) string {
	switch {
	case o == nil:
		return itemWaiting
	case o.Failed:
		return tidewaiter.ScanFailed
	}
	return tidewaiter.ScanSucceeded
}

type scanItemRow struct {
	bun.BaseModel `bun:"scan_task_images"`

	TaskID     string
	ImageID    int64
	ManifestID int64
	Status     string
}

// AddScanItems adds images to a task that has come as far as from, and says how
// far it has come by that: to the last of them, which may be all. Errors:
// Conflict if the task was stopped meanwhile, or somebody else went on with it.
func (db *DB) AddScanItems(ctx context.Context, from ScanProgress, items []ScanItem, all bool, nextDue, now time.Time) error {
	cursor, total := from.Cursor, len(items)
	rows := nouns(items, func(i ScanItem) scanItemRow {
		cursor = max(cursor, i.ImageID)
		return scanItemRow{TaskID: from.ID, ImageID: i.ImageID, ManifestID: i.ManifestID, Status: itemStatus(i.Outcome)}
	})
	err := eachChunk(rows, func(chunk []scanItemRow) error {
		_, err := db.write.NewInsert().Model(&chunk).Exec(ctx)
		return conflict(err, "image of a scan task")
	})
	if err != nil {
		return err
	}
	ended := make(map[tidewaiter.ScanOutcome][]itemOfTask)
	for _, i := range items {
		if i.Outcome != nil {
			ended[*i.Outcome] = append(ended[*i.Outcome], itemOfTask{TaskID: from.ID, ImageID: i.ImageID})
		}
	}
	r, err := db.write.NewRaw(`UPDATE scan_tasks SET cursor = ?, all_there = ?, next_due = ?, total = total + ?
		WHERE id = ? AND cursor = ? AND state = 'running' AND NOT all_there`,
		cursor, all, optionalMicros(nextDue), total, from.ID, from.Cursor).Exec(ctx)
	if err := db.swapped(ctx, r, err, "scan_tasks", "scan task", from.ID, "the task was stopped, or goes on elsewhere"); err != nil {
		return err
	}
	for o, list := range ended {
		if err := db.countItems(ctx, list, o); err != nil {
			return err
		}
	}
	return db.finishTasks(ctx, []string{from.ID}, now)
}

type itemOfTask struct {
	TaskID  string
	ImageID int64
}

// endItems ends the waiting of all tasks for manifests.
func (db *DB) endItems(ctx context.Context, manifests []int64, o tidewaiter.ScanOutcome, now time.Time) error {
	return eachChunk(manifests, func(chunk []int64) error {
		var items []itemOfTask
		err := db.write.NewRaw("UPDATE scan_task_images SET status = ? WHERE manifest_id IN (?) AND status = 'waiting' RETURNING task_id, image_id",
			itemStatus(&o), bun.List(chunk)).Scan(ctx, &items)
		if err != nil {
			return fmt.Errorf("write images of scan tasks: %w", err)
		}
		if err := db.countItems(ctx, items, o); err != nil {
			return err
		}
		if err := db.countLooked(ctx, items, now); err != nil {
			return err
		}
		tasks := make(map[string]bool)
		for _, i := range items {
			tasks[i.TaskID] = true
		}
		return db.finishTasks(ctx, slices.Sorted(maps.Keys(tasks)), now)
	})
}

// countItems counts images of tasks that ended, and keeps why they failed.
func (db *DB) countItems(ctx context.Context, items []itemOfTask, o tidewaiter.ScanOutcome) error {
	byTask := make(map[string][]int64)
	for _, i := range items {
		byTask[i.TaskID] = append(byTask[i.TaskID], i.ImageID)
	}
	for _, task := range slices.Sorted(maps.Keys(byTask)) { // the order of locking
		images := byTask[task]
		if o.Failed {
			if err := db.putFailures(ctx, task, images, o); err != nil {
				return err
			}
			r, err := db.write.NewRaw("UPDATE scan_tasks SET failed = failed + ? WHERE id = ?", len(images), task).Exec(ctx)
			if err != nil {
				return wrote(r, err, "scan task")
			}
			continue
		}
		risky := 0
		err := eachChunk(images, func(chunk []int64) error {
			var n int
			err := db.write.NewRaw("SELECT COUNT(*) FROM images WHERE id IN (?) AND vulnerable + unsafe_settings + malicious_files > 0", bun.List(chunk)).Scan(ctx, &n)
			risky += n
			return notFound(err, "images")
		})
		if err != nil {
			return err
		}
		r, err := db.write.NewRaw("UPDATE scan_tasks SET succeeded = succeeded + ?, risky = risky + ? WHERE id = ?", len(images), risky, task).Exec(ctx)
		if err != nil {
			return wrote(r, err, "scan task")
		}
	}
	if o.Failed {
		return nil
	}
	return db.countTotals(ctx, byTask)
}

// countTotals counts scans that have succeeded, by task.
func (db *DB) countTotals(ctx context.Context, byTask map[string][]int64) error {
	var tasks []scanTaskRow
	err := db.write.NewSelect().Model(&tasks).Column("id", "project_id", "enterprise_project_id").
		Where("id IN (?)", bun.List(slices.Collect(maps.Keys(byTask)))).Order("project_id", "enterprise_project_id").Scan(ctx)
	if err != nil {
		return notFound(err, "scan tasks")
	}
	for _, t := range tasks {
		r, err := db.write.NewRaw(`INSERT INTO scan_totals (project_id, enterprise_project_id, succeeded) VALUES (?, ?, ?)
			ON CONFLICT (project_id, enterprise_project_id) DO UPDATE SET succeeded = scan_totals.succeeded + excluded.succeeded`,
			t.ProjectID, t.EnterpriseProjectID, len(byTask[t.ID])).Exec(ctx)
		if err != nil {
			return wrote(r, err, "number of scans")
		}
	}
	return nil
}

// paceWindow is after how long the pace of a task is measured anew.
const paceWindow = 150 * time.Second

// countLooked counts images of tasks that somebody has looked into.
func (db *DB) countLooked(ctx context.Context, items []itemOfTask, now time.Time) error {
	byTask := make(map[string]int)
	for _, i := range items {
		byTask[i.TaskID]++
	}
	at, window := micros(now), paceWindow.Microseconds()
	for _, task := range slices.Sorted(maps.Keys(byTask)) {
		r, err := db.write.NewRaw(`UPDATE scan_tasks SET looked = looked + ?0,
			pace_time = CASE WHEN ?1 - mark_time >= ?2 THEN mark_time ELSE pace_time END,
			pace_looked = CASE WHEN ?1 - mark_time >= ?2 THEN mark_looked ELSE pace_looked END,
			mark_looked = CASE WHEN ?1 - mark_time >= ?2 THEN looked + ?0 ELSE mark_looked END,
			mark_time = CASE WHEN ?1 - mark_time >= ?2 THEN ?1 ELSE mark_time END WHERE id = ?3`, byTask[task], at, window, task).Exec(ctx)
		if err != nil {
			return wrote(r, err, "scan task")
		}
	}
	return nil
}

// maxTaskReason is how long a reason is kept, in characters.
const maxTaskReason = 500

// putFailures keeps why images of a task failed, with the names that they have.
func (db *DB) putFailures(ctx context.Context, task string, images []int64, o tidewaiter.ScanOutcome) error {
	reason := o.Reason
	if r := []rune(reason); len(r) > maxTaskReason {
		reason = string(r[:maxTaskReason])
	}
	return eachChunk(images, func(chunk []int64) error {
		r, err := db.write.NewRaw(`INSERT INTO scan_failures (task_id, image_id, registry_id, registry_name, registry_type, namespace, name, tag, code, reason)
			SELECT ?, i.id, g.id, g.name, g.type, r.namespace, r.image, i.tag, ?, ?
			FROM images AS i JOIN repositories AS r ON r.id = i.repository_id JOIN registries AS g ON g.number = i.registry_number WHERE i.id IN (?)`,
			task, o.Code, reason, bun.List(chunk)).Exec(ctx)
		return wrote(r, err, "failures of a scan task")
	})
}

// finishTasks ends the tasks that wait for nothing any more.
func (db *DB) finishTasks(ctx context.Context, tasks []string, now time.Time) error {
	if len(tasks) == 0 {
		return nil
	}
	r, err := db.write.NewRaw(`UPDATE scan_tasks SET state = 'finished', ended = ?
		WHERE id IN (?) AND state = 'running' AND all_there AND succeeded + failed >= total`, micros(now), bun.List(tasks)).Exec(ctx)
	return wrote(r, err, "scan tasks")
}

// StopScanTask has a running task find no more images. [DB.StopScans] and then
// [DB.TakeBackScans] do the rest. Errors: NotFound; Conflict if the task is not
// running.
func (db *DB) StopScanTask(ctx context.Context, id string) error {
	r, err := db.write.NewRaw("UPDATE scan_tasks SET state = 'stopping' WHERE id = ? AND state = 'running'", id).Exec(ctx)
	return db.swapped(ctx, r, err, "scan_tasks", "scan task", id, "the task has ended already")
}

// StopScans has a task that is stopping begin nothing new: work that no other
// task waits for is stopped, and what is leased is to stop.
func (db *DB) StopScans(ctx context.Context, id string, now time.Time) error {
	return db.Tx(ctx, func(tx *DB) error {
		// Nobody joins a scan of the task while we look who waits for it.
		var held []int64
		err := tx.write.NewRaw("SELECT manifest_id FROM scans WHERE manifest_id IN (SELECT manifest_id FROM scan_task_images WHERE task_id = ? AND status = 'waiting') ORDER BY manifest_id?",
			id, tx.forUpdate()).Scan(ctx, &held)
		if err != nil || len(held) == 0 {
			return notFound(err, "scans")
		}
		r, err := tx.write.NewRaw(stopSQL+` AND id IN (SELECT s.work_id FROM scan_task_images AS i JOIN scans AS s ON s.manifest_id = i.manifest_id
			WHERE i.task_id = ? AND i.status = 'waiting' AND s.work_id <> ''
			AND NOT EXISTS (SELECT 1 FROM scan_task_images AS o WHERE o.manifest_id = i.manifest_id AND o.status = 'waiting' AND o.task_id <> i.task_id))`,
			micros(now), id).Exec(ctx)
		return wrote(r, err, "work")
	})
}

// TakeBackScans ends the waiting of a task that is stopping, up to limit images
// at a time, and the task itself when nothing of it waits any more. It returns
// how many images it was.
func (db *DB) TakeBackScans(ctx context.Context, id string, limit int, now time.Time) (int, error) {
	n := 0
	err := db.Tx(ctx, func(tx *DB) error {
		var rows []scanItemRow
		err := tx.write.NewRaw("SELECT * FROM scan_task_images WHERE task_id = ? AND status = 'waiting' ORDER BY image_id LIMIT ?", id, limit).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "images of a scan task")
		}
		if n = len(rows); n == 0 {
			r, err := tx.write.NewRaw("UPDATE scan_tasks SET state = 'stopped', ended = ? WHERE id = ? AND state = 'stopping'", micros(now), id).Exec(ctx)
			return wrote(r, err, "scan task")
		}
		manifests := nouns(rows, func(r scanItemRow) int64 { return r.ManifestID })
		slices.Sort(manifests)
		manifests = slices.Compact(manifests)
		if err := tx.lockScans(ctx, manifests); err != nil {
			return err
		}
		return eachChunk(manifests, func(chunk []int64) error {
			r, err := tx.write.NewRaw("UPDATE scan_task_images SET status = ? WHERE task_id = ? AND manifest_id IN (?) AND status = 'waiting'",
				itemStopped, id, bun.List(chunk)).Exec(ctx)
			if err != nil {
				return wrote(r, err, "images of a scan task")
			}
			r, err = tx.write.NewRaw(`UPDATE scans SET work_id = '' WHERE manifest_id IN (?) AND work_id <> ''
				AND NOT EXISTS (SELECT 1 FROM work WHERE work.id = scans.work_id AND NOT work.stop AND work.state IN ('queued', 'leased'))`, bun.List(chunk)).Exec(ctx)
			if err != nil {
				return wrote(r, err, "scans")
			}
			return tx.settleScans(ctx, chunk)
		})
	})
	return n, err
}

// PurgeScanTasks removes the tasks that ended before a time, and returns how
// many they were.
func (db *DB) PurgeScanTasks(ctx context.Context, before time.Time) (int64, error) {
	r, err := db.write.NewRaw("DELETE FROM scan_tasks WHERE ended > 0 AND ended < ?", micros(before)).Exec(ctx)
	return affected(r, err, "scan tasks")
}
