package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// project is one that a caller may work on.
type project struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// findProject returns the project of a name or an id, for "" the only one that
// there is.
func (c *adminClient) findProject(ctx context.Context, nameOrID string) (project, error) {
	var found struct {
		Projects []project `json:"projects"`
	}
	if err := c.Do(ctx, http.MethodGet, "/v3/auth/projects", nil, nil, &found); err != nil {
		return project{}, err
	}
	var names []string
	for _, p := range found.Projects {
		if p.ID == nameOrID || p.Name == nameOrID || nameOrID == "" && len(found.Projects) == 1 {
			return p, nil
		}
		names = append(names, p.Name)
	}
	switch {
	case len(names) == 0:
		return project{}, errors.New("the user may work on no project; somebody has to grant one (tidewaiter policy attach)")
	case nameOrID == "":
		return project{}, wrongConfig("project", "there are several; name one with --project: %s", strings.Join(names, ", "))
	}
	return project{}, wrongConfig("project", "there is none with the name or id %q that the caller may work on; these are: %s", nameOrID, strings.Join(names, ", "))
}

// hss asks an operation of the contract, in all enterprise projects that the
// caller may see unless the query names one.
func (c *adminClient) hss(ctx context.Context, method, path string, query url.Values, in, out any) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	if query == nil {
		query = url.Values{}
	}
	if !query.Has("enterprise_project_id") {
		query.Set("enterprise_project_id", tidewaiter.AllGrantedEnterpriseProjects)
	}
	return c.Do(ctx, method, "/v5/"+url.PathEscape(c.projectID)+path, query, in, out)
}

// inProject asks an operation of the server's own API that is about a project.
func (c *adminClient) inProject(ctx context.Context, method, path string, query url.Values, in, out any) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	query.Set("project_id", c.projectID)
	return c.Do(ctx, method, "/tidewaiter/v1"+path, query, in, out)
}

// enter finds out the id of the project, if it is not known.
func (c *adminClient) enter(ctx context.Context) error {
	if c.projectID != "" {
		return nil
	}
	found, err := c.findProject(ctx, c.project)
	c.projectID = found.ID
	return err
}
