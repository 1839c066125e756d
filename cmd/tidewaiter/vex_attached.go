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

func listAttachedVEX(ctx context.Context, c *adminClient, cmd *cobra.Command, ref string) error {
	r, err := connection(ctx, c, ref)
	if err != nil {
		return err
	}
	var all []adminapi.AttachedVEXDocument
	for {
		var some adminapi.List[adminapi.AttachedVEXDocument]
		page := url.Values{"offset": {strconv.Itoa(len(all))}, "limit": {strconv.Itoa(pageSize)}}
		if err := c.inProject(ctx, http.MethodGet, "/registries/"+url.PathEscape(r.ID)+"/attached-vex", page, nil, &some); err != nil {
			return err
		}
		if all = append(all, some.Items...); len(some.Items) < pageSize {
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
	return func(ctx context.Context, c *adminClient, _ *cobra.Command, ref string) error {
		r, err := connection(ctx, c, ref)
		if err != nil {
			return err
		}
		return c.own(ctx, http.MethodPatch, r.ID, "", adminapi.RegistryChange{TrustAttachedVEX: &trust}, nil)
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
