package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// maxSealedKey is how long the sealed key of a cluster may be, in bytes.
const maxSealedKey = 8 << 10

// RotateKey makes the components of a cluster agree on a new key. The old one
// never comes back. Whatever was sealed to it is lost, so that the registries
// with such secrets fail, and say that the password has to be given again; the
// work on them is stopped. All of it happens or none. Errors: NotFound;
// Conflict if the cluster has no key.
func (s *Service) RotateKey(ctx context.Context, id string) error {
	err := s.db.Tx(ctx, func(tx *store.DB) error {
		cluster, err := tx.Cluster(ctx, id)
		if err != nil {
			return err
		}
		if cluster.Recipient == "" {
			return tidewaiter.Errorf(tidewaiter.Conflict, "the cluster has no key to change; its scan components make one when they connect next")
		}
		if err := tx.SetClusterKey(ctx, id, cluster.Recipient, ""); err != nil {
			return err
		}
		if _, _, err := tx.ClaimSetting(ctx, revokedSetting(cluster.Recipient), id); err != nil {
			return err
		}
		components, err := tx.Components(ctx, id)
		if err != nil {
			return err
		}
		now := s.o.Now()
		for _, c := range components {
			if err := tx.StopWork(ctx, c.ID, now); err != nil {
				return err
			}
			c.SealedClusterKey = nil
			if err := tx.UpdateComponent(ctx, c); err != nil {
				return fmt.Errorf("forget the sealed key of component %q: %w", c.ID, err)
			}
		}
		return s.failRegistries(ctx, tx, cluster)
	})
	if err != nil {
		return err
	}
	s.o.Logger.InfoContext(ctx, "cluster key forgotten", "cluster", id)
	s.Wake(id)
	return nil
}

// failRegistries sets the status of the registries whose secrets were sealed to
// a key that the cluster does not have any more.
func (s *Service) failRegistries(ctx context.Context, tx *store.DB, cluster tidewaiter.Cluster) error {
	registries, err := tx.RegistriesOfCluster(ctx, cluster.ID)
	if err != nil {
		return err
	}
	slices.SortFunc(registries, func(a, b tidewaiter.Registry) int { return strings.Compare(a.ID, b.ID) })
	now := s.o.Now()
	detail := fmt.Sprintf("the key of cluster %s was changed; give the password again (UpdateRegistry)", cluster.Name)
	for _, r := range registries {
		// As everywhere, the registry is locked before its work.
		r, err := tx.LockRegistry(ctx, r.ID)
		if tidewaiter.KindOf(err) == tidewaiter.NotFound {
			continue
		}
		if err != nil {
			return err
		}
		secrets, err := tx.Secrets(ctx, r.ID)
		if err != nil {
			return err
		}
		if len(secrets) == 0 || r.ClusterID != cluster.ID {
			continue
		}
		if err := failRegistry(ctx, tx, r, detail, now); err != nil {
			return fmt.Errorf("set the status of registry %q: %w", r.ID, err)
		}
	}
	return nil
}

func failRegistry(ctx context.Context, tx *store.DB, r tidewaiter.Registry, detail string, now time.Time) error {
	w, err := tx.OpenWork(ctx, r.ID, tidewaiter.SyncWork)
	switch {
	case err == nil:
		if err := tx.EndSyncOf(ctx, w.ID, tidewaiter.SyncFailed, detail, now); err != nil {
			return err
		}
	case tidewaiter.KindOf(err) != tidewaiter.NotFound:
		return err
	}
	if err := tx.StopWork(ctx, r.ID, now); err != nil {
		return err
	}
	return tx.SetRegistryStatus(ctx, r.ID, r.Revision, tidewaiter.RegistryFail, tidewaiter.FailRequestAPI, detail, now)
}

// ShareKey returns what a component needs to know for a piece of work of the
// kind share_key. The error is NotFound if the newcomer is gone.
func (s *Service) ShareKey(ctx context.Context, w tidewaiter.Work) (protocol.ShareKey, error) {
	c, err := s.db.Component(ctx, w.Subject)
	return protocol.ShareKey{ComponentID: c.ID, Recipient: c.Recipient}, err
}

// FinishShareKey takes the result of the work of sealing the cluster's key for
// another component, which hears it with its next hello. Errors: Invalid;
// Conflict with the code protocol.ErrLeaseLost, also if the key has been
// changed since.
func (s *Service) FinishShareKey(ctx context.Context, l tidewaiter.Lease, req protocol.FinishRequest) error {
	done := req.Outcome == protocol.OutcomeDone
	if done && (len(req.SealedClusterKey) == 0 || len(req.SealedClusterKey) > maxSealedKey) {
		return tidewaiter.InvalidField("sealed_cluster_key", "has %d bytes; give an age file of at most %d", len(req.SealedClusterKey), maxSealedKey)
	}
	return lost(s.db.Tx(ctx, func(tx *store.DB) error {
		w, err := tx.Holds(ctx, l)
		if err != nil {
			return err
		}
		now := s.o.Now()
		if !done {
			failure := "the component that has the cluster's key could not seal it"
			return tx.EndWork(ctx, l, tidewaiter.WorkFailed, failure, tidewaiter.WorkProgress{}, now)
		}
		sharer, err := tx.Component(ctx, l.Owner)
		if err != nil {
			return err
		}
		cluster, err := tx.Cluster(ctx, sharer.ClusterID)
		if err != nil {
			return err
		}
		newcomer, err := tx.Component(ctx, w.Subject)
		if gone := tidewaiter.KindOf(err) == tidewaiter.NotFound; gone || w.Stop || !sharer.HasKey(cluster) || newcomer.ClusterID != cluster.ID {
			return tx.EndWork(ctx, l, tidewaiter.WorkStopped, "", tidewaiter.WorkProgress{}, now)
		}
		if err != nil {
			return err
		}
		newcomer.SealedClusterKey = req.SealedClusterKey
		if err := tx.UpdateComponent(ctx, newcomer); err != nil {
			return err
		}
		return tx.EndWork(ctx, l, tidewaiter.WorkDone, "", tidewaiter.WorkProgress{}, now)
	}))
}
