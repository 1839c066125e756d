package inventory

import (
	"context"
	"slices"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// errLost is for work that the component does not hold, or that nobody wants
// any more: either way it is to drop it.
func errLost() error {
	return protocol.Errorf(protocol.ErrLeaseLost, tidewaiter.Conflict, "the lease of the work is lost, or nobody wants the work any more; drop it")
}

// held returns the synchronisation that a lease is for.
func held(ctx context.Context, tx *store.DB, l tidewaiter.Lease) (tidewaiter.Work, error) {
	w, err := tx.Holds(ctx, l)
	switch {
	case lostRace(err):
		return w, errLost()
	case err != nil:
		return w, err
	case w.Stop:
		return w, errLost()
	case w.Kind != tidewaiter.SyncWork:
		return w, tidewaiter.Errorf(tidewaiter.Invalid, "the work is no synchronisation")
	}
	return w, nil
}

// Describe returns what a component has to know about the registry of its work
// as it is now, with the secrets sealed. Errors: Conflict if the registry is
// gone by now.
func (s *Service) Describe(ctx context.Context, w tidewaiter.Work) (protocol.Registry, error) {
	var p protocol.Registry
	err := s.store.Tx(ctx, func(tx *store.DB) error {
		r, err := tx.Registry(ctx, w.Subject)
		if lostRace(err) || err == nil && r.ClusterID != w.ClusterID {
			return errLost()
		}
		if err != nil {
			return err
		}
		secrets, err := tx.Secrets(ctx, r.ID)
		if err != nil {
			return err
		}
		p = describe(r, secrets)
		return nil
	})
	return p, err
}

func describe(r tidewaiter.Registry, secrets []tidewaiter.SealedSecret) protocol.Registry {
	p := protocol.Registry{
		ID: r.ID, Type: r.Type, APIVersion: r.APIVersion, Protocol: r.Protocol, Address: r.Address,
		Username: r.Username, Namespace: r.Namespace,
		CA: r.Settings.CA, SkipTLSVerify: r.Settings.SkipTLSVerify, TokenHosts: r.Settings.TokenHosts,
		Include: r.Settings.Include, Exclude: r.Settings.Exclude,
		IncludeTags: r.Settings.IncludeTags, ExcludeTags: r.Settings.ExcludeTags,
		Repositories: r.Settings.Repositories, RequestBudget: r.Settings.RequestBudget,
		SWRAPI: r.Settings.SWRAPI, SWRProjectID: r.Settings.SWRProjectID, SWRInstanceID: r.Settings.SWRInstanceID,
		SWRAccessKey: r.Settings.SWRAccessKey, ArtifactoryWay: r.Settings.ArtifactoryWay,
		Secrets: make(map[string][]byte, len(secrets)),
	}
	for _, k := range secrets {
		p.Secrets[k.Name] = k.Sealed
	}
	return p
}

// Pending returns which repositories a synchronisation has still to list: an
// earlier attempt may have done some. Errors: Conflict (the lease is lost),
// Invalid.
func (s *Service) Pending(ctx context.Context, l tidewaiter.Lease, names []string) ([]string, error) {
	if len(names) > protocol.MaxNames {
		return nil, tidewaiter.InvalidField("repositories", "has more than %d names; ask in several requests", protocol.MaxNames)
	}
	var pending []string
	var known []string
	for _, name := range names {
		if registry.CheckRepository(name) == "" {
			known = append(known, name)
		} else {
			pending = append(pending, name) // it has a problem, which is cheap to report again
		}
	}
	err := s.store.Tx(ctx, func(tx *store.DB) error {
		w, err := held(ctx, tx, l)
		if err != nil {
			return err
		}
		unlisted, err := tx.UnlistedRepositories(ctx, w.Subject, w.ID, known)
		pending = append(pending[:len(names)-len(known)], unlisted...)
		return err
	})
	return pending, err
}

// Unknown returns which manifests the server has yet to hear of. Errors:
// Conflict (the lease is lost), Invalid.
func (s *Service) Unknown(ctx context.Context, l tidewaiter.Lease, digests []tidewaiter.Digest) ([]tidewaiter.Digest, error) {
	if len(digests) > protocol.MaxNames {
		return nil, tidewaiter.InvalidField("digests", "has more than %d entries; ask in several requests", protocol.MaxNames)
	}
	for _, d := range digests {
		if _, err := tidewaiter.ParseDigest(string(d)); err != nil {
			return nil, err
		}
	}
	var unknown []tidewaiter.Digest
	err := s.store.Tx(ctx, func(tx *store.DB) error {
		w, err := held(ctx, tx, l)
		if err != nil {
			return err
		}
		unknown, err = tx.UnknownDigests(ctx, w.Subject, digests)
		return err
	})
	return unknown, err
}

// Report takes in what a component found in one repository. The same report
// sent again changes nothing. Errors: Conflict (the lease is lost), Invalid (a
// report that no honest component sends; nothing of it was kept).
func (s *Service) Report(ctx context.Context, l tidewaiter.Lease, p protocol.RepositoryReport) error {
	r, err := checkReport(p, s.now())
	if err != nil {
		return err
	}
	return s.store.Tx(ctx, func(tx *store.DB) error {
		w, err := held(ctx, tx, l)
		if err != nil {
			return err
		}
		owner, err := tx.Registry(ctx, w.Subject)
		if lostRace(err) {
			return errLost()
		}
		if err != nil {
			return err
		}
		return s.takeIn(ctx, tx, owner, w.ID, r)
	})
}

// takeIn writes a checked report.
func (s *Service) takeIn(ctx context.Context, tx *store.DB, owner tidewaiter.Registry, syncID string, r repositoryReport) error {
	id, err := tx.PutRepository(ctx, tidewaiter.Repository{RegistryID: owner.ID, Name: r.name, Owner: r.owner, Problem: r.problem})
	if err != nil {
		return err
	}
	if err := putManifests(ctx, tx, owner.ID, r.manifests); err != nil {
		return err
	}
	digests := make([]tidewaiter.Digest, len(r.tags))
	for i, t := range r.tags {
		digests[i] = t.Digest
	}
	known, err := tx.ManifestsByDigest(ctx, owner.ID, digests)
	if err != nil {
		return err
	}
	var images []store.ImageTag
	var others []store.SkippedTag
	for _, t := range r.tags {
		m, ok := known[t.Digest]
		switch {
		case !ok:
			return tidewaiter.InvalidField("tags", "has one whose manifest was not reported; report the manifest with the tag or before it")
		case registry.ArtifactKind(m.Kind).IsImage():
			updated := t.Pushed
			if updated.IsZero() {
				updated = m.Created
			}
			images = append(images, store.ImageTag{Name: t.Name, ManifestID: m.ID, Updated: updated})
		default:
			others = append(others, store.SkippedTag{Name: t.Name, ManifestID: m.ID})
		}
	}
	now := s.now()
	if err := tx.PutImages(ctx, id, syncID, images, now); err != nil {
		return err
	}
	if err := tx.PutSkippedTags(ctx, id, syncID, others); err != nil {
		return err
	}
	if !r.complete {
		return nil
	}
	return tx.CompleteRepository(ctx, id, syncID, r.problem, r.skipped, now)
}

// putManifests writes manifests that are new. The images of an index come
// before it, and are no indexes themselves, so that nothing goes in circles;
// its size is theirs.
func putManifests(ctx context.Context, tx *store.DB, registryID string, list []tidewaiter.Manifest) error {
	var children []tidewaiter.Digest
	for _, m := range list {
		children = append(children, m.Children...)
	}
	slices.Sort(children)
	known, err := tx.ManifestsByDigest(ctx, registryID, slices.Compact(children))
	if err != nil {
		return err
	}
	if known == nil {
		known = make(map[tidewaiter.Digest]tidewaiter.Manifest)
	}
	for i, m := range list {
		list[i].RegistryID = registryID
		if len(m.Children) > 0 {
			list[i].Size = 0
		}
		for _, c := range m.Children {
			child, ok := known[c]
			if kind := registry.ArtifactKind(child.Kind); !ok || !kind.IsImage() || kind == registry.KindIndex {
				return tidewaiter.InvalidField("children", "of an index name what was not reported as an image; report the images before the index, and only images")
			}
			list[i].Size = min(list[i].Size+child.Size, maxSize)
		}
		if _, before := known[m.Digest]; !before {
			known[m.Digest] = list[i]
		}
	}
	return tx.PutManifests(ctx, registryID, list)
}
