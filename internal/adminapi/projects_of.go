package adminapi

import (
	"context"
	"slices"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
)

// OfProject names the project that a request is about.
type OfProject struct {
	ProjectID string `query:"project_id" maxLength:"64" doc:"Id or name of the project: needed with a signature, if the account has several projects; a token has its own."`
}

// permission is what a caller needs in a project.
type permission struct {
	action string
	exempt bool // principals of identity policies need none, as for the same things in the contract
	// whole is what concerns the project as a whole: a permission in one of its
	// enterprise projects other than the default one is not enough.
	whole bool
}

// project returns the id of the project that a request is about, in which the
// caller has the permission. The project may be given by name or id, and left
// out if there is but one.
func (s *server) project(ctx context.Context, p permission, name string) (string, error) {
	caller := gateway.CallerFrom(ctx)
	id, err := s.findProject(ctx, caller, name)
	if err != nil {
		return "", err
	}
	enterpriseProject := tidewaiter.AllGrantedEnterpriseProjects
	if p.whole {
		enterpriseProject = tidewaiter.DefaultEnterpriseProject
	}
	return id, caller.Authorize(p.action, id, enterpriseProject, p.exempt)
}

// extent returns the part of a project in which the caller has the permission;
// see project.
func (s *server) extent(ctx context.Context, p permission, name string) (tidewaiter.Extent, error) {
	id, err := s.project(ctx, p, name)
	if err != nil {
		return tidewaiter.Extent{}, err
	}
	e := tidewaiter.Extent{ProjectID: id}
	e.All, e.EnterpriseProjects = gateway.CallerFrom(ctx).EnterpriseProjects(p.action, id, p.exempt)
	return e, nil
}

// OfGrantedEnterpriseProject narrows a list to one enterprise project.
type OfGrantedEnterpriseProject struct {
	EnterpriseProjectID string `query:"enterprise_project_id" maxLength:"64" doc:"Id of an enterprise project; without it, or with all_granted_eps, all that the caller may see."`
}

// narrow returns the part of an extent that is asked for. Errors: Forbidden.
func (o OfGrantedEnterpriseProject) narrow(e tidewaiter.Extent) (tidewaiter.Extent, error) {
	id := o.EnterpriseProjectID
	if id == "" || id == tidewaiter.AllGrantedEnterpriseProjects {
		return e, nil
	}
	if !e.All && !slices.Contains(e.EnterpriseProjects, id) {
		return e, tidewaiter.Errorf(tidewaiter.Forbidden, "no policy of the caller allows this in the enterprise project %s", id)
	}
	return tidewaiter.Extent{ProjectID: e.ProjectID, EnterpriseProjects: []string{id}}, nil
}

func (s *server) findProject(ctx context.Context, caller *tidewaiter.Caller, name string) (string, error) {
	const field = "project_id"
	if caller.Scope == tidewaiter.ProjectScope && (name == "" || name == caller.ProjectID) {
		return caller.ProjectID, nil
	}
	projects, err := s.identity.EnterableProjects(ctx, caller)
	if err != nil {
		return "", err
	}
	if name == "" {
		if len(projects) == 1 {
			return projects[0].ID, nil
		}
		return "", tidewaiter.InvalidField(field, "it is missing, and the caller may use %d projects; name one of them, by its id or its name", len(projects))
	}
	for _, p := range projects {
		if p.ID == name || p.Name == name {
			if caller.Scope == tidewaiter.ProjectScope && p.ID != caller.ProjectID {
				return "", tidewaiter.InvalidField(field, "the token is scoped to another project; leave it out, or request a token for that project")
			}
			return p.ID, nil
		}
	}
	return "", tidewaiter.InvalidField(field, "there is no such project, or nothing is granted to the caller in it")
}
