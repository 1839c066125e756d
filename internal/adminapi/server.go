// Package adminapi is this server's own API under /tidewaiter/v1, for what the
// contract leaves to a console: the administration of identity (users, projects,
// enterprise projects, policies, grants and access keys of the caller's
// account), the clusters of scan components, what a connection to a registry has
// beyond the contract, what came and went in images, and VEX documents.
package adminapi

import (
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/feed"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
)

const prefix = "/tidewaiter/v1"

// Options are the parts that the operations need.
type Options struct {
	Identity  *identity.Service
	Fleet     *fleet.Service
	Inventory *inventory.Service
	Feed      *feed.Service
	Findings  *findings.Service
	Component Component

	Advisories Advisories
}

// Component is what a user needs in order to start a scan component.
type Component struct {
	Server     string // URL of this server, such as https://tidewaiter.example.com
	Repository string // where the image can be pulled from, such as host/tidewaiter/scan-component
	Digest     string // of the index of all platforms
}

type server struct {
	api       *gateway.API
	identity  *identity.Service
	fleet     *fleet.Service
	inventory *inventory.Service
	feed      *feed.Service
	findings  *findings.Service
	component Component

	advisories Advisories
}

// Register adds the operations to the API.
func Register(api *gateway.API, o Options) {
	s := &server{api: api, identity: o.Identity, fleet: o.Fleet, inventory: o.Inventory, feed: o.Feed, findings: o.Findings, component: o.Component, advisories: o.Advisories}
	s.registerClusters()
	s.registerRegistries()
	s.registerChanges()
	s.registerRiskHistory()
	s.registerImages()
	s.registerVEXDocuments()
	s.registerAdvisories()
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

// inProject returns an operation on what belongs to a project. The handler asks
// for the permission, as it finds out the project.
func inProject(name, method, path string, p permission, summary string) gateway.Operation {
	op := operation(name, method, path, "", "", summary)
	op.Group, op.Action, op.AsksItself = "clusters and registries", p.action, true
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
