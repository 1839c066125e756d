// Package fleet knows the clusters of scan components: who enrolled, who is
// there, which key the secrets of a cluster are sealed to, and who holds the
// lease of which piece of work. It does not know what work is about, but for
// the handing on of a cluster's key, which is its own.
//
// All state is in the store, so that any replica of the server can answer any
// component. What is in memory are the requests that wait for work.
package fleet

import (
	"log/slog"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Options are the parts that a [Service] needs. Zero durations and counts are
// the values in the comments.
type Options struct {
	Store  *store.DB
	Logger *slog.Logger     // who came and went, and changes of keys; nil for silence
	Now    func() time.Time // store.Now

	Lease       time.Duration // 60 s: how long a lease holds without a heartbeat
	Heartbeat   time.Duration // 4 s: how often components are to send one; a scan that is to stop ends within it
	Online      time.Duration // 90 s: how long after its last request a component counts as online
	Poll        time.Duration // 1 s: how often the database is asked for work that another process has queued
	SeenEvery   time.Duration // 10 s: how often the time of a component's last request is written
	MaxAttempts int           // tidewaiter.MaxAttempts: leases of one piece of work that may run out
}

// Service is the fleet of one server. Its methods may be called by several
// goroutines at once.
type Service struct {
	o  Options
	db *store.DB

	mu     sync.Mutex
	wakes  map[string]chan struct{} // by cluster: closed when work turns up
	closed chan struct{}
	close  sync.Once
}

// New returns a Service.
func New(o Options) *Service {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = store.Now
	}
	for _, d := range []struct {
		of       *time.Duration
		standard time.Duration
	}{
		{&o.Lease, time.Minute}, {&o.Heartbeat, 4 * time.Second}, {&o.Online, 90 * time.Second},
		{&o.Poll, time.Second}, {&o.SeenEvery, 10 * time.Second},
	} {
		if *d.of == 0 {
			*d.of = d.standard
		}
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = tidewaiter.MaxAttempts
	}
	return &Service{o: o, db: o.Store, wakes: make(map[string]chan struct{}), closed: make(chan struct{})}
}

// Close ends the requests that wait for work, and lets no more wait.
func (s *Service) Close() { s.close.Do(func() { close(s.closed) }) }

// Wake tells those who wait for work of a cluster, in this process, to look
// again. Those in other processes look by themselves, every Options.Poll.
func (s *Service) Wake(clusterID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.wakes[clusterID]; ok {
		close(c)
		delete(s.wakes, clusterID)
	}
}

// woken returns a channel that the next [Service.Wake] of the cluster closes.
// Ask for it before looking for work, so that none turns up in between unseen.
func (s *Service) woken(clusterID string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.wakes[clusterID]
	if !ok {
		c = make(chan struct{})
		s.wakes[clusterID] = c
	}
	return c
}
