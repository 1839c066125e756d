//go:build linux

package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/crypto/bcrypt"
)

// The registry products that are run here, by their programs. The last two are
// built by test/provision.sh.
const (
	dockerRegistry = "/usr/bin/docker-registry"         // Debian's 2.8
	distribution   = "../../.tools/distribution-v3.1.2" // distribution 3
	olareg         = "../../.tools/olareg-v0.1.2"       // olareg: no passwords, no list of repositories
)

// registryOptions are the choices for a registry.
type registryOptions struct {
	Product        string        // "" is dockerRegistry
	User, Password string        // who may do everything; "" lets everyone
	TLS            bool          // https, with a certificate of a private CA
	CA             *authority    // the private CA, if it is not to be a new one
	Tokens         *tokenService // asks for its tokens instead of basic authentication
	Schema1        bool          // takes manifests of the first schema
	RateLimit      int           // olareg: requests per second
	Addr           string        // host:port; "" is a port of the kernel's choice
	Names          []string      // with TLS: more names for the certificate
}

// A registryServer is a registry on a port of its own.
type registryServer struct {
	*process
	registryOptions
	CAFile string // with TLS: the certificate of its CA, PEM
	dir    string
	http   http.RoundTripper
}

// startRegistry starts an empty registry for one test.
func startRegistry(t testing.TB, o registryOptions) *registryServer {
	t.Helper()
	if o.Product == "" {
		o.Product = dockerRegistry
	}
	need(t, o.Product)
	o.Addr = cmp.Or(o.Addr, "127.0.0.1:0")
	r := &registryServer{registryOptions: o, dir: t.TempDir(), http: http.DefaultTransport}
	if o.TLS {
		if r.CA == nil {
			r.CA = newAuthority(t)
		}
		r.CAFile, r.http = r.CA.File, r.CA.transport()
	}
	if o.Product == olareg {
		r.Addr = freePort(t)
	}
	t.Cleanup(func() {
		if r.process != nil {
			_ = r.stop(syscall.SIGTERM)
		}
	})
	r.SetPassword(t, o.Password)
	r.Start(t)
	return r
}

// Start runs the registry again, on the same port and with the same content,
// after a stop.
func (r *registryServer) Start(t testing.TB) {
	t.Helper()
	program, err := filepath.Abs(r.Product)
	if err != nil {
		t.Fatal(err)
	}
	args := r.olaregArgs(t)
	if r.Product != olareg {
		text, err := json.Marshal(r.configuration(t)) // JSON is YAML
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(r.dir, "config.yml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		args = []string{"serve", file}
	}
	if r.process, err = launch(command([]string{"OTEL_TRACES_EXPORTER=none"}, program, args...)); err != nil {
		t.Fatal(err)
	}
	if r.Product == olareg {
		if err := r.until("listening", func() bool { return answers(r.Addr) }); err != nil {
			t.Fatal(err)
		}
		return
	}
	found, err := r.await(&r.stderr, `listening on (127\.0\.0\.\d+:\d+)`)
	if err != nil {
		t.Fatal(err)
	}
	r.Addr = found[1]
}

// Stop ends the registry; its content stays for the next Start.
func (r *registryServer) Stop() { _ = r.stop(syscall.SIGKILL) }

func (r *registryServer) olaregArgs(t testing.TB) []string {
	t.Helper()
	_, port, err := net.SplitHostPort(r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"serve", "--addr", "127.0.0.1", "--port", port, "--dir", filepath.Join(r.dir, "data"), "--api-delete"}
	if r.TLS && r.Product == olareg {
		cert, key := r.CA.issue(t, "olareg")
		args = append(args, "--tls-cert", cert, "--tls-key", key)
	}
	if r.RateLimit > 0 {
		args = append(args, "--rate-limit", strconv.Itoa(r.RateLimit))
	}
	return args
}

// configuration is what distribution 2 and 3 read.
func (r *registryServer) configuration(t testing.TB) map[string]any {
	t.Helper()
	config := map[string]any{
		"version": "0.1",
		"log":     map[string]any{"level": "info"},
		"storage": map[string]any{
			"filesystem": map[string]any{"rootdirectory": filepath.Join(r.dir, "data")},
			"delete":     map[string]any{"enabled": true},
		},
		"validation":    map[string]any{"manifests": map[string]any{"urls": map[string]any{"allow": []string{"^https?://"}}}},
		"compatibility": map[string]any{"schema1": map[string]any{"enabled": r.Schema1}},
	}
	http := map[string]any{"addr": r.Addr}
	config["http"] = http
	if r.TLS {
		cert, key := r.CA.issue(t, "registry", r.Names...)
		http["tls"] = map[string]any{"certificate": cert, "key": key}
	}
	switch {
	case r.Tokens != nil:
		config["auth"] = map[string]any{"token": r.Tokens.registrySettings()}
	case r.User != "":
		config["auth"] = map[string]any{"htpasswd": map[string]any{"realm": "e2e", "path": r.htpasswd()}}
	}
	return config
}

func (r *registryServer) htpasswd() string { return filepath.Join(r.dir, "htpasswd") }

// SetPassword changes the password that the registry wants, from now on.
func (r *registryServer) SetPassword(t testing.TB, password string) {
	t.Helper()
	r.Password = password
	if r.Tokens != nil {
		r.Tokens.Set(r.User, password)
		return
	}
	if r.User == "" {
		return
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.htpasswd(), fmt.Appendf(nil, "%s:%s\n", r.User, hash), 0o600); err != nil {
		t.Fatal(err)
	}
}

// URL returns the scheme, host and port.
func (r *registryServer) URL() string { return r.Scheme() + "://" + r.Addr }

// Scheme is "http" or "https".
func (r *registryServer) Scheme() string {
	if r.TLS {
		return "https"
	}
	return "http"
}

// options are go-containerregistry's, for this registry.
func (r *registryServer) options() []remote.Option {
	options := []remote.Option{remote.WithTransport(r.http)}
	if r.User != "" {
		options = append(options, remote.WithAuth(&authn.Basic{Username: r.User, Password: r.Password}))
	}
	return options
}

// repository is a name for go-containerregistry.
func (r *registryServer) repository(t testing.TB, repository string) name.Repository {
	t.Helper()
	options := []name.Option{}
	if !r.TLS {
		options = append(options, name.Insecure)
	}
	repo, err := name.NewRepository(r.Addr+"/"+repository, options...)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// reference is the name of a tag or a digest for go-containerregistry.
func (r *registryServer) reference(t testing.TB, repository, reference string) name.Reference {
	t.Helper()
	repo := r.repository(t, repository)
	if strings.Contains(reference, ":") {
		return repo.Digest(reference)
	}
	return repo.Tag(reference)
}

// Digest returns the digest that the registry gives for a tag or digest, or ""
// if it has no such manifest.
func (r *registryServer) Digest(t testing.TB, repository, reference string) string {
	t.Helper()
	found, err := remote.Head(r.reference(t, repository, reference), r.options()...)
	if notFound(err) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return found.Digest.String()
}

// Tags returns the tags of a repository in order, none if there is no such
// repository.
func (r *registryServer) Tags(t testing.TB, repository string) []string {
	t.Helper()
	tags, err := remote.List(r.repository(t, repository), r.options()...)
	if err != nil && !notFound(err) {
		t.Fatal(err)
	}
	slices.Sort(tags)
	return tags
}

// Delete removes a manifest with all its tags.
func (r *registryServer) Delete(t testing.TB, repository, tag string) {
	t.Helper()
	digest := r.Digest(t, repository, tag)
	if err := remote.Delete(r.reference(t, repository, digest), r.options()...); err != nil {
		t.Fatal(err)
	}
}

func notFound(err error) bool {
	failed, ok := errors.AsType[*transport.Error](err)
	return ok && failed.StatusCode == http.StatusNotFound
}

// freePort returns an address on which nothing listens, for programs that
// cannot be told to take any.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// answers tells whether something listens.
func answers(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
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
	r.SetPassword(t, "changed")
	check("401", "--config", "-")
}
