// Package gateway is what every request passes before an API sees it: size
// limits, a request id, authentication and authorisation, one shape of error
// for each API, the access log, metrics, and recovery from panics.
//
// Nothing in it ever logs or echoes a URL: the query string of the API's first
// operation carries a registry password, and a URL that a client got wrong may
// carry it anywhere. Log lines and metrics name the route that matched.
package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter"
)

// Authenticator answers who sent a request. Its errors are of kind
// [tidewaiter.Unauthenticated], with the reason as message, or of kind
// [tidewaiter.Unavailable] where the identity service does not answer.
type Authenticator interface {
	// AuthenticateToken answers for the value of X-Auth-Token.
	AuthenticateToken(ctx context.Context, token string) (*tidewaiter.Caller, error)
	// AuthenticateSignature answers for a request signed with AK/SK. The sum
	// is the lower-case hex SHA-256 of the body.
	AuthenticateSignature(ctx context.Context, r *http.Request, bodySHA256 string) (*tidewaiter.Caller, error)
}

// Options are the parts that a [Gateway] needs.
type Options struct {
	Identity Authenticator
	Logger   *slog.Logger
	Metrics  prometheus.Registerer // nil for none
}

// Gateway wraps the APIs of one server.
type Gateway struct {
	identity Authenticator
	log      *slog.Logger
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	outcomes sync.Map // outcome to *tally: both vectors resolved
}

// outcome is what requests are counted by.
type outcome struct {
	route  string
	status int
}

type tally struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

// count adds a request to the metrics. There are few routes and few codes, so
// that what a pair is counted by is worth remembering.
func (g *Gateway) count(route string, status int, d time.Duration) {
	key := outcome{route, status}
	v, ok := g.outcomes.Load(key)
	if !ok {
		v, _ = g.outcomes.LoadOrStore(key, &tally{
			g.requests.WithLabelValues(route, strconv.Itoa(status)), g.seconds.WithLabelValues(route),
		})
	}
	t := v.(*tally)
	t.requests.Inc()
	t.seconds.Observe(d.Seconds())
}

// New returns a Gateway and registers its metrics.
func New(o Options) (*Gateway, error) {
	g := &Gateway{
		identity: o.Identity,
		log:      o.Logger,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_http_requests_total",
			Help: "Requests answered, by route and status code.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidewaiter_http_request_seconds",
			Help:    "Time from the first byte of the request's header to the end of the answer, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"route"}),
	}
	if o.Metrics == nil {
		return g, nil
	}
	for _, c := range []prometheus.Collector{g.requests, g.seconds} {
		if err := o.Metrics.Register(c); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Wrap returns the outermost handler of the server.
func (g *Gateway) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w}
		info := &rec.info
		info.init()
		r = r.WithContext(context.WithValue(r.Context(), infoKey{}, info))
		rec.Header()["X-Request-Id"] = info.header[:]

		defer func() {
			if v := recover(); v != nil {
				g.recovered(rec, r, v)
			}
			g.done(r, info, rec, time.Since(start))
		}()
		if err := checkSize(r); err != nil {
			info.dialect = dialectOf(r.URL.Path)
			WriteError(rec, r, err)
			return
		}
		next.ServeHTTP(rec, r)
	})
}

// componentPrefix is what the paths of scan components' requests begin with.
const componentPrefix = "/component/v1/"

// done writes the access log and the metrics of one request.
func (g *Gateway) done(r *http.Request, info *Info, rec *recorder, d time.Duration) {
	route := r.Pattern
	if route == "" || route == "/" {
		route = "unmatched"
	}
	g.count(route, rec.status(), d)

	level := slog.LevelInfo
	switch {
	case rec.status() >= 500:
		level = slog.LevelError
	case rec.status() < 400 && (r.Method == http.MethodGet || r.Method == http.MethodHead || strings.HasPrefix(r.URL.Path, componentPrefix)):
		level = slog.LevelDebug // clients and components poll; what changes or fails is worth a line
	}
	if !g.log.Enabled(r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("request_id", info.ID),
		slog.String("route", route),
		slog.Int("status", rec.status()),
		slog.Int64("bytes", rec.bytes),
		slog.Duration("took", d),
		slog.String("remote", r.RemoteAddr))
	if c := info.Caller; c != nil {
		attrs = append(attrs, slog.String("user_id", c.UserID))
	}
	if info.errorCode != "" {
		attrs = append(attrs, slog.String("error_code", info.errorCode))
	}
	if info.cause != nil {
		attrs = append(attrs, slog.String("cause", info.cause.Error()))
	}
	g.log.LogAttrs(r.Context(), level, "request", attrs...)
}
