package feed_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/feed"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// world is a project with images that hold npm's left-pad, and advisories about it.
type world struct {
	*testing.T

	db       *store.DB
	sets     *snapshots.Service
	findings *findings.Service
	feed     *feed.Service
	project  string

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T, db *store.DB) *world {
	w := &world{T: t, db: db, project: store.NewID(), now: store.Now()}
	w.sets = snapshots.New(snapshots.Options{Store: db, Folder: t.TempDir()})
	t.Cleanup(func() { w.ok(w.sets.Close()) })
	w.findings = findings.New(findings.Options{Store: db, Sets: w.sets})
	key, err := identity.LoadOrCreateKey(filepath.Join(t.TempDir(), "secret.key"))
	w.ok(err)
	w.feed = feed.New(feed.Options{Store: db, Sealer: key, Now: w.clock})
	ctx := context.Background()
	w.ok(db.CreateCluster(ctx, tidewaiter.Cluster{ID: w.project, Name: w.project, Created: store.Now()}))
	w.ok(db.CreateRegistry(ctx, tidewaiter.Registry{ID: w.project, ProjectID: w.project, EnterpriseProjectID: "0", Name: "r", ClusterID: w.project,
		Type: tidewaiter.RegistryHarbor, Created: store.Now(), Updated: store.Now()}))
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// scan has an image hold a version of left-pad.
func (w *world) scan(name, version string) {
	w.Helper()
	ctx := context.Background()
	digest := tidewaiter.DigestOf([]byte(w.project + name))
	w.ok(w.db.PutManifests(ctx, w.project, []tidewaiter.Manifest{{Digest: digest, MediaType: tidewaiter.MediaTypeOCIManifest, Kind: "image", ImageID: name}}))
	known, err := w.db.ManifestsByDigest(ctx, w.project, []tidewaiter.Digest{digest})
	w.ok(err)
	ids, err := w.db.PutPackages(ctx, []store.PackageVersion{{Ecosystem: "npm", Name: "left-pad", Version: version, Type: "npm"}})
	w.ok(err)
	w.ok(w.findings.MatchPackages(ctx, ids))
	w.ok(w.db.PutResult(ctx, store.NewResult{ImageResult: tidewaiter.ImageResult{ManifestID: known[digest].ID, Complete: true, Scanned: store.Now(),
		Packages: []tidewaiter.ImagePackage{{ID: ids[0], Package: tidewaiter.Package{Name: "left-pad", Path: "package.json"}}}}}))
}

// advise has an advisory say in which version left-pad is mended.
func (w *world) advise(day int, fixed string) {
	w.Helper()
	text := fmt.Sprintf(`{"schema_version":"1.7.0","id":"GHSA-aaaa-bbbb-cccc","aliases":["CVE-2026-1000"],"modified":"2026-01-%02dT00:00:00Z",
		"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"affected":[{"package":{"ecosystem":"npm","name":"left-pad"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`, day, fixed)
	path := filepath.Join(w.TempDir(), "advisory.json")
	w.ok(os.WriteFile(path, []byte(text), 0o600))
	if _, err := w.sets.Import(context.Background(), []string{path}, w.findings); err != nil {
		w.Fatal(err)
	}
}

func (w *world) events(after string) []feed.Event {
	w.Helper()
	list, err := w.feed.Events(context.Background(), tidewaiter.Extent{ProjectID: w.project, All: true}, after, 100)
	w.ok(err)
	return list
}

func TestEvents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		w.scan("app", "1.0.0")
		w.advise(1, "1.3.0")
		list := w.events("")
		if len(list) != 1 {
			t.Fatalf("got %+v", list)
		}
		e := list[0]
		e.ID, e.Time, e.AdvisorySet = "", "", ""
		want := feed.Event{
			Cause: "advisories", Image: feed.Image{ImageID: "app"}, Removed: []feed.Change{}, Changed: []feed.Change{}, Unhandled: 1, WorstSeverity: "critical",
			Added: []feed.Change{{Vulnerability: "CVE-2026-1000", Type: "app_vul", Package: "left-pad", Version: "1.0.0",
				State: feed.State{Severity: "critical", FixedVersion: "1.3.0", Status: "fixed", Advisory: "GHSA-aaaa-bbbb-cccc"}}},
		}
		if diff := cmp.Diff(want, e); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		w.advise(2, "0.9.0")
		more := w.events(list[0].ID)
		if len(more) != 1 || len(more[0].Removed) != 1 || more[0].Removed[0].FixedVersion != "1.3.0" || more[0].Unhandled != 0 || more[0].WorstSeverity != "" {
			t.Errorf("got %+v", more)
		}
		w.wait(31 * 24 * time.Hour)
		w.ok(w.feed.Sweep(context.Background()))
		if list := w.events(""); len(list) > 0 {
			t.Errorf("after a month: %+v", list)
		}
	})
}

func FuzzAfter(f *testing.F) {
	for _, s := range []string{"", "1.2", "1", "-1.2", "1.", ".", "9223372036854775807.9223372036854775807", "9223372036854775808.1", "1.2.3", "x"} {
		f.Add(s)
	}
	db := storetest.Open(f, storetest.SQLite(f))
	s := feed.New(feed.Options{Store: db})
	f.Fuzz(func(t *testing.T, after string) {
		_, err := s.Events(context.Background(), tidewaiter.Extent{ProjectID: "p", All: true}, after, 1)
		if e, ok := errors.AsType[*tidewaiter.Error](err); err != nil && (!ok || e.Field != "after") {
			t.Errorf("got %v", err)
		}
	})
}

// hook is a server that is told.
type hook struct {
	*httptest.Server

	mu       sync.Mutex
	status   int
	requests []*http.Request
	bodies   []string
}

func newHook(t *testing.T) *hook {
	h := &hook{status: 204}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.requests, h.bodies = append(h.requests, r), append(h.bodies, string(body))
		if h.status == 302 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(h.status)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) answers(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

// take returns what it was told since it was asked last.
func (h *hook) take() ([]*http.Request, []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	requests, bodies := h.requests, h.bodies
	h.requests, h.bodies = nil, nil
	return requests, bodies
}

func TestWebhooks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		w.scan("before", "1.0.0")
		w.advise(1, "1.3.0") // of which nobody wants to be told
		h := newHook(t)
		added, secret, err := w.feed.AddWebhook(ctx, w.project, h.URL+"/hook?key=planted-in-url")
		w.ok(err)
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil || len(key) != 32 {
			t.Fatalf("the secret is %d bytes, %v", len(key), err)
		}
		deliver := func() []string {
			t.Helper()
			w.ok(w.feed.Deliver(ctx))
			requests, bodies := h.take()
			for i, r := range requests {
				mac := hmac.New(sha256.New, key)
				mac.Write([]byte(r.Header.Get("Webhook-Id") + "." + r.Header.Get("Webhook-Timestamp") + "." + bodies[i]))
				if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.Header.Get("Webhook-Signature") != want {
					t.Errorf("the signature is %q, want %q", r.Header.Get("Webhook-Signature"), want)
				}
				if r.Method != "POST" || r.URL.String() != "/hook?key=planted-in-url" || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
				}
			}
			return bodies
		}
		if got := deliver(); len(got) > 0 {
			t.Errorf("told of what was before: %q", got)
		}
		for i := range 25 {
			w.scan(fmt.Sprintf("image %d", i), "1.0.0")
		}
		seen := make(map[string]bool)
		for i, body := range deliver() {
			var m feed.Message
			w.ok(json.Unmarshal([]byte(body), &m))
			if m.Type != "findings.changed" || m.ProjectID != w.project || len(m.Events) != []int{20, 5}[i] {
				t.Errorf("request %d: %s of %s with %d events", i, m.Type, m.ProjectID, len(m.Events))
			}
			for _, e := range m.Events {
				if seen[e.Image.ImageID] || e.Cause != "content" || len(e.Added) != 1 {
					t.Errorf("got %+v", e)
				}
				seen[e.Image.ImageID] = true
			}
		}
		if len(seen) != 25 {
			t.Errorf("told of %d images", len(seen))
		}
		if got := deliver(); len(got) > 0 {
			t.Errorf("told twice: %q", got)
		}

		w.scan("more", "1.0.0")
		for i, status := range []int{500, 302, 404} {
			h.answers(status)
			if got := deliver(); len(got) != 1 {
				t.Errorf("after %d: %d requests", status, len(got))
			}
			if got := deliver(); len(got) > 0 {
				t.Errorf("after %d it does not wait", status)
			}
			list, err := w.feed.Webhooks(ctx, w.project)
			w.ok(err)
			if len(list) != 1 || list[0].Failures != i+1 || !strings.Contains(list[0].Problem, fmt.Sprint(status)) {
				t.Errorf("got %+v", list)
			}
			w.wait(time.Minute << i)
		}
		h.answers(200)
		if got := deliver(); len(got) != 1 || !strings.Contains(got[0], `"image_id":"more"`) {
			t.Errorf("got %q", got)
		}
		list, err := w.feed.Webhooks(ctx, w.project)
		w.ok(err)
		if len(list) != 1 || list[0].Failures != 0 || list[0].Problem != "" || list[0].Origin != h.URL {
			t.Errorf("got %+v", list)
		}
		if text := fmt.Sprintf("%s %+v", list[0].Sealed, list); strings.Contains(text, "planted-in-url") || strings.Contains(text, string(key)) {
			t.Errorf("the database tells a secret: %s", text)
		}
		if err := w.feed.DeleteWebhook(ctx, "another", added.ID); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("another project deletes it: %v", err)
		}
		w.ok(w.feed.DeleteWebhook(ctx, w.project, added.ID))
		w.scan("unheard", "1.0.0")
		if got := deliver(); len(got) > 0 {
			t.Errorf("told after it was deleted: %q", got)
		}
	})
}

func TestBadWebhooks(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	for _, to := range []string{"", "example.com", "ftp://example.com", "https://", "https://me:planted@example.com/", "https://example.com/#x", "https://example.com/\n", "https://example.com/" + strings.Repeat("x", 2048)} {
		_, _, err := w.feed.AddWebhook(ctx, w.project, to)
		if e, ok := errors.AsType[*tidewaiter.Error](err); !ok || e.Kind != tidewaiter.Invalid || e.Field != "url" || strings.Contains(err.Error(), "planted") {
			t.Errorf("%.40q: got %v", to, err)
		}
	}
	_, _, err := w.feed.AddWebhook(ctx, w.project, "http://169.254.169.254/latest")
	w.ok(err)
	w.advise(1, "1.3.0")
	w.scan("app", "1.0.0")
	w.ok(w.feed.Deliver(ctx))
	list, err := w.feed.Webhooks(ctx, w.project)
	w.ok(err)
	if len(list) != 1 || !strings.Contains(list[0].Problem, "link-local") {
		t.Errorf("got %+v", list)
	}
	for range 19 {
		_, _, err := w.feed.AddWebhook(ctx, w.project, "https://example.com")
		w.ok(err)
	}
	if _, _, err := w.feed.AddWebhook(ctx, w.project, "https://example.com"); tidewaiter.KindOf(err) != tidewaiter.Conflict {
		t.Errorf("got %v", err)
	}
}
