// Package worker is the scan component at work: it enrols with a server, asks
// it for work, does it beside the registries, and reports what it found. The
// server never connects to it; every request is its own, signed with its key.
//
// It may be killed at any moment. What it has to keep is in one file of the
// state folder, written before it matters to anybody; what it was doing the
// server gives out again.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/access"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// Why a worker ends though nobody asked it to. Neither goes away by trying again.
var (
	// ErrRemoved is a server that does not know the component any more.
	ErrRemoved = tidewaiter.Errorf(tidewaiter.Unauthenticated,
		"the server does not know this component any more: it was removed; make a new token for its cluster and start the component with it")
	// ErrVersion is a server that speaks no version of the protocol that the
	// component speaks.
	ErrVersion = tidewaiter.Errorf(tidewaiter.Conflict,
		"the server and this component have no version of the protocol in common; use the component of the server's release (its upload command and its cluster command name it)")
)

// Options say how a worker runs. Folder, Connect and, for the first start,
// Server and Token are needed; the zero value of the rest is right for production.
type Options struct {
	Folder string // where the state is kept; one process at a time
	Server string // scheme://host or scheme://host:port; "" is the server of the last run
	// Token returns the one-time token. It is called only if the component has
	// to enrol; nil is none.
	Token func(context.Context) (string, error)

	HTTP         *http.Client // nil is one that uses the environment's proxy settings and CA
	CA           []byte       // PEM: trusted for the server's certificate in addition to the usual authorities
	InsecureHTTP bool         // allow plain http to a server that is not loopback

	Name     string // for people; "" is the host's name
	Version  string // "" is that of this release
	Platform string // "" is GOOS/GOARCH
	Parallel int    // synchronisations at a time, and scans; 2 of each if 0

	Connect  access.Connect   // makes connectors: all.New
	Registry registry.Options // for the registries
	// Extractors look into images; without any the component does not scan.
	Extractors []extract.Extractor
	SpoolDir   string // for files of layers that do not fit into memory, without a name there; "" is Folder, which can be written to where nothing else can
	Logger     *slog.Logger

	Now    func() time.Time                           // time.Now if nil
	Sleep  func(context.Context, time.Duration) error // waits, or returns the context's error
	Random func() float64                             // [0, 1): jitter
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name, _ = os.Hostname()
	}
	o.Name = short(o.Name, 128)
	if o.Version == "" {
		o.Version = tidewaiter.Version
	}
	if o.Platform == "" {
		o.Platform = runtime.GOOS + "/" + runtime.GOARCH
	}
	if o.Parallel == 0 {
		o.Parallel = 2
	}
	if o.SpoolDir == "" {
		o.SpoolDir = o.Folder
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return o
}

// Worker is a scan component.
type Worker struct {
	options Options
	log     *slog.Logger
	folder  *folder
	client  *client

	extractors string        // version of the set
	layers     chan struct{} // one for each layer that is being looked into

	turn chan struct{} // holds one token: who has it may change what is below

	state   state
	session *session // nil: say hello first
	started bool     // a hello of this run got through

	keyRefused bool // the key of the cluster that another component shared is of no use
}

// New takes the state folder and makes what keys it lacks. It connects to
// nothing. Errors are of kind Invalid (an option, a damaged file) or Conflict
// (the folder is in use), or say why the folder cannot be used.
func New(o Options) (*Worker, error) {
	o = o.withDefaults()
	if o.Connect == nil {
		return nil, errors.New("worker: Options.Connect is nil")
	}
	if o.Parallel < 1 || o.Parallel > maxParallel {
		return nil, tidewaiter.InvalidField("parallel", "is out of range; give 1 to %d", maxParallel)
	}
	f, err := openFolder(o.Folder)
	if err != nil {
		return nil, err
	}
	w, err := open(o, f)
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return w, nil
}

const maxParallel = 32

func open(o Options, f *folder) (*Worker, error) {
	s, found, err := f.load()
	if err != nil {
		return nil, err
	}
	if !found {
		if s, err = newState(); err != nil {
			return nil, err
		}
	}
	if o.Server == "" {
		o.Server = s.server
	}
	base, err := serverURL(o.Server, o.InsecureHTTP)
	if err != nil {
		return nil, err
	}
	if o.HTTP == nil {
		if o.HTTP, err = newHTTP(o.CA); err != nil {
			return nil, err
		}
	}
	if s.server != base.String() {
		if s.enrolled() {
			o.Logger.Info("the server has another address than at the last run", "server", base.String())
		}
		s.server, found = base.String(), false
	}
	if !found {
		if err := f.save(s); err != nil {
			return nil, err
		}
	}
	w := &Worker{
		options: o, log: o.Logger, folder: f, state: s,
		client: newClient(o, base), turn: make(chan struct{}, 1),
		extractors: extract.Version(o.Extractors), layers: make(chan struct{}, layersAtOnce),
	}
	w.client.identify(s)
	w.turn <- struct{}{}
	return w, nil
}

// Close gives the state folder up. Call it when [Worker.Run] has returned.
func (w *Worker) Close() error { return w.folder.close() }

// ComponentID returns the id that the server has given the component, or "".
func (w *Worker) ComponentID() string { return w.client.id() }

// Start enrols the component if need be, and says hello: one attempt each.
// Whoever does not call it has [Worker.Run] do the same, as often as it takes.
func (w *Worker) Start(ctx context.Context) error {
	if err := w.take(ctx); err != nil {
		return err
	}
	defer w.release()
	return w.greet(ctx)
}

// Run asks for work and does it until the context ends, then gives back within
// seconds what is under way and returns nil. Other errors are for good:
// [ErrRemoved], [ErrVersion], an enrolment that the server refuses.
func (w *Worker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var slots sync.WaitGroup
	serve := func(kinds ...tidewaiter.WorkKind) {
		slots.Go(func() {
			if err := w.slot(ctx, kinds); err != nil {
				cancel(err)
			}
		})
	}
	serve(tidewaiter.ShareKeyWork, tidewaiter.AccessCheckWork)
	for range w.options.Parallel {
		serve(tidewaiter.SyncWork)
		if len(w.options.Extractors) > 0 {
			serve(tidewaiter.ScanWork)
		}
	}
	slots.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// slot does one piece of work after the other until the context ends or there
// is no point in going on. It returns an error only in the latter case.
func (w *Worker) slot(ctx context.Context, kinds []tidewaiter.WorkKind) error {
	failures := 0
	for ctx.Err() == nil {
		err := w.next(ctx, kinds)
		switch {
		case err == nil:
			failures = 0
			continue
		case ctx.Err() != nil:
		case isFinal(err):
			return err
		default:
			failures++
			w.log.Debug("asking for work did not succeed", "error", err)
			_ = w.pause(ctx, failures, err)
		}
	}
	return nil
}

// next waits for a piece of work and does it.
func (w *Worker) next(ctx context.Context, kinds []tidewaiter.WorkKind) error {
	s, err := w.ready(ctx)
	if err != nil {
		return err
	}
	asked := w.options.Now()
	work, err := w.lease(ctx, s, kinds)
	if hasCode(err, protocol.ErrHelloRequired) {
		w.expire(ctx, s)
	}
	if err != nil {
		return err
	}
	if work == nil {
		// A server, or something before it, that does not wait.
		if w.options.Now().Sub(asked) < time.Second {
			return w.options.Sleep(ctx, w.jitter(2*time.Second))
		}
		return nil
	}
	return w.do(ctx, s, *work)
}

// lease asks for a piece of work; nil is none.
func (w *Worker) lease(ctx context.Context, s *session, kinds []tidewaiter.WorkKind) (*protocol.Work, error) {
	ctx, cancel := context.WithTimeout(ctx, protocol.MaxWait+requestTimeout)
	defer cancel()
	var work protocol.Work
	q := protocol.LeaseRequest{
		Kinds: kinds, WaitSeconds: int(protocol.MaxWait / time.Second), ClusterRecipient: s.key.Recipient(),
	}
	some, err := w.client.post(ctx, protocol.PathLease, q, &work)
	if err != nil || !some {
		return nil, err
	}
	if work.ID == "" {
		return nil, errors.New("the server gives work without an id")
	}
	return &work, nil
}

// pause waits after failure number n in a row.
func (w *Worker) pause(ctx context.Context, n int, err error) error {
	return w.options.Sleep(ctx, w.client.backoff(n, err))
}

func (w *Worker) jitter(d time.Duration) time.Duration {
	return d - time.Duration(w.options.Random()*float64(d)/2)
}

// isFinal tells errors that end the worker.
func isFinal(err error) bool {
	if errors.Is(err, ErrRemoved) || errors.Is(err, ErrVersion) {
		return true
	}
	_, refused := errors.AsType[*enrolmentError](err)
	return refused
}

// enrolmentError is an enrolment that cannot succeed as it stands.
type enrolmentError struct{ err error }

func (e *enrolmentError) Error() string { return fmt.Sprintf("enrol: %v", e.err) }
func (e *enrolmentError) Unwrap() error { return e.err }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
