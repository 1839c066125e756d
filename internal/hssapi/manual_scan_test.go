package hssapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

const manual = "/image/image-scan/tasks"

// scan starts a manual task and returns its id.
func (h *house) scan(body object) string {
	h.Helper()
	id, _ := h.ask("POST", manual, body).body["task_id"].(string)
	if id == "" {
		h.Fatal("the answer names no task")
	}
	return id
}

// statuses returns the scan status of each image, by its name.
func (h *house) statuses() map[string]string {
	h.Helper()
	all := map[string]string{}
	for _, v := range h.ask("GET", images+"?limit=200", nil).body["data_list"].([]any) {
		i := v.(object)
		name := strings.TrimPrefix(fmt.Sprintf("%s/%s:%s", i["namespace"], i["image_name"], i["image_version"]), "/")
		all[name] = i["scan_status"].(string)
		if code, ok := i["scan_failed_code"]; ok {
			all[name] += " " + code.(string)
		}
	}
	return all
}

// imageID returns the id of the image of a name and tag.
func (h *house) imageID(name, tag string) int64 {
	h.Helper()
	list := h.ask("GET", images+"?image_name="+name+"&image_version="+tag, nil).body["data_list"].([]any)
	if len(list) != 1 {
		h.Fatalf("there are %d images %s:%s", len(list), name, tag)
	}
	return int64(list[0].(object)["id"].(float64))
}

// waiting returns the names of the images that wait for a scan.
func (h *house) waiting() []string {
	h.Helper()
	out := []string{}
	for name, status := range h.statuses() {
		if status == "waiting_for_scan" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func TestScanThroughSDK(t *testing.T) {
	h, ids := stocked(t)
	_, err := h.sdk.CreateManualImageScanTask(&model.CreateManualImageScanTaskRequest{Body: &model.CreateManualImageScanTaskReqInfo{
		ScanScope: pointer(int32(0x7fffffff)), RateLimit: pointer(int32(0)), IsAll: pointer(false),
		ImageInfo: &[]model.CreateManualImageScanTaskReqInfoImageInfo{{
			RegistryId: pointer(ids["harbor"]), Namespace: pointer("team"), ImageName: pointer("app"), ImageVersion: pointer("1.0"), RegistryType: pointer("Harbor"),
		}},
	}})
	h.must(err)
	if got := h.waiting(); !slices.Equal(got, []string{"team/app:1.0"}) {
		t.Errorf("got %v", got)
	}
	_, err = h.sdk.CreateManualImageScanTask(&model.CreateManualImageScanTaskRequest{Body: &model.CreateManualImageScanTaskReqInfo{
		QueryInfo: &model.CreateManualImageScanTaskReqInfoQueryInfo{Namespace: pointer("team"), HostId: pointer("")},
	}})
	h.must(err)
	_, err = h.sdk.BatchScanSwrImage(&model.BatchScanSwrImageRequest{Body: &model.BatchScanPrivateImageRequestInfo{ImageType: "shared_image", OperateAll: pointer(true)}})
	h.must(err)
	if got := h.waiting(); !slices.Equal(got, []string{"org/shared:1", "team/app:1.0", "team/app:2.0", "team/multi:1"}) {
		t.Errorf("got %v", got)
	}
	_, err = h.sdk.CreateManualImageScanTask(&model.CreateManualImageScanTaskRequest{Body: &model.CreateManualImageScanTaskReqInfo{IsAll: pointer(true)}})
	h.must(err)
	if n := h.scanAll(); n != 5 {
		t.Errorf("%d scans were done, want 5", n)
	}
	want := map[string]string{
		"team/app:1.0": "success", "team/app:2.0": "success", "team/multi:1": "success", "org/shared:1": "success", "alone:latest": "success",
		"deep/er/name:x": "failed schema_v1_not_support", "deep/er/name:w": "failed unknown_error",
	}
	if diff := cmp.Diff(want, h.statuses()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestManualScanSelections(t *testing.T) {
	h, _ := stocked(t)
	app1, alone := h.imageID("app", "1.0"), h.imageID("alone", "latest")
	for i, tt := range []struct {
		body object
		want []string
	}{
		{object{"image_info": []object{{"id": app1}}}, []string{"team/app:1.0"}},
		{object{"is_all": false, "image_info": []object{{"id": app1}, {"id": alone}, {"id": app1}}}, []string{"alone:latest", "team/app:1.0"}},
		{object{"image_info": []object{{"image_digest": image("app two").Digest}}}, []string{"team/app:2.0"}},
		{object{"image_info": []object{{"image_id": image("app two").ConfigDigest}, {"image_id": string(image("alone").ConfigDigest[7:])}}}, []string{"alone:latest", "team/app:2.0"}},
		{object{"image_info": []object{{"image_name": "app", "image_version": "2.0"}}}, []string{"team/app:2.0"}},
		{object{"image_info": []object{{"registry_name": "harbor", "namespace": "", "image_name": "alone", "image_version": "latest", "image_digest": image("alone").Digest, "id": alone}}}, []string{"alone:latest"}},
		{object{"image_info": []object{{"registry_type": "SwrShared", "image_name": "shared", "image_version": "1"}, {"image_name": "multi", "image_version": "1"}}}, []string{"org/shared:1", "team/multi:1"}},
		{object{"query_info": object{"image_name": "a*"}}, []string{"alone:latest", "team/app:1.0", "team/app:2.0"}},
		{object{"query_info": object{"image_type": "shared_image"}}, []string{"org/shared:1"}},
		{object{"query_info": object{"namespace": "team", "image_version": "1*"}}, []string{"team/app:1.0", "team/multi:1"}},
		{object{"query_info": object{"image_size": 1007}}, []string{"team/app:2.0"}},
		{object{"query_info": object{"has_vul": false, "scan_status": "unscan", "namespace": "org"}}, []string{"org/shared:1"}},
		{object{"query_info": object{"image_name": "app", "start_latest_update_time": 1767312000000, "end_latest_update_time": 1767312000000}}, []string{"team/app:2.0"}},
	} {
		task := h.scan(tt.body)
		if diff := cmp.Diff(tt.want, h.waiting()); diff != "" {
			t.Errorf("%d: %v (-want +got)\n%s", i, tt.body, diff)
		}
		h.ask("PUT", manual+"/"+task+"/stop", nil)
		if got := h.waiting(); len(got) > 0 {
			t.Fatalf("%v still wait once the task was stopped", got)
		}
	}
}

func TestManualScanRefused(t *testing.T) {
	h, ids := stocked(t)
	long := strings.Repeat("x", 257)
	tooMany := make([]object, 1001)
	for i := range tooMany {
		tooMany[i] = object{"id": 1}
	}
	for _, tt := range []struct {
		message string
		body    any
	}{
		{"image_info: nothing says which images are meant; give one of is_all (true), query_info and image_info", nil},
		{"image_info: nothing says which", object{}},
		{"image_info: nothing says which", object{"is_all": false, "image_info": []object{}}},
		{"image_info: give only one of is_all (true), query_info and image_info", object{"is_all": true, "image_info": []object{{"id": 1}}}},
		{"image_info: give only one", object{"is_all": true, "query_info": object{}}},
		{"image_info: give only one", object{"query_info": object{"image_name": "app"}, "image_info": []object{{"id": 1}}}},
		{"query_info: it is empty", object{"query_info": object{}}},
		{"query_info: it is empty", object{"query_info": object{"namespace": "", "host_id": ""}}},
		{"scan_scope: 0 is a scan that looks for nothing", object{"is_all": true, "scan_scope": 0}},
		{"scan_scope: it is no mask of the contract", object{"is_all": true, "scan_scope": 1}},
		{"scan_scope: it is no mask of the contract", object{"is_all": true, "scan_scope": 0x100000}},
		{"scan_scope", object{"is_all": true, "scan_scope": -1}},
		{"scan_scope", object{"is_all": true, "scan_scope": "all"}},
		{"rate_limit", object{"is_all": true, "rate_limit": -1}},
		{"rate_limit", object{"is_all": true, "rate_limit": 1001}},
		{"is_all", object{"is_all": "yes"}},
		{"image_info", object{"image_info": tooMany}},
		{"image_info[1]: it names no image", object{"image_info": []object{{"id": 1}, {"registry_id": ids["harbor"], "image_name": "app"}}}},
		{"image_info[0]: it names no image", object{"image_info": []object{{}}}},
		{"image_name", object{"image_info": []object{{"image_name": long}}}},
		{"registry_type", object{"image_info": []object{{"id": 1, "registry_type": "Quay"}}}},
		{"id", object{"image_info": []object{{"id": -1}}}},
		{"app_name", object{"query_info": object{"app_name": long}}},
		{"image_type", object{"query_info": object{"image_type": "quay"}}},
		{"scan_status", object{"query_info": object{"scan_status": "done"}}},
		{"image_size", object{"query_info": object{"image_size": -1}}},
		{"namespace", object{"query_info": object{"namespace": long}}},
		{"pod_name", object{"query_info": object{"pod_name": strings.Repeat("x", 513)}}},
		{"query_info.start_latest_scan_time: it is later than", object{"query_info": object{"start_latest_scan_time": 2, "end_latest_scan_time": 1}}},
		{"query_info.start_latest_update_time: it is later than", object{"query_info": object{"start_latest_update_time": 2, "end_latest_update_time": 1}}},
		{"it has a property that is none of this operation's", object{"is_all": true, "nonsense": 1}},
	} {
		h.fail("HSS.0001", tt.message, "POST", manual, tt.body)
	}
	for _, field := range []string{"host_id", "host_name", "public_ip", "private_ip", "cluster_id", "container_id", "container_name", "pod_id", "pod_name"} {
		h.fail("HSS.0001", "query_info."+field+": it is about images on hosts", "POST", manual, object{"query_info": object{field: "x"}})
	}
	h.fail("HSS.0001", "query_info.local_image_type: it is about images on hosts", "POST", manual, object{"query_info": object{"local_image_type": "swr_image"}})
	h.fail("HSS.0001", "global_image_type: this server does not scan images on hosts", "POST", manual+"?global_image_type=local", object{"is_all": true})
	h.fail("HSS.0001", "global_image_type", "POST", manual+"?global_image_type=cicd", object{"is_all": true})
	for _, body := range []object{
		{"id": 999999}, {"image_digest": "sha256:0"}, {"image_id": "x"}, {"image_name": "app", "image_version": "1.0", "namespace": ""},
		{"image_name": "ap*", "image_version": "1.0"}, {"image_name": "app", "image_version": "1.0", "registry_name": "swr"},
		{"id": h.imageID("app", "1.0"), "image_name": "alone"}, {"image_name": "shared", "image_version": "1", "registry_type": "Harbor"},
		{"image_name": "shared", "image_version": "1", "instance_id": "x"}, {"image_name": "shared", "image_version": "1", "instance_url": "x"},
	} {
		h.fail("HSS.0011", "image_info[1]: there is no such image", "POST", manual, object{"image_info": []object{{"image_name": "app", "image_version": "1.0"}, body}})
	}
	h.fail("HSS.0011", "there is no image to scan", "POST", manual, object{"query_info": object{"image_name": "nothing"}})
	h.fail("HSS.0011", "there is no image to scan", "POST", manual, object{"query_info": object{"scan_status": "download_failed"}})
	h.fail("HSS.0011", "there is no image to scan", "POST", manual, object{"query_info": object{"app_name": "flask"}}) // nothing was scanned yet
	h.fail("HSS.0011", "there is no image to scan", "POST", manual+"?enterprise_project_id=another", object{"is_all": true})
	h.fail("HSS.0011", "image_info[0]: there is no such image", "POST", manual+"?enterprise_project_id=another", object{"image_info": []object{{"id": h.imageID("app", "1.0")}}})
	task := h.scan(object{"is_all": true, "scan_scope": 0x000f0f00, "rate_limit": 1000})
	h.fail("HSS.0011", "there is no such scan task", "PUT", manual+"/nothing/stop", nil)
	h.fail("HSS.0011", "there is no such scan task", "PUT", manual+"/"+task+"/stop?enterprise_project_id=another", nil)
	h.ask("PUT", manual+"/"+task+"/stop?enterprise_project_id=all_granted_eps", nil)
	h.ask("PUT", manual+"/"+task+"/stop", nil)
	if a := h.as("not a token", "POST", manual, object{"is_all": true}); a.StatusCode != 401 {
		t.Errorf("without a token: %d %s", a.StatusCode, a.text)
	}
}

func TestBatchScanSwrImage(t *testing.T) {
	h, _ := stocked(t)
	const path = "/image/batch-scan"
	for _, body := range []object{
		{"image_type": "shared_image", "operate_all": true},
		{"image_type": "shared_image", "operate_all": true, "image_info_list": []object{}, "namespace": "o*", "image_name": "shared", "image_version": "1", "latest_version": true, "scan_status": "unscan", "repo_type": "x"},
		{"image_type": "shared_image", "image_info_list": []object{{"namespace": "org", "image_name": "shared", "image_version": "1"}}},
		{"image_type": "shared_image", "image_info_list": []object{{"image_name": "shared", "image_version": "1"}}},
	} {
		task, _ := h.ask("POST", path, body).body["task_id"].(string)
		if got := h.waiting(); !slices.Equal(got, []string{"org/shared:1"}) {
			t.Errorf("%v: %v wait", body, got)
		}
		h.ask("PUT", manual+"/"+task+"/stop", nil)
	}
	for _, tt := range []struct {
		message string
		body    object
	}{
		{"image_type", object{"operate_all": true}},
		{"image_type", object{"operate_all": true, "image_type": "harbor"}},
		{"image_info_list: give either", object{"image_type": "shared_image"}},
		{"image_info_list: give either", object{"image_type": "shared_image", "operate_all": true, "image_info_list": []object{{"image_name": "shared", "image_version": "1"}}}},
		{"image_info_list[0]: it names no image", object{"image_type": "shared_image", "image_info_list": []object{{"namespace": "org"}}}},
		{"scan_status", object{"image_type": "shared_image", "operate_all": true, "scan_status": "waiting"}},
		{"image_size", object{"image_type": "shared_image", "operate_all": true, "image_size": -1}},
		{"start_latest_scan_time: it is later than", object{"image_type": "shared_image", "operate_all": true, "start_latest_scan_time": 2, "end_latest_scan_time": 1}},
	} {
		h.fail("HSS.0001", tt.message, "POST", path, tt.body)
	}
	h.fail("HSS.0011", "image_info_list[0]: there is no such image", "POST", path, object{"image_type": "private_image", "image_info_list": []object{{"image_name": "shared", "image_version": "1"}}})
	h.fail("HSS.0011", "there is no image to scan", "POST", path, object{"image_type": "instance_image", "operate_all": true})
}
