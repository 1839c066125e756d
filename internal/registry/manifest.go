package registry

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// Manifest is a manifest or an index as the registry sent it, its digest checked.
type Manifest struct {
	tidewaiter.Descriptor
	Bytes []byte
}

// manifestTypes is what we ask for, best first.
func manifestTypes() []string {
	return []string{
		tidewaiter.MediaTypeOCIIndex, tidewaiter.MediaTypeOCIManifest,
		tidewaiter.MediaTypeDockerList, tidewaiter.MediaTypeDockerManifest,
		tidewaiter.MediaTypeSchema1Signed, tidewaiter.MediaTypeSchema1,
	}
}

// Manifest gets a manifest by tag or digest. By digest, the bytes have it, or
// the error is Invalid. More than [MaxManifest] bytes are TooLarge.
func (c *Client) Manifest(ctx context.Context, repository, reference string) (Manifest, error) {
	q, err := manifestRequest(repository, reference)
	if err != nil {
		return Manifest{}, err
	}
	body, header, err := c.Read(ctx, q, MaxManifest)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Bytes: body, Descriptor: tidewaiter.Descriptor{
		MediaType: mediaType(header), Size: int64(len(body)), Digest: tidewaiter.DigestOf(body),
	}}
	for _, said := range []string{reference, header.Get("Docker-Content-Digest")} {
		if !strings.Contains(said, ":") {
			continue // a tag, or no header
		}
		d, err := tidewaiter.ParseDigest(said)
		if err != nil {
			return Manifest{}, failure(tidewaiter.Invalid, ReasonDigest, "%s gives a manifest a digest that is none", c.registry)
		}
		h := d.Hash()
		h.Write(body)
		if !d.Matches(h) && !isSchema1(m.MediaType) { // whose digest leaves the signatures out
			return Manifest{}, failure(tidewaiter.Invalid, ReasonDigest, "%s sends another manifest than the one asked for: its digest is wrong", c.registry)
		}
		m.Digest = d
		if said == reference {
			break
		}
	}
	return m, nil
}

// ManifestOf gets the manifest that a descriptor points to: its size and media
// type must be as described, too.
func (c *Client) ManifestOf(ctx context.Context, repository string, d tidewaiter.Descriptor) (Manifest, error) {
	if d.Size < 0 || d.Size > MaxManifest {
		return Manifest{}, failure(tidewaiter.TooLarge, ReasonLimit, "%s has a manifest of more than %d bytes", c.registry, MaxManifest)
	}
	m, err := c.Manifest(ctx, repository, string(d.Digest))
	switch {
	case err != nil:
		return Manifest{}, err
	case m.Size != d.Size:
		return Manifest{}, failure(tidewaiter.Invalid, ReasonDigest, "%s sends a manifest of another size than its index says", c.registry)
	case d.MediaType != "" && m.MediaType != d.MediaType:
		return Manifest{}, failure(tidewaiter.Invalid, ReasonAnswer, "%s sends a manifest of another media type than its index says", c.registry)
	}
	return m, nil
}

// Head returns the digest, media type and size of a manifest without getting
// it, or by getting it where the registry does not tell otherwise. It costs one
// request.
func (c *Client) Head(ctx context.Context, repository, reference string) (tidewaiter.Descriptor, error) {
	q, err := manifestRequest(repository, reference)
	if err != nil {
		return tidewaiter.Descriptor{}, err
	}
	q.Method = http.MethodHead
	_, header, err := c.Read(ctx, q, MaxManifest)
	if err == nil {
		digest, wrong := tidewaiter.ParseDigest(header.Get("Docker-Content-Digest"))
		size, none := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
		if wrong == nil && none == nil {
			return tidewaiter.Descriptor{MediaType: mediaType(header), Digest: digest, Size: size}, nil
		}
	} else if ReasonOf(err) != ReasonUnsupported {
		return tidewaiter.Descriptor{}, err
	}
	m, err := c.Manifest(ctx, repository, reference)
	return m.Descriptor, err
}

// Blob streams a blob. Its size and digest are checked: the reader returns
// io.EOF only if both are right, else an error of kind Invalid or Unavailable.
// A descriptor's URLs are never used.
func (c *Client) Blob(ctx context.Context, repository string, d tidewaiter.Descriptor) (io.ReadCloser, error) {
	if problem := CheckRepository(repository); problem != "" {
		return nil, failure(tidewaiter.Invalid, ReasonAnswer, "a repository cannot be used: %s", problem)
	}
	digest, err := tidewaiter.ParseDigest(string(d.Digest))
	if err != nil || d.Size < 0 {
		return nil, failure(tidewaiter.Invalid, ReasonDigest, "%s has a manifest with a digest or size that is none", c.registry)
	}
	res, err := c.open(ctx, Request{Path: "/v2/" + repository + "/blobs/" + string(digest), Scope: pullScope(repository)})
	if err != nil {
		return nil, err
	}
	if res.ContentLength >= 0 && res.ContentLength != d.Size {
		_ = res.Body.Close()
		return nil, failure(tidewaiter.Invalid, ReasonDigest, "%s has a blob of another size than its manifest says", c.registry)
	}
	return &verified{ReadCloser: res.Body, digest: digest, hash: digest.Hash(), left: d.Size, at: c.registry}, nil
}

// Ping asks /v2/, which proves the credential where the registry wants one.
func (c *Client) Ping(ctx context.Context) error {
	_, _, err := c.Read(ctx, Request{Path: "/v2/"}, MaxAnswer)
	return err
}

func manifestRequest(repository, reference string) (Request, error) {
	if problem := CheckRepository(repository); problem != "" {
		return Request{}, failure(tidewaiter.Invalid, ReasonAnswer, "a repository cannot be used: %s", problem)
	}
	if strings.Contains(reference, ":") {
		if _, err := tidewaiter.ParseDigest(reference); err != nil {
			return Request{}, failure(tidewaiter.Invalid, ReasonDigest, "a manifest cannot be asked for: its digest is none")
		}
	} else if problem := CheckTag(reference); problem != "" {
		return Request{}, failure(tidewaiter.Invalid, ReasonAnswer, "a tag cannot be used: %s", problem)
	}
	return Request{
		Path: "/v2/" + repository + "/manifests/" + reference, Accept: manifestTypes(), Scope: pullScope(repository),
	}, nil
}

func pullScope(repository string) string { return "repository:" + repository + ":pull" }

// mediaType returns the Content-Type less its parameters.
func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

func isSchema1(mediaType string) bool {
	return mediaType == tidewaiter.MediaTypeSchema1 || mediaType == tidewaiter.MediaTypeSchema1Signed
}
