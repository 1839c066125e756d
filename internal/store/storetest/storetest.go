// Package storetest runs tests on both databases.
package storetest

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/tidewaiter/tidewaiter/internal/store"
)

// PostgresVariable is the environment variable with the postgres:// URL of a
// server on which tests may create databases.
const PostgresVariable = "TIDEWAITER_TEST_POSTGRES"

// Each runs a test on a fresh SQLite database and on a fresh PostgreSQL
// database, the latter only where [PostgresVariable] is set.
func Each(t *testing.T, f func(t *testing.T, db *store.DB)) {
	t.Helper()
	EachURL(t, func(t *testing.T, url string) { f(t, Open(t, url)) })
}

// EachURL is [Each] for tests that open the database themselves, maybe more
// than once. The database is empty.
func EachURL(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, Postgres(t)) })
}

// Open opens and migrates a database until the end of the test.
func Open(t testing.TB, url string) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), store.Options{URL: url, Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// SQLite returns the URL of a database that does not exist yet.
func SQLite(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "data", "tidewaiter.db")
}

// Postgres returns the URL of an empty database that is dropped after the
// test, or skips the test.
func Postgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv(PostgresVariable)
	if server == "" {
		t.Skipf("%s is not set to the URL of a PostgreSQL server", PostgresVariable)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s is not a URL", PostgresVariable)
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	name := "tidewaiter_test_" + store.NewID()
	if _, err := admin.Exec("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
		if err := admin.Close(); err != nil {
			t.Error(err)
		}
	})
	u.Path = "/" + name
	return u.String()
}
