package store_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// A thing is what a tag of the pretended registry stands for: an image, an
// index (5 and above) or, below 0, a Helm chart. They are in all registries the
// same.
type thing int

func (x thing) digest() tidewaiter.Digest {
	return tidewaiter.DigestOf([]byte(fmt.Sprint("thing ", int(x))))
}

func (x thing) manifests() []tidewaiter.Manifest {
	m := tidewaiter.Manifest{Digest: x.digest(), MediaType: "m", Kind: "image", ImageID: fmt.Sprint(int(x)), Size: int64(x) + 10,
		Platform: tidewaiter.Platform{OS: "linux", Architecture: fmt.Sprint("a", int(x))}}
	switch {
	case x < 0:
		m.Kind, m.Reason, m.Size = "helm chart", "it is one", 0
	case x >= 5:
		m.Kind, m.Platform = "index", tidewaiter.Platform{}
		m.Children = []tidewaiter.Digest{(x - 4).digest(), (x - 5).digest()}
		return slices.Concat((x - 4).manifests(), (x - 5).manifests(), []tidewaiter.Manifest{m})
	}
	return []tidewaiter.Manifest{m}
}

type content map[string]map[string]thing // by repository and tag

// syncModel is what a registry holds, and what the store is to hold of it.
type syncModel struct {
	t     *rapid.T
	db    *store.DB
	id    string
	now   time.Time
	syncs int

	there  content
	stored content              // images and charts
	pushed map[string]time.Time // when tags changed, by repository:tag; of some of them it is known
	told   map[string]time.Time // what of that the store was told last
	syncID string               // of the sync that was broken off, or ""
	done   map[string]bool      // repositories that it has completed
	seen   content              // what it was told, by all of its attempts
}

func (m *syncModel) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// change changes what the registry holds.
func (m *syncModel) change() {
	m.now = m.now.Add(time.Minute)
	for range rapid.IntRange(1, 6).Draw(m.t, "changes") {
		name := rapid.SampledFrom([]string{"a", "b/c", "b/c/d"}).Draw(m.t, "repository")
		tag := rapid.SampledFrom([]string{"latest", "v1", "v2", "V2"}).Draw(m.t, "tag")
		switch rapid.IntRange(0, 5).Draw(m.t, "change") {
		case 0:
			delete(m.there, name)
		case 1:
			delete(m.there[name], tag)
		default:
			if m.there[name] == nil {
				m.there[name] = make(map[string]thing)
			}
			m.there[name][tag] = thing(rapid.IntRange(-2, 8).Draw(m.t, "thing"))
			m.pushed[name+":"+tag] = m.now.Add(-time.Duration(rapid.IntRange(0, 2).Draw(m.t, "ago")) * time.Hour)
		}
	}
}

// sync synchronises, goes on with a synchronisation, and may break off.
func (m *syncModel) sync() {
	ctx := context.Background()
	m.now = m.now.Add(time.Minute)
	if m.syncID == "" || rapid.Bool().Draw(m.t, "afresh") {
		m.syncs++
		m.syncID, m.done, m.seen = fmt.Sprint("sync ", m.syncs), make(map[string]bool), make(content)
	}
	names := slices.Sorted(maps.Keys(m.there))
	pending, err := m.db.UnlistedRepositories(ctx, m.id, m.syncID, names)
	m.ok(err)
	want := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return m.done[n] })
	if d := cmp.Diff(want, pending, cmp.Transformer("", func(s []string) string { return strings.Join(s, ",") })); d != "" {
		m.t.Fatalf("pending (-want +got):\n%s", d)
	}
	for _, name := range rapid.Permutation(pending).Draw(m.t, "order") {
		if rapid.IntRange(0, 9).Draw(m.t, "breaks off") == 0 || !m.list(name) {
			return
		}
	}
	n, err := m.db.FinishSync(ctx, m.id, m.syncID, m.now)
	m.ok(err)
	for name := range m.stored {
		if !m.done[name] {
			delete(m.stored, name)
		}
	}
	m.check()
	if images := len(m.images()); n != images {
		m.t.Fatalf("%d images, want %d", n, images)
	}
	again, err := m.db.FinishSync(ctx, m.id, m.syncID, m.now)
	if m.ok(err); again != n {
		m.t.Fatal("the second end of a sync is another")
	}
	m.syncID = ""
}

// list reports one repository, and returns false where that broke off.
func (m *syncModel) list(name string) bool {
	ctx := context.Background()
	if m.stored[name] == nil {
		m.stored[name] = make(map[string]thing)
	}
	if m.seen[name] == nil {
		m.seen[name] = make(map[string]thing)
	}
	tags := rapid.Permutation(slices.Sorted(maps.Keys(m.there[name]))).Draw(m.t, "tags")
	for len(tags) > 0 {
		n := rapid.IntRange(1, len(tags)).Draw(m.t, "batch")
		for range rapid.IntRange(1, 2).Draw(m.t, "times") {
			m.report(name, tags[:n])
		}
		m.check()
		tags = tags[n:]
		if rapid.IntRange(0, 9).Draw(m.t, "breaks off") == 0 {
			return false
		}
	}
	id, err := m.db.PutRepository(ctx, tidewaiter.Repository{RegistryID: m.id, Name: name})
	m.ok(err)
	if rapid.IntRange(0, 9).Draw(m.t, "trouble") == 0 {
		m.ok(m.db.CompleteRepository(ctx, id, m.syncID, "forbidden", nil, m.now))
		m.done[name] = true // of its images nothing is gone
		return true
	}
	for range rapid.IntRange(1, 2).Draw(m.t, "times") {
		m.ok(m.db.CompleteRepository(ctx, id, m.syncID, "", []tidewaiter.Skipped{{Kind: "bad", Reason: "worse", Count: 2, Example: "x"}}, m.now))
	}
	m.stored[name] = maps.Clone(m.seen[name])
	m.done[name] = true
	m.check()
	m.checkLatest(name)
	return true
}

func (m *syncModel) report(name string, tags []string) {
	ctx := context.Background()
	var manifests []tidewaiter.Manifest
	for _, tag := range tags {
		manifests = append(manifests, m.there[name][tag].manifests()...)
	}
	m.ok(m.db.Tx(ctx, func(tx *store.DB) error {
		id, err := tx.PutRepository(ctx, tidewaiter.Repository{RegistryID: m.id, Name: name})
		m.ok(err)
		m.ok(tx.PutManifests(ctx, m.id, manifests))
		var digests []tidewaiter.Digest
		for _, c := range manifests {
			digests = append(digests, c.Digest)
		}
		known, err := tx.ManifestsByDigest(ctx, m.id, digests)
		m.ok(err)
		unknown, err := tx.UnknownDigests(ctx, m.id, append(digests, thing(99).digest()))
		m.ok(err)
		if !slices.Equal(unknown, []tidewaiter.Digest{thing(99).digest()}) {
			m.t.Fatalf("unknown: %v", unknown)
		}
		var images []store.ImageTag
		var others []store.SkippedTag
		for _, tag := range tags {
			x := m.there[name][tag]
			m.seen[name][tag] = x
			if x < 0 {
				others = append(others, store.SkippedTag{Name: tag, ManifestID: known[x.digest()].ID})
				continue
			}
			m.told[name+":"+tag] = m.pushed[name+":"+tag]
			images = append(images, store.ImageTag{Name: tag, ManifestID: known[x.digest()].ID, Updated: m.pushed[name+":"+tag]})
			m.stored[name][tag] = x
		}
		m.ok(tx.PutImages(ctx, id, m.syncID, images, m.now))
		return tx.PutSkippedTags(ctx, id, m.syncID, others)
	}))
}

func (m *syncModel) images() map[string]tidewaiter.Digest {
	want := make(map[string]tidewaiter.Digest)
	for name, tags := range m.stored {
		for tag, x := range tags {
			if x >= 0 {
				want[name+":"+tag] = x.digest()
			}
		}
	}
	return want
}

func (m *syncModel) listed(f store.ImageFilter) map[string]tidewaiter.RegistryImage {
	f.RegistryID = m.id
	list, total, err := m.db.Images(context.Background(), tidewaiter.Extent{ProjectID: "p", All: true}, f, store.Page{Limit: 1000})
	m.ok(err)
	found := make(map[string]tidewaiter.RegistryImage)
	for _, i := range list {
		name := i.Name
		if i.Namespace != "" {
			name = i.Namespace + "/" + name
		}
		found[name+":"+i.Tag] = i
	}
	if len(found) != total || len(list) != total {
		m.t.Fatalf("%d images, %d in all", len(list), total)
	}
	return found
}

// check compares the images with the model.
func (m *syncModel) check() {
	got := make(map[string]tidewaiter.Digest)
	for key, i := range m.listed(store.ImageFilter{}) {
		got[key] = i.Digest
		if i.MultiArch != (i.Kind == "index") || i.MultiArch != (len(i.Platforms) == 2) || !i.Gone.IsZero() || !i.Scannable {
			m.t.Fatalf("%+v", i)
		}
		if x := thing(i.Size - 10); i.MultiArch && (i.Platforms[0].Digest != (x-4).digest() || i.Platforms[1].Digest != (x-5).digest()) {
			m.t.Fatalf("%+v", i)
		}
	}
	if d := cmp.Diff(m.images(), got); d != "" {
		m.t.Fatalf("images (-want +got):\n%s", d)
	}
	m.ok(m.db.CheckCounts(context.Background()))
}

// checkLatest checks what is the latest of a repository that was just listed.
func (m *syncModel) checkLatest(name string) {
	latest := ""
	for _, tag := range slices.Sorted(maps.Keys(m.stored[name])) {
		if m.stored[name][tag] < 0 {
			continue
		}
		a, b := m.told[name+":"+tag], m.told[name+":"+latest]
		if latest == "" || a.After(b) || a.Equal(b) && latest != "latest" {
			latest = tag
		}
		if tag == "latest" && !b.After(a) {
			latest = tag
		}
	}
	for key, i := range m.listed(store.ImageFilter{}) {
		if strings.HasPrefix(key, name+":") && i.Latest != (i.Tag == latest) {
			m.t.Fatalf("latest of %s is to be %q: %+v", name, latest, i)
		}
	}
}

// TestSyncLeavesWhatIsThere synchronises a registry that changes all the time.
// Syncs break off, reports come twice and in any order.
func TestSyncLeavesWhatIsThere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		newCluster(t, db, "c")
		registries := 0
		rapid.Check(t, func(rt *rapid.T) {
			registries++
			m := &syncModel{t: rt, db: db, id: newRegistry(t, db, fmt.Sprintf("r%d", registries)).ID, now: epoch(),
				there: make(content), stored: make(content), pushed: make(map[string]time.Time), told: make(map[string]time.Time)}
			defer func() { _ = db.DeleteRegistry(ctx, m.id) }() // if the check fails
			for range rapid.IntRange(1, 6).Draw(rt, "rounds") {
				m.change()
				m.sync()
			}
			// All that is gone is purged in the end, and nothing else.
			for {
				n, err := db.PurgeGone(ctx, m.now.Add(-30*time.Second), 3)
				if m.ok(err); n == 0 {
					break
				}
				m.check()
			}
			for key, i := range m.listed(store.ImageFilter{WithGone: true}) {
				if !i.Gone.IsZero() && i.Gone.Before(m.now.Add(-30*time.Second)) {
					rt.Fatalf("%s is still there", key)
				}
			}
			m.check()
			m.ok(db.DeleteRegistry(ctx, m.id))
		})
		for _, table := range []string{"images", "image_counts", "repositories", "manifests", "manifest_children", "skipped_tags", "registries"} {
			if n, err := db.Rows(ctx, table); err != nil || n != 0 {
				t.Errorf("%s has %d rows after all (%v)", table, n, err)
			}
		}
	})
}
