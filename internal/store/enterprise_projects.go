package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type enterpriseProjectRow struct {
	bun.BaseModel `bun:"enterprise_projects"`

	ID          string
	DomainID    string
	Name        string
	Description string
	Enabled     bool
	Created     int64
	Updated     int64
}

func (r enterpriseProjectRow) noun() tidewaiter.EnterpriseProject {
	return tidewaiter.EnterpriseProject{
		ID: r.ID, DomainID: r.DomainID, Name: r.Name, Description: r.Description,
		Enabled: r.Enabled, Created: fromMicros(r.Created), Updated: fromMicros(r.Updated),
	}
}

func newEnterpriseProjectRow(p tidewaiter.EnterpriseProject) enterpriseProjectRow {
	return enterpriseProjectRow{
		ID: p.ID, DomainID: p.DomainID, Name: p.Name, Description: p.Description,
		Enabled: p.Enabled, Created: micros(p.Created), Updated: micros(p.Updated),
	}
}

// CreateEnterpriseProject adds an enterprise project. Its name is unique in
// its domain. The default one exists without a row.
func (db *DB) CreateEnterpriseProject(ctx context.Context, p tidewaiter.EnterpriseProject) error {
	row := newEnterpriseProjectRow(p)
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "enterprise project")
}

// EnterpriseProject returns the enterprise project of an id.
func (db *DB) EnterpriseProject(ctx context.Context, id string) (tidewaiter.EnterpriseProject, error) {
	var row enterpriseProjectRow
	err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	return row.noun(), notFound(err, "enterprise project")
}

// EnterpriseProjects returns the enterprise projects of a domain, by name,
// without the default one.
func (db *DB) EnterpriseProjects(ctx context.Context, domainID string) ([]tidewaiter.EnterpriseProject, error) {
	var rows []enterpriseProjectRow
	err := db.read.NewSelect().Model(&rows).Where("domain_id = ?", domainID).Order("name").Scan(ctx)
	return nouns(rows, enterpriseProjectRow.noun), notFound(err, "enterprise projects")
}

// UpdateEnterpriseProject writes everything of an enterprise project but id,
// domain and time of creation.
func (db *DB) UpdateEnterpriseProject(ctx context.Context, p tidewaiter.EnterpriseProject) error {
	row := newEnterpriseProjectRow(p)
	r, err := db.write.NewUpdate().Model(&row).ExcludeColumn("id", "domain_id", "created").Where("id = ?", p.ID).Exec(ctx)
	return changed(r, err, "enterprise project")
}

// DeleteEnterpriseProject removes an enterprise project with the grants for it.
func (db *DB) DeleteEnterpriseProject(ctx context.Context, id string) error {
	return db.Tx(ctx, func(tx *DB) error {
		if err := tx.deleteGrants(ctx, "enterprise_project_id", id); err != nil {
			return err
		}
		r, err := tx.write.NewRaw("DELETE FROM enterprise_projects WHERE id = ?", id).Exec(ctx)
		return changed(r, err, "enterprise project")
	})
}
