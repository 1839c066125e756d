package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// SkippedTag is a tag that stands for something else than an image.
type SkippedTag struct {
	Name       string
	ManifestID int64
}

type skippedTagRow struct {
	bun.BaseModel `bun:"skipped_tags"`

	RepositoryID int64
	Tag          string
	ManifestID   int64
	SyncID       string
}

// PutSkippedTags notes which tags of a repository stand for something else
// than images, as a synchronisation found them. They keep their manifests from
// being purged. Errors: NotFound if the repository or a manifest is not there.
func (db *DB) PutSkippedTags(ctx context.Context, repositoryID int64, syncID string, tags []SkippedTag) error {
	rows := nouns(tags, func(t SkippedTag) skippedTagRow {
		return skippedTagRow{RepositoryID: repositoryID, Tag: t.Name, ManifestID: t.ManifestID, SyncID: syncID}
	})
	return db.Tx(ctx, func(tx *DB) error {
		return eachChunk(rows, func(chunk []skippedTagRow) error {
			list := nouns(chunk, func(r skippedTagRow) tagged { return tagged{Tag: r.Tag, ManifestID: r.ManifestID} })
			if _, err := tx.reviewReplaced(ctx, "skipped_tags", repositoryID, list, Now()); err != nil {
				return err
			}
			if err := tx.unsee(ctx, "images", repositoryID, list); err != nil {
				return err
			}
			_, err := tx.write.NewInsert().Model(&chunk).
				On("CONFLICT (repository_id, tag) DO UPDATE SET manifest_id = excluded.manifest_id, sync_id = excluded.sync_id").Exec(ctx)
			return conflict(err, "skipped tag")
		})
	})
}

// settleSkippedTags removes the skipped tags of a repository that a
// synchronisation has not put, and counts the others by what they stand for.
func (db *DB) settleSkippedTags(ctx context.Context, repositoryID int64, syncID string, now time.Time) ([]tidewaiter.Skipped, error) {
	var manifests []int64
	err := db.write.NewRaw("DELETE FROM skipped_tags WHERE repository_id = ? AND sync_id <> ? RETURNING manifest_id",
		repositoryID, syncID).Scan(ctx, &manifests)
	if err != nil {
		return nil, fmt.Errorf("delete skipped tags: %w", err)
	}
	if err := db.reviewManifests(ctx, manifests, now); err != nil {
		return nil, err
	}
	var rows []struct {
		Kind, Reason, Example string
		Count                 int
	}
	err = db.read.NewRaw(`SELECT m.kind, m.reason, COUNT(*) AS count, MIN(t.tag) AS example
		FROM skipped_tags t JOIN manifests m ON m.id = t.manifest_id
		WHERE t.repository_id = ? GROUP BY m.kind, m.reason ORDER BY m.kind, m.reason`, repositoryID).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("count skipped tags: %w", err)
	}
	list := make([]tidewaiter.Skipped, len(rows))
	for i, r := range rows {
		list[i] = tidewaiter.Skipped{Kind: r.Kind, Reason: r.Reason, Count: r.Count, Example: r.Example}
	}
	return list, nil
}
