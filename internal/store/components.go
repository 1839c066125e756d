package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type componentRow struct {
	bun.BaseModel `bun:"components"`

	ID               string
	ClusterID        string
	Name             string
	Version          string
	Platform         string
	Protocol         int
	SigningKey       []byte
	Recipient        string
	ClusterRecipient string
	SealedClusterKey []byte `bun:",nullzero"`
	Enrolled         int64
	Seen             int64
}

func (r componentRow) noun() tidewaiter.Component {
	return tidewaiter.Component{
		ID: r.ID, ClusterID: r.ClusterID, Name: r.Name, Version: r.Version, Platform: r.Platform, Protocol: r.Protocol,
		SigningKey: r.SigningKey, Recipient: r.Recipient,
		ClusterRecipient: r.ClusterRecipient, SealedClusterKey: r.SealedClusterKey,
		Enrolled: fromMicros(r.Enrolled), Seen: fromMicros(r.Seen),
	}
}

func newComponentRow(c tidewaiter.Component) componentRow {
	return componentRow{
		ID: c.ID, ClusterID: c.ClusterID, Name: c.Name, Version: c.Version, Platform: c.Platform, Protocol: c.Protocol,
		SigningKey: c.SigningKey, Recipient: c.Recipient,
		ClusterRecipient: c.ClusterRecipient, SealedClusterKey: c.SealedClusterKey,
		Enrolled: micros(c.Enrolled), Seen: micros(c.Seen),
	}
}

// CreateComponent adds a component. Errors: NotFound if its cluster is not
// there.
func (db *DB) CreateComponent(ctx context.Context, c tidewaiter.Component) error {
	row := newComponentRow(c)
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "component")
}

// Component returns the component of an id.
func (db *DB) Component(ctx context.Context, id string) (tidewaiter.Component, error) {
	var row componentRow
	err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	if err != nil {
		return tidewaiter.Component{}, notFound(err, "component")
	}
	return row.noun(), nil
}

// Components returns the components of a cluster, oldest first.
func (db *DB) Components(ctx context.Context, clusterID string) ([]tidewaiter.Component, error) {
	var rows []componentRow
	err := db.read.NewSelect().Model(&rows).Where("cluster_id = ?", clusterID).Order("enrolled", "id").Scan(ctx)
	return nouns(rows, componentRow.noun), notFound(err, "components")
}

// UpdateComponent writes what a component says about itself, its keys of the
// cluster, and when it was seen: all but the ids, the keys of its own and the
// time of enrolment.
func (db *DB) UpdateComponent(ctx context.Context, c tidewaiter.Component) error {
	row := newComponentRow(c)
	r, err := db.write.NewUpdate().Model(&row).
		ExcludeColumn("id", "cluster_id", "signing_key", "recipient", "enrolled").Where("id = ?", c.ID).Exec(ctx)
	return changed(r, err, "component")
}

// TouchComponent sets when a component was seen, unless it was seen later.
// Errors: NotFound.
func (db *DB) TouchComponent(ctx context.Context, id string, seen time.Time) error {
	r, err := db.write.NewRaw("UPDATE components SET seen = CASE WHEN seen < ? THEN ? ELSE seen END WHERE id = ?",
		micros(seen), micros(seen), id).Exec(ctx)
	return changed(r, err, "component")
}

// DeleteComponent removes a component. What it holds the lease of is queued
// again. Errors: NotFound.
func (db *DB) DeleteComponent(ctx context.Context, id string) error {
	return db.Tx(ctx, func(tx *DB) error {
		if _, err := tx.ReleaseWorkOf(ctx, id, Now()); err != nil {
			return err
		}
		r, err := tx.write.NewRaw("DELETE FROM components WHERE id = ?", id).Exec(ctx)
		return changed(r, err, "component")
	})
}
