package console

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

// overview is how the project stands.
type overview struct {
	Levels   []count // images by severity level
	Statuses []count // images by the status of their scan
	Total    int     // images
	Missing  int     // images that are no longer in their registry
	Failing  []hssapi.RegistryInfo
	Offline  []adminapi.Cluster
	Images   []hssapi.RegistryImagesInfo // with the highest level
	Worst    []hssapi.GeneralImageVulsResponseInfo
	Newest   []adminapi.RecentVulnerability
	History  []historyDay
}

// count is how many images one value of a filter finds.
type count struct {
	Name, Filter, Value string
	Num                 int
	X, Width            int // of its part of a bar that is 1,000 wide
}

func (c *console) overview(ctx context.Context, r *request) (any, error) {
	v := &overview{}
	countOf := func(filter, value string) (int, error) {
		var found listOf[struct{}]
		q := url.Values{"limit": {"1"}}
		if filter != "" {
			q.Set(filter, value)
		}
		err := c.get(ctx, r, "/image/registries/images", q, &found)
		return found.TotalNum, err
	}
	var err error
	if v.Total, err = countOf("", ""); err != nil {
		return nil, err
	}
	fill := func(into *[]count, filter string, values ...string) error {
		x := 0
		for _, value := range values {
			n, err := countOf(filter, value)
			if err != nil {
				return err
			}
			part := count{Name: value, Filter: filter, Value: value, Num: n, X: x}
			if v.Total > 0 {
				part.Width = n * 1000 / v.Total
			}
			x += part.Width
			*into = append(*into, part)
		}
		return nil
	}
	if err := fill(&v.Levels, "severity_level", "High", "Medium", "Low", "Security"); err != nil {
		return nil, err
	}
	if err := fill(&v.Statuses, "scan_status", "success", "failed", "scanning", "waiting_for_scan", "unscan"); err != nil {
		return nil, err
	}
	return v, c.attention(ctx, r, v)
}

// attention fills in what somebody should look at.
func (c *console) attention(ctx context.Context, r *request, v *overview) error {
	var registries listOf[hssapi.RegistryInfo]
	if err := c.get(ctx, r, "/image/registries", url.Values{"status": {"fail"}, "limit": {"10"}}, &registries); err != nil {
		return err
	}
	v.Failing = registries.DataList
	var clusters adminapi.List[adminapi.Cluster]
	if err := c.own(ctx, r, "GET", "/clusters", &clusters); err != nil && statusOf(err) != 403 {
		return err
	}
	for _, cluster := range clusters.Items {
		if cluster.Advice != "" {
			v.Offline = append(v.Offline, cluster)
		}
	}
	var images listOf[hssapi.RegistryImagesInfo]
	if err := c.get(ctx, r, "/image/registries/images", url.Values{"severity_level": {"High"}, "limit": {"5"}, "sort_key": {"latest_scan_time"}, "sort_dir": {"desc"}}, &images); err != nil {
		return err
	}
	v.Images = images.DataList
	for _, kind := range []string{"linux_vul", "app_vul"} {
		var found listOf[hssapi.GeneralImageVulsResponseInfo]
		if err := c.get(ctx, r, "/images/vulnerabilities", url.Values{
			"type": {kind}, "handle_status": {"unhandled"}, "image_type": {"registry"}, "limit": {"10"},
		}, &found); err != nil && statusOf(err) != 403 {
			return err
		}
		v.Worst = append(v.Worst, found.DataList[:min(5, len(found.DataList))]...)
	}
	var recent adminapi.List[adminapi.RecentVulnerability]
	if err := c.ownWith(ctx, r, "/recent-vulnerabilities", url.Values{"limit": {"8"}, "enterprise_project_id": {r.enterprise}}, &recent); err != nil && statusOf(err) != 403 {
		return err
	}
	v.Newest = recent.Items
	for i := range v.Newest { // as the contract's lists write it
		v.Newest[i].Severity = strings.ToUpper(v.Newest[i].Severity[:1]) + v.Newest[i].Severity[1:]
	}
	var days adminapi.List[adminapi.RiskDay]
	if err := c.ownWith(ctx, r, "/risk-history", url.Values{"days": {strconv.Itoa(historyDays)}, "enterprise_project_id": {r.enterprise}}, &days); err != nil && statusOf(err) != 403 {
		return err
	}
	v.History = historyOf(days.Items, v.now())
	return nil
}

// now is how things stand at this moment, as of today.
func (v *overview) now() adminapi.RiskDay {
	n := make(map[string]int)
	for _, l := range v.Levels {
		n[l.Value] = l.Num
	}
	i := adminapi.RiskImages{High: n["High"], Medium: n["Medium"], Low: n["Low"], Secure: n["Security"]}
	i.Unknown = max(0, v.Total-i.High-i.Medium-i.Low-i.Secure)
	return adminapi.RiskDay{Day: time.Now().UTC().Format(time.DateOnly), Images: i}
}
