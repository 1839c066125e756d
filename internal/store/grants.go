package store

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type grantRow struct {
	bun.BaseModel `bun:"grants"`

	UserID              string
	PolicyID            string
	ProjectID           string
	EnterpriseProjectID string
	Created             int64
}

func (r grantRow) noun() tidewaiter.Grant {
	return tidewaiter.Grant{
		UserID: r.UserID, PolicyID: r.PolicyID, ProjectID: r.ProjectID,
		EnterpriseProjectID: r.EnterpriseProjectID, Created: fromMicros(r.Created),
	}
}

// CreateGrant adds a grant; one that is there already stays as it is.
func (db *DB) CreateGrant(ctx context.Context, g tidewaiter.Grant) error {
	row := grantRow{
		UserID: g.UserID, PolicyID: g.PolicyID, ProjectID: g.ProjectID,
		EnterpriseProjectID: g.EnterpriseProjectID, Created: micros(g.Created),
	}
	_, err := db.write.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Exec(ctx)
	return conflict(err, "grant")
}

// Grants returns the grants of a user, oldest first.
func (db *DB) Grants(ctx context.Context, userID string) ([]tidewaiter.Grant, error) {
	return db.grants(ctx, "user_id = ?", userID)
}

// GrantsIn returns the grants of all users of a domain, oldest first.
func (db *DB) GrantsIn(ctx context.Context, domainID string) ([]tidewaiter.Grant, error) {
	return db.grants(ctx, "user_id IN (SELECT id FROM users WHERE domain_id = ?)", domainID)
}

func (db *DB) grants(ctx context.Context, where string, arg any) ([]tidewaiter.Grant, error) {
	var rows []grantRow
	err := db.read.NewSelect().Model(&rows).Where(where, arg).
		Order("created", "user_id", "policy_id", "project_id", "enterprise_project_id").Scan(ctx)
	return nouns(rows, grantRow.noun), notFound(err, "grants")
}

// DeleteGrant removes a grant.
func (db *DB) DeleteGrant(ctx context.Context, g tidewaiter.Grant) error {
	r, err := db.write.NewRaw("DELETE FROM grants WHERE user_id = ? AND policy_id = ? AND project_id = ? AND enterprise_project_id = ?",
		g.UserID, g.PolicyID, g.ProjectID, g.EnterpriseProjectID).Exec(ctx)
	return changed(r, err, "grant")
}

// deleteGrants removes the grants that name an id in a column.
func (db *DB) deleteGrants(ctx context.Context, column, id string) error {
	_, err := db.write.NewRaw("DELETE FROM grants WHERE ? = ?", bun.Ident(column), id).Exec(ctx)
	if err != nil {
		return fmt.Errorf("delete grants: %w", err)
	}
	return nil
}
