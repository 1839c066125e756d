package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// scanRow is what the scans of a manifest have come to.
type scanRow struct {
	bun.BaseModel `bun:"scans,alias:scans"`

	ManifestID     int64
	RegistryNumber int64
	WorkID         string
	Status         string
	FailedCode     string
	Reason         string
	Extractors     string
	Scanned        int64
	Vulnerable     int
	UnsafeSettings int
	MaliciousFiles int
	Severity       string
}

// ManifestOfWork returns the manifest that scan work is about.
func ManifestOfWork(w tidewaiter.Work) (int64, error) {
	id, err := strconv.ParseInt(w.Subject, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read work %q: its subject is no manifest", w.ID)
	}
	return id, nil
}

// ScanPart is what work has reported of one image.
type ScanPart struct {
	ManifestID int64
	Code       string // of the contract, "" if it is complete
	Reason     string
}

// PutScanPart notes what work has found out about an image.
func (db *DB) PutScanPart(ctx context.Context, workID string, p ScanPart) error {
	r, err := db.write.NewRaw(`INSERT INTO scan_parts (work_id, manifest_id, failed_code, reason) VALUES (?, ?, ?, ?)
		ON CONFLICT (work_id, manifest_id) DO UPDATE SET failed_code = excluded.failed_code, reason = excluded.reason`,
		workID, p.ManifestID, p.Code, p.Reason).Exec(ctx)
	return wrote(r, err, "part of a scan")
}

// ScanParts returns what work has reported so far, by manifest.
func (db *DB) ScanParts(ctx context.Context, workID string) (map[int64]ScanPart, error) {
	var rows []struct {
		ManifestID         int64
		FailedCode, Reason string
	}
	err := db.read.NewRaw("SELECT manifest_id, failed_code, reason FROM scan_parts WHERE work_id = ?", workID).Scan(ctx, &rows)
	parts := make(map[int64]ScanPart, len(rows))
	for _, r := range rows {
		parts[r.ManifestID] = ScanPart{r.ManifestID, r.FailedCode, r.Reason}
	}
	return parts, notFound(err, "parts of a scan")
}

// Manifest returns a manifest with its children, its registry, and a
// repository that has it: one in which a tag stands for it, if there is any.
// Errors: NotFound.
func (db *DB) Manifest(ctx context.Context, id int64) (m tidewaiter.Manifest, repository string, err error) {
	var row manifestRow
	if err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return m, "", notFound(err, "manifest")
	}
	var registryID string
	if err := db.read.NewRaw("SELECT id FROM registries WHERE number = ?", row.RegistryNumber).Scan(ctx, &registryID); err != nil {
		return m, "", notFound(err, "registry")
	}
	children, err := db.children(ctx, []int64{id})
	if err != nil {
		return m, "", err
	}
	m = tidewaiter.Manifest{
		ID: row.ID, RegistryID: registryID, Digest: row.Digest, MediaType: row.MediaType, Kind: row.Kind, Reason: row.Reason,
		ImageID: row.ImageID, Size: row.Size, Platform: row.platform(), Created: optionalTime(row.Created),
	}
	for _, c := range children[id] {
		m.Children = append(m.Children, c.Digest)
	}
	err = db.read.NewRaw(`SELECT r.name FROM images AS i JOIN repositories AS r ON r.id = i.repository_id
		WHERE i.manifest_id = ? ORDER BY CASE WHEN i.gone > 0 THEN 1 ELSE 0 END, i.id LIMIT 1`, id).Scan(ctx, &repository)
	if errors.Is(err, sql.ErrNoRows) { // no tag: that of an index has one
		err = nil
	}
	return m, repository, notFound(err, "image")
}

// changeImages changes the images that stand for manifests, by a SET clause,
// and puts facets and counts right.
func (db *DB) changeImages(ctx context.Context, manifests []int64, set string, args ...any) error {
	return eachChunk(manifests, func(chunk []int64) error {
		var repositories []int64
		err := db.read.NewRaw("SELECT id FROM repositories WHERE id IN (SELECT repository_id FROM images WHERE manifest_id IN (?)) ORDER BY id?",
			bun.List(chunk), db.forUpdate()).Scan(ctx, &repositories)
		if err != nil || len(repositories) == 0 {
			return notFound(err, "repositories")
		}
		changes := make(map[int64]map[facet]int)
		count := func(sign int, rows []imageFacet) {
			for _, r := range rows {
				if changes[r.RegistryNumber] == nil {
					changes[r.RegistryNumber] = make(map[facet]int)
				}
				changes[r.RegistryNumber][r.Facet] += sign
			}
		}
		var before, after []imageFacet
		err = db.write.NewRaw("SELECT registry_number, facet FROM images WHERE manifest_id IN (?)", bun.List(chunk)).Scan(ctx, &before)
		if err != nil {
			return notFound(err, "images")
		}
		r, err := db.write.NewRaw("UPDATE images SET "+set+" WHERE manifest_id IN (?)", append(slices.Clone(args), bun.List(chunk))...).Exec(ctx)
		if err != nil {
			return wrote(r, err, "images")
		}
		err = db.write.NewRaw("UPDATE images SET facet = "+facetSQL+" WHERE manifest_id IN (?) RETURNING registry_number, facet", bun.List(chunk)).Scan(ctx, &after)
		if err != nil {
			return fmt.Errorf("write images: %w", err)
		}
		count(-1, before)
		count(+1, after)
		for _, number := range slices.Sorted(maps.Keys(changes)) { // the order of locking
			if err := db.addCounts(ctx, number, changes[number]); err != nil {
				return err
			}
		}
		return nil
	})
}

// settleScans shows in the lists of images what is known of manifests, and
// whether a scan waits or is under way.
func (db *DB) settleScans(ctx context.Context, manifests []int64) error {
	return db.changeImages(ctx, manifests, settledSQL())
}

// settledSQL gives an image what is known of the scans of its manifest. A scan
// that failed does not hide the counts of the last good one.
func settledSQL() string {
	return `scan_status = COALESCE((SELECT CASE
		WHEN w.state = 'leased' THEN 'scanning' WHEN w.state = 'queued' THEN 'waiting_for_scan' WHEN s.status = '' THEN 'unscan' ELSE s.status END
		FROM scans AS s LEFT JOIN work AS w ON w.id = s.work_id AND NOT w.stop WHERE s.manifest_id = images.manifest_id), 'unscan')` +
		settledColumn("scan_failed_code", "failed_code", "''") + settledColumn("scanned", "scanned", "0") +
		settledColumn("vulnerable", "vulnerable", "0") + settledColumn("unsafe_settings", "unsafe_settings", "0") +
		settledColumn("malicious_files", "malicious_files", "0") + settledColumn("severity", "severity", "''")
}

func settledColumn(column, from, otherwise string) string {
	return fmt.Sprintf(", %s = COALESCE((SELECT s.%s FROM scans AS s WHERE s.manifest_id = images.manifest_id), %s)", column, from, otherwise)
}

// BeginScan notes that a scan is under way, while its work is leased.
func (db *DB) BeginScan(ctx context.Context, manifestID int64) error {
	return db.settleScans(ctx, []int64{manifestID})
}

// EndScan notes what the scan of a manifest has come to, if it is still the
// one that is wanted, and tells all tasks that wait for it. Work that nobody
// wants any more changes nothing.
func (db *DB) EndScan(ctx context.Context, workID string, manifestID int64, o tidewaiter.ScanOutcome, now time.Time) error {
	if err := db.HoldFindings(ctx); err != nil {
		return err
	}
	var row scanRow
	err := db.write.NewRaw("SELECT * FROM scans WHERE manifest_id = ? AND work_id = ??", manifestID, workID, db.forUpdate()).Scan(ctx, &row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read scan: %w", err)
	}
	status := tidewaiter.ScanSucceeded
	if o.Failed {
		status = tidewaiter.ScanFailed
	}
	r, err := db.write.NewRaw("UPDATE scans SET work_id = '', status = ?, failed_code = ?, reason = ?, extractors = ?, scanned = ? WHERE manifest_id = ?",
		status, o.Code, o.Reason, o.Extractors, micros(now), manifestID).Exec(ctx)
	if err != nil {
		return wrote(r, err, "scan")
	}
	if _, err := db.writeRisks(ctx, []int64{manifestID}); err != nil {
		return err
	}
	if err := db.settleScans(ctx, []int64{manifestID}); err != nil {
		return err
	}
	return db.endItems(ctx, []int64{manifestID}, o, now)
}

// RequeueScans gives the scans of a registry back, to be done by the components
// of a cluster: those under way begin again.
func (db *DB) RequeueScans(ctx context.Context, registryID, clusterID string, now time.Time) error {
	number, err := db.number(ctx, registryID)
	if err != nil {
		return err
	}
	r, err := db.write.NewRaw(`UPDATE work SET cluster_id = ?, attempt = attempt + 1, owner = '', not_before = CASE state WHEN 'leased' THEN ? ELSE not_before END, state = 'queued'
		WHERE id IN (SELECT work_id FROM scans WHERE registry_number = ? AND work_id <> '') AND state IN ('queued', 'leased') AND NOT stop`,
		clusterID, micros(now), number).Exec(ctx)
	if err != nil {
		return wrote(r, err, "work")
	}
	var manifests []int64
	if err := db.write.NewRaw("SELECT manifest_id FROM scans WHERE registry_number = ? AND work_id <> ''", number).Scan(ctx, &manifests); err != nil {
		return notFound(err, "scans")
	}
	return db.settleScans(ctx, manifests)
}

// AbandonScans ends all scans of a registry that is about to be deleted, and
// the waiting of the tasks for them.
func (db *DB) AbandonScans(ctx context.Context, registryID, reason string, now time.Time) error {
	number, err := db.number(ctx, registryID)
	if err != nil {
		return err
	}
	var rows []scanRow
	err = db.write.NewRaw(`SELECT manifest_id, work_id FROM scans WHERE registry_number = ? AND (work_id <> ''
		OR EXISTS (SELECT 1 FROM scan_task_images AS i WHERE i.manifest_id = scans.manifest_id AND i.status = 'waiting')) ORDER BY manifest_id?`,
		number, db.forUpdate()).Scan(ctx, &rows)
	if err != nil {
		return notFound(err, "scans")
	}
	works := nouns(rows, func(r scanRow) string { return r.WorkID })
	manifests := nouns(rows, func(r scanRow) int64 { return r.ManifestID })
	if err := db.stopWorks(ctx, works, now); err != nil {
		return err
	}
	o := tidewaiter.ScanOutcome{Failed: true, Code: tidewaiter.FailNotFound, Reason: reason}
	return db.endItems(ctx, manifests, o, now)
}

// stopWorks stops work by its ids: see [DB.StopWork].
func (db *DB) stopWorks(ctx context.Context, ids []string, now time.Time) error {
	return eachChunk(ids, func(chunk []string) error {
		r, err := db.write.NewRaw(stopSQL+" AND id IN (?)", micros(now), bun.List(chunk)).Exec(ctx)
		return wrote(r, err, "work")
	})
}

// stopSQL stops what is queued, and has what is leased stop.
const stopSQL = `UPDATE work SET stop = TRUE,
	state = CASE state WHEN 'queued' THEN 'stopped' ELSE state END,
	finished = CASE state WHEN 'queued' THEN ? ELSE finished END
	WHERE state IN ('queued', 'leased')`
