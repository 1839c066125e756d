package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

func pathEscape(s string) string { return url.PathEscape(s) }

func (p *program) projectCommand() *cobra.Command {
	cmd := projectLike(p, "project", "/projects", "Manage projects, the tenants of the API",
		func(_ context.Context, _ *adminClient, nameOrID string) (string, error) { return nameOrID, nil },
		func(v adminapi.Project) []any {
			return []any{v.Name, v.ID, yesNo(v.Enabled), v.Description}
		})
	cmd.AddCommand(p.named("delete NAME", "Delete a project; disabling it keeps what it holds",
		func(ctx context.Context, c *adminClient, _ *cobra.Command, name string) error {
			return c.do(ctx, http.MethodDelete, "/projects/"+pathEscape(name), nil, nil)
		}))
	return cmd
}

func (p *program) enterpriseProjectCommand() *cobra.Command {
	return projectLike(p, "enterprise-project", "/enterprise-projects", "Manage enterprise projects, which group assets across projects",
		func(ctx context.Context, c *adminClient, nameOrID string) (string, error) {
			e, err := findEnterpriseProject(ctx, c, nameOrID)
			return e.ID, err
		},
		func(v adminapi.EnterpriseProject) []any {
			return []any{v.Name, v.ID, yesNo(v.Enabled), v.Description}
		})
}

// projectLike builds the commands that projects and enterprise projects have
// in common.
func projectLike[T any](p *program, use, path, short string,
	id func(ctx context.Context, c *adminClient, nameOrID string) (string, error), cells func(T) []any,
) *cobra.Command {
	const header = "NAME ID ENABLED DESCRIPTION"
	var description string
	create := p.named("create NAME", "Create one", func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
		var v T
		if err := c.do(ctx, http.MethodPost, path, adminapi.NewProject{Name: name, Description: description}, &v); err != nil {
			return err
		}
		return show(cmd, []T{v}, header, cells)
	})
	create.Flags().StringVar(&description, "description", "", "what it is for")
	enable := func(verb, short string, enabled bool) *cobra.Command {
		return p.named(verb+" NAME", short, func(ctx context.Context, c *adminClient, _ *cobra.Command, name string) error {
			id, err := id(ctx, c, name)
			if err != nil {
				return err
			}
			return c.do(ctx, http.MethodPatch, path+"/"+pathEscape(id), adminapi.ProjectChange{Enabled: &enabled}, nil)
		})
	}
	return group(use, short,
		create,
		p.plain("list", "List them", func(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
			var list adminapi.List[T]
			if err := c.do(ctx, http.MethodGet, path, nil, &list); err != nil {
				return err
			}
			return show(cmd, list.Items, header, cells)
		}),
		enable("enable", "Open it again", true),
		enable("disable", "Close it: nobody may use it", false),
	)
}

func (p *program) policyCommand() *cobra.Command {
	return group("policy", "Manage policies, and who has them",
		p.policyCreate(),
		p.plain("list", "List the policies", func(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
			var list adminapi.List[adminapi.Policy]
			if err := c.do(ctx, http.MethodGet, "/policies", nil, &list); err != nil {
				return err
			}
			return show(cmd, list.Items, "NAME ID BUILT-IN DESCRIPTION", func(v adminapi.Policy) []any {
				return []any{v.Name, v.ID, yesNo(v.BuiltIn), v.Description}
			})
		}),
		p.named("show NAME", "Print a policy's document", func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
			var list adminapi.List[adminapi.Policy]
			if err := c.do(ctx, http.MethodGet, "/policies", nil, &list); err != nil {
				return err
			}
			for _, v := range list.Items {
				if v.Name == name || v.ID == name {
					return writeJSON(cmd.OutOrStdout(), v.Document)
				}
			}
			return fmt.Errorf("there is no policy with the name or id %q", name)
		}),
		p.named("delete NAME", "Delete a policy, and take it from who has it", func(ctx context.Context, c *adminClient, _ *cobra.Command, name string) error {
			return c.do(ctx, http.MethodDelete, "/policies/"+pathEscape(name), nil, nil)
		}),
		p.policyAttach("attach", "Give a user a policy", func(ctx context.Context, c *adminClient, g adminapi.NewGrant) error {
			return c.do(ctx, http.MethodPost, "/grants", g, nil)
		}),
		p.policyAttach("detach", "Take a policy from a user, where it was given", func(ctx context.Context, c *adminClient, g adminapi.NewGrant) error {
			q := url.Values{"user_id": {g.UserID}, "policy_id": {g.PolicyID}}
			if g.ProjectID != "" {
				q.Set("project_id", g.ProjectID)
			}
			if g.EnterpriseProjectID != "" {
				q.Set("enterprise_project_id", g.EnterpriseProjectID)
			}
			return c.do(ctx, http.MethodDelete, "/grants?"+q.Encode(), nil, nil)
		}),
		p.plain("grants", "List who has which policy", func(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
			var list adminapi.List[adminapi.Grant]
			if err := c.do(ctx, http.MethodGet, "/grants", nil, &list); err != nil {
				return err
			}
			return show(cmd, list.Items, "USER POLICY PROJECT ENTERPRISE_PROJECT", func(g adminapi.Grant) []any {
				return []any{g.UserName, g.PolicyName, orAll(g.ProjectID), orAll(g.EnterpriseProjectID)}
			})
		}),
	)
}

func orAll(id string) string {
	if id == "" {
		return "all"
	}
	return id
}

func (p *program) policyCreate() *cobra.Command {
	var file, description string
	cmd := p.named("create NAME", "Create a policy from a document of Version 1.1",
		func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
			if file == "" {
				return &usageError{fmt.Errorf("%s needs --file", cmd.CommandPath())}
			}
			b, err := p.readFileOrStdin(file, 64<<10)
			if err != nil {
				return err
			}
			if !json.Valid(b) {
				if file == "-" {
					return errors.New("standard input is not JSON")
				}
				return fmt.Errorf("%s is not JSON", file)
			}
			in := adminapi.NewPolicy{Name: name, Description: description, Document: b}
			var v adminapi.Policy
			if err := c.do(ctx, http.MethodPost, "/policies", in, &v); err != nil {
				return err
			}
			return showOne(cmd, v, "name", v.Name, "id", v.ID)
		})
	cmd.Flags().StringVar(&file, "file", "", "`file` with the document; - for standard input")
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	cmd.Example = `  echo '{"Version":"1.1","Statement":[{"Effect":"Allow","Action":["hss:images:*"]}]}' |
    tidewaiter policy create images --file -`
	return cmd
}

func (p *program) policyAttach(verb, short string, f func(context.Context, *adminClient, adminapi.NewGrant) error) *cobra.Command {
	var user, project, enterpriseProject string
	cmd := p.named(verb+" POLICY", short, func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
		if user == "" {
			return &usageError{fmt.Errorf("%s needs --user", cmd.CommandPath())}
		}
		g := adminapi.NewGrant{PolicyID: name, UserID: user, ProjectID: project}
		if enterpriseProject != "" {
			v, err := findEnterpriseProject(ctx, c, enterpriseProject)
			if err != nil {
				return err
			}
			g.EnterpriseProjectID = v.ID
		}
		return f(ctx, c, g)
	})
	cmd.Flags().StringVar(&user, "user", "", "the `user`, by name or id")
	cmd.Flags().StringVar(&project, "project", "", "only in this `project`, by name or id (default: all)")
	cmd.Flags().StringVar(&enterpriseProject, "enterprise-project", "", "only in this enterprise `project`, by name or id (default: all)")
	return cmd
}
