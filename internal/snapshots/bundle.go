package snapshots

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Sources returns the sources of the set in force, and the files that were kept
// of them, by digest. Their locations are for others to see: URLs have no query,
// which may be a secret.
func (s *Service) Sources(ctx context.Context) ([]store.AdvisorySource, map[tidewaiter.Digest]string, error) {
	list, err := s.store.AdvisorySources(ctx)
	if err != nil {
		return nil, nil, err
	}
	files, seen := make(map[tidewaiter.Digest]string, len(list)), make(map[string]int, len(list))
	for i, src := range list {
		path, err := s.sourceFile(ctx, src.Digest)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", shown(src.Location), err)
		}
		files[src.Digest] = path
		location := shown(src.Location)
		if seen[location]++; seen[location] > 1 {
			location = fmt.Sprintf("%s (%d)", location, seen[location])
		}
		list[i].Location, list[i].ETag = location, ""
	}
	return list, files, nil
}

// Replace has sources take the place of all that there are, and brings the set
// that is made of them into force. read gives the content of each to keep, and
// returns them. Errors are those of [Service.Import].
func (s *Service) Replace(ctx context.Context, read func(keep func(io.Reader) (tidewaiter.Digest, error)) ([]store.AdvisorySource, error), to Activator) (Result, error) {
	return s.change(ctx, to, func(c *change) error {
		sources, err := read(func(r io.Reader) (tidewaiter.Digest, error) {
			digest, _, err := keep(filepath.Join(s.folder, sourcesFolder), partPattern, r)
			return digest, err
		})
		if err != nil {
			return err
		}
		clear(c.sources)
		for _, src := range sources {
			path := s.sourcePath(src.Digest)
			if err := s.shareFile(ctx, src.Digest, path); err != nil {
				return err
			}
			src.Imported = s.now()
			c.sources[src.Location] = src
			c.result.Sources = append(c.result.Sources, SourceResult{Location: shown(src.Location), Read: src.Advisories, Refused: src.Refused})
		}
		return nil
	})
}
