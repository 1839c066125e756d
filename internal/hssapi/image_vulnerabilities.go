package hssapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerImageVulnerabilities() {
	gateway.Register(s.api, s.operation("ListImageVulnerabilities"), s.listImageVulnerabilities)
	op := s.operations["ListImageVulnerabilities"]
	for _, p := range s.api.OpenAPI().Paths[op.Path].Get.Parameters {
		if p.Name == "namespace" || p.Name == "image_name" || p.Name == "tag_name" {
			p.Required = true // by NamesImage
		}
	}
	gateway.Register(s.api, s.operation("ListVulAffectImageApps"), s.listVulAffectImageApps)
	gateway.Register(s.api, s.operation("ListVulAffectImageContainers"), s.listVulAffectImageContainers)
}

// ImageVulInfo is a vulnerability in a package of an image on the wire.
type ImageVulInfo struct {
	VulID           string `json:"vul_id" doc:"The CVE, or else the id in GitHub's database, or else that of the advisory."`
	RepairNecessity string `json:"repair_necessity" enum:"immediate_repair,delay_repair,not_needed_repair" doc:"immediate_repair: critical, high, or known to be exploited; delay_repair: medium, or judged by nobody yet; not_needed_repair: low, or none by the vendor's word."`
	Description     string `json:"description" doc:"What the advisory says in short; up to 1,000 characters."`
	Position        string `json:"position" doc:"Digest of the layer from which on the package is there, as in the registry."`
	AppName         string `json:"app_name" doc:"The package; not cut, as the fields below."`
	AppPath         string `json:"app_path" doc:"The file that says that the package is there; what is in an archive stands behind !/."`
	Version         string `json:"version"`
	Solution        string `json:"solution"`
	URL             string `json:"url" doc:"Where more is said: a fix, else an advisory."`

	// Beyond the contract.
	SeverityLevel string   `json:"severity_level" enum:"Critical,High,Medium,Low" doc:"Beyond the contract, as all that follows."`
	CvssScore     float32  `json:"cvss_score" doc:"0 if nobody gave one."`
	SeverityOf    string   `json:"severity_source" doc:"The advisory that the severity is from."`
	AdvisoryID    string   `json:"advisory_id" doc:"The advisory that has the last word."`
	Aliases       []string `json:"aliases" nullable:"false"`
	FixedVersion  string   `json:"fixed_version" doc:"The nearest version that does not have it, or empty."`
	Type          string   `json:"type" enum:"linux_vul,app_vul"`
	Reason        string   `json:"reason" enum:"range,version,unreadable range" doc:"Why the advisory is about the version."`
	FirstSeen     int64    `json:"first_seen" doc:"When it was first known in this image; milliseconds."`
	Cause         string   `json:"cause" enum:"content,advisories" doc:"What brought it: what the image held when it was first scanned, or advisories that came into force later."`
	BuildStep     string   `json:"build_step" doc:"The command that made the layer; empty if the image's history does not tell."`
	Threat
	HandledBy     string `json:"handled_by" doc:"Why it counts as handled: ignore, manual_repair, whitelist or vex; empty if it does not."`
	HandledRemark string `json:"handled_remark" doc:"What was said of that."`
	HandledReason string `json:"handled_justification" doc:"Of vex: the document's justification."`
	HandledSource string `json:"handled_source" doc:"Of vex: the document's id."`
	HandledUntil  int64  `json:"handled_until" doc:"When that ends by itself; milliseconds, 0 if it does not."`
}

// Threat is what is known of the use of a vulnerability on the wire.
type Threat struct {
	ExploitedTime int64   `json:"exploited_time" doc:"Since when it is in CISA's catalogue of exploited vulnerabilities; milliseconds, 0 if it is not."`
	Ransomware    bool    `json:"ransomware" doc:"It is known to be used by ransomware."`
	EPSS          float64 `json:"epss" doc:"How probable it is, from 0 to 1, that it is exploited within 30 days, by EPSS; 0 if there is no score."`
	Percentile    float64 `json:"epss_percentile" doc:"How many of all scores are no higher, from 0 to 1."`
}

func wireThreat(t tidewaiter.Threat) Threat {
	return Threat{milliseconds(t.Exploited), t.Ransomware, t.Probability, t.Percentile}
}

// NamesImage are parameters that have to be there, and may be empty: an image
// may have no namespace. What huma calls required is refused when it is empty.
type NamesImage struct {
	Namespace string `query:"namespace" minLength:"0" maxLength:"64" doc:"Empty fits everything, here and below."`
	ImageName string `query:"image_name" minLength:"0" maxLength:"128"`
	TagName   string `query:"tag_name" minLength:"0" maxLength:"64"`
}

// Resolve refuses a request without one of them.
func (NamesImage) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	given := u.Query()
	for _, name := range []string{"namespace", "image_name", "tag_name"} {
		if !given.Has(name) {
			return []error{&huma.ErrorDetail{Location: "query." + name, Message: "required query parameter is missing"}}
		}
	}
	return nil
}

type listImageVulnerabilitiesInput struct {
	InProject
	Page
	ImageID    string `path:"image_id" minLength:"0" maxLength:"128" doc:"As in ListRegistryImages: of an image, of an index, or of one of its platforms."`
	ImageType  string `query:"image_type" required:"true" enum:"private_image,shared_image,instance_image,cicd,harbor,jfrog,other" doc:"other is beyond the contract. This release has no images of CI/CD."`
	InstanceID string `query:"instance_id" minLength:"0" maxLength:"128" doc:"Accepted for compatibility; image_id suffices."`
	NamesImage
	RepairNecessity string `query:"repair_necessity" enum:"immediate_repair,delay_repair,not_needed_repair"`
	VulID           string `query:"vul_id" minLength:"0" maxLength:"128" doc:"Part of the id, in upper or lower case."`
	AppName         string `query:"app_name" minLength:"0" maxLength:"64" doc:"Part of the package's name, in upper or lower case."`
	Type            string `query:"type" enum:"linux_vul,app_vul"`
	HandleStatus    string `query:"handle_status" enum:"unhandled,handled" doc:"Without it: both."`
}

type listImageVulnerabilitiesOutput struct {
	Body struct {
		TotalNum int32          `json:"total_num"`
		DataList []ImageVulInfo `json:"data_list" nullable:"false" doc:"The worst first; each once for each version of a package that has it, and for each platform."`
		// Beyond the contract.
		AdvisorySet   string `json:"advisory_set" doc:"Beyond the contract: digest of the set of advisories by which this is so; empty if there is none."`
		EvaluatedTime int64  `json:"evaluated_time" doc:"Beyond the contract: since when that set is in force; milliseconds."`
		UnknownNum    int32  `json:"unknown_num" doc:"Beyond the contract: packages of which it is not known what they have, as there are no advisories about their ecosystem or release, or their version cannot be read."`
	}
}

func (s *server) listImageVulnerabilities(ctx context.Context, in *listImageVulnerabilitiesInput) (*listImageVulnerabilitiesOutput, error) {
	ref, err := imageReference(in.ImageType, in.ImageID, in.Namespace, in.ImageName, in.TagName)
	if err != nil {
		return nil, err
	}
	manifests, err := s.inventory.KnownImages(ctx, s.extent(ctx, "ListImageVulnerabilities", in.InProject), ref)
	if err != nil {
		return nil, err
	}
	found, total, err := s.findings.OfImage(ctx, manifests, store.FindingFilter{
		Kind: tidewaiter.VulnerabilityKind(in.Type), Name: in.VulID, Package: in.AppName, Necessity: necessityOf(in.RepairNecessity), Handled: handledOf(in.HandleStatus),
	}, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	risks, err := s.findings.Risks(ctx, manifests)
	if err != nil {
		return nil, err
	}
	out := &listImageVulnerabilitiesOutput{}
	out.Body.TotalNum = count32(total)
	if out.Body.AdvisorySet, out.Body.EvaluatedTime, err = s.evaluated(ctx); err != nil {
		return nil, err
	}
	for _, r := range risks {
		out.Body.UnknownNum += count32(r.Gaps)
	}
	out.Body.DataList, err = s.wireImageFindings(ctx, found)
	return out, err
}

// evaluated returns which set of advisories is in force, and since when.
func (s *server) evaluated(ctx context.Context) (digest string, since int64, err error) {
	state, err := s.findings.State(ctx)
	return string(state.Digest), milliseconds(state.Activated), err
}

func (s *server) wireImageFindings(ctx context.Context, found []store.ImageFinding) ([]ImageVulInfo, error) {
	ids, names := make([]string, 0, len(found)), make([]string, 0, len(found))
	for _, f := range found {
		ids, names = append(ids, f.Advisory), append(names, f.Name)
	}
	texts, err := s.findings.Advisories(ctx, ids)
	if err != nil {
		return nil, err
	}
	threats, err := s.findings.Threats(ctx, names)
	if err != nil {
		return nil, err
	}
	return wireAll(found, func(f store.ImageFinding) ImageVulInfo {
		a := texts[f.Advisory]
		w := ImageVulInfo{
			VulID: f.Name, RepairNecessity: string(store.NecessityOf(f.Severity, !f.Exploited.IsZero())), Description: describe(a), Position: string(f.Layer),
			AppName: f.Package.Name, AppPath: f.Path, Version: f.Package.Version, Solution: solution(f.Document.Name, f.PackageFinding), URL: link(a),
			SeverityLevel: vulnerabilityLevel(f.Severity), CvssScore: score(f.Score), SeverityOf: f.Document.Source, AdvisoryID: f.Advisory,
			Aliases: append([]string{}, f.Document.Aliases...), FixedVersion: f.Fixed, Type: string(f.Kind), Reason: string(f.Document.Reason), FirstSeen: milliseconds(f.FirstSeen),
			Cause: string(f.Cause), BuildStep: f.Step, Threat: wireThreat(threats[f.Name]),
		}
		if f.Handled != nil {
			w.HandledBy, w.HandledRemark, w.HandledReason = string(f.Handled.Action), f.Handled.Remark, f.Handled.Justification
			w.HandledSource, w.HandledUntil = f.Handled.Source, milliseconds(f.Handled.Expires)
		}
		return w
	}), nil
}

// globalImage names an image by its id alone. The types that this release has
// none of name none.
func globalImage(imageType, imageID string) (tidewaiter.ImageReference, error) {
	if imageType == "cluster" {
		imageType = "local"
	}
	return imageReference(imageType, imageID, "", "", "")
}

// VulAffectImageAppPathResponseInfo is where a package is on the wire.
type VulAffectImageAppPathResponseInfo struct {
	Status     string `json:"status" enum:"vul_status_unfix,vul_status_ignored" doc:"Whether somebody has handled it."`
	AppVersion string `json:"app_version"`
	AppPath    string `json:"app_path"`
}

// VulAffectImageAppsResponseInfo is a package that has a vulnerability on the wire.
type VulAffectImageAppsResponseInfo struct {
	AppName string                              `json:"app_name"`
	Paths   []VulAffectImageAppPathResponseInfo `json:"paths" nullable:"false"`
	Rule    string                              `json:"rule" doc:"Which versions the advisory is about: its range, or that it lists the version."`
}

type listVulAffectImageAppsInput struct {
	InProject
	Page
	ImageID   string `path:"image_id" doc:"As in ListRegistryImages."`
	IsHandled bool   `query:"is_handled" required:"true"`
	ImageType string `query:"image_type" required:"true" enum:"local,registry,cicd,cluster" doc:"This release has images of registries only."`
	VulID     string `query:"vul_id" required:"true" doc:"Exactly."`
}

type listVulAffectImageAppsOutput struct {
	Body struct {
		TotalNum int32                            `json:"total_num"`
		DataList []VulAffectImageAppsResponseInfo `json:"data_list" nullable:"false" doc:"By name."`
	}
}

func (s *server) listVulAffectImageApps(ctx context.Context, in *listVulAffectImageAppsInput) (*listVulAffectImageAppsOutput, error) {
	ref, err := globalImage(in.ImageType, in.ImageID)
	if err != nil {
		return nil, err
	}
	manifests, err := s.inventory.KnownImages(ctx, s.extent(ctx, "ListVulAffectImageApps", in.InProject), ref)
	if err != nil {
		return nil, err
	}
	found, _, err := s.findings.OfImage(ctx, manifests, store.FindingFilter{Is: in.VulID, Handled: &in.IsHandled}, store.Page{Limit: maxAffectedPackages})
	if err != nil {
		return nil, err
	}
	var apps []VulAffectImageAppsResponseInfo
	at := make(map[string]int)
	for _, f := range found {
		i, ok := at[f.Package.Name]
		if !ok {
			i = len(apps)
			at[f.Package.Name] = i
			apps = append(apps, VulAffectImageAppsResponseInfo{AppName: f.Package.Name, Rule: ruleOf(f.Document)})
		}
		status := "vul_status_unfix"
		if f.Handled != nil {
			status = "vul_status_ignored"
		}
		apps[i].Paths = append(apps[i].Paths, VulAffectImageAppPathResponseInfo{Status: status, AppVersion: f.Package.Version, AppPath: f.Path})
	}
	out := &listVulAffectImageAppsOutput{}
	out.Body.TotalNum = count32(len(apps))
	out.Body.DataList = append([]VulAffectImageAppsResponseInfo{}, between(apps, in.Page)...)
	return out, nil
}

// maxAffectedPackages bounds how many packages of an image have one vulnerability.
const maxAffectedPackages = 10_000

// ruleOf says in a line which versions an advisory is about.
func ruleOf(d store.FindingDocument) string {
	if d.Reason == tidewaiter.ByVersion {
		return "the advisory lists the version " + d.Version
	}
	text := d.Ecosystem + " " + d.Name
	for _, e := range d.Range {
		text += ", " + string(e.Kind) + " " + e.Version
	}
	return text
}

// VulAffectImageContainersResponseInfo is a container of an image on the wire.
type VulAffectImageContainersResponseInfo struct {
	ContainerName string `json:"container_name"`
	ContainerID   string `json:"container_id"`
	ClusterName   string `json:"cluster_name"`
	ClusterID     string `json:"cluster_id"`
	HostName      string `json:"host_name"`
	PublicIP      string `json:"public_ip"`
	PrivateIP     string `json:"private_ip"`
	PodName       string `json:"pod_name"`
	PodID         string `json:"pod_id"`
	Namespace     string `json:"namespace"`
}

type listVulAffectImageContainersInput struct {
	InProject
	Page
	ImageID      string `path:"image_id" doc:"As in ListRegistryImages."`
	ImageDigest  string `query:"image_digest" required:"true" doc:"Accepted for compatibility, as the three below; image_id suffices."`
	ImageName    string `query:"image_name" required:"true"`
	ImageVersion string `query:"image_version" required:"true"`
	AgentID      string `query:"agent_id" required:"true"`
}

type listVulAffectImageContainersOutput struct {
	Body struct {
		TotalNum int32                                  `json:"total_num"`
		DataList []VulAffectImageContainersResponseInfo `json:"data_list" nullable:"false" doc:"Empty: this release does not look at running containers."`
	}
}

func (s *server) listVulAffectImageContainers(ctx context.Context, in *listVulAffectImageContainersInput) (*listVulAffectImageContainersOutput, error) {
	ref, err := globalImage("registry", in.ImageID)
	if err != nil {
		return nil, err
	}
	if _, err := s.inventory.KnownImages(ctx, s.extent(ctx, "ListVulAffectImageContainers", in.InProject), ref); err != nil {
		return nil, err
	}
	out := &listVulAffectImageContainersOutput{}
	out.Body.DataList = []VulAffectImageContainersResponseInfo{}
	return out, nil
}
