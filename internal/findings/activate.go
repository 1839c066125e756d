package findings

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Activate brings a set of advisories into force, and with it all that follows
// for packages and images, in one transaction: nobody sees half of it, and
// after an error the set before is in force. Errors: Conflict if yet another
// set is in force than the one that it is to follow.
func (s *Service) Activate(ctx context.Context, to snapshots.Activation) error {
	if err := s.CatchUpAll(ctx); err != nil {
		return err
	}
	return s.activate(ctx, to)
}

func (s *Service) activate(ctx context.Context, to snapshots.Activation) error {
	start := time.Now()
	before, generation, release, err := s.sets.InForce(ctx)
	if err != nil {
		return err
	}
	defer release()
	state, err := s.store.AdvisoryState(ctx)
	if err != nil {
		return err
	}
	if generation != to.From {
		return errFollows()
	}
	a := &activation{before: before, after: to.Index, all: state.Rules != advisory.Rules}
	if err := a.compare(); err != nil {
		return fmt.Errorf("compare advisories: %w", err)
	}
	// Most of the work is done before anybody has to wait for it.
	if err := a.match(ctx, s.store); err != nil {
		return err
	}
	var changes []store.FindingChange
	var counted store.FindingChanges
	number := to.Number
	err = s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		state, err := tx.AdvisoryState(ctx)
		if err != nil {
			return err
		}
		if state.Generation != generation {
			return errFollows()
		}
		if to.Put != nil {
			if number, err = to.Put(ctx, tx); err != nil {
				return err
			}
		}
		if err := a.match(ctx, tx); err != nil { // those that came meanwhile
			return err
		}
		if err := a.threats(ctx, tx); err != nil {
			return err
		}
		now := s.now()
		if changes, counted, err = tx.ReplaceMatches(ctx, a.list(), number, now); err != nil {
			return err
		}
		if err := tx.PutFindingChange(ctx, store.NewFindingChange{Cause: store.CauseAdvisories, SetNumber: number, Created: now, Changes: changes, Images: counted.Images}); err != nil {
			return err
		}
		return tx.SetAdvisoryState(ctx, generation, store.AdvisoryState{SetNumber: number, Rules: advisory.Rules, Activated: now})
	})
	if err != nil {
		return err
	}
	s.log.InfoContext(ctx, "advisories are in force", "set", number, "packages", len(a.matches), "changes", len(changes),
		"vulnerabilities", counted.Vulnerabilities, "images", len(counted.Images), "took", time.Since(start))
	return nil
}

func errFollows() error {
	return tidewaiter.Errorf(tidewaiter.Conflict, "another set of advisories has come into force meanwhile; import these again")
}

// activation is the work on a set of advisories that is to come into force.
type activation struct {
	before, after *advisory.Index
	all           bool // packages have to be matched anew
	subjects      []store.PackageSubject
	ecosystems    []string
	matches       map[int64]store.PackageMatches
}

// compare finds out about which packages the two sets say something else.
func (a *activation) compare() error {
	if a.all || a.before == nil || a.after == nil {
		a.all = true
		return nil
	}
	for key, err := range advisory.Changed(a.before, a.after) {
		if err != nil {
			return err
		}
		a.subjects = append(a.subjects, store.PackageSubject(key))
	}
	old, known := a.before.Ecosystems(), a.after.Ecosystems()
	for _, both := range []map[string]bool{old, known} {
		for e := range both {
			if old[e] != known[e] {
				a.ecosystems = append(a.ecosystems, e)
			}
		}
	}
	slices.Sort(a.ecosystems)
	a.ecosystems = slices.Compact(a.ecosystems)
	return nil
}

// threats notes which of the vulnerabilities that are known are exploited.
func (a *activation) threats(ctx context.Context, tx *store.DB) error {
	exploited := make(map[string]time.Time)
	if a.after != nil {
		var err error
		if exploited, err = a.after.Exploited(); err != nil {
			return err
		}
	}
	return tx.SetExploited(ctx, exploited)
}

// affected returns the package versions that have to be matched.
func (a *activation) affected(ctx context.Context, db *store.DB) ([]int64, error) {
	if a.all {
		return db.MatchedPackages(ctx)
	}
	ids, err := db.PackagesNamed(ctx, a.subjects)
	if err != nil {
		return nil, err
	}
	more, err := db.PackagesOfEcosystems(ctx, a.ecosystems)
	return append(ids, more...), err
}

// match matches those of the affected packages that were not yet.
func (a *activation) match(ctx context.Context, db *store.DB) error {
	ids, err := a.affected(ctx, db)
	if err != nil {
		return err
	}
	if a.matches == nil {
		a.matches = make(map[int64]store.PackageMatches, len(ids))
	}
	ids = slices.DeleteFunc(ids, func(id int64) bool {
		_, ok := a.matches[id]
		return ok
	})
	versions, err := db.PackageVersions(ctx, ids)
	if err != nil {
		return err
	}
	list, err := match(a.after, slices.Collect(maps.Values(versions)))
	if err != nil {
		return fmt.Errorf("match packages: %w", err)
	}
	for _, m := range list {
		a.matches[m.PackageID] = m
	}
	return nil
}

func (a *activation) list() []store.PackageMatches {
	list := make([]store.PackageMatches, 0, len(a.matches))
	for _, id := range slices.Sorted(maps.Keys(a.matches)) {
		list = append(list, a.matches[id])
	}
	return list
}
