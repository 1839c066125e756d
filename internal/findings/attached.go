package findings

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

// AttachVEX takes what is attached to an image, or to an index, in the place of
// what was: the statements of VEX documents become exceptions for that image
// alone. Documents that cannot be read are noted, and make none; what is no VEX
// is passed over. still runs within the transaction, before anything is written;
// its error ends it.
func (s *Service) AttachVEX(ctx context.Context, r tidewaiter.Registry, m tidewaiter.Manifest, contents []tidewaiter.AttachedContent, still func(*store.DB) error) error {
	a := attachment{service: s, registry: r, manifest: m}
	if err := a.read(ctx, contents); err != nil {
		return err
	}
	before, err := s.store.AttachedVEX(ctx, m.ID)
	if err != nil {
		return err
	}
	if len(a.list)+len(before) == 0 { // as with most images
		return s.store.Tx(ctx, still)
	}
	return s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		if err := still(tx); err != nil {
			return err
		}
		return a.replace(ctx, tx)
	})
}

// AttachedVEX returns a page of what is attached to the images of a registry.
func (s *Service) AttachedVEX(ctx context.Context, registryID string, p store.Page) ([]tidewaiter.AttachedVEX, error) {
	list, _, err := s.store.AttachedVEXOfRegistry(ctx, registryID, p)
	return list, err
}

// DetachVEX removes what documents attached to the images of a registry have
// made.
func (s *Service) DetachVEX(ctx context.Context, registryID string) error {
	for {
		r, err := s.store.Registry(ctx, registryID)
		if err != nil {
			return err
		}
		ids, err := s.store.ManifestsWithAttachedVEX(ctx, registryID, detachedAtOnce)
		if err != nil || len(ids) == 0 {
			return err
		}
		err = s.store.Tx(ctx, func(tx *store.DB) error {
			if err := tx.LockFindings(ctx); err != nil {
				return err
			}
			for _, id := range ids {
				a := attachment{service: s, registry: r, manifest: tidewaiter.Manifest{ID: id}}
				if err := a.replace(ctx, tx); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// detachedAtOnce is of how many images one transaction removes documents.
const detachedAtOnce = 50

// attachment is what is attached to a manifest.
type attachment struct {
	service  *Service
	registry tidewaiter.Registry
	manifest tidewaiter.Manifest

	list       []tidewaiter.AttachedVEX
	exceptions []tidewaiter.Exception
}

// read reads the documents, and makes the exceptions of what they say.
func (a *attachment) read(ctx context.Context, contents []tidewaiter.AttachedContent) error {
	now := a.service.now()
	digests := append([]tidewaiter.Digest{a.manifest.Digest}, a.manifest.Children...)
	var documents []vex.Document
	var places []int // in the list, of each document
	for _, c := range contents {
		x := tidewaiter.AttachedVEX{ManifestID: a.manifest.ID, Document: c.Digest, MediaType: c.MediaType, Problem: c.Problem, Seen: now}
		if x.Problem == "" {
			d, isVEX, err := vex.ReadAttached(c.Bytes, digests)
			switch {
			case err != nil:
				x.Problem = err.Error()
			case !isVEX:
				continue
			default:
				x.ID, x.Author, x.Problem = d.ID, d.Author, "a version of it that was issued later is attached, too"
				documents, places = append(documents, d), append(places, len(a.list))
			}
		}
		a.list = append(a.list, x)
	}
	var latest []vex.Document
	byID := make(map[string]*tidewaiter.AttachedVEX)
	for _, i := range vex.Latest(documents) {
		x := &a.list[places[i]]
		x.Problem = ""
		x.Source = store.AttachedSource + a.registry.ID + "/" + string(a.manifest.Digest) + "/" + string(x.Document)
		latest, byID[x.ID] = append(latest, documents[i]), x
	}
	images := map[tidewaiter.Digest][]int64{a.manifest.Digest: {a.manifest.ID}}
	children, err := a.service.store.ManifestsByDigest(ctx, a.registry.ID, a.manifest.Children)
	if err != nil {
		return err
	}
	for digest, m := range children {
		images[digest] = []int64{m.ID}
	}
	made := make(map[string][]tidewaiter.Exception) // by document
	for _, statement := range vex.OfImage(latest, a.manifest.Digest, a.manifest.Children) {
		x := byID[statement.Document]
		x.Statements++
		if !statement.Handles() || len(made[x.ID]) > maxAttachedExceptions {
			continue
		}
		names, err := a.service.namesOf(ctx, statement)
		if err != nil {
			return err
		}
		for _, name := range names {
			list := exceptionsOf(statement, images, tidewaiter.Exception{
				ProjectID: a.registry.ProjectID, EnterpriseProjectID: a.registry.EnterpriseProjectID, Vulnerability: name, Action: tidewaiter.ActionVEX,
				Status: string(statement.Status), Justification: statement.Justification, Remark: statement.Remark, Source: x.Source, Author: x.Author,
				Created: now, Updated: now,
			})
			if made[x.ID] = append(made[x.ID], list...); len(made[x.ID]) > maxAttachedExceptions {
				break
			}
		}
	}
	for id, list := range made {
		if x := byID[id]; len(list) > maxAttachedExceptions {
			x.Source, x.Problem = "", fmt.Sprintf("it makes more than %d exceptions: it names too many vulnerabilities, aliases and packages", maxAttachedExceptions)
		} else {
			x.Exceptions = len(list)
			a.exceptions = append(a.exceptions, list...)
		}
	}
	return nil
}

// maxAttachedExceptions is how many exceptions a document may make that is
// attached to an image: whoever may push there has written it.
const maxAttachedExceptions = 5_000

// replace writes what is attached, and its exceptions, in the place of what was.
func (a *attachment) replace(ctx context.Context, tx *store.DB) error {
	before, err := tx.AttachedVEX(ctx, a.manifest.ID)
	if err != nil {
		return err
	}
	names := make(map[string]bool)
	var ids []string
	for _, x := range before {
		if x.Source == "" {
			continue
		}
		made, _, err := tx.Exceptions(ctx, tidewaiter.Extent{ProjectID: a.registry.ProjectID, All: true}, store.ExceptionFilter{Source: x.Source}, store.Page{Limit: 1 << 30})
		if err != nil {
			return err
		}
		for _, e := range made {
			names[e.Vulnerability] = true
			ids = append(ids, e.ID)
		}
	}
	for _, e := range a.exceptions {
		names[e.Vulnerability] = true
	}
	return tx.CountVulnerabilities(ctx, bothKinds(slices.Sorted(maps.Keys(names))), a.service.now(), func() error {
		if _, err := tx.DeleteExceptions(ctx, ids); err != nil {
			return err
		}
		for _, e := range a.exceptions {
			if err := tx.CreateException(ctx, e); err != nil {
				return err
			}
		}
		return tx.PutAttachedVEX(ctx, a.manifest.ID, a.list)
	})
}
