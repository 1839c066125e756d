package hssapi

import (
	"context"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
)

// InProject are the parameters of nearly every operation. It is exported
// because huma fills only exported fields, embedded ones too; so are the other
// types that inputs embed.
type InProject struct {
	ProjectID           string `path:"project_id" minLength:"1" maxLength:"256" doc:"Project id."`
	EnterpriseProjectID string `query:"enterprise_project_id" minLength:"1" maxLength:"256" default:"0" doc:"Id of an enterprise project, or all_granted_eps for all that the caller may see."`
}

// Resolve refuses a parameter that is there but empty, where the contract wants
// a value: huma takes it for one that is missing, and a filter that is left out
// by mistake shows everything.
func (InProject) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		rawName, value, _ := strings.Cut(pair, "=")
		if pair == "" || value != "" {
			continue
		}
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			continue // the gateway has refused it already
		}
		for _, p := range ctx.Operation().Parameters {
			if p.In != "query" || p.Name != name || p.Schema.Type == huma.TypeString && p.Schema.MinLength == nil ||
				p.Schema.MinLength != nil && *p.Schema.MinLength == 0 {
				continue
			}
			return []error{&huma.ErrorDetail{Location: "query." + name, Message: "it is empty; give a value or leave the parameter out"}}
		}
	}
	return nil
}

// Page are the parameters of a list of which 10 to 200 are asked for at once.
type Page struct {
	Offset int `query:"offset" format:"int32" minimum:"0" maximum:"2000000" default:"0" doc:"How many to skip."`
	Limit  int `query:"limit" format:"int32" minimum:"10" maximum:"200" default:"10" doc:"How many to list."`
}

// InRegion is the parameter of operations that the vendor offers in regions.
// This server is one region, whatever it is called.
type InRegion struct {
	Region string `header:"region" minLength:"1" maxLength:"128" doc:"Accepted for compatibility; the answer does not depend on it."`
}

// Optional is a parameter of which it matters whether it was given.
type Optional[T any] struct {
	Value T
	Given bool
}

// Schema is that of the value. It makes huma document the parameter as one.
func (Optional[T]) Schema(r huma.Registry) *huma.Schema {
	return huma.SchemaFromType(r, reflect.TypeFor[T]())
}

// Receiver is where huma puts the value.
func (o *Optional[T]) Receiver() reflect.Value { return reflect.ValueOf(o).Elem().Field(0) }

// OnParamSet is called by huma once it has looked for the parameter.
func (o *Optional[T]) OnParamSet(given bool, _ any) { o.Given = given }

// pointer returns the value, or nil if the parameter was not given.
func (o Optional[T]) pointer() *T {
	if !o.Given {
		return nil
	}
	return &o.Value
}

// extent says which part of the project a request of an operation is about.
// The gateway has asked by now whether the caller may be there at all.
func (s *server) extent(ctx context.Context, operation string, in InProject) tidewaiter.Extent {
	e := tidewaiter.Extent{ProjectID: in.ProjectID}
	if in.EnterpriseProjectID != tidewaiter.AllGrantedEnterpriseProjects {
		e.EnterpriseProjects = []string{in.EnterpriseProjectID}
		return e
	}
	op := s.operations[operation]
	e.All, e.EnterpriseProjects = gateway.CallerFrom(ctx).EnterpriseProjects(op.Action, in.ProjectID, op.Exempt)
	return e
}

// enterpriseProject returns the one enterprise project that something new
// belongs to. Clients of the vendor send all_granted_eps out of habit, where it
// can only mean the default one.
func (s *server) enterpriseProject(ctx context.Context, operation string, in InProject) (string, error) {
	const field = "enterprise_project_id"
	caller := gateway.CallerFrom(ctx)
	if in.EnterpriseProjectID == tidewaiter.AllGrantedEnterpriseProjects {
		op := s.operations[operation]
		if caller.Authorize(op.Action, in.ProjectID, tidewaiter.DefaultEnterpriseProject, op.Exempt) != nil {
			return "", tidewaiter.InvalidField(field, "it must name the one enterprise project that is meant, as the caller has no permission in the default one")
		}
		return tidewaiter.DefaultEnterpriseProject, nil
	}
	if caller.Account != nil && in.EnterpriseProjectID != tidewaiter.DefaultEnterpriseProject {
		known := false
		for _, id := range caller.Account.EnterpriseProjects {
			known = known || id == in.EnterpriseProjectID
		}
		if !known {
			return "", tidewaiter.InvalidField(field, "the account has no enterprise project with this id")
		}
	}
	return in.EnterpriseProjectID, nil
}

// milliseconds returns a time as the contract has it, 0 for none.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// timeRange reads the two ends of a range in milliseconds, each of which may be
// missing. Its error names the field of the start.
func timeRange(from, to Optional[int64], start, end string) (*time.Time, *time.Time, error) {
	if from.Given && to.Given && from.Value > to.Value {
		return nil, nil, tidewaiter.InvalidField(start, "it is later than %s; a range ends after it begins", end)
	}
	last := moment(to)
	if last != nil {
		// Times are shown in milliseconds and kept in microseconds: the whole of the
		// last one is within.
		*last = last.Add(time.Millisecond - time.Microsecond)
	}
	return moment(from), last, nil
}

func moment(o Optional[int64]) *time.Time {
	if !o.Given {
		return nil
	}
	// What lies beyond is after every time there is, and too large to count in
	// the store's units.
	const latest = 4_070_908_800_000 // the year 2099
	t := time.UnixMilli(min(o.Value, latest))
	return &t
}

// parseTypes reads registry types that are separated by commas.
func parseTypes(text string) ([]tidewaiter.RegistryType, error) {
	if text == "" {
		return nil, nil
	}
	var types []tidewaiter.RegistryType
	for part := range strings.SplitSeq(text, ",") {
		t, err := parseType("registry_type", strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		types = append(types, t)
	}
	return types, nil
}

func parseType(field, text string) (tidewaiter.RegistryType, error) {
	names := make([]string, 0, 6)
	for _, t := range tidewaiter.RegistryTypes() {
		if string(t) == text {
			return t, nil
		}
		names = append(names, string(t))
	}
	return "", tidewaiter.InvalidField(field, "it is none of %s", strings.Join(names, ", "))
}

// between returns the part of a list that a page shows.
func between[T any](all []T, p Page) []T {
	from := min(p.Offset, len(all))
	return all[from:min(from+p.Limit, len(all))]
}
