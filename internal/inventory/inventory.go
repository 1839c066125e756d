// Package inventory is the server's side of registries: the connections that
// users make, the work for scan components that follows from them, and what the
// results of that work change: statuses, synchronisation tasks, images.
//
// The server itself never connects to a registry. What a component reports is
// hostile until checked, and is applied in one transaction together with the
// proof that the component still holds the lease of the work.
//
// Every transaction about a registry locks the registry's row first and work
// after it, so that two of them never wait for each other.
package inventory

import (
	"log/slog"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// MaxRegistries is how many registries a project may have: the contract's lists
// and counts end there.
const MaxRegistries = 100

const (
	defaultSyncAt    = "01:00"
	defaultRetention = 7 * 24 * time.Hour
	defaultInterval  = 5 * time.Second
	defaultPoll      = 250 * time.Millisecond

	// leasePatience is how long a check may wait for a component before its
	// registry is said to have none.
	leasePatience = 30 * time.Second
	// testPatience is how long [Service.Test] waits for a report.
	testPatience = 90 * time.Second
	// historyRetention is how long ended work and ended tasks are kept, and
	// enrolments that have expired.
	historyRetention = 30 * 24 * time.Hour
)

// Options say with what a [Service] works.
type Options struct {
	Store *store.DB
	// Wake tells those who wait for work of a cluster that there is some. It
	// must not block. Nil is nobody.
	Wake func(clusterID string)
	// Now is the clock, nil for time.Now.
	Now func() time.Time
	// Location is the time zone of SyncAt, nil for time.Local.
	Location *time.Location
	// SyncAt is when registries are synchronised that do not say when
	// themselves: "15:04", "off", or "" for 01:00.
	SyncAt string
	// Retention is how long images are kept that are gone from their registry,
	// 0 for 7 days.
	Retention time.Duration
	Logger    *slog.Logger // nil for silence

	Interval time.Duration // between two looks of Run at what is due; 0 for 5 s
	Poll     time.Duration // between two looks of Test at its work; 0 for 250 ms
}

// Service keeps the inventory. Its methods may be called by several goroutines
// and by several servers on one database.
//
// Errors are of the kinds of [tidewaiter.Error]. What is outside of an extent
// is NotFound, as is what does not exist.
type Service struct {
	store     *store.DB
	wake      func(string)
	clock     func() time.Time
	location  *time.Location
	syncAt    string
	retention time.Duration
	log       *slog.Logger
	interval  time.Duration
	poll      time.Duration
}

// New returns a service. Errors are of kind Invalid and name the option.
func New(o Options) (*Service, error) {
	s := &Service{
		store: o.Store, wake: o.Wake, clock: o.Now, location: o.Location, syncAt: o.SyncAt,
		retention: o.Retention, log: o.Logger, interval: o.Interval, poll: o.Poll,
	}
	if s.wake == nil {
		s.wake = func(string) {}
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.location == nil {
		s.location = time.Local
	}
	if s.syncAt == "" {
		s.syncAt = defaultSyncAt
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&s.retention, defaultRetention}, {&s.interval, defaultInterval}, {&s.poll, defaultPoll}} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	if s.retention < 0 {
		return nil, tidewaiter.InvalidField("retention", "is below zero; give how long images are kept that are gone from their registry, as in 168h")
	}
	return s, checkSyncAt("sync_at", s.syncAt)
}

// now returns the time as the store keeps it.
func (s *Service) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }
