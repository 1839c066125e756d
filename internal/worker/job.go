package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/access"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/seal"
)

// Why a piece of work ends before it is done.
var (
	errStopped  = errors.New("nobody wants the work any more")
	errLost     = errors.New("the lease is lost")
	errNotHeard = errors.New("the server answers, and fails again and again to take what the component reports")
)

// patience is how long one and the same request about work is tried while the
// server takes heartbeats: without an end, work that the server fails at would
// hold its lease forever.
const patience = 10 * time.Minute

// goodbye is how long a worker that ends takes to give its work back.
const goodbye = 5 * time.Second

// job is a piece of work under way.
type job struct {
	worker *Worker
	work   protocol.Work
	key    *seal.Key
	log    *slog.Logger

	progress progress
}

// progress is how far a synchronisation has come.
type progress struct {
	repositories, repositoriesDone, images, skipped atomic.Int64
	client                                          atomic.Pointer[registry.Client]
}

func (p *progress) now() protocol.Progress {
	requests := 0
	if c := p.client.Load(); c != nil {
		requests = c.Requests()
	}
	return protocol.Progress{
		Repositories: int(p.repositories.Load()), RepositoriesDone: int(p.repositoriesDone.Load()),
		Images: int(p.images.Load()), Skipped: int(p.skipped.Load()), Requests: requests,
	}
}

// do does a piece of work that was just leased, and reports its outcome. The
// error is final; whatever else goes wrong is the work's own affair.
func (w *Worker) do(ctx context.Context, s *session, work protocol.Work) error {
	j := &job{worker: w, work: work, key: s.key, log: w.log.With("work", work.ID, "kind", work.Kind, "attempt", work.Attempt)}
	j.log.Info("work begins")
	started := w.options.Now()

	// The heartbeat ends the work; the end of the work ends the heartbeat.
	working, cancel := context.WithCancelCause(ctx)
	var heart sync.WaitGroup
	heart.Go(func() {
		lease := seconds(work.LeaseSeconds, s.lease)
		if err := j.beat(working, s.heartbeat, lease, started); err != nil {
			cancel(err)
		}
	})
	result := j.guarded(working)
	err := j.deliver(ctx, working, result)
	cancel(nil)
	heart.Wait()
	j.log.Info("work ends", "outcome", outcome(result, err), "seconds", int(w.options.Now().Sub(started).Seconds()))
	if isFinal(err) {
		return err
	}
	return nil
}

func outcome(result *protocol.FinishRequest, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case result == nil:
		return protocol.OutcomeReleased
	}
	return result.Outcome
}

// deliver reports the result; nil is work that was interrupted.
func (j *job) deliver(ctx, working context.Context, result *protocol.FinishRequest) error {
	cause := context.Cause(working)
	switch stopped := errors.Is(cause, errStopped); {
	case ctx.Err() != nil || stopped:
		// The worker ends, or nobody wants the work: it is given back. If the
		// worker ends and the work is done, that is reported all the same.
		if result == nil || stopped {
			result = &protocol.FinishRequest{Outcome: protocol.OutcomeReleased}
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		working = last
	case cause != nil:
		return cause
	}
	if result == nil {
		// The server took something for that of a lost lease. If nobody wants the work
		// any more it ends with this, and not when its lease runs out; if it is still
		// ours, that counts, so that it does not go round for ever.
		result = failed(tidewaiter.FailServer, "the server refused what the component reported, as if its lease were lost")
		result.Failure.RetrySeconds = int(retryUnavailable.Seconds())
	}
	result.Attempt, result.Progress = j.work.Attempt, j.progress.now()
	err := j.call(working, protocol.PathFinish, result, nil)
	if isRefusal(err) && result.Outcome == protocol.OutcomeDone {
		// Not to be given out again and again for a result that nobody takes.
		j.log.Error("the server refuses the result", "error", err)
		refused := failed(tidewaiter.FailServer, "the server refuses the result of the component: "+err.Error())
		refused.Attempt, refused.Progress = result.Attempt, result.Progress
		return j.call(working, protocol.PathFinish, refused, nil)
	}
	return err
}

// call posts about the work until the server answers or the context ends.
// Errors: errLost, errNotHeard, or those of client.persist.
func (j *job) call(ctx context.Context, path string, in, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errNotHeard)
	defer cancel()
	err := j.worker.client.persist(ctx, protocol.PathWork+url.PathEscape(j.work.ID)+path, in, out)
	if hasCode(err, protocol.ErrLeaseLost) {
		return errLost
	}
	return err
}

// beat sends heartbeats until the context ends. It returns why the work must
// end: the server said so, or was not heard of for as long as the lease holds.
func (j *job) beat(ctx context.Context, every, lease time.Duration, heard time.Time) error {
	w := j.worker
	wait := every
	for {
		left := lease - w.options.Now().Sub(heard)
		if left <= 0 {
			return errLost
		}
		if w.options.Sleep(ctx, min(wait, left)) != nil {
			return nil
		}
		var answer protocol.HeartbeatResponse
		sent := w.options.Now()
		short, cancel := context.WithTimeout(ctx, every)
		_, err := w.client.post(short, protocol.PathWork+url.PathEscape(j.work.ID)+protocol.PathHeartbeat,
			protocol.HeartbeatRequest{Attempt: j.work.Attempt, Progress: j.progress.now()}, &answer)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && answer.Stop:
			return errStopped
		case err == nil:
			heard, wait = sent, every
		case hasCode(err, protocol.ErrLeaseLost):
			return errLost
		case isFinal(err):
			return err
		default:
			wait = every / 3
		}
	}
}

// guarded does the work. It returns nil if the context ended first. What a
// registry makes us panic at is the end of its work, not of the component.
func (j *job) guarded(ctx context.Context) (result *protocol.FinishRequest) {
	defer func() {
		if p := recover(); p != nil {
			result = j.crashed(p)
		}
	}()
	result = j.perform(ctx)
	if ctx.Err() != nil && (result == nil || result.Outcome != protocol.OutcomeDone) {
		return nil // what failed has failed because of the end
	}
	return result
}

// crash is a panic of a goroutine that works for a job.
type crash struct {
	value any
	stack []byte
}

func (c *crash) Error() string { return fmt.Sprintf("panic: %v", c.value) }

// crashed logs a panic, and returns what the server is told of it.
func (j *job) crashed(p any) *protocol.FinishRequest {
	c, ok := p.(*crash)
	if !ok {
		c = &crash{p, debug.Stack()}
	}
	j.log.Error("the work made the component fail; please report this", "panic", fmt.Sprint(c.value), "stack", string(c.stack))
	return failed(tidewaiter.FailServer, "the scan component failed at this work; its log says how")
}

// catch calls f and turns a panic into an error.
func catch(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &crash{p, debug.Stack()}
		}
	}()
	return f()
}

// perform does the work of each kind.
func (j *job) perform(ctx context.Context) *protocol.FinishRequest {
	switch work := j.work; {
	case work.Kind == tidewaiter.AccessCheckWork && work.AccessCheck != nil:
		return j.checkAccess(ctx, work.AccessCheck.Registry)
	case work.Kind == tidewaiter.SyncWork && work.Sync != nil:
		return j.synchronise(ctx, work.Sync.Registry)
	case work.Kind == tidewaiter.ScanWork && work.Scan != nil:
		return j.scan(ctx, *work.Scan)
	case work.Kind == tidewaiter.ShareKeyWork && work.ShareKey != nil:
		return j.shareKey(*work.ShareKey)
	}
	return failed(tidewaiter.FailServer, "the scan component does not know this kind of work; use the component of the server's release")
}

// failed is the result of work that failed for good.
func failed(code, message string) *protocol.FinishRequest {
	return &protocol.FinishRequest{
		Outcome: protocol.OutcomeFailed,
		Failure: &protocol.Failure{Code: code, Message: short(message, protocol.MaxMessage)},
	}
}

// checkAccess finds out whether a registry can be used.
func (j *job) checkAccess(ctx context.Context, r protocol.Registry) *protocol.FinishRequest {
	config, failure := j.config(r)
	if failure != nil {
		return failure
	}
	report := access.Check(ctx, config, j.worker.options.Connect, j.worker.options.Registry)
	answer := &protocol.AccessReport{FailReason: string(report.FailReason)}
	for _, warning := range report.Warnings {
		answer.Warnings = append(answer.Warnings, short(warning, protocol.MaxMessage))
	}
	for _, step := range report.Steps {
		answer.Steps = append(answer.Steps, protocol.Step{
			Name: string(step.Name), Status: string(step.Status),
			Microseconds: step.Duration.Microseconds(), Message: short(step.Message, protocol.MaxMessage),
		})
	}
	if ctx.Err() != nil {
		return nil // the steps say that we broke off, not how the registry is
	}
	return &protocol.FinishRequest{Outcome: protocol.OutcomeDone, AccessCheck: answer}
}

// shareKey seals the cluster's key for another component. The log is where an
// operator can see with whom.
func (j *job) shareKey(to protocol.ShareKey) *protocol.FinishRequest {
	j.log.Warn("sharing the cluster's key with another component", "with", short(to.ComponentID, 64), "recipient", short(to.Recipient, 128))
	sealed, err := seal.SealKey(to.Recipient, j.key)
	if err != nil {
		return failed(tidewaiter.FailServer, "the cluster's key cannot be sealed for the new component: "+err.Error())
	}
	return &protocol.FinishRequest{Outcome: protocol.OutcomeDone, SealedClusterKey: sealed}
}
