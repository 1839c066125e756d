package findings

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// State returns which set of advisories is in force.
func (s *Service) State(ctx context.Context) (store.AdvisoryState, error) {
	return s.store.AdvisoryState(ctx)
}

// OfImage returns a page of the vulnerabilities of some images of one platform:
// see [store.DB.ImageFindings].
func (s *Service) OfImage(ctx context.Context, manifests []int64, f store.FindingFilter, p store.Page) ([]store.ImageFinding, int, error) {
	return s.store.ImageFindings(ctx, manifests, f, p)
}

// Vulnerabilities returns a page of the vulnerabilities of an extent: see
// [store.DB.Vulnerabilities]. Reports are by their ids.
func (s *Service) Vulnerabilities(ctx context.Context, e tidewaiter.Extent, f store.VulnerabilityFilter, p store.Page) (list []store.ListedVulnerability, reports map[int64]store.PackageFinding, total int, err error) {
	list, total, err = s.store.Vulnerabilities(ctx, e, f, p)
	if err != nil {
		return nil, nil, 0, err
	}
	ids := make([]int64, len(list))
	for i, v := range list {
		ids[i] = v.ID
	}
	reports, err = s.store.Reports(ctx, ids)
	return list, reports, total, err
}

// Affected returns a page of the repositories that have images with a
// vulnerability: see [store.DB.Affected].
func (s *Service) Affected(ctx context.Context, e tidewaiter.Extent, vulnerability string, f store.AffectedFilter, p store.Page) ([]store.AffectedRepository, int, error) {
	return s.store.Affected(ctx, e, vulnerability, f, p)
}

// Advisories returns what the set in force says in those of the advisories that
// it has, by id.
func (s *Service) Advisories(ctx context.Context, ids []string) (map[string]tidewaiter.Advisory, error) {
	found := make(map[string]tidewaiter.Advisory, len(ids))
	index, _, release, err := s.sets.InForce(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if index == nil {
		return found, nil
	}
	for _, id := range ids {
		if _, ok := found[id]; ok || id == "" {
			continue
		}
		a, err := index.Advisory(id)
		if tidewaiter.KindOf(err) == tidewaiter.NotFound && err != nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[id] = a
	}
	return found, nil
}

// Threats returns what is known of the use of vulnerabilities, of those of which
// anything is.
func (s *Service) Threats(ctx context.Context, names []string) (map[string]tidewaiter.Threat, error) {
	found := make(map[string]tidewaiter.Threat, len(names))
	index, _, release, err := s.sets.InForce(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if index == nil {
		return found, nil
	}
	for _, name := range names {
		t, known, err := index.Threat(name)
		if err != nil {
			return nil, err
		}
		if known {
			found[name] = t
		}
	}
	return found, nil
}

// History returns a page of what people did about vulnerabilities: see
// [store.DB.Handled].
func (s *Service) History(ctx context.Context, e tidewaiter.Extent, f store.HandledFilter, p store.Page) ([]store.HandledEntry, int, error) {
	return s.store.Handled(ctx, e, f, p)
}
