// Package internal_test checks what no linter does: who imports whom, what we
// depend on, and the rules of the house (CONTRIBUTING.md).
package internal_test

import (
	"bytes"
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines     = 500
	maxFunctionLines = 80
	// longBecause in a comment allows more, and says why.
	longBecause = "Long because"
)

// TestPackageComments wants one comment on each package, which says what it is for.
func TestPackageComments(t *testing.T) {
	comments := make(map[string]int)
	for _, file := range sources(t) {
		folder := path.Dir(file.path)
		if !strings.HasSuffix(file.path, "_test.go") {
			comments[folder] += 0
			if file.ast.Doc != nil {
				comments[folder]++
			}
		}
	}
	for folder, n := range comments {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want 1", folder, n)
		}
	}
}

// TestPackageNames refuses names that say nothing and so attract everything.
func TestPackageNames(t *testing.T) {
	for _, file := range sources(t) {
		name := strings.TrimSuffix(file.ast.Name.Name, "_test")
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "lib", "types", "models", "misc", "base"}, name) {
			t.Errorf("%s: a package called %q says nothing about what is in it", file.path, name)
		}
	}
}

// TestSizes keeps files and functions short.
func TestSizes(t *testing.T) {
	for _, file := range sources(t) {
		lines := file.fset.File(file.ast.Pos()).LineCount()
		if lines > maxFileLines && !file.says(longBecause) {
			t.Errorf("%s has %d lines: split it, or say why in a comment that begins %q", file.path, lines, longBecause)
		}
		if file.test {
			continue
		}
		for _, decl := range file.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := file.fset.Position(f.End()).Line - file.fset.Position(f.Pos()).Line + 1
			if lines > maxFunctionLines && !strings.Contains(f.Doc.Text(), longBecause) {
				t.Errorf("%s: %s has %d lines: split it, or say why in a comment that begins %q", file.at(f), f.Name.Name, lines, longBecause)
			}
		}
	}
}

// says tells whether a comment of the file holds the text.
func (s source) says(text string) bool {
	return slices.ContainsFunc(s.ast.Comments, func(c *ast.CommentGroup) bool { return strings.Contains(c.Text(), text) })
}

// TestNoInit refuses init functions: what happens is what main calls.
func TestNoInit(t *testing.T) {
	for _, file := range sources(t) {
		for _, decl := range file.ast.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init", file.at(f))
			}
		}
	}
}

// TestNoMutablePackageVariables refuses package variables that a function
// assigns to, counts with, or takes the address of. A variable whose methods
// change it (a mutex, a pool) passes: review has to see those.
func TestNoMutablePackageVariables(t *testing.T) {
	variables := make(map[string]map[string]bool) // by folder, by name
	for _, file := range sources(t) {
		folder := path.Dir(file.path)
		if variables[folder] == nil {
			variables[folder] = make(map[string]bool)
		}
		for _, decl := range file.ast.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.VAR {
				for _, spec := range d.Specs {
					for _, name := range spec.(*ast.ValueSpec).Names {
						variables[folder][name.Name] = name.Name != "_"
					}
				}
			}
		}
	}
	for _, file := range sources(t) {
		if file.test {
			continue
		}
		ours := variables[path.Dir(file.path)]
		changed := func(e ast.Expr) {
			if name := root(e); name != nil && ours[name.Name] && packageLevel(file.ast, name) {
				t.Errorf("%s: package variable %s is changed: hold it in a value that is passed", file.at(name), name.Name)
			}
		}
		ast.Inspect(file.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, left := range n.Lhs {
						changed(left)
					}
				}
			case *ast.IncDecStmt:
				changed(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					changed(n.X)
				}
			}
			return true
		})
	}
}

// root returns the variable at the bottom of x, x.f, x[i], *x and (x).
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// packageLevel tells whether a name, known to be a package variable's, means
// that variable here: the parser has resolved it to no declaration within a
// function of this file.
func packageLevel(file *ast.File, name *ast.Ident) bool {
	return name.Obj == nil || file.Scope.Lookup(name.Name) == name.Obj
}

// TestNoForeignPlaces refuses paths of the machine that a file was written on
// and names of package registries' hosts: they are wrong anywhere else.
func TestNoForeignPlaces(t *testing.T) {
	foreign := regexp.MustCompile(`(^|[^\w.~-])/wo` + `rk/(main|shared|\.)|proxy\.` + `golang\.org|deb\.` + `debian\.org|registry\.` + `npmjs\.org`)
	for _, file := range files(t) {
		text, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 {
			continue // not text
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			if found := foreign.Find(line); found != nil {
				t.Errorf("%s:%d: mentions %s", file, i+1, found)
			}
		}
	}
}
