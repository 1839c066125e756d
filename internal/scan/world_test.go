package scan

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/codec"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// tester is what a world needs of a test; [*testing.T] and [*rapid.T] have it.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// extractors is the version of the newest set of extractors.
const extractors = "set-2"

// world is a service over a database with a clock that a test turns, a cluster
// with one component, and registries.
type world struct {
	*Service
	t       tester
	db      *store.DB
	raw     *sql.DB // the same database
	cluster string
	project string
	set     string // version of the component's extractors
	time    time.Time
	syncs   int
}

// each runs a test on both databases.
func each(t *testing.T, f func(t *testing.T, db *store.DB, raw *sql.DB)) {
	t.Helper()
	storetest.EachURL(t, func(t *testing.T, url string) {
		db := storetest.Open(t, url)
		driver, name := "pgx", url
		if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
			driver, name = "sqlite", path
		}
		raw, err := sql.Open(driver, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = raw.Close() })
		f(t, db, raw)
	})
}

func newWorld(t tester, db *store.DB, raw *sql.DB) *world {
	t.Helper()
	// Ahead of the clock of the machine, by which the store says when manifests
	// may be unused.
	w := &world{t: t, db: db, raw: raw, cluster: store.NewID(), project: store.NewID(), set: extractors, time: store.Now().Add(time.Hour)}
	w.Service = New(Options{Store: db, Extractors: extractors, Now: func() time.Time { return w.time }, Interval: time.Millisecond})
	w.ok(db.CreateCluster(t.Context(), tidewaiter.Cluster{ID: w.cluster, ProjectID: w.project, Name: "site", Kind: tidewaiter.AttachedCluster, Created: w.time}))
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pass(d time.Duration) { w.time = w.time.Add(d) }

func (w *world) everything() tidewaiter.Extent {
	return tidewaiter.Extent{ProjectID: w.project, All: true}
}

// text asks the database for one value.
func (w *world) text(query string, args ...any) string {
	w.t.Helper()
	if w.db.Dialect() == "postgres" {
		for i := range args {
			query = strings.Replace(query, "?", fmt.Sprint("$", i+1), 1)
		}
	}
	var s sql.NullString
	err := w.raw.QueryRowContext(w.t.Context(), query, args...).Scan(&s)
	if err != nil && err != sql.ErrNoRows {
		w.t.Fatalf("%s: %v", query, err)
	}
	return s.String
}

func (w *world) newRegistry(name string) string {
	w.t.Helper()
	r := tidewaiter.Registry{
		ID: store.NewID(), ProjectID: w.project, EnterpriseProjectID: "0", Name: name, Type: tidewaiter.RegistryHarbor, APIVersion: "V2", Protocol: "https",
		Address: "harbor.example.com", Username: "robot", ClusterID: w.cluster, Channel: "Swr", Status: tidewaiter.RegistrySuccess, Created: w.time, Updated: w.time,
	}
	w.ok(w.db.CreateRegistry(w.t.Context(), r))
	return r.ID
}

// A thing is what a tag stands for: an image, from 4 to 6 an index of two, or -1,
// what cannot be scanned.
type thing int

func (x thing) index() bool { return 4 <= x && x <= 6 }

func (x thing) digest() tidewaiter.Digest {
	return tidewaiter.DigestOf([]byte(fmt.Sprint("thing ", int(x))))
}

// images returns the images of an index, and the image of an image.
func (x thing) images() []thing {
	if x.index() {
		return []thing{x - 4, x - 3}
	}
	return []thing{x}
}

func (x thing) manifests() []tidewaiter.Manifest {
	m := tidewaiter.Manifest{Digest: x.digest(), MediaType: "m", Kind: "image", ImageID: fmt.Sprint(int(x)), Size: int64(x) + 10,
		Platform: tidewaiter.Platform{OS: "linux", Architecture: fmt.Sprint("a", int(x))}}
	if x == -1 {
		m.Kind, m.Reason = "windows image", "it is an image of Windows"
	}
	if !x.index() {
		return []tidewaiter.Manifest{m}
	}
	m.Kind, m.Platform = "index", tidewaiter.Platform{}
	var all []tidewaiter.Manifest
	for _, c := range x.images() {
		m.Children = append(m.Children, c.digest())
		all = append(all, c.manifests()...)
	}
	return append(all, m)
}

// content is what a registry holds, by repository and tag.
type content map[string]map[string]thing

// sync has a registry synchronised.
func (w *world) sync(registry string, there content) {
	w.t.Helper()
	ctx := w.t.Context()
	w.syncs++
	id := fmt.Sprint("sync ", w.syncs)
	for _, name := range slices.Sorted(maps.Keys(there)) {
		tags := there[name]
		var manifests []tidewaiter.Manifest
		var digests []tidewaiter.Digest
		for _, x := range tags {
			manifests = append(manifests, x.manifests()...)
			digests = append(digests, x.digest())
		}
		repository, err := w.db.PutRepository(ctx, tidewaiter.Repository{RegistryID: registry, Name: name})
		w.ok(err)
		w.ok(w.db.PutManifests(ctx, registry, manifests))
		known, err := w.db.ManifestsByDigest(ctx, registry, digests)
		w.ok(err)
		var images []store.ImageTag
		for _, tag := range slices.Sorted(maps.Keys(tags)) {
			images = append(images, store.ImageTag{Name: tag, ManifestID: known[tags[tag].digest()].ID})
		}
		w.ok(w.db.PutImages(ctx, repository, id, images, w.time))
		w.ok(w.db.CompleteRepository(ctx, repository, id, "", nil, w.time))
	}
	_, err := w.db.FinishSync(ctx, registry, id, w.time)
	w.ok(err)
}

// deleteRegistry does what package inventory does.
func (w *world) deleteRegistry(id string) {
	w.t.Helper()
	w.ok(w.db.Tx(w.t.Context(), func(tx *store.DB) error {
		if _, err := tx.LockRegistry(w.t.Context(), id); err != nil {
			return err
		}
		if err := tx.AbandonScans(w.t.Context(), id, "the registry was deleted", w.time); err != nil {
			return err
		}
		return tx.DeleteRegistry(w.t.Context(), id)
	}))
}

// image returns an image by its name and tag, such as r1/a:x.
func (w *world) image(name string) tidewaiter.RegistryImage {
	w.t.Helper()
	for _, i := range w.images() {
		if w.nameOf(i) == name {
			return i
		}
	}
	w.t.Fatalf("there is no image %s", name)
	return tidewaiter.RegistryImage{}
}

func (w *world) nameOf(i tidewaiter.RegistryImage) string {
	return i.RegistryName + "/" + i.Name + ":" + i.Tag
}

func (w *world) images() []tidewaiter.RegistryImage {
	w.t.Helper()
	list, _, err := w.db.Images(w.t.Context(), w.everything(), store.ImageFilter{}, store.Page{Limit: 1000})
	w.ok(err)
	return list
}

// status returns the status of an image, and the code of a failure.
func (w *world) status(name string) string {
	w.t.Helper()
	return statusOf(w.image(name))
}

func statusOf(i tidewaiter.RegistryImage) string {
	return strings.TrimSpace(i.Scan.Status + " " + i.Scan.FailedCode)
}

// scan makes a manual task for images by name, or for all.
func (w *world) scan(names ...string) tidewaiter.ScanTask {
	w.t.Helper()
	wish := Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualScan, Scope: tidewaiter.ScopeAll, All: len(names) == 0}
	for _, n := range names {
		wish.Selection.IDs = append(wish.Selection.IDs, w.image(n).ID)
	}
	task, err := w.Create(w.t.Context(), w.everything(), wish)
	w.ok(err)
	return task
}

// progress returns a task in short.
func (w *world) progress(id string) string {
	w.t.Helper()
	t, err := w.task(w.t.Context(), id)
	w.ok(err)
	return fmt.Sprintf("%s: %d and %d of %d", t.State, t.Succeeded, t.Failed, t.Total)
}

// leaseTime is how long a lease holds.
const leaseTime = time.Minute

// A job is a scan that a component does.
type job struct {
	*world
	work     tidewaiter.Work
	lease    tidewaiter.Lease
	scan     protocol.Scan
	deadline time.Time
}

// next takes the next scan, or returns nil.
func (w *world) next(component string) *job {
	w.t.Helper()
	for {
		j, gone := w.take(component)
		if !gone {
			return j
		}
	}
}

// take takes the next scan, as package componentapi does, or returns nil. What
// it is about may be gone: then nothing is left to do.
func (w *world) take(component string) (j *job, gone bool) {
	w.t.Helper()
	deadline := w.time.Add(leaseTime)
	work, err := w.db.LeaseWork(w.t.Context(), w.cluster, []tidewaiter.WorkKind{tidewaiter.ScanWork}, component, w.time, deadline, tidewaiter.MaxAttempts)
	if tidewaiter.KindOf(err) == tidewaiter.NotFound && err != nil {
		return nil, false
	}
	w.ok(err)
	j = &job{world: w, work: work, lease: tidewaiter.Lease{WorkID: work.ID, Owner: component, Attempt: work.Attempt}, deadline: deadline}
	_, j.scan, err = w.Describe(w.t.Context(), work)
	if protocol.CodeOf(err) == protocol.ErrLeaseLost {
		w.ok(w.db.EndWork(w.t.Context(), j.lease, tidewaiter.WorkStopped, "", work.Progress, w.time))
		return j, true
	}
	w.ok(err)
	return j, false
}

// nextOf takes the scan of a thing, whenever its turn is.
func (w *world) nextOf(component string, x thing) *job {
	w.t.Helper()
	var others []*job
	for {
		j := w.next(component)
		if j == nil {
			w.t.Fatalf("nothing is to be scanned that is %d", x)
		}
		if j.thing() == x {
			for _, o := range others {
				w.ok(o.finish(protocol.FinishRequest{Outcome: protocol.OutcomeReleased}))
			}
			return j
		}
		others = append(others, j)
	}
}

func layerOf(x thing) protocol.Layer {
	return protocol.Layer{Digest: tidewaiter.DigestOf([]byte("layer of " + x.digest())), DiffID: tidewaiter.DigestOf([]byte("content of " + x.digest())), Size: 100}
}

// layers asks for the one layer of an image.
func (j *job) layers(x thing, limits string) (string, error) {
	states, err := j.Layers(j.t.Context(), j.lease, protocol.LayersRequest{Extractors: j.set, Limits: limits, Layers: []protocol.Layer{layerOf(x)}})
	return strings.Join(states, ""), err
}

// send sends the facts of that layer, cut short or not.
func (j *job) send(x thing, limits string, cut bool) error {
	l := layerOf(x)
	facts := tidewaiter.LayerFacts{
		DiffID: l.DiffID, Verified: true, Extractors: j.set, Size: 200,
		Files:    []tidewaiter.File{{Path: "app", Type: tidewaiter.RegularFile, Size: 7}},
		Packages: []tidewaiter.Package{{Ecosystem: "PyPI", Name: fmt.Sprint("package", int(x)), Version: "1.0", Type: "pypi", Path: "app", Extractor: "x"}},
	}
	if cut {
		facts.Cuts = []tidewaiter.Cut{{Path: "x.jar", Code: "nesting", Reason: "it is nested too deep"}}
	}
	var b bytes.Buffer
	j.ok(codec.Encode(&b, facts))
	return j.Layer(j.t.Context(), j.lease, protocol.LayerReport{Extractors: j.set, Limits: limits, Layer: l}, b.Bytes())
}

// image reports an image, or why it failed.
func (j *job) report(x thing, limits, failure string) error {
	r := protocol.ImageReport{Digest: x.digest(), Extractors: j.set, Limits: limits}
	if failure == "" {
		r.Layers = []protocol.Layer{layerOf(x)}
		r.Config = protocol.ImageConfig{OS: "linux", Architecture: "amd64"}
	} else {
		r.Failure = &protocol.ScanFailure{Code: failure, Message: "it failed"}
	}
	return j.Image(j.t.Context(), j.lease, r)
}

func (j *job) finish(f protocol.FinishRequest) error {
	f.Attempt = j.lease.Attempt
	return j.Finish(j.t.Context(), j.work, j.lease, f)
}

// thing returns what the job is about.
func (j *job) thing() thing {
	for x := range thing(7) {
		if x.digest() == j.scan.Digest {
			return x
		}
	}
	j.t.Fatalf("nothing has the digest of the scan")
	return 0
}

// do does the scan well.
func (j *job) do() {
	j.t.Helper()
	for _, x := range j.thing().images() {
		state, err := j.layers(x, "usual")
		j.ok(err)
		if state == protocol.LayerClaimed {
			j.ok(j.send(x, "usual", false))
		}
		j.ok(j.report(x, "usual", ""))
	}
	j.ok(j.finish(protocol.FinishRequest{Outcome: protocol.OutcomeDone}))
}

// doAll does all scans that can be done, and returns of which things they were.
func (w *world) doAll() []thing {
	w.t.Helper()
	var list []thing
	for {
		j := w.next("component")
		if j == nil {
			slices.Sort(list)
			return list
		}
		list = append(list, j.thing())
		j.do()
	}
}
