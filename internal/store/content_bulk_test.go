package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// TestBulk wants the rows that the benchmarks are taken on to be those that
// PutLayer and PutResult write.
func TestBulk(t *testing.T) {
	for _, dialect := range []struct {
		name string
		url  func(testing.TB) string
	}{{"sqlite", storetest.SQLite}, {"postgres", storetest.Postgres}} {
		t.Run(dialect.name, func(t *testing.T) {
			done := 0
			rapid.Check(t, func(rt *rapid.T) {
				if done == 2 {
					return // each takes two databases
				}
				one, other := dialect.url(t), dialect.url(t)
				bulkAndNot(newContentModel(rt, storetest.Open(t, one)), storetest.Open(t, other))
				a, b := contentRows(t, openRaw(t, one)), contentRows(t, openRaw(t, other))
				if d := gocmp.Diff(a, b); d != "" || len(a) < 20 {
					rt.Fatalf("of %d rows differ (-put +bulk):\n%s", len(a), d)
				}
				done++
			})
		})
	}
}

// bulkAndNot writes the same results into both databases.
func bulkAndNot(m *contentModel, bulk *store.DB) {
	ctx := context.Background()
	m.ok(bulk.CreateCluster(ctx, tidewaiter.Cluster{ID: m.registries[0].ClusterID, Name: "c", Created: epoch()}))
	for _, r := range m.registries {
		m.ok(bulk.CreateRegistry(ctx, r))
	}
	_, err := bulk.PutPackages(ctx, m.versions)
	m.ok(err)
	var results []store.NewResult
	for range 10 {
		x := thing(rapid.IntRange(0, 8).Draw(m.t, "thing"))
		i := rapid.IntRange(0, len(m.registries)-1).Draw(m.t, "registry")
		m.push(i, x.manifests())
		m.ok(bulk.PutManifests(ctx, m.registries[i].ID, x.manifests()))
	}
	for _, id := range slices.Sorted(maps.Keys(m.images)) {
		if len(m.images[id].children) == 0 {
			results = append(results, m.result(id))
		}
	}
	for _, r := range results {
		m.ok(m.db.PutResult(ctx, r))
	}
	registries, err := bulk.RegistryNumbers(ctx)
	m.ok(err)
	b, err := bulk.NewBulk(ctx)
	m.ok(err)
	m.ok(b.Lay(ctx, "image_packages", "layer_files", "manifest_layers", "hidden_files"))
	numbers, err := b.Layers(ctx, epoch().UnixMicro(), slices.Values(m.layers))
	m.ok(err)
	if !slices.Equal(numbers, m.numbers) {
		m.t.Fatalf("layers %v, want %v", numbers, m.numbers)
	}
	m.ok(b.Results(ctx, registries, slices.Values(results)))
	m.ok(b.Close(ctx))
	m.ok(bulk.CheckSoftwareCounts(ctx))
}

// contentRows returns all rows of what images hold.
func contentRows(t *testing.T, db *sql.DB) (list []string) {
	t.Helper()
	for _, q := range []string{
		"SELECT * FROM scan_results ORDER BY 1", "SELECT * FROM manifest_layers ORDER BY 1, 2", "SELECT * FROM hidden_files ORDER BY 1, 2, 3",
		`SELECT i.package_id, i.registry_number, i.manifest_id, i.origin, p.path FROM image_packages AS i JOIN package_paths AS p ON p.id = i.path_id ORDER BY 1, 2, 3`,
		"SELECT * FROM package_counts ORDER BY 1, 2", "SELECT * FROM software_counts ORDER BY 1, 2, 3", "SELECT * FROM layers ORDER BY 1",
		"SELECT f.layer_number, f.entry, n.name, f.path, f.size FROM layer_files AS f JOIN file_names AS n ON n.id = f.name_id ORDER BY 1, 2",
	} {
		list = append(list, rowsAsText(t, db, q)...)
	}
	return list
}

func rowsAsText(t *testing.T, db *sql.DB, query string) (list []string) {
	t.Helper()
	rows, err := db.Query(query)
	must(t, err)
	defer rows.Close()
	names, err := rows.Columns()
	must(t, err)
	values := make([]any, len(names))
	for i := range values {
		values[i] = new(any)
	}
	for rows.Next() {
		must(t, rows.Scan(values...))
		text := query[:20]
		for _, v := range values {
			text += fmt.Sprintf(" %v", *v.(*any))
		}
		list = append(list, text)
	}
	must(t, rows.Err())
	return list
}
