package hssapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

const policies = "/image/scanner-policies"

// runScans runs the service behind the house until the test ends.
func (h *house) runScans() {
	ctx, cancel := context.WithCancel(h.Context())
	done := make(chan error, 1)
	go func() { done <- h.scans.Run(ctx) }()
	h.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			h.Error(err)
		}
	})
}

// cycleTask waits until there is a scan of a policy that has its images.
func (h *house) cycleTask() object {
	h.Helper()
	for range 500 {
		list := h.ask("GET", "/image/tasks?type=image_scan&task_type=cycle", nil).body["data_list"].([]any)
		if len(list) > 0 && list[0].(object)["total_num"] != 0. {
			return list[0].(object)
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.Fatal("there is no scheduled scan")
	return nil
}

func TestScanPolicyThroughSDK(t *testing.T) {
	h, ids := stocked(t)
	kinds := model.GetListImageScanPolicyRequestTypeEnum()
	show := func(kind model.ListImageScanPolicyRequestType) *model.ListImageScanPolicyResponse {
		t.Helper()
		p, err := h.sdk.ListImageScanPolicy(&model.ListImageScanPolicyRequest{Type: kind})
		h.must(err)
		return p
	}
	p := show(kinds.CYCLE)
	if *p.Enabled || *p.IsAll || *p.ScanCycle != 7 || *p.ScanScope != 0x0fffff || *p.RateLimit != 0 || *p.TimeScope != 0 || *p.TotalRegistryNum != 2 || len(*p.RegistryList) != 2 {
		t.Errorf("a policy that nobody has set: %s", p)
	}
	registry := func(name, kind string) model.CycleImageScanPolicyReqInfoRegistryInfo {
		return model.CycleImageScanPolicyReqInfoRegistryInfo{RegistryId: ids[name], RegistryName: name, RegistryType: kind}
	}
	_, err := h.sdk.ModifyImageScanPolicy(&model.ModifyImageScanPolicyRequest{Region: pointer("x"), Body: &model.CycleImageScanPolicyReqInfo{
		Enabled: true, ScanCycle: 3, ScanScope: 0x7fffffff, RateLimit: 100, TimeScope: 0,
		RegistryInfo: []model.CycleImageScanPolicyReqInfoRegistryInfo{registry("swr", "SwrShared"), registry("swr", "SwrShared")},
	}})
	h.must(err)
	p = show(kinds.CYCLE)
	selected := map[string]bool{}
	for _, r := range *p.RegistryList {
		selected[*r.RegistryName+" "+*r.RegistryType+" "+*r.RegistryId] = *r.IsSelected
	}
	if diff := cmp.Diff(map[string]bool{"swr SwrShared " + ids["swr"]: true, "harbor Harbor " + ids["harbor"]: false}, selected); diff != "" {
		t.Errorf("registries (-want +got)\n%s", diff)
	}
	if !*p.Enabled || *p.IsAll || *p.ScanCycle != 3 || *p.ScanScope != 0x0fffff || *p.RateLimit != 100 || *p.TimeScope != 0 {
		t.Errorf("the policy: %s", p)
	}
	h.runScans()
	task := h.cycleTask()
	if task["task_name"] != "Scheduled scan" || task["total_num"] != 1. || task["rate_limit"] != 100. || task["policy_id"] == "" || task["scan_scope"] != float64(0x7fffffff) {
		t.Errorf("the task: %v", task)
	}
	if n := h.scanAll(); n != 1 {
		t.Errorf("%d scans", n)
	}
	h.wantStatus("org/shared:1", "success")

	// The settings of the last manual task.
	m := show(kinds.MANUAL)
	if !*m.IsAll || *m.ScanScope != 0x0fffff || *m.RateLimit != 0 || *m.Enabled || m.ScanCycle != nil {
		t.Errorf("before a manual task: %s", m)
	}
	h.scan(object{"query_info": object{"image_name": "app"}, "scan_scope": 0x000f0000, "rate_limit": 7})
	m = show(kinds.MANUAL)
	if *m.IsAll || *m.ScanScope != 0x000f0000 || *m.RateLimit != 7 || *m.TotalRegistryNum != 2 {
		t.Errorf("after a manual task: %s", m)
	}
}

// policy is the body of a ModifyImageScanPolicy that works, with changes; nil
// removes.
func (h *house) policy(ids map[string]string, changes object) object {
	body := object{
		"enabled": true, "scan_cycle": 3, "scan_scope": 0x7fffffff, "rate_limit": 0, "time_scope": 0,
		"registry_info": []object{{"registry_id": ids["harbor"], "registry_name": "harbor", "registry_type": "Harbor"}},
	}
	for field, v := range changes {
		body[field] = v
		if v == nil {
			delete(body, field)
		}
	}
	return body
}

func TestModifyImageScanPolicyRefused(t *testing.T) {
	h, ids := stocked(t)
	one := func(id, name, kind string) []object {
		return []object{{"registry_id": ids["harbor"], "registry_name": "harbor", "registry_type": "Harbor"}, {"registry_id": id, "registry_name": name, "registry_type": kind}}
	}
	for _, field := range []string{"enabled", "scan_cycle", "scan_scope", "rate_limit", "time_scope", "registry_info"} {
		h.fail("HSS.0001", field, "PUT", policies, h.policy(ids, object{field: nil}))
	}
	for _, tt := range []struct {
		message string
		changes object
	}{
		{"scan_cycle", object{"scan_cycle": 5}}, {"scan_cycle", object{"scan_cycle": 0}}, {"scan_cycle", object{"scan_cycle": "7"}},
		{"scan_scope: 0 is a scan that looks for nothing", object{"scan_scope": 0}}, {"scan_scope: it is no mask", object{"scan_scope": 2}},
		{"scan_scope: it is no mask", object{"scan_scope": 2, "enabled": false}},
		{"rate_limit", object{"rate_limit": 1001}}, {"rate_limit", object{"rate_limit": -1}},
		{"time_scope", object{"time_scope": 2}}, {"time_scope", object{"time_scope": -1}},
		{"registry_info: it is empty", object{"registry_info": []object{}}},
		{"registry_info", object{"registry_info": nil}},
		{"registry_name", object{"registry_info": []object{{"registry_id": ids["harbor"], "registry_type": "Harbor"}}}},
		{"registry_info[1].registry_name: the registry with this id has another name", object{"registry_info": one(ids["swr"], "srw", "SwrShared")}},
		{"registry_info[1].registry_type: the registry with this id is of another type", object{"registry_info": one(ids["swr"], "swr", "SwrPrivate")}},
		{"registry_type", object{"registry_info": one(ids["swr"], "swr", "Quay")}},
		{"registry_id", object{"registry_info": one(strings.Repeat("x", 257), "swr", "SwrShared")}},
	} {
		h.fail("HSS.0001", tt.message, "PUT", policies, h.policy(ids, tt.changes))
	}
	h.fail("HSS.0011", "registry_info[1].registry_id: there is no such registry", "PUT", policies, h.policy(ids, object{"registry_info": one("nothing", "swr", "SwrShared")}))
	h.fail("HSS.0001", "enterprise_project_id", "PUT", policies+"?enterprise_project_id=nothing", h.policy(ids, nil))
	for query, field := range map[string]string{"": "type", "?type=": "type", "?type=weekly": "type", "?type=cycle&global_image_type=local": "global_image_type: this server", "?type=cycle&global_image_type=x": "global_image_type"} {
		h.fail("HSS.0001", field, "GET", policies+query, nil)
	}
	if a := h.ask("GET", policies+"?type=cycle", nil); a.body["enabled"] != false || a.body["next_scan_time"] != nil {
		t.Errorf("what was refused is in force: %s", a.text)
	}

	// A policy that is switched off needs nothing.
	h.ask("PUT", policies+"?enterprise_project_id=all_granted_eps", h.policy(ids, object{"enabled": false, "scan_scope": 0, "registry_info": []object{}}))
	if a := h.ask("GET", policies+"?type=cycle", nil); a.body["enabled"] != false || a.body["scan_scope"] != 0. || a.body["scan_cycle"] != 3. {
		t.Errorf("a policy that is switched off: %s", a.text)
	}
}

// TestScanPolicyOfEnterpriseProject wants each enterprise project to have a
// policy of its own, about its own registries.
func TestScanPolicyOfEnterpriseProject(t *testing.T) {
	h, ids := stocked(t)
	shop, err := h.id.CreateEnterpriseProject(t.Context(), h.root, "shop", "")
	h.must(err)
	h.fail("HSS.0011", "registry_info[0].registry_id: there is no such registry in the enterprise project", "PUT", policies+"?enterprise_project_id="+shop.ID, h.policy(ids, nil))
	theirs, _ := h.ask("POST", "/image/registries?enterprise_project_id="+shop.ID, h.registry("theirs", nil)).body["id"].(string)
	h.ask("PUT", policies, h.policy(ids, nil))
	info := object{"rate_limit": 5, "registry_info": []object{{"registry_id": theirs, "registry_name": "theirs", "registry_type": "Harbor"}}}
	h.ask("PUT", policies+"?enterprise_project_id="+shop.ID, h.policy(ids, info))
	h.fail("HSS.0011", "registry_info[0]", "PUT", policies+"?enterprise_project_id=all_granted_eps", h.policy(ids, info))
	for ep, want := range map[string]string{"0": "0 [harbor swr]", "all_granted_eps": "0 [harbor swr]", shop.ID: "5 [theirs]"} {
		a := h.ask("GET", policies+"?type=cycle&enterprise_project_id="+ep, nil)
		names := []string{}
		for _, r := range a.body["registry_list"].([]any) {
			names = append(names, r.(object)["registry_name"].(string))
		}
		if len(names) == 2 && names[0] == "swr" {
			names[0], names[1] = names[1], names[0]
		}
		if got := fmt.Sprint(a.body["rate_limit"], " ", names); got != want {
			t.Errorf("%s: got %s, want %s", ep, got, want)
		}
		if isAll := a.body["is_all"]; isAll != (ep == shop.ID) {
			t.Errorf("%s: is_all is %v", ep, isAll)
		}
	}
	_, secret, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "shopkeeper"})
	h.must(err)
	_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "shopkeeper", PolicyID: "HSS FullAccess", EnterpriseProjectID: shop.ID})
	h.must(err)
	token := h.signIn("shopkeeper", secret)
	for path, want := range map[string]int{policies + "?type=cycle": 403, policies + "?type=cycle&enterprise_project_id=" + shop.ID: 200, policies + "?type=cycle&enterprise_project_id=all_granted_eps": 200} {
		a := h.as(token, "GET", path, nil)
		if a.StatusCode != want || want == 200 && a.body["rate_limit"] != 5. {
			t.Errorf("the shopkeeper at %s: %d %s", path, a.StatusCode, a.text)
		}
	}
	for _, r := range []struct{ method, path string }{
		{"PUT", policies}, {"POST", manual}, {"PUT", manual + "/x/stop"}, {"POST", "/image/batch-scan"}, {"GET", "/image/tasks?type=image_scan"}, {"GET", "/image/pay-per-scan/statistics"},
	} {
		if a := h.as(token, r.method, r.path, object{}); a.StatusCode != 403 {
			t.Errorf("the shopkeeper's %s %s: %d %s", r.method, r.path, a.StatusCode, a.text)
		}
	}
}

func TestScanStatistics(t *testing.T) {
	h, _ := stocked(t)
	show := func() object { return h.ask("GET", "/image/pay-per-scan/statistics", nil).body }
	of := func(n float64) object { return object{"local": 0., "registriy": n, "cicd": 0.} }
	want := object{
		"repository_scan_num": 0., "cicd_scan_num": 0., "free_quota_num": 0., "already_given": false, "image_free_quota": 0.,
		"high_risk": of(0), "has_risk": of(0), "total": of(7), "unscan": of(7),
	}
	if diff := cmp.Diff(want, show()); diff != "" {
		t.Errorf("before a scan (-want +got)\n%s", diff)
	}
	h.scan(object{"query_info": object{"namespace": "team"}})
	h.scanAll()
	h.scan(object{"query_info": object{"image_name": "app"}})
	want["repository_scan_num"], want["unscan"] = 5., of(4)
	if diff := cmp.Diff(want, show()); diff != "" {
		t.Errorf("after scans (-want +got)\n%s", diff)
	}
	s, err := h.sdk.ShowImagePayPerScanStatistics(&model.ShowImagePayPerScanStatisticsRequest{})
	h.must(err)
	if *s.RepositoryScanNum != 5 || *s.Unscan.Registriy != 4 || *s.Total.Registriy != 7 {
		t.Errorf("got %s", s)
	}
	if a := h.ask("GET", "/image/pay-per-scan/statistics?enterprise_project_id=another", nil); a.body["repository_scan_num"] != 0. || !cmp.Equal(a.body["total"], any(of(0))) {
		t.Errorf("of another enterprise project: %s", a.text)
	}
}

// TestScansOfAnotherProject lets somebody with all rights in another project of
// the account ask.
func TestScansOfAnotherProject(t *testing.T) {
	h, ids := stocked(t)
	task := h.scan(object{"is_all": true})
	other, err := h.id.CreateProject(t.Context(), h.root, "other", "")
	h.must(err)
	token, _, err := h.id.IssueToken(t.Context(), identity.TokenRequest{
		UserName: "admin", DomainName: "tidewaiter", Password: h.boot.Password, Scope: identity.TokenScope{ProjectID: other.ID},
	})
	h.must(err)
	app := h.imageID("app", "1.0")
	for _, r := range []struct {
		method, path string
		body         any
	}{
		{"POST", manual, object{"is_all": true}}, {"PUT", manual + "/" + task + "/stop", nil}, {"GET", "/image/tasks?type=image_scan", nil},
		{"GET", policies + "?type=cycle", nil}, {"PUT", policies, h.policy(ids, nil)}, {"GET", "/image/pay-per-scan/statistics", nil},
		{"POST", "/image/batch-scan", object{"image_type": "shared_image", "operate_all": true}},
	} {
		if a := h.as(token, r.method, r.path, r.body); a.StatusCode != 403 {
			t.Errorf("%s %s with a token of another project: %d %s", r.method, r.path, a.StatusCode, a.text)
		}
	}
	// In their own project they find nothing of ours.
	ours := h.boot.Project.ID
	h.boot.Project.ID = other.ID
	for _, r := range []struct {
		method, path string
		body         any
	}{
		{"POST", manual, object{"is_all": true}}, {"POST", manual, object{"image_info": []object{{"id": app}}}}, {"PUT", manual + "/" + task + "/stop", nil},
		{"PUT", policies, h.policy(ids, nil)}, {"POST", "/image/batch-scan", object{"image_type": "shared_image", "operate_all": true}},
	} {
		if a := h.as(token, r.method, r.path, r.body); a.StatusCode != 400 || a.body["error_code"] != "HSS.0011" {
			t.Errorf("%s %s in another project: %d %s", r.method, r.path, a.StatusCode, a.text)
		}
	}
	for path, field := range map[string]string{
		"/image/tasks?type=image_scan": "total_num", "/image/tasks?type=image_scan&task_id=" + task: "total_num",
		policies + "?type=cycle": "total_registry_num", "/image/pay-per-scan/statistics": "repository_scan_num",
	} {
		if a := h.as(token, "GET", path, nil); a.StatusCode != 200 || a.body[field] != 0. {
			t.Errorf("%s in another project: %d %s", path, a.StatusCode, a.text)
		}
	}
	h.boot.Project.ID = ours
	h.wantProgress(task, "28: 0 and 2 of 7, under way")
}
