package findings_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// put writes a file of any form.
func (w *world) put(name, text string) string {
	w.Helper()
	path := filepath.Join(w.folder, name)
	w.ok(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// catalogue is CISA's, with one vulnerability.
func catalogue(day int, cve string) string {
	return fmt.Sprintf(`{"catalogVersion": "2026.01.%02d", "dateReleased": "2026-01-%02dT00:00:00Z", "vulnerabilities": [{"cveID": %q, "dateAdded": "2026-01-01", "knownRansomwareCampaignUse": "Known"}]}`, day, day, cve)
}

// TestThreats: what is exploited is known of findings at once, and of those that
// come later; no package is matched for it, and no number of an image changes.
func TestThreats(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		w.scan("app", w.deb("openssl", "3.0.1-1"))
		w.importFiles(w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(1), "Debian:12", "openssl", "", medium, "CVE-2026-1000"),
			advisory("DEBIAN-CVE-2026-2000", day(1), "Debian:12", "zlib", "", medium, "CVE-2026-2000")))
		_, at := w.follow(store.EventCursor{})
		want := func(exploited ...string) {
			t.Helper()
			var got []string
			for name, id := range w.images {
				list, _, err := db.ImageFindings(ctx, []int64{id}, store.FindingFilter{}, store.Page{Limit: 100})
				w.ok(err)
				for _, f := range list {
					if !f.Exploited.IsZero() {
						got = append(got, name+" "+f.Name)
					}
				}
				now, _, err := db.ImageFindings(ctx, []int64{id}, store.FindingFilter{Necessity: store.RepairNow}, store.Page{Limit: 100})
				w.ok(err)
				for _, f := range now {
					if f.Exploited.IsZero() {
						t.Errorf("%s of %s is to be repaired now", f.Name, name)
					}
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(append([]string{}, exploited...), append([]string{}, got...)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		}
		want()
		r := w.importFiles(w.put("kev.json", catalogue(2, "CVE-2026-1000")), w.put("epss.csv", "#model_version:v1,score_date:2026-01-02T00:00:00+0000\ncve,epss,percentile\nCVE-2026-1000,0.5,0.9\nCVE-2026-2000,0.25,0.8\n"))
		if len(r.Sources) != 2 || r.Sources[0].Read != 1 || r.Sources[1].Read != 2 {
			t.Errorf("got %+v", r.Sources)
		}
		want("app CVE-2026-1000")
		if said, _ := w.follow(at); len(said) > 0 {
			t.Errorf("images changed by it: %q", said)
		}
		threats, err := w.findings.Threats(ctx, []string{"CVE-2026-1000", "CVE-2026-2000", "CVE-2026-3000"})
		w.ok(err)
		if x := threats["CVE-2026-1000"]; len(threats) != 2 || x.Probability != 0.5 || x.Percentile != 0.9 || !x.Ransomware || x.Exploited.IsZero() {
			t.Errorf("got %+v", threats)
		}

		w.importFiles(w.put("kev.json", catalogue(3, "CVE-2026-2000")))
		want()
		w.scan("later", w.deb("zlib", "1.0-1"))
		want("later CVE-2026-2000")
		_, err = w.sets.Forget(ctx, filepath.Join(w.folder, "kev.json"), w.findings)
		w.ok(err)
		want()
		_, err = w.sets.Rollback(ctx, "", w.findings)
		w.ok(err)
		want("later CVE-2026-2000")

		_, err = w.sets.Import(ctx, []string{w.put("kev.json", catalogue(1, "CVE-2026-1000"))}, w.findings)
		w.wantKind(err, tidewaiter.Conflict) // an older catalogue
		want("later CVE-2026-2000")
	})
}
