// Package findings says which vulnerabilities images have. A version of a
// package is matched with the advisories once, whatever images hold it; the
// findings of an image are those of its packages. So a new set of advisories
// touches the packages that it says something new about, and then the images
// that hold them, and nothing is pulled again.
package findings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Sets gives the set of advisories in force.
type Sets interface {
	// InForce returns the index of the set in force, nil if there is none, and
	// which generation that is, for as long as the caller has not released it.
	InForce(ctx context.Context) (index *advisory.Index, generation int64, release func(), err error)
}

// Options are what a service needs.
type Options struct {
	Store  *store.DB
	Sets   Sets
	Logger *slog.Logger
	Now    func() time.Time // nil for the clock
}

// Service knows the vulnerabilities of images.
type Service struct {
	store *store.DB
	sets  Sets
	log   *slog.Logger
	now   func() time.Time
}

// New returns a service.
func New(o Options) *Service {
	s := &Service{store: o.Store, sets: o.Sets, log: o.Logger, now: o.Now}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = store.Now
	}
	return s
}

// errMoved says that another set of advisories came into force meanwhile.
var errMoved = errors.New("another set of advisories has come into force meanwhile")

// maxMoves is how often work is begun anew that was overtaken by another set.
const maxMoves = 5

// MatchPackages sees to it that something is known of package versions, by
// their ids, before an image is said to hold them.
func (s *Service) MatchPackages(ctx context.Context, ids []int64) error {
	return s.retry(func() error { return s.matchPackages(ctx, ids) })
}

func (s *Service) retry(f func() error) error {
	err := errMoved
	for i := 0; i < maxMoves && errors.Is(err, errMoved); i++ {
		err = f()
	}
	return err
}

func (s *Service) matchPackages(ctx context.Context, ids []int64) error {
	versions, err := s.store.UnmatchedPackages(ctx, ids)
	if err != nil || len(versions) == 0 {
		return err
	}
	index, generation, release, err := s.sets.InForce(ctx)
	if err != nil {
		return err
	}
	defer release()
	list, err := match(index, versions)
	if err != nil {
		return fmt.Errorf("match packages: %w", err)
	}
	return s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.HoldFindings(ctx); err != nil {
			return err
		}
		state, err := tx.AdvisoryState(ctx)
		if err != nil {
			return err
		}
		if state.Generation != generation {
			return errMoved
		}
		return tx.PutNewMatches(ctx, list, state.SetNumber, s.now())
	})
}

// CatchUpAll matches the packages and counts the images that were there before
// this server knew of advisories.
func (s *Service) CatchUpAll(ctx context.Context) error {
	for {
		packages, images, err := s.CatchUp(ctx)
		if err != nil {
			return err
		}
		if packages+images == 0 {
			return s.renew(ctx)
		}
	}
}

// renew matches all packages anew with the set in force, if that was done by
// other rules than those of this program.
func (s *Service) renew(ctx context.Context) error {
	state, err := s.store.AdvisoryState(ctx)
	if err != nil || state.SetNumber == 0 || state.Rules == advisory.Rules {
		return err
	}
	index, generation, release, err := s.sets.InForce(ctx)
	if err != nil {
		return err
	}
	defer release()
	return s.activate(ctx, snapshots.Activation{Number: state.SetNumber, Index: index, From: generation})
}

// CatchUp is [Service.CatchUpAll] for some of them. It returns how many packages
// and how many images it were, 0 when nothing is left.
func (s *Service) CatchUp(ctx context.Context) (packages, images int, err error) {
	err = s.retry(func() error {
		packages, err = s.catchUpPackages(ctx)
		return err
	})
	if err != nil || packages > 0 {
		return packages, 0, err
	}
	images, err = s.store.CountNextImages(ctx, catchUpImages, s.now())
	return 0, images, err
}

// How much is caught up with in one transaction.
const (
	catchUpPackages = 1_000
	catchUpImages   = 20
)

func (s *Service) catchUpPackages(ctx context.Context) (int, error) {
	versions, err := s.store.NextUnmatched(ctx, catchUpPackages)
	if err != nil || len(versions) == 0 {
		return 0, err
	}
	index, generation, release, err := s.sets.InForce(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	list, err := match(index, versions)
	if err != nil {
		return 0, fmt.Errorf("match packages: %w", err)
	}
	return len(versions), s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		state, err := tx.AdvisoryState(ctx)
		if err != nil {
			return err
		}
		if state.Generation != generation {
			return errMoved
		}
		ids := make([]int64, len(versions))
		for i, v := range versions {
			ids[i] = v.ID
		}
		missing, err := tx.UnmatchedPackages(ctx, ids)
		if err != nil {
			return err
		}
		fresh := slices.DeleteFunc(slices.Clone(list), func(m store.PackageMatches) bool {
			return !slices.ContainsFunc(missing, func(v store.PackageVersion) bool { return v.ID == m.PackageID })
		})
		_, _, err = tx.ReplaceMatches(ctx, fresh, state.SetNumber, s.now())
		return err
	})
}

// Risks returns what is known of images of one platform, by manifest.
func (s *Service) Risks(ctx context.Context, manifests []int64) (map[int64]tidewaiter.Risk, error) {
	return s.store.Risks(ctx, manifests)
}

// Ecosystems returns the ecosystems whose advisories may be about the packages
// that there are, without releases, in order.
func (s *Service) Ecosystems(ctx context.Context) ([]string, error) {
	list, err := s.store.SubjectEcosystems(ctx)
	for i := range list {
		list[i], _, _ = strings.Cut(list[i], ":")
	}
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(e string) bool { return e == "" }), err
}
