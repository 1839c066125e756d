package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// Project is a project with its epoch, which counts the events that end all
// tokens for it.
type Project struct {
	tidewaiter.Project
	Epoch int64
}

type projectRow struct {
	bun.BaseModel `bun:"projects"`

	ID          string
	DomainID    string
	Name        string
	Description string
	Enabled     bool
	Epoch       int64
	Created     int64
}

func (r projectRow) noun() Project {
	return Project{
		Project: tidewaiter.Project{
			ID: r.ID, DomainID: r.DomainID, Name: r.Name, Description: r.Description,
			Enabled: r.Enabled, Created: fromMicros(r.Created),
		},
		Epoch: r.Epoch,
	}
}

func newProjectRow(p Project) projectRow {
	return projectRow{
		ID: p.ID, DomainID: p.DomainID, Name: p.Name, Description: p.Description,
		Enabled: p.Enabled, Epoch: p.Epoch, Created: micros(p.Created),
	}
}

// CreateProject adds a project. Its name is unique in its domain.
func (db *DB) CreateProject(ctx context.Context, p Project) error {
	row := newProjectRow(p)
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "project")
}

// Project returns the project of an id.
func (db *DB) Project(ctx context.Context, id string) (Project, error) {
	var row projectRow
	err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	return row.noun(), notFound(err, "project")
}

// ProjectByName returns the project of a name in a domain.
func (db *DB) ProjectByName(ctx context.Context, domainID, name string) (Project, error) {
	var row projectRow
	err := db.read.NewSelect().Model(&row).Where("domain_id = ? AND name = ?", domainID, name).Scan(ctx)
	return row.noun(), notFound(err, "project")
}

// Projects returns the projects of a domain, by name.
func (db *DB) Projects(ctx context.Context, domainID string) ([]Project, error) {
	var rows []projectRow
	err := db.read.NewSelect().Model(&rows).Where("domain_id = ?", domainID).Order("name").Scan(ctx)
	return nouns(rows, projectRow.noun), notFound(err, "projects")
}

// UpdateProject writes everything of a project but id, domain and time of
// creation.
func (db *DB) UpdateProject(ctx context.Context, p Project) error {
	row := newProjectRow(p)
	r, err := db.write.NewUpdate().Model(&row).ExcludeColumn("id", "domain_id", "created").Where("id = ?", p.ID).Exec(ctx)
	return changed(r, err, "project")
}

// DeleteProject removes a project with the grants and tokens for it.
func (db *DB) DeleteProject(ctx context.Context, id string) error {
	return db.Tx(ctx, func(tx *DB) error {
		if err := tx.deleteGrants(ctx, "project_id", id); err != nil {
			return err
		}
		r, err := tx.write.NewRaw("DELETE FROM projects WHERE id = ?", id).Exec(ctx)
		return changed(r, err, "project")
	})
}
