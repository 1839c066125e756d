package hssapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// scanTask returns the list's entry of a scan task.
func (h *house) scanTask(id string) object {
	h.Helper()
	list := h.ask("GET", "/image/tasks?type=image_scan&task_id="+id, nil).body["data_list"].([]any)
	if len(list) != 1 {
		h.Fatalf("there are %d tasks %s", len(list), id)
	}
	return list[0].(object)
}

// progress returns the parts of a task's entry that change.
func (h *house) progress(id string) string {
	h.Helper()
	t := h.scanTask(id)
	ended := "under way"
	if t["end_time"] != 0. {
		ended = "ended"
	}
	return fmt.Sprintf("%v: %v and %v of %v, %s", t["task_status"], t["success_num"], t["failed_num"], t["total_num"], ended)
}

func (h *house) wantProgress(id, want string) {
	h.Helper()
	if got := h.progress(id); got != want {
		h.Errorf("the task is %q, want %q", got, want)
	}
}

func (h *house) wantStatus(image, want string) {
	h.Helper()
	if got := h.statuses()[image]; got != want {
		h.Errorf("%s: the status is %q, want %q", image, got, want)
	}
}

// wantLost wants that a lease does not hold any more, whatever is done with it.
func (j *job) wantLost() {
	j.Helper()
	_, err := j.fleet.Heartbeat(j.Context(), j.lease, protocol.Progress{})
	errs := []error{err}
	_, err = j.scans.Layers(j.Context(), j.lease, protocol.LayersRequest{Extractors: extractors, Limits: "usual", Layers: []protocol.Layer{layer(j.scan.Digest)}})
	errs = append(errs, err,
		j.scans.Image(j.Context(), j.lease, protocol.ImageReport{Digest: j.scan.Digest, Extractors: extractors, Limits: "usual", Layers: []protocol.Layer{layer(j.scan.Digest)}}),
		j.scans.Finish(j.Context(), j.work, j.lease, protocol.FinishRequest{Outcome: protocol.OutcomeDone}))
	for i, err := range errs {
		if protocol.CodeOf(err) != protocol.ErrLeaseLost {
			j.Errorf("%d: the lease of a scan that is lost: %v", i, err)
		}
	}
}

// TestScanOutcomes does the scans of a task in several ways.
func TestScanOutcomes(t *testing.T) {
	h, _ := stocked(t)
	task := h.scan(object{"is_all": true})
	h.wantProgress(task, "28: 0 and 2 of 7, under way") // two cannot be scanned at all
	names := map[tidewaiter.Digest]string{
		image("app 1").Digest: "app1", image("app two").Digest: "app2", image("shared").Digest: "shared", image("alone").Digest: "alone", tidewaiter.DigestOf([]byte("index")): "multi",
	}
	jobs := map[string]*job{}
	for range 5 {
		j := h.leaseScan()
		jobs[names[j.scan.Digest]] = j
	}
	if j := h.tryScan(); j != nil {
		t.Fatalf("there is more work: %v", j.work)
	}

	j := jobs["app1"]
	h.wantStatus("team/app:1.0", "scanning")
	j.send(j.scan.Digest)
	j.send(j.scan.Digest) // the same report again
	h.wantStatus("team/app:1.0", "scanning")
	j.done()
	h.wantStatus("team/app:1.0", "success")
	h.wantProgress(task, "42: 1 and 2 of 7, under way")
	j.wantLost()
	h.wantProgress(task, "42: 1 and 2 of 7, under way")

	j = jobs["multi"]
	j.send(image("amd").Digest)
	j.fault(image("arm").Digest, "image_over_sized", "its layers take 30 GiB")
	j.done()
	h.wantStatus("team/multi:1", "failed image_over_sized")

	jobs["shared"].end(protocol.FinishRequest{Outcome: protocol.OutcomeReleased})
	h.wantStatus("org/shared:1", "waiting_for_scan")
	jobs["shared"].wantLost()
	j = h.leaseScan()
	if j.scan.Digest != jobs["shared"].scan.Digest {
		t.Fatal("what was given back is not given out again")
	}
	h.wantStatus("org/shared:1", "scanning")
	j.send(j.scan.Digest, tidewaiter.Cut{Path: "x.jar", Code: "nesting", Reason: "it is nested too deep"})
	j.done()
	h.wantStatus("org/shared:1", "failed failed_to_scan_software")

	jobs["app2"].end(protocol.FinishRequest{Outcome: protocol.OutcomeFailed, Failure: &protocol.Failure{Code: "download_failed", Message: "the registry answered 500", RetrySeconds: 30}})
	h.wantStatus("team/app:2.0", "waiting_for_scan")
	if j := h.tryScan(); j != nil {
		t.Fatal("what is to be tried later is given out at once")
	}
	h.later(31 * time.Second)
	j = h.leaseScan()
	if j.scan.Digest != jobs["app2"].scan.Digest {
		t.Fatal("what is to be tried later is not given out then")
	}
	j.end(protocol.FinishRequest{Outcome: protocol.OutcomeFailed, Failure: &protocol.Failure{Code: "download_failed", Message: "the registry answered 403"}})
	h.wantStatus("team/app:2.0", "failed download_failed")

	h.wantProgress(task, "85: 1 and 5 of 7, under way")
	h.later(31 * time.Second) // the lease of the last one runs out
	j = h.leaseScan()
	jobs["alone"].wantLost()
	h.wantStatus("alone:latest", "scanning")
	j.send(j.scan.Digest)
	j.done()
	h.wantStatus("alone:latest", "success")
	h.wantProgress(task, "100: 2 and 5 of 7, ended")

	got := map[string]string{}
	for _, v := range h.scanTask(task)["failed_images"].([]any) {
		f := v.(object)
		got[fmt.Sprint(f["image_name"], ":", f["image_version"])] = fmt.Sprint(f["failed_code"], ": ", f["failed_reason"])
		if f["failed_reason"] != f["failed_detail"] {
			t.Errorf("a failed image: %v", f)
		}
	}
	want := map[string]string{
		"er/name:x": "schema_v1_not_support: it has a manifest of schema 1", "er/name:w": "unknown_error: it is an image of Windows",
		"multi:1": "image_over_sized: linux/arm64/v8: its layers take 30 GiB", "app:2.0": "download_failed: the registry answered 403",
		"shared:1": "failed_to_scan_software: layer 1, x.jar: it is nested too deep",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failed images (-want +got)\n%s", diff)
	}

	details := map[string]string{}
	for _, v := range h.ask("GET", images+"?scan_status=failed", nil).body["data_list"].([]any) {
		i := v.(object)
		details[fmt.Sprint(i["image_name"], ":", i["image_version"])] = fmt.Sprint(i["scan_failed_code"], ": ", i["scan_failed_desc"])
	}
	if diff := cmp.Diff(want, details); diff != "" {
		t.Errorf("the list of images (-want +got)\n%s", diff)
	}

	// What is known and has not changed needs no component: the others do.
	task = h.scan(object{"is_all": true})
	h.wantProgress(task, "57: 2 and 2 of 7, under way")
	if n := h.scanAll(); n != 3 {
		t.Errorf("%d scans, want 3", n)
	}
	h.wantProgress(task, "100: 4 and 3 of 7, ended")

	// Once they are scanned, images can be chosen by what they hold: those of an
	// index count, and one that was cut short holds what was found.
	for name, want := range map[string]string{"flask": "of 5, ", "fl*": "of 5, ", "Flask": "", "as": ""} {
		a := h.as(h.token, "POST", manual, object{"query_info": object{"app_name": name}})
		id, _ := a.body["task_id"].(string)
		if want == "" && a.StatusCode != 400 || want != "" && !strings.Contains(h.progress(id), want) {
			t.Errorf("%s: %s %s", name, a.text, h.progress(id))
		}
	}
}

func TestScanTaskOfSDK(t *testing.T) {
	h, ids := stocked(t)
	_, err := h.sdk.CreateManualImageScanTask(&model.CreateManualImageScanTaskRequest{Body: &model.CreateManualImageScanTaskReqInfo{IsAll: pointer(true), RateLimit: pointer(int32(60))}})
	h.must(err)
	list := func() model.ImageScanTaskInfo {
		t.Helper()
		tasks, err := h.sdk.ListImageScanTask(&model.ListImageScanTaskRequest{Type: "image_scan", TaskType: pointer("manual")})
		h.must(err)
		if *tasks.TotalNum != 1 || len(*tasks.DataList) != 1 {
			t.Fatalf("got %s", tasks)
		}
		return (*tasks.DataList)[0]
	}
	task := list()
	if *task.TaskName != "Manual scan" || *task.TaskStatus != 28 || *task.TotalNum != 7 || *task.FailedNum != 2 || *task.SuccessNum != 0 || *task.EndTime != 0 ||
		!*task.IsAll || *task.RateLimit != 60 || *task.ScanScope != 0x7fffffff || *task.RemainMin != 5 || *task.ImageType != "registry" || task.PolicyId != nil ||
		*task.FailedReason != "2 of 7 images failed; failed_images says why" {
		t.Errorf("a task under way: %s", task)
	}
	failed := *task.FailedImages
	if len(failed) != 2 {
		t.Fatalf("failed images: %s", task)
	}
	for _, f := range failed {
		want := map[string]string{"x": "it has a manifest of schema 1", "w": "it is an image of Windows"}[*f.ImageVersion]
		if *f.FailedReason != want || *f.RegistryId != ids["harbor"] || *f.RegistryName != "harbor" || *f.RegistryType != "Harbor" || *f.Namespace != "deep" || *f.ImageName != "er/name" || *f.Id == 0 {
			t.Errorf("a failed image: %s", f)
		}
	}
	for i := range 5 {
		if i > 0 {
			if h.tryScan() != nil {
				t.Fatal("the rate limit of one a minute does not hold")
			}
			h.later(time.Minute)
		}
		j := h.leaseScan()
		for _, d := range j.images() {
			j.send(d)
		}
		j.done()
	}
	task = list()
	if *task.TaskStatus != 100 || *task.SuccessNum != 5 || *task.FailedNum != 2 || *task.EndTime == 0 || *task.RemainMin != 0 {
		t.Errorf("a task that has ended: %s", task)
	}
	_, err = h.sdk.StopImageScanTask(&model.StopImageScanTaskRequest{TaskId: *task.TaskId})
	if err == nil {
		t.Error("a task that has ended was stopped")
	}
}

func TestListScanTasks(t *testing.T) {
	h, _ := stocked(t)
	first := h.scan(object{"image_info": []object{{"image_name": "app", "image_version": "1.0"}}, "scan_scope": 0x000f0000})
	second := h.scan(object{"query_info": object{"image_name": "er/name"}})
	third := h.scan(object{"query_info": object{"image_name": "app"}, "scan_scope": 0x000f0f00})
	h.ask("PUT", manual+"/"+third+"/stop", nil)
	names := map[string]string{first: "first", second: "second", third: "third"}
	far := fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())
	for _, tt := range []struct {
		query []string
		want  []string
	}{
		{nil, []string{"third", "second", "first"}},
		{[]string{"task_id", second}, []string{"second"}}, {[]string{"task_id", "nothing"}, []string{}},
		{[]string{"task_type", "manual"}, []string{"third", "second", "first"}}, {[]string{"task_type", "cycle"}, []string{}},
		{[]string{"task_name", "MANUAL"}, []string{"third", "second", "first"}}, {[]string{"task_name", "sched"}, []string{}},
		{[]string{"task_name", "scan", "task_type", "cycle"}, []string{}},
		{[]string{"task_status", "scanning"}, []string{"first"}}, {[]string{"task_status", "finished"}, []string{"third", "second"}},
		{[]string{"create_time", "0"}, []string{"third", "second", "first"}}, {[]string{"create_time", far}, []string{}},
		{[]string{"end_time", far}, []string{"third", "second"}}, {[]string{"end_time", "1"}, []string{}},
		{[]string{"scan_scope", "0"}, []string{}}, {[]string{"scan_scope", "2147483647"}, []string{"second"}},
		{[]string{"scan_scope", fmt.Sprint(0x000f0000)}, []string{"third", "second", "first"}}, {[]string{"scan_scope", fmt.Sprint(0x00000f00)}, []string{"third", "second"}},
		{[]string{"scan_scope", fmt.Sprint(0x0000f000)}, []string{"second"}},
		{[]string{"global_image_type", "registry"}, []string{"third", "second", "first"}}, {[]string{"global_image_type", "local"}, []string{}},
		{[]string{"offset", "1"}, []string{"second", "first"}}, {[]string{"offset", "3"}, []string{}},
		{[]string{"enterprise_project_id", "another"}, []string{}}, {[]string{"enterprise_project_id", "all_granted_eps"}, []string{"third", "second", "first"}},
	} {
		values := url.Values{"type": {"image_scan"}}
		for i := 0; i < len(tt.query); i += 2 {
			values.Set(tt.query[i], tt.query[i+1])
		}
		a := h.ask("GET", "/image/tasks?"+values.Encode(), nil)
		got := []string{}
		for _, v := range a.body["data_list"].([]any) {
			got = append(got, names[v.(object)["task_id"].(string)])
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v (-want +got)\n%s", tt.query, diff)
		}
		total := float64(len(tt.want))
		if values.Has("offset") {
			total = 3
		}
		if a.body["total_num"] != total {
			t.Errorf("%v: total_num is %v, want %v", tt.query, a.body["total_num"], total)
		}
	}
	for query, message := range map[string]string{
		"type=image_scan&task_type=manualSync": "task_type: it is one of synchronisations", "type=image_scan&task_type=x": "task_type",
		"type=image_scan&task_id=": "task_id", "type=image_scan&task_status=stopped": "task_status", "type=image_scan&scan_scope=1": "scan_scope",
		"type=image_scan&limit=9": "limit", "type=image_scan&create_time=2&end_time=1": "create_time: it is later than", "type=image_scan&task_name=" + strings.Repeat("x", 257): "task_name",
	} {
		h.fail("HSS.0001", message, "GET", "/image/tasks?"+query, nil)
	}
	h.wantProgress(first, "0: 0 and 0 of 1, under way")
	h.wantProgress(second, "-3: 0 and 2 of 2, ended")
	h.wantProgress(third, "-1: 0 and 0 of 2, ended")

	// The one component goes away, and the task says so.
	h.later(10 * time.Minute)
	if got := h.scanTask(first)["failed_reason"]; got != "it waits: the cluster site has no scan component that is connected; see ListAgentDaemonsetInfo" {
		t.Errorf("failed_reason is %v", got)
	}
}
