package access_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/access"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/all"
	"github.com/tidewaiter/tidewaiter/internal/registry/registrytest"
)

// want is what a check must find: the steps' outcome, one letter each (o, f,
// s), the reason, and words of the message of the failed step.
func want(t *testing.T, r access.Report, steps string, reason access.FailReason, words ...string) {
	t.Helper()
	got, message := "", ""
	for _, s := range r.Steps {
		got += string(s.Status[0])
		if s.Status == access.Failed {
			message = s.Message
		}
		if strings.Contains(s.Message, registrytest.Password) {
			t.Errorf("step %s tells the password", s.Name)
		}
	}
	if got != steps || r.FailReason != reason || r.OK() != (reason == "") {
		t.Errorf("steps %s, reason %q, want %s, %q: %+v", got, r.FailReason, steps, reason, r.Steps)
	}
	for _, w := range words {
		if !strings.Contains(message, w) {
			t.Errorf("message %q, want %q in it", message, w)
		}
	}
}

func content() map[string][]string { return map[string][]string{"team/app": {"v1"}} }

func TestGood(t *testing.T) {
	for name, f := range map[string]*registrytest.Fake{
		"basic": registrytest.NewOCI(t, content(), false), "bearer": registrytest.NewOCI(t, content(), true),
		"harbor": registrytest.NewHarbor(t, content(), "V2"), "artifactory": registrytest.NewArtifactory(t, content()),
		"swr": registrytest.NewSWR(t, content(), registry.SwrPrivate),
	} {
		r := access.Check(t.Context(), f.Config(), all.New, registry.Options{})
		want(t, r, "sooooo", "")
		if len(r.Warnings) > 0 || r.Steps[2].Duration <= 0 || r.Steps[5].Duration <= 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestEmpty(t *testing.T) {
	f := registrytest.NewOCI(t, nil, false)
	want(t, access.Check(t.Context(), f.Config(), all.New, registry.Options{}), "soooos", "")
}

func TestCertificates(t *testing.T) {
	f := registrytest.NewOCI(t, content(), false)
	c := f.Config()
	c.CA = nil
	o := registry.Options{Roots: x509.NewCertPool()}
	want(t, access.Check(t.Context(), c, all.New, o), "sofsss", access.RequestAPIError, "Acme Co", "CA bundle")

	c.SkipTLSVerify = true
	r := access.Check(t.Context(), c, all.New, o)
	want(t, r, "sooooo", "")
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "not verified") {
		t.Errorf("warnings %q", r.Warnings)
	}

	want(t, check(t, certified(t, "other.example.com", time.Hour)), "sofsss", access.RequestAPIError, "other.example.com")
	want(t, check(t, certified(t, "127.0.0.1", -time.Hour)), "sofsss", access.RequestAPIError, "expired on", "clock")
}

// certified starts a registry with a certificate of its own.
func certified(t *testing.T, name string, validFor time.Duration) registry.Config {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(validFor), IsCA: true, BasicConstraintsValid: true}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	c := config(t, s.Listener.Addr().String(), "https")
	c.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return c
}

func config(t *testing.T, address, protocol string) registry.Config {
	t.Helper()
	a, err := tidewaiter.ParseRegistryAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	return registry.Config{Type: registry.Other, Protocol: protocol, Address: a, Username: registrytest.Username, Password: registrytest.Password}
}

func check(t *testing.T, c registry.Config) access.Report {
	t.Helper()
	return access.Check(t.Context(), c, all.New, registry.Options{})
}

func TestProtocols(t *testing.T) {
	f := registrytest.NewOCI(t, content(), false)
	c := f.Config()
	c.Protocol = "http"
	want(t, check(t, c), "sosfss", access.RequestAPIError, "https")
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	want(t, check(t, config(t, plain.Listener.Addr().String(), "https")), "sofsss", access.RequestAPIError, "plain http", "protocol to http")
	r := check(t, config(t, plain.Listener.Addr().String(), "http"))
	want(t, r, "sosfss", access.RequestAPIError, "no such thing")
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "plain http") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func TestConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nothing listens here now
	want(t, check(t, config(t, l.Addr().String(), "https")), "sfssss", access.RequestAPIError, "nothing listens")
	want(t, check(t, config(t, "169.254.169.254", "http")), "sfssss", access.RequestAPIError, "never dialled")

	unknown := registry.Options{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { // NXDOMAIN to whatever is asked
			b := make([]byte, 600)
			n, err := theirs.Read(b)
			if err == nil && n == 2 {
				_, _ = theirs.Read(b[2:])
			}
			b[2+2], b[2+3] = 0x81, 0x83
			b[2+11] = 0 // no additional records: what follows the question is cut off
			end := 2 + 12
			for b[end] != 0 {
				end += int(b[end]) + 1
			}
			end += 5
			b[0], b[1] = 0, byte(end-2)
			_, _ = theirs.Write(b[:end])
		}()
		return ours, nil
	}}}
	r := access.Check(t.Context(), config(t, "registry.example.com", "https"), all.New, unknown)
	want(t, r, "fsssss", access.RequestAPIError, "DNS", "spelling")
}

func TestCredentials(t *testing.T) {
	f := registrytest.NewOCI(t, content(), false)
	c := f.Config()
	c.Password = "wrong"
	want(t, check(t, c), "soofss", access.RequestAPIError, "user name or the password")
	h := registrytest.NewHarbor(t, content(), "V2")
	h.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	want(t, check(t, h.Config()), "soofss", access.RequestAPIError, "member of the projects")
}

// A token service that does not answer is not taken for the registry.
func TestTokenServiceGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	f := registrytest.NewOCI(t, content(), true)
	f.Fault(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+l.Addr().String()+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	c := f.Config()
	c.TokenHosts = []string{l.Addr().String()}
	want(t, check(t, c), "soofss", access.RequestAPIError, "sends us", l.Addr().String(), "nothing listens")
}

func TestNoCatalog(t *testing.T) {
	f := registrytest.NewOCI(t, content(), false)
	f.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/_catalog" {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	c := f.Config()
	want(t, check(t, c), "sooofs", access.RequestAPIError, "give the repositories")
	c.Repositories = []string{"team/app"}
	want(t, check(t, c), "sooooo", "")
}

func TestServerErrors(t *testing.T) {
	f := registrytest.NewOCI(t, content(), false)
	for _, status := range []int{500, 503, 429} {
		f.Fault(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/manifests/") {
				w.WriteHeader(status)
				return true
			}
			return false
		})
		want(t, check(t, f.Config()), "soooof", access.ServerError)
	}
}

func TestClock(t *testing.T) {
	f := registrytest.NewOCI(t, content(), false)
	r := access.Check(t.Context(), f.Config(), all.New, registry.Options{Now: func() time.Time { return time.Now().Add(-20 * time.Minute) }})
	want(t, r, "sooooo", "")
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "20 minutes") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

// TestProxy has a proxy that lets through, one that wants a password, and none.
func TestProxy(t *testing.T) {
	f := registrytest.NewOCI(t, content(), true)
	refuse := 0
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host)
		if r.Header.Get("Authorization") != "" {
			t.Error("the proxy was shown the registry's credential")
		}
		if refuse != 0 {
			w.WriteHeader(refuse)
			return
		}
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		here, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(there, buffered); there.Close() }() // it may have read what came at once
		_, _ = io.Copy(here, there)
		here.Close()
	}))
	defer proxy.Close()
	c := f.Config()
	c.Proxy = strings.Replace(proxy.URL, "http://", "http://someone:proxy-secret@", 1)
	want(t, check(t, c), "sooooo", "")
	if len(asked) == 0 || !strings.HasPrefix(asked[0], "CONNECT 127.0.0.1") {
		t.Errorf("the proxy was asked %q", asked)
	}
	refuse = http.StatusProxyAuthRequired
	r := check(t, c)
	want(t, r, "sfssss", access.RequestAPIError, "proxy wants a user")
	if strings.Contains(fmt.Sprintf("%+v", r), "proxy-secret") {
		t.Error("the report tells the proxy's password")
	}
	refuse = http.StatusForbidden
	want(t, check(t, c), "sfssss", access.RequestAPIError, "proxy's rules")
	proxy.Close()
	want(t, check(t, c), "sfssss", access.RequestAPIError, "nothing listens", "proxy")
	c.Proxy = "socks5://someone:proxy-secret@x"
	r = check(t, c)
	want(t, r, "fsssss", access.RequestAPIError, "proxy")
	if strings.Contains(fmt.Sprintf("%+v", r), "proxy-secret") {
		t.Error("the report tells the proxy's password")
	}
}
