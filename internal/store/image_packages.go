package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type imagePackageRow struct {
	bun.BaseModel `bun:"image_packages,alias:image_packages"`

	PackageID      int64
	RegistryNumber int64
	ManifestID     int64
	PathID         int64
	Origin         int
}

// packagePath returns where a package is, as lists show it: the file that says
// so, and the archives in it.
func packagePath(p tidewaiter.Package) string {
	return shortened("/" + strings.Join(append([]string{p.Path}, p.Inside...), "!/"))
}

// setImagePackages replaces which packages an image holds, and counts. What an
// image holds in several places is in the first of them.
func (db *DB) setImagePackages(ctx context.Context, registryNumber, manifestID int64, packages []tidewaiter.ImagePackage) error {
	paths, err := db.textIDs(ctx, "package_paths", "path", nouns(packages, func(p tidewaiter.ImagePackage) string { return packagePath(p.Package) }))
	if err != nil {
		return err
	}
	wanted := make(map[int64]imagePackageRow, len(packages))
	for _, p := range packages {
		if _, ok := wanted[p.ID]; !ok {
			wanted[p.ID] = imagePackageRow{
				PackageID: p.ID, RegistryNumber: registryNumber, ManifestID: manifestID, PathID: paths[packagePath(p.Package)], Origin: p.Origin,
			}
		}
	}
	var old []imagePackageRow
	err = db.write.NewRaw("SELECT * FROM image_packages WHERE manifest_id = ?", manifestID).Scan(ctx, &old)
	if err != nil {
		return notFound(err, "packages of an image")
	}
	changes := make(map[int64]int)
	for id := range wanted {
		changes[id]++
	}
	var gone []int64
	for _, r := range old {
		if changes[r.PackageID]--; changes[r.PackageID] < 0 {
			gone = append(gone, r.PackageID)
		}
		if wanted[r.PackageID] == r {
			delete(wanted, r.PackageID)
		}
	}
	maps.DeleteFunc(changes, func(_ int64, n int) bool { return n == 0 })
	err = eachChunk(gone, func(chunk []int64) error {
		r, err := db.write.NewRaw("DELETE FROM image_packages WHERE manifest_id = ? AND package_id IN (?)", manifestID, bun.List(chunk)).Exec(ctx)
		return wrote(r, err, "packages of an image")
	})
	if err != nil {
		return err
	}
	rows := slices.SortedFunc(maps.Values(wanted), func(a, b imagePackageRow) int { return cmp.Compare(a.PackageID, b.PackageID) })
	err = eachChunk(rows, func(chunk []imagePackageRow) error {
		_, err := db.write.NewInsert().Model(&chunk).
			On("CONFLICT (package_id, registry_number, manifest_id) DO UPDATE SET path_id = excluded.path_id, origin = excluded.origin").Returning("NULL").Exec(ctx)
		return conflict(err, "package of an image")
	})
	if err != nil {
		return err
	}
	return db.addPackageCounts(ctx, map[int64]map[int64]int{registryNumber: changes})
}

type packageCountRow struct {
	bun.BaseModel `bun:"package_counts,alias:package_counts"`

	PackageID      int64
	RegistryNumber int64
	Images         int
}

type softwareCountRow struct {
	bun.BaseModel `bun:"software_counts,alias:software_counts"`

	ProjectID           string
	Name                string
	EnterpriseProjectID string
	Images              int
}

func (r softwareCountRow) compare(o softwareCountRow) int {
	return cmp.Or(cmp.Compare(r.ProjectID, o.ProjectID), cmp.Compare(r.Name, o.Name), cmp.Compare(r.EnterpriseProjectID, o.EnterpriseProjectID))
}

// addPackageCounts changes how many images hold which packages, by registry
// and package. What no image holds any more has no count.
func (db *DB) addPackageCounts(ctx context.Context, changes map[int64]map[int64]int) error {
	for _, number := range slices.Sorted(maps.Keys(changes)) { // the order of locking
		var rows []packageCountRow
		var fewer []int64
		for _, id := range slices.Sorted(maps.Keys(changes[number])) {
			n := changes[number][id]
			rows = append(rows, packageCountRow{PackageID: id, RegistryNumber: number, Images: n})
			if n < 0 {
				fewer = append(fewer, id)
			}
		}
		err := eachChunk(rows, func(chunk []packageCountRow) error {
			_, err := db.write.NewInsert().Model(&chunk).
				On("CONFLICT (package_id, registry_number) DO UPDATE SET images = package_counts.images + excluded.images").Returning("NULL").Exec(ctx)
			return conflict(err, "count of a package")
		})
		if err != nil {
			return err
		}
		err = eachChunk(fewer, func(chunk []int64) error {
			r, err := db.write.NewRaw("DELETE FROM package_counts WHERE registry_number = ? AND package_id IN (?) AND images <= 0", number, bun.List(chunk)).Exec(ctx)
			return wrote(r, err, "counts of packages")
		})
		if err != nil {
			return err
		}
	}
	return db.addSoftwareCounts(ctx, changes)
}

// addSoftwareCounts is [DB.addPackageCounts] by the names of the packages.
func (db *DB) addSoftwareCounts(ctx context.Context, changes map[int64]map[int64]int) error {
	ids := make(map[int64]bool)
	for _, c := range changes {
		for id := range c {
			ids[id] = true
		}
	}
	names, err := db.packageNames(ctx, slices.Sorted(maps.Keys(ids)))
	if err != nil {
		return err
	}
	counts := make(map[softwareCountRow]int) // by rows without a number
	for number, c := range changes {
		var row softwareCountRow
		err := db.write.NewRaw("SELECT project_id, enterprise_project_id FROM registries WHERE number = ?", number).Scan(ctx, &row)
		if err != nil {
			return notFound(err, "registry")
		}
		for id, n := range c {
			row.Name = names[id]
			counts[row] += n
		}
	}
	var rows, fewer []softwareCountRow
	for _, row := range slices.SortedFunc(maps.Keys(counts), softwareCountRow.compare) { // the order of locking
		row.Images = counts[row]
		switch {
		case row.Images == 0:
			continue
		case row.Images < 0:
			fewer = append(fewer, row)
		}
		rows = append(rows, row)
	}
	err = eachChunk(rows, func(chunk []softwareCountRow) error {
		_, err := db.write.NewInsert().Model(&chunk).
			On("CONFLICT (project_id, name, enterprise_project_id) DO UPDATE SET images = software_counts.images + excluded.images").Returning("NULL").Exec(ctx)
		return conflict(err, "count of software")
	})
	if err != nil {
		return err
	}
	return db.dropSoftwareCounts(ctx, fewer)
}

// packageNames returns the names of packages. Errors: NotFound for an id that
// no package has.
func (db *DB) packageNames(ctx context.Context, ids []int64) (map[int64]string, error) {
	names := make(map[int64]string, len(ids))
	err := eachChunk(ids, func(chunk []int64) error {
		var rows []packageRow
		err := db.write.NewRaw("SELECT id, name FROM packages WHERE id IN (?)", bun.List(chunk)).Scan(ctx, &rows)
		if err == nil && len(rows) < len(chunk) {
			return tidewaiter.Errorf(tidewaiter.NotFound, "there is no such package")
		}
		for _, r := range rows {
			names[r.ID] = r.Name
		}
		return notFound(err, "packages")
	})
	return names, err
}

// dropSoftwareCounts removes those of the counts that have come to nothing.
func (db *DB) dropSoftwareCounts(ctx context.Context, rows []softwareCountRow) error {
	names := make(map[string][]string) // by project
	for _, r := range rows {
		names[r.ProjectID] = append(names[r.ProjectID], r.Name)
	}
	for _, project := range slices.Sorted(maps.Keys(names)) {
		err := eachChunk(slices.Compact(names[project]), func(chunk []string) error {
			r, err := db.write.NewRaw("DELETE FROM software_counts WHERE project_id = ? AND name IN (?) AND images <= 0", project, bun.List(chunk)).Exec(ctx)
			return wrote(r, err, "counts of software")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// uncountSoftware counts by name no more what the images of a registry hold
// that is about to be deleted.
func (db *DB) uncountSoftware(ctx context.Context, registryNumber int64) error {
	var counts []packageCountRow
	err := db.write.NewRaw("SELECT package_id, images FROM package_counts WHERE registry_number = ?", registryNumber).Scan(ctx, &counts)
	if err != nil {
		return notFound(err, "counts of packages")
	}
	changes := make(map[int64]int, len(counts))
	for _, c := range counts {
		changes[c.PackageID] = -c.Images
	}
	return db.addSoftwareCounts(ctx, map[int64]map[int64]int{registryNumber: changes})
}
