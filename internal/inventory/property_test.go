package inventory

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// A run is a component under way with a synchronisation: what it has still to say.
type run struct {
	work    tidewaiter.Work
	lease   tidewaiter.Lease
	started time.Time // when the lease was taken
	queue   []protocol.RepositoryReport
	said    []protocol.RepositoryReport
	dead    bool
}

// TestKillAnywhere: whatever happens between components and server, each
// synchronisation that ends well leaves exactly the images of the registry, its
// task ends once, and one that is not done changes no image for the worse.
func TestKillAnywhere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		rapid.Check(t, func(rt *rapid.T) {
			w := newWorld(rt, db)
			r := w.ready("harbor")
			m := machine{w: w, r: r, content: drawContent(rt)}
			for len(m.tasks) < 2 {
				m.begin()
				for !m.ended() {
					m.step(rt)
				}
				m.compare(rt)
				m.content = drawContent(rt) // what is pushed and deleted until the next
			}
		})
	})
}

// machine is the state of the property test.
type machine struct {
	w       *world
	r       tidewaiter.Registry
	content map[string]map[string]protocol.Manifest // repository, tag
	tasks   []tidewaiter.SyncTask
	runs    []*run
}

func drawContent(rt *rapid.T) map[string]map[string]protocol.Manifest {
	content := make(map[string]map[string]protocol.Manifest)
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "team/b", "team/c/d"}), 0, 3, rapid.ID[string]).Draw(rt, "repositories") {
		content[name] = make(map[string]protocol.Manifest)
		for _, tag := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"v1", "v2", "latest", "chart"}), 0, 4, rapid.ID[string]).Draw(rt, "tags") {
			text := fmt.Sprint(rapid.IntRange(1, 4).Draw(rt, "image"))
			m := imageOf(text)
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0:
				m = indexOf(imageOf(text), imageOf("other"))
			case 1:
				m = chartOf(text)
			}
			content[name][tag] = m
		}
	}
	return content
}

// begin queues a synchronisation; the first was queued by the access check.
func (m *machine) begin() {
	task := m.w.tasks()[0]
	if len(m.tasks) > 0 {
		task = m.w.wish()
	}
	m.tasks = append(m.tasks, task)
}

func (m *machine) ended() bool {
	task, err := m.w.SyncTask(m.w.t.Context(), m.w.everything(), m.tasks[len(m.tasks)-1].ID)
	m.w.ok(err)
	return !task.Ended.IsZero()
}

// step does one thing of the many that may happen next.
func (m *machine) step(rt *rapid.T) {
	w := m.w
	switch rapid.SampledFrom([]string{"lease", "report", "report", "report", "finish", "finish", "repeat", "die", "time", "lose", "release"}).Draw(rt, "step") {
	case "lease":
		work, lease, err := w.tryLease(fmt.Sprintf("component-%d", len(m.runs)), tidewaiter.SyncWork)
		if err == nil {
			m.runs = append(m.runs, &run{work: work, lease: lease, started: w.at(), queue: m.reports(rt)})
		} else if tidewaiter.KindOf(err) != tidewaiter.NotFound {
			rt.Fatal(err)
		}
	case "report":
		if u := m.any(rt); u != nil && len(u.queue) > 0 && !u.dead {
			m.say(rt, u, u.queue[0])
			u.queue = u.queue[1:]
		}
	case "repeat":
		if u := m.any(rt); u != nil && len(u.said) > 0 {
			m.say(rt, u, u.said[rapid.IntRange(0, len(u.said)-1).Draw(rt, "again")])
		}
	case "finish":
		if u := m.any(rt); u != nil && len(u.queue) == 0 && !u.dead {
			m.judge(rt, u, w.finish(u.work, u.lease, done()))
		}
	case "release":
		if u := m.any(rt); u != nil && !u.dead && rapid.IntRange(0, 3).Draw(rt, "rarely") == 0 {
			m.judge(rt, u, w.finish(u.work, u.lease, protocol.FinishRequest{Outcome: protocol.OutcomeReleased}))
			u.dead = true
		}
	case "die": // and the server does not know
		if u := m.any(rt); u != nil {
			u.dead = true
		}
	case "time":
		w.pass(rapid.SampledFrom([]time.Duration{time.Second, 40 * time.Second}).Draw(rt, "pass"))
	case "lose":
		w.pass(2 * time.Minute)
		w.ok(w.failExhausted(w.t.Context()))
	}
}

func (m *machine) any(rt *rapid.T) *run {
	if len(m.runs) == 0 {
		return nil
	}
	// The last ones are more often the ones that live.
	return m.runs[len(m.runs)-1-rapid.IntRange(0, min(2, len(m.runs)-1)).Draw(rt, "run")]
}

// reports returns what an honest component says: repositories in any order,
// each in one or two reports.
func (m *machine) reports(rt *rapid.T) []protocol.RepositoryReport {
	var names []string
	for name := range m.content {
		names = append(names, name)
	}
	slices.Sort(names)
	names = rapid.Permutation(names).Draw(rt, "order")
	var list []protocol.RepositoryReport
	for _, name := range names {
		r := protocol.RepositoryReport{Name: name}
		var tags []string
		for tag := range m.content[name] {
			tags = append(tags, tag)
		}
		slices.Sort(tags)
		for _, tag := range tags {
			manifest := m.content[name][tag]
			if manifest.Kind == "index" {
				for i := 1; i <= 4; i++ {
					r.Manifests = append(r.Manifests, imageOf(fmt.Sprint(i)))
				}
				r.Manifests = append(r.Manifests, imageOf("other"))
			}
			r.Manifests = append(r.Manifests, manifest)
			r.Tags = append(r.Tags, protocol.Tag{Name: tag, Digest: manifest.Digest})
			if rapid.Bool().Draw(rt, "split") {
				list = append(list, r)
				r = protocol.RepositoryReport{Name: name}
			}
		}
		r.Complete = true
		list = append(list, r)
	}
	return list
}

func (m *machine) say(rt *rapid.T, u *run, r protocol.RepositoryReport) {
	err := m.w.Report(m.w.t.Context(), u.lease, r)
	m.judge(rt, u, err)
	if err == nil {
		u.said = append(u.said, r)
	}
}

// judge: only who holds the lease of the last attempt is heard.
func (m *machine) judge(rt *rapid.T, u *run, err error) {
	if err != nil && protocol.CodeOf(err) != protocol.ErrLeaseLost {
		rt.Fatalf("%+v: %v", u.lease, err)
	}
	if last := m.runs[len(m.runs)-1]; err == nil && last != u {
		rt.Fatalf("%+v is heard, though %+v came later", u.lease, last.lease)
	}
}

// compare looks at the images after a task has ended.
func (m *machine) compare(rt *rapid.T) {
	w := m.w
	task, err := w.SyncTask(w.t.Context(), w.everything(), m.tasks[len(m.tasks)-1].ID)
	w.ok(err)
	if task.Finished+task.Failed != 1 || task.Total != 1 {
		rt.Fatalf("the task ended as %+v", task)
	}
	if task.Failed == 1 {
		return // given up after too many attempts
	}
	want := make(map[string]tidewaiter.Digest)
	charts := 0
	for name, tags := range m.content {
		for tag, manifest := range tags {
			if manifest.Kind == "helm chart" {
				charts++
			} else {
				want[name+":"+tag] = manifest.Digest
			}
		}
	}
	if diff := cmp.Diff(want, w.images()); diff != "" {
		rt.Fatalf("images:\n%s", diff)
	}
	skipped, err := w.db.SkippedOf(w.t.Context(), m.r.ID)
	w.ok(err)
	count := 0
	for _, s := range skipped {
		count += s.Count
	}
	if count != charts || w.registry(m.r.ID).Images != len(want) {
		rt.Fatalf("%d tags are skipped, want %d; the registry has %d images, want %d", count, charts, w.registry(m.r.ID).Images, len(want))
	}
	if r := w.registry(m.r.ID); r.Status != tidewaiter.RegistrySuccess || !r.Synced.Equal(w.at()) {
		rt.Fatalf("the registry: %+v", r)
	}
}
