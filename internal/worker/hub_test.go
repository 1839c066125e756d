package worker_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	v1empty "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// hub is go-containerregistry's registry, which counts what it is asked.
type hub struct {
	*httptest.Server
	t     testing.TB
	store http.Handler

	mu       sync.Mutex
	requests []string
	fault    func(w http.ResponseWriter, r *http.Request) bool
}

func newHub(t testing.TB) *hub {
	h := &hub{t: t, store: ggcr.New(ggcr.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)))}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.requests = append(h.requests, r.Method+" "+r.URL.Path)
		fault := h.fault
		h.mu.Unlock()
		if fault == nil || !fault(w, r) {
			h.store.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hub) setFault(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

// forget empties the list of requests and returns it.
func (h *hub) forget() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.requests
	h.requests = nil
	return list
}

func (h *hub) registry() protocol.Registry {
	return protocol.Registry{ID: "registry-1", Type: registry.Other, Protocol: "http", Address: h.Listener.Addr().String()}
}

func (h *hub) reference(s string) name.Reference {
	ref, err := name.ParseReference(h.Listener.Addr().String() + "/" + s)
	check(h.t, err)
	return ref
}

// push puts an image, an index or a manifest under a tag.
func (h *hub) push(ref string, what any) tidewaiter.Digest {
	h.t.Helper()
	var err error
	var digest v1.Hash
	switch what := what.(type) {
	case v1.Image:
		check(h.t, remote.Write(h.reference(ref), what))
		digest, err = what.Digest()
	case v1.ImageIndex:
		check(h.t, remote.WriteIndex(h.reference(ref), what))
		digest, err = what.Digest()
	}
	check(h.t, err)
	return tidewaiter.Digest(digest.String())
}

// put puts a manifest as it is.
func (h *hub) put(repository, reference, mediaType, manifest string) {
	h.t.Helper()
	r := httptest.NewRequest(http.MethodPut, "/v2/"+repository+"/manifests/"+reference, strings.NewReader(manifest))
	r.Header.Set("Content-Type", mediaType)
	w := httptest.NewRecorder()
	if h.store.ServeHTTP(w, r); w.Code != http.StatusCreated {
		h.t.Fatalf("put %s:%s: %d %s", repository, reference, w.Code, w.Body)
	}
}

func (h *hub) delete(repository, reference string) {
	w := httptest.NewRecorder()
	h.store.ServeHTTP(w, httptest.NewRequest(http.MethodDelete, "/v2/"+repository+"/manifests/"+reference, nil))
}

func created() time.Time { return time.Date(2026, 4, 5, 6, 7, 8, 0, time.UTC) }

func image(t testing.TB, os, architecture string) v1.Image {
	t.Helper()
	img, err := random.Image(64, 2)
	check(t, err)
	config, err := img.ConfigFile()
	check(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = os, architecture, v1.Time{Time: created()}
	img, err = mutate.ConfigFile(img, config)
	check(t, err)
	return img
}

// index returns an index of two platforms, with an attestation.
func index(t testing.TB) v1.ImageIndex {
	attestation, err := random.Image(32, 1)
	check(t, err)
	return mutate.AppendManifests(v1empty.Index,
		mutate.IndexAddendum{Add: image(t, "linux", "amd64"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: image(t, "linux", "arm64"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}},
		mutate.IndexAddendum{Add: attestation, Descriptor: v1.Descriptor{
			Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"},
		}})
}

func chart(t testing.TB) v1.Image {
	img := mutate.ConfigMediaType(mutate.MediaType(v1empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.helm.config.v1+json")
	img, err := mutate.AppendLayers(img, static.NewLayer([]byte("chart"), "application/vnd.cncf.helm.chart.content.v1.tar+gzip"))
	check(t, err)
	return img
}
