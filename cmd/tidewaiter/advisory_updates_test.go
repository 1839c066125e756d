package main

import (
	"archive/zip"
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// TestAdvisoryUpdates: a server fetches what images need, once; after a failure
// it waits; and nothing if it is told so.
func TestAdvisoryUpdates(t *testing.T) {
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	f, err := z.Create("GHSA-1.json")
	if err == nil {
		_, err = f.Write([]byte(`{"schema_version":"1.7.0","id":"GHSA-1","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"a"},"versions":["1.0.0"]}]}`))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path)
		if r.URL.Path != "/osv/npm/all.zip" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(archive.Bytes())
	}))
	defer site.Close()
	requests := func() []string {
		mu.Lock()
		defer mu.Unlock()
		a := asked
		asked = nil
		return a
	}
	ctx := context.Background()
	db := storetest.Open(t, storetest.SQLite(t))
	sets := snapshots.New(snapshots.Options{Store: db, Folder: t.TempDir()})
	defer sets.Close()
	var said bytes.Buffer
	u := &advisoryUpdates{from: site.URL + "/osv", every: 24 * time.Hour, sets: sets, findings: findings.New(findings.Options{Store: db, Sets: sets}), log: slog.New(slog.NewTextHandler(&said, nil))}
	run := func(want ...string) {
		t.Helper()
		if err := u.run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := requests(); !slices.Equal(got, want) {
			t.Errorf("asked for %q, want %q", got, want)
		}
	}
	run() // no image holds anything
	hold := func(v store.PackageVersion) {
		t.Helper()
		ids, err := db.PutPackages(ctx, []store.PackageVersion{v})
		if err == nil {
			err = u.findings.MatchPackages(ctx, ids)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	hold(store.PackageVersion{Ecosystem: "npm", Name: "a", Version: "1.0.0", Type: "npm"})
	run("/osv/npm/all.zip")
	run()
	if st, err := sets.Status(ctx); err != nil || st.Meta.Advisories != 1 {
		t.Errorf("got %+v, %v", st, err)
	}
	hold(store.PackageVersion{Ecosystem: "Debian", Release: "Debian:12|", Name: "b", Version: "1", SourceName: "b", SourceVersion: "1", Type: "deb"})
	run("/osv/Debian/all.zip")
	if !strings.Contains(said.String(), "advisories cannot be fetched") || !strings.Contains(said.String(), "404") {
		t.Errorf("the log says %q", said.String())
	}
	run() // it waits
	u.failed = time.Now().Add(-2 * time.Hour)
	run("/osv/Debian/all.zip")
	u.failed, u.from = time.Time{}, fetchNone
	run()
}
