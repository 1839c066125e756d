package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type attachedVEXRow struct {
	bun.BaseModel `bun:"attached_vex,alias:attached_vex"`

	ManifestID int64
	Document   tidewaiter.Digest
	MediaType  string
	ID         string
	Author     string
	Source     string
	Statements int
	Exceptions int
	Problem    string
	Seen       int64
}

// AttachedVEX returns what was last seen attached to a manifest.
func (db *DB) AttachedVEX(ctx context.Context, manifestID int64) ([]tidewaiter.AttachedVEX, error) {
	list, _, err := db.attachedVEX(ctx, "m.id = ?", manifestID, Page{Limit: 1 << 30})
	return list, err
}

// AttachedVEXOfRegistry returns a page of what was last seen attached to the
// images of a registry, and how many documents there are.
func (db *DB) AttachedVEXOfRegistry(ctx context.Context, registryID string, p Page) ([]tidewaiter.AttachedVEX, int, error) {
	return db.attachedVEX(ctx, "m.registry_number = (SELECT number FROM registries WHERE id = ?)", registryID, p)
}

func (db *DB) attachedVEX(ctx context.Context, where string, arg any, p Page) ([]tidewaiter.AttachedVEX, int, error) {
	var rows []struct {
		attachedVEXRow

		Image tidewaiter.Digest
	}
	q := db.read.NewSelect().Model(&rows).ModelTableExpr("attached_vex AS a").Join("JOIN manifests AS m ON m.id = a.manifest_id").
		ColumnExpr("a.*, m.digest AS image").Where(where, arg)
	total, err := paged(ctx, q, p, "attached documents", "a.manifest_id", "a.document")
	if err != nil {
		return nil, 0, err
	}
	list := make([]tidewaiter.AttachedVEX, 0, len(rows))
	for _, r := range rows {
		list = append(list, tidewaiter.AttachedVEX{
			Image: r.Image, ManifestID: r.ManifestID, Document: r.Document, MediaType: r.MediaType, ID: r.ID, Author: r.Author, Source: r.Source,
			Statements: r.Statements, Exceptions: r.Exceptions, Problem: r.Problem, Seen: fromMicros(r.Seen),
		})
	}
	return list, total, nil
}

// PutAttachedVEX notes what is attached to a manifest, in the place of what was.
func (db *DB) PutAttachedVEX(ctx context.Context, manifestID int64, list []tidewaiter.AttachedVEX) error {
	r, err := db.write.NewRaw("DELETE FROM attached_vex WHERE manifest_id = ?", manifestID).Exec(ctx)
	if err != nil || len(list) == 0 {
		return wrote(r, err, "attached documents")
	}
	rows := nouns(list, func(a tidewaiter.AttachedVEX) attachedVEXRow {
		return attachedVEXRow{
			ManifestID: manifestID, Document: a.Document, MediaType: a.MediaType, ID: a.ID, Author: a.Author, Source: a.Source,
			Statements: a.Statements, Exceptions: a.Exceptions, Problem: a.Problem, Seen: micros(a.Seen),
		}
	})
	r, err = db.write.NewInsert().Model(&rows).Returning("NULL").Exec(ctx)
	return wrote(r, err, "attached documents")
}

// ManifestsWithAttachedVEX returns manifests of a registry to which something
// is attached.
func (db *DB) ManifestsWithAttachedVEX(ctx context.Context, registryID string, limit int) (ids []int64, err error) {
	err = db.read.NewRaw(`SELECT DISTINCT a.manifest_id FROM attached_vex AS a JOIN manifests AS m ON m.id = a.manifest_id
		WHERE m.registry_number = (SELECT number FROM registries WHERE id = ?) ORDER BY a.manifest_id LIMIT ?`, registryID, limit).Scan(ctx, &ids)
	return ids, notFound(err, "attached documents")
}

// dropAttachedExceptions removes the exceptions of what is attached to
// manifests that are about to be removed, by a condition on attached_vex.
func (db *DB) dropAttachedExceptions(ctx context.Context, condition string, arg any) error {
	r, err := db.write.NewRaw("DELETE FROM exceptions WHERE source IN (SELECT source FROM attached_vex WHERE source <> '' AND "+condition+")", arg).Exec(ctx)
	return wrote(r, err, "exceptions")
}
