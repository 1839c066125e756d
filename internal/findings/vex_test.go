package findings_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

// document is one in OpenVEX's form; each statement is "vulnerability status
// product…".
func (w *world) document(id string, statements ...string) vex.Document {
	w.Helper()
	var list []string
	for i, s := range statements {
		f := strings.Fields(s)
		list = append(list, fmt.Sprintf(`{"vulnerability": {"name": %q}, "status": %q, "products": ["%s"], "impact_statement": "because", "timestamp": "2026-01-01T00:00:%02dZ"}`,
			f[0], f[1], strings.Join(f[2:], `","`), i))
	}
	d, err := vex.Read([]byte(`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "` + id + `", "author": "Harbour Security", "timestamp": "2026-01-01T00:00:00Z", "statements": [` + strings.Join(list, ",") + `]}`))
	w.ok(err)
	return d
}

func TestVEX(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		e := tidewaiter.Extent{ProjectID: w.registry, All: true}
		w.scan("app", w.deb("openssl", "3.0.1-1"), npm("left-pad", "1.0.0"))
		w.scan("other", w.deb("openssl", "3.0.1-1"))
		w.importFiles(w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(1), "Debian:12", "openssl", "", critical, "CVE-2026-1000")),
			w.write("npm.json", advisory("GHSA-aaaa-bbbb-cccc", day(1), "npm", "left-pad", "", medium, "CVE-2026-2000")))
		open := map[string]tidewaiter.Risk{"app": risk(0, tidewaiter.RankCritical, tidewaiter.RankMedium), "other": risk(0, tidewaiter.RankCritical)}
		w.want(open)
		handled := func(r tidewaiter.Risk, n int, ranks ...tidewaiter.SeverityRank) tidewaiter.Risk {
			for _, rank := range ranks {
				r.Found[rank]--
			}
			r.Handled = n
			return r
		}
		app := string(tidewaiter.DigestOf([]byte(w.registry + "app")))
		apply := func(d vex.Document) findings.AppliedVEX {
			t.Helper()
			done, err := w.findings.ApplyVEX(ctx, e, d, time.Time{})
			w.ok(err)
			return done
		}

		// In one image; and by GitHub's id, in a package wherever it is.
		done := apply(w.document("one", "CVE-2026-1000 not_affected pkg:oci/app@"+app, "GHSA-aaaa-bbbb-cccc fixed pkg:npm/left-pad", "CVE-2026-1000 affected pkg:deb/debian/other"))
		if done.Statements != 3 || done.Handled != 2 || done.Exceptions != 2 || len(done.Unknown) != 0 {
			t.Errorf("got %+v", done)
		}
		w.want(map[string]tidewaiter.Risk{"app": handled(open["app"], 2, tidewaiter.RankCritical, tidewaiter.RankMedium), "other": open["other"]})
		list, _, err := db.ImageFindings(ctx, []int64{w.images["app"]}, store.FindingFilter{Is: "CVE-2026-1000"}, store.Page{Limit: 10})
		w.ok(err)
		if len(list) != 1 || list[0].Handled == nil || list[0].Handled.Action != tidewaiter.ActionVEX || list[0].Handled.Source != "one" || list[0].Handled.Remark != "because" || list[0].Handled.Author != "Harbour Security" {
			t.Errorf("got %+v", list)
		}

		// The next version takes its place, and other documents stay.
		apply(w.document("two", "CVE-2026-1000 fixed pkg:deb/debian/openssl@3.0.1-1"))
		w.want(map[string]tidewaiter.Risk{"app": handled(open["app"], 2, tidewaiter.RankCritical, tidewaiter.RankMedium), "other": handled(open["other"], 1, tidewaiter.RankCritical)})
		unknown := "sha256:" + strings.Repeat("f", 64)
		done = apply(w.document("one", "CVE-2026-2000 affected "+app, "CVE-2026-1000 fixed "+unknown))
		if done.Exceptions != 0 || len(done.Unknown) != 1 || string(done.Unknown[0]) != unknown {
			t.Errorf("got %+v", done)
		}
		w.want(map[string]tidewaiter.Risk{"app": handled(open["app"], 1, tidewaiter.RankCritical), "other": handled(open["other"], 1, tidewaiter.RankCritical)})
		documents, err := w.findings.VEXDocuments(ctx, e)
		w.ok(err)
		if len(documents) != 1 || documents[0].Source != "two" || documents[0].Exceptions != 1 || documents[0].Vulnerabilities != 1 {
			t.Errorf("got %+v", documents)
		}

		// Another version of the package, an enterprise project of its own, and an end.
		apply(w.document("two", "CVE-2026-1000 fixed pkg:deb/debian/openssl@3.0.2-1"))
		w.want(open)
		_, err = w.findings.ApplyVEX(ctx, tidewaiter.Extent{ProjectID: w.registry, EnterpriseProjects: []string{"another"}}, w.document("three", "CVE-2026-1000 fixed pkg:deb/debian/openssl"), time.Time{})
		w.ok(err)
		w.want(open)
		_, err = w.findings.ApplyVEX(ctx, e, w.document("three", "CVE-2026-1000 fixed pkg:deb/debian/openssl"), store.Now().Add(time.Hour))
		w.ok(err)
		w.want(map[string]tidewaiter.Risk{"app": handled(open["app"], 1, tidewaiter.RankCritical), "other": handled(open["other"], 1, tidewaiter.RankCritical)})
		later := findings.New(findings.Options{Store: db, Sets: w.sets, Now: func() time.Time { return store.Now().Add(2 * time.Hour) }})
		w.ok(later.SettleExceptions(ctx))
		w.want(open)
		_, err = w.findings.ApplyVEX(ctx, e, w.document("three", "CVE-2026-1000 fixed pkg:deb/debian/openssl"), store.Now().Add(-time.Hour))
		w.wantKind(err, tidewaiter.Invalid)

		w.wantKind(w.findings.RemoveVEX(ctx, e, "none"), tidewaiter.NotFound)
		w.wantKind(w.findings.RemoveVEX(ctx, tidewaiter.Extent{ProjectID: "another", All: true}, "two"), tidewaiter.NotFound)
		w.ok(w.findings.RemoveVEX(ctx, e, "two"))
		w.wantKind(w.findings.RemoveVEX(ctx, e, "two"), tidewaiter.NotFound)
		w.want(open)
	})
}

// TestExceptionOfAnIndex holds for its images, until the index is removed: they
// may stay, by tags of their own.
func TestExceptionOfAnIndex(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		e := tidewaiter.Extent{ProjectID: w.registry, All: true}
		w.scan("arm", w.deb("openssl", "3.0.1-1"))
		child := tidewaiter.DigestOf([]byte(w.registry + "arm"))
		index := tidewaiter.DigestOf([]byte(w.registry + "index"))
		w.ok(db.PutManifests(ctx, w.registry, []tidewaiter.Manifest{{Digest: index, MediaType: tidewaiter.MediaTypeOCIIndex, Kind: "index", ImageID: string(index[7:]), Children: []tidewaiter.Digest{child}}}))
		repository, err := db.PutRepository(ctx, tidewaiter.Repository{RegistryID: w.registry, Name: "app"})
		w.ok(err)
		w.ok(db.PutImages(ctx, repository, "sync", []store.ImageTag{{Name: "arm", ManifestID: w.images["arm"]}}, store.Now()))
		w.importFiles(w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(1), "Debian:12", "openssl", "", critical, "CVE-2026-1000")))
		open := map[string]tidewaiter.Risk{"arm": risk(0, tidewaiter.RankCritical)}
		w.want(open)
		done, err := w.findings.ApplyVEX(ctx, e, w.document("one", "CVE-2026-1000 fixed "+string(index)), time.Time{})
		w.ok(err)
		if len(done.Unknown) > 0 {
			t.Errorf("got %+v", done)
		}
		handled := tidewaiter.Risk{Handled: 1}
		w.want(map[string]tidewaiter.Risk{"arm": handled})
		for {
			n, err := db.PurgeGone(ctx, store.Now().Add(time.Hour), 100)
			w.ok(err)
			if n == 0 {
				break
			}
		}
		if known, err := db.ManifestsByDigest(ctx, w.registry, []tidewaiter.Digest{index, child}); err != nil || len(known) != 1 {
			t.Fatalf("%d manifests are left, %v", len(known), err)
		}
		w.want(open)
	})
}
