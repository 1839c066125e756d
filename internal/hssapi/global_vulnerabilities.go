package hssapi

import (
	"context"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerGlobalVulnerabilities() {
	gateway.Register(s.api, s.operation("ListGlobalVulnerabilities"), s.listGlobalVulnerabilities)
	gateway.Register(s.api, s.operation("ListGeneralImageVuls"), s.listGeneralImageVuls)
	gateway.Register(s.api, s.operation("ListVulnerabilityCve"), s.listVulnerabilityCve)
	gateway.Register(s.api, s.operation("ListVulRepoImage"), s.listVulRepoImage)
}

// CveInfo is a CVE of a vulnerability on the wire.
type CveInfo struct {
	CveID       string  `json:"cve_id"`
	CvssScore   float32 `json:"cvss_score" doc:"0 if nobody gave one."`
	PublishTime int64   `json:"publish_time" doc:"Milliseconds; 0 if it is not known."`
	Description string  `json:"description"`
}

// cvesOf returns the CVEs that a vulnerability is known by: mostly one.
func cvesOf(name string, f store.PackageFinding) []string {
	if strings.HasPrefix(name, "CVE-") {
		return []string{name}
	}
	return slices.DeleteFunc(slices.Clone(f.Document.Aliases), func(id string) bool { return !strings.HasPrefix(id, "CVE-") })
}

// GlobalVulInfo is a vulnerability of some images on the wire.
type GlobalVulInfo struct {
	VulName         string    `json:"vul_name" doc:"As vul_id."`
	VulID           string    `json:"vul_id" doc:"The CVE, or else the id in GitHub's database, or else that of the advisory."`
	RepairNecessity string    `json:"repair_necessity" enum:"immediate_repair,delay_repair,not_needed_repair" doc:"As in ListImageVulnerabilities, by the worst package."`
	Description     string    `json:"decription"`
	Solution        string    `json:"solution" doc:"For the worst package."`
	URL             string    `json:"url"`
	HistoryNumber   int32     `json:"history_number" doc:"Images of one platform that ever had it."`
	UndealNumber    int32     `json:"undeal_number" doc:"Images of one platform that have it in a package where nobody has handled it."`
	DataList        []CveInfo `json:"data_list" nullable:"false"`
	Type            string    `json:"type" enum:"linux_vul,app_vul" doc:"Beyond the contract. A vulnerability of both is listed twice."`
	SeverityLevel   string    `json:"severity_level" enum:"Critical,High,Medium,Low" doc:"Beyond the contract."`
}

type listGlobalVulnerabilitiesInput struct {
	InProject
	InRegion
	Offset          int    `query:"offset" format:"int32" required:"true" minimum:"0" maximum:"2000000"`
	Limit           int    `query:"limit" format:"int32" required:"true" minimum:"10" maximum:"200" default:"10"`
	RepairNecessity string `query:"repair_necessity" enum:"immediate_repair,delay_repair,not_needed_repair"`
	VulID           string `query:"vul_id" minLength:"0" maxLength:"65535" doc:"Part of the id, in upper or lower case."`
	Type            string `query:"type" enum:"linux_vul,app_vul"`
}

type listGlobalVulnerabilitiesOutput struct {
	Body struct {
		TotalNum int32           `json:"total_num"`
		DataList []GlobalVulInfo `json:"data_list" nullable:"false" doc:"The worst first."`
	}
}

func (s *server) listGlobalVulnerabilities(ctx context.Context, in *listGlobalVulnerabilitiesInput) (*listGlobalVulnerabilitiesOutput, error) {
	list, reports, total, err := s.findings.Vulnerabilities(ctx, s.extent(ctx, "ListGlobalVulnerabilities", in.InProject), store.VulnerabilityFilter{
		Kind: tidewaiter.VulnerabilityKind(in.Type), Name: in.VulID, Necessity: necessityOf(in.RepairNecessity),
	}, store.Page{Offset: in.Offset, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	texts, err := s.textsOf(ctx, reports)
	if err != nil {
		return nil, err
	}
	out := &listGlobalVulnerabilitiesOutput{}
	out.Body.TotalNum = count32(total)
	out.Body.DataList = wireAll(list, func(v store.ListedVulnerability) GlobalVulInfo {
		f := reports[v.ID]
		a := texts[f.Advisory]
		w := GlobalVulInfo{
			VulName: v.Name, VulID: v.Name, RepairNecessity: string(store.NecessityOf(v.Severity, !v.Exploited.IsZero())), Description: describe(a),
			Solution: solution(f.Document.Name, f), URL: link(a), HistoryNumber: count32(v.Ever), UndealNumber: count32(v.Images),
			Type: string(v.Kind), SeverityLevel: vulnerabilityLevel(v.Severity), DataList: []CveInfo{},
		}
		for _, id := range cvesOf(v.Name, f) {
			w.DataList = append(w.DataList, CveInfo{CveID: id, CvssScore: score(v.Score), PublishTime: milliseconds(a.Published), Description: describe(a)})
		}
		return w
	})
	return out, nil
}

func (s *server) textsOf(ctx context.Context, reports map[int64]store.PackageFinding) (map[string]tidewaiter.Advisory, error) {
	ids := make([]string, 0, len(reports))
	for _, f := range reports {
		ids = append(ids, f.Advisory)
	}
	return s.findings.Advisories(ctx, ids)
}

// GeneralImageVulsResponseInfoCveList is a CVE with its score on the wire.
type GeneralImageVulsResponseInfoCveList struct {
	CveID string  `json:"cve_id"`
	Cvss  float32 `json:"cvss" doc:"0 if nobody gave one."`
}

// GeneralImageVulsResponseInfo is a vulnerability across images on the wire.
type GeneralImageVulsResponseInfo struct {
	VulName       string                                `json:"vul_name" doc:"As vul_id."`
	VulID         string                                `json:"vul_id"`
	Type          string                                `json:"type" enum:"linux_vul,app_vul"`
	ImageType     string                                `json:"image_type" enum:"local,registry,cicd,cluster"`
	LabelList     []string                              `json:"label_list" nullable:"false" doc:"exploited: it is known to be exploited; fix_available: a later version does not have it."`
	SeverityLevel string                                `json:"severity_level" enum:"Critical,High,Medium,Low" doc:"Medium also where nobody has judged it yet."`
	ImageNum      int32                                 `json:"image_num" doc:"Images of one platform that have it: with handle_status=handled those where somebody has handled all of it."`
	CveList       []GeneralImageVulsResponseInfoCveList `json:"cve_list" nullable:"false"`
	MaxCvssScore  float32                               `json:"max_cvss_score"`
	ScanTime      int64                                 `json:"scan_time" doc:"When it was first found in any image; milliseconds."`
	Description   string                                `json:"description"`
	URL           string                                `json:"url"`
	Solution      string                                `json:"solution_detail"`
	ClusterNum    int32                                 `json:"cluster_num" doc:"0: this release does not look at running containers."`
}

type listGeneralImageVulsInput struct {
	InProject
	Page
	Type          string   `query:"type" required:"true" enum:"linux_vul,app_vul"`
	HandleStatus  string   `query:"handle_status" required:"true" enum:"unhandled,handled"`
	ImageType     string   `query:"image_type" required:"true" enum:"local,registry,cicd,cluster" doc:"This release has images of registries only; the list of others is empty."`
	SeverityLevel string   `query:"severity_level" enum:"Critical,High,Medium,Low"`
	VulID         string   `query:"vul_id" minLength:"0" maxLength:"256" doc:"Part of the id, in upper or lower case."`
	VulName       string   `query:"vul_name" minLength:"0" maxLength:"256" doc:"As vul_id."`
	CveID         string   `query:"cve_id" minLength:"0" maxLength:"256" doc:"As vul_id."`
	LabelList     []string `query:"label_list,explode" minItems:"0" maxItems:"10" doc:"exploited."`
	Status        string   `query:"status" enum:"vul_status_unfix,vul_status_ignored" doc:"It has to go with handle_status."`
	ClusterID     string   `query:"cluster_id" minLength:"0" maxLength:"128" doc:"Of running containers, which this release does not look at: the list is empty."`
}

type listGeneralImageVulsOutput struct {
	Body struct {
		TotalNum int32                          `json:"total_num"`
		DataList []GeneralImageVulsResponseInfo `json:"data_list" nullable:"false" doc:"The worst first."`
	}
}

// longest returns the longest of the parts of a name that are asked for, if it
// has the others in it: all of them are about the same name.
func longest(parts ...string) (string, bool) {
	best := slices.MaxFunc(parts, func(a, b string) int { return len(a) - len(b) })
	for _, p := range parts {
		if !store.Contains(best, p) {
			return "", false
		}
	}
	return best, true
}

func (s *server) listGeneralImageVuls(ctx context.Context, in *listGeneralImageVulsInput) (*listGeneralImageVulsOutput, error) {
	out := &listGeneralImageVulsOutput{}
	out.Body.DataList = []GeneralImageVulsResponseInfo{}
	name, one := longest(in.VulID, in.VulName, in.CveID)
	if in.ImageType != "registry" || in.ClusterID != "" || !one ||
		in.Status == "vul_status_ignored" && in.HandleStatus == "unhandled" || in.Status == "vul_status_unfix" && in.HandleStatus == "handled" {
		return out, nil
	}
	f := store.VulnerabilityFilter{Kind: tidewaiter.VulnerabilityKind(in.Type), Name: name, Severities: ranksOf(in.SeverityLevel), Handled: handledOf(in.HandleStatus)}
	for _, l := range in.LabelList {
		if l != labelExploited {
			return nil, tidewaiter.InvalidField("label_list", "only %s can be asked for", labelExploited)
		}
		yes := true
		f.Exploited = &yes
	}
	list, reports, total, err := s.findings.Vulnerabilities(ctx, s.extent(ctx, "ListGeneralImageVuls", in.InProject), f, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	texts, err := s.textsOf(ctx, reports)
	if err != nil {
		return nil, err
	}
	out.Body.TotalNum = count32(total)
	out.Body.DataList = wireAll(list, func(v store.ListedVulnerability) GeneralImageVulsResponseInfo {
		report := reports[v.ID]
		a := texts[report.Advisory]
		w := GeneralImageVulsResponseInfo{
			VulName: v.Name, VulID: v.Name, Type: string(v.Kind), ImageType: "registry", LabelList: labelsOf(!v.Exploited.IsZero(), report.Status),
			SeverityLevel: vulnerabilityLevel(v.Severity), ImageNum: count32(v.Images), MaxCvssScore: score(v.Score), ScanTime: milliseconds(v.Created),
			Description: describe(a), URL: link(a), Solution: solution(report.Document.Name, report), CveList: []GeneralImageVulsResponseInfoCveList{},
		}
		if in.HandleStatus == "handled" {
			w.ImageNum = count32(v.Handled)
		}
		for _, id := range cvesOf(v.Name, report) {
			w.CveList = append(w.CveList, GeneralImageVulsResponseInfoCveList{CveID: id, Cvss: score(v.Score)})
		}
		return w
	})
	return out, nil
}

// ImageVulCveInfo is a CVE on the wire.
type ImageVulCveInfo struct {
	CveID       string  `json:"cve_id"`
	CvssScore   float32 `json:"cvss_score" doc:"0 if nobody gave one."`
	PublishTime int64   `json:"publish_time" doc:"Milliseconds; 0 if it is not known."`
	Description string  `json:"description"`
}

type listVulnerabilityCveInput struct {
	ProjectID           string `path:"project_id" minLength:"1" maxLength:"256" doc:"Project id."`
	VulID               string `path:"vul_id" doc:"As in ListGlobalVulnerabilities, exactly."`
	EnterpriseProjectID string `query:"enterprise_project_id" doc:"Id of an enterprise project, or all_granted_eps for all that the caller may see; without it the default one."`
	Offset              int    `query:"offset" format:"int32" minimum:"0"`
	Limit               int    `query:"limit" format:"int32" minimum:"0" doc:"Without it, 10."`
	InRegion
}

type listVulnerabilityCveOutput struct {
	Body struct {
		TotalNum int32             `json:"total_num"`
		DataList []ImageVulCveInfo `json:"data_list" nullable:"false"`
	}
}

func (s *server) listVulnerabilityCve(ctx context.Context, in *listVulnerabilityCveInput) (*listVulnerabilityCveOutput, error) {
	project := InProject{ProjectID: in.ProjectID, EnterpriseProjectID: in.EnterpriseProjectID}
	if project.EnterpriseProjectID == "" {
		project.EnterpriseProjectID = tidewaiter.DefaultEnterpriseProject
	}
	list, reports, _, err := s.findings.Vulnerabilities(ctx, s.extent(ctx, "ListVulnerabilityCve", project), store.VulnerabilityFilter{Is: in.VulID}, store.Page{Limit: 2})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, tidewaiter.Errorf(tidewaiter.NotFound, "no image has such a vulnerability; take vul_id from ListGlobalVulnerabilities")
	}
	texts, err := s.textsOf(ctx, reports)
	if err != nil {
		return nil, err
	}
	v := list[0]
	f := reports[v.ID]
	a := texts[f.Advisory]
	cves := wireAll(cvesOf(v.Name, f), func(id string) ImageVulCveInfo {
		return ImageVulCveInfo{CveID: id, CvssScore: score(v.Score), PublishTime: milliseconds(a.Published), Description: describe(a)}
	})
	page := Page{Offset: in.Offset, Limit: in.Limit}
	if page.Limit == 0 {
		page.Limit = 10
	}
	out := &listVulnerabilityCveOutput{}
	out.Body.TotalNum = count32(len(cves))
	out.Body.DataList = append([]ImageVulCveInfo{}, between(cves, page)...)
	return out, nil
}

// VulRepoImagesTagInfo is a tag that stands for an image with a vulnerability on
// the wire.
type VulRepoImagesTagInfo struct {
	TagID   string `json:"tag_id" doc:"image_id of what the tag stands for."`
	TagName string `json:"tag_name"`
	Size    int32  `json:"size" doc:"Bytes, up to 2,147,483,647."`
	AppName string `json:"app_name" doc:"A package that has it."`
}

// VulRepoImageInfo is a repository with such images on the wire.
type VulRepoImageInfo struct {
	Namespace string                 `json:"namespace"`
	ImageID   string                 `json:"image_id" doc:"Of the first of the tags."`
	ImageName string                 `json:"image_name"`
	AppName   string                 `json:"app_name" doc:"A package that has it."`
	Version   string                 `json:"version" doc:"Of that package."`
	TagCount  int32                  `json:"tag_count" doc:"How many tags have it."`
	ImageType string                 `json:"image_type" doc:"private_image, shared_image; instance_image, harbor, jfrog and other are beyond the contract."`
	DataList  []VulRepoImagesTagInfo `json:"data_list" nullable:"false"`
}

type listVulRepoImageInput struct {
	InProject
	InRegion
	Page
	VulID     string `path:"vul_id" minLength:"0" maxLength:"65535" doc:"As in ListGlobalVulnerabilities, exactly."`
	Namespace string `query:"namespace" minLength:"0" maxLength:"65535" doc:"Exactly."`
	ImageName string `query:"image_name" minLength:"0" maxLength:"65535" doc:"Part of the name, in upper or lower case."`
	ImageID   string `query:"image_id" minLength:"0" maxLength:"65535" doc:"As in ListRegistryImages."`
	AppName   string `query:"app_name" minLength:"0" maxLength:"65535" doc:"Part of the name of a package that has it."`
}

type listVulRepoImageOutput struct {
	Body struct {
		TotalNum int32              `json:"total_num" doc:"Repositories."`
		DataList []VulRepoImageInfo `json:"data_list" nullable:"false" doc:"By name."`
	}
}

func (s *server) listVulRepoImage(ctx context.Context, in *listVulRepoImageInput) (*listVulRepoImageOutput, error) {
	list, total, err := s.findings.Affected(ctx, s.extent(ctx, "ListVulRepoImage", in.InProject), in.VulID, store.AffectedFilter{
		Namespace: in.Namespace, Image: in.ImageName, ImageID: strings.TrimPrefix(in.ImageID, "sha256:"), Package: in.AppName,
	}, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	out := &listVulRepoImageOutput{}
	out.Body.TotalNum = count32(total)
	out.Body.DataList = wireAll(list, func(r store.AffectedRepository) VulRepoImageInfo {
		w := VulRepoImageInfo{
			Namespace: r.Namespace, ImageName: r.Name, AppName: r.App, Version: r.Version, TagCount: count32(len(r.Tags)), ImageType: r.RegistryType.ImageType(),
		}
		w.DataList = wireAll(r.Tags, func(t store.AffectedTag) VulRepoImagesTagInfo {
			return VulRepoImagesTagInfo{TagID: t.ImageID, TagName: t.Tag, Size: count32(int(t.Size)), AppName: t.App}
		})
		if len(r.Tags) > 0 {
			w.ImageID = r.Tags[0].ImageID
		}
		return w
	})
	return out, nil
}
