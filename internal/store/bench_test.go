package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// benchVariable names a SQLite file in which the rows of the benchmarks are
// kept from one run to the next; without it they are made anew, which takes
// minutes.
const benchVariable = "TIDEWAITER_BENCH_DB"

// benchEpoch is when the images of the benchmarks were pushed, or later.
func benchEpoch() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }

// benchImages opens a database with so many registries in one project, the
// first of which has so many images and the others fewer, 20 of them in each
// repository: half of them scanned, one in ten gone, one in twenty an index.
func benchImages(b *testing.B, registries, first, others int) *store.DB {
	b.Helper()
	url := "sqlite:" + b.TempDir() + "/bench.db"
	if path := os.Getenv(benchVariable); path != "" {
		url = fmt.Sprintf("sqlite:%s.%d-%d-%d", path, registries, first, others)
	}
	if _, err := os.Stat(strings.TrimPrefix(url, "sqlite:")); err != nil {
		fillBench(b, url, registries, first, others)
	}
	db := storetest.Open(b, url)
	if err := db.CheckCounts(context.Background()); err != nil {
		b.Fatal(err)
	}
	return db
}

// fillBench writes the rows in SQL, with the indexes last.
func fillBench(b *testing.B, url string, registries, first, others int) {
	b.Helper()
	ctx, now := context.Background(), benchEpoch()
	db, err := store.Open(ctx, store.Options{URL: url, Migrate: true})
	if err != nil {
		b.Fatal(err)
	}
	if err := db.CreateCluster(ctx, tidewaiter.Cluster{ID: "c", Name: "c", Created: now}); err != nil {
		b.Fatal(err)
	}
	ids := make([]string, registries)
	for i := range ids {
		ids[i] = store.NewID()
		r := tidewaiter.Registry{ID: ids[i], ProjectID: "p", EnterpriseProjectID: fmt.Sprint(i % 4), Name: fmt.Sprintf("registry-%03d", i),
			Type: tidewaiter.RegistryTypes()[i%6], ClusterID: "c", Status: tidewaiter.RegistrySuccess, Created: now, Updated: now}
		if err := db.CreateRegistry(ctx, r); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	raw, err := sql.Open("sqlite", strings.TrimPrefix(url, "sqlite:"))
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	raw.SetMaxOpenConns(1)
	exec := func(query string, args ...any) {
		b.Helper()
		if _, err := raw.Exec(query, args...); err != nil {
			b.Fatal(err)
		}
	}
	for _, p := range []string{"journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000", "foreign_keys = OFF"} {
		exec("PRAGMA " + p)
	}
	indexes := make(map[string]string)
	rows, err := raw.Query("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('images', 'manifests', 'repositories') AND sql IS NOT NULL")
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // it is read to its end
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			b.Fatal(err)
		}
		indexes[name] = text
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	for name := range indexes {
		exec("DROP INDEX " + name)
	}
	repositories, manifests := 0, 0
	for i := range registries {
		images := others
		if i == 0 {
			images = first
		}
		number := i + 1
		exec(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
			INSERT INTO repositories (id, registry_number, name, namespace, image, owner, problem, skipped, images, sync_id, synced, gone)
			SELECT ? + i, ?, printf('team-%02d/app-%04d', i % 20, i), printf('team-%02d', i % 20), printf('app-%04d', i), '', '', '[]', 18, 's', ? + i, 0 FROM n`,
			images/20, repositories+1, number, now.AddDate(0, 0, i%30).UnixMicro())
		exec(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
			INSERT INTO manifests (id, registry_number, digest, media_type, kind, reason, image_id, size, os, architecture, variant, os_version, created, review)
			SELECT ? + i, ?, 'sha256:' || lower(hex(randomblob(32))), 'application/vnd.oci.image.manifest.v1+json', 'image', '', lower(hex(randomblob(32))),
				1000000 + abs(random()) % 1000000000, 'linux', 'amd64', '', '', 0, 0 FROM n`, images, manifests+1, number)
		exec(`INSERT INTO images (registry_number, repository_id, tag, manifest_id, size, multi_arch, latest, updated, sync_id, gone,
				scan_status, scan_failed_code, scanned, vulnerable, unsafe_settings, malicious_files, severity, facet)
			SELECT registry_number, ? + (id - ?) / 20, CASE id % 20 WHEN 1 THEN 'latest' ELSE printf('v1.%d.%d', id % 20, (id / 20) % 50) END, id, size,
				id % 20 = 3, id % 20 = 1, ? + (abs(random()) % 1000) * 86400000000, 's', CASE WHEN id % 10 = 7 THEN 5 ELSE 0 END,
				CASE WHEN id % 2 = 0 THEN 'success' WHEN id % 100 = 1 THEN 'failed' ELSE 'unscan' END, '',
				CASE WHEN id % 2 = 0 THEN ? + abs(random()) % 1000000000000 ELSE 0 END,
				CASE WHEN id % 4 = 0 THEN 10 ELSE 0 END, CASE WHEN id % 6 = 0 THEN 1 ELSE 0 END, CASE WHEN id % 1000 = 0 THEN 1 ELSE 0 END,
				CASE WHEN id % 2 = 1 THEN '' WHEN id % 8 = 0 THEN 'High' WHEN id % 4 = 0 THEN 'Low' ELSE 'Security' END, 0
			FROM manifests WHERE id > ? ORDER BY id`, repositories+1, manifests+1, now.UnixMicro(), now.UnixMicro(), manifests)
		repositories, manifests = repositories+images/20, manifests+images
	}
	exec("UPDATE images SET facet = " + store.FacetSQL)
	for _, text := range indexes {
		exec(text)
	}
	exec("INSERT INTO image_counts SELECT registry_number, facet, COUNT(*) FROM images GROUP BY registry_number, facet")
}

// BenchmarkImages lists images of a project with 100 registries: 20,000 images
// in each, or in one of them and 100 in the others.
func BenchmarkImages(b *testing.B) {
	for _, size := range []struct {
		name   string
		others int
	}{{"2M", 20_000}, {"30k", 100}} {
		b.Run(size.name, func(b *testing.B) {
			db := benchImages(b, 100, 20_000, size.others)
			_, total, err := db.Images(context.Background(), tidewaiter.Extent{ProjectID: "p", All: true}, store.ImageFilter{}, store.Page{})
			if err != nil {
				b.Fatal(err)
			}
			registries, _, err := db.Registries(context.Background(), tidewaiter.Extent{ProjectID: "p", All: true}, store.RegistryFilter{}, store.Page{Limit: 100})
			if err != nil {
				b.Fatal(err)
			}
			yes := true
			dayFrom, dayTo := benchEpoch().AddDate(0, 0, 500), benchEpoch().AddDate(0, 0, 501)
			yearFrom, yearTo := benchEpoch().AddDate(0, 0, 300), benchEpoch().AddDate(0, 0, 665)
			syncFrom, syncTo := benchEpoch().AddDate(0, 0, 10), benchEpoch().AddDate(0, 0, 20)
			scanFrom, scanTo := benchEpoch(), benchEpoch().Add(time.Hour)
			var anySize int64 = 123_456_789
			for _, c := range []struct {
				name   string
				filter store.ImageFilter
				offset int
			}{
				{"first page", store.ImageFilter{}, 0},
				{"page in the middle", store.ImageFilter{}, total / 2},
				{"last page", store.ImageFilter{}, total - 200},
				{"descending, in the middle", store.ImageFilter{Descending: true}, total / 2},
				{"one registry, last page", store.ImageFilter{RegistryID: registries[len(registries)-1].ID}, 17_800},
				{"type", store.ImageFilter{Types: []tidewaiter.RegistryType{tidewaiter.RegistryHarbor}}, 1000},
				{"name", store.ImageFilter{Name: "app-0042"}, 0},
				{"name app-00*", store.ImageFilter{Name: "app-00*"}, 0},
				{"name *42*", store.ImageFilter{Name: "*42*"}, 0},
				{"namespace", store.ImageFilter{Namespace: "team-07"}, 0},
				{"namespace, in the middle", store.ImageFilter{Namespace: "team-07"}, total / 40},
				{"name and status", store.ImageFilter{Name: "app-00*", ScanStatuses: []string{"success"}}, 0},
				{"tag v1.5.7", store.ImageFilter{Tag: "v1.5.7"}, 0},
				{"tag latest", store.ImageFilter{Tag: "latest"}, 0},
				{"tag v1.5.*", store.ImageFilter{Tag: "v1.5.*"}, 0},
				{"tag *.7", store.ImageFilter{Tag: "*.7"}, 0},
				{"status success", store.ImageFilter{ScanStatuses: []string{"success"}}, 0},
				{"status success, in the middle", store.ImageFilter{ScanStatuses: []string{"success"}}, total / 4},
				{"status failed", store.ImageFilter{ScanStatuses: []string{"failed"}}, 0},
				{"severity High", store.ImageFilter{Severity: "High"}, 0},
				{"malicious files", store.ImageFilter{HasMaliciousFile: &yes}, 0},
				{"risky", store.ImageFilter{Risky: &yes}, 0},
				{"latest version", store.ImageFilter{Latest: true}, 0},
				{"multi arch", store.ImageFilter{MultiArch: &yes}, 0},
				{"size", store.ImageFilter{Size: &anySize}, 0},
				{"updated in a day", store.ImageFilter{UpdatedFrom: &dayFrom, UpdatedTo: &dayTo}, 0},
				{"updated in a year", store.ImageFilter{UpdatedFrom: &yearFrom, UpdatedTo: &yearTo}, 0},
				{"scanned in an hour", store.ImageFilter{ScannedFrom: &scanFrom, ScannedTo: &scanTo}, 0},
				{"scanned, all", store.ImageFilter{ScannedFrom: &scanFrom}, 0},
				{"synced in ten days", store.ImageFilter{SyncedFrom: &syncFrom, SyncedTo: &syncTo}, 0},
				{"by scan time, first page", store.ImageFilter{SortByScanned: true}, 0},
				{"by scan time, newest", store.ImageFilter{SortByScanned: true, Descending: true}, 0},
				{"by scan time, in the middle", store.ImageFilter{SortByScanned: true}, total / 2},
				{"by scan time, three quarters down", store.ImageFilter{SortByScanned: true}, total * 3 / 4},
				{"with those that are gone", store.ImageFilter{WithGone: true}, total / 2},
			} {
				b.Run(c.name, func(b *testing.B) {
					n := 0
					var took []time.Duration
					for b.Loop() {
						begun := time.Now()
						list, all, err := db.Images(context.Background(), tidewaiter.Extent{ProjectID: "p", All: true}, c.filter, store.Page{Offset: c.offset, Limit: 200})
						if err != nil || len(list) != max(min(200, all-c.offset), 0) {
							b.Fatal(len(list), all, err)
						}
						n = all
						took = append(took, time.Since(begun))
					}
					// The median says more than the mean on a machine that does other things.
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
					b.ReportMetric(float64(n), "images")
				})
			}
			b.Run("one enterprise project", func(b *testing.B) {
				for b.Loop() {
					e := tidewaiter.Extent{ProjectID: "p", EnterpriseProjects: []string{"1"}}
					if _, _, err := db.Images(context.Background(), e, store.ImageFilter{}, store.Page{Offset: total / 8, Limit: 200}); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("count", func(b *testing.B) {
				for b.Loop() {
					if n, err := db.CountImages(context.Background(), tidewaiter.Extent{ProjectID: "p", All: true}); err != nil || n != total {
						b.Fatal(n, err)
					}
				}
			})
			b.Run("registries", func(b *testing.B) {
				for b.Loop() {
					list, n, err := db.Registries(context.Background(), tidewaiter.Extent{ProjectID: "p", All: true}, store.RegistryFilter{}, store.Page{Limit: 200})
					if err != nil || n != 100 || len(list) != 100 {
						b.Fatal(n, err)
					}
				}
			})
		})
	}
}
