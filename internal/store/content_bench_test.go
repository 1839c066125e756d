package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// What the benchmarks of contents are taken on: 100,000 images with 300 packages
// each of 50,000 versions, the most usual of which most images have. An image is
// one of 200 bases of three layers, of which each image hides ten files, and
// three layers of its own.
const (
	contentImages   = 100_000
	contentPackages = 300
	contentVersions = 50_000
	contentBases    = 200
	baseFiles       = 300 // of a layer of a base
	ownFiles        = 10  // of a layer of an image
	hiddenInBase    = 10
)

// contentDB opens a database with the images in so many registries.
func contentDB(b *testing.B, dialect string, registries int) (db *store.DB, size int64) {
	b.Helper()
	ctx := context.Background()
	address, there := "", false
	kept := os.Getenv(benchVariable)
	switch {
	case dialect == "sqlite":
		address = "sqlite:" + b.TempDir() + "/bench.db"
		if kept != "" {
			address = fmt.Sprintf("sqlite:%s.content-%d", kept, registries)
		}
		_, err := os.Stat(strings.TrimPrefix(address, "sqlite:"))
		there = err == nil
	case kept != "":
		address, there = keptPostgres(b, fmt.Sprintf("tidewaiter_bench_%d", registries))
	default:
		address = storetest.Postgres(b)
	}
	if !there {
		fillContents(b, address, registries)
	}
	db = storetest.Open(b, address)
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		fi, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		return db, fi.Size()
	}
	raw, err := sql.Open("pgx", address)
	if err == nil {
		err = raw.QueryRowContext(ctx, "SELECT pg_database_size(current_database())").Scan(&size)
	}
	if err != nil {
		b.Fatal(err)
	}
	return db, size
}

// keptPostgres returns the URL of a database that stays, and whether it has the
// rows by now.
func keptPostgres(b *testing.B, name string) (address string, there bool) {
	b.Helper()
	server := os.Getenv(storetest.PostgresVariable)
	if server == "" {
		b.Skipf("%s is not set", storetest.PostgresVariable)
	}
	u, err := url.Parse(server)
	if err != nil {
		b.Fatal("the URL of the server is none")
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		b.Fatal(err)
	}
	defer admin.Close()
	if err := admin.QueryRow("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", name).Scan(&there); err != nil {
		b.Fatal(err)
	}
	if !there {
		if _, err := admin.Exec("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
			b.Fatal(err)
		}
	}
	u.Path = "/" + name
	return u.String(), there
}

// A filler makes up what images hold.
type filler struct {
	*testing.B
	db         *store.DB
	bulk       *store.Bulk
	random     *rand.Rand
	registries int
	versions   []store.PackageVersion
}

func fillContents(b *testing.B, address string, registries int) {
	b.Helper()
	begun := time.Now()
	ctx := context.Background()
	f := &filler{B: b, db: storetest.Open(b, address), random: rand.New(rand.NewPCG(1, 2)), registries: registries}
	f.inventory(ctx)
	f.software(ctx)
	var err error
	f.bulk, err = f.db.NewBulk(ctx)
	f.ok(err)
	f.ok(f.bulk.Lay(ctx, "repositories", "manifests", "images", "scan_results", "manifest_layers", "hidden_files", "layers", "layer_files", "image_packages", "package_counts"))
	f.images(ctx)
	_, err = f.bulk.Layers(ctx, benchEpoch().UnixMicro(), f.layers())
	f.ok(err)
	numbers := make(map[int64]int64, contentImages)
	for id := int64(1); id <= contentImages; id++ {
		numbers[id] = f.registryOf(id)
	}
	f.ok(f.bulk.Results(ctx, numbers, f.results()))
	f.ok(f.bulk.Close(ctx))
	b.Logf("the rows took %s", time.Since(begun).Round(time.Second))
}

func (f *filler) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// registryOf returns the number of the registry that has a manifest.
func (f *filler) registryOf(manifest int64) int64 {
	return (manifest-1)/int64(contentImages/f.registries) + 1
}

func (f *filler) inventory(ctx context.Context) {
	f.ok(f.db.CreateCluster(ctx, tidewaiter.Cluster{ID: "c", Name: "c", Created: benchEpoch()}))
	for i := range f.registries {
		f.ok(f.db.CreateRegistry(ctx, tidewaiter.Registry{ID: store.NewID(), ProjectID: "p", EnterpriseProjectID: fmt.Sprint(i % 4), Name: fmt.Sprintf("registry-%03d", i),
			Type: tidewaiter.RegistryTypes()[i%6], ClusterID: "c", Status: tidewaiter.RegistrySuccess, Created: benchEpoch(), Updated: benchEpoch()}))
	}
}

// software makes 50,000 versions of 12,500 packages, the most usual first.
func (f *filler) software(ctx context.Context) {
	kinds := []store.PackageVersion{
		{Ecosystem: "Debian", Release: "12", Type: "deb", Namespace: "debian", Architecture: "amd64", Name: "lib%s"},
		{Ecosystem: "Debian", Release: "12", Type: "deb", Namespace: "debian", Architecture: "amd64", Name: "%s-utils"},
		{Ecosystem: "npm", Type: "npm", Name: "@%s/core"}, {Ecosystem: "Maven", Type: "maven", Name: "org.%[1]s:%[1]s-api"},
		{Ecosystem: "Go", Type: "golang", Name: "github.com/%[1]s/%[1]s"}, {Ecosystem: "PyPI", Type: "pypi", Name: "py%s"},
	}
	for i := range contentVersions {
		n := i % (contentVersions / 4)
		v := kinds[n%len(kinds)]
		v.Name = fmt.Sprintf(v.Name, word(n))
		v.Version = fmt.Sprintf("%d.%d.%d-%d", n%9, i%17, i%31, i/(contentVersions/4))
		if v.Type == "deb" {
			v.SourceName, v.SourceVersion = v.Name, v.Version
		}
		f.versions = append(f.versions, v)
	}
	ids, err := f.db.PutPackages(ctx, f.versions)
	f.ok(err)
	for i := range ids {
		f.versions[i].ID = ids[i]
	}
}

// word returns a word that no other number has.
func word(n int) string {
	syllables := []string{"ba", "co", "di", "fu", "gen", "ha", "ka", "lo", "mi", "nex", "or", "pu", "ra", "sys", "ti", "ul"}
	text := ""
	for n = n*7919 + 17; n > 0; n /= len(syllables) {
		text += syllables[n%len(syllables)]
	}
	return text
}

// images makes repositories of 20 tags each.
func (f *filler) images(ctx context.Context) {
	repositories := contentImages / 20
	f.ok(f.bulk.Rows(ctx, "repositories", "id, registry_number, name, namespace, image, owner, problem, skipped, images, sync_id, synced, gone", func(yield func([]any) bool) {
		for i := range repositories {
			team, app := fmt.Sprintf("team-%02d", i%20), fmt.Sprintf("app-%04d", i)
			if !yield([]any{i + 1, f.registryOf(int64(i*20 + 1)), team + "/" + app, team, app, "", "", "[]", 20, "s", benchEpoch().UnixMicro(), 0}) {
				return
			}
		}
	}))
	f.ok(f.bulk.Rows(ctx, "manifests", "id, registry_number, digest, media_type, kind, reason, image_id, size, os, architecture, variant, os_version, created, review", func(yield func([]any) bool) {
		for id := int64(1); id <= contentImages; id++ {
			d := tidewaiter.DigestOf(fmt.Append(nil, "manifest", id))
			if !yield([]any{id, f.registryOf(id), string(d), tidewaiter.MediaTypeOCIManifest, "image", "", string(d[7:]), 100_000_000 + id, "linux", "amd64", "", "", 0, 0}) {
				return
			}
		}
	}))
	f.ok(f.bulk.Rows(ctx, "images", "id, registry_number, repository_id, tag, manifest_id, size, multi_arch, latest, updated, sync_id, gone, "+
		"scan_status, scan_failed_code, scanned, vulnerable, unsafe_settings, malicious_files, severity, facet", func(yield func([]any) bool) {
		for id := int64(1); id <= contentImages; id++ {
			at := benchEpoch().Add(time.Duration(id) * time.Second).UnixMicro()
			if !yield([]any{id, f.registryOf(id), (id-1)/20 + 1, fmt.Sprintf("v1.%d", id%20), id, 100_000_000 + id, false, id%20 == 1, at, "s", 0, "success", "", at, 0, 0, 0, "Security", 0}) {
				return
			}
		}
	}))
	f.ok(f.bulk.Exec(ctx, "UPDATE images SET facet = "+store.FacetSQL))
	f.ok(f.bulk.Exec(ctx, "INSERT INTO image_counts (registry_number, facet, images) SELECT registry_number, facet, COUNT(*) FROM images GROUP BY registry_number, facet"))
}

// layers makes those of the bases first, then those of the images.
func (f *filler) layers() iter.Seq[store.NewLayer] {
	layer := func(n int, files []store.LooseFile) store.NewLayer {
		return store.NewLayer{Size: 50_000_000, Loose: files, LayerKey: tidewaiter.LayerKey{ProjectID: "p", ClusterID: "c", Extractors: "x",
			Digest: tidewaiter.DigestOf(fmt.Append(nil, "layer", n)), DiffID: tidewaiter.DigestOf(fmt.Append(nil, "diff", n))}}
	}
	return func(yield func(store.NewLayer) bool) {
		for n := range contentBases*3 + contentImages*3 {
			files := make([]store.LooseFile, 0, baseFiles)
			folder := "etc"
			count := baseFiles
			if n >= contentBases*3 {
				count, folder = ownFiles, fmt.Sprintf("srv/app/%s/dist", word(n%1000))
			}
			for e := range count {
				name := word(e) + ".conf" // in every base
				switch {
				case count == baseFiles && e >= 280:
					name = fmt.Sprintf("%s-%d.conf", word(e), n)
				case count == ownFiles && e == 0 && n%3 == 0:
					name = fmt.Sprintf("build-%d.json", n) // in this image alone
				case count == ownFiles && e < 5:
					name = word(f.random.IntN(2000)) + ".js"
				case count == ownFiles:
					name = fmt.Sprintf("chunk.%06x.js", f.random.IntN(100_000)*167)
				}
				files = append(files, store.LooseFile{Entry: 2 * e, Name: name, Path: folder + "/" + name, Size: int64(f.random.IntN(1_000_000))})
			}
			if !yield(layer(n, files)) {
				return
			}
		}
	}
}

func (f *filler) results() iter.Seq[store.NewResult] {
	usual := rand.NewZipf(f.random, 1.1, 20, contentVersions-1)
	return func(yield func(store.NewResult) bool) {
		for id := int64(1); id <= contentImages; id++ {
			r := store.NewResult{ImageResult: tidewaiter.ImageResult{
				ManifestID: id, Complete: true, Extractors: "x", Scanned: benchEpoch().Add(time.Duration(id) * time.Second), Files: 20_000, FileBytes: 300_000_000,
				System: tidewaiter.System{Path: "usr/lib/os-release", ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12 (bookworm)"},
			}}
			base := int(id) % contentBases
			for i, n := range []int{base * 3, base*3 + 1, base*3 + 2, contentBases*3 + int(id-1)*3, contentBases*3 + int(id-1)*3 + 1, contentBases*3 + int(id-1)*3 + 2} {
				r.LayerNumbers = append(r.LayerNumbers, int64(n+1))
				r.Layers = append(r.Layers, tidewaiter.ImageLayer{Digest: tidewaiter.DigestOf(fmt.Append(nil, "layer", n)), DiffID: tidewaiter.DigestOf(fmt.Append(nil, "diff", n)), Size: 20_000_000, Step: i})
			}
			r.ChainID = tidewaiter.ChainID([]tidewaiter.Digest{tidewaiter.Digest(fmt.Sprint("base", base)), r.Layers[3].DiffID})
			if id <= contentBases {
				r.ChainID = tidewaiter.Digest(fmt.Sprint("base", base)) // an image that others were built from
			}
			for h := range hiddenInBase {
				r.Hidden = append(r.Hidden, store.HiddenFile{Position: h % 3, Entry: 2 * (h * 7 % baseFiles)})
			}
			r.LooseFiles = 3*baseFiles + 3*ownFiles - hiddenInBase
			seen := make(map[uint64]bool, contentPackages)
			for len(seen) < contentPackages {
				if n := usual.Uint64(); !seen[n] {
					seen[n] = true
					r.Packages = append(r.Packages, f.installed(f.versions[n]))
				}
			}
			if !yield(r) {
				return
			}
		}
	}
}

func (f *filler) installed(v store.PackageVersion) tidewaiter.ImagePackage {
	p := tidewaiter.ImagePackage{ID: v.ID, Package: tidewaiter.Package{Name: v.Name, Path: "var/lib/dpkg/status", Licenses: []string{"MIT"}, Extractor: "dpkg"}}
	if v.Type != "deb" {
		p.Path, p.Origin, p.Layer, p.Extractor = "usr/lib/"+v.Type+"/"+v.Name+"/metadata", 4, 4, v.Type
	}
	return p
}

// BenchmarkContents lists what 100,000 images hold, which are in 5 registries
// or in 100.
func BenchmarkContents(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		for _, registries := range []int{5, 100} {
			b.Run(fmt.Sprintf("%s/%d", dialect, registries), func(b *testing.B) {
				if dialect == "postgres" && os.Getenv(storetest.PostgresVariable) == "" {
					b.Skipf("%s is not set", storetest.PostgresVariable)
				}
				db, size := contentDB(b, dialect, registries)
				b.Run("size", func(b *testing.B) {
					for b.Loop() {
						b.ReportMetric(float64(size)/1e6, "MB")
					}
				})
				benchLists(b, db)
			})
		}
	}
}

// A contentList is a list that is asked for again and again.
type contentList struct {
	name string
	ask  func(ctx context.Context, p store.Page) (shown, total int, err error)
	page store.Page
}

func benchLists(b *testing.B, db *store.DB) {
	all := tidewaiter.Extent{ProjectID: "p", All: true}
	software := func(e tidewaiter.Extent, name string) func(context.Context, store.Page) (int, int, error) {
		return func(ctx context.Context, p store.Page) (int, int, error) {
			list, n, err := db.Software(ctx, e, name, p)
			return len(list), n, err
		}
	}
	files := func(e tidewaiter.Extent, name string) func(context.Context, store.Page) (int, int, error) {
		return func(ctx context.Context, p store.Page) (int, int, error) {
			list, n, err := db.Files(ctx, e, name, p, 65_535)
			return len(list), n, err
		}
	}
	one := tidewaiter.Extent{ProjectID: "p", EnterpriseProjects: []string{"1"}}
	var lists []contentList
	for _, l := range []struct {
		name string
		ask  func(context.Context, store.Page) (int, int, error)
		most int // offset that can be asked for
	}{
		{"software", software(all, ""), 1 << 40}, {"software of an enterprise project", software(one, ""), 1 << 40},
		{"software lib", software(all, "LIB"), 1 << 40}, {"software a", software(all, "a"), 1 << 40},
		{"software of one name", software(all, word(12_000)), 1 << 40}, {"software of a usual name", software(all, word(0)), 1 << 40}, {"software of no name", software(all, "nothing"), 1 << 40},
		{"files", files(all, ""), 2_000_000}, {"files of an enterprise project", files(one, ""), 2_000_000},
		{"files .conf", files(all, ".CONF"), 65_535}, {"files of a name in all bases", files(all, word(3)+".conf"), 65_535}, {"files of one name", files(all, "build-70122.json"), 65_535},
		{"files chunk.00", files(all, "chunk.00"), 65_535}, {"files of no name", files(all, "nothing"), 65_535},
		{"files with a name of their own each", files(all, "build-"), 65_535},
	} {
		_, total, err := l.ask(context.Background(), store.Page{})
		if err != nil {
			b.Fatal(err)
		}
		last := min(total, l.most)
		for _, at := range []struct {
			name   string
			offset int
		}{{"first page", 0}, {"in the middle", last / 2}, {"last page", max(last-200, 0)}} {
			if at.offset > 0 || at.name == "first page" {
				lists = append(lists, contentList{l.name + ", " + at.name, l.ask, store.Page{Offset: at.offset, Limit: 200}})
			}
		}
	}
	image := []int64{77_777}
	ofImage := func(name string) func(context.Context, store.Page) (int, int, error) {
		return func(ctx context.Context, p store.Page) (int, int, error) {
			list, n, err := db.ImageSoftware(ctx, image, name, p)
			return len(list), n, err
		}
	}
	filesOf := func(manifests []int64, name string) func(context.Context, store.Page) (int, int, error) {
		return func(ctx context.Context, p store.Page) (int, int, error) {
			list, n, err := db.ImageFiles(ctx, manifests, name, p)
			return len(list), n, err
		}
	}
	lists = append(lists, []contentList{
		{"software of an image, first page", ofImage(""), store.Page{Limit: 200}},
		{"software of an image, last page", ofImage(""), store.Page{Offset: 100, Limit: 200}},
		{"software of an image, lib", ofImage("lib"), store.Page{Limit: 200}},
		{"files of an image, first page", filesOf(image, ""), store.Page{Limit: 200}},
		{"files of an image, last page", filesOf(image, ""), store.Page{Offset: 720, Limit: 200}},
		{"files of an image, .js", filesOf(image, ".JS"), store.Page{Limit: 200}},
		{"files of four platforms, first page", filesOf([]int64{1, 2, 3, 4}, ""), store.Page{Limit: 200}},
		{"find an image", func(ctx context.Context, _ store.Page) (int, int, error) {
			d := tidewaiter.DigestOf(fmt.Append(nil, "manifest", 77_777))
			found, err := db.FindImages(ctx, all, tidewaiter.ImageReference{ImageID: string(d[7:]), Namespace: "team-08", Name: "app-3888", Tag: "v1.17"})
			return len(found), 1, err
		}, store.Page{Limit: 1}},
		{"base images", func(ctx context.Context, p store.Page) (int, int, error) {
			list, n, err := db.ImagesOfChains(ctx, all, []tidewaiter.Digest{"base77"}, "", p)
			return len(list), n, err
		}, store.Page{Limit: 200}},
		{"images, first page", func(ctx context.Context, p store.Page) (int, int, error) {
			list, n, err := db.Images(ctx, all, store.ImageFilter{}, p)
			return len(list), n, err
		}, store.Page{Limit: 200}},
	}...)
	for _, l := range lists {
		b.Run(l.name, func(b *testing.B) { l.run(b) })
	}
}

func (l contentList) run(b *testing.B) {
	total, processor := 0, processorTime(b)
	var took []time.Duration
	for b.Loop() {
		begun := time.Now()
		shown, n, err := l.ask(context.Background(), l.page)
		if err != nil || shown != max(min(l.page.Limit, n-l.page.Offset), 0) {
			b.Fatal(shown, n, err)
		}
		total = n
		took = append(took, time.Since(begun))
	}
	// The median says more than the mean on a machine that does other things.
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[0].Microseconds())/1000, "least-ms")
	// Of this process: of SQLite that is all, of PostgreSQL next to nothing.
	b.ReportMetric(float64((processorTime(b)-processor).Microseconds())/1000/float64(len(took)), "cpu-ms")
	b.ReportMetric(float64(total), "matches")
}

// processorTime returns how much this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPutResult keeps what images of 300 packages hold, one after the other.
func BenchmarkPutResult(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		b.Run(dialect, func(b *testing.B) {
			address := "sqlite:" + b.TempDir() + "/bench.db"
			if dialect == "postgres" {
				address = storetest.Postgres(b)
			}
			ctx := context.Background()
			f := &filler{B: b, db: storetest.Open(b, address), random: rand.New(rand.NewPCG(1, 2)), registries: 5}
			f.inventory(ctx)
			f.software(ctx)
			registries, _, err := f.db.Registries(ctx, tidewaiter.Extent{ProjectID: "p", All: true}, store.RegistryFilter{}, store.Page{Limit: 1})
			f.ok(err)
			var results []store.NewResult
			for r := range f.results() {
				if r.LayerNumbers, r.Hidden = nil, nil; len(results) == 200 {
					break
				}
				m := tidewaiter.Manifest{Digest: tidewaiter.DigestOf(fmt.Append(nil, r.ManifestID)), MediaType: tidewaiter.MediaTypeOCIManifest, Kind: "image"}
				f.ok(f.db.PutManifests(ctx, registries[0].ID, []tidewaiter.Manifest{m}))
				known, err := f.db.ManifestsByDigest(ctx, registries[0].ID, []tidewaiter.Digest{m.Digest})
				f.ok(err)
				r.ManifestID = known[m.Digest].ID
				results = append(results, r)
			}
			n := 0
			for b.Loop() {
				f.ok(f.db.PutResult(ctx, results[n%len(results)]))
				n++
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "results/s")
		})
	}
}
