package findings_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

type object = map[string]any

// world is a server's store with one registry, and advisories to import.
type world struct {
	testing.TB

	db       *store.DB
	sets     *snapshots.Service
	findings *findings.Service
	folder   string // of advisories
	registry string
	images   map[string]int64 // manifests, by name
}

func newWorld(t testing.TB, db *store.DB) *world {
	w := &world{TB: t, db: db, folder: t.TempDir(), registry: store.NewID(), images: make(map[string]int64)}
	w.sets = snapshots.New(snapshots.Options{Store: db, Folder: filepath.Join(t.TempDir(), "advisories")})
	t.Cleanup(func() { w.ok(w.sets.Close()) })
	w.findings = findings.New(findings.Options{Store: db, Sets: w.sets})
	ctx := context.Background()
	w.ok(db.CreateCluster(ctx, tidewaiter.Cluster{ID: w.registry, Name: w.registry, Created: store.Now()}))
	w.ok(db.CreateRegistry(ctx, tidewaiter.Registry{ID: w.registry, ProjectID: w.registry, EnterpriseProjectID: "0", Name: "r", ClusterID: w.registry,
		Type: tidewaiter.RegistryHarbor, Created: store.Now(), Updated: store.Now()}))
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// debian is an operating system.
func debian() tidewaiter.System {
	return tidewaiter.System{ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12"}
}

// scan has an image hold packages, "deb/name@version" or another type.
func (w *world) scan(name string, packages ...store.PackageVersion) {
	w.Helper()
	ctx := context.Background()
	digest := tidewaiter.DigestOf([]byte(w.registry + name))
	w.ok(w.db.PutManifests(ctx, w.registry, []tidewaiter.Manifest{{Digest: digest, MediaType: tidewaiter.MediaTypeOCIManifest, Kind: "image", ImageID: string(digest[7:])}}))
	known, err := w.db.ManifestsByDigest(ctx, w.registry, []tidewaiter.Digest{digest})
	w.ok(err)
	id := known[digest].ID
	w.images[name] = id
	ids, err := w.db.PutPackages(ctx, packages)
	w.ok(err)
	w.ok(w.findings.MatchPackages(ctx, ids))
	r := store.NewResult{ImageResult: tidewaiter.ImageResult{ManifestID: id, Complete: true, Scanned: store.Now()}}
	for i, p := range packages {
		r.Packages = append(r.Packages, tidewaiter.ImagePackage{ID: ids[i], Package: tidewaiter.Package{Name: p.Name, Path: "var/lib/dpkg/status"}})
	}
	w.ok(w.db.PutResult(ctx, r))
}

func (w *world) deb(name, version string) store.PackageVersion {
	return store.PackageVersion{Ecosystem: "Debian", Release: w.findings.ReleaseOf(debian()), Name: name, Version: version, SourceName: name, SourceVersion: version, Type: "deb", Namespace: "debian"}
}

func npm(name, version string) store.PackageVersion {
	return store.PackageVersion{Ecosystem: "npm", Name: name, Version: version, Type: "npm"}
}

// advisory is one in OSV format.
func advisory(id, modified, ecosystem, name, fixed, vector string, aliases ...string) object {
	events := []object{{"introduced": "0"}}
	if fixed != "" {
		events = append(events, object{"fixed": fixed})
	}
	kind := "ECOSYSTEM"
	if ecosystem == "npm" {
		kind = "SEMVER"
	}
	a := object{"schema_version": "1.7.0", "id": id, "modified": modified, "summary": "about " + id, "aliases": aliases,
		"affected": []object{{"package": object{"ecosystem": ecosystem, "name": name}, "ranges": []object{{"type": kind, "events": events}}}}}
	if vector != "" {
		a["severity"] = []object{{"type": "CVSS_V3", "score": vector}}
	}
	return a
}

const (
	critical = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
	medium   = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N"
)

// write puts advisories into a file, and returns its path.
func (w *world) write(file string, advisories ...object) string {
	w.Helper()
	text, err := json.Marshal(advisories)
	w.ok(err)
	path := filepath.Join(w.folder, file)
	w.ok(os.WriteFile(path, text, 0o600))
	return path
}

func (w *world) importFiles(paths ...string) snapshots.Result {
	w.Helper()
	r, err := w.sets.Import(context.Background(), paths, w.findings)
	w.ok(err)
	return r
}

// want compares the numbers of images: "critical 1, gaps 2".
func (w *world) want(what map[string]tidewaiter.Risk) {
	w.Helper()
	var ids []int64
	for _, id := range w.images {
		ids = append(ids, id)
	}
	risks, err := w.db.Risks(context.Background(), ids)
	w.ok(err)
	for name, id := range w.images {
		if risks[id] != what[name] {
			w.Errorf("%s: got %+v, want %+v", name, risks[id], what[name])
		}
	}
}

func risk(gaps int, ranks ...tidewaiter.SeverityRank) tidewaiter.Risk {
	r := tidewaiter.Risk{Gaps: gaps}
	for _, rank := range ranks {
		r.Found[rank]++
	}
	return r
}

func day(n int) string { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC).Format(time.RFC3339) }

func (w *world) wantKind(err error, kind tidewaiter.Kind) {
	w.Helper()
	if err == nil || tidewaiter.KindOf(err) != kind {
		w.Errorf("got %v, want an error of kind %v", err, fmt.Sprint(kind))
	}
}
