package hssapi

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// scanTaskName returns the name of scan tasks of a kind.
func scanTaskName(k tidewaiter.ScanTaskKind) string {
	if k == tidewaiter.CycleScan {
		return "Scheduled scan"
	}
	return "Manual scan"
}

// maxReason is how long a reason is in the contract, in characters.
const maxReason = 128

func shortened(s string) string {
	if r := []rune(s); len(r) > maxReason {
		return string(r[:maxReason-1]) + "…"
	}
	return s
}

// wireScanTask returns the wire form of a task. A task that is stopping is
// still under way until nothing of it waits any more.
func wireScanTask(t tidewaiter.ScanTask, now time.Time) ImageScanTaskInfo {
	w := ImageScanTaskInfo{
		TaskID: t.ID, PolicyID: t.PolicyID, TaskName: scanTaskName(t.Kind), BeginTime: milliseconds(t.Created), EndTime: milliseconds(t.Ended),
		TaskType: string(t.Kind), ImageType: "registry", IsAll: t.All, TaskStatus: scanProgress(t),
		ScanScope: count32(t.Scope), RateLimit: count32(t.RateLimit), RemainMin: remaining(t, now),
		FailedNum: count32(t.Failed), SuccessNum: count32(t.Succeeded), TotalNum: count32(t.Total), RiskyNum: count32(t.Risky),
	}
	if t.Failed > 0 {
		w.FailedReason = fmt.Sprintf("%d of %d images failed; failed_images says why", t.Failed, t.Total)
	}
	w.FailedImages = wireAll(t.Failures, func(f tidewaiter.ScanFailure) ImageScanTaskInfoFailedImages {
		return ImageScanTaskInfoFailedImages{
			ID: f.ImageID, RegistryID: f.RegistryID, RegistryName: f.RegistryName, RegistryType: string(f.RegistryType),
			ImageName: f.Name, ImageVersion: f.Tag, Namespace: f.Namespace,
			FailedReason: shortened(f.Reason), FailedCode: f.Code, FailedDetail: f.Reason,
		}
	})
	return w
}

// scanProgress returns a task's status in the contract's numbers.
func scanProgress(t tidewaiter.ScanTask) int32 {
	switch {
	case t.State == tidewaiter.ScanStopped:
		return -1
	case t.State == tidewaiter.ScanFinished && t.Total > 0 && t.Failed == t.Total:
		return -3
	case t.State == tidewaiter.ScanFinished:
		return 100
	case t.Total == 0:
		return 0
	}
	return min(99, count32((t.Succeeded+t.Failed)*100/t.Total))
}

// remaining returns how many minutes a task still takes: 0 if that is not
// known, and 1 at least if it is.
func remaining(t tidewaiter.ScanTask, now time.Time) int64 {
	return int64((t.Remaining(now) + time.Minute - 1) / time.Minute)
}

// scanTasks lists scans.
func (s *server) scanTasks(ctx context.Context, in *listImageScanTaskInput, from, until *time.Time) ([]ImageScanTaskInfo, int, error) {
	filter := store.ScanTaskFilter{ID: in.TaskID, CreatedFrom: value(from), EndedUntil: value(until), Running: in.running(), Kinds: []tidewaiter.ScanTaskKind{}}
	for _, k := range []tidewaiter.ScanTaskKind{tidewaiter.ManualScan, tidewaiter.CycleScan} {
		if (in.TaskType == "" || in.TaskType == string(k)) && strings.Contains(strings.ToLower(scanTaskName(k)), strings.ToLower(in.TaskName)) {
			filter.Kinds = append(filter.Kinds, k)
		}
	}
	if in.ScanScope.Given {
		scope := int(in.ScanScope.Value)
		filter.Scope = &scope
	}
	found, total, err := s.scans.Tasks(ctx, s.extent(ctx, "ListImageScanTask", in.InProject), filter, store.Page(in.Page))
	if err != nil {
		return nil, 0, err
	}
	now := time.Now()
	list := wireAll(found, func(t tidewaiter.ScanTask) ImageScanTaskInfo { return wireScanTask(t, now) })
	return list, total, s.sayWhatIsMissing(ctx, in.ProjectID, list)
}

// sayWhatIsMissing puts into tasks under way which cluster they wait for in
// vain.
func (s *server) sayWhatIsMissing(ctx context.Context, projectID string, tasks []ImageScanTaskInfo) error {
	clusters, err := s.fleet.Clusters(ctx, projectID)
	if err != nil {
		return err
	}
	for _, c := range clusters {
		if c.Status == fleet.StatusOnline {
			continue
		}
		for i := range tasks {
			if tasks[i].EndTime != 0 {
				continue
			}
			waits, err := s.scans.WaitsFor(ctx, tasks[i].TaskID, c.ID)
			if err != nil {
				return err
			}
			if waits {
				tasks[i].FailedReason = shortened(missing(c))
			}
		}
	}
	return nil
}

// missing says that a cluster does no work. What to do about it is longer than
// the contract has place for.
func missing(c fleet.State) string {
	what := "has no scan component that is connected"
	if c.Status == fleet.StatusWaiting || c.Status == fleet.StatusVersion {
		what = "has scan components, but none that can work"
	}
	return fmt.Sprintf("it waits: the cluster %s %s; see ListAgentDaemonsetInfo", c.Name, what)
}
