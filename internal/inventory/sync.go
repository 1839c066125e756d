package inventory

import (
	"context"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Wish says which registries are to be synchronised.
type Wish struct {
	EnterpriseProjectID string // that the task belongs to
	Kind                tidewaiter.SyncTaskKind
	IDs                 []string                  // nil is all of the extent
	Types               []tidewaiter.RegistryType // with nil IDs: only those of these types; nil is any
}

// Synchronize queues the synchronisation of registries as one task. A registry
// that waits for one already, or is in the middle of it, joins the task as it
// is. Errors: NotFound (naming the position of a registry that does not exist;
// or if there is none at all).
func (s *Service) Synchronize(ctx context.Context, e tidewaiter.Extent, wish Wish) (tidewaiter.SyncTask, error) {
	var task tidewaiter.SyncTask
	var wake []string
	err := s.store.Tx(ctx, func(tx *store.DB) error {
		wake = nil
		now := s.now()
		task = newTask(e.ProjectID, wish.EnterpriseProjectID, wish.Kind, now)
		list, err := s.wished(ctx, tx, e, wish)
		if err != nil {
			return err
		}
		rows := make([]tidewaiter.SyncTaskRegistry, 0, len(list))
		for _, r := range list {
			work, joined, err := joinSync(ctx, tx, r, now)
			if err != nil {
				return err
			}
			rows = append(rows, taskRow(task, r, work))
			if !joined {
				wake = append(wake, r.ClusterID)
			}
		}
		task.Total = len(rows)
		return tx.CreateSyncTask(ctx, task, rows)
	})
	if err != nil {
		return tidewaiter.SyncTask{}, err
	}
	s.wakeAll(wake)
	return task, nil
}

// wished returns the registries of a wish, locked.
func (s *Service) wished(ctx context.Context, tx *store.DB, e tidewaiter.Extent, wish Wish) ([]tidewaiter.Registry, error) {
	ids, all := wish.IDs, wish.IDs == nil
	if all {
		list, _, err := tx.Registries(ctx, e, store.RegistryFilter{Types: wish.Types}, store.Page{Limit: 10 * MaxRegistries})
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			ids = append(ids, r.ID)
		}
	}
	var locked []tidewaiter.Registry
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		r, err := lockRegistry(ctx, tx, e, id)
		switch {
		case err == nil:
			locked = append(locked, r)
		case tidewaiter.KindOf(err) != tidewaiter.NotFound:
			return nil, err
		case !all:
			return nil, &tidewaiter.Error{Kind: tidewaiter.NotFound, Field: "registry_info",
				Message: "names no registry at " + position(slices.Index(ids, id)) + "; nothing was started"}
		}
	}
	if len(locked) == 0 {
		return nil, tidewaiter.Errorf(tidewaiter.NotFound, "there is no registry to synchronise; connect one first (AddRegistry)")
	}
	return locked, nil
}

// joinSync returns the synchronisation of a locked registry that waits or is
// under way, or queues one.
func joinSync(ctx context.Context, tx *store.DB, r tidewaiter.Registry, now time.Time) (work tidewaiter.Work, joined bool, err error) {
	work, err = tx.OpenWork(ctx, r.ID, tidewaiter.SyncWork)
	if err == nil || tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return work, err == nil, err
	}
	work = newWork(r, tidewaiter.SyncWork, now)
	return work, false, tx.CreateWork(ctx, work)
}

func newTask(projectID, enterpriseProjectID string, kind tidewaiter.SyncTaskKind, now time.Time) tidewaiter.SyncTask {
	return tidewaiter.SyncTask{ID: store.NewID(), ProjectID: projectID, EnterpriseProjectID: enterpriseProjectID, Kind: kind, Created: now}
}

func taskRow(task tidewaiter.SyncTask, r tidewaiter.Registry, work tidewaiter.Work) tidewaiter.SyncTaskRegistry {
	return tidewaiter.SyncTaskRegistry{
		TaskID: task.ID, RegistryID: r.ID, RegistryName: r.Name, RegistryType: r.Type,
		WorkID: work.ID, Status: tidewaiter.SyncRunning,
	}
}

func (s *Service) wakeAll(clusterIDs []string) {
	for _, id := range slices.Compact(slices.Sorted(slices.Values(clusterIDs))) {
		s.wake(id)
	}
}

// SyncTasks returns a page of the tasks that the filter lets through, newest
// first, and how many there are in all.
func (s *Service) SyncTasks(ctx context.Context, e tidewaiter.Extent, f store.SyncTaskFilter, p store.Page) ([]tidewaiter.SyncTask, int, error) {
	return s.store.SyncTasks(ctx, e, f, p)
}

// SyncTask returns a task, or NotFound.
func (s *Service) SyncTask(ctx context.Context, e tidewaiter.Extent, id string) (tidewaiter.SyncTask, error) {
	task, err := s.store.SyncTask(ctx, id)
	switch {
	case err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound:
		return tidewaiter.SyncTask{}, err
	case err != nil, !e.Holds(task.ProjectID, task.EnterpriseProjectID):
		return tidewaiter.SyncTask{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such synchronisation task")
	}
	return task, nil
}

// SyncTaskRegistries returns a page of the registries of a task that the
// filter lets through, and how many there are in all; or NotFound.
func (s *Service) SyncTaskRegistries(ctx context.Context, e tidewaiter.Extent, taskID string, f store.SyncRegistryFilter, p store.Page) ([]tidewaiter.SyncTaskRegistry, int, error) {
	if _, err := s.SyncTask(ctx, e, taskID); err != nil {
		return nil, 0, err
	}
	return s.store.SyncTaskRegistries(ctx, taskID, f, p)
}
