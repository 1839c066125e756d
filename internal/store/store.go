// Package store keeps the state of Tidewaiter in SQLite or PostgreSQL.
//
// There is one concrete [DB] and one text of each query for both databases;
// the folders under migration differ in column types alone. There is one file
// for each noun, and no business logic: callers decide what is allowed, the
// store says [tidewaiter.NotFound] and [tidewaiter.Conflict].
//
// Durability: what a method accepted without an error survives SIGKILL and the
// loss of power. SQLite runs with a write-ahead log and synchronous=FULL (one
// fsync for each change); PostgreSQL with whatever synchronous_commit the
// operator chose, which is "on" by default.
//
// Times are kept as microseconds since 1970 in UTC, which compare alike in
// both databases.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// Options say which database to open.
type Options struct {
	// URL is "sqlite:PATH" or "postgres://user:password@host:port/name".
	URL string
	// Migrate brings the schema up to date. Without it a schema that is not
	// exactly what this program knows is refused.
	Migrate bool
	// Logger hears of migrations; nil for silence.
	Logger *slog.Logger
}

// DB is an open database, or with [DB.Tx] a transaction in it. All methods may
// be called by several goroutines at once, except those of a transaction.
type DB struct {
	// SQLite knows one writer at a time. A pool of one connection for writing
	// makes writers queue in order here, instead of polling for its lock.
	read, write bun.IDB

	sqlite bool
	pools  []*bun.DB // empty in a transaction
}

// Open opens a database, and creates it where it is a SQLite file that does
// not exist. Errors never repeat the URL, which may hold a password.
//
// Two programs may have one SQLite database open at once; but only the one
// that holds the lock of the data folder ([LockDataFolder]) should migrate it.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var db *DB
	var err error
	if path, ok := strings.CutPrefix(o.URL, "sqlite:"); ok {
		db, err = openSQLite(path)
	} else if strings.HasPrefix(o.URL, "postgres://") || strings.HasPrefix(o.URL, "postgresql://") {
		db, err = openPostgres(o.URL)
	} else {
		return nil, tidewaiter.InvalidField("database", "it must start with sqlite: (and a path) or with postgres://")
	}
	if err != nil {
		return nil, err
	}
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := db.migrate(ctx, o.Migrate, o.Logger); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close closes the database. It waits for queries that are under way.
func (db *DB) Close() error {
	var errs []error
	for _, p := range db.pools {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// Ping reports whether the database answers; its error is of kind
// [tidewaiter.Unavailable].
func (db *DB) Ping(ctx context.Context) error {
	for _, p := range db.pools {
		if err := p.PingContext(ctx); err != nil {
			return tidewaiter.Wrap(tidewaiter.Unavailable, err, "the database does not answer")
		}
	}
	return nil
}

// Dialect returns "sqlite" or "postgres".
func (db *DB) Dialect() string {
	if db.sqlite {
		return "sqlite"
	}
	return "postgres"
}

// maxAttempts is how often a transaction is tried that PostgreSQL broke off to
// resolve a deadlock.
const maxAttempts = 3

// Tx runs f in a transaction, which is committed when f returns nil. Within f
// use the DB that it is given, and never the outer one: on SQLite that would
// wait for itself. f may run more than once, so it should have no effect but
// through its DB. Called within a transaction, Tx joins it.
func (db *DB) Tx(ctx context.Context, f func(tx *DB) error) error {
	if len(db.pools) == 0 {
		return f(db)
	}
	var err error
	for range maxAttempts {
		err = db.write.RunInTx(ctx, nil, func(_ context.Context, tx bun.Tx) error {
			return f(&DB{read: tx, write: tx, sqlite: db.sqlite})
		})
		if !isRetryable(err) {
			return err
		}
	}
	return err
}

// micros returns a time as it is stored.
func micros(t time.Time) int64 { return t.UnixMicro() }

// fromMicros returns a stored time.
func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// Now returns the time with the precision that the store keeps.
func Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// notFound turns the absence of a row into an error of kind NotFound.
func notFound(err error, what string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return tidewaiter.Errorf(tidewaiter.NotFound, "there is no such %s", what)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}

// changed turns the result of an update or delete that met no row into an
// error of kind NotFound.
func changed(r sql.Result, err error, what string) error {
	if err != nil {
		return conflict(err, what)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return fmt.Errorf("change %s: %w", what, err)
	}
	if n == 0 {
		return tidewaiter.Errorf(tidewaiter.NotFound, "there is no such %s", what)
	}
	return nil
}

// conflict turns the refusal of a second row of the same key into an error of
// kind Conflict, and of a reference to nothing into one of kind NotFound.
func conflict(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case isUnique(err):
		return &tidewaiter.Error{Kind: tidewaiter.Conflict, Field: "name",
			Message: fmt.Sprintf("another %s has it already; choose another name", what)}
	case isForeignKey(err):
		return tidewaiter.Errorf(tidewaiter.NotFound, "what the %s belongs to does not exist", what)
	}
	return fmt.Errorf("write %s: %w", what, err)
}
