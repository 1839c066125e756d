package inventory

import (
	"context"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// errNoRegistry is what anybody hears of a registry outside of the extent.
func errNoRegistry() error {
	return tidewaiter.Errorf(tidewaiter.NotFound, "there is no such registry")
}

// AddRegistry connects a registry: its secrets are sealed to the key of its
// cluster, and a component of the cluster is to find out whether it can be
// used. Errors: Invalid (naming the field), Conflict (the name, the number of
// registries, a cluster without a key).
func (s *Service) AddRegistry(ctx context.Context, n NewRegistry) (tidewaiter.Registry, error) {
	now := s.now()
	r := tidewaiter.Registry{
		ID: store.NewID(), ProjectID: n.ProjectID, EnterpriseProjectID: n.EnterpriseProjectID, Name: n.Name,
		Type: n.Type, APIVersion: n.APIVersion, Protocol: n.Protocol, Address: n.Address, Username: n.Username,
		Namespace: n.Namespace, ClusterID: n.ClusterID, Channel: n.Channel,
		Revision: 1, Status: tidewaiter.RegistryAccessing, Created: now, Updated: now,
	}
	n.Settings.apply(&r.Settings)
	if err := checkRegistry(r); err != nil {
		return tidewaiter.Registry{}, err
	}
	given, err := RegistryChange{Password: &n.Password, Settings: n.Settings}.secrets()
	if err != nil {
		return tidewaiter.Registry{}, err
	}
	r.NextSync = s.nextSync(r.Settings, now)
	err = s.store.Tx(ctx, func(tx *store.DB) error {
		cluster, err := usableCluster(ctx, tx, r)
		if err != nil {
			return err
		}
		count, err := tx.CountRegistries(ctx, r.ProjectID)
		if err != nil {
			return err
		}
		if count >= MaxRegistries {
			return tidewaiter.Errorf(tidewaiter.Conflict, "the project has %d registries already, which is as many as a project may have; delete one that is not used, or use another project", MaxRegistries)
		}
		if err := tx.CreateRegistry(ctx, r); err != nil {
			return nameTaken(err)
		}
		if err := putSecrets(ctx, tx, r, cluster.Recipient, given); err != nil {
			return err
		}
		return tx.CreateWork(ctx, newWork(r, tidewaiter.AccessCheckWork, now))
	})
	if err != nil {
		return tidewaiter.Registry{}, err
	}
	s.wake(r.ClusterID)
	return r, nil
}

// nameTaken says which field a second registry of a name is about.
func nameTaken(err error) error {
	if tidewaiter.KindOf(err) != tidewaiter.Conflict {
		return err
	}
	return &tidewaiter.Error{Kind: tidewaiter.Conflict, Field: "registry_name",
		Message: "is the name of another registry of this project; choose another one"}
}

// newWork returns work about a registry for the components of its cluster.
func newWork(r tidewaiter.Registry, kind tidewaiter.WorkKind, now time.Time) tidewaiter.Work {
	return tidewaiter.Work{
		ID: store.NewID(), ClusterID: r.ClusterID, Kind: kind, Subject: r.ID,
		State: tidewaiter.WorkQueued, NotBefore: now, Created: now,
	}
}

// lockRegistry returns a registry of the extent and holds it for the transaction.
func lockRegistry(ctx context.Context, tx *store.DB, e tidewaiter.Extent, id string) (tidewaiter.Registry, error) {
	r, err := tx.LockRegistry(ctx, id)
	switch {
	case err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound:
		return r, err
	case err != nil, !e.Holds(r.ProjectID, r.EnterpriseProjectID):
		return tidewaiter.Registry{}, errNoRegistry()
	}
	return r, nil
}

// UpdateRegistry changes a connection and returns it as it is then. A change
// of how the registry is reached makes the status accessing, and another check
// is queued; a synchronisation under way begins again. Errors: NotFound,
// Invalid (naming the field, such as a secret that is needed again), Conflict
// (a cluster without a key).
func (s *Service) UpdateRegistry(ctx context.Context, e tidewaiter.Extent, id string, c RegistryChange) (tidewaiter.Registry, error) {
	given, err := c.secrets()
	if err != nil {
		return tidewaiter.Registry{}, err
	}
	var r tidewaiter.Registry
	err = s.store.Tx(ctx, func(tx *store.DB) error {
		old, err := lockRegistry(ctx, tx, e, id)
		if err != nil {
			return err
		}
		r = old
		c.apply(&r)
		return s.update(ctx, tx, old, &r, given)
	})
	if err != nil {
		return tidewaiter.Registry{}, err
	}
	s.wake(r.ClusterID)
	return r, nil
}

// update writes a changed registry, and fills in what follows from the change.
func (s *Service) update(ctx context.Context, tx *store.DB, old tidewaiter.Registry, r *tidewaiter.Registry, given []givenSecret) error {
	if err := checkRegistry(*r); err != nil {
		return err
	}
	kept, err := tx.Secrets(ctx, r.ID)
	if err != nil {
		return err
	}
	if err := checkBound(old, *r, kept, given); err != nil {
		return err
	}
	now := s.now()
	r.Updated = now
	if r.Settings.SyncAt != old.Settings.SyncAt {
		r.NextSync = s.nextSync(r.Settings, now)
	}
	reconnect := len(given) > 0 || !sameReach(old, *r)
	if reconnect {
		r.Revision++
		r.Status, r.FailReason, r.FailDetail = tidewaiter.RegistryAccessing, "", ""
	}
	var cluster tidewaiter.Cluster
	if len(given) > 0 || old.ClusterID != r.ClusterID {
		if cluster, err = usableCluster(ctx, tx, *r); err != nil {
			return err
		}
	}
	if err := tx.UpdateRegistry(ctx, *r, old.Revision); err != nil {
		return err
	}
	if err := putSecrets(ctx, tx, *r, cluster.Recipient, given); err != nil {
		return err
	}
	if reconnect {
		return s.reconnect(ctx, tx, *r, now)
	}
	return nil
}

// reconnect stops the work about a registry as it was, and queues what is to
// be done about it as it is. Tasks that wait for a synchronisation wait for
// the new one; scans begin again.
func (s *Service) reconnect(ctx context.Context, tx *store.DB, r tidewaiter.Registry, now time.Time) error {
	sync, err := tx.OpenWork(ctx, r.ID, tidewaiter.SyncWork)
	syncing := err == nil
	if err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return err
	}
	if err := tx.StopWork(ctx, r.ID, now); err != nil {
		return err
	}
	if err := tx.RequeueScans(ctx, r.ID, r.ClusterID, now); err != nil {
		return err
	}
	if err := tx.CreateWork(ctx, newWork(r, tidewaiter.AccessCheckWork, now)); err != nil || !syncing {
		return err
	}
	again := newWork(r, tidewaiter.SyncWork, now)
	if _, err := tx.MoveSync(ctx, sync.ID, again.ID); err != nil {
		return err
	}
	return tx.CreateWork(ctx, again)
}

// DeleteRegistries removes connections with all that was found in them; work
// about them is stopped, and tasks that wait for it hear that they failed. It
// removes all or none: the error of one that does not exist is NotFound and
// names it by its position.
func (s *Service) DeleteRegistries(ctx context.Context, e tidewaiter.Extent, ids []string) error {
	if len(ids) == 0 {
		return tidewaiter.InvalidField("ids", "is empty; name the registries to delete")
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(ids))) // the order of locking
	return s.store.Tx(ctx, func(tx *store.DB) error {
		for _, id := range sorted {
			_, err := lockRegistry(ctx, tx, e, id)
			if tidewaiter.KindOf(err) == tidewaiter.NotFound && err != nil && len(ids) > 1 {
				return &tidewaiter.Error{Kind: tidewaiter.NotFound, Field: "ids",
					Message: "names no registry at " + position(slices.Index(ids, id)) + "; nothing was deleted"}
			}
			if err != nil {
				return err
			}
		}
		for _, id := range sorted {
			if err := s.deleteRegistry(ctx, tx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) deleteRegistry(ctx context.Context, tx *store.DB, id string) error {
	now := s.now()
	if err := abandonSync(ctx, tx, id, "the registry was deleted", now); err != nil {
		return err
	}
	if err := tx.StopWork(ctx, id, now); err != nil {
		return err
	}
	if err := tx.AbandonScans(ctx, id, "the registry was deleted", now); err != nil {
		return err
	}
	return tx.DeleteRegistry(ctx, id)
}

// abandonSync ends what waits for the synchronisation of a registry, if there
// is one.
func abandonSync(ctx context.Context, tx *store.DB, registryID, reason string, now time.Time) error {
	sync, err := tx.OpenWork(ctx, registryID, tidewaiter.SyncWork)
	if err != nil {
		if tidewaiter.KindOf(err) == tidewaiter.NotFound {
			return nil
		}
		return err
	}
	return tx.EndSyncOf(ctx, sync.ID, tidewaiter.SyncFailed, reason, now)
}

// Registry returns a registry, or NotFound.
func (s *Service) Registry(ctx context.Context, e tidewaiter.Extent, id string) (tidewaiter.Registry, error) {
	r, err := s.store.Registry(ctx, id)
	switch {
	case err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound:
		return tidewaiter.Registry{}, err
	case err != nil, !e.Holds(r.ProjectID, r.EnterpriseProjectID):
		return tidewaiter.Registry{}, errNoRegistry()
	}
	return r, nil
}

// Registries returns a page of the registries that the filter lets through,
// newest first, and how many there are in all.
func (s *Service) Registries(ctx context.Context, e tidewaiter.Extent, f store.RegistryFilter, p store.Page) ([]tidewaiter.Registry, int, error) {
	return s.store.Registries(ctx, e, f, p)
}

// RegistryCounts returns how many registries of some types, or of all if there
// are none, have each status.
func (s *Service) RegistryCounts(ctx context.Context, e tidewaiter.Extent, types []tidewaiter.RegistryType) (map[tidewaiter.RegistryStatus]int, error) {
	return s.store.RegistryCounts(ctx, e, types)
}

// ignoreNotFound is for what may have been deleted in the meantime.
func ignoreNotFound(err error) error {
	if err != nil && tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return nil
	}
	return err
}
