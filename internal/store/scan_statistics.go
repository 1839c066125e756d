package store

import (
	"context"
	"fmt"

	"github.com/tidewaiter/tidewaiter"
)

// ImageRisks counts the images that are in the registries of an extent.
type ImageRisks struct {
	All       int
	Risky     int // with a vulnerability, an unsafe setting or a malicious file
	High      int // of the highest severity
	Unscanned int // that never were scanned
}

// CountRisks counts the images of an extent by risk.
func (db *DB) CountRisks(ctx context.Context, e tidewaiter.Extent) (ImageRisks, error) {
	var r ImageRisks
	l, err := db.newImageList(ctx, e, ImageFilter{})
	if err != nil {
		return r, err
	}
	high, _ := facetOfSeverity("High")
	for _, c := range l.counts {
		for _, n := range []struct {
			counts bool
			of     *int
		}{
			{true, &r.All}, {c.Facet&facetRisky != 0, &r.Risky}, {c.Facet&facetSeverity == high, &r.High}, {c.Facet&facetScanned == 0, &r.Unscanned},
		} {
			if n.counts && c.Facet&facetGone == 0 {
				*n.of += c.Images
			}
		}
	}
	return r, nil
}

// CountScans returns how many scans of images have succeeded in an extent, ever.
func (db *DB) CountScans(ctx context.Context, e tidewaiter.Extent) (int, error) {
	var n int
	err := extent(db.read.NewSelect().Table("scan_totals"), e).ColumnExpr("CAST(COALESCE(SUM(succeeded), 0) AS BIGINT)").Scan(ctx, &n)
	if err != nil {
		return 0, fmt.Errorf("read number of scans: %w", err)
	}
	return n, nil
}
