// Package scan is the server's side of looking into images: the tasks that
// users make, the work for scan components that follows from them, the facts
// of layers that components send, and what these make of an image.
//
// The facts of a layer are kept once for all images of a project and a
// cluster. An image is put together from them by the server, so that a scan of
// what is known already needs no component to pull anything, and one of an
// image that has not changed nothing but the database.
//
// What a component reports is hostile until checked, and is applied in one
// transaction together with the proof that the component holds the lease.
package scan

import (
	"context"
	"log/slog"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

const (
	defaultInterval = 2 * time.Second
	// mergesAtOnce bounds how many images are put together at a time: the facts
	// of a large one take some 100 MB.
	mergesAtOnce = 2
	// personsImages is how many images somebody may be waiting for: more are a sweep.
	personsImages = 10
	// historyRetention is how long tasks are kept that have ended.
	historyRetention = 30 * 24 * time.Hour
	// layerRetention is how long layers are kept that no image has.
	layerRetention = 7 * 24 * time.Hour
	// spaceEvery bounds how much of a task with a rate limit can begin at once
	// when a component comes after a while.
	spaceEvery = 20 * time.Second
)

// Options say with what a [Service] works.
type Options struct {
	Store *store.DB
	// Wake tells those who wait for work of a cluster that there is some. It
	// must not block. Nil is nobody.
	Wake func(clusterID string)
	// Extractors is the version of the newest set of extractors: what an older
	// one has looked into is looked into again.
	Extractors string
	// EndOfLife returns when support of an operating system ends; nil knows none.
	EndOfLife func(tidewaiter.System) (time.Time, bool)
	// Findings learns of packages before an image is said to hold them; nil for
	// nobody.
	Findings Findings
	Now      func() time.Time // nil for time.Now
	Logger   *slog.Logger     // nil for silence
	Interval time.Duration    // between two looks of Run at what is due; 0 for 2 s
}

// Findings knows which vulnerabilities packages have.
type Findings interface {
	// ReleaseOf returns how a release of an operating system is kept with the
	// versions of its packages.
	ReleaseOf(tidewaiter.System) string
	// MatchPackages finds out about versions of packages, by their ids.
	MatchPackages(ctx context.Context, ids []int64) error
	// AttachVEX takes what is attached to an image in the place of what was, in a
	// transaction in which still runs first.
	AttachVEX(ctx context.Context, r tidewaiter.Registry, m tidewaiter.Manifest, contents []tidewaiter.AttachedContent, still func(*store.DB) error) error
}

// Service scans images. Its methods may be called by several goroutines and by
// several servers on one database.
//
// Errors are of the kinds of [tidewaiter.Error]. What is outside of an extent
// is NotFound, as is what does not exist.
type Service struct {
	store      *store.DB
	wake       func(string)
	extractors string
	endOfLife  func(tidewaiter.System) (time.Time, bool)
	findings   Findings // or nil
	clock      func() time.Time
	log        *slog.Logger
	interval   time.Duration
	merges     chan struct{} // one for each image that is being put together
	nudged     chan struct{} // Run is to look at once
}

// New returns a service.
func New(o Options) *Service {
	s := &Service{
		store: o.Store, wake: o.Wake, extractors: o.Extractors, endOfLife: o.EndOfLife, findings: o.Findings, clock: o.Now, log: o.Logger, interval: o.Interval,
		merges: make(chan struct{}, mergesAtOnce), nudged: make(chan struct{}, 1),
	}
	if s.wake == nil {
		s.wake = func(string) {}
	}
	if s.endOfLife == nil {
		s.endOfLife = func(tidewaiter.System) (time.Time, bool) { return time.Time{}, false }
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.interval == 0 {
		s.interval = defaultInterval
	}
	return s
}

// now returns the time as the store keeps it.
func (s *Service) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

// nudge has Run look at once, in this server.
func (s *Service) nudge() {
	select {
	case s.nudged <- struct{}{}:
	default:
	}
}

// lostRace tells that another server, or a user, was faster.
func lostRace(err error) bool {
	kind := tidewaiter.KindOf(err)
	return err != nil && (kind == tidewaiter.Conflict || kind == tidewaiter.NotFound)
}
