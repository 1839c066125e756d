package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1empty "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/all"
	"github.com/tidewaiter/tidewaiter/internal/registry/registrytest"
	"github.com/tidewaiter/tidewaiter/internal/worker"
)

// syncing starts a server and a worker that is ready to synchronise.
func syncing(t testing.TB, change func(*worker.Options)) *server {
	t.Helper()
	s := newServer(t)
	o := s.options(t.TempDir())
	o.Connect = all.New
	o.Registry = registry.Options{Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
	if change != nil {
		change(&o)
	}
	w := start(t, o)
	check(t, w.Start(t.Context()))
	run(t, w)
	return s
}

// once synchronises and returns the result.
func (s *server) once(r protocol.Registry, id string) finish {
	s.sync(id, r)
	return <-s.finished
}

func (s *server) good(r protocol.Registry, id string) finish {
	s.t.Helper()
	f := s.once(r, id)
	if f.Outcome != protocol.OutcomeDone {
		s.t.Fatalf("%s: %s %+v", id, f.Outcome, f.Failure)
	}
	return f
}

func TestSyncWhatThereIs(t *testing.T) {
	h := newHub(t)
	app := h.push("team/app:v1", image(t, "linux", "amd64"))
	multi := h.push("team/app:multi", index(t))
	windows := h.push("team/win:v1", image(t, "windows", "amd64"))
	helm := h.push("charts/app:1.0", chart(t))
	signature := mutate.ConfigMediaType(mutate.MediaType(v1empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	signature, err := mutate.AppendLayers(signature, static.NewLayer([]byte("{}"), "application/vnd.dev.cosign.simplesigning.v1+json"))
	check(t, err)
	sig := h.push("team/app:sha256-0000.sig", signature)
	foreign, err := mutate.AppendLayers(image(t, "linux", "amd64"), static.NewLayer([]byte("far away"), types.DockerForeignLayer))
	check(t, err)
	far := h.push("team/win:foreign", foreign)
	h.put("old/app", "v1", string(types.DockerManifestSchema1), `{"schemaVersion":1,"name":"old/app","tag":"v1","fsLayers":[],"history":[]}`)
	h.put("bad/app", "broken", string(types.OCIManifestSchema1), `{"schemaVersion":2,"config":[]}`)
	h.put("bad/app", "no-config", string(types.OCIManifestSchema1), noConfig)

	s := syncing(t, nil)
	f := s.good(h.registry(), "sync-1")
	if diff := cmp.Diff([]string{
		"charts/app:1.0", "old/app:v1", "team/app:multi", "team/app:sha256-0000.sig", "team/app:v1", "team/win:foreign", "team/win:v1",
	}, s.tags()); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	f.Progress.Requests = 0
	if diff := cmp.Diff(protocol.Progress{Repositories: 5, RepositoriesDone: 5, Images: 5, Skipped: 4}, f.Progress); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	for d, want := range map[tidewaiter.Digest]registry.ArtifactKind{
		app: registry.KindImage, multi: registry.KindIndex, windows: registry.KindWindows, helm: registry.KindHelmChart,
		sig: registry.KindSignature, far: registry.KindForeign, s.repositories["old/app"].tags["v1"]: registry.KindSchema1,
	} {
		m := s.manifests[d]
		if m.Kind != string(want) || (m.Reason == "") != want.Scannable() || (m.Size > 0) != (want.IsImage() && want != registry.KindSchema1) {
			t.Errorf("want %s: %+v", want, m)
		}
	}
	if m := s.manifests[app]; m.OS != "linux" || m.Architecture != "amd64" || !m.Created.Equal(created()) || m.ConfigDigest == "" {
		t.Errorf("image %+v", m)
	}
	children := s.manifests[multi].Children
	if len(children) != 2 {
		t.Fatalf("%d children, want 2 without the attestation", len(children))
	}
	one, two := s.manifests[children[0]], s.manifests[children[1]]
	if one.Architecture != "amd64" || two.Architecture != "arm64" || two.Variant != "v8" || s.manifests[multi].Size != one.Size+two.Size {
		t.Errorf("children %+v and %+v of %+v", one, two, s.manifests[multi])
	}
	var reasons []string
	for _, k := range s.repositories["bad/app"].skipped {
		reasons = append(reasons, fmt.Sprintf("%s %d %s: %.29s", k.Kind, k.Count, k.Example, k.Reason))
	}
	slices.Sort(reasons)
	if diff := cmp.Diff([]string{
		"unreadable manifest 1 broken: a manifest cannot be read: it",
		"unreadable manifest 1 no-config: its config is not in the regi",
	}, reasons); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
}

const noConfig = `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000001"},"layers":[]}`

// An unchanged tag costs one request, and what has changed no more than it must.
func TestSyncAgain(t *testing.T) {
	h := newHub(t)
	img := image(t, "linux", "amd64")
	for i := range 20 {
		h.push(fmt.Sprintf("team/app:v%d", i), img) // one digest: looked into once
	}
	h.push("team/other:v1", index(t))
	h.forget()
	s := syncing(t, nil)
	s.good(h.registry(), "sync-1")
	// catalog, 2 lists of tags, 21 HEAD; the image: manifest and config; the index: itself, and both of two images
	if n, asked := 1+2+21+2+1+2*2, h.forget(); len(asked) != n {
		t.Errorf("%d requests, want %d: %v", len(asked), n, asked)
	}
	for _, id := range []string{"sync-2", "sync-3"} {
		f := s.good(h.registry(), id)
		if n, asked := 1+2+21, h.forget(); len(asked) != n || f.Progress.Requests != n {
			t.Errorf("%s: %d requests, want %d; it says %d: %v", id, len(asked), n, f.Progress.Requests, asked)
		}
	}
	h.push("team/app:v7", image(t, "linux", "amd64"))
	h.forget()
	s.good(h.registry(), "sync-4")
	if n, asked := 1+2+21+2, h.forget(); len(asked) != n {
		t.Errorf("one tag changed: %d requests, want %d: %v", len(asked), n, asked)
	}
}

// What vanishes while we look is no failure, and not reported.
func TestSyncVanishing(t *testing.T) {
	h := newHub(t)
	h.push("team/a:stays", image(t, "linux", "amd64"))
	h.push("team/a:listed", image(t, "linux", "amd64"))
	found := h.push("team/a:found", image(t, "linux", "amd64"))
	h.push("team/b:v1", image(t, "linux", "amd64"))
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		gone := strings.HasSuffix(r.URL.Path, "/a/manifests/listed") || strings.HasSuffix(r.URL.Path, string(found)) || strings.HasPrefix(r.URL.Path, "/v2/team/b/")
		if gone {
			http.NotFound(w, r)
		}
		return gone
	})
	s := syncing(t, nil)
	s.good(h.registry(), "sync-1")
	if diff := cmp.Diff([]string{"team/a:stays"}, s.tags()); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if r := s.repositories["team/a"]; r.complete != "sync-1" || len(r.skipped) > 0 || s.repositories["team/b"] != nil {
		t.Errorf("repositories %+v, %+v", r, s.repositories["team/b"])
	}
	// Of a repository that somebody has named, its absence is reported.
	r := h.registry()
	r.Repositories = []string{"team/a", "team/b"}
	s.good(r, "sync-2")
	if b := s.repositories["team/b"]; b == nil || b.problem != "" || len(b.skipped) != 1 || !strings.Contains(b.skipped[0].Reason, "check its name") || b.complete != "sync-2" {
		t.Errorf("repository %+v", b)
	}
}

// An index of which a part cannot be read is listed with its other part.
func TestSyncSparseIndex(t *testing.T) {
	h := newHub(t)
	idx := index(t)
	d := h.push("team/app:v1", idx)
	manifest, err := idx.IndexManifest()
	check(t, err)
	h.delete("team/app", manifest.Manifests[1].Digest.String())
	s := syncing(t, nil)
	s.good(h.registry(), "sync-1")
	if m := s.manifests[d]; len(m.Children) != 1 || !strings.Contains(m.Reason, "1 of its 2 images cannot be read: linux/arm64/v8: ") {
		t.Errorf("index %+v", m)
	}
}

// An index of more images than fit into a report is reported in several.
func TestSyncLongIndex(t *testing.T) {
	const images = 700
	h := newHub(t)
	config := `{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[]}}`
	w := httptest.NewRecorder()
	h.store.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v2/a/blobs/uploads/?digest="+string(tidewaiter.DigestOf([]byte(config))), strings.NewReader(config)))
	if w.Code != http.StatusCreated {
		t.Fatalf("push a blob: %d", w.Code)
	}
	var entries []string
	for i := range images {
		m := fmt.Sprintf(`{"schemaVersion":2,"annotations":{"n":"%d"},"config":{"mediaType":%q,"size":%d,"digest":%q},"layers":[]}`,
			i, tidewaiter.MediaTypeOCIConfig, len(config), tidewaiter.DigestOf([]byte(config)))
		d := tidewaiter.DigestOf([]byte(m))
		h.put("a", string(d), tidewaiter.MediaTypeOCIManifest, m)
		entries = append(entries, fmt.Sprintf(`{"mediaType":%q,"size":%d,"digest":%q}`, tidewaiter.MediaTypeOCIManifest, len(m), d))
	}
	h.put("a", "v1", tidewaiter.MediaTypeOCIIndex, `{"schemaVersion":2,"manifests":[`+strings.Join(entries, ",")+`]}`)
	s := syncing(t, nil)
	s.good(h.registry(), "sync-1")
	if n := len(s.manifests[s.repositories["a"].tags["v1"]].Children); n != images {
		t.Errorf("%d children, want %d", n, images)
	}
}

func status(code int, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// What concerns the whole registry ends the synchronisation, with what to do.
func TestSyncFailures(t *testing.T) {
	for _, tt := range []struct {
		name  string
		at    string // prefix of the path
		with  func(http.ResponseWriter)
		code  string
		words string
		retry int
	}{
		{"password changed", "/", status(401, "WWW-Authenticate", `Basic realm="x"`), tidewaiter.FailRequestAPI, "password", 0},
		{"no role", "/", status(403), tidewaiter.FailRequestAPI, "role", 0},
		{"down", "/", status(502), tidewaiter.FailServer, "fails", 60},
		{"rate limited", "/v2/team", status(429), tidewaiter.FailServer, "rate", 60},
		{"rate limited for an hour", "/v2/team", status(429, "Retry-After", "3600"), tidewaiter.FailServer, "rate limited until", 3600},
		{"rate limited for a century", "/v2/team", status(429, "Retry-After", "3155760000"), tidewaiter.FailServer, "rate", 86400},
		{"no list", "/v2/_catalog", status(404), tidewaiter.FailRequestAPI, "", 0},
		{"one repository down", "/v2/team/secret", status(500), tidewaiter.FailServer, "team/secret: ", 60},
		{"one tag down", "/v2/team/app/manifests/v1", status(500), tidewaiter.FailServer, "team/app:v1: ", 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHub(t)
			for _, ref := range []string{"team/app:v1", "team/app:v2", "team/secret:v1"} {
				h.push(ref, image(t, "linux", "amd64"))
			}
			now := time.Now()
			s := syncing(t, func(o *worker.Options) {
				o.Now = func() time.Time { return now }
				o.Registry.Now = o.Now
			})
			h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, tt.at) {
					tt.with(w)
					return true
				}
				return false
			})
			f := s.once(h.registry(), "sync-1")
			if f.Outcome != protocol.OutcomeFailed || f.Failure.Code != tt.code || f.Failure.RetrySeconds != tt.retry ||
				!strings.Contains(f.Failure.Message, tt.words) || f.Failure.Credential || len(f.Failure.Message) > protocol.MaxMessage {
				t.Errorf("%s %+v, want %s, %d, %q", f.Outcome, f.Failure, tt.code, tt.retry, tt.words)
			}
			// What could be read is reported; the end of what could not is not.
			want := map[string]string{
				"one repository down": "team/app:v1 team/app:v2", "one tag down": "team/app:v2 team/secret:v1",
			}[tt.name]
			if got := strings.Join(s.tags(), " "); got != want && strings.HasPrefix(tt.name, "one") {
				t.Errorf("reported %q, want %q", got, want)
			}
			for name, r := range s.repositories {
				if r.complete != "" && strings.HasPrefix("/v2/"+name, tt.at) || tt.name == "one tag down" && name == "team/app" && r.complete != "" {
					t.Errorf("the end of %s is reported", name)
				}
			}
			// Another attempt reads what is left only.
			h.setFault(nil)
			s.good(h.registry(), "sync-2")
			if got := len(s.tags()); got != 3 {
				t.Errorf("%d tags, want 3", got)
			}
		})
	}
}

// A registry that fails now and then, and one that limits the rate, only take longer.
func TestSyncBadWeather(t *testing.T) {
	h := newHub(t)
	for i := range 10 {
		h.push(fmt.Sprintf("team/app-%d:v1", i), image(t, "linux", "amd64"))
	}
	s := syncing(t, nil)
	var mu sync.Mutex
	asked := make(map[string]int)
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		switch asked[r.URL.Path]++; asked[r.URL.Path] {
		case 1:
			status(503)(w)
		case 3:
			status(429, "Retry-After", "1")(w)
		default:
			return false
		}
		return true
	})
	s.good(h.registry(), "sync-1")
	if got := len(s.tags()); got != 10 {
		t.Errorf("%d tags, want 10", got)
	}
}

// A component that ends in the middle leaves the rest to the next, which does
// not look again into what is done.
func TestSyncResumes(t *testing.T) {
	h := newHub(t)
	const repositories = 40
	for i := range repositories {
		h.push(fmt.Sprintf("team/app-%02d:v1", i), image(t, "linux", "amd64"))
	}
	s := newServer(t)
	o := s.options(t.TempDir())
	o.Connect = all.New
	w := start(t, o)
	check(t, w.Start(t.Context()))
	end := run(t, w)
	half := make(chan struct{})
	var once sync.Once
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		done := len(s.repositories)
		s.mu.Unlock()
		if done < repositories/2 {
			return false
		}
		once.Do(func() { close(half) })
		<-r.Context().Done() // from here on nothing is answered
		return true
	})
	h.forget()
	s.sync("sync-1", h.registry())
	<-half
	check(t, end())
	if f := <-s.finished; f.Outcome != protocol.OutcomeReleased || f.Progress.RepositoriesDone < repositories/2-4 {
		t.Errorf("result %+v", f)
	}
	check(t, w.Close())
	h.setFault(nil)
	first := len(h.forget())
	done := len(s.repositories)

	w = start(t, o)
	check(t, w.Start(t.Context()))
	run(t, w)
	if f := <-s.finished; f.Outcome != protocol.OutcomeDone || f.Attempt != 2 {
		t.Errorf("result %+v", f)
	}
	second := len(h.forget())
	// The catalog, and of each repository left: tags, HEAD, manifest, config.
	if most := 1 + 4*(repositories-done+4); second > most || second < 4*(repositories-done) {
		t.Errorf("%d requests after %d repositories and %d requests, want at most %d", second, done, first, most)
	}
	if got := len(s.tags()); got != repositories {
		t.Errorf("%d tags, want %d", got, repositories)
	}
}

// The products' connectors, with a password that only the component can read.
func TestSyncProducts(t *testing.T) {
	for name, f := range map[string]*registrytest.Fake{
		"bearer":      registrytest.NewOCI(t, registrytest.Content(), true),
		"harbor":      registrytest.NewHarbor(t, registrytest.Content(), "V2"),
		"artifactory": registrytest.NewArtifactory(t, registrytest.Content()),
	} {
		t.Run(name, func(t *testing.T) {
			var text logged
			s := syncing(t, func(o *worker.Options) {
				o.Logger = slog.New(slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			r := s.ofFake(f)
			s.good(r, "sync-1")
			want := 0
			for _, tags := range f.Content {
				want += len(tags)
			}
			if got := len(s.tags()); got != want || len(s.manifests) != 1 {
				t.Errorf("%d tags of %d manifests, want %d of 1", got, len(s.manifests), want)
			}
			before := len(f.Requests())
			s.good(r, "sync-2")
			// One for each tag; and for each repository its list, where that is
			// refused at first as too long a page, and a token.
			if n := len(f.Requests()) - before; n > want+4*len(f.Content)+40 {
				t.Errorf("%d requests for %d unchanged tags of %d repositories", n, want, len(f.Content))
			}
			if strings.Contains(text.String(), registrytest.Password) {
				t.Error("the password is in the log")
			}
		})
	}
}

// ofFake returns what a server tells about a fake registry.
func (s *server) ofFake(f *registrytest.Fake) protocol.Registry {
	c := f.Config()
	r := protocol.Registry{
		ID: "registry-1", Type: c.Type, APIVersion: c.APIVersion, Protocol: c.Protocol, Address: c.Address.String(),
		Username: c.Username, CA: string(c.CA), TokenHosts: c.TokenHosts, ArtifactoryWay: string(c.ArtifactoryWay),
	}
	s.seal(&r, tidewaiter.SecretPassword, c.Password)
	return r
}

// A secret for another registry, address, user or key is not used: nothing is sent.
func TestSecretIsBound(t *testing.T) {
	f := registrytest.NewOCI(t, map[string][]string{"team/app": {"v1"}}, false)
	s := syncing(t, nil)
	for name, change := range map[string]func(*protocol.Registry){
		"registry": func(r *protocol.Registry) { r.ID = "registry-2" },
		"user":     func(r *protocol.Registry) { r.Username = "admin" },
		"address":  func(r *protocol.Registry) { r.Address = "localhost:" + r.Address[strings.LastIndex(r.Address, ":")+1:] },
		"protocol": func(r *protocol.Registry) { r.Protocol = "http" },
		"name":     func(r *protocol.Registry) { r.Secrets[tidewaiter.SecretProxy] = r.Secrets[tidewaiter.SecretPassword] },
		"damaged":  func(r *protocol.Registry) { r.Secrets[tidewaiter.SecretPassword] = []byte("age") },
	} {
		r := s.ofFake(f)
		change(&r)
		s.add(protocol.Work{ID: "check " + name, Kind: tidewaiter.AccessCheckWork, AccessCheck: &protocol.AccessCheck{Registry: r}})
		for _, got := range []finish{<-s.finished, s.once(r, "sync "+name)} {
			if got.Outcome != protocol.OutcomeFailed || !got.Failure.Credential || !strings.Contains(got.Failure.Message, "give") {
				t.Errorf("%s: %s %+v", name, got.Outcome, got.Failure)
			}
		}
	}
	if n := len(f.Requests()); n > 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestAccessCheck(t *testing.T) {
	f := registrytest.NewOCI(t, map[string][]string{"team/app": {"v1"}}, true)
	s := syncing(t, nil)
	outcomes := func(r protocol.Registry) string {
		s.add(protocol.Work{ID: fmt.Sprint("check ", len(s.work)), Kind: tidewaiter.AccessCheckWork, AccessCheck: &protocol.AccessCheck{Registry: r}})
		got := <-s.finished
		if got.Outcome != protocol.OutcomeDone || got.AccessCheck == nil {
			t.Fatalf("result %+v", got.Failure)
		}
		var b bytes.Buffer
		for _, step := range got.AccessCheck.Steps {
			fmt.Fprintf(&b, "%s %s, ", step.Name, step.Status)
		}
		return b.String() + got.AccessCheck.FailReason
	}
	r := s.ofFake(f)
	if got, want := outcomes(r), "dns skipped, tcp ok, tls ok, auth ok, list ok, pull ok, "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.CA = ""
	if got, want := outcomes(r), "dns skipped, tcp ok, tls failed, auth skipped, list skipped, pull skipped, REQUEST_API_ERROR"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
