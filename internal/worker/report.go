package worker

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

const (
	reportBytes = 2 << 20 // roughly, of one report
	maxReasons  = 50      // different ones of one repository
)

// report is what is to be said about a repository, sent piece by piece. Its
// methods may be called by several goroutines.
type report struct {
	sync       *synchronisation
	repository registry.Repository

	mu      sync.Mutex
	next    protocol.RepositoryReport // what is not sent yet
	bytes   int
	skipped []protocol.Skipped
	partial bool   // something in it may be readable later
	closed  string // why something in it cannot be read, or ""
}

// manifests adds manifests; of an index the children come before it.
func (r *report) manifests(ctx context.Context, list []protocol.Manifest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range list {
		if len(r.next.Manifests) >= protocol.MaxReport || r.bytes >= reportBytes {
			if err := r.send(ctx); err != nil {
				return err
			}
		}
		r.next.Manifests = append(r.next.Manifests, m)
		r.bytes += 500 + len(m.Reason) + 80*len(m.Children)
	}
	return nil
}

// tag adds a tag, whose manifest was added before or is known to the server.
func (r *report) tag(ctx context.Context, t protocol.Tag) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.next.Tags) >= protocol.MaxReport {
		if err := r.send(ctx); err != nil {
			return err
		}
	}
	r.next.Tags = append(r.next.Tags, t)
	return nil
}

// skip counts a tag that cannot be listed.
func (r *report) skip(kind, reason, tag string) {
	r.sync.progress.skipped.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.skipped) >= maxReasons {
		reason = "other reasons"
	}
	reason = short(reason, protocol.MaxMessage)
	for i := range r.skipped {
		if s := &r.skipped[i]; s.Kind == kind && s.Reason == reason {
			s.Count++
			return
		}
	}
	r.skipped = append(r.skipped, protocol.Skipped{Kind: kind, Reason: reason, Count: 1, Example: short(tag, 128)})
}

// unusable takes an error about one tag: vanished, broken for good, or there
// and not readable now. It returns the error of the registry as a whole.
func (r *report) unusable(ctx context.Context, tag string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch tidewaiter.KindOf(err) {
	case tidewaiter.NotFound:
		return nil
	case tidewaiter.Invalid, tidewaiter.TooLarge:
		r.skip(skippedManifest, r.sync.explain(err), tag)
		return nil
	}
	closed, trouble := r.sync.trouble(ctx, r.repository.Name+":"+tag, err)
	if trouble != nil {
		return trouble
	}
	why := r.sync.explain(err)
	if closed {
		r.skip(closedTag, why, tag)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if closed {
		r.closed = "some tags cannot be read: " + why
	} else {
		r.partial = true
	}
	return nil
}

// complete sends the last piece.
func (r *report) complete(ctx context.Context, problem string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next.Complete, r.next.Problem, r.next.Skipped = true, short(problem, protocol.MaxMessage), r.skipped
	if err := r.send(ctx); err != nil {
		return err
	}
	r.sync.progress.repositoriesDone.Add(1)
	return nil
}

// problem sends what there is, and why that is not all.
func (r *report) problem(ctx context.Context, why string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next.Problem = short(why, protocol.MaxMessage)
	return r.send(ctx)
}

// flush sends what there is, if anything.
func (r *report) flush(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.next.Manifests)+len(r.next.Tags) == 0 {
		return nil
	}
	return r.send(ctx)
}

// send sends what there is and begins anew. The lock is held.
func (r *report) send(ctx context.Context) error {
	r.next.Attempt, r.next.Name, r.next.Owner = r.sync.work.Attempt, r.repository.Name, short(r.repository.Owner, 255)
	if err := r.sync.call(ctx, protocol.PathRepository, r.next, nil); err != nil {
		return err
	}
	r.next, r.bytes = protocol.RepositoryReport{}, 0
	return nil
}

// manifests returns what there is to say of an artifact: of an image itself, of
// an index its images and then itself, of all else what it is.
func manifests(a registry.Artifact) []protocol.Manifest {
	top := protocol.Manifest{
		Digest: a.Digest, MediaType: short(a.MediaType, 255), Kind: string(a.Kind), Reason: short(a.Reason, protocol.MaxMessage),
	}
	if !a.Kind.IsImage() {
		return []protocol.Manifest{top}
	}
	if a.Kind != registry.KindIndex {
		return []protocol.Manifest{ofImage(a.Images[0])}
	}
	list := make([]protocol.Manifest, 0, len(a.Images)+1)
	var unread []registry.Child
	for _, c := range a.Images {
		if c.Err != nil {
			unread = append(unread, c)
			continue
		}
		m := ofImage(c)
		list = append(list, m)
		top.Children = append(top.Children, m.Digest)
		top.Size += min(m.Size, math.MaxInt64-top.Size)
		if m.Created.After(top.Created) {
			top.Created = m.Created
		}
	}
	if len(unread) > 0 {
		top.Reason = short(missing(unread, len(a.Images)), protocol.MaxMessage)
	}
	return append(list, top)
}

func ofImage(c registry.Child) protocol.Manifest {
	return protocol.Manifest{
		Digest: c.Digest, MediaType: short(c.MediaType, 255), Kind: string(c.Kind), Reason: short(c.Reason, protocol.MaxMessage),
		ConfigDigest: c.ID, Size: c.Size, Created: c.Created.Truncate(time.Second),
		OS: short(c.Platform.OS, 64), Architecture: short(c.Platform.Architecture, 64),
		Variant: short(c.Platform.Variant, 64), OSVersion: short(c.Platform.OSVersion, 64),
	}
}
