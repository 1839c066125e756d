package store_test

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{
		"", "mysql://root:planted@h/db", "sqlite:", "sqlite::memory:", "planted.db",
		"postgres://user:planted@h:port/db", "postgres://us%zzplanted@h/db",
		"postgres://user:planted@127.0.0.1:1/db?connect_timeout=2",
	} {
		_, err := store.Open(context.Background(), store.Options{URL: url})
		if k := tidewaiter.KindOf(err); err == nil || k != tidewaiter.Invalid && k != tidewaiter.Unavailable {
			t.Errorf("%q: got %v", url, err)
		}
		if err != nil && strings.Contains(err.Error(), "planted") {
			t.Errorf("the error repeats the URL: %v", err)
		}
	}
}

func TestSQLiteIsPrivateAndDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder", "50% ?#.db")
	db := storetest.Open(t, "sqlite:"+path)
	newAccount(t, db, "acme") // so that there are -wal and -shm files
	err := filepath.WalkDir(filepath.Dir(path), func(p string, e fs.DirEntry, err error) error {
		must(t, err)
		fi, err := e.Info()
		must(t, err)
		if m := fi.Mode().Perm(); m&0o077 != 0 {
			t.Errorf("%s has mode %v", p, m)
		}
		return nil
	})
	must(t, err)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); err != nil {
			t.Error(err)
		}
	}
}

func TestSchemaVersions(t *testing.T) {
	storetest.EachURL(t, func(t *testing.T, url string) {
		ctx := context.Background()
		_, err := store.Open(ctx, store.Options{URL: url})
		wantKind(t, err, tidewaiter.Conflict) // empty, and not told to migrate

		storetest.Open(t, url)
		db, err := store.Open(ctx, store.Options{URL: url})
		must(t, err)
		must(t, db.Close())

		raw := openRaw(t, url)
		_, err = raw.Exec("INSERT INTO schema_version (version_id, is_applied) VALUES (99999, TRUE)")
		must(t, err)
		for _, migrate := range []bool{false, true} {
			_, err = store.Open(ctx, store.Options{URL: url, Migrate: migrate})
			wantKind(t, err, tidewaiter.Conflict)
			if !strings.Contains(err.Error(), "schema version 99999") {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestManyReplicasMigrateAtOnce(t *testing.T) {
	url := storetest.Postgres(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			db, err := store.Open(context.Background(), store.Options{URL: url, Migrate: true})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestMigrateFromEach starts from every earlier version of the schema, with
// rows in it, and finds them again.
func TestMigrateFromEach(t *testing.T) {
	storetest.EachURL(t, func(t *testing.T, url string) {
		ctx := context.Background()
		driver, name, dialect, folder := "pgx", url, goose.DialectPostgres, "migration/postgres"
		if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
			driver, name, dialect, folder = "sqlite", path, goose.DialectSQLite3, "migration/sqlite"
			must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		}
		raw, err := sql.Open(driver, name)
		must(t, err)
		defer raw.Close()
		p, err := goose.NewProvider(dialect, raw, os.DirFS(folder), goose.WithTableName("schema_version"), goose.WithDisableGlobalRegistry(true))
		must(t, err)
		_, err = p.UpTo(ctx, 1)
		must(t, err)
		for _, q := range []string{
			"INSERT INTO settings VALUES ('s', 'v')",
			"INSERT INTO domains VALUES ('d', 'acme', TRUE, 5)",
			"INSERT INTO projects VALUES ('p', 'd', 'north-1', '', TRUE, 1, 5)",
		} {
			_, err := raw.Exec(q)
			must(t, err)
		}
		db := storetest.Open(t, url)
		if v, err := db.Setting(ctx, "s"); err != nil || v != "v" {
			t.Errorf("setting: %q, %v", v, err)
		}
		if p, err := db.Project(ctx, "p"); err != nil || p.Name != "north-1" {
			t.Errorf("project: %v, %v", p, err)
		}
		must(t, db.CreateCluster(ctx, tidewaiter.Cluster{ID: "c", Name: "c", Created: store.Now()}))
	})
}

func TestMigrationNumbersAreTheSame(t *testing.T) {
	var names [2][]string
	for i, dialect := range []string{"sqlite", "postgres"} {
		files, err := filepath.Glob(filepath.Join("migration", dialect, "*"))
		must(t, err)
		for _, f := range files {
			names[i] = append(names[i], filepath.Base(f))
			b, err := os.ReadFile(f)
			must(t, err)
			if strings.Contains(string(b), "+goose Down") {
				t.Errorf("%s goes down; migrations go forward only", f)
			}
		}
	}
	if d := cmp.Diff(names[0], names[1]); d != "" || len(names[0]) == 0 {
		t.Errorf("migrations differ (-sqlite +postgres):\n%s", d)
	}
}

func TestSchemasAreTheSame(t *testing.T) {
	lite, pg := storetest.SQLite(t), storetest.Postgres(t)
	storetest.Open(t, lite)
	storetest.Open(t, pg)
	a := columns(t, openRaw(t, lite), `SELECT m.name || '.' || c.name, c.type, c."notnull" = 1
		FROM sqlite_master m, pragma_table_xinfo(m.name) c WHERE m.type = 'table'`)
	b := columns(t, openRaw(t, pg), `SELECT table_name || '.' || column_name, data_type, is_nullable = 'NO'
		FROM information_schema.columns WHERE table_schema = 'public'`)
	if d := cmp.Diff(a, b); d != "" || len(a) < 30 {
		t.Errorf("columns differ (-sqlite +postgres):\n%s", d)
	}
	indexes := func(db *sql.DB, query string) []string {
		var names []string
		for name := range columns(t, db, query) {
			if !strings.HasSuffix(name, "_pkey") && !strings.HasPrefix(name, "sqlite_") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	if d := cmp.Diff(
		indexes(openRaw(t, lite), "SELECT name, '', COALESCE(sql LIKE '%UNIQUE%', FALSE) FROM sqlite_master WHERE type = 'index'"),
		indexes(openRaw(t, pg), "SELECT indexname, '', indexdef LIKE '%UNIQUE%' FROM pg_indexes WHERE schemaname = 'public'"),
	); d != "" {
		t.Errorf("indexes differ (-sqlite +postgres):\n%s", d)
	}
}

type column struct {
	Type    string
	NotNull bool
}

func columns(t *testing.T, db *sql.DB, query string) map[string]column {
	t.Helper()
	rows, err := db.Query(query)
	must(t, err)
	defer rows.Close()
	out := map[string]column{}
	for rows.Next() {
		var name string
		var c column
		must(t, rows.Scan(&name, &c.Type, &c.NotNull))
		if strings.HasPrefix(name, "schema_version") || strings.HasPrefix(name, "sqlite_sequence") {
			continue
		}
		switch c.Type = strings.ToUpper(c.Type); c.Type {
		case "BYTEA":
			c.Type = "BLOB"
		case "INTEGER": // SQLite insists on this word for keys that count up
			c.Type = "BIGINT"
		}
		out[name] = c
	}
	must(t, rows.Err())
	return out
}

func openRaw(t *testing.T, url string) *sql.DB {
	t.Helper()
	driver, name := "pgx", url
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, name = "sqlite", path
	}
	db, err := sql.Open(driver, name)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}
