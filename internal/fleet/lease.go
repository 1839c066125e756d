package fleet

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// Lease returns the next piece of work for a component, or nil if none turns up
// in time, the context ends, or the service closes. Errors: Invalid if the
// component names no kind that there is; Conflict with the code
// protocol.ErrHelloRequired if it does not have the cluster's key.
func (s *Service) Lease(ctx context.Context, c tidewaiter.Component, req protocol.LeaseRequest) (*tidewaiter.Work, error) {
	kinds := knownKinds(req.Kinds)
	if len(kinds) == 0 {
		return nil, tidewaiter.InvalidField("kinds", "names no kind of work that this server has")
	}
	wait := min(max(req.WaitSeconds, 0), int(protocol.MaxWait/time.Second))
	end := time.NewTimer(time.Duration(wait) * time.Second)
	defer end.Stop()
	poll := time.NewTicker(s.o.Poll)
	defer poll.Stop()
	for {
		woken := s.woken(c.ClusterID)
		w, err := s.next(ctx, c, kinds, req.ClusterRecipient)
		if w != nil || err != nil {
			return w, err
		}
		select {
		case <-woken:
		case <-poll.C:
		case <-end.C:
			return nil, nil
		case <-s.closed:
			return nil, nil
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// knownKinds returns those of kinds that there are, in the order in which work
// is given out.
func knownKinds(kinds []tidewaiter.WorkKind) []tidewaiter.WorkKind {
	var known []tidewaiter.WorkKind
	for _, k := range []tidewaiter.WorkKind{tidewaiter.ShareKeyWork, tidewaiter.AccessCheckWork, tidewaiter.SyncWork, tidewaiter.ScanWork} {
		if slices.Contains(kinds, k) {
			known = append(known, k)
		}
	}
	return known
}

// next leases a piece of work if there is one.
func (s *Service) next(ctx context.Context, c tidewaiter.Component, kinds []tidewaiter.WorkKind, recipient string) (*tidewaiter.Work, error) {
	// Both are read each time: while the component waits, the key may be changed
	// and the component be removed.
	c, err := s.Component(ctx, c.ID)
	if err != nil {
		return nil, ended(ctx, err)
	}
	cluster, err := s.db.Cluster(ctx, c.ClusterID)
	if err != nil {
		return nil, ended(ctx, err)
	}
	if !c.HasKey(cluster) || recipient != cluster.Recipient || c.Protocol == 0 {
		return nil, protocol.Errorf(protocol.ErrHelloRequired, tidewaiter.Conflict,
			"the scan component does not have the key of its cluster; it has to say hello, and gets work once it has the key")
	}
	// One that is given back makes room for the next.
	for range maxGivenBack {
		now := s.o.Now()
		w, err := s.db.LeaseWork(ctx, cluster.ID, kinds, c.ID, now, now.Add(s.o.Lease), s.o.MaxAttempts)
		if tidewaiter.KindOf(err) == tidewaiter.NotFound {
			return nil, nil
		}
		if err != nil {
			return nil, ended(ctx, err)
		}
		lease := tidewaiter.Lease{WorkID: w.ID, Owner: c.ID, Attempt: w.Attempt}
		if ctx.Err() != nil {
			// The component has gone while the lease was written: nobody would know.
			return nil, s.Release(context.WithoutCancel(ctx), lease)
		}
		back, err := s.giveBack(ctx, w, lease, now)
		if err != nil {
			return nil, ended(ctx, err)
		}
		if !back {
			return &w, nil
		}
	}
	return nil, nil
}

// maxGivenBack is how many scans are given back in a row before the component
// is left waiting.
const maxGivenBack = 8

// giveBack gives a scan back that a component may have died of, if this one is
// at such a scan already. Else what dies of one image takes the same others with
// it each time, until they have failed as well.
func (s *Service) giveBack(ctx context.Context, w tidewaiter.Work, l tidewaiter.Lease, now time.Time) (bool, error) {
	if w.Kind != tidewaiter.ScanWork || w.Lost == 0 {
		return false, nil
	}
	crowded, err := s.db.HoldsSuspect(ctx, l, now)
	if err != nil || !crowded {
		return false, err
	}
	later := now.Add(time.Second + rand.N(4*time.Second)) //nolint:gosec // chance, no secret
	return true, lost(s.db.ReleaseWork(ctx, l, later, false))
}

// ended returns nil for an error that comes from the end of the request.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Held returns the work of a lease. The error is Conflict with the code
// protocol.ErrLeaseLost if it does not hold any more.
func (s *Service) Held(ctx context.Context, l tidewaiter.Lease) (tidewaiter.Work, error) {
	w, err := s.db.Holds(ctx, l)
	return w, lost(err)
}

// Heartbeat makes a lease hold for another Options.Lease, and tells whether the
// component is to stop. Errors are those of [Service.Held].
func (s *Service) Heartbeat(ctx context.Context, l tidewaiter.Lease, p protocol.Progress) (stop bool, err error) {
	for _, n := range []*int{&p.Repositories, &p.RepositoriesDone, &p.Images, &p.Skipped, &p.Requests} {
		*n = max(*n, 0)
	}
	w, err := s.db.HeartbeatWork(ctx, l, s.o.Now().Add(s.o.Lease), tidewaiter.WorkProgress(p))
	return w.Stop, lost(err)
}

// Release gives work back that a component cannot go on with; that does not
// count as a failure. Work that is to be stopped has then ended. Errors are those of [Service.Held].
func (s *Service) Release(ctx context.Context, l tidewaiter.Lease) error {
	w, err := s.Held(ctx, l)
	if err != nil {
		return err
	}
	if err := s.db.ReleaseWork(ctx, l, s.o.Now(), false); err != nil {
		return lost(err)
	}
	s.Wake(w.ClusterID)
	return nil
}

// Drop ends work that nobody wants any more. Errors are those of
// [Service.Held].
func (s *Service) Drop(ctx context.Context, l tidewaiter.Lease) error {
	w, err := s.Held(ctx, l)
	if err != nil {
		return err
	}
	return lost(s.db.EndWork(ctx, l, tidewaiter.WorkStopped, "", w.Progress, s.o.Now()))
}

// lost gives a conflict about a lease its code.
func lost(err error) error {
	if k := tidewaiter.KindOf(err); err != nil && (k == tidewaiter.Conflict || k == tidewaiter.NotFound) {
		return protocol.Errorf(protocol.ErrLeaseLost, tidewaiter.Conflict,
			"the lease of the work is lost: it ran out, or nobody wants the work any more; drop it")
	}
	return err
}

// seconds rounds up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// LeaseSeconds is how long a lease holds without a heartbeat.
func (s *Service) LeaseSeconds() int { return seconds(s.o.Lease) }
