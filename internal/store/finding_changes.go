package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// FindingCause says why findings came or went.
type FindingCause string

// The causes.
const (
	CauseAdvisories FindingCause = "advisories" // others are in force
	CauseContent    FindingCause = "content"    // an image was scanned
	CauseExceptions FindingCause = "exceptions" // somebody has handled them, or no longer does
)

// NewFindingChange is a change that is to be told.
type NewFindingChange struct {
	Cause      FindingCause
	SetNumber  int64 // of [CauseAdvisories]
	ManifestID int64 // of [CauseContent]: the image of one platform
	Created    time.Time
	// Changes are of package versions. Of [CauseExceptions], they name the
	// vulnerabilities alone; of [CauseContent], there are none for an image that
	// was never scanned before.
	Changes []FindingChange
	Images  []int64 // of one platform, by manifest, that it is about; in order
}

type findingChangeRow struct {
	bun.BaseModel `bun:"finding_changes,alias:finding_changes"`

	ID         int64 `bun:",pk,autoincrement"`
	Cause      FindingCause
	SetNumber  int64
	ManifestID int64
	Created    int64
	Document   []byte
}

// changeDocument is a [FindingChange] as it is kept.
type changeDocument struct {
	Package int64                        `json:"p"`
	Name    string                       `json:"n"`
	Kind    tidewaiter.VulnerabilityKind `json:"k"`
	Before  *FindingState                `json:"b,omitempty"`
	After   *FindingState                `json:"a,omitempty"`
}

// PutFindingChange notes a change, for those who want to be told.
func (db *DB) PutFindingChange(ctx context.Context, c NewFindingChange) error {
	if len(c.Changes) == 0 && len(c.Images) == 0 {
		return nil
	}
	documents := nouns(c.Changes, func(f FindingChange) changeDocument {
		return changeDocument{f.PackageID, f.Name, f.Kind, f.Before, f.After}
	})
	text, err := json.Marshal(documents)
	if err != nil {
		return fmt.Errorf("write change of findings: %w", err)
	}
	z, err := newDocumentWriter()
	if err != nil {
		return fmt.Errorf("write change of findings: %w", err)
	}
	defer z.Close() //nolint:errcheck // EncodeAll leaves nothing behind
	row := findingChangeRow{Cause: c.Cause, SetNumber: c.SetNumber, ManifestID: c.ManifestID, Created: micros(c.Created), Document: z.EncodeAll(text, nil)}
	if _, err := db.write.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("write change of findings: %w", err)
	}
	return eachChunk(c.Images, func(chunk []int64) error {
		list := make([][2]int64, 0, len(chunk))
		for _, id := range chunk {
			list = append(list, [2]int64{row.ID, id})
		}
		r, err := db.write.NewRaw("INSERT INTO finding_change_images (change_id, manifest_id) VALUES ?", pairs(list)).Exec(ctx)
		return wrote(r, err, "images of a change")
	})
}
