package worker_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	v1empty "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

const openVEX = "application/vnd.openvex+json"

// attach pushes a document that refers to an image, under a tag that says
// nothing.
func (h *harbour) attach(repository, tag, text string, to v1.Image) {
	h.Helper()
	subject, err := to.Digest()
	check(h.T, err)
	size, err := to.Size()
	check(h.T, err)
	document, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(v1empty.Image, types.OCIManifestSchema1), openVEX),
		mutate.Addendum{Layer: static.NewLayer([]byte(text), openVEX)})
	check(h.T, err)
	h.hub.push(repository+":"+tag, mutate.Subject(document, v1.Descriptor{MediaType: types.DockerManifestSchema2, Digest: subject, Size: size}).(v1.Image))
}

func fixedBy(id, vulnerability, product string) string {
	return fmt.Sprintf(`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": %q, "author": "me", "timestamp": "2026-01-01T00:00:00Z",
		"statements": [{"vulnerability": {"name": %q}, "status": "fixed", "products": [%q]}]}`, id, vulnerability, product)
}

// trust sets whether attached documents count.
func (h *harbour) trust(on bool) {
	h.Helper()
	_, err := h.inventory.UpdateRegistry(h.Context(), project(), h.registry.ID, inventory.RegistryChange{Settings: inventory.SettingsChange{TrustAttachedVEX: &on}})
	check(h.T, err)
}

// open returns how many vulnerabilities of an image nobody has handled, and how
// many somebody has.
func (h *harbour) open(name string) string {
	h.Helper()
	id := h.images()[name].ManifestID
	risks, err := h.db.Risks(h.Context(), []int64{id})
	check(h.T, err)
	return fmt.Sprint(risks[id].Vulnerabilities(), " open, ", risks[id].Handled, " handled")
}

// brought wants a vulnerability to be there since the image's first scan, as the
// image has it and as the feed of changes says.
func (h *harbour) brought(name, vulnerability string) {
	h.Helper()
	id := h.images()[name].ManifestID
	found, _, err := h.db.ImageFindings(h.Context(), []int64{id}, store.FindingFilter{Is: vulnerability}, store.Page{Limit: 10})
	check(h.T, err)
	if len(found) != 1 || found[0].Cause != store.CauseContent {
		h.Errorf("%s in %s: %+v", vulnerability, name, found)
	}
	events, err := h.db.ImageEvents(h.Context(), []int64{id}, 10, nil)
	check(h.T, err)
	if len(events) != 1 || events[0].Cause != store.CauseContent || len(events[0].Changes) != 1 || events[0].Changes[0].Name != vulnerability {
		h.Errorf("what happened to %s: %+v", name, events)
	}
}

// TestAttachedVEX scans images with VEX documents attached to them: they count
// when the registry's setting says so, and only then is the registry asked.
func TestAttachedVEX(t *testing.T) {
	h := newHarbour(t)
	app, other := imageOf(t, "linux", base(t)), imageOf(t, "linux", base(t), npmLayer(t, "left-pad", "1.0.0"))
	h.hub.push("team/app:v1", app)
	h.hub.push("team/other:v1", other)
	h.hub.push("team/own:v1", imageOf(t, "linux", npmLayer(t, "right-pad", "1.0.0"))) // the only one with its package
	h.attach("team/app", "a", fixedBy("one", "CVE-2026-1000", "pkg:deb/debian/bash"), app)
	file := filepath.Join(t.TempDir(), "bash.json")
	check(t, os.WriteFile(file, []byte(`[{"schema_version": "1.7.0", "id": "GHSA-a", "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-2000"],
		"affected": [{"package": {"ecosystem": "npm", "name": "right-pad"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]}]},
		{"schema_version": "1.7.0", "id": "DEBIAN-CVE-2026-1000", "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-1000"],
		"affected": [{"package": {"ecosystem": "Debian:12", "name": "bash"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}]`), 0o600))
	_, err := h.sets.Import(t.Context(), []string{file}, h.findings)
	check(t, err)
	h.component()
	h.connect()

	want := func(when, app, other string) {
		t.Helper()
		if a, o := h.open("team/app:v1"), h.open("team/other:v1"); a != app || o != other {
			t.Errorf("%s: app has %s, want %s; other has %s, want %s", when, a, app, o, other)
		}
	}
	const open, handled = "1 open, 0 handled", "0 open, 1 handled"
	h.hub.forget()
	h.scan()
	want("without trust", open, open)
	h.brought("team/own:v1", "CVE-2026-2000")
	if asked := strings.Join(h.hub.forget(), "\n"); strings.Contains(asked, "referrers") || strings.Contains(asked, ".att") {
		t.Errorf("the registry was asked:\n%s", asked)
	}

	h.trust(true)
	task := h.scan()
	if task.Failed != 0 || task.Succeeded != task.Total {
		t.Errorf("task %+v", task)
	}
	want("with trust", handled, open)
	layers, err := other.Layers()
	check(t, err)
	pulled := h.pulled()
	for _, l := range layers {
		if n := pulled[mustDigest(t, l)]; n > 0 {
			t.Errorf("a layer was pulled %d times again", n)
		}
	}

	// One more document, and one that nobody can read: the scan is as good.
	h.attach("team/other", "b", fixedBy("two", "CVE-2026-1000", "pkg:deb/debian/bash"), other)
	h.attach("team/other", "c", strings.Repeat("x", 2<<20), other)
	task = h.scan()
	if task.Failed != 0 {
		t.Errorf("task %+v", task)
	}
	want("with another", handled, handled)
	list, _, err := h.db.AttachedVEXOfRegistry(t.Context(), h.registry.ID, store.Page{Limit: 10})
	check(t, err)
	problems := ""
	for _, a := range list {
		problems += a.Problem
	}
	if len(list) != 3 || !strings.Contains(problems, "more than 1048576") {
		t.Errorf("attached: %+v", list)
	}

	// The registry does not tell: what was known stays, and the scan is as good.
	h.hub.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/referrers/") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	if task = h.scan(); task.Failed != 0 {
		t.Errorf("task %+v", task)
	}
	want("without an answer", handled, handled)

	// Nothing is attached any more.
	h.hub.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/referrers/") {
			w.Header().Set("Content-Type", tidewaiter.MediaTypeOCIIndex)
			fmt.Fprint(w, `{"schemaVersion": 2, "manifests": []}`)
			return true
		}
		return false
	})
	h.scan()
	want("with nothing", open, open)
}
