package worker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/all"
	"github.com/tidewaiter/tidewaiter/internal/worker"
)

// vast is a registry that holds nothing: what it is asked for it makes up, each
// tag an image of its own with fifty layers.
type vast struct {
	repositories, tags int
	names              sync.Map // repository:tag by digest
}

func (v *vast) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	parts := strings.Split(path, "/")
	switch {
	case path == "":
	case path == "_catalog":
		v.page(w, r, "repositories", "repository", v.repositories)
	case strings.HasSuffix(path, "/tags/list"):
		v.page(w, r, "tags", "tag", v.tags)
	case len(parts) == 3 && parts[1] == "manifests":
		body := v.manifest(parts[0], parts[2])
		w.Header().Set("Content-Type", tidewaiter.MediaTypeOCIManifest)
		w.Header().Set("Docker-Content-Digest", string(tidewaiter.DigestOf(body)))
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(body)
		}
	case len(parts) == 3 && parts[1] == "blobs":
		_, _ = w.Write(v.config())
	default:
		http.NotFound(w, r)
	}
}

func (v *vast) page(w http.ResponseWriter, r *http.Request, field, kind string, all int) {
	q := r.URL.Query()
	n, _ := strconv.Atoi(q.Get("n"))
	begin, _ := strconv.Atoi(strings.TrimPrefix(q.Get("last"), kind))
	end := min(begin+min(n, 1000), all)
	names := make([]string, 0, n)
	for i := begin + 1; i <= end; i++ {
		names = append(names, fmt.Sprintf("%s%06d", kind, i))
	}
	if end < all {
		w.Header().Set("Link", fmt.Sprintf(`<%s?last=%s%06d&n=%d>; rel="next"`, r.URL.Path, kind, end, n))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{field: names})
}

// manifest makes one up.
func (v *vast) manifest(repository, reference string) []byte {
	if name, ok := v.names.Load(reference); ok {
		repository, reference, _ = strings.Cut(name.(string), ":")
	}
	b := v.of(repository, reference)
	v.names.Store(string(tidewaiter.DigestOf(b)), repository+":"+reference)
	return b
}

func (v *vast) of(repository, tag string) []byte {
	var b strings.Builder
	config := v.config()
	fmt.Fprintf(&b, `{"schemaVersion":2,"annotations":{"of":"%s:%s"},"config":{"mediaType":"%s","size":%d,"digest":"%s"},"layers":[`,
		repository, tag, tidewaiter.MediaTypeOCIConfig, len(config), tidewaiter.DigestOf(config))
	for i := range 50 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":%d,"digest":"sha256:%064d"}`, i, i)
	}
	b.WriteString("]}")
	return []byte(b.String())
}

func (v *vast) config() []byte {
	ids := make([]string, 50)
	for i := range ids {
		ids[i] = fmt.Sprintf("sha256:%064d", i)
	}
	b, _ := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"diff_ids": ids}})
	return b
}

// Whatever the size of a registry, a synchronisation holds little of it at a
// time. Measured are the component, the registry and the server of the test
// together. A component that kept what it had read would break the bound: 5,000
// manifests of 6 KB are 30 MB.
func TestSyncMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 7,000 images")
	}
	for _, v := range []*vast{{repositories: 1, tags: 5_000}, {repositories: 2_000, tags: 1}} {
		t.Run(fmt.Sprintf("%d x %d", v.repositories, v.tags), func(t *testing.T) {
			h := httptest.NewServer(v)
			defer h.Close()
			var base, most uint64
			reports := 0
			s := syncing(t, func(o *worker.Options) { o.Connect = all.New })
			s.taken = func(q protocol.RepositoryReport) {
				if reports++; reports%max(1, v.repositories/20) == 0 {
					most = max(most, heap())
				}
			}
			base = heap()
			f := s.good(protocol.Registry{ID: "registry-1", Type: registry.Other, Protocol: "http", Address: h.Listener.Addr().String()}, "sync-1")
			if want := v.repositories * v.tags; f.Progress.Images != want || f.Progress.RepositoriesDone != v.repositories {
				t.Errorf("progress %+v, want %d images", f.Progress, want)
			}
			if want := v.repositories*(v.tags/protocol.MaxReport+1) + v.tags/protocol.MaxReport; reports > want {
				t.Errorf("%d reports, want at most %d", reports, want)
			}
			const bound = 12 << 20
			if most == 0 || most > base+bound {
				t.Errorf("%d MB in use, %d before", most>>20, base>>20)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Logf("%d MB in use at most, %d before; %d reports, the longest request %d KB, %d requests to the registry",
				most>>20, base>>20, reports, s.biggest>>10, f.Progress.Requests)
		})
	}
}

// heap returns how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
