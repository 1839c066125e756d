package adminapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
)

// planted is a secret that no answer may show.
const planted = "Planted-Passw0rd"

// connected returns a house with a registry, which a component has checked.
func connected(t *testing.T) (h *house, id string, component tidewaiter.Component, key *seal.Key) {
	h = newHouse(t)
	h.inProject()
	token, _ := h.ask(201, "POST", "/clusters", object{"name": "office"}).body["token"].(string)
	key = newKey(h)
	component = h.enrol(token, key)
	r, err := h.inventory.AddRegistry(t.Context(), inventory.NewRegistry{
		ProjectID: h.boot.Project.ID, EnterpriseProjectID: "0", Name: "harbor", Type: tidewaiter.RegistryHarbor, APIVersion: "V2",
		Protocol: "https", Address: "harbor.example.com", Username: "robot", Password: planted, ClusterID: component.ClusterID, Channel: "Swr",
	})
	h.must(err)
	h.check(component, key)
	return h, r.ID, component, key
}

// check does the access check that waits.
func (h *house) check(c tidewaiter.Component, key *seal.Key) {
	h.Helper()
	w, err := h.fleet.Lease(h.Context(), c, protocol.LeaseRequest{
		Kinds: []tidewaiter.WorkKind{tidewaiter.AccessCheckWork}, ClusterRecipient: key.Recipient(), WaitSeconds: 20,
	})
	h.must(err)
	if w == nil {
		h.Fatal("there is no access check")
	}
	lease := tidewaiter.Lease{WorkID: w.ID, Owner: c.ID, Attempt: w.Attempt}
	h.must(h.inventory.Finish(h.Context(), *w, lease, protocol.FinishRequest{
		Attempt: w.Attempt, Outcome: protocol.OutcomeDone, AccessCheck: &protocol.AccessReport{
			FailReason: tidewaiter.FailRequestAPI, Warnings: []string{"the clock is wrong"},
			Steps: []protocol.Step{
				{Name: "dns", Status: "ok", Microseconds: 1500, Message: "192.0.2.1"},
				{Name: "tcp", Status: "failed", Microseconds: 2_000_000, Message: "nothing listens on port 443; check the port"},
			},
		},
	}))
}

func TestRegistrySettings(t *testing.T) {
	h, id, _, _ := connected(t)
	path := "/registries/" + id
	a := h.ask(200, "GET", path, nil)
	want := object{
		"id": id, "name": "harbor", "project_id": h.boot.Project.ID, "enterprise_project_id": "0", "type": "Harbor", "api_version": "V2",
		"protocol": "https", "address": "harbor.example.com", "username": "robot", "namespace": "", "cluster_id": a.body["cluster_id"],
		"cluster_name": "office", "channel": "Swr", "status": "fail", "fail_reason": "REQUEST_API_ERROR", "fail_detail": a.body["fail_detail"],
		"warnings": []any{}, "checked": a.body["checked"], "images": 0., "created": a.body["created"], "updated": a.body["updated"],
		"settings": object{
			"ca": "", "tls_skip_verify": false, "token_hosts": []any{}, "include": []any{}, "exclude": []any{}, "include_tags": []any{},
			"exclude_tags": []any{}, "repositories": []any{}, "request_budget": 0., "sync_at": "", "swr_api": "", "swr_project_id": "",
			"swr_instance_id": "", "swr_instance_name": "", "swr_access_key": "", "artifactory_way": "", "trust_attached_vex": false,
		},
		"secrets": []any{object{"name": "password", "current": true}}, "skipped": []any{},
		"check": object{
			"ok": false, "fail_reason": "REQUEST_API_ERROR", "warnings": []any{"the clock is wrong"}, "ended": a.body["checked"],
			"steps": []any{
				object{"name": "dns", "status": "ok", "milliseconds": 1.5, "message": "192.0.2.1"},
				object{"name": "tcp", "status": "failed", "milliseconds": 2000., "message": "nothing listens on port 443; check the port"},
			},
		},
	}
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Errorf("a registry (-want +got)\n%s", diff)
	}
	if detail, _ := a.body["fail_detail"].(string); !strings.Contains(detail, "check the port") {
		t.Errorf("the detail is %q", detail)
	}

	change := object{
		"tls_skip_verify": true, "proxy": "http://user:" + planted + "@proxy.example.com:3128", "token_hosts": []string{"auth.example.com"},
		"include": []string{"team/**"}, "exclude": []string{"team/old"}, "include_tags": []string{"v*"}, "exclude_tags": []string{"*-dev"},
		"repositories": []string{"team/app"}, "request_budget": 1000, "sync_at": "04:30", "swr_api": "swr-api.example.com", "swr_project_id": "p",
		"swr_instance_id": "i", "swr_instance_name": "the instance", "swr_access_key": "AK", "swr_secret_key": planted, "artifactory_way": "port",
		"trust_attached_vex": true,
	}
	a = h.ask(200, "PATCH", path, change)
	wantSettings := object{"ca": ""}
	for field, value := range change {
		if field != "proxy" && field != "swr_secret_key" {
			wantSettings[field] = value
		}
	}
	if diff := cmp.Diff(plain(t, wantSettings), a.body["settings"]); diff != "" {
		t.Errorf("the settings (-want +got)\n%s", diff)
	}
	if strings.Contains(a.text, planted) || !strings.Contains(a.text, "not verified") || !strings.Contains(a.text, `"name":"proxy"`) ||
		!strings.Contains(a.text, `"name":"swr_secret_key"`) {
		t.Errorf("after the change: %s", a.text)
	}
	a = h.ask(200, "PATCH", path, object{"include": []string{}, "proxy": "", "sync_at": ""})
	if settings := a.body["settings"].(object); !cmp.Equal(settings["include"], []any{}) || settings["request_budget"] != 1000. || strings.Contains(a.text, `"name":"proxy"`) {
		t.Errorf("after another change: %s", a.text)
	}

	for body, message := range map[string]string{
		`{"ca":"no PEM"}`: "ca", `{"proxy":"` + planted + `"}`: "proxy", `{"token_hosts":["https://x"]}`: "token_hosts", `{"include":["["]}`: "include",
		`{"exclude_tags":["["]}`: "exclude_tags", `{"repositories":["Upper"]}`: "repositories", `{"request_budget":-1}`: "request_budget",
		`{"request_budget":1000001}`: "request_budget", `{"sync_at":"24:00"}`: "sync_at", `{"sync_at":"noon!!"}`: "sync_at", `{"swr_api":"a b"}`: "swr_api",
		`{"swr_project_id":"a/b"}`: "swr_project_id", `{"artifactory_way":"tunnel"}`: "artifactory_way", `{"password":"` + planted + `"}`: "none of this operation's",
		`{"proxy":5}`: "proxy", `{"swr_secret_key":"` + planted + `\n"}`: "swr_secret_key", `[]`: "body", ``: "request body is required",
	} {
		h.fail(400, "HSS.0001", message, "PATCH", path, body)
		if a := h.as(h.token, "PATCH", path, body); strings.Contains(a.text, planted) {
			t.Errorf("the error has the secret: %s", a.text)
		}
	}
}

// plain returns a value as JSON brings it back.
func plain(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRegistryTestAndSynchronize(t *testing.T) {
	h, id, component, key := connected(t)
	done := make(chan answer, 1)
	go func() { done <- h.as(h.token, "POST", "/registries/"+id+"/test", nil) }()
	h.check(component, key)
	a := <-done
	if steps, _ := a.body["steps"].([]any); a.StatusCode != 200 || len(steps) != 2 || a.body["ok"] != false || a.body["fail_reason"] != "REQUEST_API_ERROR" {
		t.Errorf("the test: %d %s", a.StatusCode, a.text)
	}
	a = h.ask(201, "POST", "/registries/"+id+"/synchronize", nil)
	if task, _ := a.body["task_id"].(string); task == "" {
		t.Errorf("the synchronisation: %s", a.text)
	}
	a = h.ask(200, "GET", "/registries/"+id, nil)
	if s, _ := a.body["synchronization"].(object); s["state"] != "queued" || s["images"] != 0. {
		t.Errorf("while it waits: %s", a.text)
	}
	if diff := cmp.Diff([]string{"harbor"}, h.ask(200, "GET", "/registries?name=harbor&limit=1", nil).items("name")); diff != "" {
		t.Error(diff)
	}
	for _, try := range [][2]string{
		{"GET", "/registries/none"}, {"POST", "/registries/none/test"}, {"POST", "/registries/none/synchronize"},
	} {
		h.fail(404, "HSS.0011", "", try[0], try[1], nil)
	}
	h.fail(404, "HSS.0011", "", "PATCH", "/registries/none", object{})
	h.fail(400, "HSS.0001", "limit", "GET", "/registries?limit=201", nil)
}

func TestWhoMaySetRegistries(t *testing.T) {
	h, id, _, _ := connected(t)
	_, password, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "reader"})
	h.must(err)
	_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "reader", PolicyID: "HSS ReadOnlyAccess"})
	h.must(err)
	reader := h.signIn("reader", password, "default")
	for _, path := range []string{"/registries", "/registries/" + id} {
		if a := h.as(reader, "GET", path, nil); a.StatusCode != 200 {
			t.Errorf("a reader gets %s", a.text)
		}
	}
	for _, try := range [][2]string{{"PATCH", ""}, {"POST", "/test"}, {"POST", "/synchronize"}} {
		var body any
		if try[0] == "PATCH" {
			body = object{}
		}
		h.wantError(h.as(reader, try[0], "/registries/"+id+try[1], body), 403, "APIGW.0302", "no policy of the caller allows hss:")
	}
	// A user who may do nothing here but in another enterprise project.
	shop, err := h.id.CreateEnterpriseProject(t.Context(), h.root, "shop", "")
	h.must(err)
	_, password, err = h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "shopkeeper"})
	h.must(err)
	_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "shopkeeper", PolicyID: "HSS FullAccess", EnterpriseProjectID: shop.ID})
	h.must(err)
	keeper := h.signIn("shopkeeper", password, "default")
	if a := h.as(keeper, "GET", "/registries", nil); a.text != "{\"items\":[]}\n" {
		t.Errorf("the shopkeeper sees %s", a.text)
	}
	h.wantError(h.as(keeper, "PATCH", "/registries/"+id, object{}), 404, "HSS.0011", "")
	h.wantError(h.as(keeper, "POST", "/clusters", object{"name": "x"}), 403, "APIGW.0302", "hss:containers:set")
}
