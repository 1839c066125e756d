package hssapi

import (
	"context"
	"slices"
	"strconv"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerScanPolicies() {
	gateway.Register(s.api, s.operation("ListImageScanPolicy"), s.listImageScanPolicy)
	gateway.Register(s.api, s.operation("ModifyImageScanPolicy"), s.modifyImageScanPolicy)
}

// standardCycle is what a policy that nobody has set shows, in days.
const standardCycle = 7

// policyScope is how answers about policies have the scope, where all is
// another mask than elsewhere.
func policyScope(scope int) int32 {
	if scope == tidewaiter.ScopeAll {
		return 0x000fffff
	}
	return count32(scope)
}

// ImageScanPolicyRespInfoRegistryList is a registry of a policy.
type ImageScanPolicyRespInfoRegistryList struct {
	IsSelected   bool   `json:"is_selected"`
	RegistryName string `json:"registry_name"`
	RegistryID   string `json:"registry_id"`
	RegistryType string `json:"registry_type" enum:"SwrPrivate,SwrShared,SwrEnterprise,Harbor,Jfrog,Other"`
}

type listImageScanPolicyInput struct {
	InProject
	GlobalImageType string `query:"global_image_type" enum:"local,registry" doc:"This server scans images of registries: local is refused."`
	Type            string `query:"type" required:"true" enum:"cycle,manual" doc:"cycle: the policy; manual: the settings of the last manual task."`
}

type listImageScanPolicyOutput struct {
	Body struct {
		IsAll            bool  `json:"is_all" doc:"Every registry is selected."`
		Enabled          bool  `json:"enabled"`
		ScanCycle        int32 `json:"scan_cycle,omitempty" enum:"3,7,14" doc:"Days; not of manual ones."`
		ScanScope        int32 `json:"scan_scope" doc:"Bit mask; 0x000fffff is all."`
		RateLimit        int32 `json:"rate_limit" doc:"Images per hour; 0: no limit."`
		TimeScope        int32 `json:"time_scope" enum:"0,1,3,7" doc:"Only images that were pushed in the last so many days; 0: all."`
		TotalRegistryNum int32 `json:"total_registry_num" doc:"Registries of the enterprise project, selected or not."`
		NextScanTime     int64 `json:"next_scan_time,omitempty" doc:"Beyond the contract, milliseconds: when the next periodic scan begins."`

		RegistryList []ImageScanPolicyRespInfoRegistryList `json:"registry_list" nullable:"false"`
	}
}

// listImageScanPolicy shows the policy of one enterprise project: where all are
// asked for, that of the default one, as a change would be one of it.
func (s *server) listImageScanPolicy(ctx context.Context, in *listImageScanPolicyInput) (*listImageScanPolicyOutput, error) {
	if in.GlobalImageType == "local" {
		return nil, tidewaiter.InvalidField("global_image_type", "this server does not scan images on hosts; leave it out, or give registry")
	}
	extent := s.extent(ctx, "ListImageScanPolicy", in.InProject)
	extent = tidewaiter.Extent{ProjectID: extent.ProjectID, EnterpriseProjects: []string{taskProject(extent)}}
	registries, total, err := s.inventory.Registries(ctx, extent, store.RegistryFilter{}, store.Page{Limit: maxRegistries})
	if err != nil {
		return nil, err
	}
	out := &listImageScanPolicyOutput{}
	var selected func(tidewaiter.Registry) bool
	if in.Type == "cycle" {
		selected, err = s.showCycle(ctx, extent, out)
	} else {
		selected, err = s.showManual(ctx, extent, out)
	}
	if err != nil {
		return nil, err
	}
	out.Body.TotalRegistryNum = count32(total)
	out.Body.IsAll = true
	out.Body.RegistryList = wireAll(registries, func(r tidewaiter.Registry) ImageScanPolicyRespInfoRegistryList {
		w := ImageScanPolicyRespInfoRegistryList{IsSelected: selected(r), RegistryName: r.Name, RegistryID: r.ID, RegistryType: string(r.Type)}
		out.Body.IsAll = out.Body.IsAll && w.IsSelected
		return w
	})
	out.Body.IsAll = out.Body.IsAll && total > 0
	return out, nil
}

// maxRegistries is more than a project has: 100.
const maxRegistries = 1000

// showCycle fills in the policy, or that of nobody who has set one, and returns
// which registries it selects.
func (s *server) showCycle(ctx context.Context, e tidewaiter.Extent, out *listImageScanPolicyOutput) (func(tidewaiter.Registry) bool, error) {
	p, err := s.scans.Policy(ctx, e.ProjectID, e.EnterpriseProjects[0])
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		p, err = tidewaiter.ScanPolicy{CycleDays: standardCycle, Scope: tidewaiter.ScopeAll}, nil
	}
	b := &out.Body
	b.Enabled, b.ScanCycle, b.ScanScope = p.Enabled, count32(p.CycleDays), policyScope(p.Scope)
	b.RateLimit, b.TimeScope, b.NextScanTime = count32(p.RateLimit), count32(p.TimeScope), milliseconds(p.NextRun)
	return func(r tidewaiter.Registry) bool { return slices.Contains(p.RegistryIDs, r.ID) }, err
}

// showManual fills in the settings of the last manual task, or those that it
// would have. Which images it was about is told by all or not all alone.
func (s *server) showManual(ctx context.Context, e tidewaiter.Extent, out *listImageScanPolicyOutput) (func(tidewaiter.Registry) bool, error) {
	t, err := s.scans.LastManual(ctx, e)
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		t, err = tidewaiter.ScanTask{Scope: tidewaiter.ScopeAll, All: true}, nil
	}
	out.Body.ScanScope, out.Body.RateLimit = policyScope(t.Scope), count32(t.RateLimit)
	return func(tidewaiter.Registry) bool { return t.All }, err
}

// CycleImageScanPolicyReqInfo is a policy.
type CycleImageScanPolicyReqInfo struct {
	Enabled   bool  `json:"enabled" doc:"Once it is true, the first scan begins at once, and the others follow at the same time of day."`
	ScanCycle int32 `json:"scan_cycle" enum:"3,7,14" doc:"Days."`
	ScanScope int32 `json:"scan_scope" minimum:"0" maximum:"2147483647" doc:"Bit mask of what to look for, as in CreateManualImageScanTask; 0, nothing, is refused where enabled is true."`
	RateLimit int32 `json:"rate_limit" minimum:"0" maximum:"1000" doc:"Images per hour; 0: no limit."`
	TimeScope int32 `json:"time_scope" enum:"0,1,3,7" doc:"Only images that were pushed in the last so many days; 0: all."`

	RegistryInfo []CycleImageScanPolicyReqInfoRegistryInfo `json:"registry_info" maxItems:"1000" nullable:"false" doc:"At least one where enabled is true."`
}

// CycleImageScanPolicyReqInfoRegistryInfo names a registry.
type CycleImageScanPolicyReqInfoRegistryInfo struct {
	RegistryID   string `json:"registry_id" minLength:"1" maxLength:"256"`
	RegistryName string `json:"registry_name" minLength:"1" maxLength:"256"`
	RegistryType string `json:"registry_type" enum:"SwrPrivate,SwrShared,SwrEnterprise,Harbor,Jfrog,Other"`
}

type modifyImageScanPolicyInput struct {
	InProject
	InRegion
	Body CycleImageScanPolicyReqInfo
}

func (s *server) modifyImageScanPolicy(ctx context.Context, in *modifyImageScanPolicyInput) (*empty, error) {
	enterpriseProject, err := s.enterpriseProject(ctx, "ModifyImageScanPolicy", in.InProject)
	if err != nil {
		return nil, err
	}
	b := in.Body
	p := tidewaiter.ScanPolicy{
		ProjectID: in.ProjectID, EnterpriseProjectID: enterpriseProject, Enabled: b.Enabled, CycleDays: int(b.ScanCycle),
		RateLimit: int(b.RateLimit), TimeScope: int(b.TimeScope), RegistryIDs: []string{},
	}
	if b.Enabled || b.ScanScope != 0 {
		if p.Scope, err = parseScope("scan_scope", &b.ScanScope); err != nil {
			return nil, err
		}
	}
	if b.Enabled && len(b.RegistryInfo) == 0 {
		return nil, tidewaiter.InvalidField("registry_info", "it is empty; name at least one registry, or set enabled to false")
	}
	if p.RegistryIDs, err = s.policyRegistries(ctx, tidewaiter.Extent{ProjectID: p.ProjectID, EnterpriseProjects: []string{enterpriseProject}}, b.RegistryInfo); err != nil {
		return nil, err
	}
	if err := s.scans.SetPolicy(ctx, p); err != nil {
		return nil, err
	}
	return &empty{}, nil
}

// policyRegistries checks that the registries are there, and are what the
// caller takes them for.
func (s *server) policyRegistries(ctx context.Context, e tidewaiter.Extent, list []CycleImageScanPolicyReqInfoRegistryInfo) ([]string, error) {
	registries, _, err := s.inventory.Registries(ctx, e, store.RegistryFilter{}, store.Page{Limit: maxRegistries})
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for i, info := range list {
		at := "registry_info[" + strconv.Itoa(i) + "]"
		n := slices.IndexFunc(registries, func(r tidewaiter.Registry) bool { return r.ID == info.RegistryID })
		switch {
		case n < 0:
			return nil, &tidewaiter.Error{Kind: tidewaiter.NotFound, Field: at + ".registry_id",
				Message: "there is no such registry in the enterprise project; see ListRegistry, and name the enterprise project with enterprise_project_id"}
		case registries[n].Name != info.RegistryName:
			return nil, tidewaiter.InvalidField(at+".registry_name", "the registry with this id has another name; see ListRegistry")
		case string(registries[n].Type) != info.RegistryType:
			return nil, tidewaiter.InvalidField(at+".registry_type", "the registry with this id is of another type; see ListRegistry")
		}
		if !slices.Contains(ids, info.RegistryID) {
			ids = append(ids, info.RegistryID)
		}
	}
	return ids, nil
}
