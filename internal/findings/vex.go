package findings

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

// maxDocumentExceptions is how many exceptions one document may make.
const maxDocumentExceptions = 50_000

// AppliedVEX says what a document has come to.
type AppliedVEX struct {
	Source     string
	Statements int                 // that count: the last one about each vulnerability and product
	Handled    int                 // of which say that there is nothing to do
	Exceptions int                 // that were made of these
	Unknown    []tidewaiter.Digest // images that are not there; nothing was made of what is said of them
}

// ApplyVEX takes what a document says as exceptions, in the place of what it said
// before: by its id. They hold for the images of an extent, until a time if one
// is given. Errors: Invalid, TooLarge.
func (s *Service) ApplyVEX(ctx context.Context, e tidewaiter.Extent, d vex.Document, expires time.Time) (AppliedVEX, error) {
	if strings.HasPrefix(d.ID, store.AttachedSource) {
		return AppliedVEX{}, tidewaiter.InvalidField("id", "of the document begins with %s, which is for documents attached to images; give it another id", store.AttachedSource)
	}
	now := s.now()
	if !expires.IsZero() && !expires.After(now) {
		return AppliedVEX{}, tidewaiter.InvalidField("expires", "it is over; give a time to come")
	}
	done := AppliedVEX{Source: d.ID}
	statements := d.InForce()
	done.Statements = len(statements)
	digests := make(map[tidewaiter.Digest]bool)
	for _, x := range statements {
		for _, p := range x.Products {
			if p.Image != "" {
				digests[p.Image] = true
			}
		}
	}
	images, err := s.store.ManifestsOf(ctx, e, slices.Sorted(maps.Keys(digests)))
	if err != nil {
		return AppliedVEX{}, err
	}
	for _, digest := range slices.Sorted(maps.Keys(digests)) {
		if len(images[digest]) == 0 {
			done.Unknown = append(done.Unknown, digest)
		}
	}
	var list []tidewaiter.Exception
	for _, x := range statements {
		if !x.Handles() {
			continue
		}
		done.Handled++
		names, err := s.namesOf(ctx, x)
		if err != nil {
			return AppliedVEX{}, err
		}
		for _, project := range enterpriseProjects(e) {
			for _, name := range names {
				list = append(list, exceptionsOf(x, images, tidewaiter.Exception{
					ProjectID: e.ProjectID, EnterpriseProjectID: project, Vulnerability: name, Action: tidewaiter.ActionVEX, Status: string(x.Status), Justification: x.Justification,
					Remark: x.Remark, Source: d.ID, Author: d.Author, Created: now, Updated: now, Expires: expires,
				})...)
			}
		}
		if len(list) > maxDocumentExceptions {
			return AppliedVEX{}, tidewaiter.Errorf(tidewaiter.TooLarge, "the document makes more than %d exceptions; split it", maxDocumentExceptions)
		}
	}
	done.Exceptions = len(list)
	return done, s.replaceDocument(ctx, e, d.ID, list)
}

// exceptionsOf returns an exception for each package that a statement is about.
func exceptionsOf(x vex.Statement, images map[tidewaiter.Digest][]int64, like tidewaiter.Exception) (list []tidewaiter.Exception) {
	at := make(map[string]int) // by package
	for _, p := range x.Products {
		one := like
		one.ID, one.Package, one.Scope = store.NewID(), p.Package, tidewaiter.ScopeAllImages
		if p.Image == "" {
			list = append(list, one)
			continue
		}
		for _, id := range images[p.Image] {
			i, ok := at[p.Package]
			if !ok {
				one.Scope = tidewaiter.ScopeImages
				i = len(list)
				at[p.Package], list = i, append(list, one)
			}
			list[i].Images = append(list[i].Images, tidewaiter.ExceptionImage{ManifestID: id})
		}
	}
	return list
}

// namesOf returns what the vulnerability of a statement is called here: by its
// CVEs, if the document or the advisories in force know any.
func (s *Service) namesOf(ctx context.Context, x vex.Statement) ([]string, error) {
	names := x.Names()
	isCVE := func(name string) bool { return strings.HasPrefix(name, "CVE-") }
	if !slices.ContainsFunc(names, isCVE) {
		known, err := s.Advisories(ctx, names)
		if err != nil {
			return nil, err
		}
		for _, a := range known {
			names = append(names, a.Aliases...)
		}
	}
	if slices.ContainsFunc(names, isCVE) {
		names = slices.DeleteFunc(names, func(name string) bool { return !isCVE(name) })
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" }), nil
}

// replaceDocument has exceptions take the place of those of a document.
func (s *Service) replaceDocument(ctx context.Context, e tidewaiter.Extent, source string, list []tidewaiter.Exception) error {
	return s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		before, err := exceptionsOfDocument(ctx, tx, e, source)
		if err != nil {
			return err
		}
		var names, ids []string
		for _, x := range before {
			names, ids = append(names, x.Vulnerability), append(ids, x.ID)
		}
		for _, x := range list {
			names = append(names, x.Vulnerability)
		}
		slices.Sort(names)
		return tx.CountVulnerabilities(ctx, bothKinds(slices.Compact(names)), s.now(), func() error {
			if _, err := tx.DeleteExceptions(ctx, ids); err != nil {
				return err
			}
			for _, x := range list {
				if err := tx.CreateException(ctx, x); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func exceptionsOfDocument(ctx context.Context, tx *store.DB, e tidewaiter.Extent, source string) ([]tidewaiter.Exception, error) {
	list, _, err := tx.Exceptions(ctx, tidewaiter.Extent{ProjectID: e.ProjectID, All: true}, store.ExceptionFilter{Source: source}, store.Page{Limit: 1 << 30})
	projects := enterpriseProjects(e)
	return slices.DeleteFunc(list, func(x tidewaiter.Exception) bool { return !slices.Contains(projects, x.EnterpriseProjectID) }), err
}

// VEXDocuments returns the documents whose statements are exceptions now.
func (s *Service) VEXDocuments(ctx context.Context, e tidewaiter.Extent) ([]store.ExceptionSource, error) {
	return s.store.ExceptionSources(ctx, e)
}

// RemoveVEX removes the exceptions of a document. Errors: NotFound.
func (s *Service) RemoveVEX(ctx context.Context, e tidewaiter.Extent, source string) error {
	known, err := exceptionsOfDocument(ctx, s.store, e, source)
	if err != nil {
		return err
	}
	if source == "" || len(known) == 0 {
		return tidewaiter.Errorf(tidewaiter.NotFound, "there is no such document; list them for their ids")
	}
	return s.replaceDocument(ctx, e, source, nil)
}
