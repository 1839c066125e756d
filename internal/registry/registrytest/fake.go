// Package registrytest holds registries for tests: the OCI part is
// go-containerregistry's, the products' own interfaces are written after their
// documentation, with its paging, errors and authentication; and the suite that
// every connector has to pass.
package registrytest

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// The credential of every fake.
const (
	Username = "scanner"
	Password = "pa:ss'word" //nolint:gosec // of a registry that lives for one test
)

// Fake is a registry in a test.
type Fake struct {
	*httptest.Server
	Content map[string][]string // tags by repository
	Type    registry.Type
	Version string
	Digest  tidewaiter.Digest // of the manifest that every tag has

	oci    http.Handler
	api    func(w http.ResponseWriter, r *http.Request) bool // the product's own interface; false is none of its paths
	bearer bool
	config func(*registry.Config)

	mu       sync.Mutex
	fault    func(w http.ResponseWriter, r *http.Request) bool
	requests []string // method and URL, in order
}

// NewOCI starts a registry with the content that speaks OCI distribution over
// TLS, with Basic authentication, or with bearer tokens of its own.
func NewOCI(t testing.TB, content map[string][]string, bearer bool) *Fake {
	f := newFake(t, registry.Other, content)
	f.bearer = bearer
	return f
}

func newFake(t testing.TB, kind registry.Type, content map[string][]string) *Fake {
	t.Helper()
	f := &Fake{Type: kind, Content: content, oci: ggcr.New(ggcr.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)))}
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	f.Fill(t, image)
	f.Server = httptest.NewUnstartedServer(f)
	f.Server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// Config returns what a component would be told about the registry.
func (f *Fake) Config() registry.Config {
	u, err := url.Parse(f.URL)
	if err != nil {
		panic(err)
	}
	address, err := tidewaiter.ParseRegistryAddress(u.Host)
	if err != nil {
		panic(err)
	}
	c := registry.Config{Type: f.Type, APIVersion: f.Version, Protocol: u.Scheme, Address: address, Username: Username, Password: Password}
	if cert := f.Certificate(); cert != nil {
		c.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	if f.config != nil {
		f.config(&c)
	}
	return c
}

// Fault puts a handler before all others. It returns true if it has answered.
func (f *Fake) Fault(h func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = h
}

// Requests returns the method and URL of each request so far.
func (f *Fake) Requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// ServeHTTP answers a request.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
	fault := f.fault
	f.mu.Unlock()
	switch {
	case fault != nil && fault(w, r):
	case r.URL.Path == "/service/token":
		f.token(w, r)
	case f.api != nil && f.api(w, r):
	case strings.HasPrefix(r.URL.Path, "/v2/"):
		if f.authorized(w, r) {
			f.distribution(w, r)
		}
	default:
		http.NotFound(w, r)
	}
}

// Fill pushes an image under every tag, with its blobs, in the place of a small
// one that is there from the start.
func (f *Fake) Fill(t testing.TB, image v1.Image) {
	t.Helper()
	manifest, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mediaType, err := image.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	f.Digest = tidewaiter.DigestOf(manifest)
	f.fillBlobs(t, image)
	for name, tags := range f.Content {
		for _, tag := range tags {
			r := httptest.NewRequest(http.MethodPut, "/v2/"+name+"/manifests/"+tag, strings.NewReader(string(manifest)))
			r.Header.Set("Content-Type", string(mediaType))
			w := httptest.NewRecorder()
			f.oci.ServeHTTP(w, r)
			if w.Code != http.StatusCreated {
				t.Fatalf("push %s:%s: %d %s", name, tag, w.Code, w.Body)
			}
		}
	}
}

// fillBlobs pushes the config and the layers of an image. The store keeps them
// for all repositories.
func (f *Fake) fillBlobs(t testing.TB, image v1.Image) {
	t.Helper()
	blobs := make([][]byte, 0, 2)
	config, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	blobs = append(blobs, config)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		layer, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, layer)
	}
	for _, b := range blobs {
		r := httptest.NewRequest(http.MethodPost, "/v2/any/blobs/uploads/?digest="+string(tidewaiter.DigestOf(b)), bytes.NewReader(b))
		w := httptest.NewRecorder()
		if f.oci.ServeHTTP(w, r); w.Code != http.StatusCreated {
			t.Fatalf("push a blob: %d %s", w.Code, w.Body)
		}
	}
}

// tokenFor is the token for a scope.
func tokenFor(scope string) string { return fmt.Sprintf("token-%x", scope) }

// token is a token service: https://distribution.github.io/distribution/spec/auth/token/
func (f *Fake) token(w http.ResponseWriter, r *http.Request) {
	if user, password, ok := r.BasicAuth(); !ok || user != Username || password != Password {
		Errors(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return
	}
	JSON(w, map[string]any{"token": tokenFor(r.URL.Query().Get("scope")), "expires_in": 300})
}

func (f *Fake) authorized(w http.ResponseWriter, r *http.Request) bool {
	if !f.bearer {
		want, wantPassword := Username, Password
		if strings.HasPrefix(string(f.Type), "Swr") {
			want, wantPassword = swrUser, swrPassword()
		}
		if user, password, ok := r.BasicAuth(); ok && user == want && password == wantPassword {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="Registry"`)
		Errors(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return false
	}
	scope := ""
	if r.URL.Path == "/v2/_catalog" {
		scope = "registry:catalog:*"
	} else if i := strings.LastIndex(r.URL.Path, "/"); i > len("/v2/") {
		if i = strings.LastIndex(r.URL.Path[:i], "/"); i > len("/v2/") {
			scope = "repository:" + r.URL.Path[len("/v2/"):i] + ":pull"
		}
	}
	if r.Header.Get("Authorization") == "Bearer "+tokenFor(scope) {
		return true
	}
	challenge := fmt.Sprintf(`Bearer realm="%s/service/token",service="fake"`, f.URL)
	if scope != "" {
		challenge += fmt.Sprintf(`,scope="%s"`, scope)
	}
	w.Header().Set("WWW-Authenticate", challenge)
	Errors(w, http.StatusUnauthorized, "UNAUTHORIZED")
	return false
}

// distribution answers /v2/: the lists here, with Link headers, and the rest
// by go-containerregistry, whose lists have none.
func (f *Fake) distribution(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v2/_catalog" {
		f.names(w, r, "repositories", slices.Collect(maps.Keys(f.Content)))
		return
	}
	if name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/tags/list"); ok {
		tags, ok := f.Content[name]
		if !ok {
			Errors(w, http.StatusNotFound, "NAME_UNKNOWN")
			return
		}
		f.names(w, r, "tags", tags)
		return
	}
	f.oci.ServeHTTP(w, r)
}

// names answers with a page of at most 100 names after last, and a Link.
func (f *Fake) names(w http.ResponseWriter, r *http.Request, field string, names []string) {
	names = slices.Sorted(slices.Values(names))
	if last := r.URL.Query().Get("last"); last != "" {
		i, found := slices.BinarySearch(names, last)
		if found {
			i++
		}
		names = names[i:]
	}
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if n > 100 && f.bearer { // as distribution v3 does
		Errors(w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID")
		return
	}
	if err != nil || n > 100 {
		n = 100
	}
	if len(names) > n {
		names = names[:n]
		q := url.Values{"last": {names[n-1]}, "n": {strconv.Itoa(n)}}
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.Path, q.Encode()))
	}
	JSON(w, map[string]any{field: names})
}

// JSON answers with JSON.
func JSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err)
	}
}

// Errors answers with an error in the form of OCI distribution and of Harbor 2.
func Errors(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"no"}]}`, code)
}

// numbered returns one page of a list.
func numbered[T any](all []T, offset, size int) []T {
	offset = min(max(offset, 0), len(all))
	return all[offset:min(offset+size, len(all))]
}

// atoi reads a number of a query, or gives the default.
func atoi(s string, otherwise int) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return otherwise
	}
	return n
}
