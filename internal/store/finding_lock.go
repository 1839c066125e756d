package store

import (
	"context"
	"fmt"
)

// findingsLock is the key of PostgreSQL's advisory lock on what is known of
// vulnerabilities.
const findingsLock = 7_134_001

// HoldFindings keeps what is known of package versions as it is until the
// transaction ends: no other set of advisories comes into force, and no
// exception changes. Many may hold it. It comes before all other locks. On SQLite, which has one
// writer at a time, there is nothing to do.
func (db *DB) HoldFindings(ctx context.Context) error {
	return db.lockFindings(ctx, "SELECT pg_advisory_xact_lock_shared(?)")
}

// LockFindings is [DB.HoldFindings] for one that changes it: nobody else holds it.
func (db *DB) LockFindings(ctx context.Context) error {
	return db.lockFindings(ctx, "SELECT pg_advisory_xact_lock(?)")
}

func (db *DB) lockFindings(ctx context.Context, query string) error {
	if db.sqlite {
		return nil
	}
	if _, err := db.write.NewRaw(query, findingsLock).Exec(ctx); err != nil {
		return fmt.Errorf("lock findings: %w", err)
	}
	return nil
}
