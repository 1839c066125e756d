package hssapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/tidewaiter/tidewaiter"
)

func TestClusterLists(t *testing.T) {
	h := newHouse(t)
	_, err := h.fleet.CreateCluster(t.Context(), h.boot.Project.ID, "empty")
	h.must(err)
	other, err := h.id.CreateProject(t.Context(), h.root, "other", "")
	h.must(err)
	_, err = h.fleet.CreateCluster(t.Context(), other.ID, "theirs")
	h.must(err)

	const daemonsets, details = "/container/kubernetes/clusters/daemonsets", "/kubernetes/clusters"
	a := h.ask("GET", daemonsets, nil)
	want := []any{
		object{
			"latest_version": true, "agent_version": tidewaiter.Version, "cluster_name": "site", "cluster_id": h.cluster.ID,
			"cluster_type": "self_built_idc", "node_num": 1., "cluster_status": "Available", "installed_status": "install_success",
			"access_status": "connect_success", "combined_status": "running", "invoked_service": "hss",
			"ds_info":       object{"desired_num": 1., "current_num": 1., "ready_num": 1.},
			"registry_info": object{"registry_type": "Other", "registry_addr": "tidewaiter.example.com", "namespace": "tidewaiter"},
			"resource_info": object{"mode": "default", "cpu_limit": "", "mem_limit": ""},
		},
		object{
			"latest_version": false, "agent_version": "", "cluster_name": "empty", "cluster_id": a.body["data_list"].([]any)[1].(object)["cluster_id"],
			"cluster_type": "self_built_idc", "node_num": 0., "cluster_status": "Empty", "installed_status": "none",
			"access_status": "not_connect", "combined_status": "accessing", "invoked_service": "hss",
			"failed_message": a.body["data_list"].([]any)[1].(object)["failed_message"],
			"ds_info":        object{"desired_num": 0., "current_num": 0., "ready_num": 0.},
			"registry_info":  object{"registry_type": "Other", "registry_addr": "tidewaiter.example.com", "namespace": "tidewaiter"},
			"resource_info":  object{"mode": "default", "cpu_limit": "", "mem_limit": ""},
		},
	}
	if diff := cmp.Diff(want, a.body["data_list"]); diff != "" {
		t.Errorf("clusters (-want +got)\n%s", diff)
	}
	delete(a.body, "data_list")
	if diff := cmp.Diff(object{"total_num": 2., "upgradeful_num": 0., "err_running_num": 0., "err_access_num": 0.}, a.body); diff != "" {
		t.Errorf("their counts (-want +got)\n%s", diff)
	}
	for _, tt := range []struct {
		query []string
		want  []string
	}{
		{[]string{"access_status", "true"}, []string{"site"}}, {[]string{"access_status", "false"}, []string{"empty"}},
		{[]string{"type", "self_built_idc"}, []string{"site", "empty"}}, {[]string{"type", "cce"}, []string{}},
		{[]string{"show_cluster_log_status", "true"}, []string{"site", "empty"}},
		{[]string{"offset", "1"}, []string{"empty"}}, {[]string{"offset", "2000000"}, []string{}},
	} {
		if diff := cmp.Diff(tt.want, h.list(daemonsets, "cluster_name", tt.query...)); diff != "" {
			t.Errorf("%v (-want +got)\n%s", tt.query, diff)
		}
	}
	for query, field := range map[string]string{
		"limit=9": "limit", "type=docker": "type", "access_status=": "access_status", "access_status=connected": "access_status", "show_cluster_log_status=x": "show_cluster_log_status",
	} {
		h.fail("HSS.0001", field, "GET", daemonsets+"?"+query, nil)
	}

	a = h.ask("GET", details+"?cluster_name=SIT&load_agent_info=true&scene=cluster_risk", nil)
	item := a.body["cluster_info_list"].([]any)[0].(object)
	wantItem := object{
		"id": h.cluster.ID, "cluster_name": "site", "cluster_id": h.cluster.ID, "cluster_type": "self_built_idc", "status": "Available",
		"version": tidewaiter.Version, "total_nodes_number": 1., "active_nodes_number": 1., "creation_timestamp": item["creation_timestamp"],
		"agent_installed_num": 1., "agent_install_failed_num": 0., "agent_not_install_num": 0., "agent_ds_install_status": "Installed",
		"last_operate_timestamp": item["last_operate_timestamp"],
	}
	if diff := cmp.Diff(wantItem, item); diff != "" || a.body["total_num"] != 1. {
		t.Errorf("details of %v clusters (-want +got)\n%s", a.body["total_num"], diff)
	}
	h.fail("HSS.0001", "scene", "GET", details+"?scene=all", nil)
	h.fail("HSS.0001", "limit", "GET", details+"?limit=1", nil)
}

func TestClustersThroughSDK(t *testing.T) {
	h := newHouse(t)
	list, err := h.sdk.ListAgentDaemonsetInfo(&model.ListAgentDaemonsetInfoRequest{AccessStatus: pointer(true), Limit: pointer(int32(10))})
	h.must(err)
	if *list.TotalNum != 1 || *(*list.DataList)[0].ClusterId != h.cluster.ID || *(*list.DataList)[0].DsInfo.ReadyNum != 1 {
		t.Errorf("got %s", list)
	}
	details, err := h.sdk.ListKubernetesClusterDetails(&model.ListKubernetesClusterDetailsRequest{})
	h.must(err)
	if *details.TotalNum != 1 || *(*details.ClusterInfoList)[0].ClusterId != h.cluster.ID {
		t.Errorf("got %s", details)
	}

	h.must(h.fleet.RemoveComponent(t.Context(), h.cluster.ID, h.component.ID))
	list, err = h.sdk.ListAgentDaemonsetInfo(&model.ListAgentDaemonsetInfoRequest{})
	h.must(err)
	if got := (*list.DataList)[0]; *got.AccessStatus != "not_connect" || !strings.Contains(*got.FailedMessage, "tidewaiter cluster token") {
		t.Errorf("a cluster without its component: %s", list)
	}
}
