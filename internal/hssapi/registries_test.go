package hssapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

func pointer[T any](v T) *T { return &v }

func TestRegistriesThroughSDK(t *testing.T) {
	h := newHouse(t)
	_, err := h.sdk.AddRegistry(&model.AddRegistryRequest{Body: &model.AddRegistryRequestBody{
		RegistryName: "harbor", RegistryType: "Harbor", ApiVersion: "V2", Protocol: "https",
		RegistryAddr: "harbor.example.com:8443", RegistryUsername: "robot$ci", RegistryPassword: password,
		Namespace: pointer("library/tools"), ConnectClusterId: h.cluster.ID, GetScanImageChannel: "Other",
	}})
	h.must(err)
	list, err := h.sdk.ListRegistry(&model.ListRegistryRequest{})
	h.must(err)
	if list.TotalNum == nil || *list.TotalNum != 1 || len(*list.DataList) != 1 {
		t.Fatalf("got %s", list)
	}
	got := (*list.DataList)[0]
	id := *got.Id
	want := model.RegistryInfo{
		Id: &id, RegistryName: pointer("harbor"), RegistryType: pointer("Harbor"), ApiVersion: pointer("V2"), Protocol: pointer("https"),
		RegistryAddr: pointer("harbor.example.com:8443"), RegistryUsername: pointer("robot$ci"), Namespace: pointer("library/tools"),
		ConnectClusterId: pointer(h.cluster.ID), GetScanImageChannel: pointer("Other"), Status: pointer("accessing"),
		ImagesNum: pointer(int32(0)), LatestSyncTime: pointer(int64(0)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the connection as it was made (-want +got)\n%s", diff)
	}

	h.check(tidewaiter.FailRequestAPI, "connect to the port")
	list, err = h.sdk.ListRegistry(&model.ListRegistryRequest{Status: pointer("fail")})
	h.must(err)
	if got := (*list.DataList)[0]; *got.Status != "fail" || *got.FailReason != "REQUEST_API_ERROR" {
		t.Errorf("after a check that failed: %s", got)
	}
	n, err := h.sdk.ListRegistryStatistics(&model.ListRegistryStatisticsRequest{})
	h.must(err)
	if *n.FailNum != 1 || *n.SuccessNum != 0 {
		t.Errorf("got %s", n)
	}

	_, err = h.sdk.UpdateRegistry(&model.UpdateRegistryRequest{Id: id, Body: &model.UpdateRegistryRequestBody{
		RegistryAddr: pointer("harbor.example.net"), RegistryPassword: pointer(password),
	}})
	h.must(err)
	h.check("", "")
	list, err = h.sdk.ListRegistry(&model.ListRegistryRequest{Status: pointer("success"), RegistryId: &id})
	h.must(err)
	if got := (*list.DataList)[0]; *got.RegistryAddr != "harbor.example.net" || got.FailReason != nil {
		t.Errorf("after a check that went well: %s", got)
	}
	_, err = h.sdk.DeleteRegistry(&model.DeleteRegistryRequest{Id: id})
	h.must(err)
	_, err = h.sdk.BatchDeleteRegistry(&model.BatchDeleteRegistryRequest{Body: &model.BatchDeleteRegistryRequestBody{Ids: []string{id}}})
	if err == nil || !strings.Contains(err.Error(), "HSS.0011") {
		t.Errorf("deleting it twice: %v", err)
	}
}

func TestAddRegistryKinds(t *testing.T) {
	h := newHouse(t)
	for _, kind := range tidewaiter.RegistryTypes() {
		h.add("a "+string(kind), object{"registry_type": kind, "registry_addr": "registry.example.com"})
	}
	if got := h.list("/image/registries", "registry_type"); len(got) != 6 {
		t.Errorf("got %v", got)
	}
}

func TestAddRegistryBadInputs(t *testing.T) {
	h := newHouse(t)
	const path = "/image/registries"
	for field := range h.registry("x", nil) {
		h.fail("HSS.0001", field, "POST", path, h.registry("x", object{field: nil}))
		h.fail("HSS.0001", field, "POST", path, h.registry("x", object{field: ""}))
		h.fail("HSS.0001", field, "POST", path, h.registry("x", object{field: 1}))
		h.fail("HSS.0001", field, "POST", path, h.registry("x", object{field: strings.Repeat("x", 257)}))
	}
	for _, tt := range []struct {
		field   string
		value   any
		message string
	}{
		{"registry_type", "harbor", "registry_type"}, {"api_version", "V3", "api_version"}, {"protocol", "HTTPS", "protocol"},
		{"get_scan_image_channel", "swr", "get_scan_image_channel"},
		{"registry_addr", "https://harbor.example.com/path", "registry_addr: has a path"},
		{"registry_addr", "http://harbor.example.com", "registry_addr: begins with another scheme"},
		{"registry_addr", "robot@harbor.example.com", "registry_addr: has user info"},
		{"registry_addr", "harbor.example.com:65536", "registry_addr: has a port out of range"},
		{"registry_username", "a\nb", "registry_username: has a control character"},
		{"registry_password", "a\x00b", "registry_password: has a control character"},
		{"registry_password", strings.Repeat("x", 129), "registry_password"},
		{"registry_name", "a\u202eb", "registry_name: has an invisible character"},
		{"namespace", "../x", "namespace"}, {"namespace", "Upper", "namespace"}, {"namespace", "", "namespace"},
		{"get_scan_image_channel", "Other", "namespace"},
		{"connect_cluster_id", "nowhere", "connect_cluster_id: is no cluster that this project can use"},
		{"registry_pasword", password, "did you mean registry_password?"},
	} {
		h.fail("HSS.0001", tt.message, "POST", path, h.registry("x", object{tt.field: tt.value}))
	}
	for _, body := range []any{nil, "[]", `"` + `x"`, "null", `{"registry_password": Planted}`, `{"registry_password": "` + password + `"`, "{"} {
		h.fail("HSS.0001", "", "POST", path, body)
	}
	// Not even one character of what could not be read is repeated.
	a := h.as(h.token, "POST", path, `{"registry_password": Planted}`)
	if want := "Invalid parameter body: it is not valid JSON"; a.body["error_msg"] != want {
		t.Errorf("got %q, want %q", a.body["error_msg"], want)
	}
	h.add("one", nil)
	h.fail("HSS.0010", "registry_name", "POST", path, h.registry("one", nil))
	if strings.Contains(h.log.String(), "Planted") {
		t.Errorf("the log has the password: %s", h.log)
	}
}

func TestListRegistry(t *testing.T) {
	h := newHouse(t)
	const path = "/image/registries"
	if a := h.ask("GET", path, nil); !strings.Contains(a.text, `"data_list":[]`) {
		t.Errorf("an empty list is %s", a.text)
	}
	ids := map[string]string{}
	for _, name := range []string{"alpha", "beta"} {
		ids[name] = h.add(name, nil)
	}
	ids["gamma"] = h.add("gamma", object{"registry_type": "Other", "registry_addr": "[::1]:5000", "protocol": "http"})
	h.check("", "")
	for _, tt := range []struct {
		query []string
		want  []string
	}{
		{nil, []string{"gamma", "beta", "alpha"}},
		{[]string{"registry_name", "beta"}, []string{"beta"}},
		{[]string{"registry_name", "*ta"}, []string{"beta"}},
		{[]string{"registry_id", ids["alpha"]}, []string{"alpha"}},
		{[]string{"registry_id", "nothing"}, []string{}},
		{[]string{"registry_type", "Other"}, []string{"gamma"}},
		{[]string{"registry_type", "Other,Harbor"}, []string{"gamma", "beta", "alpha"}},
		{[]string{"registry_type", "Jfrog,SwrPrivate"}, []string{}},
		{[]string{"registry_addr", "[::1]:5000"}, []string{"gamma"}},
		{[]string{"status", "success"}, []string{"alpha"}},
		{[]string{"status", "accessing", "registry_type", "Harbor"}, []string{"beta"}},
		{[]string{"status", "fail"}, []string{}},
		{[]string{"offset", "1", "limit", "10"}, []string{"beta", "alpha"}},
		{[]string{"offset", "3"}, []string{}},
		{[]string{"enterprise_project_id", "0"}, []string{"gamma", "beta", "alpha"}},
		{[]string{"enterprise_project_id", "all_granted_eps"}, []string{"gamma", "beta", "alpha"}},
		{[]string{"enterprise_project_id", "another"}, []string{}},
	} {
		if diff := cmp.Diff(tt.want, h.list(path, "registry_name", tt.query...)); diff != "" {
			t.Errorf("%v (-want +got)\n%s", tt.query, diff)
		}
	}
	a := h.ask("GET", path+"/statistics?registry_type=Harbor", nil)
	if diff := cmp.Diff(object{"fail_num": 0., "success_num": 1., "accessing_num": 1.}, a.body); diff != "" {
		t.Error(diff)
	}
	a = h.ask("GET", path+"?registry_name=gamma", nil)
	if !strings.Contains(a.text, "plain http") {
		t.Errorf("there is no warning of plain http: %s", a.text)
	}
	for query, field := range map[string]string{
		"limit=9": "limit", "limit=201": "limit", "limit=x": "limit", "offset=-1": "offset", "offset=2000001": "offset", "limit=": "limit",
		"registry_type=harbor": "registry_type", "registry_type=Harbor,": "registry_type", "registry_type=Harbor,Quay": "registry_type",
		"status=ok": "status", "registry_name=": "registry_name", "registry_id=" + strings.Repeat("x", 65): "registry_id",
		"registry_name=" + strings.Repeat("x", 129): "registry_name", "registry_addr=" + strings.Repeat("x", 257): "registry_addr",
		"enterprise_project_id=": "enterprise_project_id", "registry_type=": "registry_type", "registry_nam=x": "registry_name", "limit=10&limit=20": "limit",
	} {
		if field == "registry_type" && strings.HasSuffix(query, "=") {
			h.ask("GET", path+"?"+query, nil) // the contract has no shortest length for it
			continue
		}
		h.fail("HSS.0001", field, "GET", path+"?"+query, nil)
	}
	h.fail("HSS.0001", "registry_type: it is none of", "GET", path+"/statistics?registry_type=Quay", nil)
}

func TestUpdateRegistry(t *testing.T) {
	h := newHouse(t)
	id := h.add("one", nil)
	h.check("", "")
	path := "/image/registries/" + id
	for _, field := range []string{"registry_addr", "protocol", "registry_username", "connect_cluster_id"} {
		value := map[string]string{
			"registry_addr": "other.example.com", "protocol": "http", "registry_username": "other", "connect_cluster_id": h.second().ID,
		}[field]
		h.fail("HSS.0001", "registry_password: is missing", "PUT", path, object{field: value})
		h.ask("PUT", path, object{field: value, "registry_password": password})
		a := h.ask("GET", "/image/registries", nil)
		if !strings.Contains(a.text, `"`+field+`":"`+value+`"`) {
			t.Errorf("%s is not changed: %s", field, a.text)
		}
	}
	h.ask("PUT", path, object{})
	h.ask("PUT", path, nil)
	h.ask("PUT", path, object{"api_version": "V1", "namespace": "tools", "get_scan_image_channel": "Other"})
	for body, field := range map[string]string{
		`{"api_version":"V3"}`: "api_version", `{"registry_addr":""}`: "registry_addr", `{"registry_password":""}`: "registry_password",
		`{"registry_name":"new"}`: "takes api_version", `{"registry_type":"Jfrog"}`: "takes api_version", `{"namespace":"../x"}`: "namespace",
		`{"registry_username":5}`: "registry_username", `[]`: "body", `{"registry_password":"` + strings.Repeat("p", 129) + `"}`: "registry_password",
	} {
		h.fail("HSS.0001", field, "PUT", path, body)
	}
	h.fail("HSS.0011", "there is no", "PUT", "/image/registries/nothing", object{"api_version": "V1"})
	h.fail("HSS.0011", "there is no", "PUT", path+"?enterprise_project_id=another", object{"api_version": "V1"})
	h.fail("HSS.0011", "there is no", "DELETE", path+"?enterprise_project_id=another", nil)
	h.fail("HSS.0001", "ids", "POST", "/image/registries/batch-delete", object{})
	h.fail("HSS.0001", "ids", "POST", "/image/registries/batch-delete", object{"ids": []string{}})
	h.fail("HSS.0001", "ids", "POST", "/image/registries/batch-delete", object{"ids": []string{""}})
	h.fail("HSS.0011", "names no registry at position 2", "POST", "/image/registries/batch-delete", object{"ids": []string{id, "nothing"}})
	if got := h.list("/image/registries", "id"); len(got) != 1 {
		t.Errorf("a batch that failed deleted: %v", got)
	}
	h.ask("POST", "/image/registries/batch-delete", object{"ids": []string{id}})
	h.fail("HSS.0011", "there is no", "DELETE", path, nil)
}

// second returns another cluster with a component of its own.
func (h *house) second() tidewaiter.Cluster {
	h.Helper()
	states, err := h.fleet.Clusters(h.Context(), h.boot.Project.ID)
	h.must(err)
	for _, s := range states {
		if s.Name == "second" {
			return s.Cluster
		}
	}
	c, err := h.fleet.CreateCluster(h.Context(), h.boot.Project.ID, "second")
	h.must(err)
	h.enrol(c, "host-2", h.key)
	return c
}

func TestRegistriesOfEnterpriseProjects(t *testing.T) {
	h := newHouse(t)
	shop, err := h.id.CreateEnterpriseProject(t.Context(), h.root, "shop", "")
	h.must(err)
	h.add("ours", nil)
	inShop := "?enterprise_project_id=" + shop.ID
	h.ask("POST", "/image/registries"+inShop, h.registry("theirs", nil))
	h.ask("POST", "/image/registries?enterprise_project_id=all_granted_eps", h.registry("of habit", nil))
	h.fail("HSS.0001", "enterprise_project_id: the account has no enterprise project", "POST", "/image/registries?enterprise_project_id=nowhere", h.registry("x", nil))
	for id, want := range map[string][]string{
		"0": {"of habit", "ours"}, shop.ID: {"theirs"}, "all_granted_eps": {"of habit", "theirs", "ours"},
	} {
		if diff := cmp.Diff(want, h.list("/image/registries", "registry_name", "enterprise_project_id", id)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", id, diff)
		}
	}

	// Someone who may do all in the shop alone.
	_, secret, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "shopkeeper"})
	h.must(err)
	_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "shopkeeper", PolicyID: "HSS FullAccess", EnterpriseProjectID: shop.ID})
	h.must(err)
	token := h.signIn("shopkeeper", secret)
	a := h.as(token, "GET", "/image/registries?enterprise_project_id=all_granted_eps", nil)
	if a.body["total_num"] != 1. || !strings.Contains(a.text, "theirs") {
		t.Errorf("the shopkeeper sees %s", a.text)
	}
	if a := h.as(token, "GET", "/image/registries", nil); a.StatusCode != 403 {
		t.Errorf("the shopkeeper sees the default enterprise project: %s", a.text)
	}
	a = h.as(token, "POST", "/image/registries?enterprise_project_id=all_granted_eps", h.registry("x", nil))
	if a.StatusCode != 400 || !strings.Contains(a.text, "it must name the one enterprise project") {
		t.Errorf("a new registry in all enterprise projects: %d %s", a.StatusCode, a.text)
	}
	a = h.as(token, "POST", "/image/image-sync/tasks?enterprise_project_id=all_granted_eps", object{"sync_all_registries": true})
	if a.StatusCode != 200 {
		t.Errorf("the shopkeeper's synchronisation: %d %s", a.StatusCode, a.text)
	}
	if got := h.list("/image/tasks", "task_type", "type", "image_sync", "enterprise_project_id", shop.ID); len(got) != 1 {
		t.Errorf("tasks of the shop: %v", got)
	}
}

// TestAnswersAreComplete wants each field that the contract has for a
// connection, in an answer that has all of them.
func TestAnswersAreComplete(t *testing.T) {
	h := newHouse(t)
	h.add("one", object{"get_scan_image_channel": "Other", "namespace": "tools"})
	h.check(tidewaiter.FailServer, "try again later")
	a := h.ask("GET", "/image/registries", nil)
	var body struct {
		DataList []map[string]json.RawMessage `json:"data_list"`
	}
	h.must(json.Unmarshal([]byte(a.text), &body))
	for _, field := range []string{
		"id", "registry_name", "registry_type", "api_version", "protocol", "registry_addr", "registry_username", "namespace",
		"connect_cluster_id", "get_scan_image_channel", "status", "fail_reason", "images_num", "latest_sync_time", "fail_detail",
	} {
		if len(body.DataList[0][field]) == 0 {
			t.Errorf("there is no %s in %s", field, a.text)
		}
	}
}
