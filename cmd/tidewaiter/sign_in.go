package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// named is how the API of tokens names things.
type named struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

type scope struct {
	Project *named `json:"project,omitempty"`
	Domain  *named `json:"domain,omitempty"`
}

// passwordLogin is the identity of a request for a token.
type passwordLogin struct {
	Methods  []string `json:"methods"`
	Password struct {
		User struct {
			Name     string `json:"name"`
			Password string `json:"password"`
			Domain   named  `json:"domain"`
		} `json:"user"`
	} `json:"password"`
}

func newPasswordLogin(user, domain, password string) passwordLogin {
	l := passwordLogin{Methods: []string{"password"}}
	l.Password.User.Name, l.Password.User.Password, l.Password.User.Domain.Name = user, password, domain
	return l
}

// obtainToken signs in, and returns a token and until when it is good.
func (c *adminClient) obtainToken(ctx context.Context, login passwordLogin, s scope) (token string, expires time.Time, err error) {
	var in struct {
		Auth struct {
			Identity passwordLogin `json:"identity"`
			Scope    scope         `json:"scope"`
		} `json:"auth"`
	}
	in.Auth.Identity, in.Auth.Scope = login, s
	body, err := json.Marshal(in)
	if err != nil {
		return "", expires, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+"/v3/auth/tokens?nocatalog=1", bytes.NewReader(body))
	if err != nil {
		return "", expires, wrongConfig("server", "it is no URL; use one such as https://tidewaiter.example.com")
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.HTTP.Do(r)
	if err != nil {
		return "", expires, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read as far as needed
	var out struct {
		Msg   string `json:"error_msg"`
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
		Token struct {
			ExpiresAt time.Time `json:"expires_at"`
		} `json:"token"`
	}
	decodeErr := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&out)
	token = resp.Header.Get("X-Subject-Token")
	switch {
	case resp.StatusCode == http.StatusCreated && decodeErr == nil && token != "":
		return token, out.Token.ExpiresAt, nil
	case decodeErr == nil && out.Msg != "":
		return "", expires, errors.New(out.Msg)
	case decodeErr == nil && out.Error.Message != "":
		return "", expires, errors.New(out.Error.Message)
	}
	return "", expires, fmt.Errorf("the server answered %s, and not in the form of Tidewaiter; check its URL", resp.Status)
}

// ofAccount are the paths whose operations belong to an account, and not to one of
// its projects.
func ofAccount() []string {
	const own = "/tidewaiter/v1/"
	return []string{"/v3/", own + "users", own + "projects", own + "enterprise-projects", own + "policies", own + "grants", own + "access-keys", own + "advisories"}
}

// changesLocal tells a change of the cluster local, which all projects use.
func changesLocal(method, path string) bool {
	const local = "/tidewaiter/v1/clusters/" + tidewaiter.LocalClusterID
	return method != http.MethodGet && (path == local || strings.HasPrefix(path, local+"/"))
}

// tokenTransport proves who is calling with tokens: that of the account where the
// operation belongs to it, else that of the project.
type tokenTransport struct {
	domain, project string
	next            http.RoundTripper
}

func (t tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	token := t.project
	switch {
	case changesLocal(r.Method, r.URL.Path):
		token = t.domain
		query := r.URL.Query()
		query.Del("project_id") // which the token has no part in
		r.URL.RawQuery = query.Encode()
	case slices.ContainsFunc(ofAccount(), func(path string) bool { return strings.HasPrefix(r.URL.Path, path) }):
		token = t.domain
	}
	r.Header.Set("X-Auth-Token", token)
	return t.next.RoundTrip(r)
}

// clientOf returns a client of a context's server.
func (p *program) clientOf(name string, saved *savedContext) (*adminClient, error) {
	if err := saved.signedIn(name, time.Now()); err != nil {
		return nil, err
	}
	transport, err := newTransport(saved.CA)
	if err != nil {
		return nil, err
	}
	var signs http.RoundTripper = tokenTransport{domain: saved.DomainToken, project: saved.Token, next: transport}
	if saved.AccessKey != "" {
		signs = signingTransport{accessKey: saved.AccessKey, secretKey: saved.SecretKey, next: transport}
	}
	c := newRemoteClient(saved.Server, signs, saved.ProjectID)
	c.project = saved.ProjectID
	return c, nil
}
