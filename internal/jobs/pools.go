package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"github.com/tidewaiter/tidewaiter/internal/store"
)

// pools are the connections that River works with.
type pools struct {
	driver riverdriver.Driver[*sql.Tx]
	db     *sql.DB // where River takes jobs and writes down how they went

	own    *sql.DB       // SQLite
	listen *pgxpool.Pool // PostgreSQL
}

// Close closes what is not the store's.
func (p *pools) Close() error {
	if p.listen != nil {
		p.listen.Close()
	}
	if p.own != nil {
		return p.own.Close()
	}
	return nil
}

func openPools(ctx context.Context, db *store.DB) (pools, error) {
	if db.Dialect() == "sqlite" {
		return sqlitePools(ctx, db)
	}
	return postgresPools(ctx, db)
}

// sqlitePools give River a connection of its own, as it writes a row every few
// seconds even if there is nothing to do: with the store's connection each would
// be an fsync. Without one nothing breaks. What a loss of power undoes is at most
// that a job was done; and a job is enqueued with the store's connection, whose
// fsync takes with it what was written before.
func sqlitePools(ctx context.Context, db *store.DB) (pools, error) {
	pool, _ := db.SQL()
	var path string
	if err := pool.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path); err != nil {
		return pools{}, fmt.Errorf("find database of jobs: %w", err)
	}
	dsn := (&url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_txlock":       {"immediate"},
		"_synchronous":  {"NORMAL"},
		"_foreign_keys": {"on"},
		"_busy_timeout": {"10000"},
	}.Encode()}).String()
	own, err := sql.Open("sqlite", dsn) // the store has registered the driver
	if err != nil {
		return pools{}, fmt.Errorf("open database of jobs: %w", err)
	}
	own.SetMaxOpenConns(1)
	own.SetMaxIdleConns(1)
	return pools{driver: riversqlite.New(own), db: own, own: own}, nil
}

// postgresPools give River the store's pool, and one connection more, on which
// PostgreSQL tells of new jobs.
func postgresPools(ctx context.Context, db *store.DB) (pools, error) {
	pool, _ := db.SQL()
	listen, err := pgxpool.ParseConfig("")
	if err != nil {
		return pools{}, fmt.Errorf("listen for jobs: %w", err)
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return pools{}, fmt.Errorf("listen for jobs: %w", err)
	}
	err = conn.Raw(func(c any) error {
		listen.ConnConfig = c.(*stdlib.Conn).Conn().Config() // a copy
		listen.ConnConfig.OnNotification = nil               // which hands them to the connection that was copied
		return nil
	})
	if err := errors.Join(err, conn.Close()); err != nil {
		return pools{}, fmt.Errorf("listen for jobs: %w", err)
	}
	listen.MaxConns, listen.MinConns = 1, 0
	p, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), listen)
	if err != nil {
		return pools{}, fmt.Errorf("listen for jobs: %w", err)
	}
	return pools{driver: riverdatabasesql.NewWithPgxListener(pool, p), db: pool, listen: p}, nil
}
