//go:build linux

package e2e

import (
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite" // the driver
)

// What scans leave in the database, asked by SQL: what no operation of the
// contract tells.

// A ledger answers SQL about a database, rows with columns separated by "|".
type ledger func(t testing.TB, query string) []string

// ledgerOf is that of a server on SQLite, beside which it opens the file.
func ledgerOf(t testing.TB, s *server) ledger {
	t.Helper()
	dsn := url.URL{Scheme: "file", Path: filepath.Join(s.Data, "tidewaiter.db"), RawQuery: "_busy_timeout=10000&_foreign_keys=on"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return func(t testing.TB, query string) []string {
		t.Helper()
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for rows.Next() {
			row, to := make([]sql.NullString, len(columns)), make([]any, len(columns))
			for i := range row {
				to[i] = &row[i]
			}
			if err := rows.Scan(to...); err != nil {
				t.Fatal(err)
			}
			words := make([]string, len(row))
			for i, c := range row {
				words[i] = c.String
			}
			found = append(found, strings.Join(words, "|"))
		}
		if err := rows.Err(); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return found
	}
}

// packages returns what images hold, as a cargo has it.
func (l ledger) packages(t testing.TB) map[string][]string {
	t.Helper()
	const held = ` || '|' || p.name || ' ' || p.version || ' ' || h.origin FROM images AS i JOIN repositories AS r ON r.id = i.repository_id `
	found := map[string][]string{}
	for _, row := range l(t, `SELECT r.name || ':' || i.tag`+held+`
			JOIN image_packages AS h ON h.manifest_id = i.manifest_id JOIN packages AS p ON p.id = h.package_id
		UNION ALL SELECT r.name || ':' || i.tag || ' ' || m.architecture`+held+`
			JOIN manifest_children AS c ON c.parent_id = i.manifest_id JOIN manifests AS m ON m.id = c.child_id
			JOIN image_packages AS h ON h.manifest_id = m.id JOIN packages AS p ON p.id = h.package_id`) {
		name, held, _ := strings.Cut(row, "|")
		found[name] = append(found[name], held)
	}
	for _, list := range found {
		slices.Sort(list)
	}
	return found
}

// holds wants the database to say of these images, and no others, what they hold.
func (l ledger) holds(t testing.TB, want *cargo) {
	t.Helper()
	if diff := cmp.Diff(want.Images, l.packages(t)); diff != "" {
		t.Errorf("what the images hold differs (-pushed +scanned):\n%s", diff)
	}
}

// quiet wants nothing to be under way, and nothing to be left of what was.
func (l ledger) quiet(t testing.TB) {
	t.Helper()
	l.none(t, map[string]string{
		"work that has not ended":               "SELECT id, kind, state, attempt, failures FROM work WHERE state NOT IN ('done', 'failed', 'stopped')",
		"layers that somebody claims":           "SELECT digest, work_id, attempt FROM layer_claims",
		"images that tasks wait for":            "SELECT task_id, image_id FROM scan_task_images WHERE status = 'waiting'",
		"tasks that have not ended":             "SELECT id, state, total, succeeded, failed FROM scan_tasks WHERE state NOT IN ('finished', 'stopped') OR ended = 0",
		"scans with work":                       "SELECT manifest_id, work_id FROM scans WHERE work_id <> ''",
		"images that are said to be scanned":    "SELECT id, scan_status FROM images WHERE scan_status IN ('scanning', 'waiting_for_scan')",
		"layers that are there by half":         "SELECT number, digest FROM layers WHERE NOT ready",
		"packages of images that are not there": "SELECT manifest_id FROM image_packages WHERE manifest_id NOT IN (SELECT id FROM manifests)",
	})
}

// consistent wants everything that is kept twice to say the same, and nothing
// to be there twice.
func (l ledger) consistent(t testing.TB) {
	t.Helper()
	l.none(t, map[string]string{
		"images that show another scan than their manifest's": `SELECT i.id, i.scan_status, s.status FROM images AS i LEFT JOIN scans AS s ON s.manifest_id = i.manifest_id
			WHERE i.scan_status <> COALESCE(NULLIF(s.status, ''), 'unscan') OR i.scan_failed_code <> COALESCE(s.failed_code, '') OR i.scanned <> COALESCE(s.scanned, 0)`,
		"tasks that count wrong": `SELECT t.id, t.total, t.succeeded, t.failed, COUNT(i.image_id) FROM scan_tasks AS t LEFT JOIN scan_task_images AS i ON i.task_id = t.id
			GROUP BY t.id, t.total, t.succeeded, t.failed HAVING t.total <> COUNT(i.image_id)
			OR t.succeeded <> COUNT(CASE WHEN i.status = 'success' THEN 1 END) OR t.failed <> COUNT(CASE WHEN i.status = 'failed' THEN 1 END)`,
		"failures of tasks without a reason": `SELECT i.task_id, i.image_id FROM scan_task_images AS i
			LEFT JOIN scan_failures AS f ON f.task_id = i.task_id AND f.image_id = i.image_id
			WHERE (i.status = 'failed') <> (f.code IS NOT NULL AND f.code <> '' AND f.reason <> '')`,
		"totals of scans": `SELECT o.succeeded FROM scan_totals AS o WHERE o.succeeded <> (SELECT COUNT(*) FROM scan_task_images AS i
			JOIN scan_tasks AS t ON t.id = i.task_id WHERE i.status = 'success' AND t.project_id = o.project_id AND t.enterprise_project_id = o.enterprise_project_id)`,
		"scans that succeeded without a result": `SELECT s.manifest_id FROM scans AS s WHERE s.status = 'success' AND NOT EXISTS (SELECT 1 FROM scan_results AS r
			WHERE r.complete AND (r.manifest_id = s.manifest_id OR r.manifest_id IN (SELECT child_id FROM manifest_children AS c WHERE c.parent_id = s.manifest_id)))`,
		"children of scans that succeeded without a result": `SELECT c.child_id FROM scans AS s JOIN manifest_children AS c ON c.parent_id = s.manifest_id
			WHERE s.status = 'success' AND NOT EXISTS (SELECT 1 FROM scan_results AS r WHERE r.complete AND r.manifest_id = c.child_id)`,
		"results with other packages than are listed": `SELECT r.manifest_id, r.packages, COUNT(p.package_id) FROM scan_results AS r
			LEFT JOIN image_packages AS p ON p.manifest_id = r.manifest_id GROUP BY r.manifest_id, r.packages HAVING r.packages <> COUNT(p.package_id)`,
		"packages of images without a result": "SELECT manifest_id FROM image_packages WHERE manifest_id NOT IN (SELECT manifest_id FROM scan_results)",
		"counts of packages": `SELECT COALESCE(c.package_id, h.package_id), c.images, h.n FROM package_counts AS c FULL JOIN
			(SELECT package_id, registry_number, COUNT(*) AS n FROM image_packages GROUP BY package_id, registry_number) AS h
			ON h.package_id = c.package_id AND h.registry_number = c.registry_number WHERE COALESCE(c.images, 0) <> COALESCE(h.n, 0)`,
		"counts of software": `SELECT COALESCE(c.name, h.name), c.images, h.n FROM software_counts AS c FULL JOIN
			(SELECT g.project_id, g.enterprise_project_id, p.name, COUNT(*) AS n FROM image_packages AS i JOIN packages AS p ON p.id = i.package_id
			JOIN registries AS g ON g.number = i.registry_number GROUP BY g.project_id, g.enterprise_project_id, p.name) AS h
			ON h.project_id = c.project_id AND h.enterprise_project_id = c.enterprise_project_id AND h.name = c.name WHERE COALESCE(c.images, 0) <> COALESCE(h.n, 0)`,
		"counts of images": `SELECT COALESCE(c.facet, h.facet), c.images, h.n FROM image_counts AS c FULL JOIN
			(SELECT registry_number, facet, COUNT(*) AS n FROM images GROUP BY registry_number, facet) AS h
			ON h.registry_number = c.registry_number AND h.facet = c.facet WHERE COALESCE(c.images, 0) <> COALESCE(h.n, 0)`,
		"layers that are there twice": "SELECT digest, COUNT(*) FROM layers GROUP BY project_id, cluster_id, digest, diff_id, extractors HAVING COUNT(*) > 1",
		"layers without facts":        "SELECT number FROM layers WHERE number NOT IN (SELECT layer_number FROM layer_facts)",
		"results with a gap between layers": `SELECT r.manifest_id FROM scan_results AS r LEFT JOIN manifest_layers AS l ON l.manifest_id = r.manifest_id
			GROUP BY r.manifest_id HAVING COUNT(l.position) = 0 OR MAX(l.position) + 1 <> COUNT(l.position)`,
		"versions of packages that are there twice": `SELECT name, version FROM packages GROUP BY ecosystem, release, name, version, source_name, source_version, architecture, type, namespace HAVING COUNT(*) > 1`,
	})
}

// none wants queries to find nothing.
func (l ledger) none(t testing.TB, queries map[string]string) {
	t.Helper()
	for what, query := range queries {
		if rows := l(t, query); len(rows) > 0 {
			t.Errorf("%s: %d, such as %s", what, len(rows), rows[:min(len(rows), 5)])
		}
	}
}

// one returns a single value.
func (l ledger) one(t testing.TB, query string) string {
	t.Helper()
	rows := l(t, query)
	if len(rows) != 1 {
		t.Fatalf("%s: %d rows", query, len(rows))
	}
	return rows[0]
}

// scanned wants a registry's images to have been scanned once each: no work
// has done twice what another one did.
func (l ledger) scanned(t testing.TB, images, layers int) {
	t.Helper()
	for what, n := range map[string]string{
		"SELECT COUNT(*) FROM images WHERE scan_status = 'success'":           fmt.Sprint(images),
		"SELECT COUNT(*) FROM work WHERE kind = 'scan' AND state = 'done'":    fmt.Sprint(images),
		"SELECT COUNT(*) FROM work WHERE kind = 'scan' AND state <> 'done'":   "0",
		"SELECT COUNT(DISTINCT digest || diff_id) FROM layers":                fmt.Sprint(layers),
		"SELECT COUNT(*) FROM scan_task_images WHERE status <> 'success'":     "0",
		"SELECT COUNT(*) FROM (SELECT DISTINCT work_id FROM scan_parts) AS p": fmt.Sprint(images),
	} {
		if got := l.one(t, what); got != n {
			t.Errorf("%s: %s, want %s", what, got, n)
		}
	}
}
