package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// newTransport returns the one way out: the guard's dialler, the registry's
// authorities, its proxy. The environment's proxy settings are not read: they
// are for the caller to put into the configuration.
func newTransport(c Config, o Options) (*http.Transport, *guard, error) {
	origin := c.Origin()
	g := &guard{registry: origin.hostport(), resolver: o.Resolver}
	if _, _, ok := c.AccessKey(); ok {
		if api, err := c.SWRAPI(); err == nil {
			g.api = api.hostport()
		}
	}
	proxy, err := proxyURL(c.Proxy)
	if err != nil {
		return nil, nil, err
	}
	config, err := TLSConfig(c, o)
	if err != nil {
		return nil, nil, err
	}
	t := &http.Transport{
		DialContext:            g.dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    20 * time.Second,
		ResponseHeaderTimeout:  o.Timeout,
		MaxResponseHeaderBytes: 256 << 10,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // a page that unpacks to a million is cheap to send
	}
	if proxy != nil {
		at, _ := originOf(proxy)
		g.proxy = at.hostport()
		t.Proxy = http.ProxyURL(proxy)
		t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
			if res.StatusCode == http.StatusOK {
				return nil
			}
			return proxyRefused(res.StatusCode)
		}
	}
	return t, g, nil
}

// TLSConfig returns how the registry's certificate is judged. Errors are of
// kind Invalid and name the field.
func TLSConfig(c Config, o Options) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            o.Roots,
		InsecureSkipVerify: c.SkipTLSVerify, //nolint:gosec // the user asked for it, for this registry, and is warned
	}
	if len(c.CA) == 0 {
		return config, nil
	}
	if o.Roots != nil {
		config.RootCAs = o.Roots.Clone()
	} else if pool, err := x509.SystemCertPool(); err == nil {
		config.RootCAs = pool
	} else {
		config.RootCAs = x509.NewCertPool()
	}
	if !config.RootCAs.AppendCertsFromPEM(c.CA) {
		return nil, tidewaiter.InvalidField("ca", "holds no certificate; give one or several in PEM form, each with its BEGIN CERTIFICATE line")
	}
	return config, nil
}

// proxyURL reads the address of a proxy, nil for none.
func proxyURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		// Not wrapped: the text of a URL's error is the URL, password and all.
		return nil, tidewaiter.InvalidField("proxy", "is no address of a proxy; write http://host:port")
	}
	return u, nil
}

// proxyRefused is the error of a proxy that does not let us through.
func proxyRefused(status int) error {
	message := "the proxy does not connect us to the registry; allow the registry's host and port in the proxy's rules"
	if status == http.StatusProxyAuthRequired {
		message = "the proxy wants a user and a password, or does not accept those given; write them into the proxy's address"
	}
	return tidewaiter.Wrap(tidewaiter.Unavailable, &Failure{Reason: ReasonProxy, Status: status}, "%s", message)
}
