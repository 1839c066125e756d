package hssapi

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerScanTasks() {
	gateway.Register(s.api, s.operation("ListImageScanTask"), s.listImageScanTask)
}

// ScanScope is a bit mask of what is looked for.
type ScanScope int32

// Schema lists the masks of the contract.
func (ScanScope) Schema(huma.Registry) *huma.Schema {
	masks := []any{int64(0), int64(0x7fffffff), int64(0x000f0000), int64(0x0000f000), int64(0x00000f00), int64(0x000000f0), int64(0x0000000f)}
	schema := &huma.Schema{Type: huma.TypeInteger, Format: "int32", Enum: masks}
	schema.PrecomputeMessages()
	return schema
}

// ImageScanTaskInfo is a task on the wire. For a synchronisation the counts are
// of registries, and ListAssociateRegistries says how each of them fares.
type ImageScanTaskInfo struct {
	TaskID       string `json:"task_id"`
	PolicyID     string `json:"policy_id,omitempty" doc:"Only of periodic scans."`
	TaskName     string `json:"task_name"`
	BeginTime    int64  `json:"begin_time" doc:"Milliseconds."`
	EndTime      int64  `json:"end_time" doc:"Milliseconds; 0 while the task runs."`
	RemainMin    int64  `json:"remain_min" doc:"Minutes that a scan still takes, at its pace of the last minutes and with its rate limit; 0: not known, or over."`
	TaskType     string `json:"task_type" enum:"cycle,manual,autoSync,manualSync"`
	ImageType    string `json:"image_type" enum:"local,registry"`
	TaskStatus   int32  `json:"task_status" doc:"-1 stopped, -2 timed out, -3 failed in all parts, 0 to 99 the progress in percent, 100 finished."`
	ScanScope    int32  `json:"scan_scope"`
	RateLimit    int32  `json:"rate_limit" doc:"0: none."`
	IsAll        bool   `json:"is_all" doc:"A synchronisation is always about all images of its registries."`
	FailedNum    int32  `json:"failed_num"`
	SuccessNum   int32  `json:"success_num"`
	TotalNum     int32  `json:"total_num"`
	RiskyNum     int32  `json:"risky_num"`
	SyncTaskType string `json:"sync_task_type,omitempty" doc:"Of a synchronisation: the same as task_type."`
	FailedReason string `json:"failed_reason,omitempty" doc:"Also what a scan waits for that does not come by itself."`

	FailedImages []ImageScanTaskInfoFailedImages `json:"failed_images" nullable:"false" doc:"Up to 200; failed_num counts all."`
}

// ImageScanTaskInfoFailedImages is an image that a scan could not do.
type ImageScanTaskInfoFailedImages struct {
	ID           int64  `json:"id"`
	RegistryID   string `json:"registry_id"`
	RegistryName string `json:"registry_name"`
	ImageName    string `json:"image_name"`
	ImageVersion string `json:"image_version"`
	Namespace    string `json:"namespace"`
	RegistryType string `json:"registry_type" enum:"SwrPrivate,SwrShared,SwrEnterprise,Harbor,Jfrog,Other"`
	FailedReason string `json:"failed_reason" doc:"Up to 128 characters."`
	FailedCode   string `json:"failed_code" doc:"Beyond the contract: as in scan_failed_code of ListRegistryImages."`
	FailedDetail string `json:"failed_detail" doc:"Beyond the contract: the whole reason."`
}

// taskNames are the names of sync tasks, by kind.
func taskNames() map[tidewaiter.SyncTaskKind]string {
	return map[tidewaiter.SyncTaskKind]string{
		tidewaiter.ManualSync: "Manual synchronisation",
		tidewaiter.AutoSync:   "Scheduled synchronisation",
	}
}

func wireSyncTask(t tidewaiter.SyncTask) ImageScanTaskInfo {
	w := ImageScanTaskInfo{
		TaskID: t.ID, TaskName: taskNames()[t.Kind], BeginTime: milliseconds(t.Created), EndTime: milliseconds(t.Ended),
		TaskType: string(t.Kind), SyncTaskType: string(t.Kind), ImageType: "registry", IsAll: true,
		TaskStatus: progress(t), FailedNum: count32(t.Failed), SuccessNum: count32(t.Finished), TotalNum: count32(t.Total),
		FailedImages: []ImageScanTaskInfoFailedImages{},
	}
	if t.Failed > 0 {
		w.FailedReason = fmt.Sprintf("%d of %d registries failed; ListAssociateRegistries says why", t.Failed, t.Total)
	}
	return w
}

// progress returns a task's status in the contract's numbers.
func progress(t tidewaiter.SyncTask) int32 {
	switch {
	case t.Ended.IsZero() && t.Total > 0:
		return min(99, count32(((t.Finished+t.Failed)*100+t.Percent)/t.Total))
	case t.Ended.IsZero():
		return 0
	case t.Total > 0 && t.Failed == t.Total:
		return -3
	}
	return 100
}

type listImageScanTaskInput struct {
	InProject
	Page
	GlobalImageType string              `query:"global_image_type" enum:"local,registry"`
	Type            string              `query:"type" required:"true" enum:"image_sync,image_scan"`
	TaskType        string              `query:"task_type" enum:"cycle,manual,autoSync,manualSync"`
	TaskName        string              `query:"task_name" minLength:"1" maxLength:"256" doc:"Part of the name."`
	TaskID          string              `query:"task_id" minLength:"1" maxLength:"256"`
	CreateTime      Optional[int64]     `query:"create_time" minimum:"0" maximum:"4070880000000" doc:"Milliseconds: only tasks that were created then or later."`
	EndTime         Optional[int64]     `query:"end_time" minimum:"0" maximum:"4070880000000" doc:"Milliseconds: only tasks that have ended by then."`
	TaskStatus      string              `query:"task_status" enum:"scanning,finished"`
	ScanScope       Optional[ScanScope] `query:"scan_scope" doc:"Bit mask; a synchronisation has 0."`
}

type listImageScanTaskOutput struct {
	Body struct {
		DataList []ImageScanTaskInfo `json:"data_list" nullable:"false"`
		TotalNum int32               `json:"total_num"`
	}
}

func (s *server) listImageScanTask(ctx context.Context, in *listImageScanTaskInput) (*listImageScanTaskOutput, error) {
	ofScans := in.TaskType == string(tidewaiter.CycleScan) || in.TaskType == string(tidewaiter.ManualScan)
	if in.Type == "image_sync" && ofScans {
		return nil, tidewaiter.InvalidField("task_type", "it is one of scans; with the type image_sync use autoSync or manualSync")
	}
	if in.Type == "image_scan" && in.TaskType != "" && !ofScans {
		return nil, tidewaiter.InvalidField("task_type", "it is one of synchronisations; with the type image_scan use cycle or manual")
	}
	from, until, err := timeRange(in.CreateTime, in.EndTime, "create_time", "end_time")
	if err != nil {
		return nil, err
	}
	out := &listImageScanTaskOutput{}
	var total int
	switch {
	case in.GlobalImageType == "local": // of images on hosts, which this server does not look at
	case in.Type == "image_scan":
		out.Body.DataList, total, err = s.scanTasks(ctx, in, from, until)
	default:
		out.Body.DataList, total, err = s.syncTasks(ctx, in, from, until)
	}
	if err != nil {
		return nil, err
	}
	out.Body.TotalNum = count32(total)
	if out.Body.DataList == nil {
		out.Body.DataList = []ImageScanTaskInfo{}
	}
	return out, nil
}

// running returns which tasks a task_status wants, nil for all.
func (in *listImageScanTaskInput) running() *bool {
	if in.TaskStatus == "" {
		return nil
	}
	running := in.TaskStatus == "scanning"
	return &running
}

// syncTasks lists synchronisations.
func (s *server) syncTasks(ctx context.Context, in *listImageScanTaskInput, from, until *time.Time) ([]ImageScanTaskInfo, int, error) {
	filter := store.SyncTaskFilter{ID: in.TaskID, Kind: tidewaiter.SyncTaskKind(in.TaskType), CreatedFrom: value(from), EndedUntil: value(until), Running: in.running()}
	possible := !in.ScanScope.Given || in.ScanScope.Value == 0
	if !possible || !filterByName(&filter, in.TaskName) {
		return nil, 0, nil
	}
	found, total, err := s.inventory.SyncTasks(ctx, s.extent(ctx, "ListImageScanTask", in.InProject), filter, store.Page(in.Page))
	return wireAll(found, wireSyncTask), total, err
}

// filterByName narrows the filter to the kinds of task whose name has the text,
// and reports whether there are any.
func filterByName(f *store.SyncTaskFilter, text string) bool {
	if text == "" {
		return true
	}
	var kinds []tidewaiter.SyncTaskKind
	for kind, name := range taskNames() {
		if strings.Contains(strings.ToLower(name), strings.ToLower(text)) && (f.Kind == "" || f.Kind == kind) {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 1 {
		f.Kind = kinds[0]
	}
	return len(kinds) > 0
}

func value(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
