package component

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/tidewaiter/tidewaiter"
)

// PushOptions say where [Push] pushes to, and as whom.
type PushOptions struct {
	// Address is where the registry is. It is spoken to in https, or, if the
	// address begins with http://, in plain http, and never in the other.
	Address   tidewaiter.RegistryAddress
	Namespace tidewaiter.Namespace // the path below which the image goes
	Username  string               // "" to push without credentials
	Password  string
	// TokenHosts are other hosts (host or host:port, https) that may see the
	// credentials, for registries whose tokens come from elsewhere.
	TokenHosts []string
	// Transport is what connections are made with, for private CAs and
	// proxies. nil stands for [http.DefaultTransport].
	Transport http.RoundTripper
}

// PushResult says what [Push] pushed.
type PushResult struct {
	Reference string   // host/namespace/scan-component@sha256:...
	Digest    v1.Hash  // of the index: the same as on this server
	Tags      []string // all tags that were set, signatures included
}

// Push pushes all platforms as one index, under the tags VERSION and
// VERSION-ARCHITECTURE, and with a key the signatures. Digests stay what they
// are here.
//
// Errors are of kind [tidewaiter.Invalid] (the address or the namespace),
// [tidewaiter.Unauthenticated] or [tidewaiter.Forbidden] (what the registry
// said, or credentials that would go to a third host), or
// [tidewaiter.Unavailable]. None shows the password.
func Push(ctx context.Context, b *Bundle, key *SigningKey, opts PushOptions) (PushResult, error) {
	target, err := pushTarget(opts)
	if err != nil {
		return PushResult{}, err
	}
	contents, err := newRepository(b, key)
	if err != nil {
		return PushResult{}, err
	}
	pusher, err := remote.NewPusher(
		remote.WithAuth(credentials(opts)),
		remote.WithTransport(newGuard(target, opts)),
		remote.WithUserAgent("tidewaiter/"+tidewaiter.Version),
	)
	if err != nil {
		return PushResult{}, fmt.Errorf("prepare push: %w", err)
	}
	// The index first: it brings the images that the other tags name.
	tags := contents.tagNames()
	slices.SortStableFunc(tags, func(x, y string) int {
		switch b.version {
		case x:
			return -1
		case y:
			return 1
		}
		return 0
	})
	for _, tag := range tags {
		digest := contents.tags[tag]
		var what remote.Taggable = contents.index(digest)
		if digest != b.index.Digest {
			if what, err = contents.image(digest); err != nil {
				return PushResult{}, err
			}
		}
		if err := pusher.Push(ctx, target.Tag(tag), what); err != nil {
			return PushResult{}, pushError(ctx, tag, err, opts)
		}
	}
	return PushResult{Reference: target.Digest(b.index.Digest.String()).String(), Digest: b.index.Digest, Tags: tags}, nil
}

// pushTarget is the repository to push to.
func pushTarget(opts PushOptions) (name.Repository, error) {
	options := []name.Option{name.StrictValidation}
	if opts.Address.Scheme == "http" {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(opts.Address.String(), options...)
	if err != nil || opts.Address.Host == "" {
		return name.Repository{}, tidewaiter.InvalidField("registry", "must be a host, or a host and a port, such as registry.example.com:5000")
	}
	if opts.Namespace == "" {
		return name.Repository{}, tidewaiter.InvalidField("namespace", "is empty; give the path below which the image goes")
	}
	return registry.Repo(string(opts.Namespace), ImageName), nil
}

// credentials never looks anywhere else: neither docker's configuration nor
// the environment has a say.
func credentials(opts PushOptions) authn.Authenticator {
	if opts.Username == "" {
		return authn.Anonymous
	}
	return &authn.Basic{Username: opts.Username, Password: opts.Password}
}

// A guard binds the credentials to the registry's exact scheme, host and port.
type guard struct {
	inner      http.RoundTripper
	scheme     string
	host       string
	tokenHosts []string
}

var _ http.RoundTripper = (*guard)(nil)

func newGuard(target name.Repository, opts PushOptions) *guard {
	g := &guard{inner: opts.Transport, scheme: "https", host: target.RegistryStr(), tokenHosts: opts.TokenHosts}
	if opts.Address.Scheme == "http" {
		g.scheme = "http"
	}
	if g.inner == nil {
		g.inner = http.DefaultTransport
	}
	return g
}

// RoundTrip implements [http.RoundTripper]. It refuses a scheme that was not
// asked for, which the client would otherwise try at private addresses, and
// credentials for another host, where a registry's token service may be.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	home := sameHost(r.URL, g.scheme, g.host)
	switch {
	case g.scheme == "https" && r.URL.Scheme != "https":
		return nil, tidewaiter.Errorf(tidewaiter.Unavailable, "the registry does not speak https; write http:// before its address to use plain http")
	case g.scheme == "http" && r.URL.Scheme == "https" && r.URL.Host == g.host:
		return nil, tidewaiter.Errorf(tidewaiter.Unavailable, "the registry was to be spoken to in plain http")
	case home || r.Header.Get("Authorization") == "":
		return g.inner.RoundTrip(r)
	}
	token := slices.ContainsFunc(g.tokenHosts, func(host string) bool { return sameHost(r.URL, "https", host) })
	if !token {
		return nil, tidewaiter.Errorf(tidewaiter.Forbidden, "the registry wants the credentials sent to another host, %q; name it as a token host if that is right", r.URL.Host)
	}
	return g.inner.RoundTrip(r)
}

// sameHost compares scheme, host and port, a missing port being the scheme's.
func sameHost(u *url.URL, scheme, host string) bool {
	other := &url.URL{Scheme: scheme, Host: host}
	return u.Scheme == scheme && strings.EqualFold(u.Hostname(), other.Hostname()) && port(u) == port(other)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// pushError says what went wrong, in terms of the person who pushes.
func pushError(ctx context.Context, tag string, err error, opts PushOptions) error {
	if ctx.Err() != nil {
		return fmt.Errorf("push tag %q: %w", tag, context.Cause(ctx))
	}
	cause := redacted{err.Error(), opts}
	if guarded, ok := errors.AsType[*tidewaiter.Error](err); ok {
		return guarded
	}
	answer, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return tidewaiter.Wrap(tidewaiter.Unavailable, cause, "the registry could not be reached")
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		return tidewaiter.Wrap(tidewaiter.Unauthenticated, cause, "the registry refused the user name or the password")
	case http.StatusForbidden:
		return tidewaiter.Wrap(tidewaiter.Forbidden, cause, "the registry does not let this user push to this namespace")
	case http.StatusTooManyRequests:
		return tidewaiter.Wrap(tidewaiter.Throttled, cause, "the registry asks to slow down")
	}
	return tidewaiter.Wrap(tidewaiter.Unavailable, cause, "the registry refused the push")
}

// redacted is the text of an error without the password. Registries have been
// seen to repeat what they were sent.
type redacted struct {
	text string
	opts PushOptions
}

// Error implements error.
func (r redacted) Error() string {
	text := r.text
	if r.opts.Password == "" {
		return text
	}
	pair := r.opts.Username + ":" + r.opts.Password
	for _, secret := range []string{
		base64.StdEncoding.EncodeToString([]byte(pair)),
		url.QueryEscape(r.opts.Password), url.PathEscape(r.opts.Password),
		strings.Trim(fmt.Sprintf("%q", r.opts.Password), `"`), r.opts.Password,
	} {
		text = strings.ReplaceAll(text, secret, "[password]")
	}
	return text
}
