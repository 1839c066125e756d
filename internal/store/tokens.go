package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Token is what is kept of a token. It is good while it has not expired and
// the epochs are still those of its user and project.
type Token struct {
	Hash         []byte // SHA-256 of the token
	UserID       string
	UserEpoch    int64
	ProjectID    string // "" for a token that is scoped to the domain
	ProjectEpoch int64
	Issued       time.Time
	Expires      time.Time
}

type tokenRow struct {
	bun.BaseModel `bun:"tokens"`

	Hash         []byte
	UserID       string
	UserEpoch    int64
	ProjectID    string `bun:",nullzero"`
	ProjectEpoch int64
	Issued       int64
	Expires      int64
}

// CreateToken adds a token.
func (db *DB) CreateToken(ctx context.Context, t Token) error {
	row := tokenRow{
		Hash: t.Hash, UserID: t.UserID, UserEpoch: t.UserEpoch, ProjectID: t.ProjectID, ProjectEpoch: t.ProjectEpoch,
		Issued: micros(t.Issued), Expires: micros(t.Expires),
	}
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "token")
}

// Token returns the token of a hash, expired or not.
func (db *DB) Token(ctx context.Context, hash []byte) (Token, error) {
	var row tokenRow
	err := db.read.NewSelect().Model(&row).Where("hash = ?", hash).Scan(ctx)
	return Token{
		Hash: row.Hash, UserID: row.UserID, UserEpoch: row.UserEpoch, ProjectID: row.ProjectID, ProjectEpoch: row.ProjectEpoch,
		Issued: fromMicros(row.Issued), Expires: fromMicros(row.Expires),
	}, notFound(err, "token")
}

// DeleteToken removes a token.
func (db *DB) DeleteToken(ctx context.Context, hash []byte) error {
	r, err := db.write.NewRaw("DELETE FROM tokens WHERE hash = ?", hash).Exec(ctx)
	return changed(r, err, "token")
}

// DeleteTokensOf removes all tokens of a user.
func (db *DB) DeleteTokensOf(ctx context.Context, userID string) error {
	_, err := db.write.NewRaw("DELETE FROM tokens WHERE user_id = ?", userID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("delete tokens of user: %w", err)
	}
	return nil
}

// PurgeTokens removes the tokens that expired before a time, and returns how
// many they were.
func (db *DB) PurgeTokens(ctx context.Context, before time.Time) (int64, error) {
	r, err := db.write.NewRaw("DELETE FROM tokens WHERE expires < ?", micros(before)).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("purge tokens: %w", err)
	}
	return r.RowsAffected()
}
