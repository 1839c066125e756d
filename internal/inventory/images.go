package inventory

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Images returns a page of the images that the filter lets through, those of
// an index with its platforms, and how many there are in all. Images that are
// gone from their registry are not among them.
func (s *Service) Images(ctx context.Context, e tidewaiter.Extent, f store.ImageFilter, p store.Page) ([]tidewaiter.RegistryImage, int, error) {
	return s.store.Images(ctx, e, f, p)
}

// CountImages returns how many images are in the registries of an extent.
func (s *Service) CountImages(ctx context.Context, e tidewaiter.Extent) (int, error) {
	return s.store.CountImages(ctx, e)
}
