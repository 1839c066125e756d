package inventory

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// password is planted, to be found nowhere.
const password = "Planted-Passw0rd-éü'\"$(x)"

// tester is what a world needs of a test; [*testing.T], [*rapid.T] and others have it.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// everything is the extent of a caller who may see the whole project.
func (w *world) everything() tidewaiter.Extent {
	return tidewaiter.Extent{ProjectID: w.project, All: true}
}

// world is a service over a database, with a clock that a test turns, a cluster
// and the key of its one component.
type world struct {
	*Service
	t       tester
	project string
	db      *store.DB
	key     *seal.Key
	cluster tidewaiter.Cluster

	mu    sync.Mutex
	time  time.Time
	woken map[string]int
	wakes chan struct{} // one for each call of Wake
}

// start is when the clock of a world stands at first: a Tuesday noon.
func start() time.Time { return time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC) }

func newWorld(t tester, db *store.DB) *world {
	t.Helper()
	w := &world{t: t, db: db, project: store.NewID(), time: start(), woken: make(map[string]int), wakes: make(chan struct{}, 10_000)}
	s, err := New(w.options())
	if err != nil {
		t.Fatal(err)
	}
	w.Service = s
	if w.key, err = seal.NewKey(); err != nil {
		t.Fatal(err)
	}
	w.cluster = w.newCluster("site", w.project, w.key.Recipient())
	return w
}

func (w *world) options() Options {
	return Options{Store: w.db, Wake: w.wakeUp, Now: w.at, Location: time.UTC, Poll: time.Millisecond, Interval: time.Millisecond}
}

func (w *world) at() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.time
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = w.time.Add(d)
}

func (w *world) wakeUp(clusterID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.woken[clusterID]++
	w.wakes <- struct{}{}
}

func (w *world) newCluster(name, projectID, recipient string) tidewaiter.Cluster {
	w.t.Helper()
	c := tidewaiter.Cluster{
		ID: store.NewID(), ProjectID: projectID, Name: name, Kind: tidewaiter.AttachedCluster,
		Recipient: recipient, Created: w.at(),
	}
	w.ok(w.db.CreateCluster(w.t.Context(), c))
	return c
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// wants fails the test unless err is of a kind.
func (w *world) wants(kind tidewaiter.Kind, err error) {
	w.t.Helper()
	if err == nil || tidewaiter.KindOf(err) != kind {
		w.t.Fatalf("got error %v, want one of kind %q", err, kind)
	}
}

// new returns a connection that can be made.
func (w *world) new(name string) NewRegistry {
	return NewRegistry{
		ProjectID: w.project, EnterpriseProjectID: "0", Name: name, Type: tidewaiter.RegistryHarbor,
		APIVersion: "V2", Protocol: "https", Address: "harbor.example.com", Username: "robot",
		Password: password, ClusterID: w.cluster.ID, Channel: "Swr",
	}
}

func (w *world) add(n NewRegistry) tidewaiter.Registry {
	w.t.Helper()
	r, err := w.AddRegistry(w.t.Context(), n)
	w.ok(err)
	return r
}

func (w *world) registry(id string) tidewaiter.Registry {
	w.t.Helper()
	r, err := w.Registry(w.t.Context(), w.everything(), id)
	w.ok(err)
	return r
}

// lease takes work of the cluster, as a component does.
func (w *world) lease(owner string, kinds ...tidewaiter.WorkKind) (tidewaiter.Work, tidewaiter.Lease) {
	w.t.Helper()
	work, lease, err := w.tryLease(owner, kinds...)
	w.ok(err)
	return work, lease
}

func (w *world) tryLease(owner string, kinds ...tidewaiter.WorkKind) (tidewaiter.Work, tidewaiter.Lease, error) {
	if len(kinds) == 0 {
		kinds = []tidewaiter.WorkKind{tidewaiter.AccessCheckWork, tidewaiter.SyncWork}
	}
	now := w.at()
	work, err := w.db.LeaseWork(w.t.Context(), w.cluster.ID, kinds, owner, now, now.Add(time.Minute), tidewaiter.MaxAttempts)
	return work, tidewaiter.Lease{WorkID: work.ID, Owner: owner, Attempt: work.Attempt}, err
}

// finish ends a lease.
func (w *world) finish(work tidewaiter.Work, l tidewaiter.Lease, f protocol.FinishRequest) error {
	f.Attempt = l.Attempt
	return w.Finish(w.t.Context(), work, l, f)
}

// goodReport is of a check that went well.
func goodReport() *protocol.AccessReport {
	r := &protocol.AccessReport{}
	for _, name := range []string{"dns", "tcp", "tls", "auth", "list", "pull"} {
		r.Steps = append(r.Steps, protocol.Step{Name: name, Status: "ok", Microseconds: 1200, Message: "well"})
	}
	return r
}

// pass the access check of the only registry that waits for one.
func (w *world) passCheck() {
	w.t.Helper()
	work, l := w.lease("component-1", tidewaiter.AccessCheckWork)
	w.ok(w.finish(work, l, protocol.FinishRequest{Outcome: protocol.OutcomeDone, AccessCheck: goodReport()}))
}

// ready returns a registry that was checked, and whose first synchronisation waits.
func (w *world) ready(name string) tidewaiter.Registry {
	w.t.Helper()
	r := w.add(w.new(name))
	w.passCheck()
	return w.registry(r.ID)
}

// imageOf returns the manifest of an image, different for each text.
func imageOf(text string) protocol.Manifest {
	return protocol.Manifest{
		Digest: tidewaiter.DigestOf([]byte("manifest of " + text)), MediaType: tidewaiter.MediaTypeOCIManifest, Kind: "image",
		ConfigDigest: tidewaiter.DigestOf([]byte("config of " + text)), Size: int64(len(text)) + 1000,
		OS: "linux", Architecture: "amd64", Created: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func chartOf(text string) protocol.Manifest {
	return protocol.Manifest{
		Digest: tidewaiter.DigestOf([]byte("chart " + text)), MediaType: tidewaiter.MediaTypeOCIManifest,
		Kind: "helm chart", Reason: "it is a Helm chart",
	}
}

func indexOf(children ...protocol.Manifest) protocol.Manifest {
	m := protocol.Manifest{MediaType: tidewaiter.MediaTypeOCIIndex, Kind: "index"}
	text := "index of"
	for _, c := range children {
		text += string(c.Digest)
		m.Children = append(m.Children, c.Digest)
	}
	m.Digest = tidewaiter.DigestOf([]byte(text))
	return m
}

// tagged returns a whole report of one repository: pairs of a tag and a manifest.
func tagged(name string, complete bool, pairs ...any) protocol.RepositoryReport {
	r := protocol.RepositoryReport{Name: name, Complete: complete}
	for i := 0; i < len(pairs); i += 2 {
		m := pairs[i+1].(protocol.Manifest)
		r.Manifests = append(r.Manifests, m)
		r.Tags = append(r.Tags, protocol.Tag{Name: pairs[i].(string), Digest: m.Digest})
	}
	return r
}

// sync does the synchronisation that waits, with these reports.
func (w *world) sync(reports ...protocol.RepositoryReport) tidewaiter.Work {
	w.t.Helper()
	work, l := w.lease("component-1", tidewaiter.SyncWork)
	for _, r := range reports {
		w.ok(w.Report(w.t.Context(), l, r))
	}
	w.ok(w.finish(work, l, protocol.FinishRequest{Outcome: protocol.OutcomeDone}))
	return work
}

// wish queues the synchronisation of all registries.
func (w *world) wish() tidewaiter.SyncTask {
	w.t.Helper()
	task, err := w.Synchronize(w.t.Context(), w.everything(), Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualSync})
	w.ok(err)
	return task
}

// images returns the present images as repository:tag=digest.
func (w *world) images() map[string]tidewaiter.Digest {
	w.t.Helper()
	list, total, err := w.Images(w.t.Context(), w.everything(), store.ImageFilter{}, store.Page{Limit: 1000})
	w.ok(err)
	if total != len(list) {
		w.t.Fatalf("%d images listed, %d in all", len(list), total)
	}
	m := make(map[string]tidewaiter.Digest)
	for _, i := range list {
		name := i.Name
		if i.Namespace != "" {
			name = i.Namespace + "/" + name
		}
		m[fmt.Sprintf("%s:%s", name, i.Tag)] = i.Digest
	}
	return m
}

// tasks returns the tasks, newest first.
func (w *world) tasks() []tidewaiter.SyncTask {
	w.t.Helper()
	list, _, err := w.SyncTasks(w.t.Context(), w.everything(), store.SyncTaskFilter{}, store.Page{Limit: 1000})
	w.ok(err)
	return list
}

// rows returns the registries of a task.
func (w *world) rows(taskID string) []tidewaiter.SyncTaskRegistry {
	w.t.Helper()
	list, _, err := w.SyncTaskRegistries(w.t.Context(), w.everything(), taskID, store.SyncRegistryFilter{}, store.Page{Limit: 1000})
	w.ok(err)
	return list
}

// each runs a test in a fresh world on both databases.
func each(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { f(t, newWorld(t, db)) })
}
