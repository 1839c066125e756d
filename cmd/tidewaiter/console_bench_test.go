package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// BenchmarkConsole times pages of the console on the embedded database with
// 10,000 images (or TIDEWAITER_BENCH_IMAGES), each with 20 of 2,000 versions of
// packages, of which every tenth has a vulnerability. It reports the size of a
// page beside the time.
func BenchmarkConsole(b *testing.B) {
	images := 10_000
	if n, err := strconv.Atoi(os.Getenv("TIDEWAITER_BENCH_IMAGES")); err == nil {
		images = n
	}
	c := &Config{Data: b.TempDir(), Listen: "127.0.0.1:0", LogFormat: "text", LogLevel: "info", TokenLifetime: time.Hour}
	c.Keys = filepath.Join(c.Data, "keys")
	log := slog.New(slog.DiscardHandler)
	state, err := openState(b.Context(), c, log)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { state.Close() }) //nolint:errcheck // the test is over
	first, err := state.bootstrap(b.Context(), c, "http://127.0.0.1:1")
	if err != nil {
		b.Fatal(err)
	}
	f := fleetOf{b, state, first.ProjectID}
	f.fill(images)
	handler, err := newHandler(b.Context(), c, "http://127.0.0.1:8080", state, log, prometheus.NewRegistry(), &atomic.Bool{})
	if err != nil {
		b.Fatal(err)
	}
	w := httptest.NewRecorder()
	form := url.Values{"domain": {first.Domain}, "user": {first.User}, "password": {first.Password}}
	r := httptest.NewRequest(http.MethodPost, "/sign-in", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	handler.ServeHTTP(w, r)
	cookies := w.Result().Cookies()
	if len(cookies) != 1 {
		b.Fatalf("no session: %d", w.Code)
	}
	base := "/p/" + first.ProjectID
	for name, path := range map[string]string{
		"overview": "/", "registries": "/registries", "images": "/images", "images-high": "/images?severity_level=High", "images-far": "/images?offset=90000",
		"image":           "/image?" + url.Values{"registry_id": {"bench"}, "namespace": {"team-3"}, "image_name": {"app-3"}, "image_version": {"v3"}}.Encode(),
		"vulnerabilities": "/vulnerabilities", "vulnerability": "/vulnerabilities/CVE-2026-1000", "tasks": "/tasks",
	} {
		b.Run(name, func(b *testing.B) {
			size := 0
			for b.Loop() {
				r := httptest.NewRequest(http.MethodGet, base+path, http.NoBody)
				r.AddCookie(cookies[0])
				w := httptest.NewRecorder()
				if handler.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
				size = w.Body.Len()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/page")
			b.ReportMetric(float64(size), "bytes/page")
		})
	}
}

// fleetOf fills a server with images that were scanned.
type fleetOf struct {
	testing.TB

	state   *state
	project string
}

func (f fleetOf) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f fleetOf) fill(images int) {
	ctx, db, now := context.Background(), f.state.db, store.Now()
	f.ok(db.CreateCluster(ctx, tidewaiter.Cluster{ID: tidewaiter.LocalClusterID, Name: "local", Created: now}))
	f.ok(db.CreateRegistry(ctx, tidewaiter.Registry{ID: "bench", ProjectID: f.project, EnterpriseProjectID: "0", Name: "bench", Type: tidewaiter.RegistryHarbor,
		ClusterID: tidewaiter.LocalClusterID, Status: tidewaiter.RegistrySuccess, Created: now, Updated: now, Synced: now, Images: images}))
	const versions, each, vulnerable = 2_000, 20, 10
	var list []string
	packages := make([]store.PackageVersion, versions)
	for i := range packages {
		packages[i] = store.PackageVersion{Ecosystem: "npm", Name: fmt.Sprintf("lib-%d", i), Version: "1.0.0", Type: "npm"}
		if i%vulnerable == 0 {
			list = append(list, fmt.Sprintf(`{"schema_version": "1.7.0", "id": "GHSA-%d", "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-%d"], "summary": "made up",
				"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
				"affected": [{"package": {"ecosystem": "npm", "name": "lib-%d"}, "versions": ["1.0.0"]}]}`, i, 1000+i, i))
		}
	}
	file := filepath.Join(f.TempDir(), "npm.json")
	f.ok(os.WriteFile(file, []byte("["+strings.Join(list, ",")+"]"), 0o600))
	_, err := f.state.sets.Import(ctx, []string{file}, f.state.findings)
	f.ok(err)
	ids, err := db.PutPackages(ctx, packages)
	f.ok(err)
	f.ok(f.state.findings.MatchPackages(ctx, ids))
	const batch = 500
	for from := 0; from < images; from += batch {
		team := from / batch
		repository, err := db.PutRepository(ctx, tidewaiter.Repository{RegistryID: "bench", Name: fmt.Sprintf("team-%d/app-%d", team, team)})
		f.ok(err)
		var manifests []tidewaiter.Manifest
		var digests []tidewaiter.Digest
		for i := from; i < min(from+batch, images); i++ {
			d := tidewaiter.DigestOf([]byte(strconv.Itoa(i)))
			digests = append(digests, d)
			manifests = append(manifests, tidewaiter.Manifest{Digest: d, MediaType: tidewaiter.MediaTypeOCIManifest, Kind: "image", ImageID: string(d[7:]), Size: 1 << 20})
		}
		f.ok(db.PutManifests(ctx, "bench", manifests))
		known, err := db.ManifestsByDigest(ctx, "bench", digests)
		f.ok(err)
		var tags []store.ImageTag
		var scanned []store.ScanImage
		for i, d := range digests {
			tags = append(tags, store.ImageTag{Name: fmt.Sprintf("v%d", i), ManifestID: known[d].ID})
			scanned = append(scanned, store.ScanImage{ManifestID: known[d].ID, RegistryID: "bench"})
		}
		f.ok(db.PutImages(ctx, repository, "sync", tags, now))
		f.ok(db.Tx(ctx, func(tx *store.DB) error {
			for i, d := range digests {
				result := store.NewResult{ImageResult: tidewaiter.ImageResult{ManifestID: known[d].ID, Complete: true, Extractors: "bench", Scanned: now}}
				for k := range each {
					id := ((from+i)*7 + k*101) % versions
					result.Packages = append(result.Packages, tidewaiter.ImagePackage{ID: ids[id], Package: tidewaiter.Package{Name: packages[id].Name, Path: "app/package.json"}})
				}
				if err := tx.PutResult(ctx, result); err != nil {
					return err
				}
			}
			if _, err := tx.LockScans(ctx, scanned); err != nil {
				return err
			}
			for _, d := range digests {
				if err := tx.EndScan(ctx, "", known[d].ID, tidewaiter.ScanOutcome{Extractors: "bench"}, now); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}
