package scan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// A model is what is to be known of scans: of manifests, layers and tasks.
type model struct {
	*world
	registries map[string]string // id by name
	there      map[string]content
	names      int

	scans    map[int64]*scanModel // by manifest
	complete map[int64]bool       // manifests with a complete result
	layers   map[thing]*layerModel
	parts    map[string]map[thing]string // by work: what was reported of images, "" is well
	tasks    []*taskModel
	jobs     []*jobModel // that do not know yet that they have ended
}

type scanModel struct {
	known     string // status, and code of a failure
	open      bool   // tasks want it
	by        *jobModel
	notBefore time.Time
	failures  int
}

type layerModel struct {
	there   bool
	limits  string // that it was cut short by, or ""
	claimed *jobModel
}

type taskModel struct {
	id    string
	state tidewaiter.ScanTaskState
	items map[int64]*itemModel // by image
}

type itemModel struct {
	manifest int64
	status   string // waiting, success, failed, stopped
}

type jobModel struct {
	*job
	manifest int64
	lost     bool // its attempt is over
	unwanted bool // its work is to stop, or about nothing
}

// live tells whether claims of the job hold.
func (j *jobModel) live() bool { return j != nil && !j.lost && !j.deadline.Before(j.time) }

func (m *model) of(manifest int64) *scanModel {
	if m.scans[manifest] == nil {
		m.scans[manifest] = &scanModel{known: tidewaiter.Unscanned}
	}
	return m.scans[manifest]
}

// all lists all images, by id.
func (m *model) all() []tidewaiter.RegistryImage {
	list, _, err := m.db.Images(m.t.Context(), m.everything(), store.ImageFilter{WithGone: true}, store.Page{Limit: 1000})
	m.ok(err)
	slices.SortFunc(list, func(a, b tidewaiter.RegistryImage) int { return int(a.ID - b.ID) })
	return list
}

// created notes a new task about images, in the order of their ids.
func (m *model) created(id string, images []tidewaiter.RegistryImage, rateLimit int) {
	t := &taskModel{id: id, state: tidewaiter.ScanRunning, items: make(map[int64]*itemModel)}
	due := m.time
	for _, i := range images {
		s := m.of(i.ManifestID)
		item := &itemModel{manifest: i.ManifestID, status: "waiting"}
		t.items[i.ID] = item
		switch {
		case !i.Scannable:
			s.known, item.status = "failed unknown_error", "failed"
		case s.open:
			if s.by == nil && s.failures == 0 && rateLimit == 0 && s.notBefore.After(m.time) {
				s.notBefore = m.time
			}
		case s.known == "success":
			item.status = "success"
		default:
			*s = scanModel{known: s.known, open: true, notBefore: m.time}
			if rateLimit > 0 {
				s.notBefore = due
				due = due.Add(time.Hour / time.Duration(rateLimit))
			}
		}
	}
	m.tasks = append(m.tasks, t)
	m.settle()
}

// settle ends the tasks that wait for nothing any more.
func (m *model) settle() {
	for _, t := range m.tasks {
		if t.state == tidewaiter.ScanRunning && t.count("waiting") == 0 {
			t.state = tidewaiter.ScanFinished
		}
	}
}

func (t *taskModel) count(status string) (n int) {
	for _, i := range t.items {
		if i.status == status {
			n++
		}
	}
	return n
}

// ended notes what a scan has come to.
func (m *model) ended(manifest int64, known string) {
	s := m.of(manifest)
	*s = scanModel{known: known}
	status, _, _ := strings.Cut(known, " ")
	for _, t := range m.tasks {
		for _, i := range t.items {
			if i.manifest == manifest && i.status == "waiting" {
				i.status = status
			}
		}
	}
	m.settle()
}

// stopped notes that a task was stopped.
func (m *model) stopped(t *taskModel) {
	t.state = tidewaiter.ScanStopped
	for _, i := range t.items {
		if i.status != "waiting" {
			continue
		}
		i.status = "stopped"
		wanted := false
		for _, o := range m.tasks {
			for _, oi := range o.items {
				wanted = wanted || o != t && oi.manifest == i.manifest && oi.status == "waiting"
			}
		}
		if s := m.of(i.manifest); !wanted && s.open {
			if s.by != nil {
				s.by.unwanted = true
			}
			*s = scanModel{known: s.known}
		}
	}
}

// forgotten notes that a manifest is gone.
func (m *model) forgotten(manifest int64) {
	if s := m.scans[manifest]; s != nil && s.by != nil {
		s.by.unwanted = true
	}
	m.ended(manifest, "failed")
	for _, j := range m.jobs {
		j.unwanted = j.unwanted || j.manifest == manifest
	}
	delete(m.scans, manifest)
	delete(m.complete, manifest)
}

// due tells whether a scan can be taken.
func (m *model) due(s *scanModel) bool {
	switch {
	case !s.open:
		return false
	case s.by == nil:
		return !s.notBefore.After(m.time) && s.failures < tidewaiter.MaxAttempts
	}
	return s.by.deadline.Before(m.time) && s.failures+1 < tidewaiter.MaxAttempts
}

// taken notes that a scan was taken.
func (m *model) taken(j *jobModel) {
	s := m.of(j.manifest)
	if s.by != nil {
		s.by.lost = true
		s.failures++
	}
	s.by = j
}

// exhausted notes the end of what was begun too often, and of what was to stop
// and never said that it did.
func (m *model) exhausted() {
	for manifest, s := range m.scans {
		if !s.open {
			continue
		}
		switch {
		case s.by == nil && s.failures >= tidewaiter.MaxAttempts:
		case s.by != nil && s.by.deadline.Before(m.time) && s.failures+1 >= tidewaiter.MaxAttempts:
			s.by.lost = true
		default:
			continue
		}
		m.ended(manifest, "failed unknown_error")
	}
	for _, j := range m.jobs {
		if j.unwanted && j.deadline.Before(m.time) && !m.ghost(j) {
			j.lost = true
		}
	}
}

// ghost tells whether the work of a job is about nothing and has not been
// stopped: it is left to run out.
func (m *model) ghost(j *jobModel) bool {
	w, err := m.db.Work(m.t.Context(), j.work.ID)
	return err == nil && !w.Stop
}

// finished notes the end of a job, and returns what the scan has come to, or ""
// if it goes on.
func (m *model) finished(j *jobModel, f protocol.FinishRequest) {
	for _, l := range m.layers {
		if l.claimed != nil && l.claimed.work.ID == j.work.ID {
			l.claimed = nil
		}
	}
	if j.unwanted {
		return
	}
	s := m.of(j.manifest)
	retry := f.Outcome == protocol.OutcomeFailed && f.Failure.RetrySeconds > 0 && s.failures+1 < tidewaiter.MaxAttempts
	switch {
	case f.Outcome == protocol.OutcomeReleased:
		s.by, s.notBefore = nil, m.time
	case retry:
		s.by, s.notBefore = nil, m.time.Add(time.Duration(f.Failure.RetrySeconds)*time.Second)
		s.failures++
	case f.Outcome == protocol.OutcomeFailed:
		m.ended(j.manifest, "failed "+f.Failure.Code)
	default:
		m.ended(j.manifest, m.outcome(j))
	}
}

// outcome is what the reports of a job come to.
func (m *model) outcome(j *jobModel) string {
	for _, x := range j.thing().images() {
		code, reported := m.parts[j.work.ID][x]
		if !reported {
			return "failed unknown_error"
		}
		if code != "" {
			return "failed " + code
		}
	}
	return "success"
}

// check compares all that can be seen with the model.
func (m *model) check() {
	m.t.Helper()
	counts := make(map[string]int)
	for _, i := range m.all() {
		want := tidewaiter.Unscanned
		if s := m.scans[i.ManifestID]; s != nil {
			switch {
			case s.open && s.by != nil:
				want = tidewaiter.Scanning
			case s.open:
				want = tidewaiter.WaitingForScan
			default:
				want = s.known
			}
		}
		counts[i.Scan.Status]++
		code := ""
		if s := m.scans[i.ManifestID]; s != nil {
			_, code, _ = strings.Cut(s.known, " ") // that of the last scan, while the next one waits
		}
		status, _, _ := strings.Cut(want, " ")
		if i.Scan.Status != status || i.Scan.FailedCode != code {
			m.t.Fatalf("%s (manifest %d): the status is %q, want %q, last %q", m.nameOf(i), i.ManifestID, statusOf(i), want, code)
		}
	}
	for _, status := range []string{tidewaiter.Unscanned, tidewaiter.WaitingForScan, tidewaiter.Scanning, tidewaiter.ScanSucceeded, tidewaiter.ScanFailed} {
		_, total, err := m.db.Images(m.t.Context(), m.everything(), store.ImageFilter{WithGone: true, ScanStatuses: []string{status}}, store.Page{Limit: 1})
		if m.ok(err); total != counts[status] {
			m.t.Fatalf("%d images are counted as %s, there are %d", total, status, counts[status])
		}
	}
	for _, t := range m.tasks {
		want := fmt.Sprintf("%s: %d and %d of %d", t.state, t.count("success"), t.count("failed"), len(t.items))
		m.want("a task", m.progress(t.id), want)
	}
	m.want("tasks whose counters are wrong", m.text(wrongCounters), "0")
	stranded, err := m.db.StrandedScans(m.t.Context(), 1)
	m.ok(err)
	orphaned, err := m.db.OrphanedScans(m.t.Context(), 1)
	if m.ok(err); len(stranded)+len(orphaned) > 0 {
		m.t.Fatalf("nobody does what tasks wait for: %v %v", stranded, orphaned)
	}
}

// wrongCounters counts the tasks whose counters are not those of their images.
const wrongCounters = `SELECT COUNT(*) FROM scan_tasks AS t WHERE total <> (SELECT COUNT(*) FROM scan_task_images WHERE task_id = t.id)
	OR succeeded <> (SELECT COUNT(*) FROM scan_task_images WHERE task_id = t.id AND status = 'success')
	OR failed <> (SELECT COUNT(*) FROM scan_task_images WHERE task_id = t.id AND status = 'failed')
	OR failed < (SELECT COUNT(*) FROM scan_failures WHERE task_id = t.id) OR (state IN ('finished', 'stopped')) <> (ended > 0)`

// waits tells whether anything is still to be done.
func (m *model) waits() bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(m.scans)), func(s *scanModel) bool { return s.open })
}
