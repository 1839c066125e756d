package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// VulnerabilityName is what a vulnerability is known by.
type VulnerabilityName struct {
	Name string
	Kind tidewaiter.VulnerabilityKind
}

func (n VulnerabilityName) isSystem() bool { return n.Kind == tidewaiter.SystemVulnerability }

func (n VulnerabilityName) compare(o VulnerabilityName) int {
	return cmp.Or(cmp.Compare(n.Name, o.Name), cmp.Compare(n.Kind, o.Kind))
}

func kindOf(isSystem bool) tidewaiter.VulnerabilityKind {
	if isSystem {
		return tidewaiter.SystemVulnerability
	}
	return tidewaiter.ApplicationVulnerability
}

type vulnerabilityRow struct {
	bun.BaseModel `bun:"vulnerabilities,alias:vulnerabilities"`

	ID        int64 `bun:",pk,autoincrement"`
	Name      string
	IsSystem  bool
	Severity  tidewaiter.SeverityRank
	Score     int // hundredths
	Exploited int64
	Created   int64
}

// PackageFinding is a vulnerability that a version of a package has, as far as
// the set of advisories in force knows.
type PackageFinding struct {
	VulnerabilityName

	PackageID int64
	Severity  tidewaiter.SeverityRank
	Score     int    // of CVSS, in hundredths; 0 if there is none
	Advisory  string // the one that has the last word
	Status    tidewaiter.MatchStatus
	Fixed     string // the nearest version that does not have it, or ""
	FirstSeen time.Time
	SetNumber int64     // with which this was last changed
	Exploited time.Time // since when it is known to be, or zero
	Document  FindingDocument
}

// FindingDocument is what of a [PackageFinding] no query asks for.
type FindingDocument struct {
	Advisories []string                  `json:"advisories"`
	Aliases    []string                  `json:"aliases,omitempty"`
	Method     string                    `json:"method,omitempty"` // of the severity, as [tidewaiter.Severity] has it
	Vector     string                    `json:"vector,omitempty"`
	Source     string                    `json:"source,omitempty"` // the advisory that the severity is from
	Fixed      []string                  `json:"fixed,omitempty"`
	Urgency    string                    `json:"urgency,omitempty"`
	Kind       string                    `json:"kind,omitempty"` // malicious, unmaintained, …
	Ecosystem  string                    `json:"ecosystem"`
	Name       string                    `json:"name"`    // of the package, as the advisory has it
	Version    string                    `json:"version"` // what was compared
	Reason     tidewaiter.MatchReason    `json:"reason"`
	Range      []tidewaiter.VersionEvent `json:"range,omitempty"`
}

type packageVulnerabilityRow struct {
	bun.BaseModel `bun:"package_vulnerabilities,alias:package_vulnerabilities"`

	PackageID       int64
	VulnerabilityID int64
	Severity        tidewaiter.SeverityRank
	Score           int
	Advisory        string
	Status          tidewaiter.MatchStatus
	Fixed           string
	FirstSeen       int64
	SetNumber       int64
	Document        string
}

// same tells whether two rows say the same of a package.
func (r packageVulnerabilityRow) same(o packageVulnerabilityRow) bool {
	return r.Severity == o.Severity && r.Score == o.Score && r.Advisory == o.Advisory && r.Status == o.Status && r.Fixed == o.Fixed && r.Document == o.Document
}

// PackageMatches is all that is known of one version of a package.
type PackageMatches struct {
	PackageID int64
	Gap       tidewaiter.MatchGap
	Subjects  []PackageSubject // nil to keep those that are there
	Findings  []PackageFinding // their PackageID, FirstSeen and SetNumber do not count
}

// PackageSubject is a name under which advisories may speak of a package.
type PackageSubject struct{ Ecosystem, Name string }

// UnmatchedPackages returns those of some package versions of which nothing is
// known yet, in order.
func (db *DB) UnmatchedPackages(ctx context.Context, ids []int64) ([]PackageVersion, error) {
	missing := make(map[int64]bool, len(ids))
	for _, id := range ids {
		missing[id] = true
	}
	ids = slices.Sorted(maps.Keys(missing))
	err := eachChunk(ids, func(chunk []int64) error {
		var known []int64
		err := db.read.NewRaw("SELECT package_id FROM package_matches WHERE package_id IN (?)", bun.List(chunk)).Scan(ctx, &known)
		for _, id := range known {
			delete(missing, id)
		}
		return notFound(err, "matches of packages")
	})
	if err != nil {
		return nil, err
	}
	return db.packageVersions(ctx, slices.Sorted(maps.Keys(missing)))
}

// packageVersions returns package versions in the order of their ids.
func (db *DB) packageVersions(ctx context.Context, ids []int64) ([]PackageVersion, error) {
	found, err := db.PackageVersions(ctx, ids)
	return slices.SortedFunc(maps.Values(found), func(a, b PackageVersion) int { return cmp.Compare(a.ID, b.ID) }), err
}

// NextUnmatched returns up to limit package versions that some image holds and of which nothing is
// known yet: those from before this server knew of advisories.
func (db *DB) NextUnmatched(ctx context.Context, limit int) ([]PackageVersion, error) {
	var ids []int64
	err := db.read.NewRaw(`SELECT id FROM packages WHERE NOT EXISTS (SELECT 1 FROM package_matches AS m WHERE m.package_id = packages.id)
		ORDER BY id LIMIT ?`, limit).Scan(ctx, &ids)
	if err != nil {
		return nil, notFound(err, "packages")
	}
	return db.packageVersions(ctx, ids)
}

// PackagesNamed returns the ids of the package versions of which advisories
// speak under some names, in order.
func (db *DB) PackagesNamed(ctx context.Context, subjects []PackageSubject) ([]int64, error) {
	wanted := make(map[PackageSubject]bool, len(subjects))
	names := make(map[string]bool, len(subjects))
	for _, s := range subjects {
		s.Name = shortened(s.Name)
		wanted[s], names[s.Name] = true, true
	}
	found := make(map[int64]bool)
	err := eachChunk(slices.Sorted(maps.Keys(names)), func(chunk []string) error {
		var rows []packageSubjectRow
		err := db.read.NewRaw("SELECT * FROM package_subjects WHERE name IN (?)", bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			if wanted[PackageSubject{r.Ecosystem, r.Name}] {
				found[r.PackageID] = true
			}
		}
		return notFound(err, "subjects of advisories")
	})
	return slices.Sorted(maps.Keys(found)), err
}

// PackagesOfEcosystems returns the ids of the package versions that belong to
// some ecosystems, with their releases, in order.
func (db *DB) PackagesOfEcosystems(ctx context.Context, ecosystems []string) (ids []int64, err error) {
	err = eachChunk(ecosystems, func(chunk []string) error {
		var some []int64
		err := db.read.NewRaw("SELECT DISTINCT package_id FROM package_subjects WHERE ecosystem IN (?)", bun.List(chunk)).Scan(ctx, &some)
		ids = append(ids, some...)
		return notFound(err, "subjects of advisories")
	})
	slices.Sort(ids)
	return slices.Compact(ids), err
}

// MatchedPackages returns the ids of all package versions that were matched, in order.
func (db *DB) MatchedPackages(ctx context.Context) (ids []int64, err error) {
	err = db.read.NewRaw("SELECT package_id FROM package_matches ORDER BY package_id").Scan(ctx, &ids)
	return ids, notFound(err, "matches of packages")
}

// Ecosystems returns the ecosystems, with their releases, of which there are packages.
func (db *DB) Ecosystems(ctx context.Context) (names []string, err error) {
	err = db.read.NewRaw("SELECT DISTINCT ecosystem FROM package_subjects ORDER BY ecosystem").Scan(ctx, &names)
	return names, notFound(err, "subjects of advisories")
}

type packageSubjectRow struct {
	bun.BaseModel `bun:"package_subjects,alias:package_subjects"`

	Name      string
	Ecosystem string
	PackageID int64
}

type packageMatchRow struct {
	bun.BaseModel `bun:"package_matches,alias:package_matches"`

	PackageID int64
	Gap       tidewaiter.MatchGap
}

// PutNewMatches writes what is known of package versions that no image holds
// yet, or that were never counted. Those of which something is known already
// stay as they are. The caller holds the findings.
func (db *DB) PutNewMatches(ctx context.Context, list []PackageMatches, setNumber int64, now time.Time) error {
	ids, err := db.vulnerabilityIDs(ctx, list, now)
	if err != nil {
		return err
	}
	list = slices.SortedFunc(slices.Values(list), func(a, b PackageMatches) int { return cmp.Compare(a.PackageID, b.PackageID) }) // the order of locking
	return eachChunk(list, func(chunk []PackageMatches) error {
		rows := nouns(chunk, func(m PackageMatches) packageMatchRow { return packageMatchRow{PackageID: m.PackageID, Gap: m.Gap} })
		var fresh []int64
		err := db.write.NewInsert().Model(&rows).On("CONFLICT (package_id) DO NOTHING").Returning("package_id").Scan(ctx, &fresh)
		if err != nil {
			return notFound(err, "matches of packages")
		}
		var subjects []packageSubjectRow
		var found []packageVulnerabilityRow
		for _, m := range chunk {
			if !slices.Contains(fresh, m.PackageID) {
				continue
			}
			subjects = append(subjects, m.subjectRows()...)
			for _, f := range m.Findings {
				row, err := f.row(m.PackageID, ids[f.VulnerabilityName], setNumber, now)
				if err != nil {
					return err
				}
				found = append(found, row)
			}
		}
		if err := db.insertSubjects(ctx, subjects); err != nil {
			return err
		}
		if err := db.insertPackageVulnerabilities(ctx, found); err != nil {
			return err
		}
		return db.raiseSeverities(ctx, found)
	})
}

func (m PackageMatches) subjectRows() []packageSubjectRow {
	seen := make(map[PackageSubject]bool)
	var rows []packageSubjectRow
	for _, s := range m.Subjects {
		s.Name = shortened(s.Name)
		if !seen[s] {
			rows = append(rows, packageSubjectRow{Name: s.Name, Ecosystem: s.Ecosystem, PackageID: m.PackageID})
		}
		seen[s] = true
	}
	return rows
}

func (db *DB) insertSubjects(ctx context.Context, rows []packageSubjectRow) error {
	return eachChunk(rows, func(chunk []packageSubjectRow) error {
		r, err := db.write.NewInsert().Model(&chunk).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
		return wrote(r, err, "subjects of advisories")
	})
}

func (f PackageFinding) row(packageID, vulnerabilityID, setNumber int64, now time.Time) (packageVulnerabilityRow, error) {
	text, err := json.Marshal(f.Document)
	if err != nil {
		return packageVulnerabilityRow{}, fmt.Errorf("write finding: %w", err)
	}
	return packageVulnerabilityRow{
		PackageID: packageID, VulnerabilityID: vulnerabilityID, Severity: f.Severity, Score: f.Score, Advisory: f.Advisory, Status: f.Status,
		Fixed: f.Fixed, FirstSeen: micros(now), SetNumber: setNumber, Document: string(text),
	}, nil
}

func (db *DB) insertPackageVulnerabilities(ctx context.Context, rows []packageVulnerabilityRow) error {
	return eachChunk(rows, func(chunk []packageVulnerabilityRow) error {
		r, err := db.write.NewInsert().Model(&chunk).On(`CONFLICT (package_id, vulnerability_id) DO UPDATE SET severity = excluded.severity, score = excluded.score,
			advisory = excluded.advisory, status = excluded.status, fixed = excluded.fixed, set_number = excluded.set_number, document = excluded.document`).
			Returning("NULL").Exec(ctx)
		return wrote(r, err, "findings of packages")
	})
}

// vulnerabilityIDs returns the ids of all vulnerabilities that packages have,
// and adds those that are new.
func (db *DB) vulnerabilityIDs(ctx context.Context, list []PackageMatches, now time.Time) (map[VulnerabilityName]int64, error) {
	wanted := make(map[VulnerabilityName]time.Time)
	for _, m := range list {
		for _, f := range m.Findings {
			wanted[f.VulnerabilityName] = f.Exploited
		}
	}
	names := slices.SortedFunc(maps.Keys(wanted), VulnerabilityName.compare) // the order of locking
	ids, err := db.knownVulnerabilities(ctx, names)
	if err != nil {
		return nil, err
	}
	var fresh []vulnerabilityRow
	for _, n := range names {
		if ids[n] == 0 {
			fresh = append(fresh, vulnerabilityRow{Name: n.Name, IsSystem: n.isSystem(), Exploited: optionalMicros(wanted[n]), Created: micros(now)})
		}
	}
	if len(fresh) == 0 {
		return ids, nil
	}
	err = eachChunk(fresh, func(chunk []vulnerabilityRow) error {
		r, err := db.write.NewInsert().Model(&chunk).On("CONFLICT (name, is_system) DO NOTHING").Returning("NULL").Exec(ctx)
		return wrote(r, err, "vulnerabilities")
	})
	if err != nil {
		return nil, err
	}
	return db.knownVulnerabilities(ctx, names)
}

// SetExploited notes which of the vulnerabilities that there are are exploited,
// and since when; all others are not.
func (db *DB) SetExploited(ctx context.Context, since map[string]time.Time) error {
	var rows []vulnerabilityRow
	if err := db.write.NewRaw("SELECT id, name, exploited FROM vulnerabilities WHERE exploited > 0 ORDER BY id").Scan(ctx, &rows); err != nil {
		return notFound(err, "vulnerabilities")
	}
	err := eachChunk(slices.Sorted(maps.Keys(since)), func(chunk []string) error {
		var some []vulnerabilityRow
		err := db.write.NewRaw("SELECT id, name, exploited FROM vulnerabilities WHERE exploited = 0 AND name IN (?) ORDER BY id", bun.List(chunk)).Scan(ctx, &some)
		rows = append(rows, some...)
		return notFound(err, "vulnerabilities")
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		is := optionalMicros(since[r.Name])
		if is == r.Exploited {
			continue
		}
		if _, err := db.write.NewRaw("UPDATE vulnerabilities SET exploited = ? WHERE id = ?", is, r.ID).Exec(ctx); err != nil {
			return fmt.Errorf("write vulnerabilities: %w", err)
		}
	}
	return nil
}

// knownVulnerabilities returns the ids of those of the names that there are.
func (db *DB) knownVulnerabilities(ctx context.Context, names []VulnerabilityName) (map[VulnerabilityName]int64, error) {
	ids := make(map[VulnerabilityName]int64, len(names))
	err := eachChunk(names, func(chunk []VulnerabilityName) error {
		var rows []vulnerabilityRow
		err := db.write.NewRaw("SELECT id, name, is_system FROM vulnerabilities WHERE name IN (?)",
			bun.List(nouns(chunk, func(n VulnerabilityName) string { return n.Name }))).Scan(ctx, &rows)
		for _, r := range rows {
			ids[VulnerabilityName{r.Name, kindOf(r.IsSystem)}] = r.ID
		}
		return notFound(err, "vulnerabilities")
	})
	return ids, err
}

// SubjectEcosystems returns the ecosystems whose advisories may be about the
// packages that there are, with releases, in order.
func (db *DB) SubjectEcosystems(ctx context.Context) ([]string, error) {
	var list []string
	// One step through the index for each, not for each package.
	err := db.read.NewRaw(`WITH RECURSIVE e (ecosystem) AS (
		SELECT MIN(ecosystem) FROM package_subjects
		UNION ALL SELECT (SELECT MIN(s.ecosystem) FROM package_subjects AS s WHERE s.ecosystem > e.ecosystem) FROM e WHERE e.ecosystem IS NOT NULL
	) SELECT ecosystem FROM e WHERE ecosystem IS NOT NULL ORDER BY ecosystem`).Scan(ctx, &list)
	return list, notFound(err, "ecosystems")
}
