package hssapi

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidewaiter/tidewaiter/internal/gateway"
)

// contractOperation is what the contract says of an operation.
type contractOperation struct {
	name, place string
	parameters  []contractField // of path, query and header, and fields of the body
	answer      []string        // path and type of each field, such as "data_list[].id string"
}

// contractField is a parameter, or a field of a body.
type contractField struct {
	name, in, kind       string
	required             bool
	minLength, maxLength *float64
	minimum, maximum     *float64
	enum                 string // separated by commas
	standard             string // the value that it has if it is not given
}

func at(n float64) *float64 { return &n }

// document returns the OpenAPI document of the operations.
func document(t *testing.T) *huma.OpenAPI {
	t.Helper()
	g, err := gateway.New(gateway.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	api := g.NewAPI("test")
	Register(api, Options{})
	return api.OpenAPI()
}

// TestContract walks the parameters, bodies and answers that the contract has,
// and wants each of them in the document, with the same range.
func TestContract(t *testing.T) {
	doc := document(t)
	for _, op := range slices.Concat(contract(), scanContract(), contentsContract(), vulnerabilitiesContract()) {
		t.Run(op.name, func(t *testing.T) {
			method, path, _ := strings.Cut(op.place, " ")
			item := doc.Paths[path]
			if item == nil {
				t.Fatalf("there is no %s", path)
			}
			got := map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete}[method]
			if got == nil || got.OperationID != op.name {
				t.Fatalf("%s is not this operation", op.place)
			}
			for _, f := range op.parameters {
				schema, required := find(doc, got, f)
				if schema == nil {
					t.Errorf("%s %s is missing", f.in, f.name)
					continue
				}
				if required != f.required {
					t.Errorf("%s: required is %t", f.name, required)
				}
				f.check(t, schema)
			}
			for _, field := range op.answer {
				name, kind, _ := strings.Cut(field, " ")
				schema := walk(doc, answerSchema(got), name)
				if schema == nil {
					t.Errorf("the answer has no %s", name)
				} else if schema.Type != kind {
					t.Errorf("%s of the answer is of type %s, not %s", name, schema.Type, kind)
				}
			}
		})
	}
}

// find returns the schema of a parameter or of a field of the body.
func find(doc *huma.OpenAPI, op *huma.Operation, f contractField) (schema *huma.Schema, required bool) {
	if f.in != "body" {
		for _, p := range op.Parameters {
			if p.In == f.in && strings.EqualFold(p.Name, f.name) {
				return p.Schema, p.Required
			}
		}
		return nil, false
	}
	if op.RequestBody == nil {
		return nil, false
	}
	parent, last := op.RequestBody.Content["application/json"].Schema, f.name
	if i := strings.LastIndex(f.name, "."); i >= 0 {
		parent, last = walk(doc, parent, f.name[:i]), f.name[i+1:]
	}
	parent = resolved(doc, parent)
	return resolved(doc, parent.Properties[last]), slices.Contains(parent.Required, last)
}

func answerSchema(op *huma.Operation) *huma.Schema {
	return op.Responses["200"].Content["application/json"].Schema
}

// walk returns the schema at a path such as data_list[].id.
func walk(doc *huma.OpenAPI, schema *huma.Schema, path string) *huma.Schema {
	for name := range strings.SplitSeq(path, ".") {
		name, isList := strings.CutSuffix(name, "[]")
		if schema = resolved(doc, schema); schema == nil {
			return nil
		}
		schema = resolved(doc, schema.Properties[name])
		if isList && schema != nil {
			schema = resolved(doc, schema.Items)
		}
	}
	return schema
}

func resolved(doc *huma.OpenAPI, s *huma.Schema) *huma.Schema {
	for s != nil && s.Ref != "" {
		s = doc.Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// check compares what is documented with the contract.
func (f contractField) check(t *testing.T, s *huma.Schema) {
	t.Helper()
	if s.Type != f.kind {
		t.Errorf("%s is of type %s, not %s", f.name, s.Type, f.kind)
	}
	count := func(n *int) *float64 {
		if n == nil {
			return nil
		}
		return at(float64(*n))
	}
	for _, r := range []struct {
		name      string
		want, got *float64
	}{
		{"minLength", f.minLength, count(s.MinLength)}, {"maxLength", f.maxLength, count(s.MaxLength)},
		{"minimum", f.minimum, s.Minimum}, {"maximum", f.maximum, s.Maximum},
	} {
		// The contract leaves some open that this server has to bound.
		if r.want != nil && (r.got == nil || *r.got != *r.want) {
			t.Errorf("%s: %s is %s, not %g", f.name, r.name, text(r.got), *r.want)
		}
	}
	if f.standard != "" && fmt.Sprint(s.Default) != f.standard {
		t.Errorf("%s: the default is %v, not %s", f.name, s.Default, f.standard)
	}
	if f.enum == "" {
		return
	}
	for value := range strings.SplitSeq(f.enum, ",") {
		known := slices.ContainsFunc(s.Enum, func(v any) bool { return fmt.Sprint(v) == value })
		// Several values separated by commas are no enum of OpenAPI.
		if f.name == "registry_type" && f.in == "query" || f.name == "query_info.image_type" && len(s.Enum) == 0 {
			known = strings.Contains(s.Description, value)
		}
		if !known {
			t.Errorf("%s does not know %s", f.name, value)
		}
	}
}

func text(n *float64) string {
	if n == nil {
		return "missing"
	}
	return fmt.Sprint(*n)
}
