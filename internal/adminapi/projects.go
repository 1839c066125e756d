package adminapi

import (
	"context"
	"net/http"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

func (s *server) registerProjects() {
	gateway.Register(s.api, operation("ListProjects", http.MethodGet, "/projects", "projects", "list", "List the projects of the account"), s.listProjects)
	gateway.Register(s.api, operation("CreateProject", http.MethodPost, "/projects", "projects", "create", "Create a project"), s.createProject)
	gateway.Register(s.api, operation("UpdateProject", http.MethodPatch, "/projects/{id}", "projects", "update", "Enable or disable a project, or change its description"), s.updateProject)
	gateway.Register(s.api, operation("DeleteProject", http.MethodDelete, "/projects/{id}", "projects", "delete", "Delete a project"), s.deleteProject)

	gateway.Register(s.api, operation("ListAccountEnterpriseProjects", http.MethodGet, "/enterprise-projects", "enterpriseProjects", "list", "List the enterprise projects of the account"), s.listEnterpriseProjects)
	gateway.Register(s.api, operation("CreateEnterpriseProject", http.MethodPost, "/enterprise-projects", "enterpriseProjects", "create", "Create an enterprise project"), s.createEnterpriseProject)
	gateway.Register(s.api, operation("UpdateEnterpriseProject", http.MethodPatch, "/enterprise-projects/{id}", "enterpriseProjects", "update", "Enable or disable an enterprise project, or change its description"), s.updateEnterpriseProject)
}

// Project is a project on the wire.
type Project struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Enabled     bool   `json:"enabled"`
	Created     string `json:"created"`
}

// EnterpriseProject is an enterprise project on the wire.
type EnterpriseProject struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Enabled     bool   `json:"enabled"`
}

// NewProject is what a project or an enterprise project is created from.
type NewProject struct {
	Name        string `json:"name" minLength:"1" maxLength:"64"`
	Description string `json:"description,omitempty" maxLength:"255"`
}

// ProjectChange changes what it has.
type ProjectChange struct {
	Enabled     *bool   `json:"enabled,omitempty"`
	Description *string `json:"description,omitempty" maxLength:"255"`
}

func wireProject(p tidewaiter.Project) Project {
	return Project{ID: p.ID, Name: p.Name, Description: p.Description, Enabled: p.Enabled, Created: wireTime(p.Created)}
}

func wireEnterpriseProject(e tidewaiter.EnterpriseProject) EnterpriseProject {
	return EnterpriseProject{ID: e.ID, Name: e.Name, Description: e.Description, Enabled: e.Enabled}
}

func (s *server) listProjects(ctx context.Context, in *byName) (*listOutput[Project], error) {
	projects, _, err := s.identity.Projects(ctx, gateway.CallerFrom(ctx), identity.ProjectFilter{Name: in.Name})
	if err != nil {
		return nil, err
	}
	return list(projects, wireProject), nil
}

func (s *server) createProject(ctx context.Context, in *struct{ Body NewProject }) (*output[Project], error) {
	p, err := s.identity.CreateProject(ctx, gateway.CallerFrom(ctx), in.Body.Name, in.Body.Description)
	if err != nil {
		return nil, err
	}
	return one(wireProject(p)), nil
}

type changeProject struct {
	ByID
	Body ProjectChange
}

func (in *changeProject) change() identity.ProjectChange {
	return identity.ProjectChange{Enabled: in.Body.Enabled, Description: in.Body.Description}
}

func (s *server) updateProject(ctx context.Context, in *changeProject) (*output[Project], error) {
	p, err := s.identity.UpdateProject(ctx, gateway.CallerFrom(ctx), in.ID, in.change())
	if err != nil {
		return nil, err
	}
	return one(wireProject(p)), nil
}

func (s *server) deleteProject(ctx context.Context, in *ByID) (*struct{}, error) {
	return nil, s.identity.DeleteProject(ctx, gateway.CallerFrom(ctx), in.ID)
}

func (s *server) listEnterpriseProjects(ctx context.Context, in *byName) (*listOutput[EnterpriseProject], error) {
	all, err := s.identity.EnterpriseProjects(ctx, gateway.CallerFrom(ctx))
	if err != nil {
		return nil, err
	}
	return list(named(all, in.Name, func(e tidewaiter.EnterpriseProject) string { return e.Name }), wireEnterpriseProject), nil
}

func (s *server) createEnterpriseProject(ctx context.Context, in *struct{ Body NewProject }) (*output[EnterpriseProject], error) {
	e, err := s.identity.CreateEnterpriseProject(ctx, gateway.CallerFrom(ctx), in.Body.Name, in.Body.Description)
	if err != nil {
		return nil, err
	}
	return one(wireEnterpriseProject(e)), nil
}

func (s *server) updateEnterpriseProject(ctx context.Context, in *changeProject) (*output[EnterpriseProject], error) {
	e, err := s.identity.UpdateEnterpriseProject(ctx, gateway.CallerFrom(ctx), in.ID, in.change())
	if err != nil {
		return nil, err
	}
	return one(wireEnterpriseProject(e)), nil
}
