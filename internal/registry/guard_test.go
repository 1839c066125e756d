package registry

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

func TestCheckAddress(t *testing.T) {
	for address, ok := range map[string]bool{
		"93.184.216.34": true, "10.0.0.1": true, "192.168.1.1": true, "127.0.0.1": true, "::1": true, "fd12::1": true, "2606:2800:220:1::1": true,
		"169.254.169.254": false, "169.254.0.1": false, "100.100.100.200": false, "fd00:ec2::254": false, "0.0.0.0": false, "0.1.2.3": false, "::": false,
		"::ffff:169.254.169.254": false, "::ffff:0.0.0.0": false, "::169.254.169.254": false, "64:ff9b::a9fe:a9fe": false, "2002:a9fe:a9fe::1": false,
		"fe80::1": false, "fe80::a9fe:a9fe%eth0": false, "224.0.0.1": false, "255.255.255.255": false, "ff02::1": false,
	} {
		err := checkAddress(netip.MustParseAddr(address))
		if (err == nil) != ok {
			t.Errorf("%s: %v, want ok %v", address, err, ok)
		}
		if err != nil && ReasonOf(err) != ReasonAddress {
			t.Errorf("%s: reason %q", address, ReasonOf(err))
		}
	}
}

// resolver answers every question about A with the addresses in turn.
func resolver(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	n := 0
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			for {
				head := make([]byte, 2)
				if _, err := io.ReadFull(theirs, head); err != nil {
					return
				}
				q := make([]byte, binary.BigEndian.Uint16(head))
				if _, err := io.ReadFull(theirs, q); err != nil {
					return
				}
				end := 12 // of the question: name, type, class
				for q[end] != 0 {
					end += int(q[end]) + 1
				}
				isA := binary.BigEndian.Uint16(q[end+1:]) == 1
				end += 5
				answer := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
				if isA {
					answer[7] = 1
					ip := netip.MustParseAddr(addresses[min(n, len(addresses)-1)]).As4()
					n++
					answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ip[0], ip[1], ip[2], ip[3])
				}
				if _, err := theirs.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
					return
				}
			}
		}()
		return ours, nil
	}}
}

// A name that stood for a good address when it was first looked up and for a
// metadata service afterwards is not dialled: what counts is the address that
// the connection would go to.
func TestRebinding(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	at := "registry.test:" + port
	g := &guard{registry: at, resolver: resolver(t, "127.0.0.1", "169.254.169.254")}
	conn, err := g.dial(t.Context(), "tcp", at)
	if err != nil {
		t.Fatalf("first: %v", err)
	}
	conn.Close()
	if _, err = g.dial(t.Context(), "tcp", at); ReasonOf(networkError(err, Origin{})) != ReasonAddress {
		t.Errorf("after the name moved: %v", err)
	}
}

// Bad input 14: another host may be private only if the registry is.
func TestPrivateNeighbours(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := &guard{registry: "registry.test:443"}
	if _, err := g.dial(t.Context(), "tcp", l.Addr().String()); ReasonOf(networkError(err, Origin{})) != ReasonAddress {
		t.Errorf("private neighbour of a public registry: %v", err)
	}
	g.private.Store(true)
	conn, err := g.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("private neighbour of a private registry: %v", err)
	}
	conn.Close()
	proxied := &guard{registry: "93.184.216.34:443", proxy: "127.0.0.1:3128"}
	for host, ok := range map[string]bool{"10.0.0.1": false, "127.0.0.1": false, "93.184.216.35": true, "store.example.com": true, "169.254.169.254": false} {
		if err := proxied.checkURLHost(Origin{"https", host, "443"}); (err == nil) != ok {
			t.Errorf("through a proxy to %s: %v, want ok %v", host, err, ok)
		}
	}
}

func TestOrigin(t *testing.T) {
	for s, want := range map[string]string{
		"example.com": "https://example.com", "EXAMPLE.com:443": "https://example.com", "example.com:444": "https://example.com:444",
		"[::1]:5000": "https://[::1]:5000", "[::1]": "https://[::1]", "10.0.0.1": "https://10.0.0.1",
	} {
		o, err := hostOrigin(s)
		if err != nil || o.String() != want {
			t.Errorf("%s: %s, %v, want %s", s, o, err, want)
		}
	}
	if _, err := hostOrigin("a/b"); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("a path: %v", err)
	}
}
