// Package console is the server's pages for people. It can do nothing that the
// API cannot: each page is made from answers of the API, which it asks in the
// same process as the caller who has signed in, so that permissions, ranges and
// words of errors are the API's own.
//
// Pages are rendered here and need no script to be read. What is live on a page
// comes by server-sent events: a page that is asked for as text/event-stream
// sends its live part anew whenever that has changed.
package console

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/client"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

// Options are what the console needs.
type Options struct {
	API      http.Handler // all APIs, behind the gateway
	Identity *identity.Service
	Endpoint string // the URL under which the server is reached
	// Stop ends the streams of events, so that the server can stop.
	Stop   <-chan struct{}
	Logger *slog.Logger
	// Operations are those of the APIs, for the reference.
	Operations []gateway.Reference
}

type console struct {
	api      *client.Client
	identity *identity.Service
	secure   bool // cookies are for https only
	endpoint string
	stop     <-chan struct{}
	streams  chan struct{} // a place for each stream of events
	log      *slog.Logger
	pages    *templates
	assets   map[string]asset

	references []gateway.Reference
}

// maxStreams is how many pages may be live at once.
const maxStreams = 500

// paths are where the console is; nothing else of the server is there.
var paths = [...]string{"GET /{$}", "/sign-in", "/sign-out", "/preferences", "/assets/", "/docs", "/docs/", "/p/"}

// Paths returns the patterns that the handler of New wants to serve.
func Paths() []string { return paths[:] }

// New returns the handler of the console.
func New(o Options) (http.Handler, error) {
	pages, err := parseTemplates()
	if err != nil {
		return nil, err
	}
	assets, err := readAssets()
	if err != nil {
		return nil, err
	}
	api := client.Local(o.API)
	api.Header = http.Header{"Region": {"here"}} // some operations want one, and answer the same whatever it is
	c := &console{
		api: api, identity: o.Identity, secure: isHTTPS(o.Endpoint), endpoint: o.Endpoint,
		stop: o.Stop, streams: make(chan struct{}, maxStreams), log: o.Logger, pages: pages, assets: assets,
		references: o.Operations,
	}
	return protect(c.routes()), nil
}

func (c *console) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{name}", c.asset)
	mux.HandleFunc("GET /sign-in", c.signInPage)
	mux.HandleFunc("POST /sign-in", c.signIn)
	mux.HandleFunc("POST /sign-out", c.signOut)
	mux.HandleFunc("POST /preferences", c.preferences)
	mux.HandleFunc("GET /{$}", c.home)
	mux.HandleFunc("GET /docs", c.referenceIndex)
	mux.HandleFunc("GET /docs/{operation}", c.reference)

	page := func(pattern, template string, load loader) {
		mux.Handle("GET /p/{project}"+pattern, c.page(template, load))
	}
	page("/{$}", "overview", c.overview)
	page("/registries", "registries", c.registries)
	page("/registries/{id}", "registry", c.registry)
	page("/connect", "connect", c.connect)
	page("/upload-command", "upload-command", c.uploadCommand)
	page("/images", "images", c.images)
	page("/image", "image", c.image)
	page("/vulnerabilities", "vulnerabilities", c.vulnerabilities)
	page("/vulnerabilities/{id}", "vulnerability", c.vulnerability)
	page("/tasks", "tasks", c.tasks)
	page("/clusters", "clusters", c.clusters)
	page("/advisories", "advisories", c.advisories)
	page("/users", "users", c.users)
	mux.Handle("GET /p/{project}/images.csv", c.exportImages())
	mux.Handle("GET /p/{project}/vulnerabilities.csv", c.exportVulnerabilities())

	action := func(pattern, template string, do doer) {
		mux.Handle("POST /p/{project}"+pattern, c.action(template, do))
	}
	action("/connect", "connect", c.addRegistry)
	action("/upload-command", "upload-command", c.makeUploadCommand)
	action("/registries/{id}/test", "registry", c.testRegistry)
	action("/registries/{id}/synchronize", "registry", c.synchronizeRegistry)
	action("/registries/{id}/delete", "registry", c.deleteRegistry)
	action("/registries/{id}/vex", "registry", c.trustVEX)
	action("/exceptions", "image", c.handle)
	action("/vulnerabilities/{id}", "vulnerability", c.handleEverywhere)
	action("/scan", "tasks", c.scan)
	action("/advisories", "advisories", c.importAdvisories)
	action("/tasks/{id}/stop", "tasks", c.stopTask)
	action("/clusters", "clusters", c.addCluster)
	action("/clusters/{id}/tokens", "clusters", c.startComponent)
	action("/clusters/{id}/delete", "clusters", c.deleteCluster)
	action("/users", "users", c.addUser)
	action("/users/{id}", "users", c.changeUser)
	action("/access-keys/{id}", "users", c.changeKey)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, r, nil, http.StatusNotFound, "there is no such page")
	})
	return mux
}

// loader gets what a page shows, from the API.
type loader func(ctx context.Context, r *request) (any, error)

// doer does what a form asks for, and says which page to go on to.
type doer func(ctx context.Context, r *request) (location string, err error)
