package store

import (
	"database/sql"

	"github.com/uptrace/bun"
)

// SQL returns what is beneath, for a package that keeps tables of its own in
// the same database: the pool that writes, or in a transaction that
// transaction and no pool.
func (db *DB) SQL() (*sql.DB, *sql.Tx) {
	if tx, ok := db.write.(bun.Tx); ok {
		return nil, tx.Tx
	}
	return db.pools[0].DB, nil
}
