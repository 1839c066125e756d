package console

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

type vulnerabilitiesContent struct {
	Vulnerabilities []hssapi.GeneralImageVulsResponseInfo
	Paging          paging
	Filter          map[string]string
}

func (c *console) vulnerabilities(ctx context.Context, r *request) (any, error) {
	q, given := vulnerabilityQuery(r)
	var found listOf[hssapi.GeneralImageVulsResponseInfo]
	if err := c.get(ctx, r, "/images/vulnerabilities", q, &found); err != nil {
		return nil, err
	}
	return &vulnerabilitiesContent{found.DataList, r.paging(len(found.DataList), found.TotalNum), given}, nil
}

// vulnerabilityQuery are the filters of the page, for the API and for the form.
func vulnerabilityQuery(r *request) (url.Values, map[string]string) {
	filters := []string{"type", "handle_status", "severity_level", "vul_id"}
	q, given := r.query(filters...), r.given(filters...)
	for name, value := range map[string]string{"type": "linux_vul", "handle_status": "unhandled"} {
		if given[name] == "" {
			given[name] = value
			q.Set(name, value)
		}
	}
	q.Set("image_type", "registry")
	return q, given
}

type vulnerabilityContent struct {
	ID           string
	Kinds        []vulnerabilityKind
	CVEs         []hssapi.ImageVulCveInfo
	Repositories []hssapi.VulRepoImageInfo
	Paging       paging
}

func (c *console) vulnerability(ctx context.Context, r *request) (any, error) {
	v := &vulnerabilityContent{ID: r.PathValue("id")}
	id := url.PathEscape(v.ID)
	var cves listOf[hssapi.ImageVulCveInfo]
	if err := c.get(ctx, r, "/image/vulnerability/"+id+"/cve", url.Values{"limit": {"10"}}, &cves); err != nil {
		return nil, err
	}
	var found listOf[hssapi.VulRepoImageInfo]
	if err := c.get(ctx, r, "/image/"+id+"/images", r.query(), &found); err != nil {
		return nil, err
	}
	var err error
	if v.Kinds, err = c.kindsOf(ctx, r, v.ID); err != nil {
		return nil, err
	}
	v.CVEs, v.Repositories, v.Paging = cves.DataList, found.DataList, r.paging(len(found.DataList), found.TotalNum)
	return v, nil
}

// vulnerabilityKind is in how many images a vulnerability is, as one of the
// contract's types.
type vulnerabilityKind struct {
	Type          string
	Open, Handled int32 // images in which nobody has handled it; in which somebody has, all of it
}

func (c *console) kindsOf(ctx context.Context, r *request, id string) (kinds []vulnerabilityKind, err error) {
	for _, kind := range []string{"linux_vul", "app_vul"} {
		k := vulnerabilityKind{Type: kind}
		for status, n := range map[string]*int32{"unhandled": &k.Open, "handled": &k.Handled} {
			var found listOf[hssapi.GeneralImageVulsResponseInfo]
			q := url.Values{"image_type": {"registry"}, "type": {kind}, "handle_status": {status}, "vul_id": {id}, "limit": {"200"}}
			if err := c.get(ctx, r, "/images/vulnerabilities", q, &found); err != nil {
				return nil, err
			}
			for _, v := range found.DataList {
				if v.VulID == id { // and not a part of it
					*n = v.ImageNum
				}
			}
		}
		if k.Open+k.Handled > 0 {
			kinds = append(kinds, k)
		}
	}
	return kinds, nil
}

// handleEverywhere ignores a vulnerability in all images, those to come among
// them, or takes that back.
func (c *console) handleEverywhere(ctx context.Context, r *request) (string, error) {
	id := r.PathValue("id")
	err := c.send(ctx, r, http.MethodPost, "/image/vulnerability/handle", r.enterprise, hssapi.HandleImageVulnerabilityRequestBody{
		ImageType: "registry", SelectType: "specific_vul_all_image", VulIDList: []string{id},
		Type: r.PostFormValue("type"), OperateType: r.PostFormValue("operate_type"), Remark: r.PostFormValue("remark"),
	})
	return projectPath(r.project) + "vulnerabilities/" + url.PathEscape(id), err
}
