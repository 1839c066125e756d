package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/advisory/osv"
	"github.com/tidewaiter/tidewaiter/internal/export"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// freshFor is how long advisories in the cache are not asked for again.
const freshFor = 24 * time.Hour

// cacheWait is how long a scan waits for another one that fills the cache.
const cacheWait = 10 * time.Minute

// heldIndex is an index of advisories to scan with.
type heldIndex struct {
	*advisory.Index

	close func() error
	note  string // what to say of it, or ""
}

// advisoriesFor returns the advisories to judge images by: those that the
// command line names; or those in force in a server's data folder; or those of
// a cache, which is kept up to date from a public export of OSV.
func (p *program) advisoriesFor(ctx context.Context, f *scanFlags, images []export.Image) (*heldIndex, error) {
	switch {
	case len(f.advisories) > 0:
		return compileAdvisories(ctx, f.advisories)
	case f.data != "":
		return p.advisoriesOfServer(ctx, f.data)
	}
	return p.cachedAdvisories(ctx, f, ecosystemsOf(images))
}

// compileAdvisories compiles files and folders, for one scan.
func compileAdvisories(ctx context.Context, paths []string) (held *heldIndex, err error) {
	if len(paths) == 1 && strings.HasSuffix(paths[0], ".advisories") {
		digest := tidewaiter.Digest(strings.Replace(strings.TrimSuffix(filepath.Base(paths[0]), ".advisories"), "-", ":", 1))
		index, err := advisory.Open(paths[0], digest)
		if err != nil {
			return nil, err
		}
		return &heldIndex{Index: index, close: index.Close}, nil
	}
	folder, err := os.MkdirTemp("", "tidewaiter-scan-")
	if err != nil {
		return nil, fmt.Errorf("compile advisories: %w", err)
	}
	remove := func() error { return os.RemoveAll(folder) }
	defer func() {
		if err != nil {
			err = errors.Join(err, remove())
		}
	}()
	b := advisory.NewBuilder(folder)
	defer func() { err = errors.Join(err, b.Close()) }()
	for _, path := range paths {
		report, err := osv.Read(ctx, path, osv.Limits{}, b.Add)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if report.Read == 0 {
			return nil, fmt.Errorf("%s: there are no advisories in OSV format in it", path)
		}
	}
	built, err := b.Finish(ctx)
	if err != nil {
		return nil, err
	}
	index, err := advisory.Open(filepath.Join(folder, advisory.FileName(built.Digest)), built.Digest)
	if err != nil {
		return nil, err
	}
	return &heldIndex{Index: index, close: func() error { return errors.Join(index.Close(), remove()) }}, nil
}

func (p *program) advisoriesOfServer(ctx context.Context, data string) (*heldIndex, error) {
	config := &Config{Data: data, Keys: filepath.Join(data, "keys")}
	s, err := openAdminState(ctx, config, newLogger(&Config{LogLevel: "warn"}, p.stderr))
	if err != nil {
		return nil, err
	}
	return inForce(ctx, s.sets, s.Close, "import some: tidewaiter advisories import --data "+data)
}

// inForce returns the set in force. After an error all is closed.
func inForce(ctx context.Context, sets *snapshots.Service, closeAll func() error, hint string) (*heldIndex, error) {
	index, _, release, err := sets.InForce(ctx)
	if err == nil && index == nil {
		release()
		err = tidewaiter.Errorf(tidewaiter.NotFound, "there are no advisories; %s", hint)
	}
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return &heldIndex{Index: index, close: func() error {
		release()
		return closeAll()
	}}, nil
}

// ecosystemsOf returns the ecosystems whose advisories are about what is in
// images, without releases.
func ecosystemsOf(images []export.Image) []string {
	found := make(map[string]bool)
	for i := range images {
		release := advisory.ReleaseOf(images[i].View.System.System)
		for _, p := range images[i].View.Packages {
			named, _ := images[i].View.System.Named(p.Package)
			for _, s := range advisory.Subjects(named, release) {
				base, _, _ := strings.Cut(s.Ecosystem, ":")
				if base != "" {
					found[base] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// cachedAdvisories returns the advisories of the cache of this user. With
// --offline it asks nobody for newer ones.
func (p *program) cachedAdvisories(ctx context.Context, f *scanFlags, ecosystems []string) (*heldIndex, error) {
	folder, err := p.cacheFolder()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the cache of advisories: %w", err)
	}
	db, err := store.Open(ctx, store.Options{URL: "sqlite:" + filepath.Join(folder, "cache.db"), Migrate: true})
	if err != nil {
		return nil, fmt.Errorf("open the cache of advisories: %w", err)
	}
	sets := snapshots.New(snapshots.Options{Store: db, Folder: filepath.Join(folder, "sets"), Logger: newLogger(&Config{LogLevel: "warn"}, p.stderr), Wait: cacheWait})
	closeAll := func() error { return errors.Join(sets.Close(), db.Close()) }
	note := ""
	if f.offline {
		note, err = missing(ctx, sets, f.export, ecosystems)
	} else {
		note, err = refresh(ctx, db, sets, f.export, ecosystems)
	}
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	held, err := inForce(ctx, sets, closeAll, "scan once without --offline, or name some with --advisories, or list packages alone with --packages-only")
	if err == nil {
		held.note = note
	}
	return held, err
}

func (p *program) cacheFolder() (string, error) {
	if folder := p.getenv("XDG_CACHE_HOME"); folder != "" {
		return filepath.Join(folder, "tidewaiter"), nil
	}
	if home := p.getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", "tidewaiter"), nil
	}
	return "", errors.New("there is no folder for a cache: set HOME or XDG_CACHE_HOME, or name advisories with --advisories")
}

// missing says of which ecosystems there are no advisories in the cache, and how
// old those are that there are.
func missing(ctx context.Context, sets *snapshots.Service, from string, ecosystems []string) (string, error) {
	st, err := sets.Status(ctx)
	if err != nil {
		return "", err
	}
	oldest := time.Time{}
	var none []string
	for _, e := range ecosystems {
		at := slices.IndexFunc(st.Sources, func(s store.AdvisorySource) bool { return s.Location == snapshots.ExportURL(from, e) })
		switch {
		case at < 0:
			none = append(none, e)
		case oldest.IsZero() || st.Sources[at].Imported.Before(oldest):
			oldest = st.Sources[at].Imported
		}
	}
	note := ""
	if !oldest.IsZero() {
		note = "offline: the advisories were fetched " + oldest.UTC().Format(time.RFC3339)
	}
	if len(none) > 0 {
		note = strings.TrimPrefix(note+"; none are here about "+strings.Join(none, ", "), "; ")
	}
	return note, nil
}

// refresh fetches what the cache lacks, or what it has had for a day. What can
// not be fetched may be as old as it is; the note says so.
func refresh(ctx context.Context, db *store.DB, sets *snapshots.Service, from string, ecosystems []string) (note string, err error) {
	r, err := sets.Refresh(ctx, snapshots.ExportURLs(from, ecosystems), freshFor, findings.New(findings.Options{Store: db, Sets: sets}))
	if err != nil || len(r.Failed) == 0 {
		return "", err
	}
	known, err := db.AdvisorySources(ctx)
	if err != nil {
		return "", err
	}
	for _, f := range r.Failed {
		if !slices.ContainsFunc(known, func(s store.AdvisorySource) bool { return s.Location == f.Location }) {
			return "", fmt.Errorf("%w; name advisories with --advisories, or list packages alone with --packages-only", f.Err)
		}
	}
	return fmt.Sprintf("%v; what was fetched before is used", r.Failed[0].Err), nil
}
