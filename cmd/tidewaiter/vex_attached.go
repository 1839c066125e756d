package main

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

// registryPath returns the path of a registry, by its id or its name, with the
// parameters that say of which project.
func registryPath(ctx context.Context, c *adminClient, cmd *cobra.Command, ref, below string, query url.Values) (string, error) {
	if project := cmd.Flags().Lookup("project").Value.String(); project != "" {
		query.Set("project_id", project)
	}
	named := url.Values{"name": {ref}, "project_id": query["project_id"]}
	var found adminapi.List[adminapi.Registry]
	if err := c.do(ctx, http.MethodGet, "/registries?"+named.Encode(), nil, &found); err != nil {
		return "", err
	}
	id := ref
	for _, r := range found.Items {
		if r.Name == ref { // and not a pattern
			id = r.ID
		}
	}
	return "/registries/" + url.PathEscape(id) + below + "?" + query.Encode(), nil
}

func listAttachedVEX(ctx context.Context, c *adminClient, cmd *cobra.Command, ref string) error {
	const page = 200
	var all []adminapi.AttachedVEXDocument
	for {
		path, err := registryPath(ctx, c, cmd, ref, "/attached-vex", url.Values{"offset": {strconv.Itoa(len(all))}, "limit": {strconv.Itoa(page)}})
		if err != nil {
			return err
		}
		var some adminapi.List[adminapi.AttachedVEXDocument]
		if err := c.do(ctx, http.MethodGet, path, nil, &some); err != nil {
			return err
		}
		all = append(all, some.Items...)
		if len(some.Items) < page {
			break
		}
	}
	return show(cmd, all, "IMAGE DOCUMENT AUTHOR STATEMENTS EXCEPTIONS PROBLEM", func(d adminapi.AttachedVEXDocument) []any {
		return []any{shortDigest(d.Image), orDash(cmp.Or(d.ID, shortDigest(d.Document))), orDash(d.Author), d.Statements, d.Exceptions, orDash(d.Problem)}
	})
}

// trustVEX returns what takes the word of attached documents, or takes it no
// more.
func trustVEX(trust bool) func(context.Context, *adminClient, *cobra.Command, string) error {
	return func(ctx context.Context, c *adminClient, cmd *cobra.Command, ref string) error {
		path, err := registryPath(ctx, c, cmd, ref, "", url.Values{})
		if err != nil {
			return err
		}
		return c.do(ctx, http.MethodPatch, path, adminapi.RegistryChange{TrustAttachedVEX: &trust}, nil)
	}
}

// shortDigest is enough of a digest to tell it from others.
func shortDigest(d string) string {
	const enough = len("sha256:") + 12
	if _, err := tidewaiter.ParseDigest(d); err != nil || len(d) <= enough {
		return d
	}
	return d[:enough]
}

func orDash(s string) string { return cmp.Or(s, "-") }
