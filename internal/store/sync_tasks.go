package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// SyncTaskFilter says which tasks to list. What is empty lets all through.
type SyncTaskFilter struct {
	ID          string
	Kind        tidewaiter.SyncTaskKind
	Running     *bool
	CreatedFrom time.Time // then or later
	EndedUntil  time.Time // only those that have ended, then or earlier
}

// SyncRegistryFilter says which registries of a task to list. What is empty
// lets all through. Name is exact, but * stands for any run of characters.
type SyncRegistryFilter struct {
	Name   string
	Types  []tidewaiter.RegistryType
	Status tidewaiter.SyncStatus
}

type syncTaskRow struct {
	bun.BaseModel `bun:"sync_tasks"`

	ID                  string
	ProjectID           string
	EnterpriseProjectID string
	Kind                tidewaiter.SyncTaskKind
	Created             int64
	Ended               int64
}

func (r syncTaskRow) noun() tidewaiter.SyncTask {
	return tidewaiter.SyncTask{
		ID: r.ID, ProjectID: r.ProjectID, EnterpriseProjectID: r.EnterpriseProjectID, Kind: r.Kind,
		Created: fromMicros(r.Created), Ended: optionalTime(r.Ended),
	}
}

type syncTaskRegistryRow struct {
	bun.BaseModel `bun:"sync_task_registries"`

	TaskID       string
	RegistryID   string
	RegistryName string
	RegistryType tidewaiter.RegistryType
	WorkID       string
	Status       tidewaiter.SyncStatus
	FailedReason string
	Ended        int64
}

func (r syncTaskRegistryRow) noun() tidewaiter.SyncTaskRegistry {
	return tidewaiter.SyncTaskRegistry{
		TaskID: r.TaskID, RegistryID: r.RegistryID, RegistryName: r.RegistryName, RegistryType: r.RegistryType,
		WorkID: r.WorkID, Status: r.Status, FailedReason: r.FailedReason, Ended: optionalTime(r.Ended),
	}
}

// CreateSyncTask adds a task with its registries. The counts of the task are
// not written: they follow from the registries.
func (db *DB) CreateSyncTask(ctx context.Context, t tidewaiter.SyncTask, registries []tidewaiter.SyncTaskRegistry) error {
	rows := nouns(registries, func(r tidewaiter.SyncTaskRegistry) syncTaskRegistryRow {
		return syncTaskRegistryRow{
			TaskID: t.ID, RegistryID: r.RegistryID, RegistryName: r.RegistryName, RegistryType: r.RegistryType,
			WorkID: r.WorkID, Status: r.Status, FailedReason: r.FailedReason, Ended: optionalMicros(r.Ended),
		}
	})
	return db.Tx(ctx, func(tx *DB) error {
		task := syncTaskRow{
			ID: t.ID, ProjectID: t.ProjectID, EnterpriseProjectID: t.EnterpriseProjectID, Kind: t.Kind,
			Created: micros(t.Created), Ended: optionalMicros(t.Ended),
		}
		if _, err := tx.write.NewInsert().Model(&task).Exec(ctx); err != nil {
			return conflict(err, "synchronisation task")
		}
		return eachChunk(rows, func(chunk []syncTaskRegistryRow) error {
			_, err := tx.write.NewInsert().Model(&chunk).Exec(ctx)
			return conflict(err, "synchronisation task")
		})
	})
}

// SyncTask returns the task of an id, counted.
func (db *DB) SyncTask(ctx context.Context, id string) (tidewaiter.SyncTask, error) {
	var t tidewaiter.SyncTask
	err := db.snapshot(ctx, func(tx *DB) error {
		var row syncTaskRow
		if err := tx.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
			return notFound(err, "synchronisation task")
		}
		list, err := tx.countTasks(ctx, []syncTaskRow{row})
		if err == nil {
			t = list[0]
		}
		return err
	})
	return t, err
}

// SyncTasks returns a page of the tasks of an extent that the filter lets
// through, newest first and counted, and how many there are in all.
func (db *DB) SyncTasks(ctx context.Context, e tidewaiter.Extent, f SyncTaskFilter, p Page) ([]tidewaiter.SyncTask, int, error) {
	var list []tidewaiter.SyncTask
	total := 0
	err := db.snapshot(ctx, func(tx *DB) error {
		var rows []syncTaskRow
		q := extent(tx.read.NewSelect().Model(&rows), e)
		if f.ID != "" {
			q = q.Where("id = ?", f.ID)
		}
		if f.Kind != "" {
			q = q.Where("kind = ?", f.Kind)
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
		var err error
		if total, err = paged(ctx, q, p, "synchronisation tasks", "created DESC", "id DESC"); err != nil {
			return err
		}
		list, err = tx.countTasks(ctx, rows)
		return err
	})
	return list, total, err
}

func (db *DB) countTasks(ctx context.Context, rows []syncTaskRow) ([]tidewaiter.SyncTask, error) {
	list := nouns(rows, syncTaskRow.noun)
	at := make(map[string]*tidewaiter.SyncTask, len(list))
	ids := make([]string, len(list))
	for i := range list {
		ids[i], at[list[i].ID] = list[i].ID, &list[i]
	}
	err := eachChunk(ids, func(ids []string) error {
		var counts []struct {
			TaskID string
			Status tidewaiter.SyncStatus
			Count  int
		}
		err := db.read.NewRaw("SELECT task_id, status, COUNT(*) AS count FROM sync_task_registries WHERE task_id IN (?) GROUP BY task_id, status",
			bun.List(ids)).Scan(ctx, &counts)
		for _, c := range counts {
			t := at[c.TaskID]
			t.Total += c.Count
			switch c.Status {
			case tidewaiter.SyncFailed:
				t.Failed += c.Count
			case tidewaiter.SyncFinished:
				t.Finished += c.Count
			case tidewaiter.SyncRunning:
			}
		}
		if err != nil {
			return fmt.Errorf("count registries of synchronisation tasks: %w", err)
		}
		return db.addPercent(ctx, ids, at)
	})
	return list, err
}

// addPercent adds how far the work has come that tasks wait for.
func (db *DB) addPercent(ctx context.Context, ids []string, at map[string]*tidewaiter.SyncTask) error {
	var running []struct{ TaskID, Progress string }
	err := db.read.NewRaw("SELECT r.task_id, w.progress FROM sync_task_registries AS r JOIN work AS w ON w.id = r.work_id"+
		" WHERE r.task_id IN (?) AND r.status = ?", bun.List(ids), tidewaiter.SyncRunning).Scan(ctx, &running)
	if err != nil {
		return fmt.Errorf("read the progress of synchronisation tasks: %w", err)
	}
	for _, r := range running {
		p, err := decodeProgress(r.Progress)
		if err != nil {
			return err
		}
		at[r.TaskID].Percent += p.Percent()
	}
	return nil
}

// SyncTaskRegistries returns a page of the registries of a task that the
// filter lets through, by name, and how many there are in all. It does not ask
// whose the task is: see [DB.SyncTask].
func (db *DB) SyncTaskRegistries(ctx context.Context, taskID string, f SyncRegistryFilter, p Page) ([]tidewaiter.SyncTaskRegistry, int, error) {
	var rows []syncTaskRegistryRow
	total := 0
	err := db.snapshot(ctx, func(tx *DB) error {
		q := in(tx.read.NewSelect().Model(&rows).Where("task_id = ?", taskID), "registry_type", f.Types)
		q = tx.like(q, "registry_name", f.Name)
		if f.Status != "" {
			q = q.Where("status = ?", f.Status)
		}
		var err error
		total, err = paged(ctx, q, p, "registries of a synchronisation task", "registry_name", "registry_id")
		return err
	})
	return nouns(rows, syncTaskRegistryRow.noun), total, err
}

// EndSyncOf ends the part of every task that waits for a piece of work, and
// the tasks of which nothing is running then.
func (db *DB) EndSyncOf(ctx context.Context, workID string, status tidewaiter.SyncStatus, reason string, now time.Time) error {
	return db.Tx(ctx, func(tx *DB) error {
		// Locked first, one who ends the other part of a task sees what this one
		// did, so that one of them ends the task.
		var tasks []string
		err := tx.read.NewRaw("SELECT id FROM sync_tasks WHERE ended = 0 AND id IN (SELECT task_id FROM sync_task_registries WHERE work_id = ?) ORDER BY id?",
			workID, tx.forUpdate()).Scan(ctx, &tasks)
		if err != nil {
			return fmt.Errorf("read synchronisation tasks: %w", err)
		}
		r, err := tx.write.NewRaw("UPDATE sync_task_registries SET status = ?, failed_reason = ?, ended = ? WHERE work_id = ? AND status = ?",
			status, reason, micros(now), workID, tidewaiter.SyncRunning).Exec(ctx)
		if err != nil {
			return wrote(r, err, "synchronisation task")
		}
		return eachChunk(tasks, func(ids []string) error {
			r, err := tx.write.NewRaw(`UPDATE sync_tasks SET ended = ? WHERE ended = 0 AND id IN (?)
				AND NOT EXISTS (SELECT 1 FROM sync_task_registries r WHERE r.task_id = sync_tasks.id AND r.status = ?)`,
				micros(now), bun.List(ids), tidewaiter.SyncRunning).Exec(ctx)
			return wrote(r, err, "synchronisation task")
		})
	})
}

// MoveSync makes the tasks that wait for one piece of work wait for another,
// and returns how many they are.
func (db *DB) MoveSync(ctx context.Context, fromWork, toWork string) (int64, error) {
	r, err := db.write.NewRaw("UPDATE sync_task_registries SET work_id = ? WHERE work_id = ? AND status = ?",
		toWork, fromWork, tidewaiter.SyncRunning).Exec(ctx)
	return affected(r, err, "synchronisation task")
}

// PurgeSyncTasks removes the tasks that ended before a time, and returns how
// many they were.
func (db *DB) PurgeSyncTasks(ctx context.Context, before time.Time) (int64, error) {
	r, err := db.write.NewRaw("DELETE FROM sync_tasks WHERE ended > 0 AND ended < ?", micros(before)).Exec(ctx)
	return affected(r, err, "synchronisation tasks")
}
