package seal

import (
	"net"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// Origin returns what the secrets of a registry are bound to: scheme://host:port,
// in lower case, the port always written. The protocol wins over a scheme in
// the address; without either it is https. Errors are of kind
// [tidewaiter.Invalid] and name registry_addr or protocol.
func Origin(protocol, address string) (string, error) {
	a, err := tidewaiter.ParseRegistryAddress(address)
	if err != nil {
		return "", err
	}
	scheme, port := protocol, a.Port
	if scheme == "" {
		scheme = a.Scheme
	}
	standard := ""
	switch scheme {
	case "http":
		standard = "80"
	case "https", "":
		scheme, standard = "https", "443"
	default:
		return "", tidewaiter.InvalidField("protocol", "is neither http nor https")
	}
	if port == "" {
		port = standard
	}
	return scheme + "://" + net.JoinHostPort(strings.ToLower(strings.Trim(a.Host, "[]")), port), nil
}
