package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"

	"github.com/tidewaiter/tidewaiter"
)

//go:embed migration
var migrations embed.FS

// migrationLock is the key of the PostgreSQL advisory lock under which one
// replica migrates while the others wait: "tidewait" in ASCII.
const migrationLock = 0x7469646577616974

// migrate brings the schema up to date, or with apply false checks that it is.
// Migrations go forward only.
func (db *DB) migrate(ctx context.Context, apply bool, log *slog.Logger) (err error) {
	pool := db.pools[0].DB
	dialect := goose.DialectSQLite3
	if !db.sqlite {
		dialect = goose.DialectPostgres
		conn, err := pool.Conn(ctx)
		if err != nil {
			return fmt.Errorf("lock schema: %w", err)
		}
		// The lock goes with its connection, which must not go back to the pool
		// with it.
		defer func() {
			_, uerr := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrationLock))
			err = errors.Join(err, uerr, conn.Close())
		}()
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
			return fmt.Errorf("lock schema: %w", err)
		}
	}
	folder, err := fs.Sub(migrations, "migration/"+db.Dialect())
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	p, err := goose.NewProvider(dialect, pool, folder,
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_version"))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read schema version: %w", err)
	case have > want:
		return tidewaiter.Errorf(tidewaiter.Conflict,
			"the database has schema version %d and this program knows versions up to %d; start the newer tidewaiter that wrote it",
			have, want)
	case have == want:
		return nil
	case !apply:
		return tidewaiter.Errorf(tidewaiter.Conflict,
			"the database has schema version %d and this program needs %d; start the server of this version once", have, want)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate schema from version %d: %w", have, err)
	}
	for _, m := range done {
		log.InfoContext(ctx, "schema migrated", "version", m.Source.Version, "took", m.Duration)
	}
	return nil
}
