package scan

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Attached takes in which documents are attached to an image, or to the index
// that is scanned, if what they say is to count. Errors: Conflict (the lease is
// lost), Invalid, TooLarge.
func (s *Service) Attached(ctx context.Context, l tidewaiter.Lease, r protocol.AttachedReport) error {
	contents, err := checkAttached(r)
	if err != nil {
		return err
	}
	h, err := hold(ctx, s.store, l)
	if err != nil {
		return err
	}
	m, err := s.attachedTo(ctx, h, r.Digest)
	if err != nil {
		return err
	}
	if s.findings == nil || !h.registry.Settings.TrustAttachedVEX {
		return nil // nobody asked, or nobody asks any more
	}
	if r.Problem != "" {
		s.log.WarnContext(ctx, "it is not known what is attached to an image", "registry", h.registry.Name, "image", r.Digest, "problem", stored(r.Problem))
		return nil
	}
	return s.findings.AttachVEX(ctx, h.registry, m, contents, func(tx *store.DB) error {
		if err := tx.KeepRegistries(ctx, []string{h.registry.ID}); err != nil {
			return err
		}
		if err := tx.LockScan(ctx, h.manifest.ID); err != nil {
			return err
		}
		now, err := hold(ctx, tx, l)
		if err == nil && !now.registry.Settings.TrustAttachedVEX {
			return errLost()
		}
		return err
	})
}

// attachedTo returns the image that a report is about, or the index.
func (s *Service) attachedTo(ctx context.Context, h held, digest tidewaiter.Digest) (tidewaiter.Manifest, error) {
	if digest == h.manifest.Digest {
		return h.manifest, nil
	}
	id, err := s.imageOf(ctx, h, digest)
	return tidewaiter.Manifest{ID: id, RegistryID: h.registry.ID, Digest: digest}, err
}

// checkAttached checks what a component reports.
func checkAttached(r protocol.AttachedReport) ([]tidewaiter.AttachedContent, error) {
	if len(r.Documents) > protocol.MaxAttached {
		return nil, tidewaiter.InvalidField("documents", "has more than %d entries", protocol.MaxAttached)
	}
	if len(r.Problem) > maxProblem {
		return nil, tidewaiter.InvalidField("problem", "has more than %d characters", protocol.MaxMessage)
	}
	var total int
	seen := make(map[tidewaiter.Digest]bool)
	contents := make([]tidewaiter.AttachedContent, 0, len(r.Documents))
	for _, d := range r.Documents {
		if _, err := tidewaiter.ParseDigest(string(d.Digest)); err != nil {
			return nil, err
		}
		switch total += len(d.Content); {
		case seen[d.Digest]:
			return nil, tidewaiter.InvalidField("documents", "has a digest twice")
		case len(d.Content) > protocol.MaxAttachedBytes, total > protocol.MaxAttachedTotal:
			return nil, tidewaiter.Errorf(tidewaiter.TooLarge, "a document has more than %d bytes, or all together more than %d", protocol.MaxAttachedBytes, protocol.MaxAttachedTotal)
		case len(d.MediaType) > maxName, len(d.Problem) > maxProblem:
			return nil, tidewaiter.InvalidField("documents", "has a text that is too long")
		case d.Problem == "" && !matches(d):
			return nil, tidewaiter.InvalidField("documents", "has content of another digest")
		}
		seen[d.Digest] = true
		contents = append(contents, tidewaiter.AttachedContent{Digest: d.Digest, MediaType: stored(d.MediaType), Bytes: d.Content, Problem: stored(d.Problem)})
	}
	return contents, nil
}

// Bounds of texts, in bytes.
const (
	maxName    = 512
	maxProblem = 4 * protocol.MaxMessage
)

func matches(d protocol.AttachedDocument) bool {
	h := d.Digest.Hash()
	h.Write(d.Content)
	return d.Digest.Matches(h)
}
