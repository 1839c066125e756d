package scan

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Wish says which images are to be scanned.
type Wish struct {
	EnterpriseProjectID string // that the task belongs to
	Kind                tidewaiter.ScanTaskKind
	PolicyID            string // of a cycle scan
	Scope               int    // mask of the contract
	RateLimit           int    // images per hour, 0 for no limit
	All                 bool   // every image of the extent
	Selection           store.Selection
}

// selectionDocument is how a task keeps which images it is about.
type selectionDocument struct {
	Extent tidewaiter.Extent `json:"extent"`
	Filter store.ImageFilter `json:"filter"`
	IDs    []int64           `json:"ids,omitempty"`
}

// maxNamed bounds how many images the references of one task may mean.
const maxNamed = 10_000

// LookUp returns the ids of the images of an extent that references mean, for
// each. Errors: TooLarge.
func (s *Service) LookUp(ctx context.Context, e tidewaiter.Extent, refs []store.ImageRef) ([][]int64, error) {
	return s.store.LookUpImages(ctx, e, refs, maxNamed)
}

// Create makes a task. The first few hundred images are queued by then, the
// others little by little. Errors: NotFound if no image is to be scanned.
func (s *Service) Create(ctx context.Context, e tidewaiter.Extent, w Wish) (tidewaiter.ScanTask, error) {
	first, last, err := s.store.SelectImages(ctx, e, w.Selection, 0)
	if err != nil {
		return tidewaiter.ScanTask{}, err
	}
	if len(first) == 0 && w.Kind == tidewaiter.ManualScan {
		return tidewaiter.ScanTask{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no image to scan: none fits what was asked for; synchronise the registries first, or look at ListRegistryImages")
	}
	task, selection, err := s.newTask(e, w)
	if err != nil {
		return tidewaiter.ScanTask{}, err
	}
	if w.Kind == tidewaiter.ManualScan && last && len(first) <= personsImages {
		task.Priority = tidewaiter.PersonPriority
	}
	if err := s.store.CreateScanTask(ctx, task, selection); err != nil {
		return tidewaiter.ScanTask{}, err
	}
	// From here on Run would do the rest, after any breakdown.
	if err := s.expand(ctx, task.ID); err != nil && !lostRace(err) {
		return tidewaiter.ScanTask{}, err
	}
	s.nudge()
	return s.task(ctx, task.ID)
}

// newTask returns the task of a wish, and how it keeps which images it is about.
func (s *Service) newTask(e tidewaiter.Extent, w Wish) (tidewaiter.ScanTask, string, error) {
	now := s.now()
	task := tidewaiter.ScanTask{
		ID: store.NewID(), ProjectID: e.ProjectID, EnterpriseProjectID: w.EnterpriseProjectID, Kind: w.Kind, PolicyID: w.PolicyID,
		State: tidewaiter.ScanRunning, Scope: w.Scope, RateLimit: w.RateLimit, All: w.All, Created: now, Priority: tidewaiter.SweepPriority, NextDue: now,
	}
	if w.Kind == tidewaiter.CycleScan {
		task.Priority = tidewaiter.CyclePriority
	}
	selection, err := json.Marshal(selectionDocument{e, w.Selection.Filter, w.Selection.IDs})
	if err != nil {
		return task, "", fmt.Errorf("write selection: %w", err)
	}
	return task, string(selection), nil
}

func (s *Service) task(ctx context.Context, id string) (tidewaiter.ScanTask, error) {
	p, err := s.store.ScanTaskProgress(ctx, id)
	return p.ScanTask, err
}

// Tasks returns a page of the tasks of an extent, and how many there are in all.
func (s *Service) Tasks(ctx context.Context, e tidewaiter.Extent, f store.ScanTaskFilter, p store.Page) ([]tidewaiter.ScanTask, int, error) {
	return s.store.ScanTasks(ctx, e, f, p)
}

// WaitsFor tells whether images of a task wait for a cluster.
func (s *Service) WaitsFor(ctx context.Context, taskID, clusterID string) (bool, error) {
	return s.store.WaitsFor(ctx, taskID, clusterID)
}

// Statistics returns how many images of an extent have which risk, and how many
// scans have succeeded, ever.
func (s *Service) Statistics(ctx context.Context, e tidewaiter.Extent) (store.ImageRisks, int, error) {
	risks, err := s.store.CountRisks(ctx, e)
	if err != nil {
		return risks, 0, err
	}
	scans, err := s.store.CountScans(ctx, e)
	return risks, scans, err
}

// expand makes the next images of a task its items, and queues the work that
// they need.
func (s *Service) expand(ctx context.Context, id string) error {
	p, err := s.store.ScanTaskProgress(ctx, id)
	if err != nil || p.State != tidewaiter.ScanRunning || p.Complete {
		return err
	}
	var d selectionDocument
	if err := json.Unmarshal([]byte(p.Selection), &d); err != nil {
		return fmt.Errorf("read selection of scan task %q: %w", id, err)
	}
	images, last, err := s.store.SelectImages(ctx, d.Extent, store.Selection{Filter: d.Filter, IDs: d.IDs}, p.Cursor)
	if err != nil {
		return err
	}
	wake := make(map[string]bool)
	err = s.store.Tx(ctx, func(tx *store.DB) error {
		clear(wake)
		locked, err := tx.LockScans(ctx, images)
		if err != nil {
			return err
		}
		x := expansion{service: s, task: p.ScanTask, due: p.NextDue, now: s.now(), queued: make(map[int64]string)}
		for _, i := range locked {
			x.add(i)
		}
		for _, w := range x.works {
			wake[w.ClusterID] = true
		}
		return x.write(ctx, tx, p, last)
	})
	if err != nil {
		return err
	}
	for id := range wake {
		s.wake(id)
	}
	return nil
}

// An expansion is what follows from images that become items of a task.
type expansion struct {
	service *Service
	task    tidewaiter.ScanTask
	due     time.Time // of the next image, with a rate limit
	now     time.Time

	items     []store.ScanItem
	works     []tidewaiter.Work
	joined    []string         // work that is queued already
	queued    map[int64]string // work by manifest, of this expansion
	fresh     []int64          // manifests that need no look
	refused   map[tidewaiter.ScanOutcome][]int64
	manifests []int64
}

// add decides what becomes of an image.
func (x *expansion) add(i store.ScanImage) {
	item := store.ScanItem{ImageID: i.ID, ManifestID: i.ManifestID}
	x.manifests = append(x.manifests, i.ManifestID)
	switch {
	case i.Reason != "" || !registry.ArtifactKind(i.Kind).Scannable():
		o := refusal(i)
		if x.refused == nil {
			x.refused = make(map[tidewaiter.ScanOutcome][]int64)
		}
		x.refused[o] = append(x.refused[o], i.ManifestID)
		item.Outcome = &o
	case i.WorkID != "":
		x.joined = append(x.joined, i.WorkID)
	case x.queued[i.ManifestID] != "":
	case i.Status == tidewaiter.ScanSucceeded && i.Extractors == x.service.extractors && !i.AsksAlways:
		x.fresh = append(x.fresh, i.ManifestID)
		item.Outcome = &tidewaiter.ScanOutcome{Extractors: i.Extractors}
	default:
		w := newWork(i, x.task.Priority, x.now)
		if x.task.RateLimit > 0 {
			if x.due.Before(x.now) {
				x.due = x.now
			}
			w.NotBefore = x.due
			x.due = x.due.Add(time.Hour / time.Duration(x.task.RateLimit))
		}
		x.queued[i.ManifestID] = w.ID
		x.works = append(x.works, w)
	}
	x.items = append(x.items, item)
}

func newWork(i store.ScanImage, p tidewaiter.ScanPriority, now time.Time) tidewaiter.Work {
	return tidewaiter.Work{
		ID: store.NewID(), ClusterID: i.ClusterID, Kind: tidewaiter.ScanWork, Subject: strconv.FormatInt(i.ManifestID, 10),
		State: tidewaiter.WorkQueued, Created: now, NotBefore: now, Priority: p,
	}
}

// refusal returns what is said of an image that cannot be scanned.
func refusal(i store.ScanImage) tidewaiter.ScanOutcome {
	o := tidewaiter.ScanOutcome{Failed: true, Code: tidewaiter.FailUnknown, Reason: i.Reason}
	if i.Kind == string(registry.KindSchema1) {
		o.Code = tidewaiter.FailSchema1
	}
	if o.Reason == "" {
		o.Reason = "it cannot be scanned: it is no image of a kind that is looked into"
	}
	return o
}

// write writes an expansion.
func (x *expansion) write(ctx context.Context, tx *store.DB, from store.ScanProgress, last bool) error {
	due := x.now
	if x.task.RateLimit > 0 {
		due = time.Time{} // who joins with a rate limit makes nothing quicker
	}
	if err := tx.BeginScans(ctx, x.works, x.joined, x.task.Priority, due); err != nil {
		return err
	}
	if err := tx.RefreshScans(ctx, x.fresh, x.now); err != nil {
		return err
	}
	for o, manifests := range x.refused {
		if err := tx.RefuseScans(ctx, manifests, o, x.now); err != nil {
			return err
		}
	}
	if err := tx.ShowScans(ctx, x.manifests); err != nil {
		return err
	}
	return tx.AddScanItems(ctx, from, x.items, last, x.due, x.now)
}

// Stop has a task begin nothing new; what is under way and wanted by no other
// task ends at the next heartbeat. Errors: NotFound; Conflict if the task has
// ended.
func (s *Service) Stop(ctx context.Context, e tidewaiter.Extent, id string) error {
	task, err := s.task(ctx, id)
	if err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return err
	}
	if err != nil || !e.Holds(task.ProjectID, task.EnterpriseProjectID) {
		return tidewaiter.Errorf(tidewaiter.NotFound, "there is no such scan task")
	}
	switch task.State {
	case tidewaiter.ScanStopping, tidewaiter.ScanStopped:
		return nil
	}
	if err := s.store.StopScanTask(ctx, id); err != nil {
		return err
	}
	// Run does the rest of a large task.
	if done, err := s.takeBack(ctx, id, 4); err != nil || !done {
		s.nudge()
	}
	return nil
}

// takeBack ends the waiting of a task that is stopping, in up to so many steps,
// and tells whether that was all of it.
func (s *Service) takeBack(ctx context.Context, id string, steps int) (done bool, err error) {
	if err := s.store.StopScans(ctx, id, s.now()); err != nil {
		return false, err
	}
	for range steps {
		n, err := s.store.TakeBackScans(ctx, id, batch, s.now())
		if n == 0 || err != nil {
			return err == nil, err
		}
	}
	return false, nil
}

// batch is how many rows one transaction takes on.
const batch = 500
