package snapshots

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/store"
)

// PublicExport is where the advisories of all ecosystems are published, in a zip
// file each (https://google.github.io/osv.dev/data/).
const PublicExport = "https://osv-vulnerabilities.storage.googleapis.com"

// ExportURL returns where an export has the advisories of an ecosystem.
func ExportURL(export, ecosystem string) string {
	return strings.TrimSuffix(export, "/") + "/" + url.PathEscape(ecosystem) + "/all.zip"
}

// ExportURLs is [ExportURL] for several ecosystems.
func ExportURLs(export string, ecosystems []string) []string {
	list := make([]string, len(ecosystems))
	for i, e := range ecosystems {
		list[i] = ExportURL(export, e)
	}
	return list
}

// Refresh imports those of some URLs that were never imported, or not for a
// time; what has not changed is not fetched. One that cannot be fetched does
// not keep the others from it: the result says why. Errors: Conflict.
func (s *Service) Refresh(ctx context.Context, locations []string, maxAge time.Duration, to Activator) (Result, error) {
	return s.change(ctx, to, func(c *change) error {
		for _, l := range locations {
			if src, ok := c.sources[l]; ok && s.now().Sub(src.Imported) < maxAge {
				continue
			}
			if err := c.take(ctx, l); err != nil {
				if ctx.Err() != nil {
					return err
				}
				c.result.Failed = append(c.result.Failed, SourceFailure{shown(l), err})
			}
		}
		return nil
	})
}

// Update asks all sources that are URLs, and some more URLs, for what is new.
func (s *Service) Update(ctx context.Context, more []string, to Activator) (Result, error) {
	imported, err := s.URLs(ctx)
	if err != nil {
		return Result{}, err
	}
	locations := slices.Concat(more, imported)
	slices.Sort(locations)
	return s.Refresh(ctx, slices.Compact(locations), 0, to)
}

// URLs returns the sources that are URLs.
func (s *Service) URLs(ctx context.Context) (list []string, err error) {
	sources, err := s.store.AdvisorySources(ctx)
	for _, src := range sources {
		if isURL(src.Location) {
			list = append(list, src.Location)
		}
	}
	return list, err
}

// Stale tells whether some of the URLs were never imported, or not for a time.
func (s *Service) Stale(ctx context.Context, locations []string, maxAge time.Duration) (bool, error) {
	sources, err := s.store.AdvisorySources(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(locations, func(l string) bool {
		return !slices.ContainsFunc(sources, func(src store.AdvisorySource) bool { return src.Location == l && s.now().Sub(src.Imported) < maxAge })
	}), nil
}
