package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/component"
	"github.com/tidewaiter/tidewaiter/internal/componentapi"
	"github.com/tidewaiter/tidewaiter/internal/console"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
	"github.com/tidewaiter/tidewaiter/internal/iamapi"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// newHandler puts everything that the server answers behind the gateway. What is
// live on the console's pages ends with the context.
func newHandler(ctx context.Context, c *Config, endpoint string, s *state, log *slog.Logger, metrics prometheus.Registerer, ready *atomic.Bool) (http.Handler, error) {
	authenticator, err := newAuthenticator(c, s.identity)
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(gateway.Options{Identity: authenticator, Logger: log, Metrics: metrics})
	if err != nil {
		return nil, err
	}
	bundle, key, err := openComponent(c)
	if err != nil {
		return nil, err
	}
	files, err := component.NewHandler(bundle, key, log)
	if err != nil {
		return nil, err
	}

	api := g.NewAPI(tidewaiter.Version)
	described := describeComponent(c, endpoint, bundle)
	hssapi.Register(api, hssapi.Options{Component: described, Fleet: s.fleet, Inventory: s.inventory, Scans: s.scans, Findings: s.findings})
	iamapi.Register(api, iamapi.Options{Identity: s.identity, Endpoint: endpoint})
	adminapi.Register(api, s.adminOptions(endpoint, described))
	components := componentapi.New(componentapi.Options{Fleet: s.fleet, Inventory: s.inventory, Scans: s.scans})
	api.Handle(protocol.Prefix, components)
	api.Handle(protocol.Prefix+"/", components)
	api.Handle("/components/", files)
	api.Handle("/v2/", files)
	api.Handle("GET /healthz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n")) //nolint:errcheck // the client is gone
	}))
	api.Handle("GET /readyz", readiness(s, ready))
	all := g.Wrap(api)
	pages, err := console.New(console.Options{
		API: all, Identity: s.identity, Endpoint: endpoint, Stop: ctx.Done(), Logger: log, Operations: api.References(),
	})
	if err != nil {
		return nil, err
	}
	for _, p := range console.Paths() {
		api.Handle(p, pages)
	}
	return all, nil
}

// describeComponent says what the API tells of the scan component.
func describeComponent(c *Config, endpoint string, b *component.Bundle) hssapi.Component {
	d := hssapi.Component{
		Image:       component.ImageName,
		Version:     b.Version(),
		DownloadURL: endpoint + b.ZipPath(),
		Repository:  c.ComponentMirror,
		Digest:      b.IndexDigest().String(),
		Archives:    map[string]string{},
	}
	if d.Repository == "" {
		u, _ := url.Parse(endpoint) // made by Config.endpoint
		d.Repository = u.Host + "/" + component.Repository
	}
	for _, p := range b.Platforms() {
		d.Archives[p.String()] = p.ArchiveName()
	}
	return d
}

// endpointSetting is the row in which a server leaves the URL under which it is
// reached, for the commands that work on its data folder.
const endpointSetting = "endpoint"

// adminOptions are the parts of the administration API. endpoint is where
// components reach the server.
func (s *state) adminOptions(endpoint string, c hssapi.Component) adminapi.Options {
	return adminapi.Options{
		Identity: s.identity, Fleet: s.fleet, Inventory: s.inventory, Feed: s.feed, Findings: s.findings,
		Advisories: adminapi.Advisories{Sets: s.sets, URLs: s.updates.locations},
		Component:  adminapi.Component{Server: endpoint, Repository: c.Repository, Digest: c.Digest},
	}
}

// readiness answers 200 while the server takes requests and its database
// answers.
func readiness(s *state, ready *atomic.Bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if !ready.Load() || s.db.Ping(ctx) != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte("ready\n")) //nolint:errcheck // the client is gone
	})
}

// adminHandler returns the APIs for an operator on this machine,
// who is a root user of the account there is.
func (s *state) adminHandler(ctx context.Context, c *Config) (http.Handler, *tidewaiter.Caller, error) {
	caller, err := s.identity.Operator(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	g, err := gateway.New(gateway.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	bundle, _, err := openComponent(c)
	if err != nil {
		return nil, nil, err
	}
	endpoint, err := s.db.Setting(ctx, endpointSetting)
	if err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return nil, nil, err
	}
	api := g.NewAPI(tidewaiter.Version)
	described := describeComponent(c, endpoint, bundle)
	hssapi.Register(api, hssapi.Options{Component: described, Fleet: s.fleet, Inventory: s.inventory, Scans: s.scans, Findings: s.findings})
	iamapi.Register(api, iamapi.Options{Identity: s.identity, Endpoint: endpoint})
	adminapi.Register(api, s.adminOptions(endpoint, described))
	return g.Wrap(api), caller, nil
}
