package worker

import (
	"context"
	"slices"
	"sync"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// What is counted that cannot be listed.
const (
	skippedTag        = "unusable tag"
	skippedManifest   = "unreadable manifest"
	skippedRepository = "unusable repository"
	missingRepository = "missing repository"
	closedRepository  = "unreadable repository"
	closedTag         = "unreadable tag"
)

// repository reports one repository. A repository that has vanished is not
// reported: then the server marks it gone when the synchronisation is done.
func (s *synchronisation) repository(ctx context.Context, r registry.Repository) error {
	rep := &report{sync: s, repository: r}
	if r.Problem != "" {
		rep.skip(skippedRepository, r.Problem, r.Name)
		return rep.complete(ctx, r.Problem)
	}
	batch := make([]registry.Tag, 0, protocol.MaxReport)
	for t, err := range s.connector.Tags(ctx, r) {
		switch {
		case err != nil && tidewaiter.KindOf(err) == tidewaiter.NotFound:
			if slices.Contains(s.config.Repositories, r.Name) {
				// Empty, so that its images are gone; and not without a word.
				rep.skip(missingRepository, "it is not in the registry; check its name in the registry's settings", r.Name)
				return rep.complete(ctx, "")
			}
			s.progress.repositoriesDone.Add(1)
			return nil
		case err != nil:
			closed, trouble := s.trouble(ctx, r.Name, err)
			if trouble != nil {
				return trouble
			}
			why := s.explain(err)
			if !closed {
				return rep.problem(ctx, why)
			}
			rep.skip(closedRepository, why, r.Name)
			return rep.complete(ctx, why)
		case t.Problem != "":
			rep.skip(skippedTag, t.Problem, t.Name)
			continue
		}
		if batch = append(batch, t); len(batch) == protocol.MaxReport {
			if err := s.tags(ctx, rep, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if err := s.tags(ctx, rep, batch); err != nil {
		return err
	}
	if rep.partial {
		return rep.flush(ctx) // without its end: the synchronisation fails, and comes back to it
	}
	return rep.complete(ctx, rep.closed)
}

// tags reports a batch of tags, with the manifests that are new to the server.
func (s *synchronisation) tags(ctx context.Context, rep *report, batch []registry.Tag) error {
	if len(batch) == 0 {
		return nil
	}
	if err := s.resolve(ctx, rep, batch); err != nil {
		return err
	}
	digests := make([]tidewaiter.Digest, 0, len(batch))
	examples := make(map[tidewaiter.Digest]string, len(batch)) // a tag of each
	for _, t := range batch {
		if _, seen := examples[t.Digest]; t.Digest != "" && !seen {
			digests, examples[t.Digest] = append(digests, t.Digest), t.Name
		}
	}
	if len(digests) == 0 {
		return nil
	}
	var answer protocol.UnknownResponse
	if err := s.call(ctx, protocol.PathUnknown, protocol.UnknownRequest{Attempt: s.work.Attempt, Digests: digests}, &answer); err != nil {
		return err
	}
	unknown := slices.DeleteFunc(answer.Digests, func(d tidewaiter.Digest) bool { return examples[d] == "" })
	verdicts, err := s.inspect(ctx, rep, unknown, examples)
	if err != nil {
		return err
	}
	for _, t := range batch {
		if t.Digest == "" {
			continue
		}
		switch v := verdicts[t.Digest]; {
		case v.gone:
		case v.reason != "":
			rep.skip(skippedManifest, v.reason, t.Name)
		default:
			if v.artifact {
				s.progress.skipped.Add(1)
			} else {
				s.progress.images.Add(1)
			}
			if err := rep.tag(ctx, protocol.Tag{Name: t.Name, Digest: t.Digest, Pushed: t.Pushed}); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve finds the digests that the listing did not tell, one request each.
// A tag that has vanished meanwhile, or cannot be read, is left without one.
func (s *synchronisation) resolve(ctx context.Context, rep *report, batch []registry.Tag) error {
	var open []int
	for i, t := range batch {
		if t.Digest == "" {
			open = append(open, i)
		}
	}
	return s.each(ctx, len(open), func(ctx context.Context, n int) error {
		t := &batch[open[n]]
		found, err := s.client.Head(ctx, rep.repository.Name, t.Name)
		if err == nil {
			t.Digest = found.Digest
			return nil
		}
		return rep.unusable(ctx, t.Name, err)
	})
}

// verdict is what is known of a digest that the server did not know. The zero
// value is an image.
type verdict struct {
	gone     bool   // no longer there, or noted as unread
	artifact bool   // no image
	reason   string // why it could not be read
}

// inspect looks into manifests and reports them. The verdicts are about those
// only that it was given.
func (s *synchronisation) inspect(ctx context.Context, rep *report, digests []tidewaiter.Digest, examples map[tidewaiter.Digest]string) (map[tidewaiter.Digest]verdict, error) {
	var mu sync.Mutex
	verdicts := make(map[tidewaiter.Digest]verdict, len(digests))
	err := s.each(ctx, len(digests), func(ctx context.Context, i int) error {
		v, err := s.look(ctx, rep, digests[i], examples[digests[i]])
		mu.Lock()
		defer mu.Unlock()
		verdicts[digests[i]] = v
		return err
	})
	return verdicts, err
}

// look looks into one manifest and reports it.
func (s *synchronisation) look(ctx context.Context, rep *report, d tidewaiter.Digest, example string) (verdict, error) {
	name := rep.repository.Name
	a, err := s.client.Inspect(ctx, name, string(d))
	if err == nil {
		return verdict{artifact: !a.Kind.IsImage()}, rep.manifests(ctx, manifests(a))
	}
	if ctx.Err() != nil {
		return verdict{}, context.Cause(ctx)
	}
	switch tidewaiter.KindOf(err) {
	case tidewaiter.NotFound:
		// The manifest, because the tag has moved on, or what the manifest names?
		if _, err := s.client.Head(ctx, name, string(d)); err != nil {
			if tidewaiter.KindOf(err) == tidewaiter.NotFound {
				return verdict{gone: true}, nil
			}
			return verdict{gone: true}, rep.unusable(ctx, example, err)
		}
		return verdict{reason: "its config is not in the registry; push the image again"}, nil
	case tidewaiter.Invalid, tidewaiter.TooLarge:
		return verdict{reason: s.explain(err)}, nil
	}
	return verdict{gone: true}, rep.unusable(ctx, example, err)
}
