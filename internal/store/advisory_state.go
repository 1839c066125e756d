package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// AdvisoryState says which set of advisories is in force.
type AdvisoryState struct {
	SetNumber  int64             // 0 for none
	Digest     tidewaiter.Digest // of the set's file, "" for none
	Generation int64             // counts how often another set came into force
	Rules      int64             // by which packages were matched
	Activated  time.Time
}

// AdvisoryState returns which set of advisories is in force.
func (db *DB) AdvisoryState(ctx context.Context) (AdvisoryState, error) {
	var row struct {
		SetNumber, Generation, Rules, Activated int64
		Digest                                  tidewaiter.Digest
	}
	err := db.read.NewRaw(`SELECT a.set_number, a.generation, a.rules, a.activated, COALESCE(s.digest, '') AS digest
		FROM advisory_state AS a LEFT JOIN advisory_sets AS s ON s.number = a.set_number WHERE a.id = 1`).Scan(ctx, &row)
	return AdvisoryState{
		SetNumber: row.SetNumber, Digest: row.Digest, Generation: row.Generation, Rules: row.Rules, Activated: optionalTime(row.Activated),
	}, notFound(err, "state of the advisories")
}

// SetAdvisoryState brings a set of advisories into force, if the generation is
// still the one given: what is counted of findings has to be that of the new
// set by then. Errors: Conflict.
func (db *DB) SetAdvisoryState(ctx context.Context, generation int64, s AdvisoryState) error {
	r, err := db.write.NewRaw("UPDATE advisory_state SET set_number = ?, generation = generation + 1, rules = ?, activated = ? WHERE id = 1 AND generation = ?",
		s.SetNumber, s.Rules, micros(s.Activated), generation).Exec(ctx)
	if err != nil {
		return wrote(r, err, "state of the advisories")
	}
	n, err := r.RowsAffected()
	if err != nil {
		return fmt.Errorf("write state of the advisories: %w", err)
	}
	if n == 0 {
		return tidewaiter.Errorf(tidewaiter.Conflict, "another set of advisories has come into force meanwhile")
	}
	return nil
}
