package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type domainRow struct {
	bun.BaseModel `bun:"domains"`

	ID      string
	Name    string
	Enabled bool
	Created int64
}

func (r domainRow) noun() tidewaiter.Domain {
	return tidewaiter.Domain{ID: r.ID, Name: r.Name, Enabled: r.Enabled, Created: fromMicros(r.Created)}
}

// CreateDomain adds a domain. Its name is unique.
func (db *DB) CreateDomain(ctx context.Context, d tidewaiter.Domain) error {
	row := domainRow{ID: d.ID, Name: d.Name, Enabled: d.Enabled, Created: micros(d.Created)}
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "domain")
}

// Domain returns the domain of an id.
func (db *DB) Domain(ctx context.Context, id string) (tidewaiter.Domain, error) {
	return db.domain(ctx, "id = ?", id)
}

// DomainByName returns the domain of a name.
func (db *DB) DomainByName(ctx context.Context, name string) (tidewaiter.Domain, error) {
	return db.domain(ctx, "name = ?", name)
}

func (db *DB) domain(ctx context.Context, where string, arg any) (tidewaiter.Domain, error) {
	var row domainRow
	err := db.read.NewSelect().Model(&row).Where(where, arg).Scan(ctx)
	return row.noun(), notFound(err, "domain")
}

// Domains returns all domains, oldest first.
func (db *DB) Domains(ctx context.Context) ([]tidewaiter.Domain, error) {
	var rows []domainRow
	err := db.read.NewSelect().Model(&rows).Order("created", "id").Scan(ctx)
	return nouns(rows, domainRow.noun), notFound(err, "domains")
}

// LockDomain keeps others who call it from going on until the transaction ends.
// It does not keep them from reading, nor from writing without the lock.
func (db *DB) LockDomain(ctx context.Context, id string) error {
	if db.sqlite {
		return nil // there is one writing transaction at a time as it is
	}
	var locked string
	err := db.read.NewRaw("SELECT id FROM domains WHERE id = ? FOR NO KEY UPDATE", id).Scan(ctx, &locked)
	return notFound(err, "domain")
}

// UpdateDomain sets the name of a domain, and whether it is enabled.
func (db *DB) UpdateDomain(ctx context.Context, d tidewaiter.Domain) error {
	r, err := db.write.NewRaw("UPDATE domains SET name = ?, enabled = ? WHERE id = ?", d.Name, d.Enabled, d.ID).Exec(ctx)
	return changed(r, err, "domain")
}

// nouns turns rows into what they stand for.
func nouns[R, N any](rows []R, noun func(R) N) []N {
	out := make([]N, len(rows))
	for i, r := range rows {
		out[i] = noun(r)
	}
	return out
}
