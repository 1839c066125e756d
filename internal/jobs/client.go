package jobs

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tidewaiter/tidewaiter/internal/store"
)

// timing is what tests do not wait for.
type timing struct {
	// grace is how long a function may take to return once its context has
	// ended. A job that was begun longer ago than its time and this is taken for
	// one whose server is dead.
	grace time.Duration
	// poll is how often SQLite is asked for jobs. PostgreSQL says when there are
	// some, and is asked as often in case that was not heard.
	poll time.Duration
	// firstRetry and lastRetry are the pauses after one failure and after many.
	firstRetry, lastRetry time.Duration
	// stop is how long jobs may go on when the server stops, before their
	// contexts end.
	stop time.Duration
	// attempts is how often a job is tried before it is given up.
	attempts int
	// unknown is how long a job waits that this server does not know, for one that
	// does.
	unknown time.Duration
	// stagger spreads what a new leader does over its first second.
	stagger bool
}

func usual() timing {
	return timing{
		grace: 15 * time.Second, poll: time.Second,
		firstRetry: time.Second, lastRetry: time.Hour,
		attempts: 100, // four days: 12 within the first hour, then one each
		unknown:  30 * time.Second, stop: 2 * time.Second, stagger: true,
	}
}

const (
	// keep is how long jobs stay in the database that are done or given up, for
	// people who want to know what happened.
	keepDone, keepGivenUp = 24 * time.Hour, 30 * 24 * time.Hour
)

func (r *Runner) newClient(workers int) (*river.Client[*sql.Tx], error) {
	w := river.NewWorkers()
	if err := river.AddWorkerSafely(w, &worker{Runner: r}); err != nil {
		return nil, err
	}
	c := &river.Config{
		ID:                          store.NewID(), // and not the host's name, which is River's way
		Queues:                      map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}},
		Workers:                     w,
		Logger:                      slog.New(quieter{r.log.Handler()}),
		JobTimeout:                  r.timing.grace, // each job says what its own is
		RescueStuckJobsAfter:        r.timing.grace,
		MaxAttempts:                 r.timing.attempts,
		FetchPollInterval:           r.timing.poll,
		FetchCooldown:               min(r.timing.poll, river.FetchCooldownDefault),
		RetryPolicy:                 r.timing,
		SoftStopTimeout:             r.timing.stop,
		CompletedJobRetentionPeriod: keepDone,
		DiscardedJobRetentionPeriod: keepGivenUp,
		TestOnly:                    !r.timing.stagger,
	}
	if r.pools.listen == nil {
		c.PollOnly = true // River would listen to SQLite by asking it 20 times a second
	}
	return river.NewClient(r.pools.driver, c)
}

// NextRetry implements [river.ClientRetryPolicy]: pauses double, up to a limit.
func (t timing) NextRetry(j *rivertype.JobRow) time.Time {
	pause := t.lastRetry
	if n := max(j.Attempt-1, 0); n < 30 {
		pause = min(t.firstRetry<<n, t.lastRetry)
	}
	return time.Now().Add(pause)
}

// quieter is a handler of logs for River: what it tells of its daily life is for
// debugging here.
type quieter struct{ slog.Handler }

func (q quieter) level(l slog.Level) slog.Level {
	if l == slog.LevelInfo {
		return slog.LevelDebug
	}
	return l
}

func (q quieter) Enabled(ctx context.Context, l slog.Level) bool {
	return q.Handler.Enabled(ctx, q.level(l))
}

func (q quieter) Handle(ctx context.Context, r slog.Record) error {
	r.Level = q.level(r.Level)
	return q.Handler.Handle(ctx, r)
}

func (q quieter) WithAttrs(a []slog.Attr) slog.Handler { return quieter{q.Handler.WithAttrs(a)} }
func (q quieter) WithGroup(name string) slog.Handler   { return quieter{q.Handler.WithGroup(name)} }
