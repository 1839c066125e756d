package findings_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// content is a document of OpenVEX, as it is attached. Each statement is
// "vulnerability status product…".
func content(id, timestamp string, statements ...string) tidewaiter.AttachedContent {
	var list []string
	for _, s := range statements {
		f := strings.Fields(s)
		list = append(list, fmt.Sprintf(`{"vulnerability": {"name": %q}, "status": %q, "products": ["%s"], "impact_statement": "because"}`, f[0], f[1], strings.Join(f[2:], `","`)))
	}
	text := fmt.Sprintf(`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": %q, "author": "Harbour Security", "timestamp": %q, "statements": [%s]}`, id, timestamp, strings.Join(list, ","))
	return plain(text)
}

func plain(text string) tidewaiter.AttachedContent {
	return tidewaiter.AttachedContent{Digest: tidewaiter.DigestOf([]byte(text)), MediaType: "application/vnd.openvex+json", Bytes: []byte(text)}
}

func (w *world) manifest(name string) tidewaiter.Manifest {
	return tidewaiter.Manifest{ID: w.images[name], RegistryID: w.registry, Digest: tidewaiter.DigestOf([]byte(w.registry + name))}
}

// attach attaches documents to an image, in the place of those before.
func (w *world) attach(m tidewaiter.Manifest, contents ...tidewaiter.AttachedContent) {
	w.Helper()
	r, err := w.db.Registry(context.Background(), w.registry)
	w.ok(err)
	w.ok(w.findings.AttachVEX(context.Background(), r, m, contents, func(*store.DB) error { return nil }))
}

// attached shows what is attached to the images of the registry.
func (w *world) attached() (list []string) {
	w.Helper()
	found, err := w.findings.AttachedVEX(context.Background(), w.registry, store.Page{Limit: 100})
	w.ok(err)
	for _, a := range found {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s by %s: %d, %d %s", a.ID, a.Author, a.Statements, a.Exceptions, a.Problem)))
	}
	return list
}

func TestAttachVEX(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		w.scan("app", w.deb("openssl", "3.0.1-1"), npm("left-pad", "1.0.0"))
		w.scan("other", w.deb("openssl", "3.0.1-1"))
		w.importFiles(w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(1), "Debian:12", "openssl", "", critical, "CVE-2026-1000")),
			w.write("npm.json", advisory("GHSA-aaaa-bbbb-cccc", day(1), "npm", "left-pad", "", medium, "CVE-2026-2000")))
		open := map[string]tidewaiter.Risk{"app": risk(0, tidewaiter.RankCritical, tidewaiter.RankMedium), "other": risk(0, tidewaiter.RankCritical)}
		one := map[string]tidewaiter.Risk{"app": {Found: risk(0, tidewaiter.RankMedium).Found, Handled: 1}, "other": open["other"]}
		both := map[string]tidewaiter.Risk{"app": {Handled: 2}, "other": open["other"]}
		w.want(open)
		app, other := w.manifest("app"), w.manifest("other")

		// It holds for the image that it is attached to, and for no other that it names.
		first := content("one", day(1), "CVE-2026-1000 fixed pkg:deb/debian/openssl "+string(other.Digest))
		w.attach(app, first)
		w.want(one)
		w.attach(app, first)
		w.want(one)
		list, _, err := db.ImageFindings(ctx, []int64{app.ID}, store.FindingFilter{Is: "CVE-2026-1000"}, store.Page{Limit: 10})
		w.ok(err)
		if len(list) != 1 || list[0].Handled == nil || list[0].Handled.Source != "attached:"+w.registry+"/"+string(app.Digest)+"/"+string(first.Digest) {
			t.Errorf("got %+v", list)
		}
		if documents, err := w.findings.VEXDocuments(ctx, tidewaiter.Extent{ProjectID: w.registry, All: true}); err != nil || len(documents) != 0 {
			t.Errorf("it is among the documents that users gave: %+v, %v", documents, err)
		}

		// A second one, beside what cannot be read and what is no VEX.
		broken := plain(`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "broken", "statements": [{}]}`)
		unread := tidewaiter.AttachedContent{Digest: tidewaiter.DigestOf([]byte("x")), Problem: "it is too large"}
		w.attach(app, first, content("two", day(2), "GHSA-aaaa-bbbb-cccc not_affected "+string(app.Digest)), broken, unread, plain(`{"spdxVersion": "2.3"}`))
		w.want(both)
		got := w.attached()
		want := map[string]bool{"one by Harbour Security: 1, 1": true, "two by Harbour Security: 1, 1": true, "by : 0, 0 it is too large": true}
		for _, line := range got {
			if !want[line] && !strings.Contains(line, "0, 0 statements[0]") {
				t.Errorf("got %q", line)
			}
		}
		if len(got) != 4 {
			t.Errorf("got %q", got)
		}

		// What is said later counts, also by another document; an older version of
		// one that is still there does not.
		w.attach(app, first, content("two", day(2), "CVE-2026-1000 affected "+string(app.Digest)))
		w.want(open)
		w.attach(app, first, content("one", day(3), "CVE-2026-2000 fixed pkg:npm/left-pad"))
		w.want(map[string]tidewaiter.Risk{"app": {Found: risk(0, tidewaiter.RankCritical).Found, Handled: 1}, "other": open["other"]})
		if got := strings.Join(w.attached(), "\n"); !strings.Contains(got, "a version of it that was issued later") {
			t.Errorf("got %q", got)
		}

		// The same document at two images: what is removed from one stays at the other.
		both2 := content("both", day(4), "CVE-2026-1000 fixed pkg:deb/debian/openssl")
		w.attach(app, both2)
		w.attach(other, both2)
		w.want(map[string]tidewaiter.Risk{"app": one["app"], "other": {Handled: 1}})
		w.attach(app)
		w.want(map[string]tidewaiter.Risk{"app": open["app"], "other": {Handled: 1}})
		w.attach(app, first)

		// The lease is lost: nothing is changed.
		r, err := db.Registry(ctx, w.registry)
		w.ok(err)
		lost := errors.New("lost")
		for _, contents := range [][]tidewaiter.AttachedContent{nil, {both2}} {
			if err := w.findings.AttachVEX(ctx, r, app, contents, func(*store.DB) error { return lost }); !errors.Is(err, lost) {
				t.Errorf("got %v", err)
			}
		}
		w.want(map[string]tidewaiter.Risk{"app": one["app"], "other": {Handled: 1}})

		// A document that would make too many exceptions makes none; others do.
		var packages []string
		for i := range 5_001 {
			packages = append(packages, fmt.Sprintf("pkg:npm/p%d", i))
		}
		w.attach(app, first, content("many", day(5), "CVE-2026-2000 fixed "+strings.Join(packages, " ")))
		w.want(map[string]tidewaiter.Risk{"app": one["app"], "other": {Handled: 1}})
		if got := strings.Join(w.attached(), "\n"); !strings.Contains(got, "many by Harbour Security: 1, 0 it makes more than 5000 exceptions") {
			t.Errorf("got %q", got)
		}

		w.ok(w.findings.DetachVEX(ctx, w.registry))
		w.want(open)
		if got := w.attached(); got != nil {
			t.Errorf("left: %q", got)
		}
		w.wantKind(w.findings.DetachVEX(ctx, "none"), tidewaiter.NotFound)

		// Nobody takes the name of such a document.
		_, err = w.findings.ApplyVEX(ctx, tidewaiter.Extent{ProjectID: w.registry, All: true}, w.document("attached:x", "CVE-2026-1000 fixed pkg:deb/debian/openssl"), time.Time{})
		w.wantKind(err, tidewaiter.Invalid)
	})
}

// TestAttachVEXToAnIndex holds for its images, and goes with it.
func TestAttachVEXToAnIndex(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		w.scan("arm", w.deb("openssl", "3.0.1-1"))
		w.scan("amd", w.deb("openssl", "3.0.1-1"))
		arm, amd := w.manifest("arm"), w.manifest("amd")
		index := tidewaiter.DigestOf([]byte(w.registry + "index"))
		w.ok(db.PutManifests(ctx, w.registry, []tidewaiter.Manifest{{Digest: index, MediaType: tidewaiter.MediaTypeOCIIndex, Kind: "index", ImageID: string(index[7:]), Children: []tidewaiter.Digest{arm.Digest, amd.Digest}}}))
		repository, err := db.PutRepository(ctx, tidewaiter.Repository{RegistryID: w.registry, Name: "app"})
		w.ok(err)
		w.ok(db.PutImages(ctx, repository, "sync", []store.ImageTag{{Name: "arm", ManifestID: w.images["arm"]}, {Name: "amd", ManifestID: w.images["amd"]}}, store.Now()))
		known, err := db.ManifestsByDigest(ctx, w.registry, []tidewaiter.Digest{index})
		w.ok(err)
		m, _, err := db.Manifest(ctx, known[index].ID)
		w.ok(err)
		w.importFiles(w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(1), "Debian:12", "openssl", "", critical, "CVE-2026-1000")))
		open, handled := risk(0, tidewaiter.RankCritical), tidewaiter.Risk{Handled: 1}

		w.attach(m, content("one", day(1), "CVE-2026-1000 fixed "+string(arm.Digest)))
		w.want(map[string]tidewaiter.Risk{"arm": handled, "amd": open})
		w.attach(m, content("one", day(1), "CVE-2026-1000 fixed "+string(index)))
		w.want(map[string]tidewaiter.Risk{"arm": handled, "amd": handled})
		w.attach(amd, content("two", day(1), "CVE-2026-1000 fixed "+string(index)))
		if diff := cmp.Diff([]string{"two by Harbour Security: 0, 0", "one by Harbour Security: 1, 1"}, w.attached()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		for {
			n, err := db.PurgeGone(ctx, store.Now().Add(time.Hour), 100)
			w.ok(err)
			if n == 0 {
				break
			}
		}
		w.want(map[string]tidewaiter.Risk{"arm": open, "amd": open})
		if list, _, err := db.Exceptions(ctx, tidewaiter.Extent{ProjectID: w.registry, All: true}, store.ExceptionFilter{}, store.Page{Limit: 10}); err != nil || len(list) != 0 {
			t.Errorf("exceptions that are left: %+v, %v", list, err)
		}

		w.attach(arm, content("one", day(1), "CVE-2026-1000 fixed "+string(arm.Digest)))
		w.ok(db.DeleteRegistry(ctx, w.registry))
		if list, _, err := db.Exceptions(ctx, tidewaiter.Extent{ProjectID: w.registry, All: true}, store.ExceptionFilter{}, store.Page{Limit: 10}); err != nil || len(list) != 0 {
			t.Errorf("exceptions of a registry that is gone: %+v, %v", list, err)
		}
	})
}
