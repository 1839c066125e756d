package snapshots

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
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Activation is a set that is to come into force.
type Activation struct {
	Number int64 // 0 for what Put returns
	Index  *advisory.Index
	From   int64 // the generation that it is to follow: after another one it fails with Conflict
	// Put is called within the transaction that brings it into force, notes that
	// there is such a set, and returns its number.
	Put func(ctx context.Context, tx *store.DB) (int64, error)
}

// Activator brings a set into force with all that follows from it.
type Activator interface {
	Activate(ctx context.Context, a Activation) error
}

// Result says what an import has come to.
type Result struct {
	Set       store.AdvisorySet
	Unchanged bool // it was in force already
	Sources   []SourceResult
	Failed    []SourceFailure // of [Service.Refresh]: what is as old as it was
}

// SourceFailure says why a source could not be read.
type SourceFailure struct {
	Location string
	Err      error
}

// SourceResult says what was read of a source.
type SourceResult struct {
	Location  string
	Read      int
	Refused   int
	Refusals  []osv.Refusal // the first of them
	Unchanged bool          // a URL that has nothing new
}

// Import reads advisories from files, folders and URLs, in the place of what was
// imported from there before, and brings them into force together with those of
// all other sources. What was in force is until it is done, and after an error.
// Errors: NotFound, Invalid (a file that cannot be read), Conflict (they are
// older than those in force; another import is under way).
func (s *Service) Import(ctx context.Context, locations []string, to Activator) (Result, error) {
	return s.change(ctx, to, func(c *change) error {
		for _, l := range locations {
			if err := c.take(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
}

// ImportURLs is [Service.Import] for those who may not read the files of this
// machine: what is no URL is of kind Invalid, with the field urls[i].
func (s *Service) ImportURLs(ctx context.Context, urls []string, to Activator) (Result, error) {
	for i, location := range urls {
		field := fmt.Sprintf("urls[%d]", i)
		if !isURL(location) {
			return Result{}, tidewaiter.InvalidField(field, "it is no http or https URL; import files on the server's machine, with tidewaiter advisories import --data")
		}
		if err := checkURL(location); err != nil {
			e, ok := errors.AsType[*tidewaiter.Error](err)
			if !ok {
				return Result{}, err
			}
			return Result{}, tidewaiter.InvalidField(field, "%s", e.Message)
		}
	}
	return s.Import(ctx, urls, to)
}

// Forget gives up a source: what only it said is no longer said. The location is
// that of the import, or as lists show it, if one source alone is shown so.
func (s *Service) Forget(ctx context.Context, location string, to Activator) (Result, error) {
	return s.change(ctx, to, func(c *change) error {
		location, err := c.find(location)
		if err != nil {
			return err
		}
		if _, ok := c.sources[location]; !ok {
			return tidewaiter.Errorf(tidewaiter.NotFound, "nothing was imported from there; look at the list of sources")
		}
		delete(c.sources, location)
		c.anyAge = true
		return nil
	})
}

// find returns the location of a source that is named as it was imported, or as
// lists show it.
func (c *change) find(name string) (string, error) {
	var found []string
	for location := range c.sources {
		if location != name && Listed(location) == name {
			found = append(found, location)
		}
	}
	switch len(found) {
	case 0:
		return canonical(name)
	case 1:
		return found[0], nil
	}
	return "", tidewaiter.Errorf(tidewaiter.Conflict, "%d sources are shown so, which differ in their queries; name one with its query", len(found))
}

// change is the work on another set.
type change struct {
	s       *Service
	sources map[string]store.AdvisorySource
	anyAge  bool // the set may be older than the one in force
	result  Result
}

func (c *change) list() []store.AdvisorySource {
	list := make([]store.AdvisorySource, 0, len(c.sources))
	for _, l := range slices.Sorted(maps.Keys(c.sources)) {
		list = append(list, c.sources[l])
	}
	return list
}

// newest is when the newest of all sources was changed.
func (c *change) newest() (t time.Time) {
	for _, src := range c.sources {
		if src.Newest.After(t) {
			t = src.Newest
		}
	}
	return t
}

// keptSets is how many sets are kept, to go back to.
const keptSets = 3

func (s *Service) change(ctx context.Context, to Activator, do func(*change) error) (result Result, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := s.sweep(); err != nil {
		return Result{}, err
	}
	pruned := false
	defer func() {
		if !pruned { // what was read in vain is not kept
			_, ferr := s.pruneFolder(context.WithoutCancel(ctx))
			err = errors.Join(err, ferr)
		}
	}()
	state, err := s.store.AdvisoryState(ctx)
	if err != nil {
		return Result{}, err
	}
	list, err := s.store.AdvisorySources(ctx)
	if err != nil {
		return Result{}, err
	}
	c := &change{s: s, sources: make(map[string]store.AdvisorySource, len(list))}
	for _, src := range list {
		c.sources[src.Location] = src
	}
	if err := do(c); err != nil {
		return Result{}, err
	}
	if state.SetNumber != 0 && slices.EqualFunc(list, c.list(), sameContent) {
		c.result.Unchanged = true
		if c.result.Set, err = s.store.AdvisorySet(ctx, state.SetNumber); err != nil {
			return Result{}, err
		}
		return c.result, c.keepSet(ctx, state)
	}
	if len(c.sources) == 0 && state.SetNumber == 0 {
		return c.result, nil // nothing was asked for, or nothing could be had
	}
	built, err := c.build(ctx)
	if err != nil {
		return Result{}, err
	}
	c.result.Set = store.AdvisorySet{Digest: built.Digest, Size: built.Size, Newest: c.newest(), Advisories: built.Meta.Advisories, Sources: c.list()}
	beneath, err := s.above(ctx, state, &c.result.Set)
	if err != nil {
		return Result{}, err
	}
	if err := c.checkAge(ctx, state); err != nil {
		return Result{}, err
	}
	if built.Digest == state.Digest {
		c.result.Set.Number, c.result.Unchanged = state.SetNumber, true
		return c.result, c.keepSet(ctx, state)
	}
	if c.result.Set.Number, err = s.activate(ctx, to, state.Generation, append(beneath, c.result.Set)...); err != nil {
		return Result{}, err
	}
	pruned = true
	return c.result, s.prune(ctx)
}

// above gives a set a time after all others, whatever the clocks of other servers
// say: what was made last comes first. If what is in force was made earlier than
// others, somebody went back to it: it is returned as the one that comes next.
func (s *Service) above(ctx context.Context, state store.AdvisoryState, set *store.AdvisorySet) (beneath []store.AdvisorySet, err error) {
	sets, err := s.store.AdvisorySets(ctx)
	set.Created = s.now()
	if len(sets) > 0 && !set.Created.After(sets[0].Created) {
		set.Created = sets[0].Created.Add(time.Microsecond)
	}
	for i, known := range sets {
		if i > 0 && known.Number == state.SetNumber {
			known.Created = set.Created
			set.Created = set.Created.Add(time.Microsecond)
			beneath = append(beneath, known)
		}
	}
	return beneath, err
}

// keepSet notes the sources of a set that is in force already.
func (c *change) keepSet(ctx context.Context, state store.AdvisoryState) error {
	return c.s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.LockFindings(ctx); err != nil { // so that no other set comes into force
			return err
		}
		now, err := tx.AdvisoryState(ctx)
		if err != nil {
			return err
		}
		if now.Generation != state.Generation {
			return tidewaiter.Errorf(tidewaiter.Conflict, "another set of advisories has come into force meanwhile; import these again")
		}
		set, err := tx.AdvisorySet(ctx, state.SetNumber)
		if err != nil {
			return err
		}
		set.Sources = c.list()
		if _, err := tx.PutAdvisorySet(ctx, set); err != nil {
			return err
		}
		return tx.ReplaceAdvisorySources(ctx, set.Sources)
	})
}

// activate notes sets, and brings the last of them into force, with its sources,
// whose file is in the folder. It returns its number.
func (s *Service) activate(ctx context.Context, to Activator, from int64, sets ...store.AdvisorySet) (number int64, err error) {
	set := sets[len(sets)-1]
	path := filepath.Join(s.folder, advisory.FileName(set.Digest))
	index, err := advisory.Open(path, set.Digest)
	if err != nil {
		return 0, err
	}
	defer index.Close() //nolint:errcheck // it was read only
	if err := s.shareFile(ctx, set.Digest, path); err != nil {
		return 0, err
	}
	put := func(ctx context.Context, tx *store.DB) (_ int64, err error) {
		for _, x := range sets {
			if number, err = tx.PutAdvisorySet(ctx, x); err != nil {
				return 0, err
			}
		}
		return number, tx.ReplaceAdvisorySources(ctx, set.Sources)
	}
	err = to.Activate(ctx, Activation{Index: index, From: from, Put: put})
	return number, err
}

// checkAge refuses what is older than what is in force.
func (c *change) checkAge(ctx context.Context, state store.AdvisoryState) error {
	if c.anyAge || state.SetNumber == 0 {
		return nil
	}
	set, err := c.s.store.AdvisorySet(ctx, state.SetNumber)
	if err != nil {
		return err
	}
	if c.result.Set.Newest.Before(set.Newest) {
		return tidewaiter.Errorf(tidewaiter.Conflict, "these advisories are older than those in force: the newest is of %s, and in force is one of %s; to go back, use rollback",
			date(c.result.Set.Newest), date(set.Newest))
	}
	return nil
}

// sameContent tells whether two sources have the same content.
func sameContent(a, b store.AdvisorySource) bool {
	return a.Location == b.Location && a.Digest == b.Digest
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// take reads a source, and keeps a file of it.
func (c *change) take(ctx context.Context, location string) error {
	location, err := canonical(location)
	if err != nil {
		return err
	}
	before, known := c.sources[location]
	src := store.AdvisorySource{Location: location, Imported: c.s.now()}
	if isURL(location) {
		etag := ""
		if known {
			if _, err := c.s.sourceFile(ctx, before.Digest); err == nil {
				etag = before.ETag
			}
		}
		got, err := c.s.download(ctx, location, etag)
		if err != nil {
			return err
		}
		if got.unchanged {
			before.Imported = src.Imported
			c.sources[location] = before
			c.result.Sources = append(c.result.Sources, SourceResult{Location: shown(location), Unchanged: true, Read: before.Advisories})
			return nil
		}
		src.Digest, src.ETag = got.digest, got.etag
	} else if src.Digest, err = c.s.keepPath(ctx, location); err != nil {
		return err
	}
	// It is read once by itself, to know what it is before anything is built from it.
	path := c.s.sourcePath(src.Digest)
	report, newest, err := readSource(ctx, path, c.s.now().Add(clockSkew), visitor{
		func(tidewaiter.Advisory) error { return nil }, func(string, tidewaiter.Threat) error { return nil },
	})
	if err != nil {
		return fmt.Errorf("%s: %w", shown(location), err)
	}
	src.Advisories, src.Refused, src.Newest = report.Read, report.Refused, newest
	if report.Read == 0 {
		return tidewaiter.Errorf(tidewaiter.Invalid, "%s: there are no advisories in OSV format in it, and it is neither CISA's catalogue nor EPSS's scores%s", shown(location), firstRefusal(report))
	}
	if known && src.Newest.Before(before.Newest) {
		return tidewaiter.Errorf(tidewaiter.Conflict, "%s: it is older than what was imported from there: its newest advisory is of %s, and was of %s", shown(location), date(src.Newest), date(before.Newest))
	}
	if err := c.s.shareFile(ctx, src.Digest, path); err != nil {
		return err
	}
	c.sources[location] = src
	c.result.Sources = append(c.result.Sources, SourceResult{Location: shown(location), Read: report.Read, Refused: report.Refused, Refusals: report.Refusals})
	return nil
}

func firstRefusal(r osv.Report) string {
	if len(r.Refusals) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d could not be used; the first: %s)", r.Refused, r.Refusals[0].Err)
}

// build compiles the advisories of all sources.
func (c *change) build(ctx context.Context) (built advisory.Built, err error) {
	b := advisory.NewBuilder(c.s.folder)
	defer func() { err = errors.Join(err, b.Close()) }()
	for _, l := range slices.Sorted(maps.Keys(c.sources)) {
		path, err := c.s.sourceFile(ctx, c.sources[l].Digest)
		if err != nil {
			return built, fmt.Errorf("%s: %w", shown(l), err)
		}
		if _, _, err := readSource(ctx, path, time.Time{}, visitor{b.Add, b.AddThreat}); err != nil {
			return built, fmt.Errorf("%s: %w", shown(l), err)
		}
	}
	return b.Finish(ctx)
}

// canonical returns a location as it is kept: a URL, or an absolute path.
func canonical(location string) (string, error) {
	if isURL(location) {
		return location, checkURL(location)
	}
	if location == "" || strings.ContainsAny(location, "\x00\n\r") {
		return "", tidewaiter.InvalidField("source", "it is no path and no URL")
	}
	path, err := filepath.Abs(location)
	if err != nil {
		return "", fmt.Errorf("find %q: %w", location, err)
	}
	return path, nil
}

// sweep removes what an import left behind that was killed.
func (s *Service) sweep() error {
	err := advisory.Sweep(s.folder)
	for _, folder := range []string{s.folder, filepath.Join(s.folder, sourcesFolder)} {
		left, gerr := filepath.Glob(filepath.Join(folder, partPattern))
		err = errors.Join(err, gerr)
		for _, path := range left {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// prune removes the sets that are not kept any more, and the files of these and
// of their sources.
func (s *Service) prune(ctx context.Context) error {
	state, err := s.store.AdvisoryState(ctx)
	if err != nil {
		return err
	}
	sets, err := s.store.AdvisorySets(ctx)
	if err != nil {
		return err
	}
	for i, set := range sets {
		if i >= keptSets && set.Number != state.SetNumber {
			if err := s.store.DeleteAdvisorySet(ctx, set); err != nil {
				return err
			}
		}
	}
	kept, err := s.pruneFolder(ctx)
	if err != nil {
		return err
	}
	files, err := s.store.SharedFiles(ctx)
	if err != nil {
		return err
	}
	for _, digest := range files {
		if !kept[digest] {
			if err := s.store.DeleteFile(ctx, digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// pruneFolder removes files from the folder that belong to no set. It returns
// the digests of those that do.
func (s *Service) pruneFolder(ctx context.Context) (kept map[tidewaiter.Digest]bool, err error) {
	sets, err := s.store.AdvisorySets(ctx)
	if err != nil {
		return nil, err
	}
	sources, err := s.store.AdvisorySources(ctx)
	if err != nil {
		return nil, err
	}
	kept = make(map[tidewaiter.Digest]bool)
	keptFiles, keptSources := map[string]bool{"lock": true, sourcesFolder: true}, make(map[string]bool)
	for _, set := range sets {
		kept[set.Digest], keptFiles[advisory.FileName(set.Digest)] = true, true
		sources = append(sources, set.Sources...)
	}
	for _, src := range sources {
		kept[src.Digest], keptSources[sourceName(src.Digest)] = true, true
	}
	return kept, errors.Join(removeOthers(s.folder, keptFiles), removeOthers(filepath.Join(s.folder, sourcesFolder), keptSources))
}

// removeOthers removes the files of a folder that are not to be kept. One that is
// open stays readable for whoever has it open. What another process may still be
// fetching is left alone.
func removeOthers(folder string, kept map[string]bool) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("look for old advisories: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !kept[e.Name()] && !underWay(e) {
			errs = append(errs, os.Remove(filepath.Join(folder, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// underWay tells a file that somebody may be fetching: [Service.InForce] holds no
// lock meanwhile.
func underWay(e os.DirEntry) bool {
	if fetching, _ := filepath.Match(fetchPattern, e.Name()); !fetching {
		return false
	}
	info, err := e.Info()
	return err != nil || time.Since(info.ModTime()) < fetchedBy
}
