// Package jobs runs the server's own background jobs: what takes longer than a
// request may, what is due again and again, what has to be tried until it
// works. It is the only package that knows River, which keeps the jobs in
// tables of its own in the store's database (docs/adr/0007-background-jobs.md).
//
// A job has a kind and a key, and what it is about in a few words of JSON. It is
// enqueued in the transaction that makes it necessary: both are there, or
// neither. What callers may build on, on both databases and however many servers
// share one:
//
//   - A job is run until it succeeds. When that has failed 100 times, which takes
//     four days, it is given up, with an error in the log.
//   - It may run more than once: a server that dies after the work and before
//     that is written down leaves it to be done again.
//   - Jobs of one kind and key do not run at the same time, as long as a function
//     returns when its context ends. Until then the clocks of servers may differ
//     by some seconds.
//   - After each [Runner.Enqueue] that was committed, a run of the job begins.
//     Two that wait are one. One that is enqueued while it runs, runs again.
//   - A job whose server was killed is run by another, or by the same when it is
//     back, when its time is over: not before, so keep the time of a kind short.
//
// Neither keys nor arguments may hold secrets: both are stored as they are, and
// the log names keys.
package jobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

const (
	defaultTimeout = time.Minute
	defaultWorkers = 4

	// What is stored of a job is to be an id or two.
	maxKey  = 200
	maxArgs = 16 << 10
)

// Options say with what a [Runner] works.
type Options struct {
	Store  *store.DB
	Logger *slog.Logger // nil for silence
	// Workers is how many jobs this server runs at once, 0 for 4.
	Workers int
}

// Kind is a kind of job.
type Kind struct {
	// Name is stored with each job: it stays. Small letters, digits, dots and dashes.
	Name string
	// Run does a job. Nil says that it is done, [ErrAgain] that it is well and not
	// at its end, any other error that it is to be tried again later.
	Run func(ctx context.Context, args json.RawMessage) error
	// Timeout is when the context of a run ends, 0 for a minute. A function that
	// does not return soon after is a bug; see the package.
	Timeout time.Duration
	// Every enqueues a job with the key "" when a server starts, and then at each
	// interval, once for all servers. 0 is never.
	Every time.Duration
}

// ErrAgain is what a function of a [Kind] returns that has done a part of its job:
// it is called again, soon, and that is no failure. What was done so far it has
// to find in the store.
var ErrAgain = errors.New("the job is not at its end")

// Runner runs jobs. Its methods may be called by several goroutines at once.
type Runner struct {
	store  *store.DB
	log    *slog.Logger
	timing timing
	pools  pools
	client *river.Client[*sql.Tx]

	mu      sync.Mutex
	started bool
	kinds   map[string]Kind
	running map[jobKey]bool // in this process
}

type jobKey struct{ kind, key string }

// New returns a Runner, and brings its tables up to date. [Runner.Close] closes
// it. Errors are of kind [tidewaiter.Conflict] where a newer program has changed
// the tables.
func New(ctx context.Context, o Options) (*Runner, error) {
	return newRunner(ctx, o, usual())
}

func newRunner(ctx context.Context, o Options, t timing) (*Runner, error) {
	r := &Runner{store: o.Store, log: o.Logger, timing: t, kinds: make(map[string]Kind), running: make(map[jobKey]bool)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	var err error
	if r.pools, err = openPools(ctx, r.store); err != nil {
		return nil, err
	}
	if err := r.pools.migrate(ctx, r.log); err != nil {
		return nil, errors.Join(err, r.pools.Close())
	}
	if r.client, err = r.newClient(o.Workers); err != nil {
		return nil, errors.Join(fmt.Errorf("make job queue: %w", err), r.pools.Close())
	}
	return r, nil
}

// Close gives back what the Runner holds, after [Runner.Run] has returned. It
// does not close the store.
func (r *Runner) Close() error { return r.pools.Close() }

var validKind = regexp.MustCompile(`^[a-z][a-z0-9.-]{0,49}$`)

// Register says what jobs of a kind do. All servers should register the same
// kinds, before [Runner.Run]; a job of a kind that a server does not know waits
// for one that does.
func (r *Runner) Register(k Kind) error {
	if k.Timeout == 0 {
		k.Timeout = defaultTimeout
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, there := r.kinds[k.Name]
	switch {
	case !validKind.MatchString(k.Name):
		return tidewaiter.InvalidField("name", "it is no name of a kind of job; use up to 50 small letters, digits, dots and dashes")
	case k.Run == nil, k.Timeout < 0, k.Every < 0, k.Every > 0 && k.Every < time.Second:
		return tidewaiter.InvalidField(k.Name, "it needs a function, and times that are not below zero, the interval not below a second")
	case there, r.started:
		return tidewaiter.Errorf(tidewaiter.Conflict, "the kind of job %s is there already, or comes too late: register it once, before Run", k.Name)
	}
	r.kinds[k.Name] = k
	return nil
}

func (r *Runner) kind(name string) (Kind, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.kinds[name]
	return k, ok
}

// Enqueue adds a job in a transaction of the store, or in one of its own if tx is
// not in one. Jobs of one kind and key are one as long as they wait, with the
// arguments of the first; so arguments should say no more than the key does. Each takes
// about a millisecond of the transaction: enqueue one job for many things, not many.
func (r *Runner) Enqueue(ctx context.Context, tx *store.DB, kind, key string, args any) error {
	k, ok := r.kind(kind)
	if !ok {
		return tidewaiter.InvalidField("kind", "there is no kind of job %q; register it", kind)
	}
	e := envelope{Name: kind, Key: key, Timeout: k.Timeout}
	var err error
	if e.Args, err = json.Marshal(args); err != nil {
		return fmt.Errorf("encode arguments of job %s: %w", kind, err)
	}
	if err := e.check(); err != nil {
		return err
	}
	return tx.Tx(ctx, func(tx *store.DB) error {
		_, t := tx.SQL()
		if err := r.insert(ctx, t, e); err != nil {
			return fmt.Errorf("enqueue job %s: %w", kind, err)
		}
		return nil
	})
}
