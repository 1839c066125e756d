package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/access"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

const (
	repositoriesAtOnce = 4
	requestsAtOnce     = 8 // for manifests, over all repositories
	maxUnread          = 20
	retryUnavailable   = time.Minute
	maxRetry           = 24 * time.Hour
)

// synchronisation lists the images of one registry. What it holds at any time
// is bounded: a page of repositories, and of each repository under way a batch
// of tags and a report.
type synchronisation struct {
	*job
	config    registry.Config
	client    *registry.Client
	connector registry.Connector
	slots     chan struct{} // one for each request for a manifest under way

	mu     sync.Mutex
	unread []unread
}

// unread is a repository or a tag that may be readable later.
type unread struct {
	name string // of a repository, or repository:tag
	err  error
}

// synchronise does a synchronisation.
func (j *job) synchronise(ctx context.Context, r protocol.Registry) *protocol.FinishRequest {
	config, refused := j.config(r)
	if refused != nil {
		return refused
	}
	client, err := registry.NewClient(config, j.worker.options.Registry)
	if err != nil {
		return refusedSetting(err)
	}
	defer client.Close()
	connector, err := j.worker.options.Connect(client)
	if err != nil {
		return refusedSetting(err)
	}
	j.progress.client.Store(client)
	s := &synchronisation{
		job: j, config: config, client: client, connector: connector, slots: make(chan struct{}, requestsAtOnce),
	}
	err = s.run(ctx)
	if ctx.Err() != nil || errors.Is(err, errLost) {
		return nil // nothing that says anything about the registry
	}
	if c, ok := errors.AsType[*crash](err); ok {
		return j.crashed(c)
	}
	if err != nil {
		j.log.Warn("the synchronisation failed", "error", err)
		return s.failure(err)
	}
	if len(s.unread) > 0 {
		j.log.Warn("the synchronisation could not read everything", "unread", len(s.unread), "error", s.unread[0].err)
		return s.incomplete()
	}
	return &protocol.FinishRequest{Outcome: protocol.OutcomeDone}
}

// run goes through the registry. Its errors are those that concern all of it.
func (s *synchronisation) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan registry.Repository)
	var listers sync.WaitGroup
	for range repositoriesAtOnce {
		listers.Go(func() {
			for r := range todo {
				if ctx.Err() != nil {
					continue
				}
				if err := catch(func() error { return s.repository(ctx, r) }); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := catch(func() error { return s.list(ctx, todo) })
	close(todo)
	listers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// list passes on the repositories that are still to be listed.
func (s *synchronisation) list(ctx context.Context, todo chan<- registry.Repository) error {
	batch := make([]registry.Repository, 0, protocol.MaxNames)
	for r, err := range s.connector.Repositories(ctx) {
		if err != nil {
			return s.refused(ctx, err)
		}
		if batch = append(batch, r); len(batch) == protocol.MaxNames {
			if err := s.pending(ctx, batch, todo); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return s.pending(ctx, batch, todo)
}

// pending passes on those of a batch that no earlier attempt has completed.
func (s *synchronisation) pending(ctx context.Context, batch []registry.Repository, todo chan<- registry.Repository) error {
	if len(batch) == 0 {
		return nil
	}
	s.progress.repositories.Add(int64(len(batch)))
	names := make([]string, len(batch))
	for i, r := range batch {
		names[i] = r.Name
	}
	var answer protocol.PendingResponse
	if err := s.call(ctx, protocol.PathPending, protocol.PendingRequest{Attempt: s.work.Attempt, Repositories: names}, &answer); err != nil {
		return err
	}
	wanted := make(map[string]bool, len(answer.Repositories))
	for _, name := range answer.Repositories {
		wanted[name] = true
	}
	for _, r := range batch {
		if !wanted[r.Name] {
			s.progress.repositoriesDone.Add(1)
			continue
		}
		select {
		case todo <- r:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// each calls f for 0 to n-1, several at a time, until one returns an error.
func (s *synchronisation) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	return eachOf(ctx, s.slots, n, f)
}

// eachOf calls f for 0 to n-1, as many at a time as there are slots, until one
// returns an error.
func eachOf(ctx context.Context, slots chan struct{}, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for i := range n {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break // a slot that was taken is not missed: the work ends
		}
		all.Go(func() {
			defer func() { <-slots }()
			if err := catch(func() error { return f(ctx, i) }); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// refused returns why a list is refused: if the registry refuses everything,
// the error that says so.
func (s *synchronisation) refused(ctx context.Context, err error) error {
	switch tidewaiter.KindOf(err) {
	case tidewaiter.Unauthenticated, tidewaiter.Forbidden:
		if ping := s.connector.Ping(ctx); ping != nil {
			return ping
		}
	}
	return err
}

// trouble takes an error of the registry about one repository or tag. An error
// that concerns everything is returned, to fail with at once. Otherwise closed
// says that asking again would not help: then that repository has a problem,
// and nothing in it counts as gone. What may be readable later fails the
// synchronisation at its end, so that it is tried again.
func (s *synchronisation) trouble(ctx context.Context, name string, err error) (closed bool, _ error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	kind := tidewaiter.KindOf(err)
	switch kind {
	case tidewaiter.Unauthenticated, tidewaiter.Forbidden, tidewaiter.Unavailable:
		// Does the registry refuse, or fail at, everything?
		if ping := s.connector.Ping(ctx); ping != nil {
			return false, ping
		}
	case tidewaiter.NotFound, tidewaiter.Invalid, tidewaiter.TooLarge:
	default: // it limits the rate; or it is no error of the registry
		return false, err
	}
	s.log.Warn("a part of the registry cannot be read", "name", name, "error", err)
	if kind != tidewaiter.Unavailable {
		return true, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = append(s.unread, unread{name, err})
	if len(s.unread) > maxUnread {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	return false, nil
}

// failure is the result of a synchronisation that an error has ended.
func (s *synchronisation) failure(err error) *protocol.FinishRequest {
	if errors.Is(err, errNotHeard) || isRefusal(err) {
		result := failed(tidewaiter.FailServer, "the server did not take what the component reported: "+err.Error())
		if errors.Is(err, errNotHeard) {
			result.Failure.RetrySeconds = int(retryUnavailable.Seconds())
		}
		return result
	}
	result := failed(string(access.FailReasonOf(err)), s.explain(err))
	result.Failure.RetrySeconds = s.retry(err)
	return result
}

// incomplete is the result of a synchronisation that could not read everything
// now.
func (s *synchronisation) incomplete() *protocol.FinishRequest {
	var text strings.Builder
	what := fmt.Sprintf("%d repositories or tags", len(s.unread))
	if len(s.unread) == 1 {
		what = "one repository or tag"
	}
	fmt.Fprintf(&text, "%s could not be read for now; all else is up to date, and nothing was marked as gone. ", what)
	for i, u := range s.unread {
		if i > 0 {
			text.WriteString("; ")
		}
		fmt.Fprintf(&text, "%s: %s", short(u.name, 200), s.explain(u.err))
	}
	result := failed(tidewaiter.FailServer, text.String())
	result.Failure.RetrySeconds = int(retryUnavailable.Seconds())
	return result
}

// explain says what is wrong and what to do.
func (s *synchronisation) explain(err error) string {
	return access.Explain(err, s.config, s.worker.options.Now())
}

// retry returns in how many seconds another attempt makes sense, or 0.
func (j *job) retry(err error) int {
	wait := retryUnavailable
	switch tidewaiter.KindOf(err) {
	case tidewaiter.Throttled:
		if f, ok := errors.AsType[*registry.Failure](err); ok && !f.Until.IsZero() {
			wait = min(max(f.Until.Sub(j.worker.options.Now()), time.Second), maxRetry)
		}
	case tidewaiter.Unavailable:
	default:
		return 0
	}
	return int((wait + time.Second - 1) / time.Second)
}
