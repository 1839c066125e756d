package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// changedAdvisories is how many advisories of the second set are others than in
// the first.
const changedAdvisories = 1_000

// madeAdvisories are one about each of the 12,500 packages, which about half of
// its versions are affected by; of the second set some are changed, some new
// and some withdrawn.
func madeAdvisories(versions []store.PackageVersion, second bool) []tidewaiter.Advisory {
	random := rand.New(rand.NewPCG(3, 4))
	levels := []string{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N", ""}
	scores := []tidewaiter.Severity{
		{Method: "CVSS_V3", Vector: levels[0], Score: 9.8, Level: tidewaiter.CriticalSeverity}, {Method: "CVSS_V3", Vector: levels[1], Score: 7.5, Level: tidewaiter.HighSeverity},
		{Method: "CVSS_V3", Vector: levels[2], Score: 5.3, Level: tidewaiter.MediumSeverity},
	}
	list := make([]tidewaiter.Advisory, 0, len(versions)/4+changedAdvisories)
	about := func(n int, name string, v store.PackageVersion, fixed string, s tidewaiter.Severity) tidewaiter.Advisory {
		ecosystem := v.Ecosystem
		if ecosystem == "Debian" {
			ecosystem = "Debian:12"
		}
		kind := tidewaiter.EcosystemRange
		if ecosystem == "npm" || ecosystem == "Go" {
			kind = tidewaiter.SemVerRange
		}
		return tidewaiter.Advisory{
			ID: fmt.Sprintf("X-%s-%d", name, n), Aliases: []string{fmt.Sprintf("CVE-2026-%d", 1000+n)}, Modified: time.Unix(1_760_000_000, 0).UTC(), Summary: "made up", Severities: []tidewaiter.Severity{s},
			Affected: []tidewaiter.Affected{{Ecosystem: ecosystem, Name: v.Name, Ranges: []tidewaiter.VersionRange{{Type: kind, Events: []tidewaiter.VersionEvent{
				{Kind: tidewaiter.Introduced, Version: "0"}, {Kind: tidewaiter.Fixed, Version: fixed}}}}}},
		}
	}
	names := contentVersions / 4
	for n := range names {
		v := versions[n]
		list = append(list, about(n, "base", v, fmt.Sprintf("%d.%d.0-0", n%9, random.IntN(17)), scores[random.IntN(3)]))
	}
	if !second {
		return list
	}
	for i := range changedAdvisories {
		n := random.IntN(names)
		switch {
		case i < 500:
			list[n] = about(n, "base", versions[n], fmt.Sprintf("%d.%d.0-0", n%9, random.IntN(17)), scores[random.IntN(3)])
		case i < 800:
			list = append(list, about(100_000+i, "new", versions[n], fmt.Sprintf("%d.9.0-0", n%9), scores[random.IntN(3)]))
		default:
			list[n].Withdrawn = time.Unix(1_760_000_001, 0).UTC()
		}
		if i < 500 || i >= 800 {
			list[n].Modified = time.Unix(1_760_000_001, 0).UTC()
		}
	}
	return list
}

// buildSet compiles advisories, and notes that there is the set.
func buildSet(b *testing.B, db *store.DB, folder string, list []tidewaiter.Advisory) (int64, *advisory.Index) {
	b.Helper()
	ctx := context.Background()
	builder := advisory.NewBuilder(folder)
	for _, a := range list {
		if err := builder.Add(a); err != nil {
			b.Fatal(err)
		}
	}
	built, err := builder.Finish(ctx)
	if err != nil {
		b.Fatal(err)
	}
	if err := builder.Close(); err != nil {
		b.Fatal(err)
	}
	index, err := advisory.Open(folder+"/"+advisory.FileName(built.Digest), built.Digest)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { index.Close() })
	number, err := db.PutAdvisorySet(ctx, store.AdvisorySet{Digest: built.Digest, Created: benchEpoch()})
	if err != nil {
		b.Fatal(err)
	}
	return number, index
}

// heldSet is what is in force.
type heldSet struct {
	db    *store.DB
	index *advisory.Index
}

func (h *heldSet) InForce(ctx context.Context) (*advisory.Index, int64, func(), error) {
	s, err := h.db.AdvisoryState(ctx)
	return h.index, s.Generation, func() {}, err
}

// BenchmarkActivate brings another set of advisories into force, of which 1,000
// are others, over 100,000 images with 300 packages each, and back, while
// somebody reads all the time. The first iteration of each is that of the
// larger first set, over images of which nothing was known: it is logged.
func BenchmarkActivate(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		b.Run(dialect, func(b *testing.B) {
			db, _ := contentDB(b, dialect, 5)
			ctx := context.Background()
			versions := countAll(b, db)
			folder := b.TempDir()
			first, firstIndex := buildSet(b, db, folder, madeAdvisories(versions, false))
			second, secondIndex := buildSet(b, db, folder, madeAdvisories(versions, true))
			held := &heldSet{db: db}
			service := findings.New(findings.Options{Store: db, Sets: held})
			activate := func(number int64, index *advisory.Index) {
				s, err := db.AdvisoryState(ctx)
				if err == nil {
					err = service.Activate(ctx, snapshots.Activation{Number: number, Index: index, From: s.Generation})
				}
				if err != nil {
					b.Fatal(err)
				}
				held.index = index
			}
			begun := time.Now()
			activate(first, firstIndex)
			b.Logf("the first set took %s", time.Since(begun).Round(time.Millisecond))
			stop := make(chan struct{})
			var reading sync.WaitGroup
			var waits []time.Duration
			reading.Go(func() { waits = readAll(b, db, stop) })
			b.ResetTimer()
			for range b.N {
				activate(second, secondIndex)
				b.StopTimer()
				activate(first, firstIndex)
				b.StartTimer()
			}
			b.StopTimer()
			close(stop)
			reading.Wait()
			slices.Sort(waits)
			b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "read-p50-ms")
			b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "read-p99-ms")
			b.ReportMetric(float64(waits[len(waits)-1].Microseconds())/1000, "read-max-ms")
		})
	}
}

// countAll has all images be counted, with nothing known of their packages.
func countAll(b *testing.B, db *store.DB) []store.PackageVersion {
	b.Helper()
	ctx := context.Background()
	bulk, err := db.NewBulk(ctx)
	if err != nil {
		b.Fatal(err)
	}
	for _, query := range []string{
		"DELETE FROM image_risks", "DELETE FROM scans", "DELETE FROM package_matches", "DELETE FROM package_subjects", "DELETE FROM package_vulnerabilities",
		"DELETE FROM vulnerability_counts", "DELETE FROM vulnerabilities", "DELETE FROM finding_change_images", "DELETE FROM finding_changes",
		"UPDATE advisory_state SET set_number = 0, rules = 0", "DELETE FROM advisory_sets",
		`INSERT INTO image_risks (manifest_id, registry_number, none, low, unknown, medium, high, critical, handled, gaps, since)
			SELECT manifest_id, registry_number, 0, 0, 0, 0, 0, 0, 0, packages, scanned FROM scan_results ORDER BY manifest_id`,
		`INSERT INTO scans (manifest_id, registry_number, work_id, status, failed_code, reason, extractors, scanned, vulnerable, unsafe_settings, malicious_files, severity)
			SELECT manifest_id, registry_number, '', 'success', '', '', 'x', scanned, 0, 0, 0, '' FROM scan_results ORDER BY manifest_id`,
		"UPDATE images SET severity = '', vulnerable = 0", "UPDATE images SET facet = " + store.FacetSQL + " WHERE facet <> " + store.FacetSQL,
		"DELETE FROM image_counts",
		"INSERT INTO image_counts (registry_number, facet, images) SELECT registry_number, facet, COUNT(*) FROM images GROUP BY registry_number, facet",
	} {
		if err := bulk.Exec(ctx, query); err != nil {
			b.Fatal(err)
		}
	}
	if err := bulk.Close(ctx); err != nil {
		b.Fatal(err)
	}
	var ids []int64
	for id := int64(1); id <= contentVersions; id++ {
		ids = append(ids, id)
	}
	found, err := db.PackageVersions(ctx, ids)
	if err != nil || len(found) != contentVersions {
		b.Fatalf("%d versions, %v", len(found), err)
	}
	versions := make([]store.PackageVersion, 0, len(found))
	for _, id := range ids {
		versions = append(versions, found[id])
	}
	return versions
}

// readAll reads what a page of the console does, and returns how long each took.
func readAll(b *testing.B, db *store.DB, stop <-chan struct{}) (waits []time.Duration) {
	e := tidewaiter.Extent{ProjectID: "p", All: true}
	for i := int64(0); ; i++ {
		select {
		case <-stop:
			return waits
		default:
		}
		begun := time.Now()
		if _, _, err := db.Images(context.Background(), e, store.ImageFilter{}, store.Page{Limit: 20}); err != nil {
			b.Error(err)
		}
		if _, _, err := db.ImageFindings(context.Background(), []int64{1 + i*37%contentImages}, store.FindingFilter{}, store.Page{Limit: 20}); err != nil {
			b.Error(err)
		}
		waits = append(waits, time.Since(begun))
		time.Sleep(5 * time.Millisecond)
	}
}
