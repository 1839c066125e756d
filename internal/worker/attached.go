package worker

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// attached reports which documents are attached to images. What goes wrong with
// that is told, and is no reason for a scan to fail: an error is the server's.
func (s *scanner) attached(ctx context.Context, a registry.Artifact) error {
	digests := []tidewaiter.Digest{a.Digest}
	for _, c := range a.Images {
		if c.Digest != a.Digest {
			digests = append(digests, c.Digest)
		}
	}
	for _, digest := range digests {
		report := protocol.AttachedReport{Attempt: s.work.Attempt, Digest: digest}
		list, err := s.client.Attached(ctx, s.repository, digest, registry.AttachedLimits{
			Documents: protocol.MaxAttached, Bytes: protocol.MaxAttachedBytes, Total: protocol.MaxAttachedTotal,
		})
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s.log.Warn("it cannot be found out what is attached to an image", "digest", digest, "error", err)
			report.Problem = short(s.explain(err), protocol.MaxMessage)
		}
		for _, d := range list {
			report.Documents = append(report.Documents, protocol.AttachedDocument{
				Digest: d.Digest, MediaType: short(d.MediaType, maxMediaType), Content: d.Bytes, Problem: short(d.Problem, protocol.MaxMessage),
			})
		}
		err = s.call(ctx, protocol.PathAttached, report, nil)
		if isRefusal(err) {
			s.log.Warn("the server does not take what is attached to an image", "digest", digest, "error", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxMediaType is how much of a media type is reported.
const maxMediaType = 128
