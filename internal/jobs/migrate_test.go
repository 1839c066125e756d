package jobs

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// raw opens a database beneath the store.
func raw(t *testing.T, url string) *sql.DB {
	t.Helper()
	driver, name := "pgx", url
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, name = "sqlite", path
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestMigrateEitherFirst has a row in the first version of our own schema, from
// before there were jobs. Then the store's migrations come first and River's
// after them, or the other way round, as when a later version of ours meets
// River's tables.
func TestMigrateEitherFirst(t *testing.T) {
	for _, first := range []string{"store", "river"} {
		t.Run(first, func(t *testing.T) {
			storetest.EachURL(t, func(t *testing.T, url string) {
				old := raw(t, url)
				dialect, folder := goose.DialectPostgres, "../store/migration/postgres"
				if strings.HasPrefix(url, "sqlite:") {
					dialect, folder = goose.DialectSQLite3, "../store/migration/sqlite"
				}
				p, err := goose.NewProvider(dialect, old, os.DirFS(folder), goose.WithTableName("schema_version"), goose.WithDisableGlobalRegistry(true))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := p.UpTo(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				if _, err := old.Exec("INSERT INTO settings VALUES ('s', 'v')"); err != nil {
					t.Fatal(err)
				}
				if first == "river" {
					migrateRiver(t, old, url, nil)
				}
				db := storetest.Open(t, url)
				ran := make(chan string, 1)
				s := newServer(t, db, quick(), Kind{Name: "k", Run: send(ran)}).run()
				s.enqueue("k", "a", "x")
				next(t, ran)
				if v, err := db.Setting(t.Context(), "s"); err != nil || v != "v" {
					t.Errorf("the setting is %q, %v", v, err)
				}
				again, err := store.Open(t.Context(), store.Options{URL: url}) // as an admin command does
				if err != nil {
					t.Fatal(err)
				}
				if err := again.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func migrateRiver(t *testing.T, db *sql.DB, url string, o *rivermigrate.MigrateOpts) {
	t.Helper()
	var driver riverdriver.Driver[*sql.Tx] = riverdatabasesql.New(db)
	if strings.HasPrefix(url, "sqlite:") {
		driver = riversqlite.New(db)
	}
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Migrate(t.Context(), rivermigrate.DirectionUp, o); err != nil {
		t.Fatal(err)
	}
}

// TestMigrateFromEachVersionOfRiver has a job in each earlier version of River's
// tables that we could have met. It is run when they are new.
func TestMigrateFromEachVersionOfRiver(t *testing.T) {
	for _, version := range []int{6, 7} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			storetest.EachURL(t, func(t *testing.T, url string) {
				db := storetest.Open(t, url)
				old := raw(t, url)
				migrateRiver(t, old, url, &rivermigrate.MigrateOpts{TargetVersion: version})
				if _, err := old.Exec(`INSERT INTO river_job (kind, args, max_attempts, state) VALUES
					('tidewaiter', '{"name": "k", "key": "a", "timeout": 60000000000, "args": "from before"}', 5, 'available')`); err != nil {
					t.Fatal(err)
				}
				ran := make(chan string, 1)
				newServer(t, db, quick(), Kind{Name: "k", Run: send(ran)}).run()
				if got := next(t, ran); got != `"from before"` {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

func TestManyServersMigrateAtOnce(t *testing.T) {
	db := storetest.Open(t, storetest.Postgres(t))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r, err := New(context.Background(), Options{Store: db})
			if err != nil {
				t.Error(err)
				return
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestNewerTablesAreRefused(t *testing.T) {
	storetest.EachURL(t, func(t *testing.T, url string) {
		db := storetest.Open(t, url)
		newServer(t, db, quick())
		if _, err := raw(t, url).Exec("INSERT INTO river_migration (line, version) VALUES ('main', 999)"); err != nil {
			t.Fatal(err)
		}
		_, err := New(t.Context(), Options{Store: db})
		if tidewaiter.KindOf(err) != tidewaiter.Conflict || !strings.Contains(err.Error(), "version 999") {
			t.Errorf("got %v", err)
		}
	})
}

// TestLostConnections cuts every connection to PostgreSQL while jobs run.
func TestLostConnections(t *testing.T) {
	url := storetest.Postgres(t)
	db := storetest.Open(t, url)
	ran := make(chan string, 100)
	s := newServer(t, db, quick(), Kind{Name: "k", Run: send(ran)}).run()
	s.enqueue("k", "before", "before")
	next(t, ran)
	admin := raw(t, url)
	if _, err := admin.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
		t.Fatal(err)
	}
	for s.Enqueue(t.Context(), db, "k", "after", "after") != nil {
		time.Sleep(10 * time.Millisecond)
	}
	for next(t, ran) != `"after"` {
	}
}
