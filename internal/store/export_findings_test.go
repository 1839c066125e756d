package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// AddException adds one as it is, and counts.
func (db *DB) AddException(ctx context.Context, e tidewaiter.Exception) error {
	return db.Tx(ctx, func(tx *DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		return tx.CountVulnerabilities(ctx, namesOf(e), Now(), func() error {
			types, err := json.Marshal(e.RegistryTypes)
			if err != nil {
				return err
			}
			row := exceptionRow{
				ID: e.ID, ProjectID: e.ProjectID, EnterpriseProjectID: e.EnterpriseProjectID, Vulnerability: e.Vulnerability, Kind: e.Kind, Action: e.Action,
				Scope: e.Scope, RegistryTypes: string(types), Package: e.Package, Created: micros(e.Created), Updated: micros(e.Updated),
			}
			if _, err := tx.write.NewInsert().Model(&row).Exec(ctx); err != nil {
				return err
			}
			for _, i := range e.Images {
				_, err := tx.write.NewRaw("INSERT INTO exception_images (exception_number, image_id, manifest_id) VALUES (?, ?, ?)", row.Number, i.ImageID, i.ManifestID).Exec(ctx)
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// DropException removes one, and counts.
func (db *DB) DropException(ctx context.Context, e tidewaiter.Exception) error {
	return db.Tx(ctx, func(tx *DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		return tx.CountVulnerabilities(ctx, namesOf(e), Now(), func() error {
			_, err := tx.write.NewRaw("DELETE FROM exceptions WHERE id = ?", e.ID).Exec(ctx)
			return err
		})
	})
}

func namesOf(e tidewaiter.Exception) []VulnerabilityName {
	return []VulnerabilityName{{e.Vulnerability, tidewaiter.SystemVulnerability}, {e.Vulnerability, tidewaiter.ApplicationVulnerability}}
}

// ReplaceMatchesNow is [DB.ReplaceMatches] in a transaction of its own.
func (db *DB) ReplaceMatchesNow(ctx context.Context, list []PackageMatches, now time.Time) (changes []FindingChange, counted FindingChanges, err error) {
	err = db.Tx(ctx, func(tx *DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		changes, counted, err = tx.ReplaceMatches(ctx, list, 1, now)
		return err
	})
	return changes, counted, err
}

// PutNewMatchesNow is [DB.PutNewMatches] in a transaction of its own.
func (db *DB) PutNewMatchesNow(ctx context.Context, list []PackageMatches, now time.Time) error {
	return db.Tx(ctx, func(tx *DB) error { return tx.PutNewMatches(ctx, list, 1, now) })
}

// FindingsDump is all that findings are made of, and what is counted of them.
type FindingsDump struct {
	Holdings []struct{ PackageID, RegistryNumber, ManifestID int64 }
	Findings []struct {
		PackageID, VulnerabilityID int64
		Severity                   tidewaiter.SeverityRank
	}
	Gaps            map[int64]bool // by package, of those that were matched
	Vulnerabilities map[int64]DumpedVulnerability
	Registries      map[int64]DumpedRegistry
	Exceptions      []DumpedException
	Children        map[int64][]int64
	Statuses        map[int64]string // of the scans of manifests
	Risks           map[int64]tidewaiter.Risk
	Counts          map[DumpedCount][2]int // images, handled
	Listed          map[int64][2]string    // by manifest: severity and whether it is vulnerable, as scans have it
	Wrong           []string
}

// DumpedVulnerability is a row of a [FindingsDump], like those below.
type DumpedVulnerability struct {
	Name     string
	Kind     tidewaiter.VulnerabilityKind
	Severity tidewaiter.SeverityRank
}

// DumpedRegistry is one.
type DumpedRegistry struct {
	Project, EnterpriseProject string
	Type                       tidewaiter.RegistryType
}

// DumpedCount names a count.
type DumpedCount struct {
	Vulnerability              int64
	Project, EnterpriseProject string
}

// DumpedException is one, with the manifests that it is about.
type DumpedException struct {
	tidewaiter.Exception

	Manifests []int64
}

// DumpFindings reads all of it, but what is about to be forgotten.
func (db *DB) DumpFindings(ctx context.Context) (d FindingsDump, err error) {
	d.Gaps, d.Vulnerabilities, d.Registries = make(map[int64]bool), make(map[int64]DumpedVulnerability), make(map[int64]DumpedRegistry)
	d.Children, d.Statuses, d.Risks = make(map[int64][]int64), make(map[int64]string), make(map[int64]tidewaiter.Risk)
	d.Counts, d.Listed = make(map[DumpedCount][2]int), make(map[int64][2]string)
	read := func(rows any, query string) {
		if err == nil {
			err = notFound(db.read.NewRaw(query).Scan(ctx, rows), "rows")
		}
	}
	read(&d.Holdings, "SELECT package_id, registry_number, manifest_id FROM image_packages WHERE manifest_id NOT IN (SELECT manifest_id FROM dead_manifests)")
	read(&d.Findings, "SELECT package_id, vulnerability_id, severity FROM package_vulnerabilities")
	var matches []packageMatchRow
	read(&matches, "SELECT * FROM package_matches")
	for _, m := range matches {
		d.Gaps[m.PackageID] = m.Gap != ""
	}
	var vulnerabilities []vulnerabilityRow
	read(&vulnerabilities, "SELECT * FROM vulnerabilities")
	for _, v := range vulnerabilities {
		d.Vulnerabilities[v.ID] = DumpedVulnerability{v.Name, kindOf(v.IsSystem), v.Severity}
	}
	var registries []registryPlace
	read(&registries, "SELECT number, project_id, enterprise_project_id, type FROM registries")
	for _, r := range registries {
		d.Registries[r.Number] = DumpedRegistry{r.ProjectID, r.EnterpriseProjectID, r.Type}
	}
	var exceptions []exceptionRow
	read(&exceptions, "SELECT * FROM exceptions")
	var images []exceptionImageRow
	read(&images, "SELECT * FROM exception_images")
	for _, row := range exceptions {
		e, nerr := row.noun(nil)
		if nerr != nil {
			return d, nerr
		}
		x := DumpedException{Exception: e}
		for _, i := range images {
			if i.ExceptionNumber == row.Number {
				x.Manifests = append(x.Manifests, i.ManifestID)
			}
		}
		d.Exceptions = append(d.Exceptions, x)
	}
	var children []childRow
	read(&children, "SELECT parent_id, child_id FROM manifest_children")
	for _, c := range children {
		d.Children[c.ParentID] = append(d.Children[c.ParentID], c.ChildID)
	}
	var risks []imageRiskRow
	read(&risks, "SELECT * FROM image_risks")
	for _, r := range risks {
		d.Risks[r.ManifestID] = r.noun()
	}
	var counts []vulnerabilityCountRow
	read(&counts, "SELECT * FROM vulnerability_counts")
	for _, c := range counts {
		if c.Images != 0 || c.Handled != 0 {
			d.Counts[DumpedCount{c.VulnerabilityID, c.ProjectID, c.EnterpriseProjectID}] = [2]int{c.Images, c.Handled}
		}
		if c.Ever < c.Images+c.Handled {
			d.Wrong = append(d.Wrong, fmt.Sprintf("%+v", c))
		}
	}
	var scans []scanRow
	read(&scans, "SELECT * FROM scans")
	for _, s := range scans {
		d.Statuses[s.ManifestID] = s.Status
		d.Listed[s.ManifestID] = [2]string{s.Severity, fmt.Sprint(s.Vulnerable)}
	}
	var wrong []struct{ ID int64 }
	read(&wrong, `SELECT i.id FROM images AS i JOIN scans AS s ON s.manifest_id = i.manifest_id WHERE i.severity <> s.severity OR i.vulnerable <> s.vulnerable`)
	for _, w := range wrong {
		d.Wrong = append(d.Wrong, fmt.Sprint("image ", w.ID, " is not as its scan"))
	}
	slices.Sort(d.Wrong)
	return d, err
}

// SetScanStatus says how the last scan of a manifest ended.
func (db *DB) SetScanStatus(ctx context.Context, manifestID int64, status string) error {
	return db.Tx(ctx, func(tx *DB) error {
		if err := tx.HoldFindings(ctx); err != nil {
			return err
		}
		_, err := tx.write.NewRaw(`INSERT INTO scans (manifest_id, registry_number, work_id, status, failed_code, reason, extractors, scanned, vulnerable, unsafe_settings, malicious_files, severity)
			SELECT id, registry_number, '', ?, '', '', '', 0, 0, 0, 0, '' FROM manifests WHERE id = ? ON CONFLICT (manifest_id) DO UPDATE SET status = excluded.status`, status, manifestID).Exec(ctx)
		if err != nil {
			return err
		}
		if _, err := tx.writeRisks(ctx, []int64{manifestID}); err != nil {
			return err
		}
		return tx.settleScans(ctx, []int64{manifestID})
	})
}

// CountFacet counts images of a registry that lists show in some way.
func (db *DB) CountFacet(ctx context.Context, registryID, status, severity string, gone bool, images int) error {
	number, err := db.number(ctx, registryID)
	if err != nil {
		return err
	}
	s, _ := facetOfStatus(status)
	level, _ := facetOfSeverity(severity)
	f := s | level
	if gone {
		f |= facetGone
	}
	return db.addCounts(ctx, number, map[facet]int{f: images})
}
