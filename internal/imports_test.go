package internal_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tidewaiter/tidewaiter"

// mayImport says which of our packages each of our packages may import, in
// code that is not a test. Everything may import the root package, which
// imports the standard library only. Arrows go down; packages on one row do
// not know each other. A package that is not listed fails the test, and so
// does a line about a package that is gone.
var mayImport = map[string][]string{
	".": {},

	// Programs: the only places that wire things together.
	"cmd/tidewaiter":             {"everything"},
	"cmd/scan-component":         {"internal/worker", "internal/registry/all", "internal/extract/all"},
	"internal/component/mkimage": {},
	"test/demo":                  {"internal/client"},
	"test/vulndb":                {},

	// The APIs.
	"internal/hssapi":       {"internal/findings", "internal/gateway", "internal/uploadcmd", "internal/fleet", "internal/inventory", "internal/scan", "internal/store"},
	"internal/client":       {},
	"internal/console":      {"internal/client", "internal/gateway", "internal/hssapi", "internal/adminapi", "internal/identity"},
	"internal/iamapi":       {"internal/gateway", "internal/identity"},
	"internal/adminapi":     {"internal/gateway", "internal/identity", "internal/identity/policy", "internal/fleet", "internal/inventory", "internal/protocol", "internal/store", "internal/uploadcmd", "internal/feed", "internal/findings", "internal/snapshots", "internal/vex"},
	"internal/componentapi": {"internal/gateway", "internal/fleet", "internal/inventory", "internal/protocol"},

	// The server's side of clusters, registries and images.
	"internal/jobs":      {"internal/store"},
	"internal/fleet":     {"internal/store", "internal/protocol", "internal/seal"},
	"internal/inventory": {"internal/store", "internal/protocol", "internal/seal", "internal/registry"},
	"internal/scan":      {"internal/store", "internal/protocol", "internal/registry", "internal/extract/codec", "internal/overlay"},

	// What server and scan component share.
	"internal/protocol": {},
	"internal/seal":     {},

	// The scan component.
	"internal/worker": {"internal/protocol", "internal/seal", "internal/access", "internal/registry", "internal/extract", "internal/extract/codec"},

	// The scan component's side of a registry: the connectors meet in one table,
	// and do not know each other, but that two of them list by plain OCI.
	"internal/access":                {"internal/registry"},
	"internal/registry/all":          {"internal/registry", "internal/registry/artifactory", "internal/registry/harbor", "internal/registry/oci", "internal/registry/swr"},
	"internal/registry/artifactory":  {"internal/registry", "internal/registry/oci"},
	"internal/registry/harbor":       {"internal/registry"},
	"internal/registry/oci":          {"internal/registry"},
	"internal/registry/swr":          {"internal/registry", "internal/registry/oci", "internal/identity/aksk"},
	"internal/registry/registrytest": {"internal/registry", "internal/identity/aksk"},
	"internal/registry":              {},

	// From a layer's bytes to facts, and from facts to what an image holds.
	"internal/extract":             {},
	"internal/extract/all":         {"internal/extract", "internal/extract/langpkg", "internal/extract/ospkg"},
	"internal/extract/codec":       {},
	"internal/extract/extracttest": {"internal/extract"},
	"internal/extract/langpkg":     {"internal/extract", "internal/extract/parse"},
	"internal/extract/ospkg":       {"internal/extract", "internal/extract/parse"},
	"internal/extract/parse":       {"internal/extract"},
	"internal/overlay":             {},

	// From an image anywhere to facts, and from facts to what is written down.
	"internal/export": {"internal/advisory", "internal/advisory/vulns", "internal/overlay", "internal/vex"},
	"internal/pull":   {"internal/extract", "internal/registry"},
	"internal/eol":    {},

	// From advisories to what is known about a version of a package.
	"internal/advisory":         {"internal/advisory/version"},
	"internal/advisory/osv":     {},
	"internal/advisory/threat":  {},
	"internal/advisory/version": {},
	"internal/advisory/vulns":   {},
	"internal/vex":              {},
	"internal/findings":         {"internal/advisory", "internal/advisory/vulns", "internal/snapshots", "internal/store", "internal/vex"},
	"internal/feed":             {"internal/store"},
	"internal/bundle":           {},
	"internal/snapshots":        {"internal/advisory", "internal/advisory/osv", "internal/advisory/threat", "internal/store"},

	// What the APIs stand on.
	"internal/gateway":           {},
	"internal/identity":          {"internal/identity/aksk", "internal/identity/policy", "internal/identity/keystone", "internal/store"},
	"internal/identity/aksk":     {},
	"internal/identity/policy":   {},
	"internal/identity/keystone": {},
	"internal/uploadcmd":         {},
	"internal/component":         {},
	"internal/store":             {},
	"internal/store/storetest":   {"internal/store"},

	// For tests alone.
	"internal/docstest": {},
}

// A dependency is a module that our code imports directly: why, and which of
// our packages may do so outside of tests (none: tests only).
type dependency struct {
	module string
	why    string
	in     []string
}

// dependencies are all that we import directly. One more is one more to
// trust, to update and to explain: add a line here, and say why in the commit.
var dependencies = []dependency{
	{"github.com/danielgtaylor/huma/v2", "typed HTTP operations and their OpenAPI document",
		[]string{"internal/gateway", "internal/hssapi", "internal/iamapi", "internal/adminapi"}},
	{"github.com/google/go-containerregistry", "images, archives and registries",
		[]string{"internal/component", "internal/component/mkimage", "internal/registry/registrytest", "internal/pull", "cmd/tidewaiter", "test/demo"}},
	{"github.com/CycloneDX/cyclonedx-go", "bills of materials, and VEX", []string{"internal/export", "internal/vex"}},
	{"github.com/owenrumney/go-sarif/v3", "findings for tools that read SARIF", []string{"internal/export"}},
	{"filippo.io/age", "sealed credentials", []string{"internal/seal"}},
	{"golang.org/x/crypto/x509roots/fallback", "CA certificates for the scan component, which has no others",
		[]string{"internal/component/mkimage", "cmd/scan-component"}},
	{"golang.org/x/crypto", "argon2id for passwords", []string{"internal/identity"}},
	{"golang.org/x/sync", "one look-up for many callers who ask the same (singleflight)",
		[]string{"internal/identity", "internal/identity/keystone"}},
	{"golang.org/x/term", "passwords that are typed without being shown", []string{"cmd/tidewaiter"}},
	{"go.yaml.in/yaml/v3", "output as YAML: koanf's parser is made of it", []string{"cmd/tidewaiter"}},
	{"golang.org/x/sys", "file locks and memory limits", []string{"internal/store", "internal/extract", "cmd/scan-component"}},
	{"github.com/pandatix/go-cvss", "scores of CVSS vectors: that of 4.0 hangs on tables of the specification, and the module has no others with it",
		[]string{"internal/advisory/osv"}},
	{"go.etcd.io/bbolt", "the index of advisories: a B+ tree in a file, mapped into memory and read by key", []string{"internal/advisory"}},
	{"github.com/klauspost/compress", "gzip and zstd of layers, results of scans, advisories", []string{"internal/advisory", "internal/store", "internal/extract", "internal/extract/codec", "internal/extract/extracttest", "internal/extract/ospkg"}},

	{"github.com/uptrace/bun", "one query text for both databases", []string{"internal/store"}},
	{"github.com/uptrace/bun/dialect/pgdialect", "bun on PostgreSQL", []string{"internal/store"}},
	{"github.com/uptrace/bun/dialect/sqlitedialect", "bun on SQLite", []string{"internal/store"}},
	{"github.com/jackc/pgx/v5", "PostgreSQL driver", []string{"internal/store", "internal/store/storetest", "internal/jobs"}},
	{"modernc.org/sqlite", "SQLite without cgo", []string{"internal/store"}},
	{"github.com/pressly/goose/v3", "schema migrations", []string{"internal/store"}},
	{"github.com/riverqueue/river", "the queue of the server's own jobs", []string{"internal/jobs"}},
	{"github.com/riverqueue/river/riverdriver", "what River's drivers have in common", []string{"internal/jobs"}},
	{"github.com/riverqueue/river/riverdriver/riverdatabasesql", "River on PostgreSQL, in the store's transactions", []string{"internal/jobs"}},
	{"github.com/riverqueue/river/riverdriver/riversqlite", "River on SQLite", []string{"internal/jobs"}},
	{"github.com/riverqueue/river/rivertype", "River's nouns", []string{"internal/jobs"}},

	{"github.com/prometheus/client_golang", "metrics", []string{"internal/gateway", "cmd/tidewaiter"}},
	{"github.com/spf13/cobra", "command line", []string{"cmd/tidewaiter"}},
	{"github.com/spf13/pflag", "cobra's flags", []string{"cmd/tidewaiter"}},
	{"github.com/knadh/koanf/v2", "configuration from flags, environment and file", []string{"cmd/tidewaiter"}},
	{"github.com/knadh/koanf/parsers/yaml", "koanf reads YAML", []string{"cmd/tidewaiter"}},
	{"github.com/knadh/koanf/providers/confmap", "koanf's defaults and overrides", []string{"cmd/tidewaiter"}},
	{"github.com/knadh/koanf/providers/file", "koanf reads files", []string{"cmd/tidewaiter"}},

	{"github.com/google/go-cmp", "differences in tests", []string{"internal/registry/registrytest", "internal/extract/extracttest"}},
	{"pgregory.net/rapid", "properties in tests", nil},
	{"github.com/rogpeppe/go-internal", "testscript: the command line as txtar scripts", nil},
	{"mvdan.cc/sh/v3", "a POSIX shell parser, to judge the commands that we emit", nil},
	{"github.com/package-url/packageurl-go", "the package URLs of others, as the judge of ours", nil},
	{"github.com/opencontainers/go-digest", "the OCI grammar of digests, as the judge of our own", nil},
	{"github.com/distribution/reference", "the OCI grammar of names, as the judge of our own reading of it", nil},
	{"github.com/chromedp/chromedp", "a real browser, as the judge of the console", nil},
	{"github.com/chromedp/cdproto", "the events of that browser", nil},
	{"github.com/creack/pty", "a terminal for interactive shells in tests", nil},
	{"github.com/huaweicloud/huaweicloud-sdk-go-v3", "the vendor's client, as the judge of our API", nil},
}

// TestImports keeps the arrows between our packages, as mayImport draws them.
func TestImports(t *testing.T) {
	seen := make(map[string]bool)
	for _, file := range sources(t) {
		folder := path.Dir(file.path)
		if file.test {
			continue
		}
		seen[folder] = true
		allowed, listed := mayImport[folder]
		if !listed {
			t.Errorf("%s: package %s is not in the table mayImport", file.path, folder)
			continue
		}
		for _, imported := range file.imports() {
			target, ours := strings.CutPrefix(imported, module+"/")
			switch {
			case imported == module, slices.Contains(allowed, "everything"):
			case ours && !slices.Contains(allowed, target):
				t.Errorf("%s: %s may not import %s", file.path, folder, target)
			case folder == "." && !standard(imported):
				t.Errorf("%s: the root package imports the standard library only, not %s", file.path, imported)
			}
		}
	}
	for folder := range mayImport {
		if !seen[folder] {
			t.Errorf("mayImport lists %s, which has no code", folder)
		}
	}
}

// TestDependencies keeps the list of what we depend on, and where.
func TestDependencies(t *testing.T) {
	required := requirements(t)
	used := make(map[string]bool)
	for _, file := range sources(t) {
		folder := path.Dir(file.path)
		for _, imported := range file.imports() {
			if standard(imported) || imported == module || strings.HasPrefix(imported, module+"/") {
				continue
			}
			from := longestPrefix(imported, required)
			used[from] = true
			i := slices.IndexFunc(dependencies, func(d dependency) bool { return d.module == from })
			if i < 0 {
				t.Errorf("%s: imports %s of module %q, which is not in the table dependencies", file.path, imported, from)
				continue
			}
			if !file.test && !slices.Contains(dependencies[i].in, folder) {
				t.Errorf("%s: %s may be imported by %q only, outside of tests", file.path, from, dependencies[i].in)
			}
		}
	}
	for _, d := range dependencies {
		if !used[d.module] {
			t.Errorf("the table dependencies lists %s, which nothing imports", d.module)
		}
		if d.why == "" {
			t.Errorf("the table dependencies does not say why there is %s", d.module)
		}
	}
}

// requirements returns the modules that go.mod names.
func requirements(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit: %v", err)
	}
	var mod struct{ Require []struct{ Path string } }
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range mod.Require {
		paths = append(paths, r.Path)
	}
	return paths
}

// longestPrefix returns the module that a package belongs to.
func longestPrefix(pkg string, modules []string) string {
	var longest string
	for _, m := range modules {
		if (pkg == m || strings.HasPrefix(pkg, m+"/")) && len(m) > len(longest) {
			longest = m
		}
	}
	return longest
}

// standard tells whether a package belongs to the standard library.
func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}

// A source is one parsed Go file.
type source struct {
	path string // from the root of the module, with slashes
	test bool   // a _test.go file, or a package for tests only
	fset *token.FileSet
	ast  *ast.File
}

// imports returns the paths of the packages that the file imports.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.ast.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, "\"`"))
	}
	return paths
}

// at says where a node stands, for a message.
func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(n.Pos()).Line)
}

// sources returns every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	for _, file := range files(t) {
		if path.Ext(file) != ".go" {
			continue
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, filepath.Join("..", file), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		test := strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "test/e2e/")
		list = append(list, source{path: file, test: test, fset: fset, ast: parsed})
	}
	if len(list) < 10 {
		t.Fatalf("found only %d Go files: is this the module?", len(list))
	}
	return list
}

// files returns the path of every file of the module, from its root, less
// what a build or a run leaves behind.
func files(t *testing.T) []string {
	t.Helper()
	leftOut := []string{".git", ".tools", "bin", "tidewaiter-data", "tidewaiter-demo", "internal/component/dist"}
	var list []string
	err := filepath.WalkDir("..", func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", p)
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains(leftOut, filepath.ToSlash(rel)) {
			return fs.SkipDir
		}
		if entry.Type().IsRegular() {
			list = append(list, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
