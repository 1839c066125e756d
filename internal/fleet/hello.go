package fleet

import (
	"context"
	"errors"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Hello takes what a component says of itself and tells it how things stand:
// which key is in force, and that key itself if another component has sealed it
// for this one. Errors: Invalid for malformed fields, and with the code
// protocol.ErrVersion.
func (s *Service) Hello(ctx context.Context, of tidewaiter.Component, req protocol.HelloRequest) (protocol.HelloResponse, error) {
	if err := checkDescription(req.Description); err != nil {
		return protocol.HelloResponse{}, err
	}
	if err := seal.CheckRecipient("cluster_recipient", req.ClusterRecipient); err != nil {
		return protocol.HelloResponse{}, err
	}
	version, versionErr := protocol.Negotiate(req.Versions)
	var before, cluster tidewaiter.Cluster
	var c tidewaiter.Component
	err := s.db.Tx(ctx, func(tx *store.DB) (err error) {
		if c, err = tx.Component(ctx, of.ID); err != nil {
			return unknown(err)
		}
		c.Name, c.Version, c.Platform, c.Protocol, c.Seen = req.Name, req.Version, req.Platform, version, s.o.Now()
		if versionErr != nil {
			return tx.UpdateComponent(ctx, c) // so that people see what is wrong with it
		}
		if req.Started {
			if _, err := tx.ReleaseWorkOf(ctx, c.ID, s.o.Now()); err != nil {
				return err
			}
		}
		if req.KeyRefused {
			c.SealedClusterKey = nil
		}
		if before, err = tx.Cluster(ctx, c.ClusterID); err != nil {
			return err
		}
		cluster, err = s.agree(ctx, tx, before, &c, req.ClusterRecipient)
		if err != nil {
			return err
		}
		return tx.UpdateComponent(ctx, c)
	})
	if err := errors.Join(versionErr, err); err != nil {
		return protocol.HelloResponse{}, err
	}
	if cluster.Recipient != before.Recipient {
		s.o.Logger.InfoContext(ctx, "cluster key in force", "cluster", cluster.ID, "recipient", cluster.Recipient, "component", c.ID)
	}
	s.Wake(c.ClusterID)
	return protocol.HelloResponse{
		Protocol: version, ClusterID: cluster.ID, ClusterName: cluster.Name,
		ClusterRecipient: cluster.Recipient, SealedClusterKey: c.SealedClusterKey,
		HeartbeatSeconds: seconds(s.o.Heartbeat), LeaseSeconds: seconds(s.o.Lease), ServerVersion: tidewaiter.Version,
	}, nil
}

// agree settles which key is in force, given the one that a component holds or
// offers, and sees to it that the component gets it. It returns the cluster as
// it then is.
func (s *Service) agree(ctx context.Context, tx *store.DB, cluster tidewaiter.Cluster, c *tidewaiter.Component, offer string) (tidewaiter.Cluster, error) {
	c.ClusterRecipient = offer
	if offer != cluster.Recipient {
		free, err := s.mayTakeOver(ctx, tx, cluster, *c)
		if err != nil {
			return cluster, err
		}
		if free {
			err := tx.SetClusterKey(ctx, cluster.ID, cluster.Recipient, offer)
			if err != nil && tidewaiter.KindOf(err) != tidewaiter.Conflict {
				return cluster, err
			}
			// On a conflict another component was first, and its key is in force.
			if cluster, err = tx.Cluster(ctx, cluster.ID); err != nil {
				return cluster, err
			}
		}
	}
	switch {
	case c.HasKey(cluster):
		c.SealedClusterKey = nil // it is of no use any more
		return cluster, tx.StopWork(ctx, c.ID, s.o.Now())
	case cluster.Recipient != "" && c.SealedClusterKey == nil:
		return cluster, s.askForKey(ctx, tx, cluster.ID, c.ID)
	}
	return cluster, nil
}

// mayTakeOver tells whether the key that a component offers may become the one
// in force: there is none, or nothing is sealed to it and nobody who has it is
// there. A key that was in force until it was changed never comes back.
func (s *Service) mayTakeOver(ctx context.Context, tx *store.DB, cluster tidewaiter.Cluster, c tidewaiter.Component) (bool, error) {
	_, err := tx.Setting(ctx, revokedSetting(c.ClusterRecipient))
	if err == nil {
		return false, nil
	}
	if tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return false, err
	}
	if cluster.Recipient == "" {
		return true, nil
	}
	if n, err := tx.CountSealedTo(ctx, cluster.Recipient); err != nil || n > 0 {
		return false, err
	}
	others, err := tx.Components(ctx, cluster.ID)
	if err != nil {
		return false, err
	}
	for _, other := range others {
		if other.ID != c.ID && other.HasKey(cluster) && s.online(other) {
			return false, nil
		}
	}
	return true, nil
}

// revokedSetting is the name of the setting that says that a key was changed.
func revokedSetting(recipient string) string { return "cluster-key-changed/" + recipient }

// askForKey queues the work of sealing the cluster's key for a component,
// unless it is queued or under way.
func (s *Service) askForKey(ctx context.Context, tx *store.DB, clusterID, componentID string) error {
	now := s.o.Now()
	w, err := tx.OpenWork(ctx, componentID, tidewaiter.ShareKeyWork)
	switch {
	case tidewaiter.KindOf(err) == tidewaiter.NotFound:
	case err != nil:
		return err
	case w.State == tidewaiter.WorkLeased && !w.Deadline.Before(now), failures(w) < s.o.MaxAttempts:
		return nil
	default:
		// It is not given out any more. The component still waits, so that giving
		// up is not the answer.
		err := tx.FailWork(ctx, w.ID, w.Attempt, "no component that has the cluster's key finished sealing it", now)
		if err != nil {
			return err
		}
	}
	return tx.CreateWork(ctx, tidewaiter.Work{
		ID: store.NewID(), ClusterID: clusterID, Kind: tidewaiter.ShareKeyWork, Subject: componentID,
		State: tidewaiter.WorkQueued, NotBefore: now, Created: now,
	})
}

// failures counts those of work that nobody holds.
func failures(w tidewaiter.Work) int {
	if w.State == tidewaiter.WorkLeased {
		return w.Failures + 1 // its lease has run out
	}
	return w.Failures
}
