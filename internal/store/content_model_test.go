package store_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// contentModel is what the store is to say of what images hold. It remembers
// what it was told, and goes through all of it. Which tags there are it asks the
// list of images; which manifests, the database.
type contentModel struct {
	t          *rapid.T
	db         *store.DB
	registries []tidewaiter.Registry
	versions   []store.PackageVersion
	layers     []store.NewLayer
	numbers    []int64 // of the layers
	syncs      int

	images  map[int64]modelImage // of one platform or several, by manifest
	results map[int64]store.NewResult
}

type modelImage struct {
	registry int // index
	id       string
	children []int64
}

func (m *contentModel) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// contentNames have letters of both cases, what patterns are made of, and
// letters that are not of ASCII.
func contentNames() []string {
	return []string{"bash", "BASH", "Bash_x", "lib%c", "lib_c", "libXc", `back\slash`, "Äpfel", "äpfel", "*", "zlib"}
}

func newContentModel(t *rapid.T, db *store.DB) *contentModel {
	m := &contentModel{t: t, db: db, images: make(map[int64]modelImage), results: make(map[int64]store.NewResult)}
	ctx := context.Background()
	id := store.NewID()
	m.ok(db.CreateCluster(ctx, tidewaiter.Cluster{ID: id, Name: id, Created: epoch()}))
	for i := range 4 {
		r := tidewaiter.Registry{ID: store.NewID(), ProjectID: id + fmt.Sprint(i/3), EnterpriseProjectID: fmt.Sprint(i % 2), Name: fmt.Sprint("r", i), ClusterID: id,
			Type: tidewaiter.RegistryTypes()[i], Created: epoch(), Updated: epoch()}
		m.ok(db.CreateRegistry(ctx, r))
		m.registries = append(m.registries, r)
	}
	for i, name := range contentNames() {
		for v := range 1 + i%3 {
			m.versions = append(m.versions, store.PackageVersion{Ecosystem: "Debian", Name: name, Version: fmt.Sprintf("1:%d", v), Type: []string{"deb", "npm"}[i%2], SourceName: id})
		}
	}
	another := m.versions[0]
	another.Architecture = "another"
	m.versions = append(m.versions, another)
	ids, err := db.PutPackages(ctx, m.versions)
	m.ok(err)
	for i := range m.versions {
		m.versions[i].ID = ids[i]
	}
	for i := range 5 {
		l := store.NewLayer{Facts: []byte("facts"), LayerKey: tidewaiter.LayerKey{ProjectID: id, ClusterID: id, Extractors: "x",
			Digest: tidewaiter.DigestOf(fmt.Append(nil, id, "digest", i)), DiffID: tidewaiter.DigestOf(fmt.Append(nil, id, i))}}
		for e := range rapid.IntRange(0, 8).Draw(t, "files") {
			name := rapid.SampledFrom(contentNames()).Draw(t, "name")
			folder := rapid.SampledFrom([]string{"bash", "opt"}).Draw(t, "folder")
			l.Loose = append(l.Loose, store.LooseFile{Entry: 3 * e, Name: name, Path: fmt.Sprintf("%s%d/%s", folder, e, name), Size: int64(e % 3)})
		}
		m.ok(db.PutLayer(ctx, l, epoch()))
		number, err := db.LayerNumber(ctx, l.LayerKey, "")
		m.ok(err)
		m.layers, m.numbers = append(m.layers, l), append(m.numbers, number)
	}
	return m
}

// extent is one of the ways to look at the registries.
func (m *contentModel) extent() tidewaiter.Extent {
	first, last := m.registries[0].ProjectID, m.registries[3].ProjectID
	return rapid.SampledFrom([]tidewaiter.Extent{{ProjectID: first, All: true}, {ProjectID: first, EnterpriseProjects: []string{"0"}},
		{ProjectID: first, EnterpriseProjects: []string{"1", "none"}}, {ProjectID: last, All: true}, {ProjectID: first}}).Draw(m.t, "extent")
}

// sync has a registry hold other images.
func (m *contentModel) sync() {
	ctx := context.Background()
	i := rapid.IntRange(0, len(m.registries)-1).Draw(m.t, "registry")
	r := m.registries[i]
	if _, err := m.db.Registry(ctx, r.ID); tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return // it was deleted
	}
	m.syncs++
	syncID := fmt.Sprint("sync ", m.syncs)
	for _, name := range []string{"app", "team/app"} {
		if rapid.IntRange(0, 4).Draw(m.t, "there") == 0 {
			continue
		}
		id, err := m.db.PutRepository(ctx, tidewaiter.Repository{RegistryID: r.ID, Name: name})
		m.ok(err)
		var tags []store.ImageTag
		for _, tag := range []string{"1", "2", "latest"}[:rapid.IntRange(0, 3).Draw(m.t, "tags")] {
			x := thing(rapid.IntRange(0, 8).Draw(m.t, "thing"))
			tags = append(tags, store.ImageTag{Name: tag, ManifestID: m.push(i, x.manifests())})
		}
		m.ok(m.db.PutImages(ctx, id, syncID, tags, epoch()))
		m.ok(m.db.CompleteRepository(ctx, id, syncID, "", nil, epoch()))
	}
	_, err := m.db.FinishSync(ctx, r.ID, syncID, epoch())
	m.ok(err)
}

// push puts manifests into a registry, and returns the id of the last.
func (m *contentModel) push(registry int, list []tidewaiter.Manifest) (last int64) {
	ctx := context.Background()
	m.ok(m.db.PutManifests(ctx, m.registries[registry].ID, list))
	ids := make(map[tidewaiter.Digest]int64)
	for _, x := range list {
		known, err := m.db.ManifestsByDigest(ctx, m.registries[registry].ID, []tidewaiter.Digest{x.Digest})
		m.ok(err)
		last = known[x.Digest].ID
		image := modelImage{registry: registry, id: x.ImageID}
		for _, c := range x.Children {
			image.children = append(image.children, ids[c])
		}
		ids[x.Digest], m.images[last] = last, image
	}
	return last
}

// put gives an image a result, be it another.
func (m *contentModel) put() {
	var ids []int64
	for _, id := range slices.Sorted(maps.Keys(m.images)) {
		if len(m.images[id].children) == 0 {
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		r := m.result(rapid.SampledFrom(ids).Draw(m.t, "image"))
		m.ok(m.db.PutResult(context.Background(), r))
		m.results[r.ManifestID] = r
	}
}

// result makes one up.
func (m *contentModel) result(id int64) store.NewResult {
	r := store.NewResult{ImageResult: tidewaiter.ImageResult{
		ManifestID: id, Complete: rapid.Bool().Draw(m.t, "complete"), Scanned: epoch().Add(time.Duration(id) * time.Hour),
		System: rapid.SampledFrom([]tidewaiter.System{{}, {ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12"}, {ID: "wolfi"}}).Draw(m.t, "system"),
		Base:   tidewaiter.System{ID: "alpine"},
	}}
	var diffIDs []tidewaiter.Digest
	for position := range rapid.IntRange(0, 4).Draw(m.t, "layers") {
		i := rapid.IntRange(0, len(m.layers)-1).Draw(m.t, "layer")
		r.LayerNumbers, diffIDs = append(r.LayerNumbers, m.numbers[i]), append(diffIDs, m.layers[i].DiffID)
		r.Layers = append(r.Layers, tidewaiter.ImageLayer{Digest: m.layers[i].Digest, DiffID: m.layers[i].DiffID})
		for _, f := range m.layers[i].Loose {
			if rapid.IntRange(0, 3).Draw(m.t, "hidden") == 0 {
				r.Hidden = append(r.Hidden, store.HiddenFile{Position: position, Entry: f.Entry})
			} else {
				r.LooseFiles++
			}
			r.Files, r.FileBytes = r.Files+2, r.FileBytes+f.Size
		}
	}
	r.ChainID = tidewaiter.ChainID(diffIDs)
	for range rapid.IntRange(0, 8).Draw(m.t, "packages") {
		v := rapid.SampledFrom(m.versions).Draw(m.t, "package")
		p := tidewaiter.ImagePackage{ID: v.ID, Package: tidewaiter.Package{Name: v.Name, Path: "var/lib/" + rapid.SampledFrom([]string{"a", "b"}).Draw(m.t, "path")}}
		if rapid.Bool().Draw(m.t, "nested") {
			p.Inside = []string{"in.jar"}
		}
		p.Origin = rapid.IntRange(0, max(len(r.Layers)-1, 0)).Draw(m.t, "origin")
		r.Packages = append(r.Packages, p)
	}
	return r
}

// delete removes a registry, or what is no longer in one.
func (m *contentModel) delete() {
	ctx := context.Background()
	switch rapid.IntRange(0, 7).Draw(m.t, "deletion") {
	case 0:
		i := rapid.IntRange(0, len(m.registries)-1).Draw(m.t, "registry")
		if err := m.db.DeleteRegistry(ctx, m.registries[i].ID); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			m.ok(err)
		}
	case 1, 2:
		_, err := m.db.PurgePackages(ctx, rapid.IntRange(1, 3).Draw(m.t, "limit"))
		m.ok(err)
	default:
		for {
			n, err := m.db.PurgeGone(ctx, time.Now().AddDate(1, 0, 0), 2)
			m.ok(err)
			if n == 0 {
				break
			}
		}
	}
	ids, err := m.db.ManifestIDs(ctx)
	m.ok(err)
	maps.DeleteFunc(m.images, func(id int64, _ modelImage) bool {
		_, there := slices.BinarySearch(ids, id)
		return !there
	})
	maps.DeleteFunc(m.results, func(id int64, _ store.NewResult) bool {
		_, there := m.images[id]
		return !there
	})
}

// TestContents compares the lists of what images hold with the model, through
// synchronisations, scans and deletions.
func TestContents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		rapid.Check(t, func(t *rapid.T) {
			m := newContentModel(t, db)
			for range rapid.IntRange(1, 30).Draw(t, "steps") {
				switch rapid.IntRange(0, 11).Draw(t, "step") {
				case 0, 1, 2:
					m.sync()
				case 3, 4:
					m.delete()
				default:
					m.put()
				}
			}
			m.ok(db.CheckSoftwareCounts(context.Background()))
			m.ok(db.CheckCounts(context.Background()))
			for range 4 {
				m.check()
			}
		})
	})
}
