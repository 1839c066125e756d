package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type secretRow struct {
	bun.BaseModel `bun:"registry_secrets"`

	RegistryID string
	Name       string
	Recipient  string
	Sealed     []byte
}

func (r secretRow) noun() tidewaiter.SealedSecret {
	return tidewaiter.SealedSecret{RegistryID: r.RegistryID, Name: r.Name, Recipient: r.Recipient, Sealed: r.Sealed}
}

// PutSecret adds a secret to a registry, or replaces the one of that name.
// Errors: NotFound if the registry is not there.
func (db *DB) PutSecret(ctx context.Context, s tidewaiter.SealedSecret) error {
	row := secretRow{RegistryID: s.RegistryID, Name: s.Name, Recipient: s.Recipient, Sealed: s.Sealed}
	_, err := db.write.NewInsert().Model(&row).
		On("CONFLICT (registry_id, name) DO UPDATE SET recipient = excluded.recipient, sealed = excluded.sealed").Exec(ctx)
	return conflict(err, "secret")
}

// DeleteSecret removes a secret. Errors: NotFound.
func (db *DB) DeleteSecret(ctx context.Context, registryID, name string) error {
	r, err := db.write.NewRaw("DELETE FROM registry_secrets WHERE registry_id = ? AND name = ?", registryID, name).Exec(ctx)
	return changed(r, err, "secret")
}

// Secrets returns the secrets of a registry, by name.
func (db *DB) Secrets(ctx context.Context, registryID string) ([]tidewaiter.SealedSecret, error) {
	var rows []secretRow
	err := db.read.NewSelect().Model(&rows).Where("registry_id = ?", registryID).Order("name").Scan(ctx)
	return nouns(rows, secretRow.noun), notFound(err, "secrets")
}

// CountSealedTo returns how many secrets are sealed to a key.
func (db *DB) CountSealedTo(ctx context.Context, recipient string) (int, error) {
	n := 0
	err := db.read.NewRaw("SELECT COUNT(*) FROM registry_secrets WHERE recipient = ?", recipient).Scan(ctx, &n)
	return n, notFound(err, "secrets")
}
