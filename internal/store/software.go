package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// ImageSoftware returns a page of the software of some images, by name, version
// and type, each once, and how much there is in all. name is a part of the
// name, whatever its letters' case, or "".
func (db *DB) ImageSoftware(ctx context.Context, manifests []int64, name string, p Page) (list []tidewaiter.Software, total int, err error) {
	err = db.snapshot(ctx, func(tx *DB) error {
		// SQLite takes the tables of a cross join in their order.
		q := tx.read.NewSelect().TableExpr("image_packages AS i CROSS JOIN packages AS p").ColumnExpr("p.name, p.version, p.type").
			Where("p.id = i.package_id AND i.manifest_id IN (?)", bun.List(manifests)).GroupExpr("p.name, p.version, p.type")
		q = tx.contains(q, "p.name", name)
		if err := tx.read.NewSelect().TableExpr("(?) AS s", q).ColumnExpr("COUNT(*)").Scan(ctx, &total); err != nil {
			return fmt.Errorf("count software: %w", err)
		}
		if total <= p.Offset || p.Limit <= 0 {
			return nil
		}
		if err := q.OrderExpr("p.name, p.version, p.type").Limit(int64(p.Limit)).Offset(int64(p.Offset)).Scan(ctx, &list); err != nil {
			return notFound(err, "software")
		}
		return tx.countOpen(ctx, manifests, list)
	})
	return list, total, err
}

// Software returns a page of the software of an extent, each package version
// once for each image of one platform that holds it, and how much there is in
// all. name is a part of the name, whatever its letters' case, or "".
//
// It stands by name, then version by version in the order in which they were
// found, then by registry and image. How many images hold which name is known,
// and which version of it by registry: so a page far down is found by leaving
// out whole names and versions.
func (db *DB) Software(ctx context.Context, e tidewaiter.Extent, name string, p Page) (list []tidewaiter.InstalledSoftware, total int, err error) {
	err = db.snapshot(ctx, func(tx *DB) error {
		var names []string
		var part Page
		names, part, total, err = tx.softwareNames(ctx, e, name, p)
		if err != nil || len(names) == 0 {
			return err
		}
		rows, err := tx.installed(ctx, e, names, part)
		if err != nil {
			return err
		}
		list, err = tx.installedSoftware(ctx, rows)
		return err
	})
	return list, total, err
}

// softwareNames returns the names of the software that a page shows, which part
// of the software with these names that is, and how much software there is.
func (db *DB) softwareNames(ctx context.Context, e tidewaiter.Extent, name string, p Page) (names []string, part Page, total int, err error) {
	q := extent(db.read.NewSelect().Table("software_counts").ColumnExpr("name, SUM(images)"), e).GroupExpr("name").OrderExpr("name")
	rows, err := db.contains(q, "name", name).Rows(ctx)
	if err != nil {
		return nil, part, 0, fmt.Errorf("read counts of software: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	all := pager{Page: p}
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			return nil, part, 0, fmt.Errorf("read counts of software: %w", err)
		}
		shown, ok := all.next(n)
		if !ok {
			continue
		}
		if len(names) == 0 {
			part.Offset = shown.Offset
		}
		names, part.Limit = append(names, name), part.Limit+shown.Limit
	}
	return names, part, all.passed, notFound(rows.Err(), "counts of software")
}

// installed returns a page of the rows of software with some names.
func (db *DB) installed(ctx context.Context, e tidewaiter.Extent, names []string, p Page) ([]imagePackageRow, error) {
	numbers, err := db.registryNumbers(ctx, e, nil)
	if err != nil {
		return nil, err
	}
	var counts []packageCountRow
	err = eachChunk(names, func(chunk []string) error {
		var rows []packageCountRow
		// The plus sign keeps databases from looking for each registry by itself.
		err := db.read.NewRaw(`SELECT c.package_id, c.registry_number, c.images FROM packages AS p CROSS JOIN package_counts AS c
			WHERE p.name IN (?) AND c.package_id = p.id AND +c.registry_number IN (?) ORDER BY p.name, p.id, c.registry_number`,
			bun.List(chunk), bun.List(numbers)).Scan(ctx, &rows)
		counts = append(counts, rows...)
		return notFound(err, "counts of packages")
	})
	if err != nil {
		return nil, err
	}
	var list []imagePackageRow
	var whole [][2]int64 // what the page shows all images of
	order := make(map[[2]int64]int, len(counts))
	all := pager{Page: p}
	for i, c := range counts {
		key := [2]int64{c.PackageID, c.RegistryNumber}
		order[key] = i
		part, shown := all.next(c.Images)
		switch {
		case !shown:
		case part.Limit == c.Images:
			whole = append(whole, key)
		default:
			rows, err := db.imagesOfPackages(ctx, [][2]int64{key}, part)
			if err != nil {
				return nil, err
			}
			list = append(list, rows...)
		}
	}
	if len(whole) > 0 {
		rows, err := db.imagesOfPackages(ctx, whole, Page{Limit: p.Limit})
		if err != nil {
			return nil, err
		}
		list = append(list, rows...)
	}
	slices.SortFunc(list, func(a, b imagePackageRow) int {
		return cmp.Or(cmp.Compare(order[[2]int64{a.PackageID, a.RegistryNumber}], order[[2]int64{b.PackageID, b.RegistryNumber}]), cmp.Compare(a.ManifestID, b.ManifestID))
	})
	return list, nil
}

// imagesOfPackages returns a page of the images that hold packages, by pairs of
// a package and a registry.
func (db *DB) imagesOfPackages(ctx context.Context, keys [][2]int64, p Page) (rows []imagePackageRow, err error) {
	q := "WITH k(package_id, registry_number) AS (VALUES ?) SELECT i.* FROM k CROSS JOIN image_packages AS i WHERE i.package_id = k.package_id AND i.registry_number = k.registry_number"
	args := []any{pairs(keys)}
	if len(keys) == 1 {
		q = "SELECT i.* FROM image_packages AS i WHERE i.package_id = ? AND i.registry_number = ?"
		args = []any{keys[0][0], keys[0][1]}
	}
	q += " AND i.manifest_id NOT IN (SELECT manifest_id FROM dead_manifests)"
	if len(keys) == 1 {
		q += " ORDER BY i.manifest_id"
	}
	err = db.read.NewRaw(q+" LIMIT ? OFFSET ?", append(args, p.Limit, p.Offset)...).Scan(ctx, &rows)
	return rows, notFound(err, "packages of images")
}

// installedSoftware fills in what is known of packages in images.
func (db *DB) installedSoftware(ctx context.Context, rows []imagePackageRow) ([]tidewaiter.InstalledSoftware, error) {
	versions, err := db.PackageVersions(ctx, distinct(rows, func(r imagePackageRow) int64 { return r.PackageID }))
	if err != nil {
		return nil, err
	}
	images, err := db.scannedImages(ctx, distinct(rows, func(r imagePackageRow) int64 { return r.ManifestID }))
	if err != nil {
		return nil, err
	}
	layers, err := db.layersAt(ctx, distinct(rows, func(r imagePackageRow) [2]int64 { return [2]int64{r.ManifestID, int64(r.Origin)} }))
	if err != nil {
		return nil, err
	}
	paths := make(map[int64]string)
	err = eachChunk(distinct(rows, func(r imagePackageRow) int64 { return r.PathID }), func(chunk []int64) error {
		var found []struct {
			ID   int64
			Path string
		}
		err := db.read.NewRaw("SELECT id, path FROM package_paths WHERE id IN (?)", bun.List(chunk)).Scan(ctx, &found)
		for _, f := range found {
			paths[f.ID] = f.Path
		}
		return notFound(err, "paths of packages")
	})
	if err != nil {
		return nil, err
	}
	open, err := db.openFindings(ctx, rows, versions)
	list := make([]tidewaiter.InstalledSoftware, 0, len(rows))
	for i, r := range rows {
		v := versions[r.PackageID]
		list = append(list, tidewaiter.InstalledSoftware{
			Software: tidewaiter.Software{Name: v.Name, Version: v.Version, Type: v.Type, Vulnerabilities: open[i]},
			Path:     paths[r.PathID], Layer: layers[[2]int64{r.ManifestID, int64(r.Origin)}], Image: images[r.ManifestID],
		})
	}
	return list, err
}

// layersAt returns the digests of layers, by manifest and position.
func (db *DB) layersAt(ctx context.Context, places [][2]int64) (map[[2]int64]tidewaiter.Digest, error) {
	layers := make(map[[2]int64]tidewaiter.Digest, len(places))
	err := eachChunk(places, func(chunk [][2]int64) error {
		var rows []struct {
			ManifestID, Position int64
			Digest               tidewaiter.Digest
		}
		err := db.read.NewRaw(`WITH k(manifest_id, position) AS (VALUES ?) SELECT m.manifest_id, m.position, l.digest
			FROM k CROSS JOIN manifest_layers AS m CROSS JOIN layers AS l
			WHERE m.manifest_id = k.manifest_id AND m.position = k.position AND l.number = m.layer_number`, pairs(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			layers[[2]int64{r.ManifestID, r.Position}] = r.Digest
		}
		return notFound(err, "layers of images")
	})
	return layers, err
}

// distinct returns what rows have, each once, in the order in which they have it.
func distinct[R any, K comparable](rows []R, key func(R) K) []K {
	seen := make(map[K]bool, len(rows))
	var list []K
	for _, r := range rows {
		if k := key(r); !seen[k] {
			seen[k] = true
			list = append(list, k)
		}
	}
	return list
}
