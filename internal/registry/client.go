package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/tidewaiter/tidewaiter"
)

// Client sends requests to one registry: with its credential to the origin
// that it belongs to and to no other, within the budget, again when told to
// come later. It may be used by several goroutines.
type Client struct {
	config    Config
	options   Options
	registry  Origin
	transport http.RoundTripper
	guard     *guard
	cred      *credential
	budget    *budget
	requests  atomic.Int64
}

// NewClient returns the client of a registry. Nothing is dialled yet. Errors
// are of kind Invalid and name the field of the configuration.
func NewClient(c Config, o Options) (*Client, error) {
	o = o.withDefaults()
	if p := c.protocol(); p != "http" && p != "https" {
		return nil, tidewaiter.InvalidField("protocol", "is neither http nor https; use one of them")
	}
	if c.Address.Host == "" {
		return nil, tidewaiter.InvalidField("registry_addr", "is empty; write host or host:port")
	}
	t, g, err := newTransport(c, o)
	if err != nil {
		return nil, err
	}
	cred, err := newCredential(c, o.Now)
	if err != nil {
		return nil, err
	}
	return &Client{
		config: c, options: o, registry: cred.registry,
		transport: t, guard: g, cred: cred, budget: newBudget(c.RequestBudget, o),
	}, nil
}

// Config returns what the client was made with. It holds the password.
func (c *Client) Config() Config { return c.config }

// Origin returns where the registry is.
func (c *Client) Origin() Origin { return c.registry }

// Requests returns how many requests were sent so far, redirects, token
// services and repetitions included.
func (c *Client) Requests() int { return int(c.requests.Load()) }

// Close closes idle connections.
func (c *Client) Close() {
	if t, ok := c.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Auth says how a request proves who it is.
type Auth int

// The ways to authenticate.
const (
	AuthChallenge Auth = iota // as the registry asks for: OCI distribution
	AuthBasic                 // the user name and password at once: products' own APIs
	AuthSign                  // by Request.Sign
)

// Request is a request to the registry, or to the origin At.
type Request struct {
	Method string   // "GET" if empty
	At     Origin   // where to; the zero value is the registry
	Path   string   // begins with "/", percent-encoded
	Query  string   // encoded, or ""
	Accept []string // media types
	Auth   Auth
	Scope  string                      // AuthChallenge: the token's scope if the registry names none
	Sign   func(r *http.Request) error // AuthSign: called for each attempt
}

// Read sends a request and returns the body and the header of the answer. A
// body of more than limit bytes is TooLarge. Redirects are followed for GET and
// HEAD, without the credential once another origin was visited, never from
// https to http. Errors: see [Connector].
func (c *Client) Read(ctx context.Context, q Request, limit int64) ([]byte, http.Header, error) {
	var body []byte
	var header http.Header
	err := c.attempts(ctx, q, func(ctx context.Context) (*http.Response, error) {
		ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
		defer cancel()
		res, err := c.authenticated(ctx, q)
		if err != nil || res.StatusCode != http.StatusOK {
			return res, err
		}
		defer res.Body.Close() //nolint:errcheck // read
		if body, err = io.ReadAll(io.LimitReader(res.Body, limit+1)); err != nil {
			return nil, networkError(err, q.at(c))
		}
		if int64(len(body)) > limit || res.ContentLength > limit {
			return nil, failure(tidewaiter.TooLarge, ReasonLimit, "%s answers with more than %d bytes where no more make sense", q.at(c), limit)
		}
		header = res.Header
		return res, nil
	})
	return body, header, err
}

// open sends a request and returns the answer, whose body must be closed.
func (c *Client) open(ctx context.Context, q Request) (*http.Response, error) {
	var res *http.Response
	err := c.attempts(ctx, q, func(ctx context.Context) (_ *http.Response, err error) {
		res, err = c.authenticated(ctx, q)
		return res, err
	})
	return res, err
}

// attempts sends a request until it succeeds or does not deserve another attempt.
func (c *Client) attempts(ctx context.Context, q Request, send func(context.Context) (*http.Response, error)) error {
	for n := 1; ; n++ {
		res, err := send(ctx)
		var header http.Header
		if err == nil {
			if res.StatusCode == http.StatusOK {
				return nil
			}
			drop(res)
			header = res.Header
			err = statusError(res.StatusCode, q.at(c))
		}
		if err := c.pause(ctx, n, err, header); err != nil {
			return err
		}
	}
}

// Probe asks /v2/ once, without the credential, and returns the status and the
// header of the answer. A caller that wants to see the connection being made
// puts an httptrace.ClientTrace into the context, and uses a new client.
func (c *Client) Probe(ctx context.Context) (int, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.registry.URL().JoinPath("v2/").String(), nil)
	if err != nil {
		return 0, nil, failure(tidewaiter.Invalid, ReasonAnswer, "the registry's address makes no URL")
	}
	res, err := c.send(r, c.registry)
	if err != nil {
		return 0, nil, err
	}
	drop(res)
	return res.StatusCode, res.Header, nil
}

// authenticated sends a request, and once more after a 401 that could be answered.
func (c *Client) authenticated(ctx context.Context, q Request) (*http.Response, error) {
	res, err := c.follow(ctx, q)
	if err != nil || res.StatusCode != http.StatusUnauthorized || q.Auth != AuthChallenge {
		return res, err
	}
	if o, _ := originOf(res.Request.URL); o != c.registry {
		return res, nil // not the registry asks: another host that we were sent to
	}
	drop(res)
	short, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	err = c.cred.answer(short, ParseChallenges(res.Header), q.Scope, res.Request.Header.Get("Authorization"), func(r *http.Request) (*http.Response, error) {
		o, _ := originOf(r.URL)
		return c.send(r, o)
	})
	if err != nil {
		return nil, err
	}
	return c.follow(ctx, q)
}

// follow sends a request and follows redirects.
func (c *Client) follow(ctx context.Context, q Request) (*http.Response, error) {
	method := q.Method
	if method == "" {
		method = http.MethodGet
	}
	at, trusted := q.at(c), true
	u, err := at.URL().Parse(q.Path)
	if err != nil || !strings.HasPrefix(q.Path, "/") || strings.HasPrefix(q.Path, "//") {
		return nil, failure(tidewaiter.Invalid, ReasonAnswer, "%s has a name that makes no URL", at)
	}
	u.RawQuery = q.Query
	for range maxRedirects + 1 {
		r, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
		if err != nil {
			return nil, failure(tidewaiter.Invalid, ReasonRedirect, "%s redirects to what is no URL", at)
		}
		if len(q.Accept) > 0 {
			r.Header.Set("Accept", strings.Join(q.Accept, ", "))
		}
		if trusted {
			if err := c.prove(r, q, at); err != nil {
				return nil, err
			}
		}
		res, err := c.send(r, at)
		if err != nil || !isRedirect(res.StatusCode) {
			return res, err
		}
		drop(res)
		next, to, err := redirect(res, at)
		if err != nil {
			return nil, err
		}
		trusted = trusted && to == at // and never again, wherever the way leads
		u, at = next, to
	}
	return nil, failure(tidewaiter.Invalid, ReasonRedirect, "%s redirects more than %d times", q.at(c), maxRedirects)
}

// prove adds the credential to a request to the origin that it belongs to.
func (c *Client) prove(r *http.Request, q Request, at Origin) error {
	switch {
	case q.Auth == AuthSign:
		return q.Sign(r)
	case at != c.registry:
	case q.Auth == AuthChallenge:
		c.cred.authorize(r, at, q.Scope)
	case c.config.Username != "":
		r.SetBasicAuth(c.config.Username, c.config.Password)
	}
	return nil
}

// redirect checks where an answer sends us.
func redirect(res *http.Response, from Origin) (*url.URL, Origin, error) {
	u, err := res.Request.URL.Parse(res.Header.Get("Location"))
	if err != nil || res.Header.Get("Location") == "" {
		return nil, Origin{}, failure(tidewaiter.Invalid, ReasonRedirect, "%s redirects to what is no URL", from)
	}
	to, ok := originOf(u)
	switch {
	case !ok:
		return nil, Origin{}, failure(tidewaiter.Invalid, ReasonRedirect, "%s redirects to what is no http or https URL", from)
	case u.User != nil:
		return nil, Origin{}, failure(tidewaiter.Invalid, ReasonRedirect, "%s redirects to a URL with user info", from)
	case from.Scheme == "https" && to.Scheme == "http":
		return nil, Origin{}, failure(tidewaiter.Invalid, ReasonRedirect, "%s redirects from https to plain http, which is not followed; correct the external URL in its configuration", from)
	}
	return u, to, nil
}

// send is the one place where a request leaves.
func (c *Client) send(r *http.Request, to Origin) (*http.Response, error) {
	if err := c.guard.checkURLHost(to); err != nil {
		return nil, err
	}
	if err := c.budget.take(r.Context()); err != nil {
		return nil, err
	}
	c.requests.Add(1)
	r.Header.Set("User-Agent", userAgent)
	ctx, cancel := context.WithCancel(r.Context())
	res, err := c.transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, networkError(err, to)
	}
	if res.StatusCode == http.StatusProxyAuthRequired {
		cancel()
		_ = res.Body.Close()
		return nil, proxyRefused(res.StatusCode)
	}
	res.Body = &slowBody{body: res.Body, cancel: cancel, window: c.options.IdleTimeout, min: c.options.MinBytes, at: to}
	return res, nil
}

// at returns where the request goes.
func (q Request) at(c *Client) Origin {
	if q.At == (Origin{}) {
		return c.registry
	}
	return q.At
}

func isRedirect(status int) bool {
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308
}

// drop reads a little of what is not wanted, so that the connection can be used again.
func drop(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10)
	_ = res.Body.Close()
}

// isPermanent tells failures that another attempt does not mend.
func isPermanent(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.IsNotFound
	}
	return errors.Is(err, syscall.EACCES)
}
