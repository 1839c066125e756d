package console

import (
	"context"
	"net/url"
	"slices"
	"strconv"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

// imageFilters are the parameters of ListRegistryImages that the page has.
func imageFilters() []string {
	return []string{"registry_id", "registry_name", "namespace", "image_name", "image_version", "scan_status", "severity_level", "has_vul", "latest_version", "sort_key", "sort_dir"}
}

type imagesContent struct {
	Images []hssapi.RegistryImagesInfo
	Paging paging
	Filter map[string]string
}

func (c *console) images(ctx context.Context, r *request) (any, error) {
	var found listOf[hssapi.RegistryImagesInfo]
	if err := c.get(ctx, r, "/image/registries/images", r.query(imageFilters()...), &found); err != nil {
		return nil, err
	}
	return &imagesContent{found.DataList, r.paging(len(found.DataList), found.TotalNum), r.given(imageFilters()...)}, nil
}

// imageContent is one image, or one platform of it, with one of its lists.
type imageContent struct {
	Image    hssapi.RegistryImagesInfo
	ID       string // image_id of what is listed: the image, or one of its platforms
	Platform string
	List     string // one of imageLists
	Unknown  string // why nothing is known of it, or ""
	Paging   paging
	Filter   map[string]string

	Vulnerabilities []hssapi.ImageVulInfo
	UnknownNum      int
	AdvisorySet     string
	Evaluated       int64
	Packages        []hssapi.ImageAppsInfo
	Bases           []hssapi.ImageBasicImageInfo
	Builds          []adminapi.ImageBuild
	Files           []hssapi.ImageFileInfo
	Events          []feedEvent
}

// feedEvent is what came and went in an image, as the API tells it.
type feedEvent struct {
	Time, Cause             string
	Added, Removed, Changed []feedChange
}

type feedChange struct {
	Vulnerability, Package, Version, Severity string
	HandledBy                                 string `json:"handled_by"`
}

// imageLists are the lists of an image's page; the first is the one at first.
func imageLists() []string {
	return []string{"vulnerabilities", "packages", "layers", "files", "history"}
}

// Tabs are the lists with their names.
func (i *imageContent) Tabs() []imageTab {
	return []imageTab{{"vulnerabilities", "Vulnerabilities"}, {"packages", "Packages"}, {"layers", "Layers"}, {"files", "Files"}, {"history", "History"}}
}

type imageTab struct{ List, Name string }

// PlatformID is the image_id of the platform that is chosen, "" for all.
func (i *imageContent) PlatformID() string {
	if i.Platform == "" {
		return ""
	}
	return i.ID
}

// Partial reports whether something of the image was not looked into, or is not
// known.
func (i *imageContent) Partial() bool {
	return i.Image.ScanStatus != "success" || i.Image.ScanFailedCode != "" || i.UnknownNum > 0 || i.AdvisorySet == ""
}

// image shows the image that registry_id, namespace, image_name and
// image_version name.
func (c *console) image(ctx context.Context, r *request) (any, error) {
	v, err := c.findImage(ctx, r)
	if err != nil {
		return nil, err
	}
	v.ID, v.List = v.Image.ImageID, imageLists()[0]
	if list := r.URL.Query().Get("list"); slices.Contains(imageLists(), list) {
		v.List = list
	}
	for _, p := range v.Image.AssociationImages {
		if p.ImageID == r.URL.Query().Get("platform") {
			v.ID, v.Platform = p.ImageID, p.Platform
		}
	}
	path := "/image/" + url.PathEscape(v.ID)
	switch err := c.contents(ctx, r, v, path); {
	case err == nil:
		return v, nil
	case statusOf(err) < 500 && statusOf(err) != 403 && v.Image.ScanStatus != "success":
		v.Unknown = err.Error()
		return v, nil
	default:
		return nil, err
	}
}

// contents reads what is known of the image, and the list that the page shows.
func (c *console) contents(ctx context.Context, r *request, v *imageContent, path string) error {
	var bases listOf[hssapi.ImageBasicImageInfo]
	if err := c.get(ctx, r, path+"/basic-image", url.Values{"image_type": {v.Image.ImageType}, "limit": {"10"}}, &bases); err != nil {
		return err
	}
	v.Bases = bases.DataList
	var found struct {
		listOf[hssapi.ImageVulInfo]
		UnknownNum    int    `json:"unknown_num"`
		AdvisorySet   string `json:"advisory_set"`
		EvaluatedTime int64  `json:"evaluated_time"`
	}
	filters := []string{"vul_id", "app_name", "type", "handle_status", "repair_necessity"}
	q := r.query(filters...)
	if v.List != "vulnerabilities" {
		q = url.Values{"limit": {"10"}} // for what is said of the image as a whole
	}
	named := map[string]string{
		"image_type": v.Image.ImageType, "namespace": v.Image.Namespace, "image_name": v.Image.ImageName, "tag_name": v.Image.ImageVersion,
	}
	for name, value := range named {
		q.Set(name, value)
	}
	if err := c.get(ctx, r, path+"/vulnerabilities", q, &found); err != nil {
		return err
	}
	v.Vulnerabilities, v.UnknownNum, v.AdvisorySet, v.Evaluated = found.DataList, found.UnknownNum, found.AdvisorySet, found.EvaluatedTime
	v.Paging, v.Filter = r.paging(len(found.DataList), found.TotalNum), r.given(filters...)
	return c.imageList(ctx, r, v, path)
}

// imageList reads the list that the page shows, unless it is that of the
// vulnerabilities.
func (c *console) imageList(ctx context.Context, r *request, v *imageContent, path string) error {
	own := "/images/" + url.PathEscape(v.ID)
	switch v.List {
	case "packages":
		var packages listOf[hssapi.ImageAppsInfo]
		q := r.query("app_name")
		q.Set("image_type", v.Image.ImageType)
		if err := c.get(ctx, r, path+"/apps", q, &packages); err != nil {
			return err
		}
		v.Packages, v.Paging = packages.DataList, r.paging(len(packages.DataList), packages.TotalNum)
	case "files":
		var files listOf[hssapi.ImageFileInfo]
		q := r.query("file_name")
		q.Set("image_type", v.Image.ImageType)
		if err := c.get(ctx, r, path+"/files", q, &files); err != nil {
			return err
		}
		v.Files, v.Filter = files.DataList, r.given("file_name")
		v.Paging = r.paging(len(files.DataList), files.TotalNum)
	case "layers":
		var builds adminapi.List[adminapi.ImageBuild]
		if err := c.ownWith(ctx, r, own+"/layers", url.Values{}, &builds); err != nil {
			return err
		}
		v.Builds = builds.Items
	case "history":
		var events adminapi.List[feedEvent]
		if err := c.ownWith(ctx, r, own+"/changes", url.Values{"limit": {"50"}}, &events); err != nil {
			return err
		}
		v.Events = events.Items
	}
	return nil
}

// findImage returns the image that the parameters name exactly.
func (c *console) findImage(ctx context.Context, r *request) (*imageContent, error) {
	names := []string{"registry_id", "namespace", "image_name", "image_version"}
	given, q := r.given(names...), r.query(names...)
	for offset := 0; ; offset += 200 {
		q.Set("offset", strconv.Itoa(offset))
		q.Set("limit", "200")
		var found listOf[hssapi.RegistryImagesInfo]
		if err := c.get(ctx, r, "/image/registries/images", q, &found); err != nil {
			return nil, err
		}
		for _, i := range found.DataList {
			if i.RegistryID == given["registry_id"] && i.Namespace == given["namespace"] && i.ImageName == given["image_name"] && i.ImageVersion == given["image_version"] {
				return &imageContent{Image: i}, nil
			}
		}
		if len(found.DataList) < 200 {
			return nil, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such image; it may have been removed from its registry")
		}
	}
}
