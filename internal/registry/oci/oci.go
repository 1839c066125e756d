// Package oci lists a registry by the distribution specification alone
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md):
// /v2/_catalog, an extension that docker's registry brought and that many but
// not all have, and /v2/NAME/tags/list.
package oci

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// Connector lists any registry.
type Connector struct {
	client *registry.Client
}

var _ registry.Connector = (*Connector)(nil)

// New returns a connector.
func New(client *registry.Client) *Connector { return &Connector{client: client} }

// Ping asks /v2/.
func (c *Connector) Ping(ctx context.Context) error { return c.client.Ping(ctx) }

// Repositories lists those that the configuration names, or else the catalog.
// A registry without one gives an error of kind NotFound or Forbidden that
// says what to do.
func (c *Connector) Repositories(ctx context.Context) iter.Seq2[registry.Repository, error] {
	if len(c.client.Config().Repositories) > 0 {
		return c.client.Config().Given
	}
	return Catalog(ctx, c.client, registry.Request{Path: "/v2/_catalog", Scope: "registry:catalog:*"}, "")
}

// Tags lists the tags. Digests are not told: see [registry.Client.Head].
func (c *Connector) Tags(ctx context.Context, r registry.Repository) iter.Seq2[registry.Tag, error] {
	return Tags(ctx, c.client, r)
}

// Catalog lists the catalog that a request asks for. Each name gets the prefix.
func Catalog(ctx context.Context, client *registry.Client, q registry.Request, prefix string) iter.Seq2[registry.Repository, error] {
	return func(yield func(registry.Repository, error) bool) {
		lister := registry.NewLister(client.Config())
		err := pages(ctx, client, q, func(body []byte) (got page, err error) {
			var answer struct {
				Repositories []string `json:"repositories"`
			}
			if err := registry.Decode(body, &answer); err != nil {
				return got, err
			}
			return each(answer.Repositories, func(name string) (bool, bool, error) {
				r, ok, err := lister.Repository(prefix + name)
				return ok, err != nil || !ok || yield(r, nil), err
			})
		})
		if err != nil {
			yield(registry.Repository{}, explain(err))
		}
	}
}

// explain says what to do where there is no catalog.
func explain(err error) error {
	switch registry.ReasonOf(err) {
	case registry.ReasonNotFound, registry.ReasonUnsupported:
		return tidewaiter.Wrap(tidewaiter.KindOf(err), err, "the registry has no list of its repositories (_catalog); give the repositories in the registry's settings")
	case registry.ReasonForbidden, registry.ReasonCredential:
		return tidewaiter.Wrap(tidewaiter.KindOf(err), err, "the user may not list the registry's repositories (_catalog); allow it, or give the repositories in the registry's settings")
	}
	return err
}

// Tags lists the tags of a repository by /v2/NAME/tags/list.
func Tags(ctx context.Context, client *registry.Client, r registry.Repository) iter.Seq2[registry.Tag, error] {
	return func(yield func(registry.Tag, error) bool) {
		if problem := registry.CheckRepository(r.Name); problem != "" {
			yield(registry.Tag{}, registry.Errorf(tidewaiter.Invalid, registry.ReasonAnswer, "a repository cannot be used: %s", problem))
			return
		}
		lister := registry.NewLister(client.Config())
		q := registry.Request{Path: "/v2/" + r.Name + "/tags/list", Scope: "repository:" + r.Name + ":pull"}
		err := pages(ctx, client, q, func(body []byte) (got page, err error) {
			var answer struct {
				Tags []string `json:"tags"`
			}
			if err := registry.Decode(body, &answer); err != nil {
				return got, err
			}
			return each(answer.Tags, func(name string) (bool, bool, error) {
				t, ok, err := lister.Tag(registry.Tag{Name: name}, "")
				return ok, err != nil || !ok || yield(t, nil), err
			})
		})
		if err != nil {
			yield(registry.Tag{}, err)
		}
	}
}

// page is what one page of names had.
type page struct {
	items int
	fresh int    // not seen before, and admitted
	last  string // the last name
	stop  bool   // nobody wants more
}

// each goes through the names of a page.
func each(names []string, use func(name string) (fresh, more bool, err error)) (page, error) {
	got := page{items: len(names)}
	for _, name := range names {
		fresh, more, err := use(name)
		if err != nil {
			return got, err
		}
		if fresh {
			got.fresh++
		}
		if got.last = name; !more {
			got.stop = true
			break
		}
	}
	return got, nil
}

// sizes are how many names we ask for at once: a registry with a lower limit
// refuses the number (distribution v3: PAGINATION_NUMBER_INVALID), and the next
// one is tried. 0 leaves the number to the registry.
func sizes() []int { return []int{1000, 100, 0} }

// first reads the first page, and returns the size that the registry takes.
func first(ctx context.Context, client *registry.Client, q registry.Request) (body []byte, header http.Header, size int, err error) {
	for _, size = range sizes() {
		if q.Query = ""; size > 0 {
			q.Query = "n=" + strconv.Itoa(size)
		}
		body, header, err = client.Read(ctx, q, registry.MaxAnswer)
		if f, ok := errors.AsType[*registry.Failure](err); !ok || f.Status != http.StatusBadRequest {
			break
		}
	}
	return body, header, size, err
}

// pages reads a page after the other. The specification says that a page
// without a Link is the last one, but there are registries that cut at n and
// give no link; so a full page without one is followed by the question what
// comes after its last name, until that brings nothing new.
func pages(ctx context.Context, client *registry.Client, q registry.Request, read func([]byte) (page, error)) error {
	var pager registry.Pager
	guess := false
	body, header, size, err := first(ctx, client, q)
	if err != nil {
		return err
	}
	for {
		got, err := read(body)
		if err != nil || got.stop || guess && got.fresh == 0 {
			return err
		}
		if err := pager.Page(q.Query, body); err != nil {
			return err
		}
		next, linked := registry.NextQuery(header)
		if !linked && (got.items != size || got.items == 0) {
			return nil
		}
		if guess = !linked; guess {
			next = url.Values{"n": {strconv.Itoa(size)}, "last": {got.last}}.Encode()
		}
		q.Query = next
		if body, header, err = client.Read(ctx, q, registry.MaxAnswer); err != nil {
			return err
		}
	}
}
