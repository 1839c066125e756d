package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

var update = flag.Bool("update", false, "write the docs that are generated from the code") //nolint:gochecknoglobals // flags are globals

// TestPermissionsPage keeps docs/permissions.md: the action of each operation.
func TestPermissionsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Permissions

A policy of Version 1.1 lists actions; this page says which action each operation
needs. [identity.md](identity.md) explains how policies decide.

## Images and registries

The vendor publishes no actions for these operations, so the names are
Tidewaiter's own, in the vendor's form. Operations marked *exempt* need no
permission from a principal of identity-policy authorisation, as the vendor's
pages for them say.

| operation | action | |
|---|---|---|
`)
	for _, op := range hssapi.Operations() {
		exempt := ""
		if op.Exempt {
			exempt = "exempt"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", op.Name, op.Action, exempt)
	}
	b.WriteString("\n## Administration\n\nThe operations under /tidewaiter/v1, for the account as a whole.\n\n| operation | request | action |\n|---|---|---|\n")
	for _, row := range administration(t) {
		b.WriteString(row)
	}
	b.WriteString(`
Besides, ` + "`iam:tokens:get` and `iam:tokens:delete`" + ` let a caller look at and revoke
tokens of others in the account through /v3/auth/tokens, where everybody may
do so with their own.
`)

	const path = "../../docs/permissions.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/permissions.md is stale; run go test ./cmd/tidewaiter -update (-want +got)\n%s", diff)
	}
}

// administration returns a row of the table for each operation of adminapi.
func administration(t *testing.T) []string {
	t.Helper()
	g, err := gateway.New(gateway.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	api := g.NewAPI(tidewaiter.Version)
	adminapi.Register(api, nil)
	var rows []string
	for path, item := range api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			_, action, ok := strings.Cut(op.Description, "`")
			action, _, _ = strings.Cut(action, "`")
			if !ok || !strings.HasPrefix(action, "iam:") {
				t.Errorf("%s needs no permission: %q", op.OperationID, op.Description)
			}
			rows = append(rows, fmt.Sprintf("| %s | `%s %s` | `%s` |\n", op.OperationID, op.Method, path, action))
		}
	}
	slices.Sort(rows)
	return rows
}
