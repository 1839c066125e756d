package jobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"
)

const (
	// stopPatience is how long jobs may take to return when the server stops and
	// their contexts have ended.
	stopPatience = 5 * time.Second
	// recordPatience is how long it may take to write down how a job went.
	recordPatience = 10 * time.Second
	// maxErrorText is how much of an error is kept with its job.
	maxErrorText = 1000
)

// Run runs jobs until the context ends. Those that run then may go on for two
// seconds, and are run anew by another server, or by this one when it is back,
// if they are not done by then.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	r.started = true
	var periodic []*river.PeriodicJob
	for _, k := range r.kinds {
		if k.Every > 0 {
			periodic = append(periodic, river.NewPeriodicJob(river.PeriodicInterval(k.Every),
				func() (river.JobArgs, *river.InsertOpts) {
					return envelope{Name: k.Name, Timeout: k.Timeout, Args: json.RawMessage("null")}, nil
				},
				&river.PeriodicJobOpts{RunOnStart: true}))
		}
	}
	r.mu.Unlock()
	if _, err := r.client.PeriodicJobs().AddManySafely(periodic); err != nil {
		return fmt.Errorf("start jobs: %w", err)
	}
	if err := r.client.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("start jobs: %w", err)
	}
	<-ctx.Done()
	select {
	case <-r.client.Stopped():
		return nil
	case <-time.After(r.timing.stop + stopPatience):
		return errors.New("some jobs did not return when their contexts had ended; they are run again when their time is over")
	}
}

// insert adds a job. If it is there and runs, it is marked to run again: what its
// run has read so far may be older than this transaction. While it is there, its
// row is locked, so that it neither begins nor ends before the transaction does.
func (r *Runner) insert(ctx context.Context, tx *sql.Tx, e envelope) error {
	result, err := r.client.InsertTx(ctx, tx, e, nil)
	if err != nil || !result.UniqueSkippedAsDuplicate || result.Job.State != rivertype.JobStateRunning {
		return err
	}
	return r.mark(ctx, tx, result.Job.ID, result.Job.Attempt)
}

// mark says in which attempt a job was enqueued anew while it ran, or 0. River
// keeps this as the job's output, which is one of the few things of a running job
// that it lets others change.
func (r *Runner) mark(ctx context.Context, tx *sql.Tx, id int64, attempt int) error {
	_, err := r.client.JobUpdateTx(ctx, tx, id, &river.JobUpdateParams{Output: attempt})
	return err
}

// worker is what River calls.
type worker struct {
	river.WorkerDefaults[envelope]
	*Runner
}

// Timeout is when River takes a job for dead. The function's own time ends before.
func (w *worker) Timeout(j *river.Job[envelope]) time.Duration {
	return j.Args.Timeout + w.timing.grace
}

// Work runs a job once.
func (w *worker) Work(ctx context.Context, j *river.Job[envelope]) error {
	k, ok := w.kind(j.Args.Name)
	if !ok {
		w.log.WarnContext(ctx, "a job waits for a server that knows its kind", "kind", j.Args.Name)
		return river.JobSnooze(w.timing.unknown)
	}
	if !w.begin(j.Args.id()) {
		// Its time is over, River has begun it anew, and the first run goes on.
		w.log.ErrorContext(ctx, "a job did not return when its context had ended", "kind", j.Args.Name, "key", j.Args.Key)
		return river.JobSnooze(w.timing.grace)
	}
	defer w.end(j.Args.id())

	err := w.call(ctx, k, j.Args)
	switch {
	case err == nil:
		return w.done(ctx, j)
	case errors.Is(err, ErrAgain):
		return river.JobSnooze(0)
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err() // the server stops: that is no failure
	}
	attrs := []any{slog.String("kind", k.Name), slog.String("key", j.Args.Key), slog.Int("attempt", j.Attempt), slog.Any("error", err)}
	if j.Attempt >= j.MaxAttempts {
		w.log.ErrorContext(ctx, "a job has failed too often and is given up", attrs...)
	} else {
		w.log.WarnContext(ctx, "a job has failed and will be tried again", attrs...)
	}
	if text := err.Error(); len(text) > maxErrorText {
		return errors.New(text[:maxErrorText]) // it is stored with the job, once for each attempt
	}
	return err
}

func (r *Runner) begin(k jobKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[k] {
		return false
	}
	r.running[k] = true
	return true
}

func (r *Runner) end(k jobKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, k)
}

// call runs the function of a kind, and makes an error of a panic.
func (w *worker) call(ctx context.Context, k Kind, e envelope) (err error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			w.log.ErrorContext(ctx, "a job has panicked", "kind", k.Name, "panic", v, "stack", string(debug.Stack()))
			err = errors.New("the job has panicked; the log has the stack")
		}
	}()
	return k.Run(ctx, e.Args)
}

// done writes down that a job has been done, unless it has been enqueued anew
// since it began.
func (w *worker) done(ctx context.Context, j *river.Job[envelope]) error {
	// The work is done: that a server stops is no reason to do it again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordPatience)
	defer cancel()
	again, err := w.record(ctx, j)
	if err != nil {
		w.log.WarnContext(ctx, "a job is done and runs again, as that could not be written down",
			"kind", j.Args.Name, "key", j.Args.Key, "error", err)
		return err
	}
	if again {
		return river.JobSnooze(0)
	}
	return nil
}

func (w *worker) record(ctx context.Context, j *river.Job[envelope]) (again bool, err error) {
	tx, err := w.pools.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback()                                  //nolint:errcheck // after Commit there is nothing to roll back
	row, err := w.client.JobUpdateTx(ctx, tx, j.ID, nil) // changes nothing, locks the row
	if err != nil {
		return false, err
	}
	attempt, err := marked(row)
	if err != nil {
		return false, err
	}
	again = attempt == j.Attempt
	if again {
		err = w.mark(ctx, tx, j.ID, 0)
	} else if row.State == rivertype.JobStateRunning {
		_, err = river.JobCompleteTx[riverdriver.Driver[*sql.Tx]](ctx, tx, j)
	}
	if err != nil {
		return false, err
	}
	return again, tx.Commit()
}

func marked(j *rivertype.JobRow) (attempt int, err error) {
	output := j.Output()
	if output == nil {
		return 0, nil
	}
	if err := json.Unmarshal(output, &attempt); err != nil {
		return 0, fmt.Errorf("read mark of job: %w", err)
	}
	return attempt, nil
}
