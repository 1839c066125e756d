package store

import (
	"context"
	"fmt"
)

// Setting returns the value of a setting; the error is of kind
// [tidewaiter.NotFound] where it was never claimed.
func (db *DB) Setting(ctx context.Context, name string) (string, error) {
	var value string
	err := db.read.NewRaw("SELECT value FROM settings WHERE name = ?", name).Scan(ctx, &value)
	return value, notFound(err, "setting")
}

// ClaimSetting writes a setting unless it is there already. It returns the
// value in force, and whether this call wrote it. Of several claimants one
// wins; the others wait for its transaction to end.
func (db *DB) ClaimSetting(ctx context.Context, name, value string) (inForce string, claimed bool, err error) {
	r, err := db.write.NewRaw("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", name, value).Exec(ctx)
	if err != nil {
		return "", false, fmt.Errorf("write setting %q: %w", name, err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 1 {
		return value, n == 1, err
	}
	err = db.write.NewRaw("SELECT value FROM settings WHERE name = ?", name).Scan(ctx, &inForce)
	return inForce, false, notFound(err, "setting")
}

// PutSetting writes a setting, over what it was.
func (db *DB) PutSetting(ctx context.Context, name, value string) error {
	_, err := db.write.NewRaw("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write setting %q: %w", name, err)
	}
	return nil
}
