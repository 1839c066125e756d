package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
)

// fetchNone is what advisories-from is for a server that fetches no advisories.
const fetchNone = "off"

// failurePause is how long nothing is fetched after a failure.
const failurePause = time.Hour

// advisoryUpdates fetches the advisories about what images hold.
type advisoryUpdates struct {
	from     string // an export of OSV, or fetchNone
	every    time.Duration
	sets     *snapshots.Service
	findings *findings.Service
	log      *slog.Logger
	failed   time.Time // of the last failure
}

// locations are the URLs of what is needed, and those that somebody imported.
func (u *advisoryUpdates) locations(ctx context.Context) ([]string, error) {
	if u.from == fetchNone {
		return nil, nil
	}
	ecosystems, err := u.findings.Ecosystems(ctx)
	if err != nil {
		return nil, err
	}
	imported, err := u.sets.URLs(ctx)
	list := append(snapshots.ExportURLs(u.from, ecosystems), imported...)
	slices.Sort(list)
	return slices.Compact(list), err
}

// run fetches what is missing or old. What cannot be fetched stays as it is.
func (u *advisoryUpdates) run(ctx context.Context) error {
	if time.Since(u.failed) < failurePause {
		return nil
	}
	locations, err := u.locations(ctx)
	if err != nil {
		return err
	}
	stale, err := u.sets.Stale(ctx, locations, u.every)
	if err != nil || !stale {
		return err
	}
	r, err := u.sets.Refresh(ctx, locations, u.every, u.findings)
	if err != nil {
		return err
	}
	for _, f := range r.Failed {
		u.failed = time.Now()
		u.log.WarnContext(ctx, "advisories cannot be fetched; import them with tidewaiter advisories import, or set advisories-from to a mirror or to off", "source", f.Location, "error", f.Err)
	}
	return nil
}
