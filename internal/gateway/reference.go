package gateway

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidewaiter/tidewaiter"
)

// Reference describes an operation for people: what the OpenAPI document says of
// it, without its nesting.
type Reference struct {
	Name, Group, Method, Path, Summary string
	Action                             string // the permission that it needs, or ""
	Public                             bool   // needs no credential
	Built                              bool   // false: it answers that this release lacks it
	Parameters                         []ReferenceField
	Body                               []ReferenceField // of the request
	Status                             int              // of a success
	Answer                             []ReferenceField
	Errors                             []ReferenceError
}

// ReferenceError is what an operation may answer in place of its success.
type ReferenceError struct {
	Status int
	Code   string
	When   string
}

// ReferenceField is a parameter, or a field of a body.
type ReferenceField struct {
	Name     string // of a field within others: data_list[].id
	In       string // of a parameter: path, query or header
	Type     string
	Required bool
	Limits   string // such as "1 to 200, 10 without it"
	About    string
}

// maxReferenceDepth is how deep fields within fields are described.
const maxReferenceDepth = 8

// References describes all operations, by group and name.
func (a *API) References() []Reference {
	doc := a.huma.OpenAPI()
	var list []Reference
	for _, op := range a.documented {
		h := documented(doc, &op)
		r := Reference{
			Name: op.Name, Group: op.Group, Method: op.Method, Path: op.Path, Summary: op.Summary, Action: op.Action, Public: op.Public,
			Built: true, Status: op.Status, Errors: errorsOf(&op),
		}
		if r.Status == 0 {
			r.Status = http.StatusOK
		}
		f := flattener{schemas: doc.Components.Schemas}
		for _, p := range h.Parameters {
			field := f.field(p.Name, p.Schema, p.Required, p.Description)
			field.In = p.In
			r.Parameters = append(r.Parameters, field)
		}
		if h.RequestBody != nil && h.RequestBody.Content["application/json"] != nil {
			r.Body = f.fields("", h.RequestBody.Content["application/json"].Schema, 0)
		}
		if answer := h.Responses[strconv.Itoa(r.Status)]; answer != nil && answer.Content["application/json"] != nil {
			r.Answer = f.fields("", answer.Content["application/json"].Schema, 0)
		}
		list = append(list, r)
	}
	for _, op := range a.notBuilt {
		list = append(list, Reference{Name: op.Name, Group: op.Group, Method: op.Method, Path: op.Path, Summary: op.Summary, Action: op.Action})
	}
	slices.SortFunc(list, func(x, y Reference) int {
		return strings.Compare(x.Group+"\x00"+x.Name, y.Group+"\x00"+y.Name)
	})
	return list
}

// errorsOf returns the errors that an operation may answer, from the one table of
// them.
func errorsOf(op *Operation) (list []ReferenceError) {
	for _, e := range []struct {
		kind   tidewaiter.Kind
		caller bool // only where the caller must say who they are
		when   string
	}{
		{tidewaiter.Invalid, false, "The request is wrong: the message names the field, and what to do."},
		{tidewaiter.Unauthenticated, true, "There is no valid token or signature."},
		{tidewaiter.Forbidden, true, "The caller may not do this, or not in this project."},
		{tidewaiter.NotFound, false, "What it is about does not exist, or is not the caller's to see."},
		{tidewaiter.Conflict, false, "It is at odds with what there is."},
		{tidewaiter.TooLarge, false, "The request is too large."},
		{tidewaiter.Throttled, false, "There are too many requests, or failed attempts."},
		{tidewaiter.Unavailable, false, "Something that the server needs does not answer: try again."},
		{tidewaiter.Internal, false, "The server failed; its log has the request_id."},
	} {
		if e.caller && op.Public {
			continue
		}
		v := verdictOf(op.Dialect, e.kind)
		list = append(list, ReferenceError{v.status, v.code, e.when})
	}
	return list
}

// flattener makes lists of fields of schemas.
type flattener struct{ schemas huma.Registry }

func (f flattener) resolve(s *huma.Schema) *huma.Schema {
	if s != nil && s.Ref != "" {
		return f.schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// fields returns the fields of an object, and those within them.
func (f flattener) fields(within string, s *huma.Schema, depth int) (list []ReferenceField) {
	s = f.resolve(s)
	if s == nil || depth > maxReferenceDepth {
		return nil
	}
	if s.Type == huma.TypeArray {
		return f.fields(within+"[]", s.Items, depth+1)
	}
	if within != "" {
		within += "."
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if name == "$schema" {
			continue
		}
		p := s.Properties[name]
		list = append(list, f.field(within+name, p, slices.Contains(s.Required, name), p.Description))
		list = append(list, f.fields(within+name, p, depth+1)...)
	}
	return list
}

func (f flattener) field(name string, s *huma.Schema, required bool, about string) ReferenceField {
	s = f.resolve(s)
	r := ReferenceField{Name: name, Required: required, About: about}
	if s == nil {
		return r
	}
	r.Type, r.Limits = f.typeOf(s), limitsOf(s)
	return r
}

func (f flattener) typeOf(s *huma.Schema) string {
	switch {
	case s.Type == huma.TypeArray && s.Items != nil:
		return "list of " + f.typeOf(f.resolve(s.Items))
	case s.Format != "":
		return s.Type + " (" + s.Format + ")"
	}
	return s.Type
}

// limitsOf says which values a field may have.
func limitsOf(s *huma.Schema) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if len(s.Enum) > 0 {
		var words []string
		for _, v := range s.Enum {
			words = append(words, fmt.Sprintf("%q", fmt.Sprint(v)))
		}
		add("one of %s", strings.Join(words, ", "))
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		add("%s to %s", number(*s.Minimum), number(*s.Maximum))
	case s.Minimum != nil:
		add("at least %s", number(*s.Minimum))
	case s.Maximum != nil:
		add("up to %s", number(*s.Maximum))
	}
	if s.MinLength != nil && *s.MinLength > 0 {
		add("at least %d characters", *s.MinLength)
	}
	if s.MaxLength != nil {
		add("up to %d characters", *s.MaxLength)
	}
	if s.MaxItems != nil {
		add("up to %d entries", *s.MaxItems)
	}
	if s.Default != nil {
		add("%v without it", s.Default)
	}
	return strings.Join(parts, "; ")
}
