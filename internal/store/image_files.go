package store

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// FileStatistics counts the regular files of some images. Those with the same
// id are one image, which several registries have. Those without a result count
// for nothing.
func (db *DB) FileStatistics(ctx context.Context, manifests []int64) (s tidewaiter.FileStatistics, err error) {
	err = db.read.NewRaw(`SELECT COALESCE(SUM(files), 0) AS files, COALESCE(SUM(bytes), 0) AS bytes FROM
		(SELECT MAX(s.files) AS files, MAX(s.file_bytes) AS bytes FROM scan_results AS s JOIN manifests AS m ON m.id = s.manifest_id
		WHERE s.manifest_id IN (?) GROUP BY m.image_id) AS i`, bun.List(manifests)).Scan(ctx, &s)
	return s, notFound(err, "results of scans")
}

// fileRow is a file of an image of one platform.
type fileRow struct {
	ManifestID  int64
	Position    int
	LayerNumber int64
	Entry       int
	Path        string
	Size        int64
}

func (r fileRow) noun() tidewaiter.ImageFile {
	return tidewaiter.ImageFile{Name: path.Base(r.Path), Path: "/" + r.Path, Size: r.Size}
}

const (
	fileColumns = "l.manifest_id, l.position, l.layer_number, f.entry, f.path, f.size"
	notHidden   = "NOT EXISTS (SELECT 1 FROM hidden_files AS h WHERE h.manifest_id = l.manifest_id AND h.position = l.position AND h.entry = f.entry)"
)

// files returns a query of the files of images whose name has a text in it.
func (db *DB) files(manifests []int64, name string) *bun.SelectQuery {
	// SQLite takes the tables of a cross join in their order.
	from := "manifest_layers AS l CROSS JOIN layer_files AS f"
	if name != "" {
		from += " CROSS JOIN file_names AS n"
	}
	q := db.read.NewSelect().TableExpr(from).Where("l.manifest_id IN (?) AND f.layer_number = l.layer_number", bun.List(manifests)).Where(notHidden)
	if name != "" {
		// What the path does not have the name, its end, has not: no need to look it up.
		q = db.containsFolded(db.contains(q, "f.path", name).Where("n.id = f.name_id"), "n.name", name)
	}
	return q
}

// ImageFiles returns a page of the files of some images that belong to no
// package, and how many there are in all. name is a part of their names, whatever
// its letters' case, or "". Those of one image stand layer by layer, the lowest
// first, and there as in a walk through the folders. Those of several stand by
// path, the same path and size once.
func (db *DB) ImageFiles(ctx context.Context, manifests []int64, name string, p Page) (list []tidewaiter.ImageFile, total int, err error) {
	err = db.snapshot(ctx, func(tx *DB) error {
		var rows []fileRow
		if len(manifests) == 1 {
			rows, total, err = tx.filesOfImage(ctx, manifests[0], name, p)
		} else {
			rows, total, err = tx.filesOfImages(ctx, manifests, name, p)
		}
		list = nouns(rows, fileRow.noun)
		return err
	})
	return list, total, err
}

func (db *DB) filesOfImages(ctx context.Context, manifests []int64, name string, p Page) (rows []fileRow, total int, err error) {
	q := db.files(manifests, name).ColumnExpr("f.path, f.size").GroupExpr("f.path, f.size")
	if err := db.read.NewSelect().TableExpr("(?) AS s", q).ColumnExpr("COUNT(*)").Scan(ctx, &total); err != nil {
		return nil, 0, fmt.Errorf("count files: %w", err)
	}
	if total <= p.Offset || p.Limit <= 0 {
		return nil, total, nil
	}
	err = q.OrderExpr("f.path, f.size").Limit(int64(p.Limit)).Offset(int64(p.Offset)).Scan(ctx, &rows)
	return rows, total, notFound(err, "files")
}

func (db *DB) filesOfImage(ctx context.Context, manifest int64, name string, p Page) (rows []fileRow, total int, err error) {
	if name == "" {
		return db.allFilesOfImage(ctx, manifest, p)
	}
	q := db.files([]int64{manifest}, name)
	if err := q.Clone().ColumnExpr("COUNT(*)").Scan(ctx, &total); err != nil {
		return nil, 0, fmt.Errorf("count files: %w", err)
	}
	if total <= p.Offset || p.Limit <= 0 {
		return nil, total, nil
	}
	err = q.ColumnExpr(fileColumns).OrderExpr("l.position, f.entry").Limit(int64(p.Limit)).Offset(int64(p.Offset)).Scan(ctx, &rows)
	return rows, total, notFound(err, "files")
}

// allFilesOfImage finds a page far down by leaving out whole layers.
func (db *DB) allFilesOfImage(ctx context.Context, manifest int64, p Page) (rows []fileRow, total int, err error) {
	var layers []struct {
		Position      int
		LayerNumber   int64
		Files, Hidden int
	}
	err = db.read.NewRaw(`SELECT l.position, l.layer_number, (SELECT COUNT(*) FROM layer_files AS f WHERE f.layer_number = l.layer_number) AS files,
		(SELECT COUNT(*) FROM hidden_files AS h WHERE h.manifest_id = l.manifest_id AND h.position = l.position) AS hidden
		FROM manifest_layers AS l WHERE l.manifest_id = ? ORDER BY l.position`, manifest).Scan(ctx, &layers)
	if err != nil {
		return nil, 0, notFound(err, "layers of an image")
	}
	all := pager{Page: p}
	for _, l := range layers {
		part, shown := all.next(l.Files - l.Hidden)
		if !shown {
			continue
		}
		q := db.files([]int64{manifest}, "").Where("l.position = ?", l.Position)
		if l.Hidden == 0 {
			q = db.read.NewSelect().TableExpr("manifest_layers AS l CROSS JOIN layer_files AS f").
				Where("l.manifest_id = ? AND l.position = ? AND f.layer_number = l.layer_number", manifest, l.Position)
		}
		var found []fileRow
		err := q.ColumnExpr(fileColumns).OrderExpr("f.entry").Limit(int64(part.Limit)).Offset(int64(part.Offset)).Scan(ctx, &found)
		if err != nil {
			return nil, 0, notFound(err, "files")
		}
		rows = append(rows, found...)
	}
	return rows, all.passed, nil
}

// foundFiles fills in what is known of files in images.
func (db *DB) foundFiles(ctx context.Context, rows []fileRow) ([]tidewaiter.FoundFile, error) {
	images, err := db.scannedImages(ctx, distinct(rows, func(r fileRow) int64 { return r.ManifestID }))
	if err != nil {
		return nil, err
	}
	layers := make(map[int64]tidewaiter.Digest)
	err = eachChunk(distinct(rows, func(r fileRow) int64 { return r.LayerNumber }), func(chunk []int64) error {
		var found []layerRow
		err := db.read.NewRaw("SELECT number, digest FROM layers WHERE number IN (?)", bun.List(chunk)).Scan(ctx, &found)
		for _, l := range found {
			layers[l.Number] = l.Digest
		}
		return notFound(err, "layers")
	})
	list := make([]tidewaiter.FoundFile, 0, len(rows))
	for _, r := range rows {
		list = append(list, tidewaiter.FoundFile{ImageFile: r.noun(), Layer: layers[r.LayerNumber], Image: images[r.ManifestID]})
	}
	return list, err
}

// allFiles returns a page of the files of all images of an extent, registry by
// registry, and how many there are. How many an image has is known: a page far
// down is found by leaving out whole registries and images.
func (db *DB) allFiles(ctx context.Context, e tidewaiter.Extent, p Page) (rows []fileRow, total int, err error) {
	numbers, err := db.registryNumbers(ctx, e, nil)
	if err != nil || len(numbers) == 0 {
		return nil, 0, err
	}
	var sums []struct {
		RegistryNumber int64
		Files          int
	}
	err = db.read.NewRaw("SELECT registry_number, SUM(loose_files) AS files FROM scan_results WHERE registry_number IN (?) GROUP BY registry_number ORDER BY registry_number",
		bun.List(numbers)).Scan(ctx, &sums)
	if err != nil {
		return nil, 0, notFound(err, "results of scans")
	}
	all := pager{Page: p}
	for _, s := range sums {
		part, shown := all.next(s.Files)
		if !shown {
			continue
		}
		found, err := db.filesOfRegistry(ctx, s.RegistryNumber, part)
		if err != nil {
			return nil, 0, err
		}
		rows = append(rows, found...)
	}
	return rows, all.passed, nil
}

// filesOfRegistry returns a page of the files of all images of a registry.
func (db *DB) filesOfRegistry(ctx context.Context, number int64, p Page) (list []fileRow, err error) {
	rows, err := db.read.NewSelect().Table("scan_results").Column("manifest_id", "loose_files").
		Where("registry_number = ? AND loose_files > 0", number).OrderExpr("manifest_id").Rows(ctx)
	if err != nil {
		return nil, fmt.Errorf("read results of scans: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	type stretch struct {
		manifest int64
		part     Page
		files    int
	}
	var shown []stretch
	all := pager{Page: p}
	for rows.Next() && all.passed < p.Offset+p.Limit {
		var s stretch
		var ok bool
		if err := rows.Scan(&s.manifest, &s.files); err != nil {
			return nil, fmt.Errorf("read results of scans: %w", err)
		}
		if s.part, ok = all.next(s.files); ok {
			shown = append(shown, s)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read results of scans: %w", err)
	}
	if err := rows.Close(); err != nil { // a transaction does one thing at a time
		return nil, fmt.Errorf("read results of scans: %w", err)
	}
	for len(shown) > 0 {
		// Images of which all is shown are read together.
		whole := slices.IndexFunc(shown, func(s stretch) bool { return s.part.Limit < s.files })
		if whole < 0 {
			whole = len(shown)
		}
		var found []fileRow
		if whole > 0 {
			found, err = db.wholeImages(ctx, nouns(shown[:whole], func(s stretch) int64 { return s.manifest }), p.Limit)
		} else {
			whole = 1
			found, _, err = db.allFilesOfImage(ctx, shown[0].manifest, shown[0].part)
		}
		if err != nil {
			return nil, err
		}
		list, shown = append(list, found...), shown[whole:]
	}
	return list[:min(len(list), p.Limit)], nil
}

// wholeImages returns all files of images, in the order of their ids.
func (db *DB) wholeImages(ctx context.Context, manifests []int64, limit int) (rows []fileRow, err error) {
	err = db.files(manifests, "").ColumnExpr(fileColumns).OrderExpr("l.manifest_id, l.position, f.entry").Limit(int64(limit)).Scan(ctx, &rows)
	return rows, notFound(err, "files")
}
