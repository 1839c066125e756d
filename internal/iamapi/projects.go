package iamapi

import (
	"context"
	"net/http"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

func (s *server) registerProjects() {
	gateway.Register(s.api, gateway.Operation{
		Name: "KeystoneListProjects", Group: group, Dialect: gateway.IAM,
		Method: http.MethodGet, Path: "/v3/projects",
		Summary: "List the projects of the account that the caller may enter; the SDK finds a project by region with it",
	}, s.listProjects)
	gateway.Register(s.api, gateway.Operation{
		Name: "KeystoneListAuthProjects", Group: group, Dialect: gateway.IAM,
		Method: http.MethodGet, Path: "/v3/auth/projects",
		Summary: "List the enabled projects that the caller may enter",
	}, s.listAuthProjects)
	gateway.Register(s.api, gateway.Operation{
		Name: "KeystoneListAuthDomains", Group: group, Dialect: gateway.IAM,
		Method: http.MethodGet, Path: "/v3/auth/domains",
		Summary: "Tell the caller's account",
	}, s.listAuthDomains)
	gateway.Register(s.api, gateway.Operation{
		Name: "ListEnterpriseProjects", Group: group, Dialect: gateway.IAM,
		Method: http.MethodGet, Path: "/v1.0/enterprise-projects",
		Summary: "List the enterprise projects of the account",
	}, s.listEnterpriseProjects)
}

type links struct {
	Self     string  `json:"self"`
	Previous *string `json:"previous"`
	Next     *string `json:"next"`
}

type selfLink struct {
	Self string `json:"self"`
}

type projectBody struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	DomainID    string   `json:"domain_id"`
	ParentID    string   `json:"parent_id"`
	Description string   `json:"description"`
	Enabled     bool     `json:"enabled"`
	IsDomain    bool     `json:"is_domain"`
	Links       selfLink `json:"links"`
}

type listProjectsInput struct {
	DomainID string `query:"domain_id" maxLength:"64"`
	Name     string `query:"name" maxLength:"64" doc:"Exact name; that of a region for the vendor's clients."`
	ParentID string `query:"parent_id" maxLength:"64" doc:"The account's id: projects here have no other parent."`
	Enabled  string `query:"enabled" enum:"true,false"`
	IsDomain string `query:"is_domain" enum:"true,false"`
	Page     int    `query:"page" minimum:"1" default:"1"`
	PerPage  int    `query:"per_page" minimum:"1" maximum:"5000" default:"5000"`
}

type projectsOutput struct {
	Body struct {
		Projects []projectBody `json:"projects"`
		Links    links         `json:"links"`
	}
}

func (s *server) listProjects(ctx context.Context, in *listProjectsInput) (*projectsOutput, error) {
	out := s.projectsOutput("/v3/projects")
	if in.IsDomain == "true" {
		return out, nil
	}
	filter := identity.ProjectFilter{Name: in.Name, DomainID: in.DomainID, ParentID: in.ParentID, Page: in.Page, PerPage: in.PerPage}
	if in.Enabled != "" {
		enabled := in.Enabled == "true"
		filter.Enabled = &enabled
	}
	projects, _, err := s.identity.Projects(ctx, gateway.CallerFrom(ctx), filter)
	if err != nil {
		return nil, err
	}
	for _, p := range projects {
		out.Body.Projects = append(out.Body.Projects, s.project(p))
	}
	return out, nil
}

func (s *server) listAuthProjects(ctx context.Context, _ *struct{}) (*projectsOutput, error) {
	projects, err := s.identity.EnterableProjects(ctx, gateway.CallerFrom(ctx))
	if err != nil {
		return nil, err
	}
	out := s.projectsOutput("/v3/auth/projects")
	for _, p := range projects {
		out.Body.Projects = append(out.Body.Projects, s.project(p))
	}
	return out, nil
}

func (s *server) projectsOutput(path string) *projectsOutput {
	out := &projectsOutput{}
	out.Body.Projects = []projectBody{}
	out.Body.Links = links{Self: s.endpoint + path}
	return out
}

func (s *server) project(p tidewaiter.Project) projectBody {
	return projectBody{
		ID: p.ID, Name: p.Name, DomainID: p.DomainID, ParentID: p.DomainID, Description: p.Description,
		Enabled: p.Enabled, Links: selfLink{s.endpoint + "/v3/projects/" + p.ID},
	}
}

type domainsOutput struct {
	Body struct {
		Domains []domainBody `json:"domains"`
		Links   links        `json:"links"`
	}
}

type domainBody struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Enabled     bool     `json:"enabled"`
	Links       selfLink `json:"links"`
}

func (s *server) listAuthDomains(ctx context.Context, _ *struct{}) (*domainsOutput, error) {
	c := gateway.CallerFrom(ctx)
	out := &domainsOutput{}
	out.Body.Domains = []domainBody{{
		ID: c.DomainID, Name: c.DomainName, Enabled: true, Links: selfLink{s.endpoint + "/v3/domains/" + c.DomainID},
	}}
	out.Body.Links = links{Self: s.endpoint + "/v3/auth/domains"}
	return out, nil
}

type listEnterpriseProjectsInput struct {
	ID     string `query:"id" maxLength:"64"`
	Name   string `query:"name" maxLength:"64"`
	Status int    `query:"status" minimum:"1" maximum:"2" doc:"1 enabled, 2 disabled."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"1000"`
	Offset int    `query:"offset" minimum:"0" default:"0"`
}

type enterpriseProjectsOutput struct {
	Body struct {
		EnterpriseProjects []enterpriseProjectBody `json:"enterprise_projects"`
		TotalCount         int                     `json:"total_count"`
	}
}

type enterpriseProjectBody struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Status      int    `json:"status" doc:"1 enabled, 2 disabled"`
	CreatedAt   string `json:"created_at"`
	UpdatedAt   string `json:"updated_at"`
}

func (s *server) listEnterpriseProjects(ctx context.Context, in *listEnterpriseProjectsInput) (*enterpriseProjectsOutput, error) {
	all, err := s.identity.EnterpriseProjects(ctx, gateway.CallerFrom(ctx))
	if err != nil {
		return nil, err
	}
	out := &enterpriseProjectsOutput{}
	out.Body.EnterpriseProjects = []enterpriseProjectBody{}
	for _, e := range all {
		status := 2
		if e.Enabled {
			status = 1
		}
		if in.ID != "" && e.ID != in.ID || in.Name != "" && e.Name != in.Name || in.Status != 0 && status != in.Status {
			continue
		}
		out.Body.TotalCount++
		if out.Body.TotalCount <= in.Offset || len(out.Body.EnterpriseProjects) == in.Limit {
			continue
		}
		out.Body.EnterpriseProjects = append(out.Body.EnterpriseProjects, enterpriseProjectBody{
			ID: e.ID, Name: e.Name, Description: e.Description, Status: status,
			CreatedAt: e.Created.UTC().Format("2006-01-02T15:04:05Z"), UpdatedAt: e.Updated.UTC().Format("2006-01-02T15:04:05Z"),
		})
	}
	return out, nil
}
