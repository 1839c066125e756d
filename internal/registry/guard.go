package registry

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/tidewaiter/tidewaiter"
)

// guard decides which addresses are dialled, after names have been resolved,
// so that what a name stood for when it was checked does not matter.
//
// Nobody is sent to a metadata service of a cloud. The registry itself may be
// anywhere else: private addresses and loopback are what it is for. Another
// host (token service, blob store) may be private only if the registry is.
type guard struct {
	registry string // host:port
	api      string // host:port of SWR's API, or "": as good as the registry
	proxy    string // host:port, or ""
	resolver *net.Resolver
	private  atomic.Bool // the registry was last reached at a private address
}

// dial is http.Transport.DialContext.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	own := strings.EqualFold(address, g.registry) || strings.EqualFold(address, g.api)
	proxy := g.proxy != "" && strings.EqualFold(address, g.proxy)
	d := &net.Dialer{Resolver: g.resolver, Control: func(_, resolved string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return refuse("an address that cannot be read")
		}
		if err := checkAddress(to.Addr()); err != nil {
			return err
		}
		switch {
		case own:
			g.private.Store(isPrivate(to.Addr()))
		case !proxy && isPrivate(to.Addr()) && !g.private.Load():
			return refuse("a private address, while the registry itself has a public one")
		}
		return nil
	}}
	return d.DialContext(ctx, network, address)
}

// checkURLHost refuses what is known to be wrong before any name is resolved:
// all that can be checked when a proxy resolves the names.
func (g *guard) checkURLHost(o Origin) error {
	switch strings.TrimSuffix(o.Host, ".") {
	case "metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal":
		return refuse("a metadata service")
	}
	ip, err := netip.ParseAddr(o.Host)
	if err != nil {
		return nil // a name
	}
	if err := checkAddress(ip); err != nil {
		return err
	}
	if own := o.hostport() == g.registry || o.hostport() == g.api; !own && g.proxy != "" && isPrivate(ip) {
		registry, _, _ := net.SplitHostPort(g.registry)
		if at, err := netip.ParseAddr(registry); err == nil && !isPrivate(at) {
			return refuse("a private address, while the registry itself has a public one")
		}
	}
	return nil
}

// checkAddress refuses metadata services and addresses that are nobody's.
func checkAddress(ip netip.Addr) error {
	ip = embedded(ip.WithZone("").Unmap())
	switch {
	case ip.IsUnspecified() || ip.Is4() && ip.As4()[0] == 0:
		return refuse("an unspecified address")
	case ip.IsLinkLocalUnicast() && ip.Is4(),
		ip == netip.MustParseAddr("100.100.100.200"),
		ip == netip.MustParseAddr("fd00:ec2::254"):
		return refuse("the address of a metadata service")
	case ip.IsLinkLocalUnicast():
		return refuse("a link-local address")
	case ip.IsMulticast() || ip == netip.MustParseAddr("255.255.255.255"):
		return refuse("an address of many machines")
	}
	return nil
}

// embedded returns the IPv4 address inside an IPv6 one that a gateway would
// turn into it: IPv4-compatible (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
func embedded(ip netip.Addr) netip.Addr {
	if !ip.Is6() {
		return ip
	}
	b := ip.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(ip),
		netip.MustParsePrefix("::/96").Contains(ip) && !ip.IsLoopback() && !ip.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:16]))
	case netip.MustParsePrefix("2002::/16").Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return ip
}

// isPrivate tells addresses of a site from those of the Internet.
func isPrivate(ip netip.Addr) bool {
	ip = embedded(ip.Unmap())
	return ip.IsPrivate() || ip.IsLoopback() || netip.MustParsePrefix("100.64.0.0/10").Contains(ip)
}

// refuse is the error of an address that is not dialled.
func refuse(what string) error {
	return failure(tidewaiter.Invalid, ReasonAddress, "the registry sends us to %s; that is never dialled, check the registry's address and its configuration", what)
}
