//go:build linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// registryOptions are the choices for a registry.
type registryOptions struct {
	User, Password string // who may do everything; "" lets everyone
	TLS            bool   // https, with a certificate of a private CA
}

// A registryServer is Debian's docker-registry on a port of its own.
type registryServer struct {
	*process
	registryOptions
	Addr   string // host:port
	CAFile string // with TLS: the certificate of its CA, PEM
	client *http.Client
}

// startRegistry starts an empty registry for one test.
func startRegistry(t testing.TB, o registryOptions) *registryServer {
	t.Helper()
	need(t, "/usr/bin/docker-registry")
	dir := t.TempDir()
	r := &registryServer{registryOptions: o, client: &http.Client{Timeout: patience}}
	config := map[string]any{
		"version": "0.1",
		"log":     map[string]any{"level": "info"},
		"storage": map[string]any{
			"filesystem": map[string]any{"rootdirectory": filepath.Join(dir, "data")},
			"delete":     map[string]any{"enabled": true},
		},
	}
	http := map[string]any{"addr": "127.0.0.1:0"}
	config["http"] = http
	if o.TLS {
		cert, key := r.makeCertificate(t, dir)
		http["tls"] = map[string]any{"certificate": cert, "key": key}
	}
	if o.User != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(o.Password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(file, fmt.Appendf(nil, "%s:%s\n", o.User, hash), 0o600); err != nil {
			t.Fatal(err)
		}
		config["auth"] = map[string]any{"htpasswd": map[string]any{"realm": "e2e", "path": file}}
	}
	text, err := json.Marshal(config) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if r.process, err = launch(command(nil, "/usr/bin/docker-registry", "serve", file)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.stop(syscall.SIGTERM) })
	found, err := r.await(&r.stderr, `listening on (127\.0\.0\.1:\d+)`)
	if err != nil {
		t.Fatal(err)
	}
	r.Addr = found[1]
	return r
}

// URL returns the scheme, host and port.
func (r *registryServer) URL() string {
	if r.TLS {
		return "https://" + r.Addr
	}
	return "http://" + r.Addr
}

// Digest returns the digest that the registry gives for a tag or digest, or ""
// if it has no such manifest.
func (r *registryServer) Digest(t testing.TB, repository, reference string) string {
	t.Helper()
	resp := r.do(t, http.MethodHead, "/v2/"+repository+"/manifests/"+reference)
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Header.Get("Docker-Content-Digest")
	case http.StatusNotFound:
		return ""
	}
	t.Fatalf("HEAD manifest %s of %s: %s", reference, repository, resp.Status)
	return ""
}

// Tags returns the tags of a repository, none if there is no such repository.
func (r *registryServer) Tags(t testing.TB, repository string) []string {
	t.Helper()
	resp := r.do(t, http.MethodGet, "/v2/"+repository+"/tags/list")
	defer resp.Body.Close()
	var list struct{ Tags []string }
	switch resp.StatusCode {
	case http.StatusOK:
		if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
			t.Fatal(err)
		}
	case http.StatusNotFound:
	default:
		t.Fatalf("GET tags of %s: %s", repository, resp.Status)
	}
	return list.Tags
}

func (r *registryServer) do(t testing.TB, method, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, r.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{
		"application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
		"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
	} {
		req.Header.Add("Accept", kind)
	}
	if r.User != "" {
		req.SetBasicAuth(r.User, r.Password)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// makeCertificate makes a CA and a certificate for 127.0.0.1 and localhost.
func (r *registryServer) makeCertificate(t testing.TB, dir string) (certFile, keyFile string) {
	t.Helper()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "e2e CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "e2e registry"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	caKey, leafKey := newKey(t), newKey(t)
	sign := func(cert *x509.Certificate, key *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, cert, ca, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	leafDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	caDER := sign(ca, caKey)
	r.CAFile = write("ca.pem", "CERTIFICATE", caDER)
	parsed, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	r.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	return write("cert.pem", "CERTIFICATE", sign(leaf, leafKey)), write("key.pem", "PRIVATE KEY", leafDER)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRegistryWithTLS(t *testing.T) {
	need(t, "/usr/bin/curl")
	r := startRegistry(t, registryOptions{User: "bob", Password: "s3cret", TLS: true})
	if got := r.Digest(t, "nothing/here", "latest"); got != "" {
		t.Errorf("an empty registry has digest %q", got)
	}
	if got := r.Tags(t, "nothing/here"); got != nil {
		t.Errorf("an empty registry has tags %q", got)
	}
	check := func(want string, args ...string) {
		t.Helper()
		args = append([]string{"-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", r.CAFile}, append(args, r.URL()+"/v2/")...)
		if got := output(t, command(nil, "/usr/bin/curl", args...), "user = bob:s3cret\n"); got != want {
			t.Errorf("curl %q: status %s, want %s", args, got, want)
		}
	}
	check("401")
	check("200", "--config", "-")
}
