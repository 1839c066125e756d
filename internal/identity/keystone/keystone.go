// Package keystone asks an external Keystone v3 whose token a token is.
//
// A token is validated by itself: GET /v3/auth/tokens with the token as both
// X-Auth-Token and X-Subject-Token, which Keystone's default policy allows
// (rule token_subject), so that no service account is needed. The API:
// https://docs.openstack.org/api-ref/identity/v3/#validate-and-show-information-for-token
package keystone

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tidewaiter/tidewaiter"
)

const (
	maxToken    = 32768           // bytes, as the HSS API has it
	maxAnswer   = 1 << 20         // bytes of one answer of Keystone
	timeout     = 5 * time.Second // for one question to Keystone
	defaultTTL  = 30 * time.Second
	negativeTTL = 2 * time.Second // for "no such token"
	maxCached   = 10_000          // tokens
)

// Options say where Keystone is and how far to trust what it said a moment ago.
type Options struct {
	// URL of the identity service, with or without /v3 at its end. Plain http
	// is for loopback addresses only, unless AllowHTTP.
	URL       string
	AllowHTTP bool
	// CAFile holds PEM certificates to trust in place of the system's; "" for
	// the system's.
	CAFile string
	// CacheTTL is how long an answer may be used again, 0 for 30 seconds. A
	// token that Keystone has revoked is good here for that much longer.
	CacheTTL time.Duration
	// RoleMap gives roles of Keystone the names that they have here. Roles
	// that are not in it keep theirs.
	RoleMap map[string]string
}

// Validated is what Keystone says of a good token.
type Validated struct {
	UserID, UserName     string
	DomainID, DomainName string // of the user
	// The project of the token's scope; "" for a token of another scope.
	ProjectID, ProjectName string
	ProjectDomainID        string
	Roles                  []string // names, through Options.RoleMap
	Expires                time.Time
}

// Client validates tokens. It may be used by many goroutines at once.
type Client struct {
	endpoint string // of the operation
	http     *http.Client
	ttl      time.Duration
	roles    map[string]string
	now      func() time.Time
	cache    cache
	flights  singleflight.Group
}

// New returns a client. Its errors are of kind [tidewaiter.Invalid] and name
// the configuration key; it does not ask Keystone anything yet.
func New(o Options) (*Client, error) {
	endpoint, err := parseURL(o.URL, o.AllowHTTP)
	if err != nil {
		return nil, err
	}
	if o.CacheTTL < 0 {
		return nil, tidewaiter.InvalidField("keystone-cache-ttl", "is negative; give a duration such as 30s")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		if transport.TLSClientConfig.RootCAs, err = readPool(o.CAFile); err != nil {
			return nil, err
		}
	}
	c := &Client{
		endpoint: endpoint,
		http: &http.Client{
			Transport: transport,
			Timeout:   timeout,
			// The token is for this address and no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		ttl:   o.CacheTTL,
		roles: o.RoleMap,
		now:   time.Now,
		cache: cache{entries: make(map[key]entry)},
	}
	if c.ttl == 0 {
		c.ttl = defaultTTL
	}
	return c, nil
}

// parseURL returns the address of the operation that validates a token.
func parseURL(s string, allowHTTP bool) (string, error) {
	const field = "keystone-url"
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", tidewaiter.InvalidField(field, "is no address; give one such as https://keystone.example.com:5000/v3")
	case u.User != nil:
		return "", tidewaiter.InvalidField(field, "holds user information; remove it, tokens validate themselves")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", tidewaiter.InvalidField(field, "has a query or a fragment; remove it")
	case u.Scheme == "http" && !allowHTTP && !loopback(u.Hostname()):
		return "", tidewaiter.InvalidField(field, "would send tokens in the clear; use https")
	}
	base := strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/v3")
	return base + "/v3/auth/tokens?nocatalog", nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func readPool(file string) (*x509.CertPool, error) {
	const field = "keystone-ca"
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, &tidewaiter.Error{Kind: tidewaiter.Invalid, Field: field, Message: "cannot be read", Err: err}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, tidewaiter.InvalidField(field, "holds no PEM certificate")
	}
	return pool, nil
}

// AuthenticateToken returns whose token it is. Its errors are of kind
// [tidewaiter.Unauthenticated] if Keystone does not know the token, or of kind
// [tidewaiter.Unavailable] if Keystone cannot be asked; none repeats the token.
// Do not change the Validated, it is shared.
func (c *Client) AuthenticateToken(ctx context.Context, token string) (*Validated, error) {
	if !wellFormed(token) {
		return nil, unknownToken()
	}
	k := key(sha256.Sum256([]byte(token)))
	if e, ok := c.cache.get(k, c.now()); ok {
		return e.validated, e.err()
	}
	// One question for all who hold the same token. It goes on when one of
	// them leaves.
	answer := c.flights.DoChan(string(k[:]), func() (any, error) {
		return c.validate(context.WithoutCancel(ctx), k, token)
	})
	select {
	case r := <-answer:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Validated), nil
	case <-ctx.Done():
		return nil, tidewaiter.Wrap(tidewaiter.Unavailable, ctx.Err(), "the request ended before Keystone answered")
	}
}

// wellFormed tells whether a token can be one: visible ASCII that fits a header.
func wellFormed(token string) bool {
	if token == "" || len(token) > maxToken {
		return false
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return false
		}
	}
	return true
}

func unknownToken() error {
	return tidewaiter.Errorf(tidewaiter.Unauthenticated, "the token is unknown, expired or revoked; request a new one from Keystone")
}

// validate asks Keystone, and keeps what it is sure of.
func (c *Client) validate(ctx context.Context, k key, token string) (*Validated, error) {
	// From before the question, so that no entry outlives its time.
	now := c.now()
	v, err := c.ask(ctx, token)
	if err == nil && !v.Expires.After(c.now()) {
		v, err = nil, unknownToken()
	}
	switch {
	case err == nil:
		until := now.Add(c.ttl)
		if v.Expires.Before(until) {
			until = v.Expires
		}
		c.cache.put(k, entry{validated: v, until: until}, now)
	case tidewaiter.KindOf(err) == tidewaiter.Unauthenticated:
		c.cache.put(k, entry{until: now.Add(min(c.ttl, negativeTTL))}, now)
	}
	return v, err
}

// ask sends one question.
func (c *Client) ask(ctx context.Context, token string) (*Validated, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.endpoint, nil)
	if err != nil {
		return nil, fmt.Errorf("ask keystone: %w", err)
	}
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("X-Subject-Token", token)
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unavailable(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusNotFound:
		return nil, unknownToken()
	case http.StatusForbidden:
		return nil, unavailable(errors.New("status 403: its policy does not let a token validate itself"))
	default:
		return nil, unavailable(fmt.Errorf("status %d", resp.StatusCode))
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, unavailable(err)
	}
	if len(raw) > maxAnswer {
		return nil, unavailable(fmt.Errorf("an answer of more than %d bytes", maxAnswer))
	}
	return c.parse(raw)
}

func unavailable(cause error) error {
	return tidewaiter.Wrap(tidewaiter.Unavailable, cause, "Keystone cannot say whose token it is; try again later")
}

// answer is the part of Keystone's answer that matters here.
type answer struct {
	Token struct {
		ExpiresAt time.Time `json:"expires_at"`
		User      struct {
			ID     string `json:"id"`
			Name   string `json:"name"`
			Domain domain `json:"domain"`
		} `json:"user"`
		Project struct {
			ID     string `json:"id"`
			Name   string `json:"name"`
			Domain domain `json:"domain"`
		} `json:"project"`
		Roles []struct {
			Name string `json:"name"`
		} `json:"roles"`
	} `json:"token"`
}

type domain struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// parse reads an answer. One without a user or an end is no answer.
func (c *Client) parse(raw []byte) (*Validated, error) {
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, unavailable(errors.New("an answer that is not the JSON of a token"))
	}
	t := a.Token
	if t.User.ID == "" || t.ExpiresAt.IsZero() {
		return nil, unavailable(errors.New("an answer without a user or without an expiry"))
	}
	v := &Validated{
		UserID: t.User.ID, UserName: t.User.Name,
		DomainID: t.User.Domain.ID, DomainName: t.User.Domain.Name,
		ProjectID: t.Project.ID, ProjectName: t.Project.Name, ProjectDomainID: t.Project.Domain.ID,
		Expires: t.ExpiresAt,
	}
	for _, r := range t.Roles {
		name := r.Name
		if ours, ok := c.roles[name]; ok {
			name = ours
		}
		v.Roles = append(v.Roles, name)
	}
	return v, nil
}
