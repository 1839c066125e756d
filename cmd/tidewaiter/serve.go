package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter"
)

// shutdownGrace is how long running requests may take after a stop signal.
const shutdownGrace = 15 * time.Second

func (p *program) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "Run the server.\n\n" +
			"Each flag is a key of the YAML file of --config as well, and an environment\n" +
			"variable: --public-url is public-url there and TIDEWAITER_PUBLIC_URL here. Flags\n" +
			"weigh most, then the environment, then the file.",
		Example: "  tidewaiter serve\n" +
			"  tidewaiter serve --listen :8443 --tls-cert cert.pem --tls-key key.pem --public-url https://tidewaiter.example.com:8443\n" +
			"  tidewaiter serve --database postgres://tidewaiter@db.example.com/tidewaiter",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd.Flags(), p.environ)
			if err != nil {
				return err
			}
			return p.serve(cmd.Context(), c)
		},
	}
	addConfigFlags(cmd.Flags())
	return cmd
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("%s takes no arguments, but got %d", cmd.CommandPath(), len(args))}
	}
	return nil
}

// serve runs the server until the context ends. The first account is made when
// all else has succeeded, so that its password is not spent on a start that
// fails.
func (p *program) serve(ctx context.Context, c *Config) (err error) {
	start := time.Now()
	tuneGC()
	log := newLogger(c, p.stderr)
	tlsConfig, err := newTLSConfig(c)
	if err != nil {
		return err
	}
	state, err := openState(ctx, c, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, state)

	listener, err := listen("listen", c.Listen)
	if err != nil {
		return err
	}
	defer listener.Close() //nolint:errcheck // the server has closed it, unless it never ran
	endpoint := c.endpoint(listener.Addr())
	log.InfoContext(ctx, "listening", "url", c.scheme()+"://"+listener.Addr().String())
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
	}

	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var ready atomic.Bool
	handler, err := newHandler(ctx, c, endpoint, state, log, metrics, &ready)
	if err != nil {
		return err
	}
	servers, listeners := []*http.Server{newServer(handler, log)}, []net.Listener{listener}
	if c.MetricsListen != "" {
		l, err := listen("metrics-listen", c.MetricsListen)
		if err != nil {
			return err
		}
		defer l.Close() //nolint:errcheck // as above
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
		servers, listeners = append(servers, newServer(mux, log)), append(listeners, l)
		log.InfoContext(ctx, "metrics", "url", "http://"+l.Addr().String()+"/metrics")
	}
	if err := state.db.PutSetting(ctx, endpointSetting, endpoint); err != nil {
		return err
	}
	stopParts, err := startParts(ctx, c, state, handler, log)
	if err != nil {
		return err
	}
	first, err := state.bootstrap(ctx, c, endpoint)
	if err != nil {
		return errors.Join(err, stopParts())
	}

	failed := make(chan error, len(servers))
	for i, s := range servers {
		go func() { failed <- s.Serve(listeners[i]) }()
	}
	ready.Store(true)
	log.InfoContext(ctx, "ready", "endpoint", endpoint, "version", tidewaiter.Version, "took", time.Since(start))
	p.greet(c, endpoint, first)
	if first != nil {
		debug.FreeOSMemory() // migrations and the first password took some that is not needed again
	}

	select {
	case <-ctx.Done():
	case err := <-failed:
		return errors.Join(fmt.Errorf("serve: %w", err), stopParts())
	}
	return shutDown(servers, &ready, stopParts, log)
}

// tuneGC lets the heap grow to 16 MB before the first collection. What lives on
// it is a few MB, so that the default would collect every 4 MB of requests.
// GOGC in the environment wins.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// listen opens the address that a key of the configuration has.
func listen(key, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, wrongConfig(key, "%q cannot be listened on: %s", addr, oneLine(errors.Unwrap(err)))
	}
	return l, nil
}

// shutDown ends the parts, and then the servers: no new requests, the running
// ones may finish.
func shutDown(servers []*http.Server, ready *atomic.Bool, stopParts func() error, log *slog.Logger) error {
	ready.Store(false)
	// A second signal ends the program at once.
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	log.Info("stopping")
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	errs := []error{stopParts()}
	for _, s := range servers {
		if err := s.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop: some requests did not end within %s: %w", shutdownGrace, err))
			s.Close() //nolint:errcheck // it is over either way
		}
	}
	log.Info("stopped")
	return errors.Join(errs...)
}

func newLogger(c *Config, w io.Writer) *slog.Logger {
	level, _ := c.level() // checked in Config.check
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    192 << 10, // above the gateway's own limits, which answer in the API's form
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// endpoint returns the URL under which clients reach the server.
func (c *Config) endpoint(addr net.Addr) string {
	if c.PublicURL != "" {
		return c.PublicURL
	}
	host, _, _ := net.SplitHostPort(c.Listen) // checked in Config.check
	port := netip.MustParseAddrPort(addr.String()).Port()
	return fmt.Sprintf("%s://%s", c.scheme(), net.JoinHostPort(host, fmt.Sprint(port)))
}

func (c *Config) scheme() string {
	if c.TLSCert != "" {
		return "https"
	}
	return "http"
}

// newTLSConfig returns nil where the server speaks plain http. It reads the
// certificate again when its file has changed, so that a renewal needs no
// restart.
func newTLSConfig(c *Config) (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	load := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, wrongConfig("tls-cert", "certificate and key cannot be used: %s", oneLine(err))
		}
		return &cert, nil
	}
	cert, err := load()
	if err != nil {
		return nil, err
	}
	r := &certReloader{path: c.TLSCert, load: load}
	r.current.Store(cert)
	r.modified.Store(modTime(c.TLSCert))
	return &tls.Config{GetCertificate: r.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

type certReloader struct {
	path     string
	load     func() (*tls.Certificate, error)
	current  atomic.Pointer[tls.Certificate]
	modified atomic.Int64
}

func (r *certReloader) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if now := modTime(r.path); now != r.modified.Load() {
		// A certificate that does not fit its key yet is a renewal half done:
		// the old one serves until both are there.
		if cert, err := r.load(); err == nil {
			r.current.Store(cert)
			r.modified.Store(now)
		}
	}
	return r.current.Load(), nil
}

func modTime(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.ModTime().UnixNano()
}

func readCertificates(key, path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, wrongConfig(key, "the file %q cannot be read", path)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, wrongConfig(key, "the file %q holds no PEM certificate", path)
	}
	return pool, nil
}

func checkRepository(key, repository string) error {
	// The library takes the "https:" of a URL for a registry.
	if _, err := name.NewRepository(repository, name.StrictValidation); err != nil || strings.Contains(repository, "//") {
		return wrongConfig(key, "it is no repository; use host/path, such as registry.example.com/mirror/scan-component, without a tag")
	}
	return nil
}

func closeInto(err *error, c io.Closer) {
	if cerr := c.Close(); *err == nil {
		*err = cerr
	}
}
