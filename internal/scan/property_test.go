package scan

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// TestAnyOrder lets tasks, components, synchronisations and removals meet in
// any order, components die, and their leases run out. After each step all that
// can be seen is what it is to be, and in the end no task is left waiting.
func TestAnyOrder(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, raw *sql.DB) {
		rapid.Check(t, func(rt *rapid.T) {
			m := &model{
				world: newWorld(rt, db, raw), registries: make(map[string]string), there: make(map[string]content), scans: make(map[int64]*scanModel),
				complete: make(map[int64]bool), layers: make(map[thing]*layerModel), parts: make(map[string]map[thing]string),
			}
			defer m.clear()
			steps := map[string]func(*rapid.T){
				"sync": m.syncStep, "create": m.createStep, "stop": m.stopStep, "take": m.takeStep, "report": m.reportStep, "finish": m.finishStep,
				"heartbeat": m.heartbeatStep, "pass": m.passStep, "exhaust": m.exhaustStep, "delete": m.deleteStep, "requeue": m.requeueStep,
				"purge": m.purgeStep, "run": m.runStep,
			}
			names := slices.Sorted(maps.Keys(steps))
			for _, often := range []string{"take", "report", "report", "finish", "create", "pass"} {
				names = append(names, often, often)
			}
			m.syncStep(rt)
			m.syncStep(rt)
			for range rapid.IntRange(5, 40).Draw(rt, "steps") {
				name := rapid.SampledFrom(names).Draw(rt, "step")
				steps[name](rt)
				m.check()
			}
			m.quiesce(rapid.IntRange(0, 3).Draw(rt, "all die") > 0)
		})
	})
}

// clear removes what a round has left, for the next.
func (m *model) clear() {
	for _, id := range m.registries {
		m.deleteRegistry(id)
	}
	_ = m.db.DeleteCluster(m.t.Context(), m.cluster) // and its work
	_, _ = m.db.PurgeScanTasks(m.t.Context(), m.time.Add(time.Hour))
}

func (m *model) syncStep(rt *rapid.T) {
	m.pass(time.Second)
	name := rapid.SampledFrom([]string{"r", "s"}).Draw(rt, "registry")
	if m.registries[name] == "" {
		m.names++
		m.registries[name], m.there[name] = m.newRegistry(fmt.Sprint(name, m.names)), content{"a": {}, "b": {}}
	}
	for range rapid.IntRange(1, 5).Draw(rt, "changes") {
		tags := m.there[name][rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "repository")]
		tag := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "tag")
		if rapid.IntRange(0, 4).Draw(rt, "remove") == 0 {
			delete(tags, tag)
		} else {
			tags[tag] = thing(rapid.IntRange(-1, 5).Draw(rt, "thing"))
		}
	}
	m.sync(m.registries[name], m.there[name])
}

func (m *model) createStep(rt *rapid.T) {
	wish := Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualScan, RateLimit: rapid.SampledFrom([]int{0, 0, 60}).Draw(rt, "rate limit")}
	ids := rapid.SliceOfDistinct(rapid.IntRange(0, 7), rapid.ID[int]).Draw(rt, "images")
	var wanted []tidewaiter.RegistryImage
	for n, i := range m.all() {
		if i.Gone.IsZero() && (len(ids) == 0 || slices.Contains(ids, n)) {
			wanted = append(wanted, i)
			wish.Selection.IDs = append(wish.Selection.IDs, i.ID)
		}
	}
	if len(ids) == 0 {
		wish.Selection.IDs, wish.All = nil, true
	}
	if len(ids) > 0 && len(wanted) == 0 {
		wish.Selection.IDs = []int64{-1}
	}
	task, err := m.Create(m.t.Context(), m.everything(), wish)
	if len(wanted) == 0 {
		if tidewaiter.KindOf(err) != tidewaiter.NotFound {
			rt.Fatalf("a task about nothing: %v", err)
		}
		return
	}
	m.ok(err)
	m.created(task.ID, wanted, wish.RateLimit)
}

func (m *model) stopStep(rt *rapid.T) {
	if len(m.tasks) == 0 {
		return
	}
	t := rapid.SampledFrom(m.tasks).Draw(rt, "task")
	err := m.Stop(m.t.Context(), m.everything(), t.id)
	if t.state == tidewaiter.ScanFinished {
		if tidewaiter.KindOf(err) != tidewaiter.Conflict {
			rt.Fatalf("a task that has ended is stopped: %v", err)
		}
		return
	}
	m.ok(err)
	if t.state == tidewaiter.ScanRunning {
		m.stopped(t)
	}
}

func (m *model) takeStep(rt *rapid.T) {
	m.takeOne(rapid.SampledFrom([]string{"one", "two", "three"}).Draw(rt, "component"))
}

// takeOne takes a scan, and returns whether there was any: nil if it is about
// nothing.
func (m *model) takeOne(component string) (*jobModel, bool) {
	due := make(map[int64]bool)
	for manifest, s := range m.scans {
		if m.due(s) {
			due[manifest] = true
		}
	}
	j, gone := m.take(component)
	if j == nil {
		if len(due) > 0 {
			m.t.Fatalf("nothing is given out, though there is %v", due)
		}
		return nil, false
	}
	manifest, err := store.ManifestOfWork(j.work)
	m.ok(err)
	exists := m.text("SELECT COUNT(*) FROM manifests WHERE id = ?", manifest) == "1"
	switch {
	case !exists:
		if !gone {
			m.t.Fatalf("the scan of nothing is to be done")
		}
		return nil, true
	case !due[manifest]:
		m.t.Fatalf("the scan of manifest %d is given out, which is not due", manifest)
	}
	if tagged := m.text("SELECT COUNT(*) FROM images WHERE manifest_id = ?", manifest) != "0"; tagged == gone {
		m.t.Fatalf("manifest %d: gone is %t", manifest, gone)
	}
	jm := &jobModel{job: j, manifest: manifest}
	m.taken(jm)
	if gone {
		jm.lost = true
		m.ended(manifest, "failed "+tidewaiter.FailNotFound)
		return nil, true
	}
	m.jobs = append(m.jobs, jm)
	return jm, true
}

// wantLost wants err to say that a lease is lost if it is, and none else.
func (m *model) wantLost(what string, j *jobModel, lost bool, err error) {
	m.t.Helper()
	if (protocol.CodeOf(err) == protocol.ErrLeaseLost) != lost || !lost && err != nil {
		m.t.Fatalf("%s of manifest %d: lost is to be %t: %v", what, j.manifest, lost, err)
	}
}

func (m *model) pick(rt *rapid.T) *jobModel {
	if len(m.jobs) == 0 {
		return nil
	}
	return rapid.SampledFrom(m.jobs).Draw(rt, "job")
}

func (m *model) reportStep(rt *rapid.T) {
	j := m.pick(rt)
	if j == nil {
		return
	}
	x := rapid.SampledFrom(j.thing().images()).Draw(rt, "image")
	limits := rapid.SampledFrom([]string{"usual", "narrow"}).Draw(rt, "limits")
	failure := rapid.SampledFrom([]string{"", "", "", tidewaiter.FailDownload, tidewaiter.FailImageSize}).Draw(rt, "failure")
	m.report(j, x, limits, failure, rapid.SampledFrom([]string{"well", "cut", "slow"}).Draw(rt, "way"))
}

// report has a job look into an image: well, cut short, or so slowly that it only
// begins with the layer.
func (m *model) report(j *jobModel, x thing, limits, failure, way string) {
	if m.layers[x] == nil {
		m.layers[x] = &layerModel{}
	}
	l, over := m.layers[x], j.lost || j.unwanted
	usable := func() bool { return l.there && (l.limits == "" || l.limits == limits) }
	if failure == "" {
		state, err := j.layers(x, limits)
		m.wantLost("layers", j, over, err)
		if over {
			return
		}
		want := protocol.LayerClaimed
		switch {
		case usable():
			want = protocol.LayerKnown
		case l.claimed.live() && l.claimed.work.ID != j.work.ID:
			want = protocol.LayerBusy
		}
		m.want("a layer", state, want)
		if state == protocol.LayerBusy {
			return
		}
		if state == protocol.LayerClaimed {
			l.claimed = j
			if way == "slow" {
				return
			}
			m.ok(j.send(x, limits, way == "cut"))
			*l = layerModel{there: true}
			if way == "cut" {
				l.limits = limits
			}
		}
	}
	err := j.report(x, limits, failure)
	m.wantLost("a report", j, over, err)
	if over {
		return
	}
	if m.parts[j.work.ID] == nil {
		m.parts[j.work.ID] = make(map[thing]string)
	}
	image := m.imageOf(j, x)
	code := failure
	switch {
	case failure != "" || m.complete[image]:
	case l.limits != "":
		code = tidewaiter.FailSoftware
	default:
		m.complete[image] = true
	}
	m.parts[j.work.ID][x] = code
}

// imageOf returns the manifest of an image of a job.
func (m *model) imageOf(j *jobModel, x thing) int64 {
	var id int64
	_, err := fmt.Sscan(m.text("SELECT id FROM manifests WHERE digest = ? AND registry_number = (SELECT registry_number FROM manifests WHERE id = ?)", string(x.digest()), j.manifest), &id)
	m.ok(err)
	return id
}

func (m *model) finishStep(rt *rapid.T) {
	j := m.pick(rt)
	if j == nil {
		return
	}
	f := protocol.FinishRequest{Outcome: rapid.SampledFrom([]string{protocol.OutcomeDone, protocol.OutcomeDone, protocol.OutcomeFailed, protocol.OutcomeReleased}).Draw(rt, "outcome")}
	if f.Outcome == protocol.OutcomeFailed {
		f.Failure = &protocol.Failure{Code: tidewaiter.FailDownload, Message: "it failed", RetrySeconds: rapid.SampledFrom([]int{0, 5, 100}).Draw(rt, "retry")}
	}
	m.finishOne(j, f)
}

func (m *model) finishOne(j *jobModel, f protocol.FinishRequest) {
	err := j.finish(f)
	m.wantLost("the end", j, j.lost, err)
	m.jobs = slices.DeleteFunc(m.jobs, func(o *jobModel) bool { return o == j })
	if !j.lost {
		m.finished(j, f)
		j.lost = true
	}
}

func (m *model) heartbeatStep(rt *rapid.T) {
	j := m.pick(rt)
	if j == nil {
		return
	}
	stops := j.unwanted && !m.ghost(j)
	w, err := m.db.HeartbeatWork(m.t.Context(), j.lease, m.time.Add(leaseTime), tidewaiter.WorkProgress{})
	if (err != nil) != j.lost || !j.lost && w.Stop != stops {
		rt.Fatalf("a heartbeat: %v, lost is %t, stop is %t and to be %t", err, j.lost, w.Stop, stops)
	}
	if !j.lost {
		j.deadline = m.time.Add(leaseTime)
	}
}

func (m *model) passStep(rt *rapid.T) {
	m.pass(time.Duration(rapid.IntRange(1, 90).Draw(rt, "seconds")) * time.Second)
}

func (m *model) exhaustStep(*rapid.T) {
	m.ok(m.failExhausted(m.t.Context()))
	m.exhausted()
}

// runStep does what is due in a healthy server: nothing.
func (m *model) runStep(*rapid.T) {
	ctx := m.t.Context()
	for _, f := range []func() error{
		func() error { return m.expandAll(ctx) }, func() error { return m.stopAll(ctx) }, func() error { return m.requeueStranded(ctx) },
		func() error { return m.endOrphaned(ctx) }, func() error { return m.runPolicies(ctx) }, func() error { return m.removeOld(ctx) },
	} {
		m.ok(f())
	}
}

func (m *model) deleteStep(rt *rapid.T) {
	if len(m.registries) == 0 || rapid.IntRange(0, 2).Draw(rt, "really") > 0 {
		return
	}
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(m.registries))).Draw(rt, "registry")
	before := m.manifests()
	m.deleteRegistry(m.registries[name])
	delete(m.registries, name)
	m.compare(before)
}

// manifests returns the ids of all manifests.
func (m *model) manifests() map[int64]bool {
	rows, err := m.raw.QueryContext(m.t.Context(), "SELECT id FROM manifests")
	m.ok(err)
	defer rows.Close() //nolint:errcheck // read to the end
	ids := make(map[int64]bool)
	for rows.Next() {
		var id int64
		m.ok(rows.Scan(&id))
		ids[id] = true
	}
	m.ok(rows.Err())
	return ids
}

// compare notes which manifests are gone by now.
func (m *model) compare(before map[int64]bool) {
	after := m.manifests()
	for id := range before {
		if !after[id] {
			m.forgotten(id)
		}
	}
}

func (m *model) requeueStep(rt *rapid.T) {
	if len(m.registries) == 0 {
		return
	}
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(m.registries))).Draw(rt, "registry")
	m.ok(m.db.Tx(m.t.Context(), func(tx *store.DB) error {
		return tx.RequeueScans(m.t.Context(), m.registries[name], m.cluster, m.time)
	}))
	for manifest, s := range m.scans {
		in := m.text("SELECT g.id FROM manifests AS m JOIN registries AS g ON g.number = m.registry_number WHERE m.id = ?", manifest) == m.registries[name]
		if in && s.open && s.by != nil {
			s.by.lost = true
			s.by, s.notBefore = nil, m.time
		}
	}
}

func (m *model) purgeStep(*rapid.T) {
	m.pass(time.Second)
	before := m.manifests()
	m.purge()
	m.compare(before)
}

// quiesce does all that is to be done, and wants all tasks to have ended. That
// comes about even if all components die of all images.
func (m *model) quiesce(alive bool) {
	for round := 0; m.waits(); round++ {
		if round > 10 {
			m.t.Fatal("it does not come to an end")
		}
		m.pass(2 * time.Minute) // leases run out, and what waits becomes due
		m.exhaustStep(nil)
		for {
			j, there := m.takeOne("last")
			if !there {
				break
			}
			if j == nil || !alive {
				continue
			}
			for _, x := range j.thing().images() {
				m.report(j, x, "usual", "", "well")
			}
			m.finishOne(j, protocol.FinishRequest{Outcome: protocol.OutcomeDone})
		}
		m.check()
	}
	m.check()
	for _, t := range m.tasks {
		if t.state == tidewaiter.ScanRunning {
			m.t.Fatalf("task %s is left waiting", t.id)
		}
	}
}
