package hssapi_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// wellConnected returns ids of registries whose access checks went well, by
// name, and ends the synchronisations that follow a first check.
func (h *house) wellConnected(kinds map[string]string) map[string]string {
	h.Helper()
	ids := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(kinds)) { // lists begin with the oldest
		ids[name] = h.add(name, object{"registry_type": kinds[name]})
		h.check("", "")
		h.syncIfWaiting()
	}
	return ids
}

func (h *house) syncIfWaiting() {
	h.Helper()
	w, err := h.fleet.Lease(h.Context(), h.component, protocol.LeaseRequest{Kinds: []tidewaiter.WorkKind{tidewaiter.SyncWork}, ClusterRecipient: h.key.Recipient()})
	h.must(err)
	if w != nil {
		l := tidewaiter.Lease{WorkID: w.ID, Owner: h.component.ID, Attempt: w.Attempt}
		h.finish(*w, l, protocol.FinishRequest{Outcome: protocol.OutcomeDone})
	}
}

func (h *house) taskOf(body object) string {
	h.Helper()
	id, _ := h.ask("POST", "/image/image-sync/tasks", body).body["task_id"].(string)
	if id == "" {
		h.Fatal("the answer names no task")
	}
	return id
}

func TestSynchronizeThroughSDK(t *testing.T) {
	h := newHouse(t)
	ids := h.wellConnected(map[string]string{"one": "Harbor", "two": "SwrPrivate"})
	_, err := h.sdk.CreateImageSynchronizeTask(&model.CreateImageSynchronizeTaskRequest{
		Region: pointer("default"), Body: &model.CreateImageSynchronizeTaskRequestInfo{SyncAllRegistries: true},
	})
	h.must(err)
	// A user of the SDK finds the task here.
	tasks, err := h.sdk.ListImageScanTask(&model.ListImageScanTaskRequest{Type: "image_sync", TaskType: pointer("manualSync"), TaskStatus: pointer("scanning")})
	h.must(err)
	if *tasks.TotalNum != 1 {
		t.Fatalf("got %s", tasks)
	}
	task := (*tasks.DataList)[0]
	if *task.TaskStatus != 0 || *task.TotalNum != 2 || *task.TaskType != "manualSync" || *task.ImageType != "registry" || *task.EndTime != 0 {
		t.Errorf("a task that waits: %s", task)
	}
	h.sync()
	w, l := h.lease(tidewaiter.SyncWork)
	h.finish(w, l, protocol.FinishRequest{Outcome: protocol.OutcomeFailed, Failure: &protocol.Failure{Code: tidewaiter.FailRequestAPI, Message: "give the password again"}})
	tasks, err = h.sdk.ListImageScanTask(&model.ListImageScanTaskRequest{Type: "image_sync", TaskId: task.TaskId, TaskStatus: pointer("finished")})
	h.must(err)
	if got := (*tasks.DataList)[0]; *got.TaskStatus != 100 || *got.FailedNum != 1 || *got.SuccessNum != 1 || *got.EndTime == 0 ||
		*got.FailedReason != "1 of 2 registries failed; ListAssociateRegistries says why" {
		t.Errorf("a task that has ended: %s", got)
	}
	found, err := h.sdk.ListAssociateRegistries(&model.ListAssociateRegistriesRequest{TaskId: *task.TaskId, SyncStatus: pointer("failed")})
	h.must(err)
	if got := (*found.DataList)[0]; *found.TotalNum != 1 || !strings.Contains(*got.FailedReason, "give the password again") || ids[*got.RegistryName] != *got.RegistryId {
		t.Errorf("the registry that failed: %s", found)
	}
	swr, err := h.sdk.RunImageSynchronize(&model.RunImageSynchronizeRequest{Body: &model.RunImageSynchronizeRequestInfo{ImageType: "private_image"}})
	h.must(err)
	if *swr.ErrorCode != 0 {
		t.Errorf("got %s", swr)
	}
}

func TestSynchronize(t *testing.T) {
	h := newHouse(t)
	const path = "/image/image-sync/tasks"
	h.fail("HSS.0011", "", "POST", path, object{"sync_all_registries": true})
	ids := h.wellConnected(map[string]string{"one": "Harbor", "two": "SwrPrivate", "three": "SwrPrivate"})
	byID := h.taskOf(object{"sync_all_registries": false, "registry_info": []object{{"registry_id": ids["one"], "registry_type": "Harbor"}, {"registry_id": ids["two"]}}})
	byType := h.taskOf(object{"sync_all_registries": false, "registry_info": []object{{"registry_type": "SwrPrivate"}}})
	all := h.taskOf(object{"sync_all_registries": true, "registry_info": []object{}})
	of := func(task string, query ...string) map[string]bool {
		names := map[string]bool{}
		for _, n := range h.list(path+"/"+task+"/registries", "registry_name", query...) {
			names[n] = true
		}
		return names
	}
	for _, tt := range []struct {
		task  string
		query []string
		want  map[string]bool
	}{
		{byID, nil, map[string]bool{"one": true, "two": true}},
		{byType, nil, map[string]bool{"two": true, "three": true}},
		{all, nil, map[string]bool{"one": true, "two": true, "three": true}},
		{all, []string{"registry_name", "two"}, map[string]bool{"two": true}},
		{all, []string{"registry_type", "Harbor,Jfrog"}, map[string]bool{"one": true}},
		{all, []string{"sync_status", "running", "registry_type", "SwrPrivate"}, map[string]bool{"two": true, "three": true}},
		{all, []string{"sync_status", "failed"}, map[string]bool{}},
		{all, []string{"offset", "3"}, map[string]bool{}},
	} {
		if diff := cmp.Diff(tt.want, of(tt.task, tt.query...)); diff != "" {
			t.Errorf("%v (-want +got)\n%s", tt.query, diff)
		}
	}
	h.fail("HSS.0011", "", "GET", path+"/nothing/registries", nil)
	h.fail("HSS.0011", "", "GET", path+"/"+all+"/registries?enterprise_project_id=another", nil)
	for query, field := range map[string]string{
		"limit=9": "limit", "offset=x": "offset", "sync_status=done": "sync_status", "registry_type=Quay": "registry_type", "registry_name=": "registry_name",
	} {
		h.fail("HSS.0001", field, "GET", path+"/"+all+"/registries?"+query, nil)
	}
	for body, message := range map[string]string{
		`{}`: "sync_all_registries", `{"sync_all_registries":"yes"}`: "sync_all_registries",
		`{"sync_all_registries":false}`:                                                                                    "registry_info: it is missing",
		`{"sync_all_registries":false,"registry_info":[]}`:                                                                 "registry_info: it is missing",
		`{"sync_all_registries":false,"registry_info":[{}]}`:                                                               "registry_info[0]: it is empty",
		`{"sync_all_registries":false,"registry_info":[{"registry_type":"Quay"}]}`:                                         "registry_type",
		`{"sync_all_registries":false,"registry_info":[{"registry_id":"` + ids["one"] + `","registry_type":"SwrShared"}]}`: "registry_info[0].registry_type: the registry with this id is of another type",
	} {
		h.fail("HSS.0001", message, "POST", path, body)
	}
	h.fail("HSS.0011", "", "POST", path, object{"sync_all_registries": false, "registry_info": []object{{"registry_id": "nothing"}}})
	h.fail("HSS.0011", "no registry of the types", "POST", path, object{"sync_all_registries": false, "registry_info": []object{{"registry_type": "Jfrog"}}})

	const old = "/image/synchronize"
	a := h.ask("POST", old, object{"image_type": "private_image"})
	if task, _ := a.body["task_id"].(string); !cmp.Equal(of(task), map[string]bool{"two": true, "three": true}) || a.body["error_code"] != 0. || a.body["error_description"] != "" {
		t.Errorf("got %s", a.text)
	}
	h.fail("HSS.0011", "there is no registry of type SwrShared", "POST", old, object{"image_type": "shared_image"})
	h.fail("HSS.0001", "image_type", "POST", old, object{"image_type": "harbor"})
	h.fail("HSS.0001", "image_type", "POST", old, object{})
}

func TestListImageScanTask(t *testing.T) {
	h := newHouse(t)
	h.wellConnected(map[string]string{"one": "Harbor"})
	before := len(h.list("/image/tasks", "task_id", "type", "image_sync"))
	task := h.taskOf(object{"sync_all_registries": true})
	count := func(query ...string) int {
		h.Helper()
		return len(h.list("/image/tasks", "task_id", append(query, "type", "image_sync")...))
	}
	for _, tt := range []struct {
		query []string
		want  int
	}{
		{nil, before + 1}, {[]string{"task_id", task}, 1}, {[]string{"task_id", "nothing"}, 0},
		{[]string{"task_id", task, "task_type", "manualSync"}, 1}, {[]string{"task_id", task, "task_type", "autoSync"}, 0},
		{[]string{"task_id", task, "task_name", "manual"}, 1}, {[]string{"task_id", task, "task_name", "SYNCHRONISATION"}, 1},
		{[]string{"task_id", task, "task_name", "scheduled"}, 0}, {[]string{"task_name", "nothing"}, 0},
		{[]string{"task_id", task, "task_name", "manual", "task_type", "autoSync"}, 0},
		{[]string{"task_id", task, "task_status", "scanning"}, 1}, {[]string{"task_id", task, "task_status", "finished"}, 0},
		{[]string{"task_id", task, "create_time", "0"}, 1}, {[]string{"create_time", "4070880000000"}, 0},
		{[]string{"end_time", "1000"}, 0}, {[]string{"task_id", task, "end_time", "4070880000000"}, 0},
		{[]string{"task_id", task, "global_image_type", "registry"}, 1}, {[]string{"global_image_type", "local"}, 0},
		{[]string{"task_id", task, "scan_scope", "0"}, 1}, {[]string{"scan_scope", "2147483647"}, 0}, {[]string{"scan_scope", "240"}, 0},
		{[]string{"offset", "10"}, 0},
	} {
		if got := count(tt.query...); got != tt.want {
			t.Errorf("%v: %d tasks, want %d", tt.query, got, tt.want)
		}
	}
	h.sync()
	if count("task_id", task, "task_status", "finished", "end_time", "4070880000000") != 1 {
		t.Error("the task is not among those that have ended")
	}
	for query, message := range map[string]string{
		"": "type", "type=scan": "type",
		"type=image_sync&task_type=cycle": "task_type: it is one of scans", "type=image_sync&task_type=all": "task_type",
		"type=image_sync&limit=5": "limit", "type=image_sync&limit=201": "limit", "type=image_sync&offset=-1": "offset",
		"type=image_sync&create_time=4070880000001": "create_time", "type=image_sync&create_time=-1": "create_time", "type=image_sync&end_time=x": "end_time",
		"type=image_sync&create_time=2000&end_time=1000": "create_time: it is later than end_time",
		"type=image_sync&task_status=done":               "task_status", "type=image_sync&scan_scope=1": "scan_scope", "type=image_sync&scan_scope=": "scan_scope",
		"type=image_sync&global_image_type=cicd": "global_image_type", "type=image_sync&task_id=": "task_id",
		"type=image_sync&task_name=" + strings.Repeat("x", 257): "task_name",
	} {
		h.fail("HSS.0001", message, "GET", "/image/tasks?"+query, nil)
	}
	a := h.ask("GET", "/image/tasks?type=image_sync&task_id="+task, nil)
	item := a.body["data_list"].([]any)[0].(object)
	want := object{
		"task_id": task, "task_name": "Manual synchronisation", "begin_time": item["begin_time"], "end_time": item["end_time"], "remain_min": 0.,
		"task_type": "manualSync", "sync_task_type": "manualSync", "image_type": "registry", "task_status": 100., "scan_scope": 0., "rate_limit": 0.,
		"is_all": true, "failed_num": 0., "success_num": 1., "total_num": 1., "risky_num": 0., "failed_images": []any{},
	}
	if diff := cmp.Diff(want, item); diff != "" {
		t.Errorf("a task (-want +got)\n%s", diff)
	}
}
