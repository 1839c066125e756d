package store

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// ImageBuild returns the layers of an image of one platform, the lowest first,
// and the operating system that the lowest has by itself. Errors: NotFound.
func (db *DB) ImageBuild(ctx context.Context, manifest int64) ([]tidewaiter.ImageLayer, tidewaiter.System, error) {
	var document []byte
	if err := db.read.NewRaw("SELECT document FROM scan_results WHERE manifest_id = ?", manifest).Scan(ctx, &document); err != nil {
		return nil, tidewaiter.System{}, notFound(err, "result of a scan")
	}
	d, err := decodeDocument(document)
	return nouns(d.Layers, layerDocument.noun), d.Base, err
}

// present is whether a tag that is in its registry stands for the image of a
// result, or for an index with it.
const present = `(EXISTS (SELECT 1 FROM images AS i WHERE i.manifest_id = s.manifest_id AND i.gone = 0)
	OR EXISTS (SELECT 1 FROM manifest_children AS c JOIN images AS i ON i.manifest_id = c.parent_id WHERE c.child_id = s.manifest_id AND i.gone = 0))`

// HasChain tells whether an extent has an image that is made of the layers that
// a chain ID stands for.
func (db *DB) HasChain(ctx context.Context, e tidewaiter.Extent, chain tidewaiter.Digest) (bool, error) {
	numbers, err := db.registryNumbers(ctx, e, nil)
	if err != nil {
		return false, err
	}
	var found []int64
	err = db.read.NewRaw("SELECT manifest_id FROM scan_results AS s WHERE chain_id = ? AND +registry_number IN (?) AND "+present+" LIMIT 1",
		chain, bun.List(numbers)).Scan(ctx, &found)
	return len(found) > 0, notFound(err, "results of scans")
}

// ImagesOfChains returns a page of the images of an extent that are made of the
// layers that chain IDs stand for, each tag once for each of these images that
// it stands for, registry by registry, and how many there are in all. osName is
// a part of the name or the id of their operating system, whatever its letters'
// case, or "".
func (db *DB) ImagesOfChains(ctx context.Context, e tidewaiter.Extent, chains []tidewaiter.Digest, osName string, p Page) (list []tidewaiter.BaseImage, total int, err error) {
	if len(chains) == 0 {
		return nil, 0, nil
	}
	err = db.snapshot(ctx, func(tx *DB) error {
		numbers, err := tx.registryNumbers(ctx, e, nil)
		if err != nil {
			return err
		}
		results := tx.read.NewSelect().TableExpr("scan_results AS s").ColumnExpr("s.manifest_id, s.os_id, s.os_name, s.os_version").
			Where("s.chain_id IN (?) AND +s.registry_number IN (?)", bun.List(chains), bun.List(numbers))
		if osName != "" {
			results = results.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
				id, args := tx.containing("s.os_id", osName)
				return tx.contains(q, "s.os_name", osName).WhereOr(id, args...)
			})
		}
		tags := tx.read.NewSelect().TableExpr("s JOIN images AS i ON i.manifest_id = s.manifest_id").ColumnExpr("s.*, i.id, i.registry_number").Where("i.gone = 0").
			UnionAll(tx.read.NewSelect().TableExpr("s JOIN manifest_children AS c ON c.child_id = s.manifest_id JOIN images AS i ON i.manifest_id = c.parent_id").
				ColumnExpr("s.*, i.id, i.registry_number").Where("i.gone = 0"))
		q := tx.read.NewSelect().With("s", results).With("t", tags).TableExpr("t")
		if err := q.Clone().ColumnExpr("COUNT(*)").Scan(ctx, &total); err != nil {
			return fmt.Errorf("count base images: %w", err)
		}
		if total <= p.Offset || p.Limit <= 0 {
			return nil
		}
		var rows []baseRow
		err = q.ColumnExpr("*").OrderExpr("registry_number, id, manifest_id").Limit(int64(p.Limit)).Offset(int64(p.Offset)).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "base images")
		}
		list, err = tx.baseImages(ctx, rows)
		return err
	})
	return list, total, err
}

// baseRow is a tag that stands for an image, and what its result says.
type baseRow struct {
	ManifestID int64
	OSID       string `bun:"os_id"`
	OSName     string `bun:"os_name"`
	OSVersion  string `bun:"os_version"`
	ID         int64
}

// baseImages fills in what is known of images.
func (db *DB) baseImages(ctx context.Context, rows []baseRow) ([]tidewaiter.BaseImage, error) {
	manifests := distinct(rows, func(r baseRow) int64 { return r.ManifestID })
	images, err := db.scannedImages(ctx, manifests)
	if err != nil {
		return nil, err
	}
	chosen := make(map[int64]int64, len(rows))
	for _, r := range rows {
		chosen[r.ID] = r.ID
	}
	names, err := db.namesOf(ctx, chosen)
	if err != nil {
		return nil, err
	}
	var tops []struct {
		ManifestID int64
		Digest     tidewaiter.Digest
	}
	err = db.read.NewRaw(`SELECT m.manifest_id, l.digest FROM manifest_layers AS m JOIN layers AS l ON l.number = m.layer_number
		WHERE m.manifest_id IN (?) AND m.position = (SELECT MAX(position) FROM manifest_layers AS x WHERE x.manifest_id = m.manifest_id)`,
		bun.List(manifests)).Scan(ctx, &tops)
	if err != nil {
		return nil, notFound(err, "layers of images")
	}
	digests := make(map[int64]tidewaiter.Digest, len(tops))
	for _, t := range tops {
		digests[t.ManifestID] = t.Digest
	}
	list := make([]tidewaiter.BaseImage, 0, len(rows))
	for _, r := range rows {
		b := tidewaiter.BaseImage{OSName: r.OSName, OSVersion: r.OSVersion, Layer: digests[r.ManifestID], Image: images[r.ManifestID]}
		if b.OSName == "" {
			b.OSName = r.OSID
		}
		b.Image.Namespace, b.Image.Name, b.Image.Tag = names[r.ID].Namespace, names[r.ID].Name, names[r.ID].Tag
		list = append(list, b)
	}
	return list, nil
}
