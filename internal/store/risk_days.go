package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type riskDayRow struct {
	bun.BaseModel `bun:"risk_days,alias:risk_days"`

	Day                                         int64
	ProjectID                                   string
	EnterpriseProjectID                         string
	High, Medium, Low, Secure, Unknown          int
	OpenCritical, OpenHigh, OpenMedium, OpenLow int
}

const day = 24 * time.Hour

// RecordRisks notes how things stand on the day of a time, for all projects, in
// the place of what was noted for it before.
func (db *DB) RecordRisks(ctx context.Context, now time.Time) error {
	rows, err := db.risksNow(ctx, now.Unix()/int64(day.Seconds()))
	if err != nil {
		return err
	}
	return db.Tx(ctx, func(tx *DB) error {
		r, err := tx.write.NewRaw("DELETE FROM risk_days WHERE day = ?", now.Unix()/int64(day.Seconds())).Exec(ctx)
		if err != nil {
			return wrote(r, err, "risks of a day")
		}
		return eachChunk(rows, func(chunk []riskDayRow) error {
			r, err := tx.write.NewInsert().Model(&chunk).
				// Another server may be at it.
				On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
			return wrote(r, err, "risks of a day")
		})
	})
}

// risksNow counts how things stand, for each enterprise project that has
// registries.
func (db *DB) risksNow(ctx context.Context, today int64) ([]riskDayRow, error) {
	var rows []riskDayRow
	level := func(severity string) facet {
		f, _ := facetOfSeverity(severity)
		return f
	}
	success, _ := facetOfStatus(tidewaiter.ScanSucceeded)
	known := fmt.Sprintf("(c.facet & %d) = %d", facetStatus, success)
	of := func(severity string) string {
		return fmt.Sprintf("CAST(COALESCE(SUM(CASE WHEN %s AND (c.facet & %d) = %d THEN c.images ELSE 0 END), 0) AS BIGINT)", known, facetSeverity, level(severity))
	}
	err := db.snapshot(ctx, func(tx *DB) error {
		err := tx.read.NewRaw(fmt.Sprintf(`SELECT CAST(? AS BIGINT) AS day, g.project_id, g.enterprise_project_id, %s AS high, %s AS medium, %s AS low, %s AS secure,
			CAST(COALESCE(SUM(CASE WHEN NOT (%s) OR (c.facet & %d) = 0 THEN c.images ELSE 0 END), 0) AS BIGINT) AS unknown
			FROM registries AS g LEFT JOIN image_counts AS c ON c.registry_number = g.number AND (c.facet & %d) = 0
			GROUP BY g.project_id, g.enterprise_project_id`,
			of("High"), of("Medium"), of("Low"), of("Security"), known, facetSeverity, facetGone), today).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "counts of images")
		}
		var open []riskDayRow
		err = tx.read.NewRaw(`SELECT g.project_id, g.enterprise_project_id, CAST(SUM(r.critical) AS BIGINT) AS open_critical, CAST(SUM(r.high) AS BIGINT) AS open_high,
			CAST(SUM(r.medium + r.unknown) AS BIGINT) AS open_medium, CAST(SUM(r.low + r.none) AS BIGINT) AS open_low
			FROM image_risks AS r JOIN registries AS g ON g.number = r.registry_number GROUP BY g.project_id, g.enterprise_project_id`).Scan(ctx, &open)
		at := make(map[[2]string]int, len(rows))
		for i, r := range rows {
			at[[2]string{r.ProjectID, r.EnterpriseProjectID}] = i
		}
		for _, o := range open {
			if i, ok := at[[2]string{o.ProjectID, o.EnterpriseProjectID}]; ok {
				rows[i].OpenCritical, rows[i].OpenHigh, rows[i].OpenMedium, rows[i].OpenLow = o.OpenCritical, o.OpenHigh, o.OpenMedium, o.OpenLow
			}
		}
		return notFound(err, "risks of images")
	})
	return rows, err
}

// RiskDays returns how things stood in an extent, day by day from the one of a
// time on. A day on which nobody looked has no entry.
func (db *DB) RiskDays(ctx context.Context, e tidewaiter.Extent, from time.Time) ([]tidewaiter.RiskDay, error) {
	var rows []riskDayRow
	q := extent(db.read.NewSelect().Model(&rows), e).Column("day")
	for _, column := range []string{"high", "medium", "low", "secure", "unknown", "open_critical", "open_high", "open_medium", "open_low"} {
		q = q.ColumnExpr("CAST(SUM(?0) AS BIGINT) AS ?0", bun.Ident(column))
	}
	err := q.Where("day >= ?", from.Unix()/int64(day.Seconds())).GroupExpr("day").OrderExpr("day").Scan(ctx)
	return nouns(rows, func(r riskDayRow) tidewaiter.RiskDay {
		return tidewaiter.RiskDay{
			Day:    time.Unix(r.Day*int64(day.Seconds()), 0).UTC(),
			Images: tidewaiter.RiskImages{High: r.High, Medium: r.Medium, Low: r.Low, Secure: r.Secure, Unknown: r.Unknown},
			Open:   tidewaiter.RiskOpen{Critical: r.OpenCritical, High: r.OpenHigh, Medium: r.OpenMedium, Low: r.OpenLow},
		}
	}), notFound(err, "risks of days")
}

// PurgeRiskDays removes days before a time.
func (db *DB) PurgeRiskDays(ctx context.Context, before time.Time) error {
	r, err := db.write.NewRaw("DELETE FROM risk_days WHERE day < ?", before.Unix()/int64(day.Seconds())).Exec(ctx)
	return wrote(r, err, "risks of days")
}
