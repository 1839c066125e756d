package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// RegistryDetails is all that is known about a connection. It holds no secret.
type RegistryDetails struct {
	Registry tidewaiter.Registry
	Cluster  tidewaiter.Cluster
	Secrets  []SecretState
	Warnings []string             // what works and should not stay so, in words
	Check    *Check               // the last access check, nil if there was none yet
	Sync     *tidewaiter.Work     // the synchronisation that waits or is under way, or nil
	Skipped  []tidewaiter.Skipped // tags that are no images, by kind and reason
}

// SecretState says that a secret is there.
type SecretState struct {
	Name    string // tidewaiter.SecretPassword, …
	Current bool   // sealed to the key of the cluster that is in force; else it has to be given again
}

// Check is what an access check found out.
type Check struct {
	Report protocol.AccessReport
	Ended  time.Time
}

// Details returns all that is known about a registry, or NotFound.
func (s *Service) Details(ctx context.Context, e tidewaiter.Extent, id string) (RegistryDetails, error) {
	r, err := s.Registry(ctx, e, id)
	if err != nil {
		return RegistryDetails{}, err
	}
	d := RegistryDetails{Registry: r}
	if d.Cluster, err = s.store.Cluster(ctx, r.ClusterID); err != nil {
		return RegistryDetails{}, err
	}
	secrets, err := s.store.Secrets(ctx, id)
	if err != nil {
		return RegistryDetails{}, err
	}
	for _, k := range secrets {
		d.Secrets = append(d.Secrets, SecretState{Name: k.Name, Current: d.Cluster.Recipient != "" && k.Recipient == d.Cluster.Recipient})
	}
	if d.Check, err = s.lastCheck(ctx, id); err != nil {
		return RegistryDetails{}, err
	}
	work, err := s.store.OpenWork(ctx, id, tidewaiter.SyncWork)
	if err == nil {
		d.Sync = &work
	} else if tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return RegistryDetails{}, err
	}
	if d.Skipped, err = s.store.SkippedOf(ctx, id); err != nil {
		return RegistryDetails{}, err
	}
	d.Warnings = Warnings(d.Registry)
	for _, k := range d.Secrets {
		if !k.Current {
			d.Warnings = append(d.Warnings, "the key of the cluster was changed since "+secretField(k.Name)+" was given; give it again")
		}
	}
	return d, nil
}

func (s *Service) lastCheck(ctx context.Context, id string) (*Check, error) {
	row, err := s.store.RegistryCheck(ctx, id)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	c := Check{Ended: row.Ended}
	if err := json.Unmarshal(row.Report, &c.Report); err != nil {
		return nil, fmt.Errorf("read access report of registry %s: %w", id, err)
	}
	return &c, nil
}

// Warnings returns what works in a connection and should not stay so, in words.
func Warnings(r tidewaiter.Registry) []string {
	var list []string
	if r.Protocol == "http" {
		list = append(list, "the connection to the registry is plain http: anyone between the scan component and the registry can read the password and change images; use https")
	} else if r.Settings.SkipTLSVerify {
		list = append(list, "the registry's certificate is not verified: anyone between the scan component and the registry can read the password and change images; give the CA's certificate (ca) instead")
	}
	if len(r.Settings.TokenHosts) > 0 {
		list = append(list, "the password is also given to the hosts in token_hosts; keep only those that you trust as much as the registry")
	}
	return list
}

// Test finds out whether a registry can be used: it queues an access check, or
// joins one that waits or is under way, and waits for its report, which also
// sets the status of the registry. Errors: NotFound; Conflict (the password has
// to be given again, or the registry was changed meanwhile); Unavailable (no
// component took the check within 30 s, it could not be done, or it is still
// under way after 90 s).
func (s *Service) Test(ctx context.Context, e tidewaiter.Extent, id string) (protocol.AccessReport, error) {
	begun := s.clock()
	var work tidewaiter.Work
	err := s.store.Tx(ctx, func(tx *store.DB) error {
		r, err := lockRegistry(ctx, tx, e, id)
		if err != nil {
			return err
		}
		if work, err = tx.OpenWork(ctx, id, tidewaiter.AccessCheckWork); err == nil || tidewaiter.KindOf(err) != tidewaiter.NotFound {
			return err
		}
		work = newWork(r, tidewaiter.AccessCheckWork, s.now())
		return tx.CreateWork(ctx, work)
	})
	if err != nil {
		return protocol.AccessReport{}, err
	}
	s.wake(work.ClusterID)
	return s.await(ctx, work, begun)
}

// await looks at the work until it has ended: the report may come to another
// server than this one.
func (s *Service) await(ctx context.Context, work tidewaiter.Work, begun time.Time) (protocol.AccessReport, error) {
	tick := time.NewTicker(s.poll)
	defer tick.Stop()
	for {
		w, err := s.store.Work(ctx, work.ID)
		if err != nil {
			if tidewaiter.KindOf(err) == tidewaiter.NotFound {
				err = errNoRegistry()
			}
			return protocol.AccessReport{}, err
		}
		waited := s.clock().Sub(begun)
		switch {
		case w.State.Ended(), w.Stop:
			return s.outcome(ctx, w)
		case w.State == tidewaiter.WorkQueued && waited >= leasePatience && !w.NotBefore.After(s.clock()):
			return protocol.AccessReport{}, tidewaiter.Errorf(tidewaiter.Unavailable, "%s", s.nobody(ctx, w.ClusterID))
		case waited >= testPatience:
			return protocol.AccessReport{}, tidewaiter.Errorf(tidewaiter.Unavailable, "the check is still under way after %d seconds; its result will show in the status of the registry", int(testPatience.Seconds()))
		}
		select {
		case <-ctx.Done():
			return protocol.AccessReport{}, ctx.Err()
		case <-tick.C:
		}
	}
}

// outcome returns the report of a check that has ended.
func (s *Service) outcome(ctx context.Context, w tidewaiter.Work) (protocol.AccessReport, error) {
	switch w.State {
	case tidewaiter.WorkDone:
		row, err := s.store.RegistryCheck(ctx, w.Subject)
		var report protocol.AccessReport
		if err == nil {
			// Of this check, or of one that ended later: then even better.
			err = json.Unmarshal(row.Report, &report)
		}
		return report, err
	case tidewaiter.WorkFailed:
		kind := tidewaiter.Unavailable
		if r, err := s.store.Registry(ctx, w.Subject); err == nil && r.FailReason == tidewaiter.FailRequestAPI {
			kind = tidewaiter.Conflict // another attempt mends nothing
		}
		return protocol.AccessReport{}, tidewaiter.Errorf(kind, "the check could not be done: %s", w.Failure)
	}
	return protocol.AccessReport{}, tidewaiter.Errorf(tidewaiter.Conflict, "the registry was changed while it was checked; see its status, or test it again")
}

// nobody says that no component takes work, and what to do.
func (s *Service) nobody(ctx context.Context, clusterID string) string {
	c, err := s.store.Cluster(ctx, clusterID)
	switch {
	case err != nil:
		return "no scan component of the registry's cluster takes the work; start one"
	case c.Kind == tidewaiter.LocalCluster:
		return "the scan component inside the server does not take the work; look at the server's log, and restart the server"
	}
	return "no scan component of cluster " + c.Name + " takes the work; see that one runs there and reaches this server, or start one with the command that `tidewaiter cluster token " + c.Name + "` prints"
}

// position counts as people do.
func position(i int) string { return fmt.Sprintf("position %d", i+1) }
