package store

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/tidewaiter/tidewaiter"
)

// postgresConns is how many connections one replica uses at most.
const postgresConns = 20

// connectTimeout is how long a connection may take to be made.
const connectTimeout = 10 * time.Second

func openPostgres(url string) (*DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		// The cause is left out: it quotes the URL.
		return nil, tidewaiter.InvalidField("database",
			"it is not a well-formed postgres:// URL; in user and password write special characters as %%XX")
	}
	// Bun writes the arguments into the text of a query, so that hardly any text
	// comes twice: preparing and caching statements would only fill memory.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "tidewaiter"
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(postgresConns)
	pool.SetMaxIdleConns(postgresConns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	pool.SetConnMaxLifetime(time.Hour) // so that a fail-over by DNS is followed
	db := bun.NewDB(pool, pgdialect.New(), bun.WithDiscardUnknownColumns())
	return &DB{read: db, write: db, pools: []*bun.DB{db}}, nil
}

func postgresCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// The codes are those of appendix A of the PostgreSQL manual.

func isUnique(err error) bool {
	return postgresCode(err) == "23505" || isSQLiteUnique(err)
}

func isForeignKey(err error) bool {
	return postgresCode(err) == "23503" || isSQLiteForeignKey(err)
}

// isRetryable reports whether the database undid a whole transaction that may
// well succeed when tried again.
func isRetryable(err error) bool {
	c := postgresCode(err)
	return c == "40001" || c == "40P01" // serialization failure, deadlock
}
