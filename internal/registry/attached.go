package registry

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// AttachedLimits bound what is read of what is attached to an image.
type AttachedLimits struct {
	Documents int
	Bytes     int64 // of one document
	Total     int64 // bytes of all documents
}

// Attached reads the JSON documents attached to a manifest that may say
// something about vulnerabilities, as they are or in attestations: what refers
// to the manifest by OCI's referrers
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers),
// by the tag that takes their place where a registry has none, and by the tag
// under which cosign puts attestations. An error of one document stays with it;
// an error is returned if it cannot be known what is attached.
func (c *Client) Attached(ctx context.Context, repository string, subject tidewaiter.Digest, l AttachedLimits) ([]tidewaiter.AttachedContent, error) {
	found, err := c.Referrers(ctx, repository, subject)
	if err != nil {
		return nil, err
	}
	r := attachedReader{client: c, repository: repository, limits: l, seen: make(map[tidewaiter.Digest]bool)}
	asked := make(map[tidewaiter.Digest]bool)
	for _, d := range found {
		if !mayHold(d) || asked[d.Digest] {
			continue
		}
		// What is attached may grow without end; each costs a request.
		if r.full || len(asked) == 2*l.Documents {
			r.tooMany(d)
			break
		}
		asked[d.Digest] = true
		m, err := c.ManifestOf(ctx, repository, tidewaiter.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
		if err := r.manifest(ctx, d, m, err, subject); err != nil {
			return nil, err
		}
	}
	m, err := c.Manifest(ctx, repository, referrersTag(subject)+".att")
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return r.list, nil
	}
	if err != nil {
		return nil, err
	}
	return r.list, r.manifest(ctx, m.Descriptor, m, nil, "")
}

// Referrers lists the manifests that refer to one. Errors: see [Connector].
func (c *Client) Referrers(ctx context.Context, repository string, subject tidewaiter.Digest) ([]tidewaiter.Descriptor, error) {
	q, err := manifestRequest(repository, string(subject))
	if err != nil {
		return nil, err
	}
	q.Path, q.Accept = "/v2/"+repository+"/referrers/"+string(subject), []string{tidewaiter.MediaTypeOCIIndex}
	var list []tidewaiter.Descriptor
	var pager Pager
	for {
		body, header, err := c.Read(ctx, q, MaxManifest)
		switch {
		case err != nil && pager.pages == 0 && hasNoReferrers(err):
			return c.taggedReferrers(ctx, repository, subject)
		case err != nil:
			return nil, err
		}
		d, err := Classify(tidewaiter.MediaTypeOCIIndex, body)
		if err != nil {
			return nil, err
		}
		if list = append(list, d.Manifests...); len(list) > MaxDescriptors {
			return nil, failure(tidewaiter.TooLarge, ReasonLimit, "%s lists more than %d referrers of an image", c.registry, MaxDescriptors)
		}
		if err := pager.Page(q.Query, body); err != nil {
			return nil, err
		}
		next, more := NextQuery(header)
		if !more {
			return list, nil
		}
		q.Query = next
	}
}

// hasNoReferrers tells the answers of registries that do not know the path.
func hasNoReferrers(err error) bool {
	switch ReasonOf(err) {
	case ReasonNotFound, ReasonUnsupported, ReasonStatus:
		return true
	}
	return false
}

// taggedReferrers reads the index under the tag that takes the place of the
// list.
func (c *Client) taggedReferrers(ctx context.Context, repository string, subject tidewaiter.Digest) ([]tidewaiter.Descriptor, error) {
	m, err := c.Manifest(ctx, repository, referrersTag(subject))
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := Classify(m.MediaType, m.Bytes)
	return d.Manifests, err
}

// referrersTag is the specification's: algorithm and digits, with a hyphen.
func referrersTag(d tidewaiter.Digest) string {
	const most = 64 // digits
	algorithm, digits, _ := strings.Cut(string(d), ":")
	return algorithm + "-" + digits[:min(len(digits), most)]
}

// mayHold tells whether a referrer may be, or hold, a document about
// vulnerabilities, as far as its descriptor says.
func mayHold(d tidewaiter.Descriptor) bool {
	if !isManifestType(d.MediaType) {
		return false
	}
	switch d.ArtifactType {
	case "", tidewaiter.MediaTypeOCIConfig, "application/vnd.oci.empty.v1+json":
		return true // which says nothing
	}
	return isDocumentType(d.ArtifactType) && hasRightPredicate(d)
}

// isDocumentType tells media types of OpenVEX, CycloneDX, and of what may be
// around them.
func isDocumentType(t string) bool {
	t = strings.ToLower(t)
	return t == "application/json" || slices.ContainsFunc([]string{"openvex", "cyclonedx", "in-toto", "dsse.envelope", "sigstore.bundle"}, func(part string) bool {
		return strings.Contains(t, part)
	})
}

// hasRightPredicate tells whether an attestation is of a type that may be of
// interest: signing tools write it beside the descriptor.
func hasRightPredicate(d tidewaiter.Descriptor) bool {
	for _, key := range []string{"predicateType", "in-toto.io/predicate-type", "dev.sigstore.bundle.predicateType"} {
		if t := strings.ToLower(d.Annotations[key]); t != "" {
			return strings.Contains(t, "openvex") || strings.Contains(t, "cyclonedx")
		}
	}
	return true
}

// attachedReader reads documents until it has enough.
type attachedReader struct {
	client     *Client
	repository string
	limits     AttachedLimits
	list       []tidewaiter.AttachedContent
	seen       map[tidewaiter.Digest]bool
	total      int64
	full       bool
}

// manifest reads the documents of a manifest, which came with an error. An
// error is one that all would have.
func (r *attachedReader) manifest(ctx context.Context, at tidewaiter.Descriptor, m Manifest, err error, subject tidewaiter.Digest) error {
	var d Document
	if err == nil {
		d, err = Classify(m.MediaType, m.Bytes)
	}
	switch {
	case err != nil && concernsAll(ctx, err):
		return err
	case err != nil:
		r.add(tidewaiter.AttachedContent{Digest: at.Digest, MediaType: at.MediaType, Problem: "its manifest cannot be read: " + err.Error()})
		return nil
	case subject != "" && d.Subject != subject:
		r.add(tidewaiter.AttachedContent{Digest: at.Digest, MediaType: at.MediaType, Problem: "the registry lists it, and its manifest says that it is attached to another image"})
		return nil
	}
	for _, l := range d.Layers {
		if !isDocumentType(l.MediaType) || !hasRightPredicate(l) || r.seen[l.Digest] || r.full {
			continue
		}
		content := tidewaiter.AttachedContent{Digest: l.Digest, MediaType: l.MediaType}
		switch {
		case len(r.list) >= r.limits.Documents-1:
			r.tooMany(l)
			continue
		case l.Size > r.limits.Bytes:
			content.Problem = fmt.Sprintf("it is not read: it has %d bytes, more than %d", l.Size, r.limits.Bytes)
		case l.Size > r.limits.Total-r.total:
			content.Problem = fmt.Sprintf("it is not read: all documents of the image together have more than %d bytes", r.limits.Total)
		default:
			if content.Bytes, err = r.blob(ctx, l); err != nil && concernsAll(ctx, err) {
				return err
			} else if err != nil {
				content.Problem = "it cannot be read: " + err.Error()
			}
			r.total += int64(len(content.Bytes))
		}
		r.add(content)
	}
	return nil
}

// tooMany says once that a document and those after it are not read.
func (r *attachedReader) tooMany(d tidewaiter.Descriptor) {
	if !r.full {
		r.add(tidewaiter.AttachedContent{Digest: d.Digest, MediaType: d.MediaType, Problem: "neither it nor what comes after it is read: too many documents are attached"})
	}
	r.full = true
}

// add adds a document, each once.
func (r *attachedReader) add(c tidewaiter.AttachedContent) {
	if len(r.list) < r.limits.Documents && !r.seen[c.Digest] {
		r.list, r.seen[c.Digest] = append(r.list, c), true
	}
}

func (r *attachedReader) blob(ctx context.Context, d tidewaiter.Descriptor) ([]byte, error) {
	body, err := r.client.Blob(ctx, r.repository, d)
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // read
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err // what came is not what was asked for
	}
	return text, nil
}
