package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// FindingChange is a vulnerability of a package version that came, went, or is
// something else than it was.
type FindingChange struct {
	VulnerabilityName

	PackageID int64
	Before    *FindingState // nil if it came
	After     *FindingState // nil if it went
}

// FindingState is what a change of a finding is about.
type FindingState struct {
	Severity tidewaiter.SeverityRank `json:"s"`
	Status   tidewaiter.MatchStatus  `json:"t,omitempty"`
	Fixed    string                  `json:"f,omitempty"`
	Advisory string                  `json:"a"`
}

func (r packageVulnerabilityRow) state() *FindingState {
	return &FindingState{r.Severity, r.Status, r.Fixed, r.Advisory}
}

// matchChanges is what has to be written so that package versions have other
// vulnerabilities.
type matchChanges struct {
	list            []FindingChange
	vulnerabilities map[int64]bool // that other packages have now, or in another severity
	gone            []packageVulnerabilityRow
	put             []packageVulnerabilityRow
	gaps            map[int64]int // by package, how many more gaps it has: -1 or +1
	matches         []packageMatchRow
	subjects        []packageSubjectRow
}

// ReplaceMatches writes what is known of package versions, in the place of
// what was known before, and puts all numbers right. It is called within a
// transaction that locks the findings. It returns what changed.
func (db *DB) ReplaceMatches(ctx context.Context, list []PackageMatches, setNumber int64, now time.Time) ([]FindingChange, FindingChanges, error) {
	ids, err := db.vulnerabilityIDs(ctx, list, now)
	if err != nil {
		return nil, FindingChanges{}, err
	}
	names := make(map[int64]VulnerabilityName, len(ids))
	for n, id := range ids {
		names[id] = n
	}
	changes := matchChanges{vulnerabilities: make(map[int64]bool), gaps: make(map[int64]int)}
	err = eachChunk(list, func(chunk []PackageMatches) error {
		return db.compareMatches(ctx, &changes, chunk, ids, names, setNumber, now)
	})
	if err != nil {
		return nil, FindingChanges{}, err
	}
	counted, err := db.countVulnerabilities(ctx, slices.Sorted(maps.Keys(changes.vulnerabilities)), changes.gaps, func() error { return db.applyMatches(ctx, changes) })
	return changes.list, counted, err
}

// compareMatches finds out what is another than it was for some packages.
func (db *DB) compareMatches(ctx context.Context, c *matchChanges, list []PackageMatches, ids map[VulnerabilityName]int64, names map[int64]VulnerabilityName, setNumber int64, now time.Time) error {
	packages := nouns(list, func(m PackageMatches) int64 { return m.PackageID })
	var rows []packageVulnerabilityRow
	if err := db.write.NewRaw("SELECT * FROM package_vulnerabilities WHERE package_id IN (?)", bun.List(packages)).Scan(ctx, &rows); err != nil {
		return notFound(err, "findings of packages")
	}
	old := make(map[int64]map[int64]packageVulnerabilityRow, len(list))
	var unnamed []int64
	for _, r := range rows {
		if old[r.PackageID] == nil {
			old[r.PackageID] = make(map[int64]packageVulnerabilityRow)
		}
		old[r.PackageID][r.VulnerabilityID] = r
		if _, ok := names[r.VulnerabilityID]; !ok {
			unnamed = append(unnamed, r.VulnerabilityID)
		}
	}
	if err := db.nameVulnerabilities(ctx, unnamed, names); err != nil {
		return err
	}
	var matches []packageMatchRow
	if err := db.write.NewRaw("SELECT * FROM package_matches WHERE package_id IN (?)", bun.List(packages)).Scan(ctx, &matches); err != nil {
		return notFound(err, "matches of packages")
	}
	known := make(map[int64]tidewaiter.MatchGap, len(matches))
	for _, m := range matches {
		known[m.PackageID] = m.Gap
	}
	for _, m := range list {
		gap, matched := known[m.PackageID]
		had, has := !matched || gap != tidewaiter.NoGap, m.Gap != tidewaiter.NoGap
		switch {
		case had && !has:
			c.gaps[m.PackageID] = -1
		case has && !had:
			c.gaps[m.PackageID] = +1
		}
		if !matched || gap != m.Gap {
			c.matches = append(c.matches, packageMatchRow{PackageID: m.PackageID, Gap: m.Gap})
		}
		if !matched {
			c.subjects = append(c.subjects, m.subjectRows()...)
		}
		if err := c.compare(m, old[m.PackageID], ids, names, setNumber, now); err != nil {
			return err
		}
	}
	return nil
}

func (c *matchChanges) compare(m PackageMatches, old map[int64]packageVulnerabilityRow, ids map[VulnerabilityName]int64, names map[int64]VulnerabilityName, setNumber int64, now time.Time) error {
	kept := make(map[int64]bool, len(m.Findings))
	for _, f := range m.Findings {
		id := ids[f.VulnerabilityName]
		row, err := f.row(m.PackageID, id, setNumber, now)
		if err != nil {
			return err
		}
		kept[id] = true
		before, was := old[id]
		if was {
			row.FirstSeen = before.FirstSeen
		}
		if was && row.same(before) {
			continue
		}
		c.put = append(c.put, row)
		change := FindingChange{VulnerabilityName: f.VulnerabilityName, PackageID: m.PackageID, After: row.state()}
		if was {
			change.Before = before.state()
		}
		if !was || before.Severity != row.Severity || before.Score != row.Score {
			c.vulnerabilities[id] = true
		}
		if !was || *change.Before != *change.After {
			c.list = append(c.list, change)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if !kept[id] {
			c.gone = append(c.gone, old[id])
			c.vulnerabilities[id] = true
			c.list = append(c.list, FindingChange{VulnerabilityName: names[id], PackageID: m.PackageID, Before: old[id].state()})
		}
	}
	return nil
}

// nameVulnerabilities adds the names of vulnerabilities.
func (db *DB) nameVulnerabilities(ctx context.Context, ids []int64, names map[int64]VulnerabilityName) error {
	slices.Sort(ids)
	return eachChunk(slices.Compact(ids), func(chunk []int64) error {
		var rows []vulnerabilityRow
		err := db.write.NewRaw("SELECT id, name, is_system FROM vulnerabilities WHERE id IN (?)", bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			names[r.ID] = VulnerabilityName{r.Name, kindOf(r.IsSystem)}
		}
		return notFound(err, "vulnerabilities")
	})
}

func (db *DB) applyMatches(ctx context.Context, c matchChanges) error {
	err := eachChunk(c.gone, func(chunk []packageVulnerabilityRow) error {
		list := make([][2]int64, 0, len(chunk))
		for _, r := range chunk {
			list = append(list, [2]int64{r.PackageID, r.VulnerabilityID})
		}
		r, err := db.write.NewRaw("DELETE FROM package_vulnerabilities WHERE (package_id, vulnerability_id) IN (VALUES ?)", pairs(list)).Exec(ctx)
		return wrote(r, err, "findings of packages")
	})
	if err != nil {
		return err
	}
	if err := db.insertPackageVulnerabilities(ctx, c.put); err != nil {
		return err
	}
	err = eachChunk(c.matches, func(chunk []packageMatchRow) error {
		r, err := db.write.NewInsert().Model(&chunk).On("CONFLICT (package_id) DO UPDATE SET gap = excluded.gap").Returning("NULL").Exec(ctx)
		return wrote(r, err, "matches of packages")
	})
	if err != nil {
		return err
	}
	return db.insertSubjects(ctx, c.subjects)
}
