package store

import (
	"context"
	"fmt"

	"github.com/tidewaiter/tidewaiter"
)

// SetScan writes what a scan says of an image.
func (db *DB) SetScan(ctx context.Context, i tidewaiter.RegistryImage, s tidewaiter.ImageScan) error {
	return db.Tx(ctx, func(tx *DB) error {
		return tx.countImages(ctx, i.RepositoryID, func() error {
			_, err := tx.write.NewRaw(`UPDATE images SET scan_status = ?, scan_failed_code = ?, scanned = ?, vulnerable = ?,
				unsafe_settings = ?, malicious_files = ?, severity = ? WHERE id = ?`, s.Status, s.FailedCode, optionalMicros(s.Scanned),
				min(s.Vulnerabilities, 1), s.UnsafeSettings, s.MaliciousFiles, s.Severity, i.ID).Exec(ctx)
			if err != nil {
				return err
			}
			_, err = tx.write.NewRaw(`INSERT INTO image_risks (manifest_id, registry_number, none, low, unknown, medium, high, critical, handled, gaps, since)
				SELECT id, registry_number, 0, 0, 0, 0, ?, 0, 0, 0, 0 FROM manifests WHERE id = ? ON CONFLICT (manifest_id) DO UPDATE SET high = excluded.high`, s.Vulnerabilities, i.ManifestID).Exec(ctx)
			return err
		})
	})
}

// CheckCounts compares all that is counted with what is there.
func (db *DB) CheckCounts(ctx context.Context) error {
	var wrong int
	err := db.read.NewRaw("SELECT COUNT(*) FROM images WHERE facet <> "+facetSQL).Scan(ctx, &wrong)
	if err != nil || wrong > 0 {
		return fmt.Errorf("%d facets are wrong: %w", wrong, err)
	}
	err = db.read.NewRaw(`SELECT COUNT(*) FROM
		(SELECT registry_number, facet, COUNT(*) AS n FROM images GROUP BY registry_number, facet) AS i
		FULL JOIN (SELECT * FROM image_counts WHERE images <> 0) AS c ON c.registry_number = i.registry_number AND c.facet = i.facet
		WHERE COALESCE(i.n, 0) <> COALESCE(c.images, 0)`).Scan(ctx, &wrong)
	if err != nil || wrong > 0 {
		return fmt.Errorf("%d counts by facet are wrong: %w", wrong, err)
	}
	err = db.read.NewRaw(`SELECT COUNT(*) FROM repositories r
		WHERE images <> (SELECT COUNT(*) FROM images i WHERE i.repository_id = r.id AND i.gone = 0)`).Scan(ctx, &wrong)
	if err != nil || wrong > 0 {
		return fmt.Errorf("%d counts of repositories are wrong: %w", wrong, err)
	}
	return nil
}

// Rows counts the rows of a table.
func (db *DB) Rows(ctx context.Context, table string) (n int, err error) {
	err = db.read.NewRaw("SELECT COUNT(*) FROM "+table).Scan(ctx, &n)
	return n, err
}

// FacetSQL is how the facet of an image is worked out.
const FacetSQL = facetSQL

// ListImages is Images in the ways of other sizes.
func (db *DB) ListImages(ctx context.Context, e tidewaiter.Extent, f ImageFilter, p Page, few, many int) ([]tidewaiter.RegistryImage, int, error) {
	return db.listImages(ctx, e, f, p, listSizes{few: few, many: many})
}
