package hssapi

import (
	"cmp"
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerRegistryImages() {
	gateway.Register(s.api, s.operation("ListRegistryImages"), s.listRegistryImages)
	gateway.Register(s.api, s.operation("ShowImageAssetStatistics"), s.showImageAssetStatistics)
	gateway.Register(s.api, s.operation("ListSwrImageRepository"), s.listSwrImageRepository)
}

// RegistryImagesInfo is an image on the wire.
type RegistryImagesInfo struct {
	ID               int64  `json:"id"`
	Namespace        string `json:"namespace" doc:"The first part of the repository's name, or empty."`
	ImageName        string `json:"image_name" doc:"The rest of it."`
	ImageID          string `json:"image_id"`
	ImageDigest      string `json:"image_digest"`
	ImageVersion     string `json:"image_version"`
	ImageType        string `json:"image_type" enum:"private_image,shared_image,instance_image,harbor,jfrog,other" doc:"other is beyond the contract."`
	RegistryID       string `json:"registry_id"`
	RegistryName     string `json:"registry_name"`
	RegistryType     string `json:"registry_type" enum:"SwrPrivate,SwrShared,SwrEnterprise,Harbor,Jfrog,Other"`
	LatestVersion    bool   `json:"latest_version"`
	ScanStatus       string `json:"scan_status" enum:"unscan,success,scanning,failed,download_failed,image_oversized,waiting_for_scan"`
	ScanFailedDesc   string `json:"scan_failed_desc,omitempty" doc:"Why the last scan failed, or why the image cannot be scanned, in words: their first 128 characters."`
	ScanFailedCode   string `json:"scan_failed_code,omitempty"`
	ImageSize        int64  `json:"image_size" doc:"Bytes, compressed; of an index the sum over its images."`
	LatestUpdateTime int64  `json:"latest_update_time" doc:"Milliseconds: when the tag was last pushed, as far as is known."`
	LatestScanTime   int64  `json:"latest_scan_time" doc:"Milliseconds; 0 before the first scan."`
	LatestSyncTime   int64  `json:"latest_sync_time" doc:"Milliseconds."`
	VulNum           int32  `json:"vul_num"`
	UnsafeSettingNum int32  `json:"unsafe_setting_num"`
	MaliciousFileNum int32  `json:"malicious_file_num"`
	DomainName       string `json:"domain_name,omitempty" doc:"Owner, of a shared image."`
	SharedStatus     string `json:"shared_status,omitempty" enum:"expired,effective" doc:"Only of a shared image."`
	Scannable        bool   `json:"scannable"`
	IsMultipleArch   bool   `json:"is_multiple_arch"`
	InstanceName     string `json:"instance_name,omitempty"`
	InstanceID       string `json:"instance_id,omitempty"`
	InstanceURL      string `json:"instance_url,omitempty"`
	SeverityLevel    string `json:"severity_level,omitempty" enum:"Security,Low,Medium,High" doc:"Only once the image was scanned."`
	MissingSince     int64  `json:"missing_since,omitempty" doc:"Beyond the contract, milliseconds: the image is no longer in the registry, and will be removed from this list."`

	AssociationImages []AssociateImagesInfo `json:"association_images" nullable:"false"`
}

// AssociateImagesInfo is the image of one platform of a multi-architecture
// image.
type AssociateImagesInfo struct {
	ID               int64  `json:"id"`
	ImageID          string `json:"image_id"`
	ImageName        string `json:"image_name"`
	ImageVersion     string `json:"image_version"`
	ImageType        string `json:"image_type" enum:"private_image,shared_image,instance_image,harbor,jfrog,other"`
	Namespace        string `json:"namespace"`
	ImageDigest      string `json:"image_digest"`
	ScanStatus       string `json:"scan_status" enum:"unscan,success,scanning,failed,download_failed,image_oversized,waiting_for_scan" doc:"Of what is known of this platform: success, failed if it could not be looked into to its end, or unscan."`
	VulNum           int32  `json:"vul_num"`
	UnsafeSettingNum int32  `json:"unsafe_setting_num"`
	MaliciousFileNum int32  `json:"malicious_file_num"`
	Platform         string `json:"platform" doc:"Beyond the contract: such as linux/arm64."`
	ScanFailedDesc   string `json:"scan_failed_desc,omitempty" doc:"Beyond the contract: why the scan failed, or why the image cannot be scanned."`
}

// gone is the code of an image that is no longer in its registry.
const gone = "get_detail_info_not_found"

// failureText says what a code of the contract means, and what to do.
func failureText(code string) string {
	return map[string]string{
		"unknown_error":                           "unknown error",
		"authentication_failed":                   "the registry refused the credential; give the password again with UpdateRegistry",
		"download_failed":                         "the image could not be downloaded",
		"image_over_sized":                        "the image is too large to be scanned; make it smaller",
		gone:                                      "the image is no longer in the registry; push it again, or synchronise once more",
		"image_layer_over_sized":                  "the image has too many layers to be scanned; make it from fewer",
		"schema_v1_not_support":                   "the image has a manifest of schema 1, which cannot be scanned; push it again with a current docker",
		"access_swr_failed":                       "SWR could not be reached",
		"swr_authentication_error":                "SWR refused the access key; give it again",
		"failed_to_scan_vulnerability":            "the scan for vulnerabilities failed",
		"failed_to_scan_file":                     "the scan of the files failed",
		"failed_to_scan_software":                 "the scan of the software failed",
		"failed_to_check_sensitive_information":   "the search for sensitive information failed",
		"failed_to_check_baseline":                "the baseline check failed",
		"failed_to_check_software_compliance":     "the check of software compliance failed",
		"failed_to_query_basic_image_information": "the base image could not be found out",
		"failed_to_check_build_cmd":               "the check of the build commands failed",
		"response_timed_out":                      "the scan took too long",
		"database_error":                          "the result could not be stored",
		"failed_to_send_the_scan_request":         "the scan could not be started",
	}[code]
}

// schema1 is what package registry calls an image with a manifest of schema 1.
const schema1 = "schema 1 image"

// whyUnscanned returns the code and the text of an image that was not scanned,
// or cannot be; both "" for none.
func whyUnscanned(i tidewaiter.RegistryImage) (code, text string) {
	switch {
	case !i.Gone.IsZero():
		return gone, failureText(gone)
	case i.Scan.FailedCode != "" && i.ScanReason != "":
		return i.Scan.FailedCode, i.ScanReason
	case i.Scan.FailedCode != "":
		return i.Scan.FailedCode, failureText(i.Scan.FailedCode)
	case i.Kind == schema1:
		return "schema_v1_not_support", failureText("schema_v1_not_support")
	}
	return "", i.Reason
}

// sharedStatus returns the status of a shared image, "" of others.
func sharedStatus(i tidewaiter.RegistryImage) string {
	switch {
	case i.RegistryType != tidewaiter.RegistrySwrShared:
		return ""
	case !i.Gone.IsZero():
		return "expired"
	}
	return "effective"
}

// description cuts a text to the 128 characters that the contract has for the
// description of a failure.
func description(text string) string {
	const most = 128
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}

func wireImage(i tidewaiter.RegistryImage) RegistryImagesInfo {
	w := RegistryImagesInfo{
		ID: i.ID, Namespace: i.Namespace, ImageName: i.Name, ImageID: i.ImageID, ImageDigest: string(i.Digest), ImageVersion: i.Tag,
		ImageType: i.RegistryType.ImageType(), RegistryID: i.RegistryID, RegistryName: i.RegistryName, RegistryType: string(i.RegistryType),
		LatestVersion: i.Latest, ScanStatus: i.Scan.Status, ImageSize: i.Size,
		LatestUpdateTime: milliseconds(i.Updated), LatestScanTime: milliseconds(i.Scan.Scanned), LatestSyncTime: milliseconds(i.Synced),
		VulNum: count32(i.Scan.Vulnerabilities), UnsafeSettingNum: count32(i.Scan.UnsafeSettings), MaliciousFileNum: count32(i.Scan.MaliciousFiles),
		DomainName: i.Owner, SharedStatus: sharedStatus(i), Scannable: i.Scannable && i.Gone.IsZero(), IsMultipleArch: i.MultiArch,
		InstanceName: i.InstanceName, InstanceID: i.InstanceID, InstanceURL: i.InstanceURL,
		SeverityLevel: i.Scan.Severity, MissingSince: milliseconds(i.Gone),
	}
	w.ScanFailedCode, w.ScanFailedDesc = whyUnscanned(i)
	w.ScanFailedDesc = description(w.ScanFailedDesc)
	w.AssociationImages = wireAll(i.Platforms, func(p tidewaiter.PlatformImage) AssociateImagesInfo {
		return AssociateImagesInfo{
			ID: p.ManifestID, ImageID: p.ImageID, ImageName: i.Name, ImageVersion: i.Tag, ImageType: w.ImageType,
			Namespace: i.Namespace, ImageDigest: string(p.Digest), ScanStatus: p.ScanStatus,
			Platform: p.Platform.String(), ScanFailedDesc: description(cmp.Or(p.ScanReason, p.Reason)),
		}
	})
	return w
}

type listRegistryImagesInput struct {
	InProject
	Namespace             string          `query:"namespace" minLength:"1" maxLength:"128" doc:"First part of the repository's name; * stands for any characters."`
	ImageName             string          `query:"image_name" minLength:"1" maxLength:"128" doc:"Name; * stands for any characters."`
	ImageVersion          string          `query:"image_version" minLength:"1" maxLength:"64" doc:"Tag; * stands for any characters."`
	RegistryName          string          `query:"registry_name" minLength:"1" maxLength:"128" doc:"Name of the connection; * stands for any characters."`
	RegistryID            string          `query:"registry_id" minLength:"1" maxLength:"64" doc:"Beyond the contract: only the images of this registry."`
	Offset                int             `query:"offset" format:"int32" minimum:"0" maximum:"2000000" default:"0" doc:"How many to skip."`
	Limit                 int             `query:"limit" format:"int32" minimum:"1" maximum:"200" default:"10" doc:"How many to list."`
	ImageType             string          `query:"image_type" enum:"private_image,shared_image,instance_image,harbor,jfrog,other" doc:"other, the images of registries of type Other, is beyond the contract."`
	SortKey               string          `query:"sort_key" enum:"latest_scan_time" doc:"Without it, images stand by registry and repository, the oldest first."`
	SortDir               string          `query:"sort_dir" enum:"asc,desc" default:"asc"`
	LatestVersion         bool            `query:"latest_version" default:"false" doc:"Only the newest tag of each repository."`
	ImageSize             Optional[int64] `query:"image_size" minimum:"0" maximum:"2147483547" doc:"Exact size in bytes."`
	ScanStatus            string          `query:"scan_status" enum:"unscan,success,scanning,failed,waiting_for_scan"`
	StartLatestUpdateTime Optional[int64] `query:"start_latest_update_time" minimum:"0" maximum:"9223372036854775807" doc:"Milliseconds."`
	EndLatestUpdateTime   Optional[int64] `query:"end_latest_update_time" minimum:"0" maximum:"9223372036854775807" doc:"Milliseconds."`
	StartLatestScanTime   Optional[int64] `query:"start_latest_scan_time" minimum:"0" maximum:"9223372036854775807" doc:"Milliseconds."`
	EndLatestScanTime     Optional[int64] `query:"end_latest_scan_time" minimum:"0" maximum:"9223372036854775807" doc:"Milliseconds."`
	StartLatestSyncTime   Optional[int64] `query:"start_latest_sync_time" minimum:"0" maximum:"9223372036854775807" doc:"Milliseconds."`
	EndLatestSyncTime     Optional[int64] `query:"end_latest_sync_time" minimum:"0" maximum:"9223372036854775807" doc:"Milliseconds."`
	HasMaliciousFile      Optional[bool]  `query:"has_malicious_file"`
	HasUnsafeSetting      Optional[bool]  `query:"has_unsafe_setting"`
	HasVul                Optional[bool]  `query:"has_vul" doc:"false: only images that were scanned to their end, and of which it is known that they have none."`
	Risky                 Optional[bool]  `query:"risky" doc:"false: as has_vul."`
	InstanceID            string          `query:"instance_id" minLength:"0" maxLength:"128" doc:"Only images of SWR enterprise edition have one."`
	InstanceName          string          `query:"instance_name" minLength:"0" maxLength:"128" doc:"Only images of SWR enterprise edition have one."`
	IsMultarch            Optional[bool]  `query:"is_multarch" doc:"Images of several platforms."`
	SeverityLevel         string          `query:"severity_level" enum:"Security,Low,Medium,High"`
}

// filter returns what the parameters ask for.
func (in *listRegistryImagesInput) filter() (store.ImageFilter, error) {
	f := store.ImageFilter{
		Namespace: in.Namespace, Name: in.ImageName, Tag: in.ImageVersion, RegistryID: in.RegistryID, RegistryName: in.RegistryName,
		Types: typesOf(in.ImageType), WithGone: true, Latest: in.LatestVersion, Size: in.ImageSize.pointer(),
		HasMaliciousFile: in.HasMaliciousFile.pointer(), HasUnsafeSetting: in.HasUnsafeSetting.pointer(),
		Judged:           in.HasVul.Given && !in.HasVul.Value || in.Risky.Given && !in.Risky.Value,
		HasVulnerability: in.HasVul.pointer(), Risky: in.Risky.pointer(), MultiArch: in.IsMultarch.pointer(),
		InstanceID: in.InstanceID, InstanceName: in.InstanceName, Severity: in.SeverityLevel,
		SortByScanned: in.SortKey == "latest_scan_time", Descending: in.SortDir == "desc",
	}
	if in.ScanStatus != "" {
		f.ScanStatuses = []string{in.ScanStatus}
	}
	var err error
	if f.UpdatedFrom, f.UpdatedTo, err = timeRange(in.StartLatestUpdateTime, in.EndLatestUpdateTime, "start_latest_update_time", "end_latest_update_time"); err != nil {
		return f, err
	}
	if f.ScannedFrom, f.ScannedTo, err = timeRange(in.StartLatestScanTime, in.EndLatestScanTime, "start_latest_scan_time", "end_latest_scan_time"); err != nil {
		return f, err
	}
	f.SyncedFrom, f.SyncedTo, err = timeRange(in.StartLatestSyncTime, in.EndLatestSyncTime, "start_latest_sync_time", "end_latest_sync_time")
	return f, err
}

// typesOf returns the types of registry that hold images of a type, nil for all.
func typesOf(imageType string) []tidewaiter.RegistryType {
	for _, t := range tidewaiter.RegistryTypes() {
		if t.ImageType() == imageType {
			return []tidewaiter.RegistryType{t}
		}
	}
	return nil
}

type listRegistryImagesOutput struct {
	Body struct {
		TotalNum int32                `json:"total_num"`
		DataList []RegistryImagesInfo `json:"data_list" nullable:"false"`
	}
}

func (s *server) listRegistryImages(ctx context.Context, in *listRegistryImagesInput) (*listRegistryImagesOutput, error) {
	filter, err := in.filter()
	if err != nil {
		return nil, err
	}
	found, total, err := s.inventory.Images(ctx, s.extent(ctx, "ListRegistryImages", in.InProject), filter, store.Page{Offset: in.Offset, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := &listRegistryImagesOutput{}
	out.Body.TotalNum = count32(total)
	out.Body.DataList = wireAll(found, wireImage)
	return out, nil
}

type showImageAssetStatisticsOutput struct {
	Body struct {
		LocalNum    int32 `json:"local_num" doc:"Images on hosts; this release looks at none."`
		CicdNum     int32 `json:"cicd_num" doc:"Images of pipelines; this release looks at none."`
		RegistryNum int32 `json:"registry_num" doc:"Images that are in the registries, as of their last synchronisation."`
	}
}

func (s *server) showImageAssetStatistics(ctx context.Context, in *InProject) (*showImageAssetStatisticsOutput, error) {
	n, err := s.inventory.CountImages(ctx, s.extent(ctx, "ShowImageAssetStatistics", *in))
	if err != nil {
		return nil, err
	}
	out := &showImageAssetStatisticsOutput{}
	out.Body.RegistryNum = count32(n)
	return out, nil
}
