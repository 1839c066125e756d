package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// PurgeGone removes images that have been gone since before a time, then
// repositories of which the same is true, then manifests that nothing has
// referred to since then. Each call looks at up to limit rows, in a short
// transaction, and returns how many it looked at: 0 when nothing is left.
func (db *DB) PurgeGone(ctx context.Context, before time.Time, limit int) (int64, error) {
	for _, purge := range []func(*DB, context.Context, int64, int) (int, error){
		(*DB).purgeImages, (*DB).purgeRepositories, (*DB).purgeManifests,
	} {
		n := 0
		err := db.Tx(ctx, func(tx *DB) (err error) {
			// Where an index goes, exceptions about it are about its images no more.
			if err := tx.LockFindings(ctx); err != nil {
				return err
			}
			n, err = purge(tx, ctx, micros(before), limit)
			return err
		})
		if err != nil || n > 0 {
			return int64(n), err
		}
	}
	return 0, nil
}

func (db *DB) purgeImages(ctx context.Context, before int64, limit int) (int, error) {
	// Who changes images locks their repository first.
	var repositories []int64
	err := db.read.NewRaw(`SELECT id FROM repositories WHERE id IN
		(SELECT repository_id FROM images WHERE gone > 0 AND gone < ? ORDER BY gone LIMIT ?) ORDER BY id?`,
		before, limit, db.forUpdate()).Scan(ctx, &repositories)
	if err != nil || len(repositories) == 0 {
		return 0, notFound(err, "repositories")
	}
	var rows []imageFacet
	err = db.write.NewRaw(`DELETE FROM images WHERE id IN
		(SELECT id FROM images WHERE gone > 0 AND gone < ? AND repository_id IN (?) ORDER BY gone LIMIT ?)
		RETURNING registry_number, manifest_id, facet`, before, bun.List(repositories), limit).Scan(ctx, &rows)
	if err != nil {
		return 0, fmt.Errorf("delete images: %w", err)
	}
	changes := make(map[int64]map[facet]int)
	var manifests, numbers []int64
	for _, r := range rows {
		manifests = append(manifests, r.ManifestID)
		if changes[r.RegistryNumber] == nil {
			changes[r.RegistryNumber] = make(map[facet]int)
			numbers = append(numbers, r.RegistryNumber)
		}
		changes[r.RegistryNumber][r.Facet]--
	}
	slices.Sort(numbers) // the order of locking
	for _, number := range numbers {
		if err := db.addCounts(ctx, number, changes[number]); err != nil {
			return 0, err
		}
	}
	return len(rows), db.reviewManifests(ctx, manifests, Now())
}

type imageFacet struct {
	RegistryNumber int64
	ManifestID     int64
	Facet          facet
}

func (db *DB) purgeRepositories(ctx context.Context, before int64, limit int) (int, error) {
	var ids []int64
	err := db.read.NewRaw(`SELECT id FROM repositories WHERE gone > 0 AND gone < ?
		AND NOT EXISTS (SELECT 1 FROM images WHERE images.repository_id = repositories.id) ORDER BY id LIMIT ??`,
		before, limit, db.forUpdate()).Scan(ctx, &ids)
	if err != nil || len(ids) == 0 {
		return 0, notFound(err, "repositories")
	}
	var manifests []int64
	err = db.write.NewRaw("DELETE FROM skipped_tags WHERE repository_id IN (?) RETURNING manifest_id", bun.List(ids)).Scan(ctx, &manifests)
	if err != nil {
		return 0, fmt.Errorf("delete skipped tags: %w", err)
	}
	r, err := db.write.NewRaw("DELETE FROM repositories WHERE id IN (?) AND gone > 0", bun.List(ids)).Exec(ctx)
	if err != nil {
		return 0, wrote(r, err, "repositories")
	}
	return len(ids), db.reviewManifests(ctx, manifests, Now())
}

// purgeManifests looks at manifests that may be unused since before a time:
// those that are get deleted, the others are not looked at again.
func (db *DB) purgeManifests(ctx context.Context, before int64, limit int) (int, error) {
	var ids, unused []int64
	err := db.read.NewRaw("SELECT id FROM manifests WHERE review > 0 AND review < ? ORDER BY review LIMIT ?", before, limit).Scan(ctx, &ids)
	if err != nil || len(ids) == 0 {
		return 0, notFound(err, "manifests")
	}
	slices.Sort(ids)
	err = eachChunk(ids, func(chunk []int64) error {
		r, err := db.write.NewRaw("UPDATE manifests SET review = 0 WHERE id IN (?)", bun.List(chunk)).Exec(ctx)
		if err != nil {
			return wrote(r, err, "manifests")
		}
		var part []int64
		err = db.read.NewRaw(`SELECT id FROM manifests WHERE id IN (?)
			AND NOT EXISTS (SELECT 1 FROM images WHERE images.manifest_id = manifests.id)
			AND NOT EXISTS (SELECT 1 FROM skipped_tags WHERE skipped_tags.manifest_id = manifests.id)
			AND NOT EXISTS (SELECT 1 FROM manifest_children WHERE manifest_children.child_id = manifests.id)`,
			bun.List(chunk)).Scan(ctx, &part)
		unused = append(unused, part...)
		return notFound(err, "manifests")
	})
	if err != nil {
		return 0, err
	}
	var children []int64
	err = eachChunk(unused, func(chunk []int64) error {
		if err := db.forgetResults(ctx, chunk); err != nil {
			return err
		}
		remove := func() error {
			if err := db.dropAttachedExceptions(ctx, "manifest_id IN (?)", bun.List(chunk)); err != nil {
				return err
			}
			var part []int64
			err := db.write.NewRaw("DELETE FROM manifest_children WHERE parent_id IN (?) RETURNING child_id", bun.List(chunk)).Scan(ctx, &part)
			if err != nil {
				return fmt.Errorf("delete manifests: %w", err)
			}
			children = append(children, part...)
			r, err := db.write.NewRaw("DELETE FROM manifests WHERE id IN (?)", bun.List(chunk)).Exec(ctx)
			return wrote(r, err, "manifests")
		}
		names, err := db.exceptedIn(ctx, chunk)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return db.CountVulnerabilities(ctx, names, Now(), remove)
		}
		return remove()
	})
	if err != nil {
		return 0, err
	}
	return len(ids), db.reviewManifests(ctx, children, Now())
}

// exceptedIn returns the vulnerabilities that exceptions about manifests are about.
func (db *DB) exceptedIn(ctx context.Context, manifests []int64) (names []VulnerabilityName, err error) {
	var found []string
	err = db.write.NewRaw(`SELECT DISTINCT e.vulnerability FROM exception_images AS i JOIN exceptions AS e ON e.number = i.exception_number
		WHERE i.manifest_id IN (?) ORDER BY e.vulnerability`, bun.List(manifests)).Scan(ctx, &found)
	for _, name := range found {
		for _, kind := range []tidewaiter.VulnerabilityKind{tidewaiter.SystemVulnerability, tidewaiter.ApplicationVulnerability} {
			names = append(names, VulnerabilityName{name, kind})
		}
	}
	return names, notFound(err, "exceptions")
}

// forgetResults counts no more what the images of manifests hold that are
// about to be removed, and ends the waiting for their scans.
func (db *DB) forgetResults(ctx context.Context, manifests []int64) error {
	if err := db.lockScans(ctx, manifests); err != nil {
		return err
	}
	var rows []packageCountRow
	err := db.write.NewRaw(`SELECT r.registry_number, p.package_id, COUNT(*) AS images FROM scan_results AS r
		JOIN image_packages AS p ON p.manifest_id = r.manifest_id WHERE r.manifest_id IN (?) GROUP BY 1, 2 ORDER BY 1, 2`, bun.List(manifests)).Scan(ctx, &rows)
	if err != nil {
		return notFound(err, "packages of images")
	}
	changes := make(map[int64]map[int64]int)
	for _, r := range rows {
		if changes[r.RegistryNumber] == nil {
			changes[r.RegistryNumber] = make(map[int64]int)
		}
		changes[r.RegistryNumber][r.PackageID] = -r.Images
	}
	if err := db.addPackageCounts(ctx, changes); err != nil {
		return err
	}
	for _, number := range slices.Sorted(maps.Keys(changes)) { // the order of locking
		if err := db.uncountVulnerabilities(ctx, number, "manifest_id IN (?)", bun.List(manifests)); err != nil {
			return err
		}
	}
	r, err := db.write.NewRaw(`INSERT INTO dead_manifests (manifest_id) SELECT manifest_id FROM scan_results WHERE manifest_id IN (?)
		ON CONFLICT (manifest_id) DO NOTHING`, bun.List(manifests)).Exec(ctx)
	if err != nil {
		return wrote(r, err, "removed images")
	}
	gone := tidewaiter.ScanOutcome{Failed: true, Code: tidewaiter.FailNotFound, Reason: "the image is no longer in the registry"}
	return db.endItems(ctx, manifests, gone, Now())
}

// PurgePackages removes what is left of images that are gone: which packages
// they held. Each call removes the rows of up to limit images, and returns how
// many it were.
func (db *DB) PurgePackages(ctx context.Context, limit int) (int64, error) {
	var n int64
	err := db.Tx(ctx, func(tx *DB) error {
		var ids []int64
		if err := tx.write.NewRaw("SELECT manifest_id FROM dead_manifests ORDER BY manifest_id LIMIT ?", limit).Scan(ctx, &ids); err != nil || len(ids) == 0 {
			return notFound(err, "removed images")
		}
		n = int64(len(ids))
		for _, table := range []string{"image_packages", "dead_manifests"} {
			r, err := tx.write.NewRaw("DELETE FROM ? WHERE manifest_id IN (?)", bun.Ident(table), bun.List(ids)).Exec(ctx)
			if err != nil {
				return wrote(r, err, table)
			}
		}
		return nil
	})
	return n, err
}

// reviewManifests notes that manifests may be unused from now on.
func (db *DB) reviewManifests(ctx context.Context, ids []int64, now time.Time) error {
	slices.Sort(ids) // the order of locking
	return eachChunk(slices.Compact(ids), func(chunk []int64) error {
		r, err := db.write.NewRaw("UPDATE manifests SET review = ? WHERE id IN (?)", micros(now), bun.List(chunk)).Exec(ctx)
		return wrote(r, err, "manifests")
	})
}
