package hssapi

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/gateway"
)

func (s *server) registerScanStatistics() {
	gateway.Register(s.api, s.operation("ShowImagePayPerScanStatistics"), s.showImagePayPerScanStatistics)
}

// ImageTypeRiskInfo counts images by where they are.
type ImageTypeRiskInfo struct {
	Local    int32 `json:"local" doc:"On hosts, which this server does not look at: 0."`
	Registry int32 `json:"registriy" doc:"In registries."`
	Cicd     int32 `json:"cicd" doc:"Of pipelines, which this server does not look at: 0."`
}

type showImagePayPerScanStatisticsOutput struct {
	Body struct {
		RepositoryScanNum int32 `json:"repository_scan_num" doc:"Scans of registry images that succeeded, ever; an image that was known and had not changed counts too."`
		CicdScanNum       int32 `json:"cicd_scan_num" doc:"0: this server looks at no images of pipelines."`
		FreeQuotaNum      int32 `json:"free_quota_num" doc:"0: scans cost nothing, and are not limited."`
		AlreadyGiven      bool  `json:"already_given" doc:"false: there are no quotas."`
		ImageFreeQuota    int32 `json:"image_free_quota" doc:"0: there are no quotas."`

		HighRisk ImageTypeRiskInfo `json:"high_risk" doc:"Images whose severity_level is High."`
		HasRisk  ImageTypeRiskInfo `json:"has_risk" doc:"Images with a vulnerability, an unsafe setting or a malicious file."`
		Total    ImageTypeRiskInfo `json:"total" doc:"Images that are in the registries, as of their last synchronisation."`
		Unscan   ImageTypeRiskInfo `json:"unscan" doc:"Those of them that never were scanned."`
	}
}

func (s *server) showImagePayPerScanStatistics(ctx context.Context, in *InProject) (*showImagePayPerScanStatisticsOutput, error) {
	risks, scans, err := s.scans.Statistics(ctx, s.extent(ctx, "ShowImagePayPerScanStatistics", *in))
	if err != nil {
		return nil, err
	}
	out := &showImagePayPerScanStatisticsOutput{}
	b := &out.Body
	b.RepositoryScanNum = count32(scans)
	b.Total.Registry, b.HasRisk.Registry, b.HighRisk.Registry, b.Unscan.Registry = count32(risks.All), count32(risks.Risky), count32(risks.High), count32(risks.Unscanned)
	return out, nil
}
