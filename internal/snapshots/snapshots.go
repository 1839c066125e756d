// Package snapshots keeps the sets of advisories that a server has. A set is
// one immutable file (package advisory), compiled from all sources together
// that were imported: a new one comes into force as a whole, or not at all.
package snapshots

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Options are what a service needs.
type Options struct {
	Store  *store.DB
	Folder string           // for the files; it is made
	Logger *slog.Logger     // nil for silence
	Now    func() time.Time // nil for the clock
	Wait   time.Duration    // how long to wait for the end of another import
}

// Service keeps sets of advisories. Its methods may be called by several
// goroutines, and by several servers with one database.
type Service struct {
	store  *store.DB
	folder string
	log    *slog.Logger
	now    func() time.Time
	wait   time.Duration
	pause  func(context.Context, time.Duration) error
	http   *http.Client

	mu      sync.Mutex
	current *opened
}

// opened is an index that is open for some readers.
type opened struct {
	index      *advisory.Index // nil for no advisories
	generation int64
	readers    int
	old        bool // another is in force: the last reader closes it
}

// New returns a service.
func New(o Options) *Service {
	s := &Service{store: o.Store, folder: o.Folder, log: o.Logger, now: o.Now, wait: o.Wait, pause: pause, http: newClient()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = store.Now
	}
	return s
}

// Close closes the index in force. Nobody reads it any more.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.index == nil {
		return nil
	}
	return s.current.index.Close()
}

// InForce returns the index of the set in force, nil if there is none, and which
// generation it is of. It stays open until release is called. A set that another
// server has imported is fetched from the database.
func (s *Service) InForce(ctx context.Context) (index *advisory.Index, generation int64, release func(), err error) {
	state, err := s.store.AdvisoryState(ctx)
	if err != nil {
		return nil, 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.generation != state.Generation {
		next := &opened{generation: state.Generation}
		if state.SetNumber != 0 {
			if next.index, err = s.open(ctx, state.Digest); err != nil {
				return nil, 0, nil, err
			}
		}
		if before := s.current; before != nil {
			before.old = true
			s.finish(before)
		}
		s.current = next
	}
	o := s.current
	o.readers++
	var once sync.Once
	return o.index, o.generation, func() {
		once.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			o.readers--
			s.finish(o)
		})
	}, nil
}

// finish closes an index that nobody needs any more.
func (s *Service) finish(o *opened) {
	if !o.old || o.readers > 0 || o.index == nil {
		return
	}
	if err := o.index.Close(); err != nil {
		s.log.Warn("an old index of advisories could not be closed", "error", err)
	}
}

// open opens the file of a set, which is fetched if it is not here.
func (s *Service) open(ctx context.Context, digest tidewaiter.Digest) (*advisory.Index, error) {
	path := filepath.Join(s.folder, advisory.FileName(digest))
	index, err := advisory.Open(path, digest)
	if err == nil || s.store.Dialect() == "sqlite" {
		return index, err
	}
	if err := s.fetchFile(ctx, digest, path); err != nil {
		return nil, fmt.Errorf("fetch the advisories in force: %w", err)
	}
	return advisory.Open(path, digest)
}

// lockPause is how often it is tried again whether another import has ended.
const lockPause = 100 * time.Millisecond

// lock keeps other processes from importing into the folder.
func (s *Service) lock(ctx context.Context) (unlock func() error, err error) {
	if err := os.MkdirAll(filepath.Join(s.folder, sourcesFolder), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of advisories: %w", err)
	}
	for end := time.Now().Add(s.wait); ; {
		l, err := store.LockDataFolder(s.folder)
		switch {
		case err == nil:
			return l.Release, nil
		case tidewaiter.KindOf(err) != tidewaiter.Conflict:
			return nil, err
		case time.Now().After(end):
			return nil, tidewaiter.Errorf(tidewaiter.Conflict, "another import is under way; wait for its end")
		}
		if err := pause(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}
