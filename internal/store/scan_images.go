package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// ScanImage is an image that is to be scanned, and what is known of it.
type ScanImage struct {
	ID         int64
	ManifestID int64
	RegistryID string
	ClusterID  string
	Kind       string // of registry.ArtifactKind
	Reason     string // why it cannot be scanned, or ""

	Status     string // how the last scan ended: success, failed, or ""
	Extractors string // of the last scan
	WorkID     string // that is queued or under way, or ""
	// AsksAlways says that its registry is asked at each scan: what is attached to
	// images may be otherwise each time.
	AsksAlways bool
}

// Selection says which images are wanted: those of the ids, else those that
// the filter lets through.
type Selection struct {
	Filter ImageFilter
	IDs    []int64
}

// imagesAtOnce is how many images are looked at together.
const imagesAtOnce = 500

// SelectImages returns images of an extent, in the order of their ids after
// one, and whether these are the last. Those that are gone from their registry
// are not among them.
func (db *DB) SelectImages(ctx context.Context, e tidewaiter.Extent, s Selection, after int64) (list []ScanImage, last bool, err error) {
	s.Filter.WithGone = false
	err = db.snapshot(ctx, func(tx *DB) error {
		l, err := tx.newImageList(ctx, e, s.Filter)
		if err != nil {
			return err
		}
		g := l.group(newFacetFilter(s.Filter), false)
		q := tx.read.NewSelect().TableExpr("images AS i").Join("JOIN manifests AS m ON m.id = i.manifest_id").
			Join("JOIN registries AS g ON g.number = i.registry_number").
			ColumnExpr("i.id, i.manifest_id, g.id AS registry_id, g.cluster_id, m.kind, m.reason").
			Where("i.registry_number IN (?) AND i.id > ?", bun.List(g.numbers()), after)
		switch {
		case g.plain:
			q = q.Where("i.facet < ?", facetGone)
		case g.facets != nil:
			q = q.Where("i.facet IN (?)", bun.List(g.facets))
		}
		if s.IDs != nil {
			q = q.Where("i.id IN (?)", bun.List(s.IDs))
		}
		q = tx.whereImage(q, s.Filter)
		if s.Filter.ofRepository() {
			q = tx.whereRepository(q.Join("JOIN repositories AS r ON r.id = i.repository_id"), s.Filter)
		}
		list = nil
		return notFound(q.OrderExpr("i.id").Limit(imagesAtOnce).Scan(ctx, &list), "images")
	})
	return list, len(list) < imagesAtOnce, err
}

// KeepRegistries keeps registries as they are, against all who lock them, until
// the transaction ends.
func (db *DB) KeepRegistries(ctx context.Context, ids []string) error {
	if db.sqlite { // which has one writer at a time
		return nil
	}
	var numbers []int64
	err := db.read.NewRaw("SELECT number FROM registries WHERE id IN (?) ORDER BY number FOR SHARE", bun.List(ids)).Scan(ctx, &numbers)
	return notFound(err, "registries")
}

// LockScan holds what is known of the scans of a manifest, if anything is, until
// the transaction ends.
func (db *DB) LockScan(ctx context.Context, manifestID int64) error {
	return db.lockScans(ctx, []int64{manifestID})
}

func (db *DB) lockScans(ctx context.Context, manifests []int64) error {
	return eachChunk(manifests, func(chunk []int64) error {
		var ids []int64
		err := db.read.NewRaw("SELECT manifest_id FROM scans WHERE manifest_id IN (?) ORDER BY manifest_id?", bun.List(chunk), db.forUpdate()).Scan(ctx, &ids)
		return notFound(err, "scans")
	})
}

// LockScans returns images with what is known of their scans, and holds it, and
// their registries, until the transaction ends. Those whose manifests are gone
// by now are left out. Errors: Conflict if one goes at this very moment.
//
// What a transaction about scans locks, it locks in this order: registries,
// scans, work, repositories, images and their counts, images of tasks, tasks,
// totals.
func (db *DB) LockScans(ctx context.Context, images []ScanImage) ([]ScanImage, error) {
	registries := nouns(images, func(i ScanImage) string { return i.RegistryID })
	slices.Sort(registries)
	if err := db.KeepRegistries(ctx, slices.Compact(registries)); err != nil {
		return nil, err
	}
	ids := nouns(images, func(i ScanImage) int64 { return i.ManifestID })
	slices.Sort(ids)
	ids = slices.Compact(ids)
	known := make(map[int64]scanRow, len(ids))
	err := eachChunk(ids, func(chunk []int64) error {
		// So that there is a row to hold.
		r, err := db.write.NewRaw(`INSERT INTO scans (manifest_id, registry_number, work_id, status, failed_code, reason, extractors, scanned, vulnerable, unsafe_settings, malicious_files, severity)
			SELECT id, registry_number, '', '', '', '', '', 0, 0, 0, 0, '' FROM manifests WHERE id IN (?) ORDER BY id ON CONFLICT (manifest_id) DO NOTHING`, bun.List(chunk)).Exec(ctx)
		if err != nil && isForeignKey(err) {
			return tidewaiter.Wrap(tidewaiter.Conflict, err, "an image was removed at the same moment")
		}
		if err != nil {
			return wrote(r, err, "scans")
		}
		var rows []scanRow
		err = db.write.NewRaw("SELECT * FROM scans WHERE manifest_id IN (?) ORDER BY manifest_id?", bun.List(chunk), db.forUpdate()).Scan(ctx, &rows)
		for _, r := range rows {
			known[r.ManifestID] = r
		}
		return notFound(err, "scans")
	})
	if err != nil {
		return nil, err
	}
	open, err := db.openWorks(ctx, known)
	if err != nil {
		return nil, err
	}
	asked, err := db.trustAttachedVEX(ctx, slices.Compact(registries))
	if err != nil {
		return nil, err
	}
	list := make([]ScanImage, 0, len(images))
	for _, i := range images {
		s, there := known[i.ManifestID]
		if !there {
			continue
		}
		i.AsksAlways = asked[i.RegistryID]
		i.Status, i.Extractors = s.Status, s.Extractors
		if open[s.WorkID] {
			i.WorkID = s.WorkID
		}
		list = append(list, i)
	}
	return list, nil
}

// trustAttachedVEX tells which registries have the setting of that name.
func (db *DB) trustAttachedVEX(ctx context.Context, ids []string) (map[string]bool, error) {
	var rows []struct{ ID, Settings string }
	if err := db.write.NewRaw("SELECT id, settings FROM registries WHERE id IN (?)", bun.List(ids)).Scan(ctx, &rows); err != nil {
		return nil, notFound(err, "registries")
	}
	trust := make(map[string]bool, len(rows))
	for _, r := range rows {
		settings, err := decodeSettings(r.ID, r.Settings)
		if err != nil {
			return nil, err
		}
		trust[r.ID] = settings.TrustAttachedVEX
	}
	return trust, nil
}

// openWorks tells which work of scans is queued or under way.
func (db *DB) openWorks(ctx context.Context, scans map[int64]scanRow) (map[string]bool, error) {
	var ids []string
	for _, s := range scans {
		if s.WorkID != "" {
			ids = append(ids, s.WorkID)
		}
	}
	open := make(map[string]bool, len(ids))
	err := eachChunk(ids, func(chunk []string) error {
		var part []string
		err := db.write.NewRaw("SELECT id FROM work WHERE id IN (?) AND state IN ('queued', 'leased') AND NOT stop", bun.List(chunk)).Scan(ctx, &part)
		for _, id := range part {
			open[id] = true
		}
		return notFound(err, "work")
	})
	return open, err
}

// BeginScans queues work about manifests, which [DB.LockScans] holds, and has
// work that is queued already done earlier where that is wanted: with a higher
// priority, and not later than due, unless that is zero.
func (db *DB) BeginScans(ctx context.Context, works []tidewaiter.Work, joined []string, p tidewaiter.ScanPriority, due time.Time) error {
	err := eachChunk(works, func(chunk []tidewaiter.Work) error {
		rows := make([]workRow, 0, len(chunk))
		var pairs strings.Builder
		for i, w := range chunk {
			row, err := newWorkRow(w)
			if err != nil {
				return err
			}
			rows = append(rows, row)
			manifest, err := ManifestOfWork(w)
			if err != nil {
				return err
			}
			if i > 0 {
				pairs.WriteString(", ")
			}
			fmt.Fprintf(&pairs, "(%d, '%s')", manifest, w.ID)
		}
		if _, err := db.write.NewInsert().Model(&rows).Exec(ctx); err != nil {
			return conflict(err, "work")
		}
		// The ids are our own: hexadecimal digits.
		r, err := db.write.NewRaw(`WITH p(manifest, work) AS (VALUES ?)
			UPDATE scans SET work_id = (SELECT work FROM p WHERE p.manifest = scans.manifest_id) WHERE manifest_id IN (SELECT manifest FROM p)`,
			bun.Safe(pairs.String())).Exec(ctx)
		return wrote(r, err, "scans")
	})
	if err != nil {
		return err
	}
	return eachChunk(joined, func(chunk []string) error {
		latest := int64(math.MaxInt64)
		if !due.IsZero() {
			latest = micros(due)
		}
		r, err := db.write.NewRaw(`UPDATE work SET priority = CASE WHEN priority > ?0 THEN ?0 ELSE priority END, not_before = CASE WHEN not_before > ?1 AND failures = 0 THEN ?1 ELSE not_before END
			WHERE id IN (?2) AND state = 'queued'`, p, latest, bun.List(chunk)).Exec(ctx)
		return wrote(r, err, "work")
	})
}

// RefreshScans notes that what is known of manifests is still true.
func (db *DB) RefreshScans(ctx context.Context, manifests []int64, now time.Time) error {
	return eachChunk(manifests, func(chunk []int64) error {
		r, err := db.write.NewRaw("UPDATE scans SET scanned = ? WHERE manifest_id IN (?)", micros(now), bun.List(chunk)).Exec(ctx)
		return wrote(r, err, "scans")
	})
}

// RefuseScans notes that manifests cannot be scanned.
func (db *DB) RefuseScans(ctx context.Context, manifests []int64, o tidewaiter.ScanOutcome, now time.Time) error {
	return eachChunk(manifests, func(chunk []int64) error {
		r, err := db.write.NewRaw("UPDATE scans SET status = ?, failed_code = ?, reason = ?, scanned = ? WHERE manifest_id IN (?)",
			tidewaiter.ScanFailed, o.Code, o.Reason, micros(now), bun.List(chunk)).Exec(ctx)
		return wrote(r, err, "scans")
	})
}

// ShowScans has the lists of images show what is known of manifests now.
func (db *DB) ShowScans(ctx context.Context, manifests []int64) error {
	slices.Sort(manifests)
	return db.settleScans(ctx, slices.Compact(manifests))
}

// StrandedScans returns manifests that tasks wait for though there is no work
// about them: what a server that broke down in the middle may leave behind.
func (db *DB) StrandedScans(ctx context.Context, limit int) ([]ScanImage, error) {
	var list []ScanImage
	err := db.read.NewRaw(`SELECT m.id AS manifest_id, MIN(g.id) AS registry_id, MIN(g.cluster_id) AS cluster_id
		FROM scan_task_images AS i JOIN manifests AS m ON m.id = i.manifest_id JOIN registries AS g ON g.number = m.registry_number
		WHERE i.status = 'waiting' AND NOT EXISTS (SELECT 1 FROM scans AS s JOIN work AS w ON w.id = s.work_id
			WHERE s.manifest_id = i.manifest_id AND w.state IN ('queued', 'leased') AND NOT w.stop)
		GROUP BY m.id ORDER BY m.id LIMIT ?`, limit).Scan(ctx, &list)
	return list, notFound(err, "scans")
}

// OrphanedScans returns manifests that tasks wait for though they are gone.
func (db *DB) OrphanedScans(ctx context.Context, limit int) ([]int64, error) {
	var ids []int64
	err := db.read.NewRaw(`SELECT DISTINCT manifest_id FROM scan_task_images AS i WHERE status = 'waiting'
		AND NOT EXISTS (SELECT 1 FROM manifests AS m WHERE m.id = i.manifest_id) ORDER BY manifest_id LIMIT ?`, limit).Scan(ctx, &ids)
	return ids, notFound(err, "scans")
}

// EndItems ends the waiting of all tasks for manifests.
func (db *DB) EndItems(ctx context.Context, manifests []int64, o tidewaiter.ScanOutcome, now time.Time) error {
	return db.Tx(ctx, func(tx *DB) error { return tx.endItems(ctx, manifests, o, now) })
}
