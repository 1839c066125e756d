package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"mvdan.cc/sh/v3/shell"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/docstest"
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
	rows := native(t)
	for _, row := range rows["iam:"] {
		b.WriteString(row)
	}
	b.WriteString(`
Besides, ` + "`iam:tokens:get` and `iam:tokens:delete`" + ` let a caller look at and revoke
tokens of others in the account through /v3/auth/tokens, where everybody may
do so with their own.

## Clusters, and what registries have beyond the contract

Operations under /tidewaiter/v1 that belong to a project. Those of registries are
exempt in the sense above. Those that change a cluster need their permission in the
default enterprise project, and for a cluster that every project may use, in the
whole account.

| operation | request | action |
|---|---|---|
`)
	for _, row := range rows["hss:"] {
		b.WriteString(row)
	}

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

// native returns a row of a table for each operation of adminapi, by the service
// that its action begins with.
func native(t *testing.T) map[string][]string {
	t.Helper()
	g, err := gateway.New(gateway.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	api := g.NewAPI(tidewaiter.Version)
	adminapi.Register(api, adminapi.Options{})
	rows := map[string][]string{}
	for path, item := range api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			_, action, ok := strings.Cut(op.Description, "`")
			action, _, _ = strings.Cut(action, "`")
			service := action[:strings.Index(action, ":")+1]
			if !ok || service != "iam:" && service != "hss:" {
				t.Errorf("%s needs no permission: %q", op.OperationID, op.Description)
			}
			rows[service] = append(rows[service], fmt.Sprintf("| %s | `%s %s` | `%s` |\n", op.OperationID, op.Method, path, action))
		}
	}
	for _, list := range rows {
		slices.Sort(list)
	}
	return rows
}

// TestCommandsPage keeps the list of commands in docs/cli.md.
func TestCommandsPage(t *testing.T) {
	const path, heading = "../../docs/cli.md", "## Commands\n"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, got, ok := strings.Cut(string(page), heading)
	if !ok {
		t.Fatalf("%s has no list of commands", path)
	}
	var b strings.Builder
	b.WriteString("\n| command | |\n|---|---|\n")
	for _, cmd := range leafCommands() {
		if cmd.IsAvailableCommand() {
			fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(strings.TrimSuffix(cmd.UseLine(), " [flags]"), "|", "\\|"), cmd.Short)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+heading+b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		got = b.String()
	}
	if diff := cmp.Diff(b.String(), got); diff != "" {
		t.Errorf("docs/cli.md is stale; run go test ./cmd/tidewaiter -update (-want +got)\n%s", diff)
	}
}

// leafCommands returns the commands that have none below them, but for help.
func leafCommands() (list []*cobra.Command) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if walk(sub); !sub.HasSubCommands() && sub.Name() != "help" {
				list = append(list, sub)
			}
		}
	}
	walk((&program{}).rootCommand())
	return list
}

// pathOf is how a command is called, without the program.
func pathOf(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), "tidewaiter ")
}

// TestExamples runs the example of each command as far as its flags go: there is
// one, and its command line is one that the command takes.
func TestExamples(t *testing.T) {
	used := make(map[string]bool)
	for _, cmd := range leafCommands() {
		path := pathOf(cmd)
		if strings.HasPrefix(path, "completion") {
			continue
		}
		used[path] = true
		if cmd.Example == "" {
			t.Errorf("%s has no example", path)
		}
		takesCommands(t, path, cmd.Example)
	}
	for path := range examples() {
		if !used[path] {
			t.Errorf("the example of %q is of no command", path)
		}
	}
}

// TestScriptOfEachCommand: each command is run by a script of testdata, and not only
// with an error.
func TestScriptOfEachCommand(t *testing.T) {
	var scripts strings.Builder
	for _, pattern := range []string{"testdata/*.txt", "testdata/*/*.txt"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			scripts.Write(text)
		}
	}
	for _, cmd := range leafCommands() {
		path := pathOf(cmd)
		// The components of the local cluster are the server's, and no script has another.
		if path == "cluster remove-component" {
			continue
		}
		if run := regexp.MustCompile(`(?m)(tidewaiter|^admin) ` + regexp.QuoteMeta(path) + `( |$|')|^` + regexp.QuoteMeta(path) + ` `); !run.MatchString(scripts.String()) {
			t.Errorf("no script runs %s", path)
		}
	}
}

// takesCommands wants the command lines of a text to be ones that the program
// takes: command, flags and number of arguments. It returns how many there are.
func takesCommands(t *testing.T, where, text string) (n int) {
	t.Helper()
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		words, ok := commandIn(line)
		if !ok {
			continue
		}
		n++
		fields, err := shell.Fields(words, func(string) string { return "x" })
		if err != nil {
			t.Errorf("%s: %s: %v", where, line, err)
			continue
		}
		found, rest, err := (&program{}).rootCommand().Find(fields)
		if err == nil {
			err = found.ParseFlags(rest)
		}
		if err == nil && found.Args != nil {
			err = found.Args(found, found.Flags().Args())
		}
		if err == nil && found.HasSubCommands() {
			err = errors.New("the command is not whole")
		}
		if err != nil {
			t.Errorf("%s: %s: %v", where, line, err)
		}
	}
	return n
}

// commandStart is where the program is called in a line of a shell.
var commandStart = regexp.MustCompile(`(?:^|\$\(|<\(|[|;&] )\s*(?:\S*/)?tidewaiter (.*)`) //nolint:gochecknoglobals // never changed

// commandIn returns what stands after the name of the program in a line of a
// shell, up to whatever else the shell does there.
func commandIn(line string) (string, bool) {
	found := commandStart.FindStringSubmatch(strings.TrimSpace(line))
	if found == nil {
		return "", false
	}
	words := found[1]
	for _, end := range []string{" | ", " < ", " > ", " # ", "  #", " && ", "; ", ")"} {
		words, _, _ = strings.Cut(words, end)
	}
	return words, true
}

// TestDocumentedCommands looks at all commands in README and docs.
func TestDocumentedCommands(t *testing.T) {
	const root = "../.."
	total := 0
	for _, page := range append(docstest.Pages(t, root), "README.md", "CONTRIBUTING.md") {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		total += takesCommands(t, page, strings.Join(docstest.Blocks(string(text)), ""))
	}
	if total < 50 {
		t.Errorf("only %d commands were found: the test does not see them", total)
	}
}
