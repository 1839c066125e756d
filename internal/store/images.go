package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// ImageTag is a tag that stands for an image, as a synchronisation found it.
type ImageTag struct {
	Name       string
	ManifestID int64
	Updated    time.Time // when it was pushed, or zero if that is not known
}

type imageRow struct {
	bun.BaseModel `bun:"images,alias:images"`

	ID             int64 `bun:",pk,autoincrement"`
	RegistryNumber int64
	RepositoryID   int64
	Tag            string
	ManifestID     int64
	Size           int64
	MultiArch      bool
	Latest         bool
	Updated        int64
	SyncID         string
	Gone           int64
	ScanStatus     string
	ScanFailedCode string
	Scanned        int64
	Vulnerable     int
	UnsafeSettings int
	MaliciousFiles int
	Severity       string
	Facet          facet
}

// PutImages adds tags to a repository, or writes what they stand for now; they
// are there (again), and seen by the synchronisation. A tag that stands for
// another manifest than before is as if it was never scanned. Updated, where
// it is not known, is when the tag was first found to stand for its manifest.
// Errors: NotFound if the repository or a manifest is not there.
func (db *DB) PutImages(ctx context.Context, repositoryID int64, syncID string, tags []ImageTag, now time.Time) error {
	if len(tags) == 0 {
		return nil
	}
	return db.Tx(ctx, func(tx *DB) error {
		return tx.countImages(ctx, repositoryID, func() error {
			return eachChunk(tags, func(chunk []ImageTag) error {
				return tx.putImages(ctx, repositoryID, syncID, chunk, now)
			})
		})
	})
}

func (db *DB) putImages(ctx context.Context, repositoryID int64, syncID string, tags []ImageTag, now time.Time) error {
	list := nouns(tags, func(t ImageTag) tagged { return tagged{Tag: t.Name, ManifestID: t.ManifestID} })
	before, err := db.reviewReplaced(ctx, "images", repositoryID, list, now)
	if err != nil {
		return err
	}
	if err := db.unsee(ctx, "skipped_tags", repositoryID, list); err != nil {
		return err
	}
	manifests, err := db.imageManifests(ctx, repositoryID, tags)
	if err != nil {
		return err
	}
	var same []string
	var known, unknown []imageRow // by whether it is known when they were pushed
	for _, t := range tags {      // a new image has the facet 0, or that of an index
		m, ok := manifests[t.ManifestID]
		if !ok {
			return tidewaiter.Errorf(tidewaiter.NotFound, "there is no such manifest in the registry of the repository")
		}
		b := before[t.Name]
		row := imageRow{
			RegistryNumber: m.RegistryNumber, RepositoryID: repositoryID, Tag: t.Name, ManifestID: m.ID, Size: m.Size, MultiArch: m.MultiArch,
			Updated: micros(now), SyncID: syncID, ScanStatus: tidewaiter.Unscanned,
		}
		if m.MultiArch {
			row.Facet = facetMultiArch
		}
		switch {
		case b.ManifestID == m.ID && b.Gone == 0 && (t.Updated.IsZero() || micros(t.Updated) == b.Updated):
			same = append(same, t.Name)
		case t.Updated.IsZero():
			unknown = append(unknown, row)
		default:
			row.Updated = micros(t.Updated)
			known = append(known, row)
		}
	}
	if len(same) > 0 {
		r, err := db.write.NewRaw("UPDATE images SET sync_id = ? WHERE repository_id = ? AND tag IN (?)", syncID, repositoryID, bun.List(same)).Exec(ctx)
		if err != nil {
			return wrote(r, err, "images")
		}
	}
	if err := db.upsertImages(ctx, known, "excluded.updated"); err != nil {
		return err
	}
	if err := db.upsertImages(ctx, unknown, "CASE WHEN images.manifest_id = excluded.manifest_id THEN images.updated ELSE excluded.updated END"); err != nil {
		return err
	}
	// Another tag of what was scanned already, or is about to be.
	changed := nouns(slices.Concat(known, unknown), func(r imageRow) string { return r.Tag })
	if len(changed) == 0 {
		return nil
	}
	r, err := db.write.NewRaw("UPDATE images SET "+settledSQL()+` WHERE repository_id = ? AND tag IN (?)
		AND manifest_id IN (SELECT manifest_id FROM scans)`, repositoryID, bun.List(changed)).Exec(ctx)
	return wrote(r, err, "images")
}

// imageManifest is what an image has from its manifest.
type imageManifest struct {
	ID             int64
	RegistryNumber int64
	Size           int64
	MultiArch      bool
}

// imageManifests returns the manifests of tags by their ids, if they are of
// the registry of a repository.
func (db *DB) imageManifests(ctx context.Context, repositoryID int64, tags []ImageTag) (map[int64]imageManifest, error) {
	var rows []imageManifest
	err := db.read.NewRaw(`SELECT m.id, m.registry_number, m.size, EXISTS (SELECT 1 FROM manifest_children c WHERE c.parent_id = m.id) AS multi_arch
		FROM manifests m WHERE m.id IN (?) AND +m.registry_number = (SELECT registry_number FROM repositories WHERE id = ?)`,
		bun.List(nouns(tags, func(t ImageTag) int64 { return t.ManifestID })), repositoryID).Scan(ctx, &rows)
	byID := make(map[int64]imageManifest, len(rows))
	for _, m := range rows {
		byID[m.ID] = m
	}
	return byID, notFound(err, "manifests")
}

// tagged is a tag and what it stands for; of an image also since when it does,
// and since when it is gone.
type tagged struct {
	Tag           string
	ManifestID    int64
	Updated, Gone int64
}

// reviewReplaced notes of the manifests that tags stand for by now, by a table
// of tags, that they may be unused, where the tags are to stand for others. It
// returns what is there by now, by tag.
func (db *DB) reviewReplaced(ctx context.Context, table string, repositoryID int64, list []tagged, now time.Time) (map[string]tagged, error) {
	columns := "tag, manifest_id"
	if table == "images" {
		columns += ", updated, gone"
	}
	var rows []tagged
	err := db.read.NewRaw("SELECT "+columns+" FROM ? WHERE repository_id = ? AND tag IN (?)",
		bun.Ident(table), repositoryID, bun.List(nouns(list, func(t tagged) string { return t.Tag }))).Scan(ctx, &rows)
	if err != nil {
		return nil, notFound(err, "tags")
	}
	before := make(map[string]tagged, len(rows))
	for _, t := range rows {
		before[t.Tag] = t
	}
	var replaced []int64
	for _, t := range list {
		if b, ok := before[t.Tag]; ok && b.ManifestID != t.ManifestID {
			replaced = append(replaced, b.ManifestID)
		}
	}
	return before, db.reviewManifests(ctx, replaced, now)
}

// unsee notes that tags no longer stand for what they stand for by a table of
// tags, even if the same synchronisation saw that.
func (db *DB) unsee(ctx context.Context, table string, repositoryID int64, list []tagged) error {
	r, err := db.write.NewRaw("UPDATE ? SET sync_id = '' WHERE repository_id = ? AND tag IN (?)",
		bun.Ident(table), repositoryID, bun.List(nouns(list, func(t tagged) string { return t.Tag }))).Exec(ctx)
	return wrote(r, err, "tags")
}

func (db *DB) upsertImages(ctx context.Context, rows []imageRow, updated string) error {
	if len(rows) == 0 {
		return nil
	}
	q := db.write.NewInsert().Model(&rows).On("CONFLICT (repository_id, tag) DO UPDATE").
		Set("manifest_id = excluded.manifest_id, size = excluded.size, multi_arch = excluded.multi_arch, sync_id = excluded.sync_id, gone = 0").
		Set("updated = " + updated)
	for _, column := range []string{"scan_status", "scan_failed_code", "scanned", "vulnerable", "unsafe_settings", "malicious_files", "severity"} {
		q = q.Set("? = CASE WHEN images.manifest_id = excluded.manifest_id THEN images.? ELSE excluded.? END",
			bun.Ident(column), bun.Ident(column), bun.Ident(column))
	}
	_, err := q.Returning("NULL").Exec(ctx)
	return conflict(err, "image")
}

// markGone marks the images of repositories of one registry that are not gone
// yet, and counts them as gone.
func (db *DB) markGone(ctx context.Context, registryNumber int64, repositories []int64, now time.Time) error {
	var facets []facet
	err := db.write.NewRaw("UPDATE images SET gone = ?, facet = facet + ? WHERE registry_number = ? AND repository_id IN (?) AND gone = 0 RETURNING facet",
		micros(now), facetGone, registryNumber, bun.List(repositories)).Scan(ctx, &facets)
	if err != nil {
		return fmt.Errorf("mark images: %w", err)
	}
	changes := make(map[facet]int)
	for _, f := range facets {
		changes[f]++
		changes[f&^facetGone]--
	}
	return db.addCounts(ctx, registryNumber, changes)
}
