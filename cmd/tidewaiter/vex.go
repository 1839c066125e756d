package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

func (p *program) vexCommand() *cobra.Command {
	var expires string
	apply := p.named("apply FILE|URL", "Take what a VEX document says as exceptions, in the place of what it said before",
		func(ctx context.Context, c *adminClient, cmd *cobra.Command, from string) error {
			return applyVEX(ctx, c, cmd, from, expires)
		})
	apply.Long = "Take what a VEX document says as exceptions, in the place of what it said before: by its\n" +
		"id. It is OpenVEX or CycloneDX, as JSON. What it calls not_affected or fixed counts as\n" +
		"handled, and stays visible with its reason."
	apply.Flags().StringVar(&expires, "expires", "", "`time` until which the exceptions hold, such as 2027-01-31T00:00:00Z (default: until they are removed)")
	cmd := group("vex", "Manage the VEX documents that say which vulnerabilities do not matter",
		apply,
		p.plain("list", "List the documents whose statements are exceptions", listVEX),
		p.named("remove ID", "Remove the exceptions of a document",
			func(ctx context.Context, c *adminClient, cmd *cobra.Command, id string) error {
				return c.do(ctx, http.MethodDelete, vexPath(cmd, "id", id), nil, nil)
			}),
		p.named("attached REGISTRY", "List the documents that are attached to the images of a registry, and what became of them", listAttachedVEX),
		p.named("trust REGISTRY", "Take what documents say that are attached to the images of a registry, from the next scan on", trustVEX(true)),
		p.named("distrust REGISTRY", "Take it no more, and remove what such documents have made", trustVEX(false)),
	)
	cmd.PersistentFlags().String("project", "", "`project` whose images it is about, by name or id (default: the only one that there is)")
	cmd.PersistentFlags().String("enterprise-project", "", "`id` of the enterprise project whose images alone it is about")
	return cmd
}

// vexPath returns the path of documents, with one more parameter if it has a
// value.
func vexPath(cmd *cobra.Command, name, value string) string {
	query := url.Values{}
	for parameter, flag := range map[string]string{"project_id": "project", "enterprise_project_id": "enterprise-project"} {
		if v := cmd.Flags().Lookup(flag).Value.String(); v != "" {
			query.Set(parameter, v)
		}
	}
	if value != "" {
		query.Set(name, value)
	}
	return "/vex-documents?" + query.Encode()
}

func applyVEX(ctx context.Context, c *adminClient, cmd *cobra.Command, from, expires string) error {
	text, err := readDocument(ctx, from)
	if err != nil {
		return err
	}
	if !json.Valid(text) {
		return fmt.Errorf("%s is no JSON", from)
	}
	var done adminapi.AppliedVEX
	if err := c.do(ctx, http.MethodPost, vexPath(cmd, "expires", expires), json.RawMessage(text), &done); err != nil {
		return err
	}
	fields := []string{"document", done.ID, "statements", fmt.Sprint(done.Statements), "handled", fmt.Sprint(done.Handled), "exceptions", fmt.Sprint(done.Exceptions)}
	for _, digest := range done.UnknownImages {
		fields = append(fields, "unknown", digest)
	}
	return showOne(cmd, done, fields...)
}

// readDocument reads a file, or what a URL has.
func readDocument(ctx context.Context, from string) ([]byte, error) {
	if !strings.HasPrefix(from, "https://") && !strings.HasPrefix(from, "http://") {
		f, err := os.Open(from) //nolint:gosec // the operator names it
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // it was read only
		return io.ReadAll(io.LimitReader(f, vex.MaxBytes+1))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	answer, err := (&http.Client{Timeout: time.Minute}).Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close() //nolint:errcheck // it was read as far as needed
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s cannot be fetched: the answer is %s", from, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, vex.MaxBytes+1))
}

func listVEX(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
	var documents adminapi.List[adminapi.VEXDocument]
	if err := c.do(ctx, http.MethodGet, vexPath(cmd, "", ""), nil, &documents); err != nil {
		return err
	}
	return show(cmd, documents.Items, "DOCUMENT AUTHOR EXCEPTIONS VULNERABILITIES APPLIED EXPIRES", func(d adminapi.VEXDocument) []any {
		expires := d.Expires
		if expires == "" {
			expires = "-"
		}
		return []any{d.ID, d.Author, d.Exceptions, d.Vulnerabilities, d.Applied, expires}
	})
}
