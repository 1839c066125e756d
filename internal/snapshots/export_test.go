package snapshots

import (
	"context"
	"time"
)

// SetPause has a service do something else than wait.
func (s *Service) SetPause(f func(context.Context, time.Duration) error) { s.pause = f }

// Download fetches a URL into the folder sources of a service without a store.
func (s *Service) Download(ctx context.Context, url, etag string) (tag string, unchanged bool, err error) {
	d, err := s.download(ctx, url, etag)
	return d.etag, d.unchanged, err
}

// RefuseLinkLocal decides which addresses are dialled.
var RefuseLinkLocal = refuseLinkLocal
