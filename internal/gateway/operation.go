package gateway

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/tidewaiter/tidewaiter"
)

// Operation is one operation of an API: where it is, and what a caller needs.
type Operation struct {
	Name    string // the contract's name, such as ShowImageUploadCommand
	Group   string // what it is listed under
	Method  string
	Path    string // a pattern of net/http's ServeMux
	Summary string

	Dialect Dialect
	Public  bool // needs no credential
	// Action is the permission that the caller needs, such as hss:images:get;
	// "" where being authenticated is enough, which it never is for HSS.
	Action string
	// Exempt operations need no permission from identity-policy principals.
	Exempt bool
	// AsksItself says that the handler asks for the Action, since it alone knows
	// the project that the request is about.
	AsksItself bool
	// ChecksItself says that the handler checks the parameters, in better words
	// than the ranges of its tags would; they are for the document then.
	ChecksItself bool
	// Flags are query parameters that are true where they stand without a value.
	Flags []string
	// Status of a success; 0 is 200.
	Status int

	parameterNames         []string
	parameters, repeatable map[string]bool
}

func (op *Operation) pattern() string { return op.Method + " " + op.Path }

// API is where the operations of all APIs are registered: it routes, checks
// and documents them.
type API struct {
	gateway *Gateway
	router  *router        // the operations
	mux     *http.ServeMux // all else
	huma    huma.API
	pending *Operation // the operation that is being registered

	documented, notBuilt []Operation
}

// NewAPI returns an API without operations. It serves its OpenAPI document at
// /openapi.json and /openapi.yaml.
func (g *Gateway) NewAPI(version string) *API {
	a := &API{gateway: g, router: &router{}, mux: http.NewServeMux()}
	a.huma = huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:   "Tidewaiter",
				Version: version,
				Description: "Access and scanning for private container registries through the HSS v5 image API.\n\n" +
					"Operations under /v5 follow the HSS contract, those under /v3 that of IAM (Keystone v3); " +
					"those under /tidewaiter/v1 are this server's own.",
				License: &huma.License{Name: "Apache-2.0", URL: "https://www.apache.org/licenses/LICENSE-2.0"},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "apiKey", In: "header", Name: "X-Auth-Token",
						Description: "A token of POST /v3/auth/tokens, scoped to the project of the path."},
					"signature": {Type: "apiKey", In: "header", Name: "Authorization",
						Description: "An SDK-HMAC-SHA256 signature with an access key (AK/SK), as the vendor's SDKs make it."},
				},
			},
		},
		OpenAPIPath: "/openapi",
		Formats: map[string]huma.Format{
			"application/json": huma.DefaultJSONFormat,
			"json":             huma.DefaultJSONFormat, // anything that ends in +json
		},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{a.transform},
	}, humago.NewAdapter(registrar{a}, ""))
	a.huma.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) { next(humaContext{ctx}) })
	a.mux.HandleFunc("/", NotFound)
	return a
}

// Handle registers a handler outside of the operations, for what is neither
// JSON nor documented there: health, the console, the component's files.
func (a *API) Handle(pattern string, h http.Handler) { a.mux.Handle(pattern, h) }

// ServeHTTP routes a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !a.router.serve(w, r) {
		a.mux.ServeHTTP(w, r)
	}
}

// OpenAPI returns the document of all registered operations.
func (a *API) OpenAPI() *huma.OpenAPI { return a.huma.OpenAPI() }

// RegisterNotBuilt makes an operation answer that this release lacks it.
func (a *API) RegisterNotBuilt(op Operation) {
	a.notBuilt = append(a.notBuilt, op)
	h := NotBuilt(op.Name)
	a.router.add(op.pattern(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		InfoFrom(r.Context()).dialect = op.Dialect
		h(w, r)
	}))
}

// Register adds an operation. The fields of I are its parameters and body, those
// of O its answer, with huma's struct tags; both end up in the OpenAPI document.
func Register[I, O any](a *API, op Operation, handler func(context.Context, *I) (*O, error)) {
	h := huma.Operation{
		OperationID:   op.Name,
		Method:        op.Method,
		Path:          op.Path,
		Summary:       op.Summary,
		Tags:          []string{op.Group},
		DefaultStatus: op.Status,

		SkipValidateParams: op.ChecksItself,
		MaxBodyBytes:       MaxBody,
		Responses:          map[string]*huma.Response{"default": a.errorResponse()},
	}
	if !op.Public {
		h.Security = []map[string][]string{{"token": {}}, {"signature": {}}}
	}
	if op.Action != "" {
		h.Description = "Needs the permission `" + op.Action + "`."
	}
	a.pending = &op
	a.documented = append(a.documented, op)
	huma.Register(a.huma, h, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			return nil, &humaError{status: 0, err: err, info: InfoFrom(ctx)}
		}
		return out, nil
	})
	a.pending = nil
}

func (a *API) errorResponse() *huma.Response {
	return &huma.Response{
		Description: "An error",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[errorBody](), true, "Error"),
		}},
	}
}

// registrar is the mux that huma registers on: it puts the gateway's checks
// before each operation.
type registrar struct{ *API }

func (m registrar) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	op := m.pending
	if op == nil { // the OpenAPI document itself
		m.mux.HandleFunc(pattern, h)
		return
	}
	op.readParameters(m.huma.OpenAPI())
	m.router.add(pattern, m.gateway.protect(op, http.HandlerFunc(h)))
}

// readParameters takes the names of the query parameters from the document.
func (op *Operation) readParameters(doc *huma.OpenAPI) {
	op.parameters, op.repeatable = map[string]bool{}, map[string]bool{}
	for _, p := range documented(doc, op).Parameters {
		if p.In != "query" {
			continue
		}
		op.parameterNames = append(op.parameterNames, p.Name)
		op.parameters[p.Name] = true
		op.repeatable[p.Name] = p.Schema != nil && p.Schema.Type == huma.TypeArray
	}
	slices.Sort(op.parameterNames)
}

func documented(doc *huma.OpenAPI, op *Operation) *huma.Operation {
	item := doc.Paths[op.Path]
	return map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodHead: item.Head, http.MethodPost: item.Post,
		http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}[op.Method]
}

// humaContext changes the two things about huma's own errors that HSS does
// differently: a failed validation is 400, and the content type is plain JSON.
type humaContext struct{ base }

// base is huma.Context under another name, as that one has a method Context.
type base = huma.Context

// Unwrap lets humago find its own context.
func (c humaContext) Unwrap() huma.Context { return c.base }

func (c humaContext) SetStatus(code int) {
	if code == http.StatusUnprocessableEntity {
		code = http.StatusBadRequest
	}
	c.base.SetStatus(code)
}

func (c humaContext) SetHeader(name, value string) {
	if name == "Content-Type" && value == "application/problem+json" {
		value = "application/json"
		c.base.SetHeader("Cache-Control", "no-store")
	}
	c.base.SetHeader(name, value)
}

// humaError carries an error of a handler through huma, which asks for its
// status first and later for its body.
type humaError struct {
	status int
	err    error
	info   *Info
}

func (e *humaError) Error() string { return e.err.Error() }

// GetStatus returns the HTTP status that the error has on the wire.
func (e *humaError) GetStatus() int {
	if e.status == 0 {
		e.status, _ = render(e.info, e.err)
	}
	return e.status
}

// ContentType makes humaContext treat it as it treats huma's own errors.
func (e *humaError) ContentType(string) string { return "application/problem+json" }

// transform turns both kinds of error into the body of the API's dialect.
func (a *API) transform(ctx huma.Context, _ string, v any) (any, error) {
	switch e := v.(type) {
	case *humaError:
		_, body := render(e.info, e.err)
		return body, nil
	case *huma.ErrorModel:
		_, body := render(InfoFrom(ctx.Context()), fromHuma(e, a.properties(ctx.Operation())))
		return body, nil
	}
	return v, nil
}

// properties returns the names that the body of an operation may have at its top.
func (a *API) properties(op *huma.Operation) map[string]bool {
	known := map[string]bool{}
	if op == nil || op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		return known
	}
	schema := op.RequestBody.Content["application/json"].Schema
	if schema != nil && schema.Ref != "" {
		schema = a.huma.OpenAPI().Components.Schemas.SchemaFromRef(schema.Ref)
	}
	if schema != nil {
		for name := range schema.Properties {
			known[name] = true
		}
	}
	return known
}

// fromHuma says in our words what huma's validation found. It leaves values
// out, and names that nobody expected: they may be secrets in the wrong place.
// known are the names that the body may have.
func fromHuma(e *huma.ErrorModel, known map[string]bool) error {
	if e.Status >= 500 {
		return tidewaiter.Wrap(tidewaiter.Internal, e, "internal error")
	}
	if e.Status == http.StatusRequestEntityTooLarge {
		return tidewaiter.Errorf(tidewaiter.TooLarge, "Bad request: the body is larger than %d bytes", MaxBody)
	}
	if len(e.Errors) == 0 || e.Errors[0] == nil {
		return tidewaiter.Errorf(tidewaiter.Invalid, "%s", strings.ToLower(e.Detail))
	}
	first := e.Errors[0]
	_, field, found := strings.Cut(first.Location, ".")
	if !found {
		field = first.Location
	}
	if first.Location == "" || first.Location == "body" {
		field = "body"
	}
	if first.Message == validation.MsgUnexpectedProperty {
		name := field[strings.LastIndex(field, ".")+1:]
		if near := nearest(name, known); near != "" {
			return tidewaiter.InvalidField(name, "there is no such property; did you mean %s?", near)
		}
		return tidewaiter.InvalidField("body", "it has a property that is none of this operation's, which takes %s",
			listed(slices.Sorted(maps.Keys(known))))
	}
	if strings.HasPrefix(first.Message, "invalid character") { // of a value: it may be a secret's
		return tidewaiter.InvalidField(field, "it is not valid JSON")
	}
	return tidewaiter.InvalidField(field, "%s", first.Message)
}
