package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// ImageFinding is a vulnerability in a package of an image of one platform.
type ImageFinding struct {
	PackageFinding

	ManifestID int64
	Package    PackageVersion
	Path       string            // of what says that the package is there
	Layer      tidewaiter.Digest // from which on it is there, as in the registry
	Step       string            // the command of the build step that made the layer, or ""
	Cause      FindingCause      // what brought it: the image's content, or advisories that came later
	Handled    *tidewaiter.Exception
}

// Necessity says how urgent a vulnerability is, in the contract's words.
type Necessity string

// How urgent it can be.
const (
	RepairNow   Necessity = "immediate_repair"
	RepairLater Necessity = "delay_repair"
	RepairNot   Necessity = "not_needed_repair"
)

// NecessityOf returns how urgent a vulnerability is: what is critical or high,
// or known to be exploited, is at once; what is medium, or nobody has judged,
// can wait; the rest need not be.
func NecessityOf(rank tidewaiter.SeverityRank, exploited bool) Necessity {
	switch {
	case rank >= tidewaiter.RankHigh || exploited:
		return RepairNow
	case rank >= tidewaiter.RankUnknown:
		return RepairLater
	}
	return RepairNot
}

// FindingFilter tells which findings are asked for; what is zero is any.
type FindingFilter struct {
	Kind      tidewaiter.VulnerabilityKind
	Name      string // a part of the vulnerability's, whatever the case of a to z
	Is        string // the vulnerability's, exactly
	Package   string // a part of the package's
	Necessity Necessity
	Handled   *bool
}

func (f FindingFilter) lets(i *ImageFinding) bool {
	return (f.Kind == "" || f.Kind == i.Kind) && (f.Name == "" || Contains(i.Name, f.Name)) && (f.Is == "" || f.Is == i.Name) &&
		(f.Package == "" || Contains(i.Package.Name, f.Package)) && (f.Necessity == "" || f.Necessity == NecessityOf(i.Severity, !i.Exploited.IsZero())) &&
		(f.Handled == nil || *f.Handled == (i.Handled != nil))
}

type imageFindingRow struct {
	ManifestID, PackageID, PathID, VulnerabilityID, RegistryNumber int64
	Origin                                                         int
	Severity                                                       tidewaiter.SeverityRank
	Score                                                          int
	Advisory                                                       string
	Status                                                         tidewaiter.MatchStatus
	Fixed                                                          string
	FirstSeen, SetNumber                                           int64
}

// ImageFindings returns a page of the findings of some images of one platform,
// the worst first, and how many there are. Each is listed once for each version
// of a package that has it, and for each of the images.
func (db *DB) ImageFindings(ctx context.Context, manifests []int64, f FindingFilter, p Page) (list []ImageFinding, total int, err error) {
	err = db.snapshot(ctx, func(tx *DB) error {
		all, rows, err := tx.findingsOf(ctx, manifests)
		if err != nil {
			return err
		}
		order := make([]int, 0, len(all))
		for i := range all {
			if f.lets(&all[i]) {
				order = append(order, i)
			}
		}
		slices.SortFunc(order, func(x, y int) int {
			a, b := &all[x], &all[y]
			return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Score, a.Score), cmp.Compare(a.Name, b.Name),
				cmp.Compare(a.Package.Name, b.Package.Name), cmp.Compare(a.PackageID, b.PackageID), cmp.Compare(a.ManifestID, b.ManifestID))
		})
		total = len(order)
		from := min(p.Offset, total)
		var some []imageFindingRow
		for _, i := range order[from:min(from+p.Limit, total)] {
			list, some = append(list, all[i]), append(some, rows[i])
		}
		return tx.completeFindings(ctx, list, some)
	})
	return list, total, err
}

// findingsOf returns all findings of images, without what takes more to find out.
func (db *DB) findingsOf(ctx context.Context, manifests []int64) ([]ImageFinding, []imageFindingRow, error) {
	var rows []imageFindingRow
	err := eachChunk(manifests, func(chunk []int64) error {
		var some []imageFindingRow
		err := db.read.NewRaw(`SELECT i.manifest_id, i.package_id, i.path_id, i.origin, i.registry_number, v.vulnerability_id, v.severity, v.score,
			v.advisory, v.status, v.fixed, v.first_seen, v.set_number FROM image_packages AS i CROSS JOIN package_vulnerabilities AS v
			WHERE i.manifest_id IN (?) AND v.package_id = i.package_id`, bun.List(chunk)).Scan(ctx, &some)
		rows = append(rows, some...)
		return notFound(err, "findings of images")
	})
	if err != nil {
		return nil, nil, err
	}
	packages, vulnerabilities := make(map[int64]bool), make(map[int64]bool)
	for _, r := range rows {
		packages[r.PackageID], vulnerabilities[r.VulnerabilityID] = true, true
	}
	versions, err := db.PackageVersions(ctx, slices.Collect(maps.Keys(packages)))
	if err != nil {
		return nil, nil, err
	}
	ids := slices.Sorted(maps.Keys(vulnerabilities))
	named, err := db.vulnerabilitiesByID(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	rules, err := db.rulesAbout(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	places, err := db.registryPlaces(ctx)
	if err != nil {
		return nil, nil, err
	}
	since, err := db.risks(ctx, manifests)
	if err != nil {
		return nil, nil, err
	}
	list := make([]ImageFinding, len(rows))
	for i, r := range rows {
		v := named[r.VulnerabilityID]
		list[i] = ImageFinding{
			PackageFinding: PackageFinding{
				VulnerabilityName: VulnerabilityName{v.Name, kindOf(v.IsSystem)}, PackageID: r.PackageID, Severity: r.Severity, Score: r.Score,
				Advisory: r.Advisory, Status: r.Status, Fixed: r.Fixed, FirstSeen: fromMicros(max(r.FirstSeen, since[r.ManifestID].Since)), SetNumber: r.SetNumber, Exploited: optionalTime(v.Exploited),
			},
			ManifestID: r.ManifestID, Package: versions[r.PackageID], Cause: CauseContent,
		}
		if r.FirstSeen > since[r.ManifestID].Since {
			list[i].Cause = CauseAdvisories
		}
		for _, rule := range rules[r.VulnerabilityID] {
			if at := places[r.RegistryNumber]; at != nil && rule.applies(heldImage{r.ManifestID, at}, list[i].Package) {
				list[i].Handled = &rule.Exception
				break
			}
		}
	}
	return list, rows, nil
}

func (db *DB) vulnerabilitiesByID(ctx context.Context, ids []int64) (map[int64]vulnerabilityRow, error) {
	found := make(map[int64]vulnerabilityRow, len(ids))
	return found, eachChunk(ids, func(chunk []int64) error {
		var rows []vulnerabilityRow
		err := db.read.NewRaw("SELECT * FROM vulnerabilities WHERE id IN (?)", bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			found[r.ID] = r
		}
		return notFound(err, "vulnerabilities")
	})
}

// completeFindings adds the paths, layers and documents of a few findings.
func (db *DB) completeFindings(ctx context.Context, list []ImageFinding, rows []imageFindingRow) error {
	if len(list) == 0 {
		return nil
	}
	var paths []struct {
		ID   int64
		Path string
	}
	err := db.read.NewRaw("SELECT id, path FROM package_paths WHERE id IN (?)", bun.List(nouns(rows, func(r imageFindingRow) int64 { return r.PathID }))).Scan(ctx, &paths)
	if err != nil {
		return notFound(err, "paths of packages")
	}
	byID := make(map[int64]string, len(paths))
	for _, p := range paths {
		byID[p.ID] = p.Path
	}
	var layers []struct {
		ManifestID int64
		Position   int
		Digest     tidewaiter.Digest
	}
	err = db.read.NewRaw(`SELECT m.manifest_id, m.position, l.digest FROM manifest_layers AS m JOIN layers AS l ON l.number = m.layer_number WHERE m.manifest_id IN (?)`,
		bun.List(nouns(rows, func(r imageFindingRow) int64 { return r.ManifestID }))).Scan(ctx, &layers)
	if err != nil {
		return notFound(err, "layers of images")
	}
	type place struct {
		manifest int64
		position int
	}
	digests := make(map[place]tidewaiter.Digest, len(layers))
	for _, l := range layers {
		digests[place{l.ManifestID, l.Position}] = l.Digest
	}
	wanted := make([][2]int64, 0, len(rows))
	for _, r := range rows {
		wanted = append(wanted, [2]int64{r.PackageID, r.VulnerabilityID})
	}
	var documents []packageVulnerabilityRow
	err = db.read.NewRaw("SELECT package_id, vulnerability_id, document FROM package_vulnerabilities WHERE (package_id, vulnerability_id) IN (VALUES ?)", pairs(wanted)).Scan(ctx, &documents)
	if err != nil {
		return notFound(err, "findings of packages")
	}
	texts := make(map[[2]int64]string, len(documents))
	for _, d := range documents {
		texts[[2]int64{d.PackageID, d.VulnerabilityID}] = d.Document
	}
	steps, err := db.buildSteps(ctx, distinct(rows, func(r imageFindingRow) int64 { return r.ManifestID }))
	if err != nil {
		return err
	}
	for i, r := range rows {
		list[i].Path, list[i].Layer = byID[r.PathID], digests[place{r.ManifestID, r.Origin}]
		if s := steps[r.ManifestID]; r.Origin < len(s) {
			list[i].Step = s[r.Origin]
		}
		if err := json.Unmarshal([]byte(texts[wanted[i]]), &list[i].Document); err != nil {
			return fmt.Errorf("read finding: %w", err)
		}
	}
	return nil
}

// buildSteps returns the commands that made the layers of images of one
// platform, "" where that is not known.
func (db *DB) buildSteps(ctx context.Context, manifests []int64) (map[int64][]string, error) {
	steps := make(map[int64][]string, len(manifests))
	return steps, eachChunk(manifests, func(chunk []int64) error {
		var rows []scanResultRow
		if err := db.read.NewRaw("SELECT manifest_id, document FROM scan_results WHERE manifest_id IN (?)", bun.List(chunk)).Scan(ctx, &rows); err != nil {
			return notFound(err, "results of scans")
		}
		for _, r := range rows {
			d, err := decodeDocument(r.Document)
			if err != nil {
				return err
			}
			commands := make([]string, len(d.Layers))
			for i, l := range d.Layers {
				if l.Step >= 0 && l.Step < len(d.Config.Steps) {
					commands[i] = d.Config.Steps[l.Step].Command
				}
			}
			steps[r.ManifestID] = commands
		}
		return nil
	})
}

// countOpen fills in how many vulnerabilities software of some images has.
func (db *DB) countOpen(ctx context.Context, manifests []int64, list []tidewaiter.Software) error {
	all, _, err := db.findingsOf(ctx, manifests)
	if err != nil {
		return err
	}
	open := make(map[tidewaiter.Software]map[VulnerabilityName]bool)
	for _, f := range all {
		key := tidewaiter.Software{Name: f.Package.Name, Version: f.Package.Version, Type: f.Package.Type}
		if f.Handled == nil {
			if open[key] == nil {
				open[key] = make(map[VulnerabilityName]bool)
			}
			open[key][f.VulnerabilityName] = true
		}
	}
	for i := range list {
		list[i].Vulnerabilities = len(open[list[i]])
	}
	return nil
}

// openFindings returns how many findings nobody has handled there are of
// packages in images, in the order of the rows.
func (db *DB) openFindings(ctx context.Context, rows []imagePackageRow, versions map[int64]PackageVersion) ([]int, error) {
	found := make(map[int64][]int64) // vulnerabilities by package
	ids := make(map[int64]bool)
	err := eachChunk(distinct(rows, func(r imagePackageRow) int64 { return r.PackageID }), func(chunk []int64) error {
		var some []packageVulnerabilityRow
		err := db.read.NewRaw("SELECT package_id, vulnerability_id FROM package_vulnerabilities WHERE package_id IN (?)", bun.List(chunk)).Scan(ctx, &some)
		for _, r := range some {
			found[r.PackageID], ids[r.VulnerabilityID] = append(found[r.PackageID], r.VulnerabilityID), true
		}
		return notFound(err, "findings of packages")
	})
	if err != nil {
		return nil, err
	}
	rules, err := db.rulesAbout(ctx, slices.Sorted(maps.Keys(ids)))
	if err != nil {
		return nil, err
	}
	places, err := db.registryPlaces(ctx)
	if err != nil {
		return nil, err
	}
	open := make([]int, len(rows))
	for i, r := range rows {
		for _, v := range found[r.PackageID] {
			if !(standing{rules: rules[v]}).handles(heldImage{r.ManifestID, places[r.RegistryNumber]}, versions[r.PackageID]) {
				open[i]++
			}
		}
	}
	return open, nil
}
