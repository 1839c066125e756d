package snapshots

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Status says which advisories a server has.
type Status struct {
	State   store.AdvisoryState
	Meta    advisory.Meta // of the set in force
	Sets    []store.AdvisorySet
	Sources []store.AdvisorySource
}

// Status returns which advisories there are.
func (s *Service) Status(ctx context.Context) (st Status, err error) {
	if st.State, err = s.store.AdvisoryState(ctx); err != nil {
		return st, err
	}
	if st.Sets, err = s.store.AdvisorySets(ctx); err != nil {
		return st, err
	}
	if st.Sources, err = s.store.AdvisorySources(ctx); err != nil {
		return st, err
	}
	index, _, release, err := s.InForce(ctx)
	if err != nil {
		return st, err
	}
	defer release()
	if index != nil {
		st.Meta = index.Meta()
	}
	return st, nil
}

// Rollback brings an earlier set into force, with its sources: the one with that
// digest, or with "" the one that was in force before the present one first was.
// Errors: NotFound.
func (s *Service) Rollback(ctx context.Context, digest tidewaiter.Digest, to Activator) (set store.AdvisorySet, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return set, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	state, err := s.store.AdvisoryState(ctx)
	if err != nil {
		return set, err
	}
	sets, err := s.store.AdvisorySets(ctx)
	if err != nil {
		return set, err
	}
	i := slices.IndexFunc(sets, func(c store.AdvisorySet) bool {
		return digest == "" && c.Number == state.SetNumber || digest != "" && c.Digest == digest
	})
	if digest == "" && i >= 0 {
		i++ // the newest come first
	}
	if i >= 0 && i < len(sets) {
		set = sets[i]
	}
	switch set.Number {
	case 0:
		return set, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such earlier set of advisories; look at the status for those that there are")
	case state.SetNumber:
		return set, nil
	}
	path := filepath.Join(s.folder, advisory.FileName(set.Digest))
	if _, err := os.Stat(path); err != nil && s.store.Dialect() != "sqlite" {
		if err := s.fetchFile(ctx, set.Digest, path); err != nil {
			return set, err
		}
	}
	_, err = s.activate(ctx, to, state.Generation, set)
	return set, err
}
