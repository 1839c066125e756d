package extract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// A store holds the files that extractors want, in memory up to a number of
// bytes, and one at a time in a spool file.
type store struct {
	limits Limits
	dir    string        // of the spool file
	spool  chan struct{} // full while there is one

	mu    sync.Mutex
	used  int64         // bytes in memory
	freed chan struct{} // full after some became free
}

func newStore(l Limits, dir string) *store {
	return &store{limits: l, dir: dir, spool: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
}

// A held file is being written, or was.
type held struct {
	io.ReaderAt
	write   func([]byte) error
	release func() // must be called once
}

// errHold is why a file is not held.
type errHold struct{ reason string }

func (e errHold) Error() string { return e.reason }

// hold makes room for a file, and waits for it if need be. Only one goroutine
// may call it.
func (s *store) hold(ctx context.Context, size int64) (*held, error) {
	switch {
	case size <= s.limits.HeldFile:
		return s.inMemory(ctx, size)
	case size <= s.limits.SpoolBytes:
		return s.onDisk(ctx)
	}
	return nil, errHold{fmt.Sprintf("larger than the %d bytes that a file may have to be looked into", s.limits.SpoolBytes)}
}

func (s *store) inMemory(ctx context.Context, size int64) (*held, error) {
	for !s.take(size) {
		select {
		case <-s.freed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	b := make([]byte, 0, size)
	h := &held{release: func() { s.give(size) }}
	h.write = func(p []byte) error {
		b = append(b, p...)
		h.ReaderAt = bytes.NewReader(b)
		return nil
	}
	h.ReaderAt = bytes.NewReader(nil)
	return h, nil
}

func (s *store) take(size int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+size > s.limits.HeldBytes {
		return false
	}
	s.used += size
	return true
}

func (s *store) give(size int64) {
	s.mu.Lock()
	s.used -= size
	s.mu.Unlock()
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

func (s *store) onDisk(ctx context.Context) (*held, error) {
	select {
	case s.spool <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	f, err := openSpool(s.dir)
	if err != nil {
		<-s.spool
		return nil, errHold{"larger than what is held in memory, and there is no place to spool it"}
	}
	return &held{
		ReaderAt: f,
		write: func(p []byte) error {
			if _, err := f.Write(p); err != nil {
				return errHold{"larger than what is held in memory, and there is no room to spool it"}
			}
			return nil
		},
		release: func() {
			_ = f.Close() // it is gone with this
			<-s.spool
		},
	}, nil
}

// createSpool returns a file that has no name any more.
func createSpool(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "tidewaiter-spool-*")
	if err != nil {
		return nil, fmt.Errorf("create spool file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink spool file: %w", err), f.Close())
	}
	return f, nil
}
