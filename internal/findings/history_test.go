package findings_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// TestHistory records how things stand on several days, and what was found last.
func TestHistory(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		e := tidewaiter.Extent{ProjectID: w.registry, All: true}
		w.scan("app", w.deb("openssl", "3.0.1-1"), npm("left-pad", "1.0.0"))
		w.scan("other", w.deb("openssl", "3.0.1-1"))
		at := time.Date(2026, 5, 1, 23, 30, 0, 0, time.UTC)
		on := func(t time.Time) *findings.Service {
			return findings.New(findings.Options{Store: db, Sets: w.sets, Now: func() time.Time { return t }})
		}
		w.ok(on(at).RecordRisks(ctx))
		w.importFiles(w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(1), "Debian:12", "openssl", "", critical, "CVE-2026-1000")))
		w.importFiles(w.write("npm.json", advisory("GHSA-aaaa-bbbb-cccc", day(1), "npm", "left-pad", "", medium, "CVE-2026-2000")))
		next := at.Add(time.Hour)
		w.ok(on(next).RecordRisks(ctx))
		w.ok(on(next.Add(time.Hour)).RecordRisks(ctx)) // the same day again
		got, err := on(next).RiskDays(ctx, e, 2)
		w.ok(err)
		// The images of this world have no tags: what their packages have counts.
		want := []tidewaiter.RiskDay{{Day: at.Truncate(24 * time.Hour)}, {Day: next.Truncate(24 * time.Hour), Open: tidewaiter.RiskOpen{Critical: 2, Medium: 1}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if got, err := on(next).RiskDays(ctx, e, 1); err != nil || len(got) != 1 {
			t.Errorf("one day: %v, %v", got, err)
		}
		for _, other := range []tidewaiter.Extent{{ProjectID: "another", All: true}, {ProjectID: w.registry, EnterpriseProjects: []string{"another"}}} {
			if got, err := on(next).RiskDays(ctx, other, 10); err != nil || len(got) != 0 {
				t.Errorf("of others: %v, %v", got, err)
			}
			if got, err := w.findings.Recent(ctx, other, 10); err != nil || len(got) != 0 {
				t.Errorf("of others: %v, %v", got, err)
			}
		}
		w.ok(on(next.AddDate(2, 0, 0)).RecordRisks(ctx))
		if got, err := on(next).RiskDays(ctx, e, 100); err != nil || len(got) != 1 {
			t.Errorf("two years later: %v, %v", got, err)
		}

		recent, err := w.findings.Recent(ctx, e, 10)
		w.ok(err)
		if len(recent) != 2 || recent[0].Name != "CVE-2026-2000" || recent[0].Images != 1 || recent[1].Name != "CVE-2026-1000" || recent[1].Images != 2 || recent[1].Severity != tidewaiter.RankCritical {
			t.Errorf("recent: %+v", recent)
		}
		_, err = w.findings.ApplyVEX(ctx, e, w.document("one", "CVE-2026-2000 fixed pkg:npm/left-pad"), time.Time{})
		w.ok(err)

		// What happened to each image, the last first.
		w.scan("third", w.deb("openssl", "3.0.1-1"))
		for name, want := range map[string]string{
			"app":   "exceptions CVE-2026-2000, advisories CVE-2026-2000, advisories CVE-2026-1000",
			"other": "advisories CVE-2026-1000",
			"third": "content CVE-2026-1000",
		} {
			events, err := db.ImageEvents(ctx, []int64{w.images[name]}, 10, nil)
			w.ok(err)
			var said []string
			for _, event := range events {
				var names []string
				for _, c := range event.Changes {
					names = append(names, c.Name)
				}
				said = append(said, string(event.Cause)+" "+strings.Join(names, " "))
			}
			if got := strings.Join(said, ", "); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
		if events, err := db.ImageEvents(ctx, []int64{w.images["app"], w.images["other"]}, 3, nil); err != nil || len(events) != 3 {
			t.Errorf("the last three of both: %d, %v", len(events), err)
		}
		if recent, err := w.findings.Recent(ctx, e, 1); err != nil || len(recent) != 1 || recent[0].Name != "CVE-2026-1000" {
			t.Errorf("recent: %+v, %v", recent, err)
		}
	})
}
