package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// LayerState says what is known of a layer.
type LayerState string

// The states of a layer that a piece of work asks for.
const (
	LayerKnown   LayerState = "known"
	LayerClaimed LayerState = "claimed" // by the one who asks, who is to look into it
	LayerBusy    LayerState = "busy"    // somebody else is looking into it
)

type layerRow struct {
	bun.BaseModel `bun:"layers"`

	Number     int64 `bun:",pk,autoincrement"`
	ProjectID  string
	ClusterID  string
	Digest     tidewaiter.Digest
	DiffID     tidewaiter.Digest
	Extractors string
	Limits     string
	Ready      bool
	Size       int64
	Created    int64
}

type claimRow struct {
	bun.BaseModel `bun:"layer_claims,alias:layer_claims"`

	ProjectID  string
	ClusterID  string
	Digest     tidewaiter.Digest
	DiffID     tidewaiter.Digest
	Extractors string
	WorkID     string
	Attempt    int
}

const whereLayer = "project_id = ? AND cluster_id = ? AND digest = ? AND diff_id = ? AND extractors = ?"

func layerKey(k tidewaiter.LayerKey) []any {
	return []any{k.ProjectID, k.ClusterID, k.Digest, k.DiffID, k.Extractors}
}

// LayerNumber returns the number of a layer whose facts are all there. Facts
// that were cut short by other limits than these are none. Errors: NotFound.
func (db *DB) LayerNumber(ctx context.Context, k tidewaiter.LayerKey, limits string) (int64, error) {
	var number int64
	err := db.read.NewRaw("SELECT number FROM layers WHERE "+whereLayer+" AND ready AND limits IN ('', ?)",
		append(layerKey(k), limits)...).Scan(ctx, &number)
	return number, notFound(err, "layer")
}

// ClaimLayer asks for a layer on behalf of a lease that holds. A claim lasts as
// long as the lease that made it, and one of the same work is taken over. Call
// it in a transaction.
func (db *DB) ClaimLayer(ctx context.Context, k tidewaiter.LayerKey, limits string, l tidewaiter.Lease, now time.Time) (LayerState, error) {
	_, err := db.LayerNumber(ctx, k, limits)
	if err == nil {
		return LayerKnown, nil
	}
	if tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return "", err
	}
	row := claimRow{ProjectID: k.ProjectID, ClusterID: k.ClusterID, Digest: k.Digest, DiffID: k.DiffID, Extractors: k.Extractors, WorkID: l.WorkID, Attempt: l.Attempt}
	r, err := db.write.NewInsert().Model(&row).
		On("CONFLICT (project_id, cluster_id, digest, diff_id, extractors) DO UPDATE").
		Set("work_id = excluded.work_id, attempt = excluded.attempt").
		Where("layer_claims.work_id = excluded.work_id OR NOT EXISTS (SELECT 1 FROM work WHERE work.id = layer_claims.work_id"+
			" AND work.attempt = layer_claims.attempt AND work.state = 'leased' AND work.deadline >= ?)", micros(now)).
		Returning("NULL").Exec(ctx)
	n, err := affected(r, err, "claim of a layer")
	switch {
	case err != nil:
		return "", err
	case n == 0:
		return LayerBusy, nil
	}
	return LayerClaimed, nil
}

// DropClaims ends the claims of a piece of work.
func (db *DB) DropClaims(ctx context.Context, workID string) error {
	r, err := db.write.NewRaw("DELETE FROM layer_claims WHERE work_id = ?", workID).Exec(ctx)
	return wrote(r, err, "claims of layers")
}

// PurgeClaims removes the claims of work that has ended without dropping them:
// that was stopped while it waited to be taken up again. They count for nothing.
func (db *DB) PurgeClaims(ctx context.Context) (int64, error) {
	r, err := db.write.NewRaw("DELETE FROM layer_claims WHERE work_id IN (SELECT c.work_id FROM layer_claims AS c JOIN work AS w ON w.id = c.work_id WHERE w.state NOT IN ('queued', 'leased'))").Exec(ctx)
	return affected(r, err, "claims of layers")
}

// LooseFile is a file of a layer that belongs to no package of it.
type LooseFile struct {
	Entry int // place among the layer's files
	Name  string
	Path  string
	Size  int64
}

// key is what the file is searched for by.
func (f LooseFile) key() string { return folded(shortened(f.Name)) }

// NewLayer is what was found in a layer.
type NewLayer struct {
	tidewaiter.LayerKey
	Limits string // that a cut depends on, "" if there is no such cut
	Size   int64  // bytes, uncompressed
	Facts  []byte
	Loose  []LooseFile
}

// PutLayer keeps what was found in a layer, in several transactions: until the
// last it counts for nothing. What is there already stays, unless it was cut
// short by limits and this was not, or not by the same.
func (db *DB) PutLayer(ctx context.Context, l NewLayer, now time.Time) error {
	number, there, err := db.beginLayer(ctx, l, now)
	if err != nil || there {
		return err
	}
	err = eachChunk(l.Loose, func(chunk []LooseFile) error {
		return db.Tx(ctx, func(tx *DB) error { return tx.putLooseFiles(ctx, number, chunk) })
	})
	if err != nil {
		return err
	}
	return db.Tx(ctx, func(tx *DB) error {
		r, err := tx.write.NewRaw("UPDATE layers SET ready = TRUE WHERE number = ?", number).Exec(ctx)
		if err := changed(r, err, "layer"); err != nil {
			return err
		}
		r, err = tx.write.NewRaw("DELETE FROM layer_claims WHERE "+whereLayer, layerKey(l.LayerKey)...).Exec(ctx)
		return wrote(r, err, "claims of layers")
	})
}

// beginLayer writes all of a layer but its files, unless it is there.
func (db *DB) beginLayer(ctx context.Context, l NewLayer, now time.Time) (number int64, there bool, err error) {
	err = db.Tx(ctx, func(tx *DB) error {
		var old layerRow
		err := tx.write.NewSelect().Model(&old).Where(whereLayer, layerKey(l.LayerKey)...).Scan(ctx)
		switch {
		case err == nil && old.Ready && (old.Limits == "" || old.Limits == l.Limits):
			there = true
			return nil
		case err == nil && old.Ready:
			// Images that show the shorter one are shown the longer one from now on.
			r, err := tx.write.NewRaw("DELETE FROM layer_files WHERE layer_number = ?", old.Number).Exec(ctx)
			if err != nil {
				return wrote(r, err, "files of a layer")
			}
		case err != nil && tidewaiter.KindOf(notFound(err, "layer")) != tidewaiter.NotFound:
			return notFound(err, "layer")
		}
		row := layerRow{
			ProjectID: l.ProjectID, ClusterID: l.ClusterID, Digest: l.Digest, DiffID: l.DiffID, Extractors: l.Extractors,
			Limits: l.Limits, Size: l.Size, Created: micros(now),
		}
		_, err = tx.write.NewInsert().Model(&row).On("CONFLICT (project_id, cluster_id, digest, diff_id, extractors) DO UPDATE").
			Set("limits = excluded.limits, size = excluded.size, ready = FALSE").Returning("number").Exec(ctx)
		if err != nil {
			return conflict(err, "layer")
		}
		number = row.Number
		r, err := tx.write.NewRaw("INSERT INTO layer_facts (layer_number, facts) VALUES (?, ?) ON CONFLICT (layer_number) DO UPDATE SET facts = excluded.facts",
			number, l.Facts).Exec(ctx)
		return wrote(r, err, "facts of a layer")
	})
	return number, there, err
}

type looseRow struct {
	bun.BaseModel `bun:"layer_files"`

	LayerNumber int64
	Entry       int
	NameID      int64
	Path        string
	Size        int64
}

func (db *DB) putLooseFiles(ctx context.Context, number int64, files []LooseFile) error {
	ids, err := db.textIDs(ctx, "file_names", "name", nouns(files, LooseFile.key))
	if err != nil {
		return err
	}
	rows := nouns(files, func(f LooseFile) looseRow {
		return looseRow{LayerNumber: number, Entry: f.Entry, NameID: ids[f.key()], Path: f.Path, Size: f.Size}
	})
	_, err = db.write.NewInsert().Model(&rows).On("CONFLICT (layer_number, entry) DO NOTHING").Exec(ctx)
	return conflict(err, "file of a layer")
}

// Facts returns the facts of a layer, as package codec writes them.
func (db *DB) Facts(ctx context.Context, number int64) ([]byte, error) {
	var facts []byte
	err := db.read.NewRaw("SELECT facts FROM layer_facts WHERE layer_number = ?", number).Scan(ctx, &facts)
	return facts, notFound(err, "layer")
}

// textIDs returns the ids of texts by a table of such, to which they are added
// where need be.
func (db *DB) textIDs(ctx context.Context, table, column string, texts []string) (map[string]int64, error) {
	texts = slices.Compact(slices.Sorted(slices.Values(texts))) // the order of locking
	ids := make(map[string]int64, len(texts))
	read := func(chunk []string) error {
		var rows []struct {
			ID   int64
			Text string
		}
		err := db.write.NewRaw("SELECT id, ?0 AS text FROM ?1 WHERE ?0 IN (?2)", bun.Ident(column), bun.Ident(table), bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			ids[r.Text] = r.ID
		}
		return notFound(err, table)
	}
	err := eachChunk(texts, func(chunk []string) error {
		if err := read(chunk); err != nil {
			return err
		}
		var missing []any
		for _, t := range chunk {
			if ids[t] == 0 {
				missing = append(missing, t)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		values := strings.Repeat(", (?)", len(missing))[len(", "):]
		r, err := db.write.NewRaw("INSERT INTO ? (?) VALUES "+values+" ON CONFLICT DO NOTHING",
			append([]any{bun.Ident(table), bun.Ident(column)}, missing...)...).Exec(ctx)
		if err != nil {
			return wrote(r, err, table)
		}
		return read(chunk)
	})
	return ids, err
}

// PurgeLayers removes layers that no image has had since before a time, up to
// limit of them, and returns how many it removed.
func (db *DB) PurgeLayers(ctx context.Context, before time.Time, limit int) (int64, error) {
	r, err := db.write.NewRaw(`DELETE FROM layers WHERE number IN (SELECT number FROM layers WHERE created < ?
		AND NOT EXISTS (SELECT 1 FROM manifest_layers WHERE manifest_layers.layer_number = layers.number) ORDER BY created LIMIT ?)`,
		micros(before), limit).Exec(ctx)
	return affected(r, err, "layers")
}
