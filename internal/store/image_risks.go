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

type imageRiskRow struct {
	bun.BaseModel `bun:"image_risks,alias:image_risks"`

	ManifestID     int64
	RegistryNumber int64
	None           int
	Low            int
	Unknown        int
	Medium         int
	High           int
	Critical       int
	Handled        int
	Gaps           int
	Since          int64
}

func (r imageRiskRow) noun() tidewaiter.Risk {
	return tidewaiter.Risk{Found: [tidewaiter.Ranks]int{r.None, r.Low, r.Unknown, r.Medium, r.High, r.Critical}, Handled: r.Handled, Gaps: r.Gaps}
}

func newImageRiskRow(manifestID, registryNumber int64, r tidewaiter.Risk, since int64) imageRiskRow {
	f := r.Found
	return imageRiskRow{
		ManifestID: manifestID, RegistryNumber: registryNumber, None: f[0], Low: f[1], Unknown: f[2], Medium: f[3], High: f[4], Critical: f[5],
		Handled: r.Handled, Gaps: r.Gaps, Since: since,
	}
}

// Risks returns what is known of the risks of images of one platform, by manifest.
func (db *DB) Risks(ctx context.Context, manifests []int64) (map[int64]tidewaiter.Risk, error) {
	rows, err := db.risks(ctx, manifests)
	risks := make(map[int64]tidewaiter.Risk, len(rows))
	for id, r := range rows {
		risks[id] = r.noun()
	}
	return risks, err
}

func (db *DB) risks(ctx context.Context, manifests []int64) (map[int64]imageRiskRow, error) {
	risks := make(map[int64]imageRiskRow, len(manifests))
	return risks, eachChunk(manifests, func(chunk []int64) error {
		var rows []imageRiskRow
		err := db.read.NewRaw("SELECT * FROM image_risks WHERE manifest_id IN (?)", bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			risks[r.ManifestID] = r
		}
		return notFound(err, "risks of images")
	})
}

// addRisks changes the numbers of images, and shows in lists which of them are
// at another risk then.
func (db *DB) addRisks(ctx context.Context, deltas map[int64]*riskDelta) error {
	var turned []int64
	ids := slices.Sorted(maps.Keys(deltas)) // the order of locking
	err := eachChunk(ids, func(chunk []int64) error {
		known, err := db.risks(ctx, chunk)
		if err != nil {
			return err
		}
		var values []byte
		for _, id := range chunk {
			row, ok := known[id]
			d := deltas[id]
			if !ok || *d == (riskDelta{}) {
				continue // an image that nobody has counted yet
			}
			was := row.noun()
			is := was
			for i, n := range d.found {
				is.Found[i] += int(n)
			}
			is.Handled, is.Gaps = is.Handled+int(d.handled), is.Gaps+int(d.gaps)
			if was.Level() != is.Level() || (was.Vulnerabilities() > 0) != (is.Vulnerabilities() > 0) {
				turned = append(turned, id)
			}
			f := is.Found
			values = fmt.Appendf(values, ", (%d, %d, %d, %d, %d, %d, %d, %d, %d)", id, f[0], f[1], f[2], f[3], f[4], f[5], is.Handled, is.Gaps)
		}
		if len(values) == 0 {
			return nil
		}
		r, err := db.write.NewRaw(`WITH n(id, none, low, unknown, medium, high, critical, handled, gaps) AS (VALUES ?)
			UPDATE image_risks SET none = n.none, low = n.low, unknown = n.unknown, medium = n.medium, high = n.high, critical = n.critical,
			handled = n.handled, gaps = n.gaps FROM n WHERE image_risks.manifest_id = n.id`, bun.Safe(values[len(", "):])).Exec(ctx)
		return wrote(r, err, "risks of images")
	})
	if err != nil || len(turned) == 0 {
		return err
	}
	roots, err := db.rootsOf(ctx, turned)
	if err != nil {
		return err
	}
	return db.settleRisks(ctx, roots)
}

// rootsOf returns what tags may stand for of which images of one platform are a
// part: they themselves, and indexes.
func (db *DB) rootsOf(ctx context.Context, manifests []int64) ([]int64, error) {
	roots := make(map[int64]bool, len(manifests))
	err := eachChunk(manifests, func(chunk []int64) error {
		var parents []int64
		err := db.read.NewRaw("SELECT parent_id FROM manifest_children WHERE child_id IN (?)", bun.List(chunk)).Scan(ctx, &parents)
		for _, id := range slices.Concat(chunk, parents) {
			roots[id] = true
		}
		return notFound(err, "parents of manifests")
	})
	return slices.Sorted(maps.Keys(roots)), err
}

// settleRisks shows in the lists of images at what risk those are that
// manifests stand for, be they of one platform or indexes.
func (db *DB) settleRisks(ctx context.Context, roots []int64) error {
	changed, err := db.writeRisks(ctx, roots)
	if err != nil || len(changed) == 0 {
		return err
	}
	return db.settleScans(ctx, changed)
}

// writeRisks notes beside the scans of manifests at what risk they are, and
// returns those that are at another than before.
func (db *DB) writeRisks(ctx context.Context, roots []int64) (changed []int64, err error) {
	err = eachChunk(roots, func(chunk []int64) error {
		var scans []scanRow
		err := db.write.NewRaw("SELECT manifest_id, status, vulnerable, severity FROM scans WHERE manifest_id IN (?) ORDER BY manifest_id?",
			bun.List(chunk), db.forUpdate()).Scan(ctx, &scans)
		if err != nil {
			return notFound(err, "scans")
		}
		risks, err := db.rootRisks(ctx, nouns(scans, func(s scanRow) int64 { return s.ManifestID }))
		if err != nil {
			return err
		}
		for _, s := range scans {
			severity, vulnerable := levelOf(risks[s.ManifestID], s.Status == tidewaiter.ScanSucceeded)
			if severity == s.Severity && vulnerable == s.Vulnerable {
				continue
			}
			r, err := db.write.NewRaw("UPDATE scans SET severity = ?, vulnerable = ? WHERE manifest_id = ?", severity, vulnerable, s.ManifestID).Exec(ctx)
			if err != nil {
				return wrote(r, err, "scans")
			}
			changed = append(changed, s.ManifestID)
		}
		return nil
	})
	return changed, err
}

// rootRisks returns the risks of the images that manifests stand for.
func (db *DB) rootRisks(ctx context.Context, roots []int64) (map[int64][]tidewaiter.Risk, error) {
	risks := make(map[int64][]tidewaiter.Risk, len(roots))
	return risks, eachChunk(roots, func(chunk []int64) error {
		var rows []struct {
			RootID int64
			imageRiskRow
		}
		err := db.write.NewRaw(`SELECT manifest_id AS root_id, image_risks.* FROM image_risks WHERE manifest_id IN (?0)
			UNION ALL SELECT c.parent_id AS root_id, r.* FROM manifest_children AS c JOIN image_risks AS r ON r.manifest_id = c.child_id WHERE c.parent_id IN (?0)`,
			bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			risks[r.RootID] = append(risks[r.RootID], r.noun())
		}
		return notFound(err, "risks of images")
	})
}

// levelOf returns what lists say of an image: the contract's word for the worst
// risk of its platforms, and 1 if it has a vulnerability. What was not looked into
// to its end is never safe.
func levelOf(risks []tidewaiter.Risk, complete bool) (level string, vulnerable int) {
	if len(risks) == 0 {
		return "", 0
	}
	order := []string{"Security", "", "Low", "Medium", "High"}
	level = "Security"
	for _, r := range risks {
		if l := r.Level(); slices.Index(order, l) > slices.Index(order, level) {
			level = l
		}
		if r.Vulnerabilities() > 0 {
			vulnerable = 1
		}
	}
	if level == "Security" && !complete {
		level = ""
	}
	return level, vulnerable
}

// imageFinding is a vulnerability in a package of one image.
type imageFinding struct {
	PackageID       int64
	VulnerabilityID int64
	Severity        tidewaiter.SeverityRank
}

// imageStanding is what an image of one platform has.
type imageStanding struct {
	findings []imageFinding
	gaps     int
	rules    map[int64][]*rule
	versions map[int64]PackageVersion
}

// standingOf returns what an image of one platform has.
func (db *DB) standingOf(ctx context.Context, manifestID int64) (s imageStanding, err error) {
	err = db.write.NewRaw(`SELECT v.package_id, v.vulnerability_id, v.severity FROM image_packages AS i CROSS JOIN package_vulnerabilities AS v
		WHERE i.manifest_id = ? AND v.package_id = i.package_id`, manifestID).Scan(ctx, &s.findings)
	if err != nil {
		return s, notFound(err, "findings of an image")
	}
	err = db.write.NewRaw(`SELECT COUNT(*) FROM image_packages AS i LEFT JOIN package_matches AS m ON m.package_id = i.package_id
		WHERE i.manifest_id = ? AND (m.package_id IS NULL OR m.gap <> '')`, manifestID).Scan(ctx, &s.gaps)
	if err != nil {
		return s, notFound(err, "gaps of an image")
	}
	ids := make(map[int64]bool)
	for _, f := range s.findings {
		ids[f.VulnerabilityID] = true
	}
	if s.rules, err = db.rulesAbout(ctx, slices.Sorted(maps.Keys(ids))); err != nil || len(s.rules) == 0 {
		return s, err
	}
	packages := make(map[int64]bool)
	for _, f := range s.findings {
		packages[f.PackageID] = true
	}
	s.versions, err = db.PackageVersions(ctx, slices.Sorted(maps.Keys(packages)))
	return s, err
}

// handled tells whether somebody has handled a finding.
func (s imageStanding) handled(i heldImage, f imageFinding) bool {
	return slices.ContainsFunc(s.rules[f.VulnerabilityID], func(r *rule) bool { return r.applies(i, s.versions[f.PackageID]) })
}

// risk counts, and returns which vulnerabilities the image has: true for those
// that nobody has handled in some package.
func (s imageStanding) risk(i heldImage) (tidewaiter.Risk, map[int64]bool) {
	r := tidewaiter.Risk{Gaps: s.gaps}
	open := make(map[int64]bool)
	for _, f := range s.findings {
		handled := s.handled(i, f)
		if handled {
			r.Handled++
		} else {
			r.Found[f.Severity]++
		}
		open[f.VulnerabilityID] = open[f.VulnerabilityID] || !handled
	}
	return r, open
}

// countImage runs f, which changes what an image of one platform holds, and
// puts its numbers right, and those of vulnerabilities. The caller holds the
// findings. was tells whether the image was counted before.
func (db *DB) countImage(ctx context.Context, registryNumber, manifestID int64, now time.Time, f func() error) error {
	known, err := db.risks(ctx, []int64{manifestID})
	if err != nil {
		return err
	}
	place, err := db.placeOf(ctx, registryNumber)
	if err != nil {
		return err
	}
	i := heldImage{manifestID, place}
	row, counted := known[manifestID]
	before := make(map[int64]bool)
	var had imageStanding
	if counted {
		if had, err = db.standingOf(ctx, manifestID); err != nil {
			return err
		}
		_, before = had.risk(i)
	}
	if err := f(); err != nil {
		return err
	}
	if err := db.followTags(ctx, manifestID); err != nil {
		return err
	}
	s, err := db.standingOf(ctx, manifestID)
	if err != nil {
		return err
	}
	risk, after := s.risk(i)
	since := micros(now)
	if counted {
		since = row.Since
	}
	row = newImageRiskRow(manifestID, registryNumber, risk, since)
	r, err := db.write.NewInsert().Model(&row).On(`CONFLICT (manifest_id) DO UPDATE SET none = excluded.none, low = excluded.low, unknown = excluded.unknown,
		medium = excluded.medium, high = excluded.high, critical = excluded.critical, handled = excluded.handled, gaps = excluded.gaps`).Returning("NULL").Exec(ctx)
	if err != nil {
		return wrote(r, err, "risk of an image")
	}
	if err := db.addVulnerabilityCounts(ctx, placeDeltas(place, before, after)); err != nil {
		return err
	}
	if err := db.putContentChange(ctx, manifestID, counted, had.findings, s.findings, now); err != nil {
		return err
	}
	roots, err := db.rootsOf(ctx, []int64{manifestID})
	if err != nil {
		return err
	}
	return db.settleRisks(ctx, roots)
}

// putContentChange notes that an image has other findings, as it was scanned
// for the first time, or by other extractors.
func (db *DB) putContentChange(ctx context.Context, manifestID int64, counted bool, before, after []imageFinding, now time.Time) error {
	c := NewFindingChange{Cause: CauseContent, ManifestID: manifestID, Created: now, Images: []int64{manifestID}}
	if !counted {
		if len(after) == 0 {
			return nil
		}
		return db.PutFindingChange(ctx, c)
	}
	had, has := make(map[imageFinding]bool, len(before)), make(map[imageFinding]bool, len(after))
	for _, f := range before {
		had[f] = true
	}
	names := make(map[int64]VulnerabilityName)
	var ids []int64
	for _, f := range after {
		has[f] = true
		if !had[f] {
			ids = append(ids, f.VulnerabilityID)
		}
	}
	for _, f := range before {
		if !has[f] {
			ids = append(ids, f.VulnerabilityID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := db.nameVulnerabilities(ctx, ids, names); err != nil {
		return err
	}
	for _, f := range after {
		if !had[f] {
			c.Changes = append(c.Changes, FindingChange{VulnerabilityName: names[f.VulnerabilityID], PackageID: f.PackageID, After: &FindingState{Severity: f.Severity}})
		}
	}
	for _, f := range before {
		if !has[f] {
			c.Changes = append(c.Changes, FindingChange{VulnerabilityName: names[f.VulnerabilityID], PackageID: f.PackageID, Before: &FindingState{Severity: f.Severity}})
		}
	}
	return db.PutFindingChange(ctx, c)
}

// placeDeltas returns what it means for vulnerabilities that one image has
// others than before.
func placeDeltas(place *registryPlace, before, after map[int64]bool) map[placeCount]*vulnerabilityDelta {
	all := maps.Clone(before)
	maps.Copy(all, after)
	deltas := make(map[placeCount]*vulnerabilityDelta, len(all))
	for id := range all {
		s := imageState{openBefore: before[id], openAfter: after[id]}
		_, s.foundBefore = before[id]
		_, s.foundAfter = after[id]
		d := &vulnerabilityDelta{}
		d.add(s)
		if *d != (vulnerabilityDelta{}) {
			deltas[placeCount{id, place.ProjectID, place.EnterpriseProjectID}] = d
		}
	}
	return deltas
}

func (db *DB) placeOf(ctx context.Context, registryNumber int64) (*registryPlace, error) {
	place := &registryPlace{}
	err := db.write.NewRaw("SELECT number, project_id, enterprise_project_id, type FROM registries WHERE number = ?", registryNumber).Scan(ctx, place)
	return place, notFound(err, "registry")
}

// followTags notes that exceptions are about a manifest that tags of theirs
// stand for by now, which has just been scanned.
func (db *DB) followTags(ctx context.Context, manifestID int64) error {
	r, err := db.write.NewRaw(`INSERT INTO exception_images (exception_number, image_id, manifest_id)
		SELECT DISTINCT e.exception_number, e.image_id, i.manifest_id FROM images AS i JOIN exception_images AS e ON e.image_id = i.id
		WHERE i.gone = 0 AND (i.manifest_id = ?0 OR i.manifest_id IN (SELECT parent_id FROM manifest_children WHERE child_id = ?0))
		ON CONFLICT DO NOTHING`, manifestID).Exec(ctx)
	return wrote(r, err, "images of exceptions")
}

// uncountVulnerabilities counts no more what those of the images of a registry have that
// fit a condition: they are about to be removed.
func (db *DB) uncountVulnerabilities(ctx context.Context, registryNumber int64, condition string, args ...any) error {
	place, err := db.placeOf(ctx, registryNumber)
	if err != nil {
		return err
	}
	var manifests []int64
	err = db.write.NewRaw("SELECT manifest_id FROM image_risks WHERE registry_number = ? AND "+condition+" ORDER BY manifest_id",
		append([]any{registryNumber}, args...)...).Scan(ctx, &manifests)
	if err != nil {
		return notFound(err, "risks of images")
	}
	deltas := make(map[placeCount]*vulnerabilityDelta)
	for _, id := range manifests {
		s, err := db.standingOf(ctx, id)
		if err != nil {
			return err
		}
		_, before := s.risk(heldImage{id, place})
		for key, d := range placeDeltas(place, before, nil) {
			if deltas[key] == nil {
				deltas[key] = &vulnerabilityDelta{}
			}
			deltas[key].images += d.images
			deltas[key].handled += d.handled
		}
	}
	return db.addVulnerabilityCounts(ctx, deltas)
}

// CountNextImages counts up to limit images that were scanned before this
// server knew of advisories, and returns how many it were.
func (db *DB) CountNextImages(ctx context.Context, limit int, now time.Time) (int, error) {
	n := 0
	err := db.Tx(ctx, func(tx *DB) error {
		n = 0
		if err := tx.HoldFindings(ctx); err != nil {
			return err
		}
		var rows []scanResultRow
		err := tx.write.NewRaw(`SELECT r.manifest_id, r.registry_number, r.scanned FROM scan_results AS r LEFT JOIN image_risks AS i ON i.manifest_id = r.manifest_id
			WHERE i.manifest_id IS NULL ORDER BY r.registry_number, r.manifest_id LIMIT ?`, limit).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "results of scans")
		}
		for _, r := range rows {
			err := tx.countImage(ctx, r.RegistryNumber, r.ManifestID, fromMicros(r.Scanned), func() error { return nil })
			if err != nil {
				return err
			}
		}
		n = len(rows)
		return nil
	})
	return n, err
}
