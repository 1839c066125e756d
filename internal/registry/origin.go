package registry

import (
	"net"
	"net/url"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// Origin is what a credential is bound to: scheme, host and port, all three.
type Origin struct {
	Scheme string // "http" or "https"
	Host   string // lower case, no brackets
	Port   string // never ""
}

// originOf returns the origin of a URL. Other schemes than http and https have none.
func originOf(u *url.URL) (Origin, bool) {
	o := Origin{Scheme: strings.ToLower(u.Scheme), Host: strings.ToLower(u.Hostname()), Port: u.Port()}
	if o.Port == "" {
		o.Port = defaultPort(o.Scheme)
	}
	return o, o.Host != "" && o.Port != ""
}

// hostOrigin returns the https origin of host or host:port.
func hostOrigin(hostport string) (Origin, error) {
	a, err := tidewaiter.ParseRegistryAddress(hostport)
	if err != nil {
		return Origin{}, err
	}
	return addressOrigin("https", a), nil
}

func addressOrigin(scheme string, a tidewaiter.RegistryAddress) Origin {
	o := Origin{Scheme: scheme, Host: strings.ToLower(strings.Trim(a.Host, "[]")), Port: a.Port}
	if o.Port == "" {
		o.Port = defaultPort(scheme)
	}
	return o
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// hostport returns host:port as the dialler gets it.
func (o Origin) hostport() string { return net.JoinHostPort(o.Host, o.Port) }

// URL returns the root of the origin.
func (o Origin) URL() *url.URL {
	host := o.hostport()
	if o.Port == defaultPort(o.Scheme) {
		host = o.Host
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
	}
	return &url.URL{Scheme: o.Scheme, Host: host, Path: "/"}
}

// String returns scheme://host or scheme://host:port.
func (o Origin) String() string { return strings.TrimSuffix(o.URL().String(), "/") }
