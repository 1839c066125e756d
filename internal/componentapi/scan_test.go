package componentapi_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/componentapi"
	"github.com/tidewaiter/tidewaiter/internal/extract/codec"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

const extractors = "set-1"

// A port is a server that has images scanned, with registries of two projects,
// and components of several clusters that speak to it. It is a world for what
// all of them have in common.
type port struct {
	*world
	scans    *scan.Service
	findings *findings.Service
	url      string // of the database
}

// each runs a test on both databases.
func each(t *testing.T, f func(*port)) {
	t.Helper()
	storetest.EachURL(t, func(t *testing.T, url string) { f(newPort(t, url)) })
}

// newPort makes one on a database.
func newPort(t testing.TB, url string) *port {
	t.Helper()
	db := storetest.Open(t, url)
	p := &port{world: &world{TB: t, db: db, log: &lockedBuffer{}}, url: url}
	log := slog.New(slog.NewTextHandler(p.log, nil))
	p.inventory = &memory{db: db}
	p.fleet = fleet.New(fleet.Options{Store: db, Logger: log})
	sets := snapshots.New(snapshots.Options{Store: db, Folder: t.TempDir(), Logger: log})
	t.Cleanup(func() { p.ok(sets.Close()) })
	p.findings = findings.New(findings.Options{Store: db, Sets: sets, Logger: log})
	p.scans = scan.New(scan.Options{Store: db, Findings: p.findings, Wake: p.fleet.Wake, Logger: log, Extractors: extractors})
	g, err := gateway.New(gateway.Options{Logger: log})
	p.ok(err)
	p.server = httptest.NewServer(g.Wrap(componentapi.New(componentapi.Options{Fleet: p.fleet, Inventory: p.inventory, Scans: p.scans})))
	t.Cleanup(p.server.Close)
	t.Cleanup(p.fleet.Close)
	return p
}

// newCluster makes a cluster; project "" is for all projects.
func (p *port) newCluster(project, name string) string {
	p.Helper()
	c, err := p.fleet.CreateCluster(p.Context(), project, name)
	p.ok(err)
	return c.ID
}

// A crew is a component of a cluster.
type crew struct {
	*world
	port *port
}

// crew enrols a component, which makes the cluster's key.
func (p *port) crew(cluster string) *crew {
	p.Helper()
	key, err := seal.NewKey()
	p.ok(err)
	return p.crewWith(cluster, key)
}

func (p *port) crewWith(cluster string, key *seal.Key) *crew {
	p.Helper()
	w := *p.world
	c := &crew{world: &w, port: p}
	c.clusterID, c.key = cluster, key
	var err error
	_, c.signing, err = ed25519.GenerateKey(rand.Reader)
	p.ok(err)
	c.own, err = seal.NewKey()
	p.ok(err)
	c.enrolled()
	return c
}

// mate enrols another component of the same cluster.
func (c *crew) mate() *crew {
	c.Helper()
	return c.port.crewWith(c.clusterID, c.key)
}

// registry makes a registry of a project that a cluster reaches.
func (p *port) registry(project, cluster string) string {
	p.Helper()
	now := store.Now()
	r := tidewaiter.Registry{
		ID: store.NewID(), ProjectID: project, EnterpriseProjectID: "0", Name: project + " " + cluster, Type: tidewaiter.RegistryHarbor, APIVersion: "V2",
		Protocol: "https", Address: "harbor.example.com", Username: "robot", ClusterID: cluster, Channel: "Swr", Status: tidewaiter.RegistrySuccess, Created: now, Updated: now,
	}
	p.ok(p.db.CreateRegistry(p.Context(), r))
	return r.ID
}

func digestOf(word string) tidewaiter.Digest { return tidewaiter.DigestOf([]byte(word)) }

// push puts an image into a registry, with a tag, or an index of images.
func (p *port) push(registry, name string, children ...string) {
	p.Helper()
	ctx := p.Context()
	of := func(name string) tidewaiter.Manifest {
		return tidewaiter.Manifest{Digest: digestOf(name), MediaType: "m", Kind: "image", ImageID: name, Size: 10, Platform: tidewaiter.Platform{OS: "linux", Architecture: "amd64"}}
	}
	var manifests []tidewaiter.Manifest
	top := of(name)
	for _, child := range children {
		top.Kind, top.Children = "index", append(top.Children, digestOf(child))
		manifests = append(manifests, of(child))
	}
	manifests = append(manifests, top)
	repository, err := p.db.PutRepository(ctx, tidewaiter.Repository{RegistryID: registry, Name: name})
	p.ok(err)
	p.ok(p.db.PutManifests(ctx, registry, manifests))
	known, err := p.db.ManifestsByDigest(ctx, registry, []tidewaiter.Digest{digestOf(name)})
	p.ok(err)
	sync := "sync " + name
	p.ok(p.db.PutImages(ctx, repository, sync, []store.ImageTag{{Name: "v1", ManifestID: known[digestOf(name)].ID}}, store.Now()))
	p.ok(p.db.CompleteRepository(ctx, repository, sync, "", nil, store.Now()))
}

// manifest returns the id of an image of a registry.
func (p *port) manifest(registry, name string) int64 {
	p.Helper()
	known, err := p.db.ManifestsByDigest(p.Context(), registry, []tidewaiter.Digest{digestOf(name)})
	p.ok(err)
	return known[digestOf(name)].ID
}

// scan asks for all images of a project to be scanned, and returns the task.
func (p *port) scan(project string) string {
	p.Helper()
	task, err := p.scans.Create(p.Context(), tidewaiter.Extent{ProjectID: project, All: true}, scan.Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualScan, All: true})
	p.ok(err)
	return task.ID
}

// task returns what a task has come to.
func (p *port) task(id string) string {
	p.Helper()
	t, err := p.db.ScanTaskProgress(p.Context(), id)
	p.ok(err)
	return fmt.Sprintf("%s %d of %d, %d failed", t.State, t.Succeeded, t.Total, t.Failed)
}

// next leases the next scan.
func (c *crew) next() protocol.Work {
	c.Helper()
	var work protocol.Work
	ask := c.asking()
	ask.Kinds = []tidewaiter.WorkKind{tidewaiter.ScanWork}
	c.wants(c.post(protocol.PathLease, ask), 200, "", &work)
	if work.Scan == nil {
		c.Fatalf("work %+v is no scan", work)
	}
	return work
}

// nextOf leases the scan of an image, whenever its turn is.
func (c *crew) nextOf(name string) protocol.Work {
	c.Helper()
	var others []protocol.Work
	for {
		w := c.next()
		if w.Scan.Repository != name {
			others = append(others, w)
			continue
		}
		for _, o := range others {
			c.wants(c.about(o, protocol.PathFinish, protocol.FinishRequest{Attempt: o.Attempt, Outcome: protocol.OutcomeReleased}), 204, "", nil)
		}
		return w
	}
}

// about posts about a piece of work.
func (c *crew) about(w protocol.Work, path string, body any) *reply {
	c.Helper()
	return c.post(protocol.PathWork+w.ID+path, body)
}

// layer names a layer by a word.
func layer(word string) protocol.Layer {
	return protocol.Layer{Digest: digestOf("blob " + word), DiffID: digestOf("content " + word), Size: 100}
}

// factsOf are those of a layer with one package.
func factsOf(word string) tidewaiter.LayerFacts {
	return tidewaiter.LayerFacts{
		DiffID: layer(word).DiffID, Verified: true, Extractors: extractors, Size: 200,
		Files:    []tidewaiter.File{{Path: "app/" + word, Type: tidewaiter.RegularFile, Size: 7}, {Path: "status/" + word, Type: tidewaiter.RegularFile, Size: 7, Owned: true}},
		Packages: []tidewaiter.Package{{Ecosystem: "PyPI", Name: word, Version: "1.0", Type: "pypi", Path: "status/" + word, Extractor: "x"}},
	}
}

// encoded are facts as they are sent.
func encoded(t testing.TB, f tidewaiter.LayerFacts) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := codec.Encode(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func report(w protocol.Work, word string) protocol.LayerReport {
	return protocol.LayerReport{Attempt: w.Attempt, Extractors: extractors, Limits: "default", Layer: layer(word)}
}

// send sends facts.
func (c *crew) send(w protocol.Work, r protocol.LayerReport, facts []byte) *reply {
	c.Helper()
	body, err := r.Join(facts)
	c.ok(err)
	return c.sendRaw(w, body)
}

// sendRaw sends the whole body of a request with facts.
func (c *crew) sendRaw(w protocol.Work, body []byte) *reply {
	c.Helper()
	r := c.request(protocol.PathWork+w.ID+protocol.PathLayer, body)
	r.Header.Set("Content-Type", protocol.ContentFacts)
	return c.world.send(c.sign(r))
}

// ask asks for layers, and returns the words of the answer.
func (c *crew) ask(w protocol.Work, words ...string) string {
	c.Helper()
	q := protocol.LayersRequest{Attempt: w.Attempt, Extractors: extractors, Limits: "default"}
	for _, word := range words {
		q.Layers = append(q.Layers, layer(word))
	}
	var answer protocol.LayersResponse
	c.wants(c.about(w, protocol.PathLayers, q), 200, "", &answer)
	return strings.Join(answer.Layers, " ")
}

// image reports an image with these layers.
func image(w protocol.Work, name string, words ...string) protocol.ImageReport {
	r := protocol.ImageReport{Attempt: w.Attempt, Digest: digestOf(name), Extractors: extractors, Limits: "default"}
	for _, word := range words {
		r.Layers = append(r.Layers, layer(word))
	}
	return r
}

func done(w protocol.Work) protocol.FinishRequest {
	return protocol.FinishRequest{Attempt: w.Attempt, Outcome: protocol.OutcomeDone}
}

// does does an honest scan of an image of these layers.
func (c *crew) does(w protocol.Work, name string, words ...string) {
	c.Helper()
	states := strings.Fields(c.ask(w, words...))
	for i, word := range words {
		if states[i] == protocol.LayerClaimed {
			c.wants(c.send(w, report(w, word), encoded(c, factsOf(word))), 204, "", nil)
		}
	}
	c.wants(c.about(w, protocol.PathImage, image(w, name, words...)), 204, "", nil)
	c.wants(c.about(w, protocol.PathFinish, done(w)), 204, "", nil)
}

// holds wants an image to have these packages, nil for no result.
func (p *port) holds(registry, name string, want ...string) {
	p.Helper()
	var got []string
	r, err := p.db.Result(p.Context(), p.manifest(registry, name))
	if tidewaiter.KindOf(err) != tidewaiter.NotFound || err == nil {
		p.ok(err)
	}
	for _, held := range r.Packages {
		got = append(got, held.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		p.Errorf("%s holds (-want +got):\n%s", name, diff)
	}
}

// calm wants no failure of the server in the log.
func (p *port) calm() {
	p.Helper()
	if log := p.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic") {
		p.Errorf("log:\n%s", log)
	}
}

// TestScan is what components do, twice and in another order than they would.
func TestScan(t *testing.T) {
	each(t, func(p *port) {
		c := p.crew(p.newCluster("a", "east"))
		registry := p.registry("a", c.clusterID)
		p.push(registry, "one")
		task := p.scan("a")
		w := c.next()
		if w.Scan.Repository != "one" || w.Scan.Digest != digestOf("one") {
			p.Errorf("work %+v", w.Scan)
		}
		if got := c.ask(w, "base", "top"); got != "claimed claimed" {
			p.Errorf("layers that nobody knows are %s", got)
		}
		// The image before its layers; then one of them is not there yet.
		c.wants(c.about(w, protocol.PathImage, image(w, "one", "base", "top")), 409, protocol.ErrLayersMissing, nil)
		for range 2 {
			c.wants(c.send(w, report(w, "top"), encoded(t, factsOf("top"))), 204, "", nil)
		}
		c.wants(c.about(w, protocol.PathImage, image(w, "one", "base", "top")), 409, protocol.ErrLayersMissing, nil)
		p.holds(registry, "one")
		c.wants(c.send(w, report(w, "base"), encoded(t, factsOf("base"))), 204, "", nil)
		if got := c.ask(w, "base", "top"); got != "known known" {
			p.Errorf("layers that were sent are %s", got)
		}
		for range 2 {
			c.wants(c.about(w, protocol.PathImage, image(w, "one", "base", "top")), 204, "", nil)
		}
		c.wants(c.about(w, protocol.PathFinish, done(w)), 204, "", nil)
		// What comes late changes nothing.
		c.wants(c.about(w, protocol.PathFinish, done(w)), 409, protocol.ErrLeaseLost, nil)
		c.wants(c.send(w, report(w, "late"), encoded(t, factsOf("late"))), 409, protocol.ErrLeaseLost, nil)
		c.wants(c.about(w, protocol.PathImage, image(w, "one", "top")), 409, protocol.ErrLeaseLost, nil)
		c.wants(c.about(w, protocol.PathLayers, protocol.LayersRequest{Attempt: w.Attempt, Extractors: extractors, Limits: "default"}), 409, protocol.ErrLeaseLost, nil)
		p.holds(registry, "one", "base", "top")
		if got := p.task(task); got != "finished 1 of 1, 0 failed" {
			p.Errorf("the task: %s", got)
		}
		p.calm()
	})
}

// TestHalfOfFacts breaks off in the middle of a body: nothing of it is kept.
func TestHalfOfFacts(t *testing.T) {
	p := newPort(t, storetest.SQLite(t))
	c := p.crew(p.newCluster("a", "east"))
	p.push(p.registry("a", c.clusterID), "one")
	p.scan("a")
	w := c.next()
	c.ask(w, "base")
	body, err := report(w, "base").Join(encoded(t, factsOf("base")))
	p.ok(err)
	r := c.request(protocol.PathWork+w.ID+protocol.PathLayer, body)
	r.Header.Set("Content-Type", protocol.ContentFacts)
	r = c.sign(r)
	r.Body = io.NopCloser(io.LimitReader(bytes.NewReader(body), int64(len(body)-5)))
	r.GetBody = nil
	if resp, err := p.server.Client().Do(r); err == nil {
		resp.Body.Close()
		p.Errorf("half of a body: %s", resp.Status)
	}
	// A proxy that hands on what it got, as if it were all.
	half := c.request(protocol.PathWork+w.ID+protocol.PathLayer, body[:len(body)-5])
	half.Header.Set("Content-Type", protocol.ContentFacts)
	protocol.Sign(half, body, c.id, c.signing, time.Now())
	c.wants(c.world.send(half), 401, protocol.ErrSignature, nil)
	if got := c.ask(w, "base"); got != "claimed" {
		p.Errorf("after half of its facts the layer is %s", got)
	}
	p.calm()
}

// TestSlowFactsOfOthers has a cluster send its facts as slowly as it can. Others
// are not kept waiting.
func TestSlowFactsOfOthers(t *testing.T) {
	p := newPort(t, storetest.SQLite(t))
	slow := p.crew(p.newCluster("a", "east"))
	p.push(p.registry("a", slow.clusterID), "one")
	honest := p.crew(p.newCluster("b", "west"))
	registry := p.registry("b", honest.clusterID)
	p.push(registry, "two")
	p.scan("a")
	p.scan("b")
	w := slow.next()
	body, err := report(w, "base").Join(encoded(t, factsOf("base")))
	p.ok(err)
	var held []*io.PipeWriter
	var ended []chan struct{}
	for range 20 {
		r := slow.request(protocol.PathWork+w.ID+protocol.PathLayer, body)
		r.Header.Set("Content-Type", protocol.ContentFacts)
		r = slow.sign(r)
		from, to := io.Pipe()
		r.Body, r.GetBody = from, nil
		held = append(held, to)
		end := make(chan struct{})
		ended = append(ended, end)
		go func() {
			defer close(end)
			if resp, err := p.server.Client().Do(r); err == nil {
				resp.Body.Close()
			}
		}()
		_, err := to.Write(body[:10])
		p.ok(err)
	}
	begun := time.Now()
	honest.does(honest.next(), "two", "base", "top")
	if took := time.Since(begun); took > 10*time.Second {
		p.Errorf("beside a cluster that sends slowly a scan takes %s", took)
	}
	p.holds(registry, "two", "base", "top")
	for i := range held {
		held[i].CloseWithError(http.ErrAbortHandler) //nolint:errcheck // never fails
		<-ended[i]
	}
}
