package store

import (
	"context"
	"slices"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// registryNumbers returns the registries of an extent that are of some types,
// nil for all, the oldest first.
func (db *DB) registryNumbers(ctx context.Context, e tidewaiter.Extent, types []tidewaiter.RegistryType) (numbers []int64, err error) {
	q := in(extent(db.read.NewSelect().Table("registries").Column("number"), e), "type", types)
	return numbers, notFound(q.Order("number").Scan(ctx, &numbers), "registries")
}

// scannedImages returns what lists say of images of one platform that have
// results: names are those of the oldest tag that is in its registry, or if
// there is none of the oldest that was.
func (db *DB) scannedImages(ctx context.Context, manifests []int64) (map[int64]tidewaiter.ScannedImage, error) {
	images := make(map[int64]tidewaiter.ScannedImage, len(manifests))
	err := eachChunk(manifests, func(chunk []int64) error {
		var rows []struct {
			ManifestID   int64
			ImageID      string
			RegistryType tidewaiter.RegistryType
			Scanned      int64
		}
		err := db.read.NewRaw(`SELECT m.id AS manifest_id, m.image_id, g.type AS registry_type, s.scanned
			FROM scan_results AS s JOIN manifests AS m ON m.id = s.manifest_id JOIN registries AS g ON g.number = m.registry_number
			WHERE s.manifest_id IN (?)`, bun.List(chunk)).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "results of scans")
		}
		tags, err := db.tagsOf(ctx, chunk)
		if err != nil {
			return err
		}
		for _, r := range rows {
			t := tags[r.ManifestID]
			images[r.ManifestID] = tidewaiter.ScannedImage{
				ManifestID: r.ManifestID, ImageID: r.ImageID, RegistryType: r.RegistryType, Scanned: optionalTime(r.Scanned),
				Namespace: t.Namespace, Name: t.Name, Tag: t.Tag,
			}
		}
		return nil
	})
	return images, err
}

// imageNames are the names of a tag.
type imageNames struct {
	ID                   int64
	Namespace, Name, Tag string
}

// tagsOf returns one tag of each of a few images of one platform: one that
// stands for the image, or for an index that it is in.
func (db *DB) tagsOf(ctx context.Context, manifests []int64) (map[int64]imageNames, error) {
	var parents []childRow
	err := db.read.NewRaw("SELECT parent_id, child_id FROM manifest_children WHERE child_id IN (?)", bun.List(manifests)).Scan(ctx, &parents)
	if err != nil {
		return nil, notFound(err, "parents of manifests")
	}
	tagged := slices.Clone(manifests)
	for _, p := range parents {
		tagged = append(tagged, p.ParentID)
	}
	type found struct{ ManifestID, Present, Ever int64 }
	byManifest := make(map[int64]found, len(tagged))
	err = eachChunk(tagged, func(chunk []int64) error {
		var rows []found
		err := db.read.NewRaw(`SELECT manifest_id, COALESCE(MIN(CASE WHEN gone = 0 THEN id END), 0) AS present, MIN(id) AS ever
			FROM images WHERE manifest_id IN (?) GROUP BY manifest_id`, bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			byManifest[r.ManifestID] = r
		}
		return notFound(err, "images")
	})
	if err != nil {
		return nil, err
	}
	best := make(map[int64]found, len(manifests))
	consider := func(manifest int64, f found) {
		b := best[manifest]
		b.Present, b.Ever = lowest(b.Present, f.Present), lowest(b.Ever, f.Ever)
		best[manifest] = b
	}
	for _, m := range manifests {
		consider(m, byManifest[m])
	}
	for _, p := range parents {
		consider(p.ChildID, byManifest[p.ParentID])
	}
	chosen := make(map[int64]int64, len(best))
	for m, b := range best {
		if chosen[m] = b.Present; b.Present == 0 {
			chosen[m] = b.Ever
		}
	}
	return db.namesOf(ctx, chosen)
}

// lowest returns the lower of two ids, of which 0 is none.
func lowest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// namesOf returns the names of tags, by what they were chosen for.
func (db *DB) namesOf(ctx context.Context, chosen map[int64]int64) (map[int64]imageNames, error) {
	ids := make([]int64, 0, len(chosen))
	for _, id := range chosen {
		if id != 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	byID := make(map[int64]imageNames, len(ids))
	err := eachChunk(slices.Compact(ids), func(chunk []int64) error {
		var rows []imageNames
		err := db.read.NewRaw("SELECT i.id, i.tag, r.namespace, r.image AS name FROM images AS i JOIN repositories AS r ON r.id = i.repository_id WHERE i.id IN (?)",
			bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			byID[r.ID] = r
		}
		return notFound(err, "images")
	})
	names := make(map[int64]imageNames, len(chosen))
	for m, id := range chosen {
		names[m] = byID[id]
	}
	return names, err
}
