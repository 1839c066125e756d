package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter/internal/client"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

// pageSize is how much one request for a list asks for: the most that all lists
// of the contract allow.
const pageSize = 200

// listed returns the items of a list of the contract, up to so many; 0 is all.
func listed[T any](ctx context.Context, c *adminClient, path string, query url.Values, most int) (all []T, total int, err error) {
	for {
		query.Set("offset", strconv.Itoa(len(all)))
		query.Set("limit", strconv.Itoa(pageSize))
		var page struct {
			TotalNum int `json:"total_num"`
			DataList []T `json:"data_list"`
		}
		if err := c.hss(ctx, http.MethodGet, path, query, nil, &page); err != nil {
			return nil, 0, err
		}
		all = append(all, page.DataList...)
		if most > 0 && len(all) >= most {
			return all[:most], page.TotalNum, nil
		}
		if len(page.DataList) < pageSize {
			return all, page.TotalNum, nil
		}
	}
}

// setFilters adds the parameters that a command's flags give.
func setFilters(cmd *cobra.Command, query url.Values, parameters map[string]string) {
	for flag, parameter := range parameters {
		if v := cmd.Flags().Lookup(flag).Value.String(); v != "" && v != "false" {
			query.Set(parameter, v)
		}
	}
}

// addProject defines the flag that says on which project a command works.
func addProject(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().String("project", "", "`project` to work on, by name or id (default: that of the sign-in, or the only one that there is)")
	return cmd
}

func (p *program) imageCommand() *cobra.Command {
	return addProject(group("image", "Look at images of registries, and have them scanned", p.imageList(), p.imageShow(), p.imageScan()))
}

func (p *program) imageList() *cobra.Command {
	var limit int
	cmd := p.plain("list", "List images", func(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
		query := url.Values{}
		setFilters(cmd, query, map[string]string{
			"registry": "registry_name", "namespace": "namespace", "name": "image_name", "tag": "image_version",
			"status": "scan_status", "severity": "severity_level", "vulnerable": "has_vul",
		})
		all, total, err := listed[hssapi.RegistryImagesInfo](ctx, c, "/image/registries/images", query, limit)
		if err != nil {
			return err
		}
		err = show(cmd, all, "IMAGE REGISTRY STATUS RISK VULNERABILITIES SCANNED", func(i hssapi.RegistryImagesInfo) []any {
			return []any{referenceOf(i.Namespace, i.ImageName, i.ImageVersion), i.RegistryName, statusOf(i), orDash(i.SeverityLevel), vulnerabilitiesOf(i), timeOf(i.LatestScanTime)}
		})
		if len(all) < total {
			fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d images; --limit 0 shows all\n", len(all), total)
		}
		return err
	})
	cmd.Example = "  tidewaiter image list --severity High\n  tidewaiter image list --registry harbor --name 'app*' -o json"
	fs := cmd.Flags()
	fs.String("registry", "", "`name` of the registry; * stands for any characters")
	fs.String("namespace", "", "`namespace`, the first part of the repository")
	fs.String("name", "", "`name`, the rest of it")
	fs.String("tag", "", "`tag`")
	fs.String("status", "", "`status` of the scan: unscan, success, scanning, failed, waiting_for_scan, …")
	fs.String("severity", "", "`risk`: High, Medium, Low or Security")
	fs.Bool("vulnerable", false, "only those with vulnerabilities")
	fs.IntVar(&limit, "limit", 1000, "the most to list; 0 is all")
	return cmd
}

// referenceOf is how people write an image.
func referenceOf(namespace, name, tag string) string {
	if namespace != "" {
		name = namespace + "/" + name
	}
	return name + ":" + tag
}

// statusOf says how the last scan has ended, and why if it failed.
func statusOf(i hssapi.RegistryImagesInfo) string {
	if i.ScanFailedCode != "" {
		return i.ScanStatus + " (" + i.ScanFailedCode + ")"
	}
	return i.ScanStatus
}

// vulnerabilitiesOf is the number of vulnerabilities of an image that was
// scanned: none is not the same as not known.
func vulnerabilitiesOf(i hssapi.RegistryImagesInfo) string {
	if i.LatestScanTime == 0 || i.SeverityLevel == "" && i.VulNum == 0 {
		return "-"
	}
	return strconv.Itoa(int(i.VulNum))
}

// timeOf shows a time in milliseconds.
func timeOf(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

// parseReference reads NAMESPACE/NAME:TAG; the tag may be missing.
func parseReference(ref string) (namespace, name, tag string, err error) {
	repository, tag := ref, ""
	if i := strings.LastIndex(ref, ":"); i > strings.LastIndex(ref, "/") {
		repository, tag = ref[:i], ref[i+1:]
		if tag == "" {
			return "", "", "", &usageError{fmt.Errorf("%q has an empty tag; write it as team/app:1.0", ref)}
		}
	}
	namespace, name, ok := strings.Cut(repository, "/")
	if !ok {
		namespace, name = "", repository
	}
	if name == "" || strings.Contains(ref, "@") {
		return "", "", "", &usageError{fmt.Errorf("%q is no image; write it as team/app:1.0, as image list shows it", ref)}
	}
	return namespace, name, tag, nil
}

// findImages returns the images that a reference means, in all registries, or in
// one.
func findImages(ctx context.Context, c *adminClient, ref, registry string) ([]hssapi.RegistryImagesInfo, error) {
	namespace, name, tag, err := parseReference(ref)
	if err != nil {
		return nil, err
	}
	query := url.Values{"image_name": {name}}
	for parameter, value := range map[string]string{"namespace": namespace, "image_version": tag, "registry_name": registry} {
		if value != "" {
			query.Set(parameter, value)
		}
	}
	all, _, err := listed[hssapi.RegistryImagesInfo](ctx, c, "/image/registries/images", query, 0)
	if err != nil {
		return nil, err
	}
	var found []hssapi.RegistryImagesInfo
	for _, i := range all {
		if i.Namespace == namespace && i.ImageName == name && (tag == "" || i.ImageVersion == tag) && (registry == "" || i.RegistryName == registry) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no image %q; tidewaiter image list shows those that there are", ref)
	}
	return found, nil
}

// findImage returns the one image that a reference means.
func findImage(ctx context.Context, c *adminClient, ref, registry string) (hssapi.RegistryImagesInfo, error) {
	found, err := findImages(ctx, c, ref, registry)
	if err != nil {
		return hssapi.RegistryImagesInfo{}, err
	}
	if len(found) > 1 {
		return found[0], fmt.Errorf("%q means %d images; give the tag, or the registry with --registry", ref, len(found))
	}
	return found[0], nil
}

// imageOutput is an image with its vulnerabilities.
type imageOutput struct {
	Image           hssapi.RegistryImagesInfo `json:"image"`
	UnknownNum      int                       `json:"unknown_num"`
	Vulnerabilities []hssapi.ImageVulInfo     `json:"vulnerabilities"`
}

func (p *program) imageShow() *cobra.Command {
	var registry string
	cmd := p.named("show IMAGE", "Show an image, and its vulnerabilities", func(ctx context.Context, c *adminClient, cmd *cobra.Command, ref string) error {
		i, err := findImage(ctx, c, ref, registry)
		if err != nil {
			return err
		}
		out := imageOutput{Image: i, Vulnerabilities: []hssapi.ImageVulInfo{}}
		found, unknown, err := vulnerabilitiesOfImage(ctx, c, i)
		switch refused, ok := errors.AsType[*client.Error](err); {
		case err == nil:
			out.Vulnerabilities, out.UnknownNum = found, unknown
		case ok && refused.Status < http.StatusInternalServerError && i.ScanStatus != "success":
			// Nothing is known of it yet, which is said.
		default:
			return err
		}
		if done, err := writeAs(cmd, out); done {
			return err
		}
		return showOneImage(cmd, out)
	})
	cmd.Example = "  tidewaiter image show team/app:1.0\n  tidewaiter image show team/app:1.0 --registry harbor -o json"
	cmd.Flags().StringVar(&registry, "registry", "", "`name` of the registry, where several have it")
	return cmd
}

// vulnerabilitiesOfImage returns what an image has, handled or not, and of how
// many packages that is not known.
func vulnerabilitiesOfImage(ctx context.Context, c *adminClient, i hssapi.RegistryImagesInfo) ([]hssapi.ImageVulInfo, int, error) {
	path := "/image/" + url.PathEscape(i.ImageID) + "/vulnerabilities"
	all := []hssapi.ImageVulInfo{}
	for {
		var page struct {
			DataList   []hssapi.ImageVulInfo `json:"data_list"`
			UnknownNum int                   `json:"unknown_num"`
		}
		query := url.Values{
			"image_type": {i.ImageType}, "namespace": {i.Namespace}, "image_name": {i.ImageName}, "tag_name": {i.ImageVersion},
			"offset": {strconv.Itoa(len(all))}, "limit": {strconv.Itoa(pageSize)},
		}
		if err := c.hss(ctx, http.MethodGet, path, query, nil, &page); err != nil {
			return nil, 0, err
		}
		if all = append(all, page.DataList...); len(page.DataList) < pageSize {
			return all, page.UnknownNum, nil
		}
	}
}

func showOneImage(cmd *cobra.Command, out imageOutput) error {
	i := out.Image
	err := showOne(cmd, i, "image", referenceOf(i.Namespace, i.ImageName, i.ImageVersion), "registry", i.RegistryName, "digest", i.ImageDigest,
		"status", statusOf(i), "risk", orDash(i.SeverityLevel), "vulnerabilities", vulnerabilitiesOf(i), "scanned", timeOf(i.LatestScanTime))
	if err != nil {
		return err
	}
	switch {
	case i.LatestScanTime == 0:
		fmt.Fprintln(cmd.OutOrStdout(), printable("note: the image was not scanned: "+cmp.Or(i.ScanFailedDesc, "nothing is known of it")))
	case i.ScanFailedCode != "":
		fmt.Fprintln(cmd.OutOrStdout(), printable("note: it was not looked into as a whole: "+cmp.Or(i.ScanFailedDesc, i.ScanFailedCode)))
	case out.UnknownNum > 0:
		fmt.Fprintf(cmd.OutOrStdout(), "note: of %d packages it is not known what they have: there are no advisories about them\n", out.UnknownNum)
	case i.SeverityLevel == "":
		fmt.Fprintln(cmd.OutOrStdout(), "note: it is not known what it has: no advisories are in force; see tidewaiter advisories status")
	}
	if len(out.Vulnerabilities) == 0 {
		return nil
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return show(cmd, out.Vulnerabilities, "VULNERABILITY SEVERITY PACKAGE VERSION FIXED HANDLED", func(v hssapi.ImageVulInfo) []any {
		return []any{v.VulID, v.SeverityLevel, v.AppName, v.Version, orDash(v.FixedVersion), orDash(v.HandledBy)}
	})
}

func (p *program) imageScan() *cobra.Command {
	var registry string
	var all, wait bool
	var rate int32
	cmd := &cobra.Command{
		Use: "scan [IMAGE...]", Short: "Have images scanned by the scan components of their clusters",
		Long: "Have images scanned by the scan components of their clusters. To scan an image without\n" +
			"a server, or one in an archive, use tidewaiter scan.",
		Example: "  tidewaiter image scan team/app:1.0 --wait\n  tidewaiter image scan --all --rate-limit 100",
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return &usageError{fmt.Errorf("%s takes the images, or --all", cmd.CommandPath())}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			body := hssapi.CreateManualImageScanTaskReqInfo{IsAll: all, RateLimit: rate}
			for _, ref := range args {
				found, err := findImages(ctx, c, ref, registry)
				if err != nil {
					return err
				}
				for _, i := range found {
					body.ImageInfo = append(body.ImageInfo, hssapi.CreateManualImageScanTaskReqInfoImageInfo{ID: i.ID})
				}
			}
			id, err := startTask(ctx, c, "image_scan", func() error {
				return c.hss(ctx, http.MethodPost, "/image/image-scan/tasks", nil, body, nil)
			})
			if err != nil {
				return err
			}
			if !wait {
				return showOne(cmd, map[string]string{"task_id": id}, "task", id)
			}
			return p.watchTask(ctx, c, cmd, "image_scan", id)
		})
	}
	fs := cmd.Flags()
	fs.BoolVar(&all, "all", false, "all images of the project")
	fs.StringVar(&registry, "registry", "", "`name` of the registry, where several have the image")
	fs.Int32Var(&rate, "rate-limit", 0, "images to begin per hour, 0 for no limit")
	fs.BoolVar(&wait, "wait", false, "wait until it is done, as task watch does")
	return cmd
}

// startTask runs what makes a task, and returns its id: the contract's operation
// does not say it.
func startTask(ctx context.Context, c *adminClient, kind string, start func() error) (string, error) {
	known := make(map[string]bool)
	before, _, err := listed[hssapi.ImageScanTaskInfo](ctx, c, "/image/tasks", url.Values{"type": {kind}}, pageSize)
	if err != nil {
		return "", err
	}
	for _, t := range before {
		known[t.TaskID] = true
	}
	if err := start(); err != nil {
		return "", err
	}
	after, _, err := listed[hssapi.ImageScanTaskInfo](ctx, c, "/image/tasks", url.Values{"type": {kind}}, pageSize)
	if err != nil {
		return "", err
	}
	for _, t := range after {
		if !known[t.TaskID] {
			return t.TaskID, nil
		}
	}
	return "", errors.New("the scan was started, but its task is not in the list; see tidewaiter task list")
}
