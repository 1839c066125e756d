//go:build linux

package e2e

import (
	"strings"
	"testing"
)

// Both the registry and the server are behind a forward proxy that wants a
// password: names stand for them that only the proxy can resolve.
func TestForwardProxyToRegistryAndServer(t *testing.T) {
	t.Parallel()
	p := startForwardProxy(t, "carol", proxyPassword)
	a := &attached{way: newRelay(t), name: "proxied"}
	a.server = startAlone(t, a.way, "--sync-at", "off")
	a.reg = startRegistry(t, registryOptions{User: attachedUser, Password: attachedPassword, TLS: true})
	want := a.reg.fill(t)

	start := a.cluster(t, a.way, "create", "office")
	a.clusterID = start.ID
	named := strings.Replace(a.way.URL, "127.0.0.1", serverName, 1)
	a.component = startComponent(t, a.way, start.Token, "TIDEWAITER_SERVER="+named, "HTTPS_PROXY="+p.URL())
	a.awaitComponents(t, a.clusterID, 1)

	body := a.reg.connection(a.name, a.clusterID)
	body.RegistryAddr = strings.Replace(a.reg.Addr, "127.0.0.1", registryName, 1)
	a.id = a.addRegistry(t, body)
	if reason := a.awaitRegistry(t, a.id, "fail"); reason != "REQUEST_API_ERROR" {
		t.Errorf("without the proxy the reason is %s", reason)
	}
	a.set(t, a.id, settings{"ca": a.reg.CA.PEM, "proxy": "http://carol:wr0ng@" + p.Addr})
	a.awaitRegistry(t, a.id, "fail")
	if step, message := a.test(t, a.id).failed(); !strings.Contains(message, "proxy") || strings.Contains(message, "wr0ng") {
		t.Errorf("with a wrong password for the proxy step %q says %q", step, message)
	}
	a.set(t, a.id, settings{"proxy": p.URL()})
	a.awaitRegistry(t, a.id, "success")
	if check := a.test(t, a.id); !check.OK {
		t.Errorf("%+v", check)
	}
	a.sync(t, a.id)
	a.compare(t, a.name, want)

	// Squid writes a line when a connection has ended.
	a.component.Kill()
	a.reg.Stop()
	if err := p.until("done with the connections", func() bool {
		return p.Carried(t, body.RegistryAddr) > 0 && p.Carried(t, strings.TrimPrefix(named, "https://")) > 0
	}); err != nil {
		t.Errorf("%v\n%s", err, strings.Join(p.Log(t), "\n"))
	}
}
