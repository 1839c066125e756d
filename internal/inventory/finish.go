package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// The bounds of what a component may ask for when work is to be tried again.
const (
	minRetry = time.Second
	maxRetry = 6 * time.Hour
)

// Finish ends a lease: the work is done, failed, to be tried again, or given
// back; and what follows from that happens in the same transaction. A result
// that comes after the registry was changed is put aside: the change has
// queued other work. Errors: Conflict (the lease is lost), Invalid.
func (s *Service) Finish(ctx context.Context, w tidewaiter.Work, l tidewaiter.Lease, f protocol.FinishRequest) error {
	if err := checkFinish(w, l, f); err != nil {
		return err
	}
	var wake string
	err := s.store.Tx(ctx, func(tx *store.DB) error {
		wake = ""
		r, err := tx.LockRegistry(ctx, w.Subject)
		gone := lostRace(err)
		if err != nil && !gone {
			return err
		}
		w, err := tx.Holds(ctx, l)
		switch {
		case lostRace(err):
			return errLost()
		case err != nil:
			return err
		}
		e := ending{Service: s, tx: tx, registry: r, work: w, lease: l, progress: checkProgress(f.Progress), now: s.now()}
		switch {
		case gone || w.Stop:
			return e.end(ctx, tidewaiter.WorkStopped, "")
		case f.Outcome == protocol.OutcomeReleased:
			return tx.ReleaseWork(ctx, l, e.now, false)
		case f.Outcome == protocol.OutcomeFailed:
			return e.failed(ctx, *f.Failure)
		case w.Kind == tidewaiter.AccessCheckWork:
			var queued bool
			if queued, err = e.checked(ctx, checkAccess(*f.AccessCheck)); queued {
				wake = r.ClusterID
			}
			return err
		}
		return e.synced(ctx)
	})
	if err == nil && wake != "" {
		s.wake(wake)
	}
	return err
}

func checkFinish(w tidewaiter.Work, l tidewaiter.Lease, f protocol.FinishRequest) error {
	if w.ID != l.WorkID {
		return tidewaiter.Errorf(tidewaiter.Invalid, "the lease is for other work")
	}
	if w.Kind != tidewaiter.AccessCheckWork && w.Kind != tidewaiter.SyncWork {
		return tidewaiter.Errorf(tidewaiter.Invalid, "the work is about no registry")
	}
	switch f.Outcome {
	case protocol.OutcomeReleased:
	case protocol.OutcomeFailed:
		if f.Failure == nil {
			return tidewaiter.InvalidField("failure", "is missing; say why the work failed")
		}
	case protocol.OutcomeDone:
		if w.Kind == tidewaiter.AccessCheckWork && f.AccessCheck == nil {
			return tidewaiter.InvalidField("access_check", "is missing; send the report with the outcome")
		}
	default:
		return tidewaiter.InvalidField("outcome", "is unknown; it is done, failed or released")
	}
	return nil
}

// An ending is the end of a lease under way, in its transaction.
type ending struct {
	*Service
	tx       *store.DB
	registry tidewaiter.Registry
	work     tidewaiter.Work
	lease    tidewaiter.Lease
	progress tidewaiter.WorkProgress
	now      time.Time
}

func (e ending) end(ctx context.Context, state tidewaiter.WorkState, failure string) error {
	return e.tx.EndWork(ctx, e.lease, state, failure, e.progress, e.now)
}

func (e ending) status(ctx context.Context, status tidewaiter.RegistryStatus, reason, detail string) error {
	return e.tx.SetRegistryStatus(ctx, e.registry.ID, e.registry.Revision, status, reason, detail, e.now)
}

// checked takes in the report of an access check. After the first that went
// well the images are listed; queued tells that this is now work.
func (e ending) checked(ctx context.Context, report protocol.AccessReport) (queued bool, err error) {
	if err := e.keepReport(ctx, report); err != nil {
		return false, err
	}
	if err := e.end(ctx, tidewaiter.WorkDone, ""); err != nil {
		return false, err
	}
	if report.FailReason != "" {
		return false, e.status(ctx, tidewaiter.RegistryFail, report.FailReason, detailOf(report))
	}
	if err := e.status(ctx, tidewaiter.RegistrySuccess, "", ""); err != nil {
		return false, err
	}
	if !e.registry.Synced.IsZero() || e.nextSync(e.registry.Settings, e.now).IsZero() {
		return false, nil
	}
	work, joined, err := joinSync(ctx, e.tx, e.registry, e.now)
	if err != nil || joined {
		return false, err
	}
	task := newTask(e.registry.ProjectID, e.registry.EnterpriseProjectID, tidewaiter.AutoSync, e.now)
	return true, e.tx.CreateSyncTask(ctx, task, []tidewaiter.SyncTaskRegistry{taskRow(task, e.registry, work)})
}

func (e ending) keepReport(ctx context.Context, report protocol.AccessReport) error {
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("write access report: %w", err)
	}
	return e.tx.PutRegistryCheck(ctx, store.RegistryCheck{RegistryID: e.registry.ID, WorkID: e.work.ID, Report: text, Ended: e.now})
}

// detailOf returns what to mend, from the first step that failed.
func detailOf(report protocol.AccessReport) string {
	for _, step := range report.Steps {
		if step.Status == "failed" && step.Message != "" {
			return strings.ToUpper(step.Name) + ": " + step.Message
		}
	}
	return "the scan component says that the registry cannot be used, but not why; look at its log"
}

// synced takes in a synchronisation that listed everything.
func (e ending) synced(ctx context.Context) error {
	images, err := e.tx.FinishSync(ctx, e.registry.ID, e.work.ID, e.now)
	if err != nil {
		return err
	}
	if err := e.tx.SetRegistrySynced(ctx, e.registry.ID, images, e.now); err != nil {
		return err
	}
	if err := e.end(ctx, tidewaiter.WorkDone, ""); err != nil {
		return err
	}
	if err := e.tx.EndSyncOf(ctx, e.work.ID, tidewaiter.SyncFinished, "", e.now); err != nil {
		return err
	}
	return e.status(ctx, tidewaiter.RegistrySuccess, "", "")
}

// failed takes in a failure: to be tried again while attempts are left, else
// for good.
func (e ending) failed(ctx context.Context, f protocol.Failure) error {
	message := clean(f.Message, protocol.MaxMessage)
	if message == "" {
		message = "the scan component does not say why; look at its log"
	}
	if f.RetrySeconds > 0 && !f.Credential && !lastAttempt(e.work) {
		wait := min(max(time.Duration(min(f.RetrySeconds, int(maxRetry/time.Second)))*time.Second, minRetry), maxRetry)
		return e.tx.ReleaseWork(ctx, e.lease, e.now.Add(wait), true)
	}
	reason := failCode(f.Code)
	if reason == "" {
		reason = tidewaiter.FailServer
	}
	if f.Credential {
		reason = tidewaiter.FailRequestAPI
		message = "the password cannot be opened by the components of the registry's cluster, or was given for another address or user; give it again (UpdateRegistry with registry_password): " + message
	}
	if err := e.end(ctx, tidewaiter.WorkFailed, message); err != nil {
		return err
	}
	if e.work.Kind == tidewaiter.AccessCheckWork {
		return e.status(ctx, tidewaiter.RegistryFail, reason, message)
	}
	if err := e.tx.EndSyncOf(ctx, e.work.ID, tidewaiter.SyncFailed, message, e.now); err != nil {
		return err
	}
	if reason == tidewaiter.FailRequestAPI {
		return e.status(ctx, tidewaiter.RegistryFail, reason, message)
	}
	return nil // a registry that fails now may not do so at the next check
}
