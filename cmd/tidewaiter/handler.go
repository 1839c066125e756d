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
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
	"github.com/tidewaiter/tidewaiter/internal/iamapi"
)

// newHandler puts everything that the server answers behind the gateway.
func newHandler(c *Config, endpoint string, s *state, log *slog.Logger, metrics prometheus.Registerer, ready *atomic.Bool) (http.Handler, error) {
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
	hssapi.Register(api, hssapi.Options{Component: describeComponent(c, endpoint, bundle)})
	iamapi.Register(api, iamapi.Options{Identity: s.identity, Endpoint: endpoint})
	adminapi.Register(api, s.identity)
	api.Handle("/components/", files)
	api.Handle("/v2/", files)
	api.Handle("GET /healthz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n")) //nolint:errcheck // the client is gone
	}))
	api.Handle("GET /readyz", readiness(s, ready))
	return g.Wrap(api), nil
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

// adminHandler returns the administration API for an operator on this machine,
// who is a root user of the account there is.
func (s *state) adminHandler(ctx context.Context) (http.Handler, *tidewaiter.Caller, error) {
	caller, err := s.identity.Operator(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	g, err := gateway.New(gateway.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	api := g.NewAPI(tidewaiter.Version)
	adminapi.Register(api, s.identity)
	return g.Wrap(api), caller, nil
}
