package identity

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// ProjectFilter narrows and pages a list of projects; a zero field does not.
type ProjectFilter struct {
	Name     string
	DomainID string
	ParentID string // of all projects, the parent is their domain
	Enabled  *bool
	Page     int // from 1
	PerPage  int
}

// Projects returns the projects of the domain that pass a filter, by name, and
// how many there are on all pages together. A caller without iam:projects:list
// gets those that they may enter.
func (s *Service) Projects(ctx context.Context, c *tidewaiter.Caller, f ProjectFilter) (page []tidewaiter.Project, total int, err error) {
	if f.DomainID != "" && f.DomainID != c.DomainID || f.ParentID != "" && f.ParentID != c.DomainID {
		return nil, 0, nil
	}
	seesAll := c.AuthorizeDomain("iam:projects:list") == nil
	return s.projects(ctx, c, f, func(p store.Project) bool { return seesAll || c.MayEnter(p.ID) })
}

// EnterableProjects returns the projects for which the caller may have a token,
// by name.
func (s *Service) EnterableProjects(ctx context.Context, c *tidewaiter.Caller) ([]tidewaiter.Project, error) {
	page, _, err := s.projects(ctx, c, ProjectFilter{}, func(p store.Project) bool { return p.Enabled && c.MayEnter(p.ID) })
	return page, err
}

func (s *Service) projects(ctx context.Context, c *tidewaiter.Caller, f ProjectFilter, keep func(store.Project) bool) ([]tidewaiter.Project, int, error) {
	projects, err := s.db.Projects(ctx, c.DomainID)
	if err != nil {
		return nil, 0, err
	}
	var out []tidewaiter.Project
	for _, p := range projects {
		if (f.Name == "" || p.Name == f.Name) && (f.Enabled == nil || p.Enabled == *f.Enabled) && keep(p) {
			out = append(out, p.Project)
		}
	}
	total := len(out)
	if f.PerPage > 0 {
		// The division keeps a huge page number from overflowing.
		first := total
		if p := max(f.Page, 1) - 1; p <= total/f.PerPage {
			first = p * f.PerPage
		}
		out = out[min(first, total):]
		out = out[:min(f.PerPage, len(out))]
	}
	return out, total, nil
}

// Project returns a project of the domain, found by id or else by name.
func (s *Service) Project(ctx context.Context, c *tidewaiter.Caller, idOrName string) (tidewaiter.Project, error) {
	p, err := s.project(ctx, s.db, c, idOrName)
	return p.Project, err
}

func (s *Service) project(ctx context.Context, db *store.DB, c *tidewaiter.Caller, idOrName string) (store.Project, error) {
	if !searchable(idOrName) {
		return store.Project{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such project")
	}
	p, err := db.Project(ctx, idOrName)
	if err == nil && p.DomainID == c.DomainID {
		return p, nil
	}
	if err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return p, err
	}
	return db.ProjectByName(ctx, c.DomainID, idOrName)
}

// CreateProject makes a project. Errors are of kind Invalid or Conflict (the
// name).
func (s *Service) CreateProject(ctx context.Context, c *tidewaiter.Caller, name, description string) (tidewaiter.Project, error) {
	p := tidewaiter.Project{ID: store.NewID(), DomainID: c.DomainID, Name: name, Description: description, Enabled: true, Created: s.time()}
	if err := checkNameAndDescription(name, description); err != nil {
		return p, err
	}
	return p, s.change(ctx, c, func(tx *store.DB) error { return tx.CreateProject(ctx, store.Project{Project: p}) })
}

// ProjectChange says what to change; what is nil stays.
type ProjectChange struct {
	Name, Description *string
	Enabled           *bool // disabling ends all tokens for the project
}

// UpdateProject changes a project. Errors are of kind NotFound, Invalid or
// Conflict (the name).
func (s *Service) UpdateProject(ctx context.Context, c *tidewaiter.Caller, idOrName string, change ProjectChange) (tidewaiter.Project, error) {
	var p store.Project
	err := s.change(ctx, c, func(tx *store.DB) (err error) {
		if p, err = s.project(ctx, tx, c, idOrName); err != nil {
			return err
		}
		set(&p.Name, change.Name)
		set(&p.Description, change.Description)
		if change.Enabled != nil {
			if p.Enabled && !*change.Enabled {
				p.Epoch++
			}
			p.Enabled = *change.Enabled
		}
		if err := checkNameAndDescription(p.Name, p.Description); err != nil {
			return err
		}
		return tx.UpdateProject(ctx, p)
	})
	return p.Project, err
}

// DeleteProject deletes a project with the grants and tokens for it. To keep
// what belongs to it, disable it instead. The error is of kind NotFound.
func (s *Service) DeleteProject(ctx context.Context, c *tidewaiter.Caller, idOrName string) error {
	return s.change(ctx, c, func(tx *store.DB) error {
		p, err := s.project(ctx, tx, c, idOrName)
		if err != nil {
			return err
		}
		return tx.DeleteProject(ctx, p.ID)
	})
}

// EnterpriseProjects returns the enterprise projects of the domain: the default
// one first, the others by name.
func (s *Service) EnterpriseProjects(ctx context.Context, c *tidewaiter.Caller) ([]tidewaiter.EnterpriseProject, error) {
	d, err := s.db.Domain(ctx, c.DomainID)
	if err != nil {
		return nil, err
	}
	others, err := s.db.EnterpriseProjects(ctx, c.DomainID)
	return append([]tidewaiter.EnterpriseProject{defaultEnterpriseProject(d)}, others...), err
}

// defaultEnterpriseProject returns the enterprise project that each domain has
// and the store does not know.
func defaultEnterpriseProject(d tidewaiter.Domain) tidewaiter.EnterpriseProject {
	return tidewaiter.EnterpriseProject{ID: tidewaiter.DefaultEnterpriseProject, DomainID: d.ID, Name: defaultEnterpriseProjectName,
		Enabled: true, Created: d.Created, Updated: d.Created}
}

const defaultEnterpriseProjectName = "default"

// EnterpriseProject returns an enterprise project of the domain by its id.
func (s *Service) EnterpriseProject(ctx context.Context, c *tidewaiter.Caller, id string) (tidewaiter.EnterpriseProject, error) {
	if id == tidewaiter.DefaultEnterpriseProject {
		d, err := s.db.Domain(ctx, c.DomainID)
		return defaultEnterpriseProject(d), err
	}
	return s.enterpriseProject(ctx, s.db, c, id)
}

func (s *Service) enterpriseProject(ctx context.Context, db *store.DB, c *tidewaiter.Caller, id string) (p tidewaiter.EnterpriseProject, err error) {
	if searchable(id) {
		if p, err = db.EnterpriseProject(ctx, id); err != nil || p.DomainID == c.DomainID {
			return p, err
		}
	}
	return tidewaiter.EnterpriseProject{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such enterprise project")
}

// CreateEnterpriseProject makes an enterprise project. Errors are of kind
// Invalid or Conflict (the name).
func (s *Service) CreateEnterpriseProject(ctx context.Context, c *tidewaiter.Caller, name, description string) (tidewaiter.EnterpriseProject, error) {
	now := s.time()
	p := tidewaiter.EnterpriseProject{ID: store.NewID(), DomainID: c.DomainID, Name: name, Description: description, Enabled: true,
		Created: now, Updated: now}
	if err := checkEnterpriseProject(p); err != nil {
		return p, err
	}
	return p, s.change(ctx, c, func(tx *store.DB) error { return tx.CreateEnterpriseProject(ctx, p) })
}

// UpdateEnterpriseProject changes an enterprise project; the default one cannot
// be changed. Errors are of kind NotFound, Invalid or Conflict (the name).
func (s *Service) UpdateEnterpriseProject(ctx context.Context, c *tidewaiter.Caller, id string, change ProjectChange) (tidewaiter.EnterpriseProject, error) {
	var p tidewaiter.EnterpriseProject
	err := s.change(ctx, c, func(tx *store.DB) (err error) {
		if p, err = s.enterpriseProject(ctx, tx, c, id); err != nil {
			return err
		}
		set(&p.Name, change.Name)
		set(&p.Description, change.Description)
		set(&p.Enabled, change.Enabled)
		p.Updated = s.time()
		if err := checkEnterpriseProject(p); err != nil {
			return err
		}
		return tx.UpdateEnterpriseProject(ctx, p)
	})
	return p, err
}

// DeleteEnterpriseProject deletes an enterprise project with the grants for it.
// The error is of kind NotFound.
func (s *Service) DeleteEnterpriseProject(ctx context.Context, c *tidewaiter.Caller, id string) error {
	return s.change(ctx, c, func(tx *store.DB) error {
		if _, err := s.enterpriseProject(ctx, tx, c, id); err != nil {
			return err
		}
		return tx.DeleteEnterpriseProject(ctx, id)
	})
}

func checkEnterpriseProject(p tidewaiter.EnterpriseProject) error {
	if p.Name == defaultEnterpriseProjectName {
		return &tidewaiter.Error{Kind: tidewaiter.Conflict, Field: "name", Message: "the default enterprise project has it; choose another name"}
	}
	return checkNameAndDescription(p.Name, p.Description)
}

func checkNameAndDescription(name, description string) error {
	if err := checkName("name", name); err != nil {
		return err
	}
	return checkText("description", description, maxDescription)
}

// set writes a new value where there is one.
func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}
