package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// AdvisorySet is a set of advisories: a file that is named by its digest.
type AdvisorySet struct {
	Number     int64
	Digest     tidewaiter.Digest
	Size       int64
	Newest     time.Time // when the newest of its advisories was changed
	Advisories int
	Created    time.Time        // when it was made, or taken again after another
	Sources    []AdvisorySource // that it was compiled from
}

type advisorySetRow struct {
	bun.BaseModel `bun:"advisory_sets,alias:advisory_sets"`

	Number     int64 `bun:",pk,autoincrement"`
	Digest     tidewaiter.Digest
	Size       int64
	Newest     int64
	Advisories int
	Created    int64
	Document   string
}

// setDocument is what of a set no query asks for, as JSON.
type setDocument struct {
	Sources []AdvisorySource `json:"sources"`
}

func (r advisorySetRow) noun() (AdvisorySet, error) {
	var d setDocument
	if err := json.Unmarshal([]byte(r.Document), &d); err != nil {
		return AdvisorySet{}, fmt.Errorf("read set of advisories: %w", err)
	}
	return AdvisorySet{
		Number: r.Number, Digest: r.Digest, Size: r.Size, Newest: optionalTime(r.Newest), Advisories: r.Advisories, Created: fromMicros(r.Created), Sources: d.Sources,
	}, nil
}

// PutAdvisorySet notes that there is a set, and returns its number. Of one that is
// known it notes when it was made, and from what.
func (db *DB) PutAdvisorySet(ctx context.Context, s AdvisorySet) (int64, error) {
	text, err := json.Marshal(setDocument{s.Sources})
	if err != nil {
		return 0, fmt.Errorf("write set of advisories: %w", err)
	}
	row := advisorySetRow{
		Digest: s.Digest, Size: s.Size, Newest: optionalMicros(s.Newest), Advisories: s.Advisories, Created: micros(s.Created), Document: string(text),
	}
	r, err := db.write.NewInsert().Model(&row).On("CONFLICT (digest) DO UPDATE SET created = excluded.created, document = excluded.document").Returning("NULL").Exec(ctx)
	if err != nil {
		return 0, wrote(r, err, "set of advisories")
	}
	var number int64
	err = db.write.NewRaw("SELECT number FROM advisory_sets WHERE digest = ?", s.Digest).Scan(ctx, &number)
	return number, notFound(err, "set of advisories")
}

// AdvisorySets returns the sets that there are, the newest first.
func (db *DB) AdvisorySets(ctx context.Context) ([]AdvisorySet, error) {
	var rows []advisorySetRow
	if err := db.read.NewSelect().Model(&rows).Order("created DESC", "number DESC").Scan(ctx); err != nil {
		return nil, notFound(err, "sets of advisories")
	}
	list := make([]AdvisorySet, 0, len(rows))
	for _, r := range rows {
		set, err := r.noun()
		if err != nil {
			return nil, err
		}
		list = append(list, set)
	}
	return list, nil
}

// AdvisorySet returns a set by its number, or NotFound.
func (db *DB) AdvisorySet(ctx context.Context, number int64) (AdvisorySet, error) {
	var row advisorySetRow
	if err := db.read.NewSelect().Model(&row).Where("number = ?", number).Scan(ctx); err != nil {
		return AdvisorySet{}, notFound(err, "set of advisories")
	}
	return row.noun()
}

// DeleteAdvisorySet forgets a set, with its file if it is in the database.
func (db *DB) DeleteAdvisorySet(ctx context.Context, s AdvisorySet) error {
	r, err := db.write.NewRaw("DELETE FROM advisory_sets WHERE number = ? AND number NOT IN (SELECT set_number FROM advisory_state)", s.Number).Exec(ctx)
	if err := wrote(r, err, "set of advisories"); err != nil {
		return err
	}
	return db.DeleteFile(ctx, s.Digest)
}

// AdvisorySource is a place that advisories were imported from.
type AdvisorySource struct {
	Location   string            // a path or URL, as it was given
	Digest     tidewaiter.Digest // of the file that was kept of it
	Newest     time.Time         // when the newest of its advisories was changed
	Imported   time.Time
	Advisories int
	Refused    int    // that could not be used
	ETag       string // of a URL
}

type advisorySourceRow struct {
	bun.BaseModel `bun:"advisory_sources,alias:advisory_sources"`

	Location string
	Digest   tidewaiter.Digest
	Newest   int64
	Imported int64
	Document string
}

type sourceDocument struct {
	Advisories int    `json:"advisories"`
	Refused    int    `json:"refused"`
	ETag       string `json:"etag,omitempty"`
}

// AdvisorySources returns what the next set is going to be compiled from, but
// for what is imported anew: by location.
func (db *DB) AdvisorySources(ctx context.Context) ([]AdvisorySource, error) {
	var rows []advisorySourceRow
	if err := db.read.NewSelect().Model(&rows).Order("location").Scan(ctx); err != nil {
		return nil, notFound(err, "sources of advisories")
	}
	list := make([]AdvisorySource, 0, len(rows))
	for _, r := range rows {
		var d sourceDocument
		if err := json.Unmarshal([]byte(r.Document), &d); err != nil {
			return nil, fmt.Errorf("read source of advisories: %w", err)
		}
		list = append(list, AdvisorySource{
			Location: r.Location, Digest: r.Digest, Newest: optionalTime(r.Newest), Imported: fromMicros(r.Imported),
			Advisories: d.Advisories, Refused: d.Refused, ETag: d.ETag,
		})
	}
	return list, nil
}

// ReplaceAdvisorySources writes where the set comes from that is about to come
// into force.
func (db *DB) ReplaceAdvisorySources(ctx context.Context, list []AdvisorySource) error {
	if _, err := db.write.NewRaw("DELETE FROM advisory_sources").Exec(ctx); err != nil {
		return fmt.Errorf("write sources of advisories: %w", err)
	}
	for _, s := range list {
		text, err := json.Marshal(sourceDocument{s.Advisories, s.Refused, s.ETag})
		if err != nil {
			return fmt.Errorf("write sources of advisories: %w", err)
		}
		row := advisorySourceRow{Location: s.Location, Digest: s.Digest, Newest: optionalMicros(s.Newest), Imported: micros(s.Imported), Document: string(text)}
		if _, err := db.write.NewInsert().Model(&row).Exec(ctx); err != nil {
			return conflict(err, "source of advisories")
		}
	}
	return nil
}

// PutPiece keeps a piece of a file, at its place among the pieces.
func (db *DB) PutPiece(ctx context.Context, file tidewaiter.Digest, position int, piece []byte) error {
	r, err := db.write.NewRaw("INSERT INTO advisory_files (digest, position, piece) VALUES (?, ?, ?) ON CONFLICT (digest, position) DO UPDATE SET piece = excluded.piece",
		file, position, piece).Exec(ctx)
	return wrote(r, err, "file of advisories")
}

// Piece returns a piece of a file, or NotFound.
func (db *DB) Piece(ctx context.Context, file tidewaiter.Digest, position int) (piece []byte, err error) {
	err = db.read.NewRaw("SELECT piece FROM advisory_files WHERE digest = ? AND position = ?", file, position).Scan(ctx, &piece)
	return piece, notFound(err, "file of advisories")
}

// DeleteFile removes the pieces of a file.
func (db *DB) DeleteFile(ctx context.Context, file tidewaiter.Digest) error {
	r, err := db.write.NewRaw("DELETE FROM advisory_files WHERE digest = ?", file).Exec(ctx)
	return wrote(r, err, "file of advisories")
}

// SharedFiles returns the digests of the files that are in the database.
func (db *DB) SharedFiles(ctx context.Context) (digests []tidewaiter.Digest, err error) {
	err = db.read.NewRaw("SELECT DISTINCT digest FROM advisory_files").Scan(ctx, &digests)
	return digests, notFound(err, "files of advisories")
}
