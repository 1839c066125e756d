package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// A facet is what lists of images filter by and what has few values, in one
// number. It stands in column images.facet and in most indexes; table
// image_counts keeps how many images of a registry have which, so that a list
// of millions can say how long it is without counting.
type facet int64

// The parts of a facet.
const (
	facetMultiArch facet = 1 << iota
	facetLatest
	facetVulnerable
	facetUnsafe
	facetMalicious
	facetScanned // at least once

	facetStatus   facet = 7 << 6
	facetSeverity facet = 7 << 9
	facetGone     facet = 1 << 12

	facetRisky = facetVulnerable | facetUnsafe | facetMalicious
)

// facetSQL works out the facet of an image from its other columns. (A generated
// column would do so by itself, but SQLite then reads each row that it finds in
// an index, even if all that it needs is in the index.)
const facetSQL = `(CASE WHEN multi_arch THEN 1 ELSE 0 END
	+ CASE WHEN latest THEN 2 ELSE 0 END
	+ CASE WHEN vulnerable > 0 THEN 4 ELSE 0 END
	+ CASE WHEN unsafe_settings > 0 THEN 8 ELSE 0 END
	+ CASE WHEN malicious_files > 0 THEN 16 ELSE 0 END
	+ CASE WHEN scanned > 0 THEN 32 ELSE 0 END
	+ CASE scan_status WHEN 'unscan' THEN 0 WHEN 'waiting_for_scan' THEN 64 WHEN 'scanning' THEN 128
		WHEN 'success' THEN 192 WHEN 'failed' THEN 256 ELSE 448 END
	+ CASE severity WHEN '' THEN 0 WHEN 'Security' THEN 512 WHEN 'Low' THEN 1024
		WHEN 'Medium' THEN 1536 WHEN 'High' THEN 2048 ELSE 3584 END
	+ CASE WHEN gone > 0 THEN 4096 ELSE 0 END)`

// facetOfStatus returns the part of a facet that a scan status is.
func facetOfStatus(status string) (facet, bool) {
	i := slices.Index([]string{"unscan", "waiting_for_scan", "scanning", "success", "failed"}, status)
	return facet(i) << 6, i >= 0
}

// facetOfSeverity returns the part of a facet that a severity is.
func facetOfSeverity(severity string) (facet, bool) {
	i := slices.Index([]string{"", "Security", "Low", "Medium", "High"}, severity)
	return facet(i) << 9, i >= 0
}

// A facetFilter tells which facets a filter lets through.
type facetFilter struct {
	set, clear facet   // all of the former, none of the latter
	any        facet   // at least one of these, unless it is 0
	statuses   []facet // one of these, nil is all
	severity   facet   // this one, unless negative
	known      bool    // scanned to the end, and all of it judged
}

func newFacetFilter(f ImageFilter) facetFilter {
	p := facetFilter{severity: -1}
	if !f.WithGone {
		p.clear |= facetGone
	}
	if f.Latest {
		p.set |= facetLatest
	}
	for _, b := range []struct {
		want *bool
		part facet
	}{
		{f.MultiArch, facetMultiArch}, {f.HasVulnerability, facetVulnerable},
		{f.HasUnsafeSetting, facetUnsafe}, {f.HasMaliciousFile, facetMalicious},
	} {
		switch {
		case b.want == nil:
		case *b.want:
			p.set |= b.part
		default:
			p.clear |= b.part
		}
	}
	p.known = f.Judged
	if f.Risky != nil && *f.Risky {
		p.any = facetRisky
	} else if f.Risky != nil {
		p.clear |= facetRisky
	}
	if f.ScanStatuses != nil {
		p.statuses = []facet{}
		for _, s := range f.ScanStatuses {
			if part, ok := facetOfStatus(s); ok {
				p.statuses = append(p.statuses, part)
			}
		}
	}
	if f.Severity != "" {
		part, ok := facetOfSeverity(f.Severity)
		if !ok {
			p.statuses = []facet{} // none has it
		}
		p.severity = part
	}
	return p
}

func (p facetFilter) lets(f facet) bool {
	return f&p.set == p.set && f&p.clear == 0 && (p.any == 0 || f&p.any != 0) &&
		(p.statuses == nil || slices.Contains(p.statuses, f&facetStatus)) &&
		(p.severity < 0 || p.severity == f&facetSeverity) && (!p.known || f.known())
}

// known tells that an image was scanned to its end, and that its risk is known.
func (f facet) known() bool {
	success, _ := facetOfStatus(tidewaiter.ScanSucceeded)
	return f&facetStatus == success && f&facetSeverity != 0
}

// onlyPresent tells that the filter asks for nothing but that images are there.
func (p facetFilter) onlyPresent() bool {
	return p.set == 0 && p.clear == facetGone && p.any == 0 && p.statuses == nil && p.severity < 0 && !p.known
}

type facetCount struct {
	bun.BaseModel `bun:"image_counts,alias:image_counts"`

	RegistryNumber int64
	Facet          facet
	Images         int
}

// facetCounts returns how many images of registries have which facet.
func (db *DB) facetCounts(ctx context.Context, registries []int64) ([]facetCount, error) {
	var list []facetCount
	err := eachChunk(registries, func(chunk []int64) error {
		var rows []facetCount
		err := db.read.NewSelect().Model(&rows).Where("registry_number IN (?) AND images > 0", bun.List(chunk)).Scan(ctx)
		list = append(list, rows...)
		return notFound(err, "counts of images")
	})
	return list, err
}

// presentImages returns how many images registries have that are not gone.
func (db *DB) presentImages(ctx context.Context, registries []int64) (int, error) {
	counts, err := db.facetCounts(ctx, registries)
	n := 0
	for _, c := range counts {
		if c.Facet&facetGone == 0 {
			n += c.Images
		}
	}
	return n, err
}

// addCounts changes how many images of a registry have which facet.
func (db *DB) addCounts(ctx context.Context, registryNumber int64, changes map[facet]int) error {
	var rows []facetCount
	for _, f := range slices.Sorted(maps.Keys(changes)) { // the order of locking
		if changes[f] != 0 {
			rows = append(rows, facetCount{RegistryNumber: registryNumber, Facet: f, Images: changes[f]})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := db.write.NewInsert().Model(&rows).
		On("CONFLICT (registry_number, facet) DO UPDATE SET images = image_counts.images + excluded.images").Exec(ctx)
	return conflict(err, "count of images")
}

// countImages runs f, which changes images of one repository, and puts their
// facets and the counts right. Whatever changes an image does so within it, or sees to the
// counts by itself. Errors: NotFound if the repository is not there.
func (db *DB) countImages(ctx context.Context, repositoryID int64, f func() error) error {
	if err := db.HoldFindings(ctx); err != nil {
		return err
	}
	number, err := db.lockRepository(ctx, repositoryID)
	if err != nil {
		return err
	}
	changes := make(map[facet]int)
	present := 0
	add := func(sign int) error {
		var rows []facetCount
		// The plus sign keeps SQLite from going through the facets of the registry.
		err := db.read.NewRaw("SELECT +facet AS facet, COUNT(*) AS images FROM images WHERE registry_number = ? AND repository_id = ? GROUP BY 1",
			number, repositoryID).Scan(ctx, &rows)
		present = 0
		for _, r := range rows {
			changes[r.Facet] += sign * r.Images
			if r.Facet&facetGone == 0 {
				present += r.Images
			}
		}
		return notFound(err, "counts of images")
	}
	if err := add(-1); err != nil {
		return err
	}
	before := present
	if err := f(); err != nil {
		return err
	}
	r, err := db.write.NewRaw("UPDATE images SET facet = "+facetSQL+" WHERE registry_number = ? AND repository_id = ? AND +facet <> "+facetSQL,
		number, repositoryID).Exec(ctx)
	if err != nil {
		return wrote(r, err, "images")
	}
	if err := add(1); err != nil {
		return err
	}
	if present != before {
		_, err := db.write.NewRaw("UPDATE repositories SET images = ? WHERE id = ?", present, repositoryID).Exec(ctx)
		if err != nil {
			return fmt.Errorf("write repository: %w", err)
		}
	}
	return db.addCounts(ctx, number, changes)
}

// CountImages returns how many images are in the registries of an extent.
func (db *DB) CountImages(ctx context.Context, e tidewaiter.Extent) (int, error) {
	var numbers []int64
	err := extent(db.read.NewSelect().Table("registries").Column("number"), e).Scan(ctx, &numbers)
	if err != nil {
		return 0, notFound(err, "registries")
	}
	return db.presentImages(ctx, numbers)
}
