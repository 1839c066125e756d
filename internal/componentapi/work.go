package componentapi

import (
	"context"
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// enrol answers the one request without a signature.
func (a *api) enrol(w http.ResponseWriter, r *http.Request) {
	out, err := a.enrolment(w, r)
	if err != nil {
		fail(w, r, err)
		return
	}
	answer(w, out)
}

func (a *api) enrolment(w http.ResponseWriter, r *http.Request) (protocol.EnrolResponse, error) {
	now := a.Now()
	if a.enrols.blocked(r.RemoteAddr, now) {
		return protocol.EnrolResponse{}, tidewaiter.Errorf(tidewaiter.Throttled,
			"too many enrolments with wrong tokens came from this address; try again in a minute")
	}
	body, err := readBody(w, r, enrolBody)
	if err != nil {
		return protocol.EnrolResponse{}, err
	}
	var req protocol.EnrolRequest
	if err := decode(body, &req); err != nil {
		return protocol.EnrolResponse{}, err
	}
	out, err := a.Fleet.Enrol(r.Context(), req)
	if tidewaiter.KindOf(err) == tidewaiter.Unauthenticated {
		a.enrols.failed(r.RemoteAddr, now)
	}
	return out, err
}

func (a *api) hello(r request[protocol.HelloRequest]) (any, error) {
	return a.Fleet.Hello(r.context, r.component, r.body)
}

// lease waits for work and describes it as it is now. Work that is about
// something that is gone by now is dropped.
func (a *api) lease(r request[protocol.LeaseRequest]) (any, error) {
	r.body.WaitSeconds = min(max(r.body.WaitSeconds, 0), int(protocol.MaxWait/time.Second))
	end := a.Now().Add(time.Duration(r.body.WaitSeconds) * time.Second)
	for {
		w, err := a.Fleet.Lease(r.context, r.component, r.body)
		if w == nil || err != nil {
			return nil, err
		}
		r.workID = w.ID
		out, err := a.describe(r.context, *w)
		if err == nil {
			return out, nil
		}
		if k := tidewaiter.KindOf(err); k != tidewaiter.NotFound && k != tidewaiter.Conflict {
			// The lease runs out, and counts: what cannot be described must not go
			// round for ever.
			return nil, err
		}
		if err := a.Fleet.Drop(r.context, r.lease(w.Attempt)); err != nil && protocol.CodeOf(err) != protocol.ErrLeaseLost {
			return nil, err
		}
		r.body.WaitSeconds = max(0, int(end.Sub(a.Now())/time.Second))
	}
}

// describe puts together what a component has to know. Errors: NotFound or
// Conflict if what the work is about is gone.
func (a *api) describe(ctx context.Context, w tidewaiter.Work) (protocol.Work, error) {
	out := protocol.Work{ID: w.ID, Attempt: w.Attempt, Kind: w.Kind, LeaseSeconds: a.Fleet.LeaseSeconds()}
	if w.Kind == tidewaiter.ShareKeyWork {
		share, err := a.Fleet.ShareKey(ctx, w)
		out.ShareKey = &share
		return out, err
	}
	if w.Kind == tidewaiter.ScanWork {
		id, scan, err := a.Scans.Describe(ctx, w)
		if err != nil {
			return out, err
		}
		w.Subject = id
		scan.Registry, err = a.Inventory.Describe(ctx, w)
		out.Scan = &scan
		return out, err
	}
	registry, err := a.Inventory.Describe(ctx, w)
	if w.Kind == tidewaiter.AccessCheckWork {
		out.AccessCheck = &protocol.AccessCheck{Registry: registry}
	} else {
		out.Sync = &protocol.Sync{Registry: registry}
	}
	return out, err
}

func (a *api) heartbeat(r request[protocol.HeartbeatRequest]) (any, error) {
	stop, err := a.Fleet.Heartbeat(r.context, r.lease(r.body.Attempt), r.body.Progress)
	return protocol.HeartbeatResponse{Stop: stop}, err
}

func (a *api) pending(r request[protocol.PendingRequest]) (any, error) {
	if err := atMost("repositories", len(r.body.Repositories), protocol.MaxNames); err != nil {
		return nil, err
	}
	names, err := a.Inventory.Pending(r.context, r.lease(r.body.Attempt), r.body.Repositories)
	return protocol.PendingResponse{Repositories: orEmpty(names)}, lost(err)
}

func (a *api) unknown(r request[protocol.UnknownRequest]) (any, error) {
	if err := atMost("digests", len(r.body.Digests), protocol.MaxNames); err != nil {
		return nil, err
	}
	digests, err := a.Inventory.Unknown(r.context, r.lease(r.body.Attempt), r.body.Digests)
	return protocol.UnknownResponse{Digests: orEmpty(digests)}, lost(err)
}

func (a *api) repository(r request[protocol.RepositoryReport]) (any, error) {
	for _, f := range []struct {
		field string
		n     int
	}{{"manifests", len(r.body.Manifests)}, {"tags", len(r.body.Tags)}, {"skipped", len(r.body.Skipped)}} {
		if err := atMost(f.field, f.n, protocol.MaxReport); err != nil {
			return nil, err
		}
	}
	return nil, lost(a.Inventory.Report(r.context, r.lease(r.body.Attempt), r.body))
}

func (a *api) finish(r request[protocol.FinishRequest]) (any, error) {
	l := r.lease(r.body.Attempt)
	w, err := a.Fleet.Held(r.context, l)
	if err != nil {
		return nil, err
	}
	switch r.body.Outcome {
	case protocol.OutcomeReleased, protocol.OutcomeDone, protocol.OutcomeFailed:
	default:
		return nil, tidewaiter.InvalidField("outcome", "is none of done, failed and released")
	}
	if w.Kind == tidewaiter.ScanWork {
		return nil, lost(a.Scans.Finish(r.context, w, l, r.body))
	}
	if r.body.Outcome == protocol.OutcomeReleased {
		return nil, a.Fleet.Release(r.context, l)
	}
	if w.Kind == tidewaiter.ShareKeyWork {
		return nil, a.Fleet.FinishShareKey(r.context, l, r.body)
	}
	return nil, lost(a.Inventory.Finish(r.context, w, l, r.body))
}

// lost gives a conflict about a lease its code.
func lost(err error) error {
	if err != nil && tidewaiter.KindOf(err) == tidewaiter.Conflict && protocol.CodeOf(err) == "" {
		return &protocol.Error{Code: protocol.ErrLeaseLost, Err: err}
	}
	return err
}

func atMost(field string, n, limit int) error {
	if n > limit {
		return tidewaiter.InvalidField(field, "has more than %d entries; send several requests", limit)
	}
	return nil
}

// orEmpty makes an empty list [] in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
