package console

import (
	"context"
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
	v.CVEs, v.Repositories, v.Paging = cves.DataList, found.DataList, r.paging(len(found.DataList), found.TotalNum)
	return v, nil
}
