package registry

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// credential holds a user name and a password, knows to whom they may be
// shown, and keeps the tokens that were had for them.
//
// Basic goes to the registry's own origin only: scheme, host and port. The
// same is true of bearer tokens. A token service gets the credential if it
// stands on that origin or if the configuration lists its host; it must be
// https if the registry is, and must not redirect.
type credential struct {
	username, password string
	registry           Origin
	services           []Origin // https or http as the registry; see allowed
	now                func() time.Time

	mu     sync.Mutex
	basic  bool             // the registry asked for Basic
	tokens map[string]token // by scope
}

type token struct {
	value   string
	expires time.Time
}

// maxTokens bounds what is kept: tokens are per repository.
const maxTokens = 1000

func newCredential(c Config, now func() time.Time) (*credential, error) {
	username, password := c.login()
	cred := &credential{
		username: username, password: password, now: now,
		registry: c.Origin(),
		tokens:   make(map[string]token),
	}
	if strings.Contains(c.Username, ":") {
		return nil, tidewaiter.InvalidField("registry_username", "has a colon, which basic authentication cannot carry; use a user without it")
	}
	for _, host := range c.TokenHosts {
		o, err := hostOrigin(host)
		if err != nil {
			return nil, tidewaiter.InvalidField("token_hosts", "has an entry that is no host or host:port; write each as in auth.example.com")
		}
		cred.services = append(cred.services, o)
	}
	return cred, nil
}

// authorize adds what is known to be wanted for a scope. It does nothing for
// any origin but the registry's.
func (c *credential) authorize(r *http.Request, to Origin, scope string) {
	if to != c.registry {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.tokens[scope]; ok && c.now().Before(t.expires) {
		r.Header.Set("Authorization", "Bearer "+t.value)
	} else if c.basic && c.username != "" {
		r.SetBasicAuth(c.username, c.password)
	}
}

// answer reacts to a 401 of the registry to a request that held the header sent
// as its Authorization: it remembers that Basic is wanted, or fetches a token.
// Then the request may be sent once more.
func (c *credential) answer(ctx context.Context, challenges []Challenge, scope, sent string, send func(*http.Request) (*http.Response, error)) error {
	i := slices.IndexFunc(challenges, func(ch Challenge) bool { return ch.Scheme == "bearer" || ch.Scheme == "basic" })
	if i < 0 {
		return failure(tidewaiter.Unauthenticated, ReasonAnswer, "%s asks for a kind of authentication other than basic and bearer; check that it is a registry", c.registry)
	}
	if challenges[i].Scheme == "basic" {
		c.mu.Lock()
		defer c.mu.Unlock()
		if strings.HasPrefix(sent, "Basic ") || c.username == "" {
			return statusError(401, c.registry)
		}
		c.basic = true
		return nil
	}
	t, err := c.fetch(ctx, challenges[i], scope, send)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tokens) >= maxTokens {
		clear(c.tokens)
	}
	c.tokens[scope] = t
	return nil
}

// realm checks where a challenge sends us for a token.
func (c *credential) realm(ch Challenge) (*url.URL, Origin, error) {
	refuse := func(why string) (*url.URL, Origin, error) {
		return nil, Origin{}, failure(tidewaiter.Invalid, ReasonRealm, "%s names a token service %s; nothing was sent to it", c.registry, why)
	}
	u, err := url.Parse(ch.Parameters["realm"])
	if err != nil {
		return refuse("that is no URL")
	}
	o, ok := originOf(u)
	switch {
	case !ok || u.Opaque != "":
		return refuse("that is no http or https URL")
	case u.User != nil:
		return refuse("with user info in its URL")
	case o.Scheme == "http" && c.registry.Scheme == "https":
		return refuse("over plain http, while the registry speaks https")
	case o == c.registry || o.Scheme == "https" && slices.Contains(c.services, o):
	case o.Scheme == "http" && slices.Contains(c.services, httpsListed(o)):
	default:
		return refuse("on another host or port (" + display(o.hostport()) + "); if it belongs to this registry, add that host to the registry's token hosts")
	}
	u.Fragment = ""
	return u, o, nil
}

// httpsListed returns the listed form of a plain http origin: entries have no
// scheme, and are read as https.
func httpsListed(o Origin) Origin {
	if o.Port == "80" {
		o.Port = "443"
	}
	o.Scheme = "https"
	return o
}

// fetch gets a token (https://distribution.github.io/distribution/spec/auth/token/).
func (c *credential) fetch(ctx context.Context, ch Challenge, scope string, send func(*http.Request) (*http.Response, error)) (token, error) {
	u, at, err := c.realm(ch)
	if err != nil {
		return token{}, err
	}
	q := u.Query()
	if service := ch.Parameters["service"]; service != "" {
		q.Set("service", service)
	}
	if wanted := ch.Parameters["scope"]; wanted != "" {
		q.Set("scope", wanted)
	} else if scope != "" {
		q.Set("scope", scope)
	}
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return token{}, failure(tidewaiter.Invalid, ReasonRealm, "%s names a token service that is no URL; nothing was sent to it", c.registry)
	}
	if c.username != "" {
		r.SetBasicAuth(c.username, c.password)
	}
	res, err := send(r)
	if err != nil {
		return token{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read, or given up
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return token{}, failure(tidewaiter.Invalid, ReasonRealm, "the token service %s redirects, which a service that is given a password must not", at)
	case res.StatusCode != http.StatusOK:
		return token{}, statusError(res.StatusCode, at)
	}
	return c.read(res.Body, at)
}

// read reads the answer of a token service.
func (c *credential) read(body io.Reader, at Origin) (token, error) {
	b, err := io.ReadAll(io.LimitReader(body, maxToken+1))
	if err != nil {
		return token{}, networkError(err, at)
	}
	var answer struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	value := func() string {
		if answer.Token != "" {
			return answer.Token
		}
		return answer.AccessToken
	}
	// Not wrapped: the text of a JSON error may hold a part of the token.
	if len(b) > maxToken || json.Unmarshal(b, &answer) != nil || !isToken(value()) {
		return token{}, failure(tidewaiter.Invalid, ReasonAnswer, "the token service %s gives no token that can be used", at)
	}
	lifetime := time.Duration(min(max(answer.ExpiresIn, 60), 3600)) * time.Second
	return token{value: value(), expires: c.now().Add(lifetime * 9 / 10)}, nil
}

// isToken tells whether s can be sent in a header
// (https://www.rfc-editor.org/rfc/rfc6750#section-2.1, generously).
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
}

// display shortens what a registry said to something that may stand in a message.
func display(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return s
}
