package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// Enrolment is what is kept of a one-time token with which a component joins a
// cluster.
type Enrolment struct {
	Hash        []byte // SHA-256 of the token
	ClusterID   string
	ComponentID string // who has used it, "" for nobody
	Created     time.Time
	Expires     time.Time
}

type enrolmentRow struct {
	bun.BaseModel `bun:"enrolments"`

	Hash        []byte
	ClusterID   string
	ComponentID string `bun:",nullzero"`
	Created     int64
	Expires     int64
}

// CreateEnrolment adds a token. Errors: NotFound if its cluster is not there.
func (db *DB) CreateEnrolment(ctx context.Context, e Enrolment) error {
	row := enrolmentRow{
		Hash: e.Hash, ClusterID: e.ClusterID, ComponentID: e.ComponentID,
		Created: micros(e.Created), Expires: micros(e.Expires),
	}
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "enrolment")
}

// Enrolment returns the token of a hash, used or not, expired or not.
func (db *DB) Enrolment(ctx context.Context, hash []byte) (Enrolment, error) {
	var row enrolmentRow
	err := db.read.NewSelect().Model(&row).Where("hash = ?", hash).Scan(ctx)
	if err != nil {
		return Enrolment{}, notFound(err, "enrolment")
	}
	return Enrolment{
		Hash: row.Hash, ClusterID: row.ClusterID, ComponentID: row.ComponentID,
		Created: fromMicros(row.Created), Expires: fromMicros(row.Expires),
	}, nil
}

// UseEnrolment notes that a component, which is there, has used a token. Of
// several that try, one succeeds. Errors: NotFound; Conflict if it was used.
func (db *DB) UseEnrolment(ctx context.Context, hash []byte, componentID string) error {
	r, err := db.write.NewRaw("UPDATE enrolments SET component_id = ? WHERE hash = ? AND component_id IS NULL", componentID, hash).Exec(ctx)
	if err != nil {
		return conflict(err, "enrolment")
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	var there int
	if err := db.write.NewRaw("SELECT 1 FROM enrolments WHERE hash = ?", hash).Scan(ctx, &there); err != nil {
		return notFound(err, "enrolment")
	}
	return tidewaiter.Errorf(tidewaiter.Conflict, "the token was used already; make another")
}

// PurgeEnrolments removes the tokens that expired before a time, used or not,
// and returns how many they were.
func (db *DB) PurgeEnrolments(ctx context.Context, before time.Time) (int64, error) {
	r, err := db.write.NewRaw("DELETE FROM enrolments WHERE expires < ?", micros(before)).Exec(ctx)
	return affected(r, err, "enrolments")
}
