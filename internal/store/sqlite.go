package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/tidewaiter/tidewaiter"
)

// sqliteReaders is how many queries run at once. Each connection has a page
// cache of up to 2 MiB.
const sqliteReaders = 4

// busyMilliseconds is how long a writer waits for a writer in another process.
const busyMilliseconds = "10000"

func openSQLite(path string) (*DB, error) {
	if path == "" || path[0] == ':' {
		return nil, tidewaiter.InvalidField("database", "sqlite: needs the path of a file; a database in memory cannot be used")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find database %q: %w", path, err)
	}
	if err := createPrivate(abs); err != nil {
		return nil, err
	}
	write, err := sqlitePool(abs, url.Values{
		"_txlock":       {"immediate"}, // no deadlock between two readers that want to write
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"on"},
		"_busy_timeout": {busyMilliseconds},
	}, 1)
	if err != nil {
		return nil, err
	}
	read, err := sqlitePool(abs, url.Values{
		"_query_only":   {"on"},
		"_busy_timeout": {busyMilliseconds},
	}, sqliteReaders)
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &DB{read: read, write: write, sqlite: true, pools: []*bun.DB{write, read}}, nil
}

func sqlitePool(path string, query url.Values, size int) (*bun.DB, error) {
	dsn := (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String()
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("open database %q: %w", path, err)
	}
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return bun.NewDB(pool, sqlitedialect.New(), bun.WithDiscardUnknownColumns()), nil
}

// createPrivate makes the database file, for its owner only, before SQLite
// does: it gives the files beside it (-wal, -shm) the mode of this one.
func createPrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make folder of database: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make database: %w", err)
	}
	return f.Close()
}

func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

func isSQLiteUnique(err error) bool {
	c := sqliteCode(err)
	return c == sqlitelib.SQLITE_CONSTRAINT_UNIQUE || c == sqlitelib.SQLITE_CONSTRAINT_PRIMARYKEY
}

func isSQLiteForeignKey(err error) bool {
	return sqliteCode(err) == sqlitelib.SQLITE_CONSTRAINT_FOREIGNKEY
}
