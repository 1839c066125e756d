package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/riverqueue/river/rivermigrate"

	"github.com/tidewaiter/tidewaiter"
)

// migrationLock is the key of the PostgreSQL advisory lock under which one
// server migrates while the others wait: "tidejobs" in ASCII. On SQLite there is
// one server.
const migrationLock = 0x746964656a6f6273

// migrate brings River's tables up to date, forward only. They are apart from
// the store's own schema: each counts its versions by itself, and neither names
// the other.
func (p *pools) migrate(ctx context.Context, log *slog.Logger) (err error) {
	unlock, err := p.lockSchema(ctx)
	if err != nil {
		return fmt.Errorf("lock job tables: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	m, err := rivermigrate.New(p.driver, &rivermigrate.Config{Logger: slog.New(quieter{log.Handler()})})
	if err != nil {
		return fmt.Errorf("read migrations of job tables: %w", err)
	}
	all := m.AllVersions()
	want := all[len(all)-1].Version
	have, err := p.version(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read version of job tables: %w", err)
	case have > want:
		return tidewaiter.Errorf(tidewaiter.Conflict,
			"the job tables have version %d and this program knows versions up to %d; start the newer tidewaiter that wrote them", have, want)
	case have == want:
		return nil
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate job tables from version %d: %w", have, err)
	}
	log.InfoContext(ctx, "job tables migrated", "from", have, "to", want)
	return nil
}

// lockSchema waits for other servers that migrate.
func (p *pools) lockSchema(ctx context.Context) (unlock func() error, err error) {
	if p.listen == nil {
		return func() error { return nil }, nil
	}
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	// The lock goes with its connection, which must not go back to the pool with it.
	return func() error {
		_, err := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrationLock))
		return errors.Join(err, conn.Close())
	}, nil
}

// version returns the version of River's tables, 0 if there are none.
func (p *pools) version(ctx context.Context) (int, error) {
	query := "SELECT to_regclass('river_migration') IS NOT NULL"
	if p.listen == nil {
		query = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'river_migration')"
	}
	var there bool
	if err := p.db.QueryRowContext(ctx, query).Scan(&there); err != nil || !there {
		return 0, err
	}
	var have sql.NullInt64
	err := p.db.QueryRowContext(ctx, "SELECT MAX(version) FROM river_migration").Scan(&have)
	return int(have.Int64), err
}
