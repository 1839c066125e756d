package hssapi

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// PrivateImageRepositoryInfo is an image of SWR on the wire, in the older form.
type PrivateImageRepositoryInfo struct {
	ID               int64  `json:"id"`
	Namespace        string `json:"namespace"`
	ImageName        string `json:"image_name"`
	ImageID          string `json:"image_id"`
	ImageDigest      string `json:"image_digest"`
	ImageVersion     string `json:"image_version"`
	ImageType        string `json:"image_type" enum:"private_image,shared_image,instance_image"`
	LatestVersion    bool   `json:"latest_version"`
	ScanStatus       string `json:"scan_status" enum:"unscan,success,scanning,failed,download_failed,image_oversized,waiting_for_scan"`
	ScanFailedDesc   string `json:"scan_failed_desc,omitempty" doc:"A code, as in scan_failed_code of ListRegistryImages."`
	ImageSize        int64  `json:"image_size" doc:"Bytes, compressed."`
	LatestUpdateTime int64  `json:"latest_update_time" doc:"Milliseconds."`
	LatestScanTime   int64  `json:"latest_scan_time" doc:"Milliseconds; 0 before the first scan."`
	VulNum           int32  `json:"vul_num"`
	UnsafeSettingNum int32  `json:"unsafe_setting_num"`
	MaliciousFileNum int32  `json:"malicious_file_num"`
	DomainName       string `json:"domain_name,omitempty" doc:"Owner, of a shared image."`
	SharedStatus     string `json:"shared_status,omitempty" enum:"expired,effective"`
	Scannable        bool   `json:"scannable"`
	InstanceName     string `json:"instance_name,omitempty"`
	InstanceID       string `json:"instance_id,omitempty"`
	InstanceURL      string `json:"instance_url,omitempty"`

	AssociationImages []AssociateImages `json:"association_images" nullable:"false"`
}

// AssociateImages is the image of one platform, in the older form.
type AssociateImages struct {
	ImageName    string `json:"image_name"`
	ImageVersion string `json:"image_version"`
	ImageType    string `json:"image_type"`
	Namespace    string `json:"namespace"`
	ImageDigest  string `json:"image_digest"`
	ScanStatus   string `json:"scan_status" enum:"unscan,success,scanning,failed,download_failed,image_oversized,waiting_for_scan"`
}

func wireSwrImage(i tidewaiter.RegistryImage) PrivateImageRepositoryInfo {
	n := wireImage(i)
	w := PrivateImageRepositoryInfo{
		ID: n.ID, Namespace: n.Namespace, ImageName: n.ImageName, ImageID: n.ImageID, ImageDigest: n.ImageDigest,
		ImageVersion: n.ImageVersion, ImageType: n.ImageType, LatestVersion: n.LatestVersion, ScanStatus: n.ScanStatus,
		ScanFailedDesc: n.ScanFailedCode, ImageSize: n.ImageSize, LatestUpdateTime: n.LatestUpdateTime, LatestScanTime: n.LatestScanTime,
		VulNum: n.VulNum, UnsafeSettingNum: n.UnsafeSettingNum, MaliciousFileNum: n.MaliciousFileNum,
		DomainName: n.DomainName, SharedStatus: n.SharedStatus, Scannable: n.Scannable,
		InstanceName: n.InstanceName, InstanceID: n.InstanceID, InstanceURL: n.InstanceURL,
	}
	w.AssociationImages = wireAll(n.AssociationImages, func(a AssociateImagesInfo) AssociateImages {
		return AssociateImages{
			ImageName: a.ImageName, ImageVersion: a.ImageVersion, ImageType: a.ImageType,
			Namespace: a.Namespace, ImageDigest: a.ImageDigest, ScanStatus: a.ScanStatus,
		}
	})
	return w
}

// listSwrImageRepositoryInput has no ranges in the contract, but for the enums:
// those of the page are this server's own.
type listSwrImageRepositoryInput struct {
	ProjectID             string          `path:"project_id" minLength:"1" maxLength:"256" doc:"Project id."`
	EnterpriseProjectID   string          `query:"enterprise_project_id" default:"0" doc:"Id of an enterprise project, or all_granted_eps for all that the caller may see."`
	Namespace             string          `query:"namespace"`
	ImageName             string          `query:"image_name"`
	ImageVersion          string          `query:"image_version"`
	LatestVersion         bool            `query:"latest_version"`
	Offset                int             `query:"offset" format:"int32" minimum:"0" maximum:"2000000" default:"0"`
	Limit                 int             `query:"limit" format:"int32" minimum:"1" maximum:"200" default:"10"`
	ImageType             string          `query:"image_type" required:"true" enum:"private_image,shared_image,local_image,instance_image"`
	ScanStatus            string          `query:"scan_status" enum:"unscan,success,scanning,failed,waiting_for_scan"`
	InstanceName          string          `query:"instance_name"`
	ImageSize             Optional[int64] `query:"image_size" minimum:"0" doc:"Exact size in bytes."`
	StartLatestUpdateTime Optional[int64] `query:"start_latest_update_time" minimum:"0" doc:"Milliseconds."`
	EndLatestUpdateTime   Optional[int64] `query:"end_latest_update_time" minimum:"0" doc:"Milliseconds."`
	StartLatestScanTime   Optional[int64] `query:"start_latest_scan_time" minimum:"0" doc:"Milliseconds."`
	EndLatestScanTime     Optional[int64] `query:"end_latest_scan_time" minimum:"0" doc:"Milliseconds."`
	HasMaliciousFile      Optional[bool]  `query:"has_malicious_file"`
	HasUnsafeSetting      Optional[bool]  `query:"has_unsafe_setting"`
	HasVul                Optional[bool]  `query:"has_vul"`
	InstanceID            string          `query:"instance_id"`
	Region                string          `header:"region" doc:"Accepted for compatibility; the answer does not depend on it."`
}

type listSwrImageRepositoryOutput struct {
	Body struct {
		TotalNum int32                        `json:"total_num"`
		DataList []PrivateImageRepositoryInfo `json:"data_list" nullable:"false"`
	}
}

func (s *server) listSwrImageRepository(ctx context.Context, in *listSwrImageRepositoryInput) (*listSwrImageRepositoryOutput, error) {
	newer := listRegistryImagesInput{
		Namespace: in.Namespace, ImageName: in.ImageName, ImageVersion: in.ImageVersion, LatestVersion: in.LatestVersion,
		ImageType: in.ImageType, ScanStatus: in.ScanStatus, InstanceName: in.InstanceName, InstanceID: in.InstanceID, ImageSize: in.ImageSize,
		StartLatestUpdateTime: in.StartLatestUpdateTime, EndLatestUpdateTime: in.EndLatestUpdateTime,
		StartLatestScanTime: in.StartLatestScanTime, EndLatestScanTime: in.EndLatestScanTime,
		HasMaliciousFile: in.HasMaliciousFile, HasUnsafeSetting: in.HasUnsafeSetting, HasVul: in.HasVul,
	}
	filter, err := newer.filter()
	if err != nil {
		return nil, err
	}
	out := &listSwrImageRepositoryOutput{}
	out.Body.DataList = []PrivateImageRepositoryInfo{}
	if in.ImageType == "local_image" { // those of hosts, which this release does not look at
		return out, nil
	}
	project := InProject{ProjectID: in.ProjectID, EnterpriseProjectID: in.EnterpriseProjectID}
	found, total, err := s.inventory.Images(ctx, s.extent(ctx, "ListSwrImageRepository", project), filter, store.Page{Offset: in.Offset, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out.Body.TotalNum = count32(total)
	out.Body.DataList = wireAll(found, wireSwrImage)
	return out, nil
}
