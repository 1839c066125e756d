package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// AccessKey is an access key with its secret half, sealed by package identity.
type AccessKey struct {
	tidewaiter.AccessKey
	SealedSecret []byte
}

type accessKeyRow struct {
	bun.BaseModel `bun:"access_keys"`

	ID           string
	UserID       string
	Enabled      bool
	SealedSecret []byte
	Created      int64
}

func (r accessKeyRow) noun() AccessKey {
	return AccessKey{
		AccessKey:    tidewaiter.AccessKey{ID: r.ID, UserID: r.UserID, Enabled: r.Enabled, Created: fromMicros(r.Created)},
		SealedSecret: r.SealedSecret,
	}
}

// CreateAccessKey adds an access key.
func (db *DB) CreateAccessKey(ctx context.Context, k AccessKey) error {
	row := accessKeyRow{
		ID: k.ID, UserID: k.UserID, Enabled: k.Enabled, SealedSecret: k.SealedSecret, Created: micros(k.Created),
	}
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "access key")
}

// AccessKey returns the access key of an id.
func (db *DB) AccessKey(ctx context.Context, id string) (AccessKey, error) {
	var row accessKeyRow
	err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	return row.noun(), notFound(err, "access key")
}

// AccessKeys returns the access keys of a user, oldest first.
func (db *DB) AccessKeys(ctx context.Context, userID string) ([]AccessKey, error) {
	var rows []accessKeyRow
	err := db.read.NewSelect().Model(&rows).Where("user_id = ?", userID).Order("created", "id").Scan(ctx)
	return nouns(rows, accessKeyRow.noun), notFound(err, "access keys")
}

// EnableAccessKey enables or disables an access key.
func (db *DB) EnableAccessKey(ctx context.Context, id string, enabled bool) error {
	r, err := db.write.NewRaw("UPDATE access_keys SET enabled = ? WHERE id = ?", enabled, id).Exec(ctx)
	return changed(r, err, "access key")
}

// DeleteAccessKey removes an access key.
func (db *DB) DeleteAccessKey(ctx context.Context, id string) error {
	r, err := db.write.NewRaw("DELETE FROM access_keys WHERE id = ?", id).Exec(ctx)
	return changed(r, err, "access key")
}
