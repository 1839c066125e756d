package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Webhook is who is told of the events of a project.
type Webhook struct {
	ID        string
	ProjectID string
	Origin    string // of the URL: scheme and host
	Sealed    []byte // URL and secret
	After     EventCursor
	Failures  int    // in a row
	Problem   string // of the last of them
	NextDue   time.Time
	Created   time.Time
}

type webhookRow struct {
	bun.BaseModel `bun:"webhooks,alias:webhooks"`

	ID         string
	ProjectID  string
	Origin     string
	Sealed     []byte
	ChangeID   int64
	ManifestID int64
	Failures   int
	Problem    string
	NextDue    int64
	Created    int64
}

func (r webhookRow) noun() Webhook {
	return Webhook{
		ID: r.ID, ProjectID: r.ProjectID, Origin: r.Origin, Sealed: r.Sealed, After: EventCursor{r.ChangeID, r.ManifestID},
		Failures: r.Failures, Problem: r.Problem, NextDue: fromMicros(r.NextDue), Created: fromMicros(r.Created),
	}
}

// CreateWebhook adds one.
func (db *DB) CreateWebhook(ctx context.Context, w Webhook) error {
	row := webhookRow{
		ID: w.ID, ProjectID: w.ProjectID, Origin: w.Origin, Sealed: w.Sealed, ChangeID: w.After.ChangeID, ManifestID: w.After.ManifestID,
		NextDue: micros(w.NextDue), Created: micros(w.Created),
	}
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "webhook")
}

// Webhooks returns those of a project, the oldest first.
func (db *DB) Webhooks(ctx context.Context, projectID string) ([]Webhook, error) {
	var rows []webhookRow
	err := db.read.NewSelect().Model(&rows).Where("project_id = ?", projectID).OrderExpr("created, id").Scan(ctx)
	return nouns(rows, webhookRow.noun), notFound(err, "webhooks")
}

// DueWebhooks returns those that are to be told by a time.
func (db *DB) DueWebhooks(ctx context.Context, now time.Time) ([]Webhook, error) {
	var rows []webhookRow
	err := db.read.NewSelect().Model(&rows).Where("next_due <= ?", micros(now)).OrderExpr("next_due, id").Scan(ctx)
	return nouns(rows, webhookRow.noun), notFound(err, "webhooks")
}

// MoveWebhook notes how far one has been told, and when it is to be told again.
func (db *DB) MoveWebhook(ctx context.Context, w Webhook) error {
	r, err := db.write.NewRaw("UPDATE webhooks SET change_id = ?, manifest_id = ?, failures = ?, problem = ?, next_due = ? WHERE id = ?",
		w.After.ChangeID, w.After.ManifestID, w.Failures, w.Problem, micros(w.NextDue), w.ID).Exec(ctx)
	return changed(r, err, "webhook")
}

// DeleteWebhook removes one of a project. Errors: NotFound.
func (db *DB) DeleteWebhook(ctx context.Context, projectID, id string) error {
	r, err := db.write.NewRaw("DELETE FROM webhooks WHERE project_id = ? AND id = ?", projectID, id).Exec(ctx)
	if err != nil {
		return fmt.Errorf("delete webhook: %w", err)
	}
	return changed(r, nil, "webhook")
}
