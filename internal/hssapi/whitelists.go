package hssapi

import (
	"context"
	"strings"
	"unicode"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerWhitelists() {
	gateway.Register(s.api, s.operation("AddImageWhiteLists"), s.addImageWhiteLists)
	gateway.Register(s.api, s.operation("ListImageWhiteLists"), s.listImageWhiteLists)
	gateway.Register(s.api, s.operation("ShowImageWhiteListDetail"), s.showImageWhiteListDetail)
	gateway.Register(s.api, s.operation("ChangeImageWhiteList"), s.changeImageWhiteList)
	gateway.Register(s.api, s.operation("DeleteImageWhiteLists"), s.deleteImageWhiteLists)
}

// OfWhitelists are the parameters that all operations on whitelists have.
type OfWhitelists struct {
	GlobalImageType string `query:"global_image_type" required:"true" enum:"local,registry" doc:"This release has images of registries only: local is refused, and the list of local ones is empty."`
	Type            string `query:"type" required:"true" enum:"vulnerability"`
}

func (w OfWhitelists) check() error {
	if w.GlobalImageType == "local" {
		return tidewaiter.InvalidField("global_image_type", "this release has images of registries only; give registry")
	}
	return nil
}

// AddImageWhiteListsRequestBodyQueryInfo chooses images by their type.
type AddImageWhiteListsRequestBodyQueryInfo struct {
	ImageType string `json:"image_type,omitempty" doc:"private_image, shared_image, instance_image, harbor, jfrog, other (beyond the contract), or several of these, separated by commas."`
}

// AddImageWhiteListsRequestBodyImageInfo chooses an image.
type AddImageWhiteListsRequestBodyImageInfo struct {
	ID        int64  `json:"id,omitempty" minimum:"1" maximum:"9223372036854775807" doc:"id of ListRegistryImages: the tag, whatever it stands for at the time."`
	ImageID   string `json:"image_id,omitempty" minLength:"0" maxLength:"64" doc:"image_id of ListRegistryImages: the content, whatever tags stand for it."`
	ImageName string `json:"image_name,omitempty" minLength:"1" maxLength:"256" doc:"If it is given, it has to be the image's."`
	ImageType string `json:"image_type,omitempty" enum:"local_image,private_image,shared_image,instance_image,harbor,jfrog"`
}

func (i AddImageWhiteListsRequestBodyImageInfo) ref() store.ImageRef {
	ref := store.ImageRef{ID: i.ID, ImageID: strings.TrimPrefix(i.ImageID, "sha256:"), Name: i.ImageName}
	if types := typesOf(i.ImageType); len(types) == 1 {
		ref.RegistryType = types[0]
	}
	return ref
}

// whitelistRule checks where a whitelist is to hold.
func whitelistRule(ruleType string, query *AddImageWhiteListsRequestBodyQueryInfo, images []AddImageWhiteListsRequestBodyImageInfo, remark string) (r findings.WhitelistRule, err error) {
	if err := checkRemark(remark); err != nil {
		return r, err
	}
	r = findings.WhitelistRule{Remark: remark}
	switch {
	case query != nil && query.ImageType != "" && ruleType != "specific_image_types":
		return r, tidewaiter.InvalidField("query_info", "it does not go with rule_type %s; leave it out", ruleType)
	case len(images) > 0 && ruleType != "specific_images":
		return r, tidewaiter.InvalidField("image_info", "it does not go with rule_type %s; leave it out", ruleType)
	}
	switch ruleType {
	case "all_images":
		r.Scope = tidewaiter.ScopeAllImages
	case "specific_image_types":
		r.Scope = tidewaiter.ScopeImageTypes
		if query == nil {
			return r, nil // which is refused
		}
		for word := range strings.SplitSeq(query.ImageType, ",") {
			types := typesOf(strings.TrimSpace(word))
			if len(types) != 1 {
				return r, tidewaiter.InvalidField("query_info.image_type", "%.80q is none of private_image, shared_image, instance_image, harbor, jfrog, other", word)
			}
			r.RegistryTypes = append(r.RegistryTypes, types[0])
		}
	default:
		r.Scope = tidewaiter.ScopeImages
		for _, i := range images {
			if i.ImageType == "local_image" {
				return r, tidewaiter.InvalidField("image_info", "this release has no local images; name images of registries")
			}
			r.Images = append(r.Images, i.ref())
		}
	}
	return r, nil
}

func checkRemark(remark string) error {
	if len([]rune(remark)) > 1024 {
		return tidewaiter.InvalidField("description", "it is longer than 1,024 characters")
	}
	if strings.ContainsFunc(remark, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		return tidewaiter.InvalidField("description", "it has a control character")
	}
	return nil
}

// AddImageWhiteListsRequestBody is a whitelist for each of some vulnerabilities.
type AddImageWhiteListsRequestBody struct {
	VulType     string                                   `json:"vul_type,omitempty" enum:"linux_vul,app_vul" doc:"Without it: both."`
	VulIDs      []string                                 `json:"vul_ids,omitempty" maxItems:"1000" doc:"Names, also of vulnerabilities that no image has yet."`
	RuleType    string                                   `json:"rule_type" enum:"all_images,specific_image_types,specific_images"`
	QueryInfo   *AddImageWhiteListsRequestBodyQueryInfo  `json:"query_info,omitempty" doc:"Of specific_image_types."`
	ImageInfo   []AddImageWhiteListsRequestBodyImageInfo `json:"image_info,omitempty" maxItems:"1000" doc:"Of specific_images."`
	Description string                                   `json:"description,omitempty" doc:"Why; up to 1,024 characters."`
}

type addImageWhiteListsInput struct {
	InProject
	OfWhitelists
	Body AddImageWhiteListsRequestBody
}

func (s *server) addImageWhiteLists(ctx context.Context, in *addImageWhiteListsInput) (*emptyOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	project, err := s.enterpriseProject(ctx, "AddImageWhiteLists", in.InProject)
	if err != nil {
		return nil, err
	}
	rule, err := whitelistRule(in.Body.RuleType, in.Body.QueryInfo, in.Body.ImageInfo, in.Body.Description)
	if err != nil {
		return nil, err
	}
	w := findings.Whitelist{Kind: tidewaiter.VulnerabilityKind(in.Body.VulType), Vulnerabilities: in.Body.VulIDs, Rule: rule}
	return &emptyOutput{}, s.findings.AddWhitelists(ctx, in.ProjectID, project, w, gateway.CallerFrom(ctx).UserName)
}

// ImageWhiteListDetailResponseInfoCves is a CVE of a whitelist on the wire.
type ImageWhiteListDetailResponseInfoCves struct {
	CveID string  `json:"cve_id"`
	Cvss  float32 `json:"cvss" doc:"0 if nobody gave one."`
}

// ImageWhiteListDetailResponseInfoQueryInfo is which types a whitelist is about.
type ImageWhiteListDetailResponseInfoQueryInfo struct {
	ImageType string `json:"image_type" doc:"Separated by commas."`
}

// ImageWhiteListDetailResponseInfoImageInfo is an image of a whitelist.
type ImageWhiteListDetailResponseInfoImageInfo struct {
	ID        int64  `json:"id,omitempty" doc:"Of the tag that was given; none where image_id was."`
	ImageID   string `json:"image_id" doc:"Of what stands there now."`
	ImageName string `json:"image_name"`
}

// ImageWhiteListDetailResponseInfo is a whitelist on the wire.
type ImageWhiteListDetailResponseInfo struct {
	ID          string                                      `json:"id"`
	VulID       string                                      `json:"vul_id"`
	VulName     string                                      `json:"vul_name" doc:"As vul_id."`
	VulType     string                                      `json:"vul_type,omitempty" enum:"linux_vul,app_vul" doc:"None: both."`
	Cves        []ImageWhiteListDetailResponseInfoCves      `json:"cves" nullable:"false"`
	RuleType    string                                      `json:"rule_type" enum:"all_images,specific_image_types,specific_images"`
	QueryInfo   *ImageWhiteListDetailResponseInfoQueryInfo  `json:"query_info,omitempty"`
	ImageInfo   []ImageWhiteListDetailResponseInfoImageInfo `json:"image_info,omitempty" doc:"Of specific_images, and in ShowImageWhiteListDetail alone: a page of them."`
	Description string                                      `json:"description"`
	CreateTime  int64                                       `json:"create_time" doc:"Beyond the contract; milliseconds."`
	UserName    string                                      `json:"user_name" doc:"Beyond the contract: who made it."`
}

func (s *server) wireWhitelists(ctx context.Context, extent tidewaiter.Extent, list []tidewaiter.Exception) ([]ImageWhiteListDetailResponseInfo, error) {
	out := make([]ImageWhiteListDetailResponseInfo, 0, len(list))
	for _, x := range list {
		w := ImageWhiteListDetailResponseInfo{
			ID: x.ID, VulID: x.Vulnerability, VulName: x.Vulnerability, VulType: string(x.Kind), RuleType: string(x.Scope), Description: x.Remark,
			CreateTime: milliseconds(x.Created), UserName: x.Author, Cves: []ImageWhiteListDetailResponseInfoCves{},
		}
		switch x.Scope {
		case tidewaiter.ScopeImages:
			w.RuleType = "specific_images"
		case tidewaiter.ScopeImageTypes:
			w.RuleType = "specific_image_types"
			var words []string
			for _, t := range x.RegistryTypes {
				words = append(words, t.ImageType())
			}
			w.QueryInfo = &ImageWhiteListDetailResponseInfoQueryInfo{ImageType: strings.Join(words, ",")}
		}
		found, reports, _, err := s.findings.Vulnerabilities(ctx, extent, store.VulnerabilityFilter{Is: x.Vulnerability, Kind: x.Kind}, store.Page{Limit: 1})
		if err != nil {
			return nil, err
		}
		cves, points := []string{x.Vulnerability}, 0
		if len(found) > 0 {
			cves, points = cvesOf(x.Vulnerability, reports[found[0].ID]), found[0].Score
		}
		for _, id := range cves {
			if strings.HasPrefix(id, "CVE-") {
				w.Cves = append(w.Cves, ImageWhiteListDetailResponseInfoCves{CveID: id, Cvss: score(points)})
			}
		}
		out = append(out, w)
	}
	return out, nil
}

type listImageWhiteListsInput struct {
	InProject
	Page
	OfWhitelists
	VulName string `query:"vul_name" minLength:"0" maxLength:"256" doc:"Part of the name, in upper or lower case."`
	VulType string `query:"vul_type" enum:"linux_vul,app_vul"`
}

type listImageWhiteListsOutput struct {
	Body struct {
		TotalNum int32                              `json:"total_num"`
		DataList []ImageWhiteListDetailResponseInfo `json:"data_list" nullable:"false" doc:"The newest first."`
	}
}

func (s *server) listImageWhiteLists(ctx context.Context, in *listImageWhiteListsInput) (*listImageWhiteListsOutput, error) {
	out := &listImageWhiteListsOutput{}
	out.Body.DataList = []ImageWhiteListDetailResponseInfo{}
	if in.GlobalImageType == "local" {
		return out, nil
	}
	extent := s.extent(ctx, "ListImageWhiteLists", in.InProject)
	list, total, err := s.findings.Whitelists(ctx, extent, store.ExceptionFilter{Name: in.VulName, Kind: tidewaiter.VulnerabilityKind(in.VulType)}, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	out.Body.TotalNum = count32(total)
	out.Body.DataList, err = s.wireWhitelists(ctx, extent, list)
	return out, err
}

type showImageWhiteListDetailInput struct {
	InProject
	Page
	OfWhitelists
	ID string `path:"id" minLength:"1" maxLength:"64"`
}

type showImageWhiteListDetailOutput struct {
	Body struct {
		ImageWhiteListDetailResponseInfo
		ImageNum int32 `json:"image_num" doc:"Beyond the contract: how many images image_info has in all."`
	}
}

func (s *server) showImageWhiteListDetail(ctx context.Context, in *showImageWhiteListDetailInput) (*showImageWhiteListDetailOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	extent := s.extent(ctx, "ShowImageWhiteListDetail", in.InProject)
	x, images, total, err := s.findings.Whitelist(ctx, extent, in.ID, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	list, err := s.wireWhitelists(ctx, extent, []tidewaiter.Exception{x})
	if err != nil {
		return nil, err
	}
	out := &showImageWhiteListDetailOutput{}
	out.Body.ImageWhiteListDetailResponseInfo = list[0]
	out.Body.ImageNum = count32(total)
	out.Body.ImageInfo = wireAll(images, func(i store.ExceptedImage) ImageWhiteListDetailResponseInfoImageInfo {
		return ImageWhiteListDetailResponseInfoImageInfo{ID: i.ImageID, ImageID: i.ID, ImageName: i.Name}
	})
	return out, nil
}

// ChangeImageWhiteListRequestBody is what a whitelist is to say; what is left
// out stays.
type ChangeImageWhiteListRequestBody struct {
	RuleType    string                                   `json:"rule_type,omitempty" enum:"all_images,specific_image_types,specific_images"`
	QueryInfo   *AddImageWhiteListsRequestBodyQueryInfo  `json:"query_info,omitempty" doc:"Of specific_image_types."`
	ImageInfo   []AddImageWhiteListsRequestBodyImageInfo `json:"image_info,omitempty" maxItems:"1000" doc:"Of specific_images: all that it is to be about."`
	Description *string                                  `json:"description,omitempty"`
}

type changeImageWhiteListInput struct {
	InProject
	OfWhitelists
	ID   string `path:"id" minLength:"1" maxLength:"64"`
	Body ChangeImageWhiteListRequestBody
}

func (s *server) changeImageWhiteList(ctx context.Context, in *changeImageWhiteListInput) (*emptyOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	b := in.Body
	var rule *findings.WhitelistRule
	switch {
	case b.RuleType != "":
		r, err := whitelistRule(b.RuleType, b.QueryInfo, b.ImageInfo, "")
		if err != nil {
			return nil, err
		}
		rule = &r
	case b.QueryInfo != nil || len(b.ImageInfo) > 0:
		return nil, tidewaiter.InvalidField("rule_type", "it is missing; query_info and image_info need it")
	case b.Description == nil:
		return nil, tidewaiter.InvalidField("body", "there is nothing to change in it; give rule_type or description")
	}
	if b.Description != nil {
		if err := checkRemark(*b.Description); err != nil {
			return nil, err
		}
	}
	return &emptyOutput{}, s.findings.ChangeWhitelist(ctx, s.extent(ctx, "ChangeImageWhiteList", in.InProject), in.ID, rule, b.Description)
}

// DeleteImageWhiteListsRequestBody names whitelists.
type DeleteImageWhiteListsRequestBody struct {
	IDs []string `json:"ids,omitempty" maxItems:"1000"`
}

type deleteImageWhiteListsInput struct {
	InProject
	OfWhitelists
	Body DeleteImageWhiteListsRequestBody
}

func (s *server) deleteImageWhiteLists(ctx context.Context, in *deleteImageWhiteListsInput) (*emptyOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return &emptyOutput{}, s.findings.DeleteWhitelists(ctx, s.extent(ctx, "DeleteImageWhiteLists", in.InProject), in.Body.IDs)
}
