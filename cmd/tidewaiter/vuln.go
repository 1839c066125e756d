package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

func (p *program) vulnCommand() *cobra.Command {
	return addProject(group("vuln", "Look at vulnerabilities of images, and say which do not matter",
		p.vulnList(), p.vulnShow(),
		p.vulnHandle("ignore VULNERABILITY", "ignore", "Have a vulnerability count as handled, with the reason",
			"  tidewaiter vuln ignore CVE-2026-1000 --image team/app:1.0 --remark 'not reachable'\n"+
				"  tidewaiter vuln ignore CVE-2026-1000 --all-images --remark 'accepted until May'"),
		p.vulnHandle("unignore VULNERABILITY", "not_ignore", "Take that back",
			"  tidewaiter vuln unignore CVE-2026-1000 --image team/app:1.0"),
	))
}

// vulnerabilityKinds are those of the contract: in packages of the operating
// system, and in others.
func vulnerabilityKinds() []string { return []string{"linux_vul", "app_vul"} }

func (p *program) vulnList() *cobra.Command {
	var limit int
	cmd := p.plain("list", "List vulnerabilities across images, the worst first", func(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
		all := []hssapi.GeneralImageVulsResponseInfo{}
		for _, kind := range vulnerabilityKinds() {
			query := url.Values{"image_type": {"registry"}, "type": {kind}, "handle_status": {"unhandled"}}
			if cmd.Flags().Changed("handled") {
				query.Set("handle_status", "handled")
			}
			setFilters(cmd, query, map[string]string{"severity": "severity_level", "id": "vul_id"})
			if chosen := cmd.Flags().Lookup("type").Value.String(); chosen != "" && chosen != kind {
				continue
			}
			some, total, err := listed[hssapi.GeneralImageVulsResponseInfo](ctx, c, "/images/vulnerabilities", query, limit)
			if err != nil {
				return err
			}
			if len(some) < total {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d of the type %s; --limit 0 shows all\n", len(some), total, kind)
			}
			all = append(all, some...)
		}
		return show(cmd, all, "VULNERABILITY TYPE SEVERITY IMAGES FIX FOUND", func(v hssapi.GeneralImageVulsResponseInfo) []any {
			fix := "-"
			for _, label := range v.LabelList {
				if label == "fix_available" {
					fix = "yes"
				}
			}
			return []any{v.VulID, v.Type, v.SeverityLevel, v.ImageNum, fix, timeOf(v.ScanTime)}
		})
	})
	cmd.Example = "  tidewaiter vuln list --severity Critical\n  tidewaiter vuln list --handled -o yaml"
	fs := cmd.Flags()
	fs.String("severity", "", "`severity`: Critical, High, Medium or Low")
	fs.String("id", "", "`part` of the name")
	fs.String("type", "", "`type`: linux_vul (packages of the operating system) or app_vul (default: both)")
	fs.Bool("handled", false, "those that somebody has handled in all of their images")
	fs.IntVar(&limit, "limit", 200, "the most to list of each type; 0 is all")
	return cmd
}

// vulnerabilityOutput is a vulnerability, and where it is.
type vulnerabilityOutput struct {
	ID           string                    `json:"id"`
	CVEs         []hssapi.ImageVulCveInfo  `json:"cves"`
	Repositories []hssapi.VulRepoImageInfo `json:"repositories"`
}

func (p *program) vulnShow() *cobra.Command {
	cmd := p.named("show VULNERABILITY", "Show a vulnerability, and the images that have it", func(ctx context.Context, c *adminClient, cmd *cobra.Command, id string) error {
		out := vulnerabilityOutput{ID: id}
		var err error
		if out.CVEs, _, err = listed[hssapi.ImageVulCveInfo](ctx, c, "/image/vulnerability/"+url.PathEscape(id)+"/cve", url.Values{}, 0); err != nil {
			return err
		}
		if out.Repositories, _, err = listed[hssapi.VulRepoImageInfo](ctx, c, "/image/"+url.PathEscape(id)+"/images", url.Values{}, 0); err != nil {
			return err
		}
		if done, err := writeAs(cmd, out); done {
			return err
		}
		for _, cve := range out.CVEs {
			err := showOne(cmd, cve, "vulnerability", cve.CveID, "score", fmt.Sprint(cve.CvssScore), "published", timeOf(cve.PublishTime), "description", oneLine(errors.New(cve.Description)))
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout())
		}
		return show(cmd, out.Repositories, "REPOSITORY TAGS PACKAGE VERSION", func(r hssapi.VulRepoImageInfo) []any {
			return []any{strings.TrimPrefix(r.Namespace+"/"+r.ImageName, "/"), r.TagCount, r.AppName, r.Version}
		})
	})
	cmd.Example = "  tidewaiter vuln show CVE-2026-1000"
	return cmd
}

func (p *program) vulnHandle(use, operation, short, example string) *cobra.Command {
	var images []string
	var registry, remark, kind string
	var everywhere bool
	cmd := p.named(use, short, func(ctx context.Context, c *adminClient, _ *cobra.Command, id string) error {
		body := hssapi.HandleImageVulnerabilityRequestBody{ImageType: "registry", OperateType: operation, SelectType: "image_view", Remark: remark}
		for _, ref := range images {
			found, err := findImages(ctx, c, ref, registry)
			if err != nil {
				return err
			}
			for _, i := range found {
				body.ImageDataList = append(body.ImageDataList, hssapi.HandleImageVulnerabilityRequestBodyImageDataList{ImageID: i.ImageID, VulIDList: []string{id}})
			}
		}
		if everywhere {
			body.SelectType, body.VulIDList = "specific_vul_all_image", []string{id}
		}
		kinds, err := kindsOf(ctx, c, id, kind)
		if err != nil {
			return err
		}
		for _, body.Type = range kinds {
			if err := c.hss(ctx, http.MethodPost, "/image/vulnerability/handle", nil, body, nil); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if everywhere == (len(images) > 0) {
			return &usageError{fmt.Errorf("%s takes --image, or --all-images", cmd.CommandPath())}
		}
		return nil
	}
	cmd.Example = example
	fs := cmd.Flags()
	fs.StringArrayVar(&images, "image", nil, "`image` in which it does, such as team/app:1.0: for its content; may be repeated")
	fs.BoolVar(&everywhere, "all-images", false, "in all images, those to come among them")
	fs.StringVar(&registry, "registry", "", "`name` of the registry, where several have the image")
	fs.StringVar(&kind, "type", "", "`type`: linux_vul or app_vul (default: those as which it was found)")
	if operation == "ignore" {
		fs.StringVar(&remark, "remark", "", "`reason`, for those who ask later")
	}
	return cmd
}

// kindsOf returns as what a vulnerability was found, unless a type is given.
func kindsOf(ctx context.Context, c *adminClient, id, given string) ([]string, error) {
	if given != "" {
		return []string{given}, nil
	}
	var kinds []string
	for _, kind := range vulnerabilityKinds() {
		found := false
		for _, status := range []string{"unhandled", "handled"} {
			query := url.Values{"image_type": {"registry"}, "type": {kind}, "handle_status": {status}, "vul_id": {id}}
			some, _, err := listed[hssapi.GeneralImageVulsResponseInfo](ctx, c, "/images/vulnerabilities", query, 0)
			if err != nil {
				return nil, err
			}
			for _, v := range some {
				found = found || v.VulID == id
			}
		}
		if found {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		return nil, fmt.Errorf("no image has the vulnerability %q; tidewaiter vuln list shows those that are there", id)
	}
	return kinds, nil
}
