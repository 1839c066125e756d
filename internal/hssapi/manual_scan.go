package hssapi

import (
	"context"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerManualScans() {
	gateway.Register(s.api, s.operation("CreateManualImageScanTask"), s.createManualImageScanTask)
	gateway.Register(s.api, s.operation("StopImageScanTask"), s.stopImageScanTask)
	gateway.Register(s.api, s.operation("BatchScanSwrImage"), s.batchScanSwrImage)
}

// CreateManualImageScanTaskReqInfo says what to scan, and how.
type CreateManualImageScanTaskReqInfo struct {
	ScanScope *int32 `json:"scan_scope,omitempty" minimum:"0" maximum:"2147483647" doc:"Bit mask of what to look for: 0x7fffffff all, 0x000f0000 vulnerabilities, 0x0000f000 baseline, 0x00000f00 malicious files, 0x000000f0 sensitive information, 0x0000000f software compliance, or several of these added up. Without it: all. 0, nothing, is refused."`
	RateLimit int32  `json:"rate_limit,omitempty" minimum:"0" maximum:"1000" doc:"Images per hour; 0: no limit."`
	IsAll     bool   `json:"is_all,omitempty" doc:"Every image of the registries that the caller may see; else give query_info or image_info."`

	QueryInfo *CreateManualImageScanTaskReqInfoQueryInfo  `json:"query_info,omitempty" doc:"All images that fit, those that come while the task looks for them among them."`
	ImageInfo []CreateManualImageScanTaskReqInfoImageInfo `json:"image_info,omitempty" maxItems:"1000" doc:"These images. An entry may mean several, such as all tags of a digest; together they mean up to 10,000."`
}

// CreateManualImageScanTaskReqInfoImageInfo names an image by its id, its
// digest, its image id, or its name and version. What else is given narrows it.
type CreateManualImageScanTaskReqInfoImageInfo struct {
	ID           int64   `json:"id,omitempty" minimum:"0" doc:"As in ListRegistryImages."`
	ImageID      string  `json:"image_id,omitempty" maxLength:"256"`
	ImageDigest  string  `json:"image_digest,omitempty" maxLength:"256"`
	RegistryID   string  `json:"registry_id,omitempty" maxLength:"256"`
	RegistryName string  `json:"registry_name,omitempty" maxLength:"256"`
	ImageName    string  `json:"image_name,omitempty" maxLength:"256" doc:"Exact; with it give image_version."`
	ImageVersion string  `json:"image_version,omitempty" maxLength:"256"`
	Namespace    *string `json:"namespace,omitempty" maxLength:"256" doc:"Exact; an empty one is that of images that have none. Without it: any."`
	InstanceID   string  `json:"instance_id,omitempty" maxLength:"256"`
	InstanceURL  string  `json:"instance_url,omitempty" maxLength:"256"`
	RegistryType string  `json:"registry_type,omitempty" enum:"SwrPrivate,SwrShared,SwrEnterprise,Harbor,Jfrog,Other"`
}

func (i CreateManualImageScanTaskReqInfoImageInfo) ref() store.ImageRef {
	return store.ImageRef{
		ID: i.ID, Digest: i.ImageDigest, ImageID: strings.TrimPrefix(i.ImageID, "sha256:"), Namespace: i.Namespace, Name: i.ImageName, Tag: i.ImageVersion,
		RegistryID: i.RegistryID, RegistryName: i.RegistryName, RegistryType: tidewaiter.RegistryType(i.RegistryType),
		InstanceID: i.InstanceID, InstanceURL: i.InstanceURL,
	}
}

// CreateManualImageScanTaskReqInfoQueryInfo says which images fit.
type CreateManualImageScanTaskReqInfoQueryInfo struct {
	LocalImageType string `json:"local_image_type,omitempty" enum:"swr_image,other_image" doc:"Of local images, which this release does not look at: refused."`
	HostID         string `json:"host_id,omitempty" minLength:"0" maxLength:"128" doc:"Of local images: refused."`
	HostName       string `json:"host_name,omitempty" minLength:"0" maxLength:"128" doc:"Of local images: refused."`
	PublicIP       string `json:"public_ip,omitempty" minLength:"0" maxLength:"128" doc:"Of local images: refused."`
	PrivateIP      string `json:"private_ip,omitempty" minLength:"0" maxLength:"128" doc:"Of local images: refused."`
	ClusterID      string `json:"cluster_id,omitempty" minLength:"0" maxLength:"128" doc:"Of local images: refused."`
	ContainerID    string `json:"container_id,omitempty" minLength:"0" maxLength:"128" doc:"Of local images: refused."`
	ContainerName  string `json:"container_name,omitempty" minLength:"0" maxLength:"128" doc:"Of local images: refused."`
	PodID          string `json:"pod_id,omitempty" minLength:"0" maxLength:"64" doc:"Of local images: refused."`
	PodName        string `json:"pod_name,omitempty" minLength:"0" maxLength:"512" doc:"Of local images: refused."`
	AppName        string `json:"app_name,omitempty" minLength:"0" maxLength:"256" doc:"Name of a package that the image holds, as of its last scan; * stands for any characters."`
	HasVul         *bool  `json:"has_vul,omitempty"`
	Namespace      string `json:"namespace,omitempty" minLength:"0" maxLength:"256" doc:"* stands for any characters."`
	ImageName      string `json:"image_name,omitempty" minLength:"0" maxLength:"256" doc:"* stands for any characters."`
	ImageVersion   string `json:"image_version,omitempty" minLength:"0" maxLength:"256" doc:"* stands for any characters."`
	ImageType      string `json:"image_type,omitempty" enum:"private_image,shared_image,instance_image,harbor,jfrog,other" doc:"other is beyond the contract."`
	ScanStatus     string `json:"scan_status,omitempty" enum:"unscan,success,scanning,failed,download_failed,image_oversized"`

	ImageSize             *int64 `json:"image_size,omitempty" minimum:"0" maximum:"9223372036854775807" doc:"Exact size in bytes."`
	StartLatestUpdateTime *int64 `json:"start_latest_update_time,omitempty" minimum:"0" maximum:"9223372036854775807" doc:"Milliseconds."`
	EndLatestUpdateTime   *int64 `json:"end_latest_update_time,omitempty" minimum:"0" maximum:"9223372036854775807" doc:"Milliseconds."`
	StartLatestScanTime   *int64 `json:"start_latest_scan_time,omitempty" minimum:"0" maximum:"9223372036854775807" doc:"Milliseconds."`
	EndLatestScanTime     *int64 `json:"end_latest_scan_time,omitempty" minimum:"0" maximum:"9223372036854775807" doc:"Milliseconds."`
}

// refuseForeign refuses what registry images do not have. A filter that is left
// out without a word would scan too much.
func (q *CreateManualImageScanTaskReqInfoQueryInfo) refuseForeign() error {
	for _, f := range []struct{ name, value string }{
		{"local_image_type", q.LocalImageType}, {"host_id", q.HostID}, {"host_name", q.HostName}, {"public_ip", q.PublicIP},
		{"private_ip", q.PrivateIP}, {"cluster_id", q.ClusterID}, {"container_id", q.ContainerID}, {"container_name", q.ContainerName},
		{"pod_id", q.PodID}, {"pod_name", q.PodName},
	} {
		if f.value != "" {
			return tidewaiter.InvalidField("query_info."+f.name, "it is about images on hosts, which this server does not scan; leave it out")
		}
	}
	return nil
}

func (q *CreateManualImageScanTaskReqInfoQueryInfo) filter() (store.ImageFilter, error) {
	f := store.ImageFilter{
		Namespace: q.Namespace, Name: q.ImageName, Tag: q.ImageVersion, Types: typesOf(q.ImageType), Size: q.ImageSize, HasVulnerability: q.HasVul, Software: q.AppName,
	}
	f.ScanStatuses, f.FailedCodes = statusesOf(q.ScanStatus)
	err := setTimes(&f, q.StartLatestUpdateTime, q.EndLatestUpdateTime, q.StartLatestScanTime, q.EndLatestScanTime, "query_info.")
	return f, err
}

// statusesOf returns what a status of the contract's older lists stands for.
func statusesOf(status string) (statuses, codes []string) {
	switch status {
	case "":
		return nil, nil
	case tidewaiter.FailDownload:
		return []string{tidewaiter.ScanFailed}, []string{tidewaiter.FailDownload}
	case "image_oversized":
		return []string{tidewaiter.ScanFailed}, []string{tidewaiter.FailImageSize, tidewaiter.FailLayers}
	}
	return []string{status}, nil
}

// setTimes puts two ranges of time into a filter.
func setTimes(f *store.ImageFilter, startUpdate, endUpdate, startScan, endScan *int64, prefix string) (err error) {
	given := func(n *int64) Optional[int64] {
		if n == nil {
			return Optional[int64]{}
		}
		return Optional[int64]{Value: *n, Given: true}
	}
	f.UpdatedFrom, f.UpdatedTo, err = timeRange(given(startUpdate), given(endUpdate), prefix+"start_latest_update_time", prefix+"end_latest_update_time")
	if err != nil {
		return err
	}
	f.ScannedFrom, f.ScannedTo, err = timeRange(given(startScan), given(endScan), prefix+"start_latest_scan_time", prefix+"end_latest_scan_time")
	return err
}

// parseScope checks what to look for, and returns it in its one form.
func parseScope(field string, mask *int32) (int, error) {
	const groups = tidewaiter.ScopeVulnerabilities | tidewaiter.ScopeBaseline | tidewaiter.ScopeMalware | tidewaiter.ScopeSecrets | tidewaiter.ScopeCompliance
	if mask == nil || *mask == tidewaiter.ScopeAll || *mask == groups {
		return tidewaiter.ScopeAll, nil
	}
	if *mask == 0 {
		return 0, tidewaiter.InvalidField(field, "0 is a scan that looks for nothing; leave it out to look for all, or say what to look for")
	}
	scope := int(*mask)
	for group := tidewaiter.ScopeCompliance; group <= tidewaiter.ScopeVulnerabilities; group <<= 4 {
		if scope&group == group {
			scope &^= group
		}
	}
	if scope != 0 {
		return 0, tidewaiter.InvalidField(field, "it is no mask of the contract: add up some of 0x000f0000 (983040), 0x0000f000 (61440), 0x00000f00 (3840), 0x000000f0 (240) and 0x0000000f (15), or give 0x7fffffff (2147483647) for all")
	}
	return int(*mask), nil
}

type createManualImageScanTaskInput struct {
	InProject
	InRegion
	GlobalImageType string `query:"global_image_type" enum:"local,registry" default:"registry" doc:"This server scans images of registries: local is refused."`
	Body            *CreateManualImageScanTaskReqInfo
}

func (s *server) createManualImageScanTask(ctx context.Context, in *createManualImageScanTaskInput) (*empty, error) {
	if in.GlobalImageType == "local" {
		return nil, tidewaiter.InvalidField("global_image_type", "this server does not scan images on hosts; leave it out, or give registry")
	}
	b := in.Body
	if b == nil {
		b = &CreateManualImageScanTaskReqInfo{}
	}
	scope, err := parseScope("scan_scope", b.ScanScope)
	if err != nil {
		return nil, err
	}
	extent := s.extent(ctx, "CreateManualImageScanTask", in.InProject)
	selection, err := s.manualSelection(ctx, extent, b)
	if err != nil {
		return nil, err
	}
	return s.createScan(ctx, extent, scan.Wish{Scope: scope, RateLimit: int(b.RateLimit), All: b.IsAll, Selection: selection})
}

// createScan makes the manual task of a wish.
func (s *server) createScan(ctx context.Context, extent tidewaiter.Extent, w scan.Wish) (*empty, error) {
	w.Kind = tidewaiter.ManualScan
	w.EnterpriseProjectID = taskProject(extent)
	task, err := s.scans.Create(ctx, extent, w)
	if err != nil {
		return nil, err
	}
	return &empty{Body: Changed{TaskID: task.ID}}, nil
}

// manualSelection checks that the body selects in one of its three ways, and
// returns what it selects.
func (s *server) manualSelection(ctx context.Context, extent tidewaiter.Extent, b *CreateManualImageScanTaskReqInfo) (store.Selection, error) {
	ways := 0
	for _, given := range []bool{b.IsAll, b.QueryInfo != nil, len(b.ImageInfo) > 0} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		return store.Selection{}, tidewaiter.InvalidField("image_info", "nothing says which images are meant; give one of is_all (true), query_info and image_info")
	case ways > 1:
		return store.Selection{}, tidewaiter.InvalidField("image_info", "give only one of is_all (true), query_info and image_info")
	case b.IsAll:
		return store.Selection{}, nil
	case b.QueryInfo == nil:
		refs := make([]store.ImageRef, 0, len(b.ImageInfo))
		for _, i := range b.ImageInfo {
			refs = append(refs, i.ref())
		}
		return s.lookUp(ctx, extent, "image_info", refs)
	case *b.QueryInfo == CreateManualImageScanTaskReqInfoQueryInfo{}:
		return store.Selection{}, tidewaiter.InvalidField("query_info", "it is empty; say which images fit, or set is_all to true")
	}
	if err := b.QueryInfo.refuseForeign(); err != nil {
		return store.Selection{}, err
	}
	filter, err := b.QueryInfo.filter()
	return store.Selection{Filter: filter}, err
}

// lookUp selects the images that the entries of a field mean. Its errors say
// which of them is wrong.
func (s *server) lookUp(ctx context.Context, extent tidewaiter.Extent, field string, refs []store.ImageRef) (store.Selection, error) {
	at := func(i int) string { return field + "[" + strconv.Itoa(i) + "]" }
	for i, r := range refs {
		if !r.Names() {
			return store.Selection{}, tidewaiter.InvalidField(at(i), "it names no image; give id, image_digest, image_id, or image_name and image_version")
		}
	}
	found, err := s.scans.LookUp(ctx, extent, refs)
	if tidewaiter.KindOf(err) == tidewaiter.TooLarge {
		return store.Selection{}, tidewaiter.InvalidField(field, "its entries mean too many images; name the registries too, or use query_info")
	}
	if err != nil {
		return store.Selection{}, err
	}
	selection := store.Selection{IDs: []int64{}}
	for i, ids := range found {
		if len(ids) == 0 {
			return store.Selection{}, &tidewaiter.Error{Kind: tidewaiter.NotFound, Field: at(i), Message: "there is no such image; look at ListRegistryImages, or synchronise the registry first"}
		}
		selection.IDs = append(selection.IDs, ids...)
	}
	return selection, nil
}

type stopImageScanTaskInput struct {
	InProject
	InRegion
	TaskID string `path:"task_id" minLength:"1" maxLength:"256" doc:"Task id."`
}

func (s *server) stopImageScanTask(ctx context.Context, in *stopImageScanTaskInput) (*empty, error) {
	if err := s.scans.Stop(ctx, s.extent(ctx, "StopImageScanTask", in.InProject), in.TaskID); err != nil {
		return nil, err
	}
	return &empty{}, nil
}

// BatchScanPrivateImageRequestInfo says which images of SWR to scan.
type BatchScanPrivateImageRequestInfo struct {
	RepoType      string                  `json:"repo_type,omitempty" maxLength:"256" doc:"Accepted for compatibility; image_type decides."`
	ImageInfoList []BatchScanSwrImageInfo `json:"image_info_list,omitempty" maxItems:"1000" doc:"These images, where operate_all is false."`
	OperateAll    bool                    `json:"operate_all,omitempty" doc:"All images that fit the other fields."`
	Namespace     string                  `json:"namespace,omitempty" maxLength:"256" doc:"* stands for any characters."`
	ImageName     string                  `json:"image_name,omitempty" maxLength:"256" doc:"* stands for any characters."`
	ImageVersion  string                  `json:"image_version,omitempty" maxLength:"256" doc:"* stands for any characters."`
	ImageType     string                  `json:"image_type" enum:"private_image,shared_image,instance_image"`
	ScanStatus    string                  `json:"scan_status,omitempty" enum:"unscan,success,scanning,failed,download_failed,image_oversized"`
	LatestVersion bool                    `json:"latest_version,omitempty" doc:"Only the newest tag of each repository."`

	ImageSize             *int64 `json:"image_size,omitempty" minimum:"0" doc:"Exact size in bytes."`
	StartLatestUpdateTime *int64 `json:"start_latest_update_time,omitempty" minimum:"0" doc:"Milliseconds."`
	EndLatestUpdateTime   *int64 `json:"end_latest_update_time,omitempty" minimum:"0" doc:"Milliseconds."`
	StartLatestScanTime   *int64 `json:"start_latest_scan_time,omitempty" minimum:"0" doc:"Milliseconds."`
	EndLatestScanTime     *int64 `json:"end_latest_scan_time,omitempty" minimum:"0" doc:"Milliseconds."`
}

// BatchScanSwrImageInfo names an image of SWR.
type BatchScanSwrImageInfo struct {
	Namespace    *string `json:"namespace,omitempty" maxLength:"256" doc:"Exact. Without it: any."`
	ImageName    string  `json:"image_name,omitempty" maxLength:"256" doc:"Exact."`
	ImageVersion string  `json:"image_version,omitempty" maxLength:"256" doc:"Exact."`
	InstanceID   string  `json:"instance_id,omitempty" maxLength:"256"`
	InstanceURL  string  `json:"instance_url,omitempty" maxLength:"256"`
}

type batchScanSwrImageInput struct {
	ProjectID           string `path:"project_id" minLength:"1" maxLength:"256" doc:"Project id."`
	EnterpriseProjectID string `query:"enterprise_project_id" default:"0" doc:"Id of an enterprise project, or all_granted_eps for all that the caller may see."`
	Region              string `header:"region" doc:"Accepted for compatibility; the answer does not depend on it."`
	Body                BatchScanPrivateImageRequestInfo
}

func (s *server) batchScanSwrImage(ctx context.Context, in *batchScanSwrImageInput) (*empty, error) {
	const field = "image_info_list"
	b := &in.Body
	extent := s.extent(ctx, "BatchScanSwrImage", InProject{ProjectID: in.ProjectID, EnterpriseProjectID: in.EnterpriseProjectID})
	types := typesOf(b.ImageType)
	if b.OperateAll == (len(b.ImageInfoList) > 0) {
		return nil, tidewaiter.InvalidField(field, "give either %s or operate_all (true)", field)
	}
	wish := scan.Wish{Scope: tidewaiter.ScopeAll}
	var err error
	if b.OperateAll {
		f := store.ImageFilter{
			Namespace: b.Namespace, Name: b.ImageName, Tag: b.ImageVersion, Types: types, Latest: b.LatestVersion, Size: b.ImageSize,
		}
		f.ScanStatuses, f.FailedCodes = statusesOf(b.ScanStatus)
		err = setTimes(&f, b.StartLatestUpdateTime, b.EndLatestUpdateTime, b.StartLatestScanTime, b.EndLatestScanTime, "")
		wish.Selection = store.Selection{Filter: f}
	} else {
		refs := make([]store.ImageRef, 0, len(b.ImageInfoList))
		for _, i := range b.ImageInfoList {
			refs = append(refs, store.ImageRef{
				Namespace: i.Namespace, Name: i.ImageName, Tag: i.ImageVersion, RegistryType: types[0], InstanceID: i.InstanceID, InstanceURL: i.InstanceURL,
			})
		}
		wish.Selection, err = s.lookUp(ctx, extent, field, refs)
	}
	if err != nil {
		return nil, err
	}
	return s.createScan(ctx, extent, wish)
}
