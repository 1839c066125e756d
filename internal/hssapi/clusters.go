package hssapi

import (
	"context"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
)

func (s *server) registerClusters() {
	gateway.Register(s.api, s.operation("ListAgentDaemonsetInfo"), s.listAgentDaemonsetInfo)
	gateway.Register(s.api, s.operation("ListKubernetesClusterDetails"), s.listKubernetesClusterDetails)
}

// clusterType is what the contract calls a cluster that a user runs anywhere.
// Ours are scan components that run beside a registry; nodes are components.
const clusterType = "self_built_idc"

// ClusterInfoResponse is a cluster on the wire, in the words of the agent's
// daemonset: a scan component counts as a node with an agent.
type ClusterInfoResponse struct {
	LatestVersion    bool   `json:"latest_version" doc:"Every component has the version of this server."`
	AgentVersion     string `json:"agent_version" doc:"Version of the components, the oldest where they differ."`
	ClusterName      string `json:"cluster_name"`
	ClusterID        string `json:"cluster_id" doc:"Usable as connect_cluster_id."`
	Namespace        string `json:"namespace,omitempty" doc:"Absent: these are no Kubernetes clusters."`
	ClusterType      string `json:"cluster_type" enum:"cce,ali,tencent,azure,aws,self_built_hw,self_built_idc"`
	NodeNum          int32  `json:"node_num" doc:"Scan components."`
	ClusterStatus    string `json:"cluster_status" enum:"Available,Unavailable,Empty"`
	InstalledStatus  string `json:"installed_status" enum:"install_success,partially_success,upgrade_failed,none"`
	AccessStatus     string `json:"access_status" enum:"not_connect,connect_success,connect_fail,connect_disruption"`
	CombinedStatus   string `json:"combined_status" enum:"accessing,access_error,running,run_error,upgrade_error"`
	FailedMessage    string `json:"failed_message,omitempty" doc:"What to do, in one sentence; only where something is to be done."`
	ClusterLogStatus string `json:"cluster_log_status,omitempty" enum:"success,partial_success" doc:"Absent: logs are not collected."`
	InvokedService   string `json:"invoked_service" enum:"hss,cce"`

	DsInfo       ClusterInfoResponseDsInfo       `json:"ds_info"`
	RegistryInfo ClusterInfoResponseRegistryInfo `json:"registry_info" doc:"Where the scan component's image comes from."`
	ResourceInfo ClusterInfoResponseResourceInfo `json:"resource_info"`
}

// ClusterInfoResponseDsInfo counts components: enrolled, online, and able to
// work.
type ClusterInfoResponseDsInfo struct {
	DesiredNum int32 `json:"desired_num" doc:"Enrolled."`
	CurrentNum int32 `json:"current_num" doc:"Online."`
	ReadyNum   int32 `json:"ready_num" doc:"Online, and in possession of the cluster's key."`
}

// ClusterInfoResponseRegistryInfo is where the component comes from.
type ClusterInfoResponseRegistryInfo struct {
	RegistryType     string `json:"registry_type"`
	RegistryAddr     string `json:"registry_addr"`
	RegistryUsername string `json:"registry_username,omitempty" doc:"Absent: it needs none."`
	Namespace        string `json:"namespace"`
}

// ClusterInfoResponseResourceInfo are the limits of the component.
type ClusterInfoResponseResourceInfo struct {
	Mode     string `json:"mode" doc:"default: who starts the component sets its limits."`
	CPULimit string `json:"cpu_limit"`
	MemLimit string `json:"mem_limit"`
}

// clusterState is what the two lists say of a cluster.
type clusterState struct {
	cluster, installed, access, combined string
}

// online counts the components that answer, and those of them that take work.
func online(c fleet.State) (online, ready int) {
	for _, component := range c.Components {
		if component.Status != fleet.StatusOffline {
			online++
		}
		if component.Status == fleet.StatusOnline {
			ready++
		}
	}
	return online, ready
}

// stateOf puts a cluster's status into the words of the contract.
func stateOf(c fleet.State) clusterState {
	installed := "install_success"
	if _, ready := online(c); ready < len(c.Components) {
		installed = "partially_success"
	}
	switch c.Status {
	case fleet.StatusNone:
		return clusterState{"Empty", "none", "not_connect", "accessing"}
	case fleet.StatusOnline:
		return clusterState{"Available", installed, "connect_success", "running"}
	case fleet.StatusWaiting:
		return clusterState{"Unavailable", installed, "connect_success", "accessing"}
	case fleet.StatusVersion:
		return clusterState{"Unavailable", "upgrade_failed", "connect_fail", "upgrade_error"}
	case fleet.StatusOffline:
	}
	return clusterState{"Unavailable", installed, "connect_disruption", "access_error"}
}

func (s *server) wireCluster(c fleet.State) ClusterInfoResponse {
	state := stateOf(c)
	version, latest := versionOf(c)
	current, ready := online(c)
	host, path, _ := strings.Cut(s.component.Repository, "/")
	namespace := ""
	if i := strings.LastIndex(path, "/"); i >= 0 {
		namespace = path[:i]
	}
	return ClusterInfoResponse{
		LatestVersion: latest, AgentVersion: version, ClusterName: c.Name, ClusterID: c.ID, ClusterType: clusterType,
		NodeNum: count32(len(c.Components)), ClusterStatus: state.cluster, InstalledStatus: state.installed,
		AccessStatus: state.access, CombinedStatus: state.combined, FailedMessage: shorten(c.Advice, 256), InvokedService: "hss",
		DsInfo: ClusterInfoResponseDsInfo{
			DesiredNum: count32(len(c.Components)), CurrentNum: count32(current), ReadyNum: count32(ready),
		},
		RegistryInfo: ClusterInfoResponseRegistryInfo{RegistryType: string(tidewaiter.RegistryOther), RegistryAddr: host, Namespace: namespace},
		ResourceInfo: ClusterInfoResponseResourceInfo{Mode: "default"},
	}
}

// versionOf returns the version of a cluster's components, and whether all have
// the server's own. Of several it returns one that is not the server's.
func versionOf(c fleet.State) (version string, latest bool) {
	latest = len(c.Components) > 0
	for _, component := range c.Components {
		if version == "" || component.Version != tidewaiter.Version {
			version = shorten(component.Version, 32)
		}
		latest = latest && component.Version == tidewaiter.Version
	}
	return version, latest
}

// shorten cuts a text at a number of characters.
func shorten(s string, limit int) string {
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}

type listAgentDaemonsetInfoInput struct {
	InProject
	InRegion
	Page
	Type                 string         `query:"type" enum:"cce,ali,tencent,azure,aws,self_built_hw,self_built_idc" doc:"All clusters of this server are self_built_idc."`
	ShowClusterLogStatus bool           `query:"show_cluster_log_status" default:"false" doc:"Accepted for compatibility; logs are not collected."`
	AccessStatus         Optional[bool] `query:"access_status" doc:"true: only clusters that are connected; false: only those that are not."`
}

type listAgentDaemonsetInfoOutput struct {
	Body struct {
		DataList      []ClusterInfoResponse `json:"data_list" nullable:"false"`
		TotalNum      int32                 `json:"total_num"`
		UpgradefulNum int32                 `json:"upgradeful_num" doc:"Clusters with a component of another version than this server's."`
		ErrRunningNum int32                 `json:"err_running_num" doc:"Clusters whose components cannot work."`
		ErrAccessNum  int32                 `json:"err_access_num" doc:"Clusters whose components do not answer any more."`
	}
}

func (s *server) listAgentDaemonsetInfo(ctx context.Context, in *listAgentDaemonsetInfoInput) (*listAgentDaemonsetInfoOutput, error) {
	out := &listAgentDaemonsetInfoOutput{}
	var found []fleet.State
	if in.Type == "" || in.Type == clusterType {
		all, err := s.fleet.Clusters(ctx, in.ProjectID)
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			if !in.AccessStatus.Given || in.AccessStatus.Value == (stateOf(c).access == "connect_success") {
				found = append(found, c)
			}
		}
	}
	for _, c := range found {
		if _, latest := versionOf(c); !latest && len(c.Components) > 0 {
			out.Body.UpgradefulNum++
		}
		switch c.Status {
		case fleet.StatusOffline:
			out.Body.ErrAccessNum++
		case fleet.StatusVersion:
			out.Body.ErrRunningNum++
		case fleet.StatusNone, fleet.StatusOnline, fleet.StatusWaiting:
		}
	}
	out.Body.TotalNum = count32(len(found))
	out.Body.DataList = wireAll(between(found, in.Page), s.wireCluster)
	return out, nil
}

// KubernetesClusterInfo is a cluster on the wire, in the words of the other
// list. What belongs to the scan of clusters is absent.
type KubernetesClusterInfo struct {
	ID                    string `json:"id"`
	ClusterName           string `json:"cluster_name"`
	ClusterID             string `json:"cluster_id" doc:"Usable as connect_cluster_id."`
	ClusterType           string `json:"cluster_type" enum:"k8s,cce,ali,tencent,azure,aws,self_built_hw,self_built_idc"`
	Status                string `json:"status" enum:"Available,Unavailable,Empty"`
	Version               string `json:"version" doc:"Version of the scan components."`
	TotalNodesNumber      int32  `json:"total_nodes_number" doc:"Scan components."`
	ActiveNodesNumber     int32  `json:"active_nodes_number" doc:"Scan components that are online."`
	CreationTimestamp     int64  `json:"creation_timestamp" doc:"Milliseconds."`
	AgentInstalledNum     *int32 `json:"agent_installed_num,omitempty" doc:"Scan components that are enrolled; with load_agent_info."`
	AgentInstallFailedNum *int32 `json:"agent_install_failed_num,omitempty" doc:"Scan components that cannot work; with load_agent_info."`
	AgentNotInstallNum    *int32 `json:"agent_not_install_num,omitempty" doc:"With load_agent_info."`
	AgentDsInstallStatus  string `json:"agent_ds_install_status,omitempty" enum:"NotInstall,Installed" doc:"With load_agent_info."`
	AgentDsFailedReason   string `json:"agent_ds_failed_reason,omitempty" doc:"With load_agent_info."`
	LastOperateTimestamp  int64  `json:"last_operate_timestamp,omitempty" doc:"Milliseconds: when the last component was enrolled."`
	LastScanTime          int64  `json:"last_scan_time,omitempty" doc:"Absent: clusters are not scanned."`
	SysVulNum             *int32 `json:"sys_vul_num,omitempty" doc:"Absent, as are the next four: clusters are not scanned."`
	AppVulNum             *int32 `json:"app_vul_num,omitempty"`
	EmgVulNum             *int32 `json:"emg_vul_num,omitempty"`
	RiskAssessNum         *int32 `json:"risk_assess_num,omitempty"`
	SecCompNum            *int32 `json:"sec_comp_num,omitempty"`
}

func wireKubernetesCluster(c fleet.State, agents bool) KubernetesClusterInfo {
	version, _ := versionOf(c)
	active, _ := online(c)
	w := KubernetesClusterInfo{
		ID: c.ID, ClusterName: c.Name, ClusterID: c.ID, ClusterType: clusterType, Status: stateOf(c).cluster, Version: version,
		TotalNodesNumber: count32(len(c.Components)), ActiveNodesNumber: count32(active), CreationTimestamp: milliseconds(c.Created),
	}
	for _, component := range c.Components {
		w.LastOperateTimestamp = max(w.LastOperateTimestamp, milliseconds(component.Enrolled))
	}
	if !agents {
		return w
	}
	installed, failed, none := count32(len(c.Components)), int32(0), int32(0)
	for _, component := range c.Components {
		if component.Status == fleet.StatusVersion {
			failed++
		}
	}
	w.AgentInstalledNum, w.AgentInstallFailedNum, w.AgentNotInstallNum = &installed, &failed, &none
	w.AgentDsInstallStatus, w.AgentDsFailedReason = "Installed", c.Advice
	if installed == 0 {
		w.AgentDsInstallStatus = "NotInstall"
	}
	return w
}

type listKubernetesClusterDetailsInput struct {
	InProject
	Page
	ClusterName   string `query:"cluster_name" doc:"Part of the name."`
	LoadAgentInfo bool   `query:"load_agent_info" default:"false" doc:"Say more of the scan components."`
	Scene         string `query:"scene" enum:"cluster_risk" doc:"Accepted for compatibility; the answer does not depend on it."`
}

type listKubernetesClusterDetailsOutput struct {
	Body struct {
		LastUpdateTime  int64                   `json:"last_update_time" doc:"Milliseconds: now, as the list is never old."`
		TotalNum        int32                   `json:"total_num"`
		ClusterInfoList []KubernetesClusterInfo `json:"cluster_info_list" nullable:"false"`
	}
}

func (s *server) listKubernetesClusterDetails(ctx context.Context, in *listKubernetesClusterDetailsInput) (*listKubernetesClusterDetailsOutput, error) {
	all, err := s.fleet.Clusters(ctx, in.ProjectID)
	if err != nil {
		return nil, err
	}
	var found []fleet.State
	for _, c := range all {
		if strings.Contains(strings.ToLower(c.Name), strings.ToLower(in.ClusterName)) {
			found = append(found, c)
		}
	}
	out := &listKubernetesClusterDetailsOutput{}
	out.Body.LastUpdateTime = time.Now().UnixMilli()
	out.Body.TotalNum = count32(len(found))
	out.Body.ClusterInfoList = wireAll(between(found, in.Page), func(c fleet.State) KubernetesClusterInfo {
		return wireKubernetesCluster(c, in.LoadAgentInfo)
	})
	return out, nil
}
