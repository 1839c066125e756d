package hssapi

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/gateway"
)

var update = flag.Bool("update", false, "write the docs that are generated from the code") //nolint:gochecknoglobals // flags are globals

const docs = "../../docs"

// built returns the names of the operations that have a handler: those that the
// OpenAPI document has.
func built(t *testing.T) map[string]bool {
	t.Helper()
	g, err := gateway.New(gateway.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	api := g.NewAPI("test")
	Register(api, Options{})
	names := map[string]bool{}
	for _, item := range api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
			if op != nil {
				names[op.OperationID] = true
			}
		}
	}
	return names
}

func TestCoveragePage(t *testing.T) {
	has := built(t)
	var b strings.Builder
	n := 0
	group := ""
	for _, op := range Operations() {
		if op.Group != group {
			group = op.Group
			fmt.Fprintf(&b, "\n## %s\n\n| operation | request | state |\n|---|---|---|\n", group)
		}
		state := "not yet"
		if has[op.Name] {
			state, n = "yes", n+1
		}
		fmt.Fprintf(&b, "| %s | `%s %s` | %s |\n", op.Name, op.Method, op.Path, state)
	}
	compare(t, "api-coverage.md", fmt.Sprintf("# Operations of the contract\n\n"+
		"%d of %d are there. The others answer `404 APIGW.0101` and say so.\n", n, len(Operations()))+b.String())
}

func compare(t *testing.T, name, want string) {
	t.Helper()
	path := filepath.Join(docs, name)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/%s is stale; run go test ./internal/hssapi -update (-want +got)\n%s", name, diff)
	}
}
