// Package adminapi is this server's own API under /tidewaiter/v1 for the
// administration of identity: users, projects, enterprise projects, policies,
// grants and access keys of the caller's account.
package adminapi

import (
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

const prefix = "/tidewaiter/v1"

type server struct {
	api      *gateway.API
	identity *identity.Service
}

// Register adds the operations to the API.
func Register(api *gateway.API, id *identity.Service) {
	s := &server{api: api, identity: id}
	s.registerUsers()
	s.registerAccessKeys()
	s.registerProjects()
	s.registerPolicies()
	s.registerGrants()
}

// operation returns an operation of this API. Its permission is
// iam:<resource>:<verb>.
func operation(name, method, path, resource, verb, summary string) gateway.Operation {
	op := gateway.Operation{
		Name: name, Group: "administration", Dialect: gateway.Native,
		Method: method, Path: prefix + path,
		Action: "iam:" + resource + ":" + verb, Summary: summary,
	}
	switch method {
	case http.MethodPost:
		op.Status = http.StatusCreated
	case http.MethodDelete:
		op.Status = http.StatusNoContent
	}
	return op
}

// List is the body of every answer that lists something.
type List[T any] struct {
	Items []T `json:"items"`
}

// listOutput wraps a List for huma.
type listOutput[T any] struct {
	Body List[T]
}

func list[T, W any](values []T, wire func(T) W) *listOutput[W] {
	out := &listOutput[W]{Body: List[W]{Items: make([]W, 0, len(values))}}
	for _, v := range values {
		out.Body.Items = append(out.Body.Items, wire(v))
	}
	return out
}

// output wraps one value for huma.
type output[T any] struct {
	CacheControl string `header:"Cache-Control"`
	Body         T
}

func one[T any](v T) *output[T] { return &output[T]{CacheControl: "no-store", Body: v} }

// ByID names the thing in the path. It is exported because huma fills only
// exported fields, embedded ones too.
type ByID struct {
	ID string `path:"id" maxLength:"64" doc:"Id or name."`
}

type byName struct {
	Name string `query:"name" maxLength:"64" doc:"Exact name."`
}

func wireTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
