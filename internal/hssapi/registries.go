package hssapi

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerRegistries() {
	gateway.Register(s.api, s.operation("AddRegistry"), s.addRegistry)
	gateway.Register(s.api, s.operation("ListRegistry"), s.listRegistry)
	gateway.Register(s.api, s.operation("ListRegistryStatistics"), s.listRegistryStatistics)
	gateway.Register(s.api, s.operation("UpdateRegistry"), s.updateRegistry)
	gateway.Register(s.api, s.operation("DeleteRegistry"), s.deleteRegistry)
	gateway.Register(s.api, s.operation("BatchDeleteRegistry"), s.batchDeleteRegistry)
}

// AddRegistryRequestBody is a connection to be made.
type AddRegistryRequestBody struct {
	RegistryName        string `json:"registry_name" minLength:"1" maxLength:"128" doc:"Name of the connection, unique in the project."`
	RegistryType        string `json:"registry_type" enum:"Harbor,Jfrog,SwrPrivate,SwrShared,SwrEnterprise,Other" doc:"Product. The kinds of SWR, and Other for any registry that speaks the OCI distribution specification, are beyond the contract."`
	APIVersion          string `json:"api_version" enum:"V1,V2" doc:"Version of the product's own API."`
	Protocol            string `json:"protocol" enum:"http,https"`
	RegistryAddr        string `json:"registry_addr" minLength:"1" maxLength:"256" doc:"host, host:port, IPv4 or [IPv6], with or without http:// or https:// before it." example:"registry.example.com:5000"`
	RegistryUsername    string `json:"registry_username" minLength:"1" maxLength:"128" doc:"User who may list and pull."`
	RegistryPassword    string `json:"registry_password" minLength:"1" maxLength:"128" doc:"The user's password. It is sealed on arrival to the cluster's key, which this server does not have."`
	Namespace           string `json:"namespace,omitempty" minLength:"1" maxLength:"128" doc:"Project of the registry that holds the scan component; required where get_scan_image_channel is Other."`
	ConnectClusterID    string `json:"connect_cluster_id" minLength:"1" maxLength:"64" doc:"Cluster whose scan components reach the registry: a cluster_id of ListAgentDaemonsetInfo."`
	GetScanImageChannel string `json:"get_scan_image_channel" enum:"Swr,Other" doc:"Where the cluster has the scan component from: Swr is this server or the operator's mirror, Other is the user's own registry."`
}

// UpdateRegistryRequestBody changes what it has.
type UpdateRegistryRequestBody struct {
	APIVersion          *string `json:"api_version,omitempty" enum:"V1,V2"`
	Protocol            *string `json:"protocol,omitempty" enum:"http,https" doc:"To change it, give registry_password too."`
	RegistryAddr        *string `json:"registry_addr,omitempty" minLength:"1" maxLength:"256" doc:"To change it, give registry_password too."`
	RegistryUsername    *string `json:"registry_username,omitempty" minLength:"1" maxLength:"128" doc:"To change it, give registry_password too."`
	RegistryPassword    *string `json:"registry_password,omitempty" minLength:"1" maxLength:"128"`
	Namespace           *string `json:"namespace,omitempty" minLength:"1" maxLength:"128"`
	ConnectClusterID    *string `json:"connect_cluster_id,omitempty" minLength:"1" maxLength:"64" doc:"To change it, give registry_password too."`
	GetScanImageChannel *string `json:"get_scan_image_channel,omitempty" enum:"Swr,Other"`
}

// BatchDeleteRegistryRequestBody names connections to be removed.
type BatchDeleteRegistryRequestBody struct {
	IDs []string `json:"ids" minItems:"1" maxItems:"100" doc:"Registry ids."`
}

// RegistryInfo is a connection on the wire.
type RegistryInfo struct {
	ID                  string   `json:"id"`
	RegistryName        string   `json:"registry_name"`
	RegistryType        string   `json:"registry_type" enum:"Harbor,Jfrog,SwrPrivate,SwrShared,SwrEnterprise,Other"`
	APIVersion          string   `json:"api_version" enum:"V1,V2"`
	Protocol            string   `json:"protocol" enum:"http,https"`
	RegistryAddr        string   `json:"registry_addr"`
	RegistryUsername    string   `json:"registry_username"`
	Namespace           string   `json:"namespace,omitempty"`
	ConnectClusterID    string   `json:"connect_cluster_id"`
	GetScanImageChannel string   `json:"get_scan_image_channel" enum:"Swr,Other"`
	Status              string   `json:"status" enum:"success,fail,accessing"`
	FailReason          string   `json:"fail_reason,omitempty" enum:"CREATE_JOB_FAILED,REQUEST_API_ERROR,SERVER_ERROR" doc:"Only where status is fail."`
	FailDetail          string   `json:"fail_detail,omitempty" doc:"Beyond the contract: what to mend, in words."`
	Warnings            []string `json:"warnings,omitempty" doc:"Beyond the contract: what is not as safe as it should be."`
	ImagesNum           int32    `json:"images_num"`
	LatestSyncTime      int64    `json:"latest_sync_time" doc:"Milliseconds; 0 before the first synchronisation."`
}

func wireRegistry(r tidewaiter.Registry) RegistryInfo {
	w := RegistryInfo{
		ID: r.ID, RegistryName: r.Name, RegistryType: string(r.Type), APIVersion: r.APIVersion, Protocol: r.Protocol,
		RegistryAddr: r.Address, RegistryUsername: r.Username, Namespace: r.Namespace,
		ConnectClusterID: r.ClusterID, GetScanImageChannel: r.Channel,
		Status: string(r.Status), Warnings: inventory.Warnings(r),
		ImagesNum: count32(r.Images), LatestSyncTime: milliseconds(r.Synced),
	}
	if r.Status == tidewaiter.RegistryFail {
		w.FailReason, w.FailDetail = r.FailReason, r.FailDetail
	}
	return w
}

type addRegistryInput struct {
	InProject
	Body AddRegistryRequestBody
}

func (s *server) addRegistry(ctx context.Context, in *addRegistryInput) (*empty, error) {
	enterpriseProject, err := s.enterpriseProject(ctx, "AddRegistry", in.InProject)
	if err != nil {
		return nil, err
	}
	b := in.Body
	r, err := s.inventory.AddRegistry(ctx, inventory.NewRegistry{
		ProjectID: in.ProjectID, EnterpriseProjectID: enterpriseProject,
		Name: b.RegistryName, Type: tidewaiter.RegistryType(b.RegistryType), APIVersion: b.APIVersion, Protocol: b.Protocol,
		Address: b.RegistryAddr, Username: b.RegistryUsername, Password: b.RegistryPassword,
		Namespace: b.Namespace, ClusterID: b.ConnectClusterID, Channel: b.GetScanImageChannel,
	})
	if err != nil {
		return nil, err
	}
	return &empty{Body: Changed{ID: r.ID}}, nil
}

// Changed is the answer of an operation for which the contract has no fields.
// Clients of the vendor ignore what is in it.
type Changed struct {
	ID     string `json:"id,omitempty" doc:"Beyond the contract: id of what was made."`
	TaskID string `json:"task_id,omitempty" doc:"Beyond the contract: id of the task that was started; see ListImageScanTask."`
}

// empty wraps a Changed for huma.
type empty struct{ Body Changed }

type listRegistryInput struct {
	InProject
	Page
	RegistryName string `query:"registry_name" minLength:"1" maxLength:"128" doc:"Name; * stands for any characters."`
	RegistryID   string `query:"registry_id" minLength:"1" maxLength:"64"`
	RegistryType string `query:"registry_type" doc:"One or several, separated by commas, of Harbor, Jfrog, SwrPrivate, SwrShared, SwrEnterprise, Other."`
	RegistryAddr string `query:"registry_addr" minLength:"1" maxLength:"256" doc:"Address as it was given; * stands for any characters."`
	Status       string `query:"status" enum:"success,fail,accessing"`
}

type listRegistryOutput struct {
	Body struct {
		DataList []RegistryInfo `json:"data_list" nullable:"false"`
		TotalNum int32          `json:"total_num"`
	}
}

func (s *server) listRegistry(ctx context.Context, in *listRegistryInput) (*listRegistryOutput, error) {
	types, err := parseTypes(in.RegistryType)
	if err != nil {
		return nil, err
	}
	found, total, err := s.inventory.Registries(ctx, s.extent(ctx, "ListRegistry", in.InProject), store.RegistryFilter{
		ID: in.RegistryID, Name: in.RegistryName, Address: in.RegistryAddr, Types: types, Status: tidewaiter.RegistryStatus(in.Status),
	}, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	out := &listRegistryOutput{}
	out.Body.DataList = wireAll(found, wireRegistry)
	out.Body.TotalNum = count32(total)
	return out, nil
}

type listRegistryStatisticsInput struct {
	InProject
	RegistryType string `query:"registry_type" doc:"One or several, separated by commas, of Harbor, Jfrog, SwrPrivate, SwrShared, SwrEnterprise, Other."`
}

type listRegistryStatisticsOutput struct {
	Body struct {
		FailNum      int32 `json:"fail_num"`
		SuccessNum   int32 `json:"success_num"`
		AccessingNum int32 `json:"accessing_num" doc:"Beyond the contract: those whose access check is under way."`
	}
}

func (s *server) listRegistryStatistics(ctx context.Context, in *listRegistryStatisticsInput) (*listRegistryStatisticsOutput, error) {
	types, err := parseTypes(in.RegistryType)
	if err != nil {
		return nil, err
	}
	counts, err := s.inventory.RegistryCounts(ctx, s.extent(ctx, "ListRegistryStatistics", in.InProject), types)
	if err != nil {
		return nil, err
	}
	out := &listRegistryStatisticsOutput{}
	out.Body.FailNum = count32(counts[tidewaiter.RegistryFail])
	out.Body.SuccessNum = count32(counts[tidewaiter.RegistrySuccess])
	out.Body.AccessingNum = count32(counts[tidewaiter.RegistryAccessing])
	return out, nil
}

// RegistryByID names the connection in the path.
type RegistryByID struct {
	InProject
	ID string `path:"id" minLength:"1" maxLength:"64" doc:"Registry id."`
}

type updateRegistryInput struct {
	RegistryByID
	Body *UpdateRegistryRequestBody
}

func (s *server) updateRegistry(ctx context.Context, in *updateRegistryInput) (*empty, error) {
	b := in.Body
	if b == nil {
		b = &UpdateRegistryRequestBody{}
	}
	_, err := s.inventory.UpdateRegistry(ctx, s.extent(ctx, "UpdateRegistry", in.InProject), in.ID, inventory.RegistryChange{
		APIVersion: b.APIVersion, Protocol: b.Protocol, Address: b.RegistryAddr,
		Username: b.RegistryUsername, Password: b.RegistryPassword,
		Namespace: b.Namespace, ClusterID: b.ConnectClusterID, Channel: b.GetScanImageChannel,
	})
	if err != nil {
		return nil, err
	}
	return &empty{}, nil
}

func (s *server) deleteRegistry(ctx context.Context, in *RegistryByID) (*empty, error) {
	if err := s.inventory.DeleteRegistries(ctx, s.extent(ctx, "DeleteRegistry", in.InProject), []string{in.ID}); err != nil {
		return nil, err
	}
	return &empty{}, nil
}

type batchDeleteRegistryInput struct {
	InProject
	Body BatchDeleteRegistryRequestBody
}

func (s *server) batchDeleteRegistry(ctx context.Context, in *batchDeleteRegistryInput) (*empty, error) {
	for _, id := range in.Body.IDs {
		if id == "" {
			return nil, tidewaiter.InvalidField("ids", "one of them is empty; leave it out")
		}
	}
	if err := s.inventory.DeleteRegistries(ctx, s.extent(ctx, "BatchDeleteRegistry", in.InProject), in.Body.IDs); err != nil {
		return nil, err
	}
	return &empty{}, nil
}

// wireAll returns the wire forms of values; never nil, so that an empty list is
// [] and not null.
func wireAll[T, W any](values []T, wire func(T) W) []W {
	out := make([]W, 0, len(values))
	for _, v := range values {
		out = append(out, wire(v))
	}
	return out
}

// count32 returns a count as the contract has it.
func count32(n int) int32 { return int32(min(n, 1<<31-1)) } //nolint:gosec // it fits
