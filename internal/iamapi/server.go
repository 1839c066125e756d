// Package iamapi is the part of the IAM v3 (Keystone v3) API that clients of
// HSS need: tokens, and the lists of projects, domains and enterprise projects.
package iamapi

import (
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

const group = "identity"

// Options are the parts that the operations need.
type Options struct {
	Identity *identity.Service
	Endpoint string // URL of this server, for the catalog and the links
}

type server struct {
	api      *gateway.API
	identity *identity.Service
	endpoint string
}

// Register adds the operations to the API.
func Register(api *gateway.API, o Options) {
	s := &server{api: api, identity: o.Identity, endpoint: o.Endpoint}
	s.registerTokens()
	s.registerProjects()
}

// wireTime is a time as IAM writes it: UTC with six digits of a second.
func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// reference names a thing by id and name.
type reference struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func domainReference(d tidewaiter.Domain) reference { return reference{d.ID, d.Name} }
