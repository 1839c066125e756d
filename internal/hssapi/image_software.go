package hssapi

import (
	"context"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerImageSoftware() {
	gateway.Register(s.api, s.operation("ListImageApps"), s.listImageApps)
	gateway.Register(s.api, s.operation("ListGlobalImageApps"), s.listGlobalImageApps)
}

// imageReference names the image that an operation is about. The types of image
// that this release has none of name none.
func imageReference(imageType, imageID, namespace, name, tag string) (tidewaiter.ImageReference, error) {
	ref := tidewaiter.ImageReference{Namespace: namespace, Name: name, Tag: tag, ImageID: strings.TrimPrefix(imageID, "sha256:")}
	switch imageType {
	case "cicd":
		return ref, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such image: this release has no images of CI/CD; those of registries have another image_type, as ListRegistryImages says")
	case "local", "local_image":
		return ref, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such image: this release looks at no images of hosts; those of registries have another image_type, as ListRegistryImages says")
	case "registry": // any
	default:
		ref.Types = typesOf(imageType)
	}
	return ref, nil
}

// appTypes are the words for types of software, by their types in purls.
func appTypes() map[string]string {
	return map[string]string{
		"deb": "deb", "rpm": "rpm", "apk": "apk", "conda": "conda",
		"pypi": "python", "npm": "nodejs", "golang": "go", "maven": "java", "nuget": "dotnet", "gem": "ruby",
		"composer": "php", "cargo": "rust", "cpan": "perl", "cran": "r",
	}
}

// appType returns the word for a type of software. One that has none is as in purls.
func appType(purl string) string {
	if word, ok := appTypes()[purl]; ok {
		return word
	}
	return purl
}

// ImageAppsInfo is software of an image on the wire.
type ImageAppsInfo struct {
	AppName    string `json:"app_name" doc:"With the group of Maven (group:artifact) and the scope of npm. A name longer than the contract's 64 characters is not cut."`
	AppType    string `json:"app_type" doc:"deb, rpm, apk, conda; python, nodejs, go, java, dotnet, ruby, php, rust, perl, r; else the type of the package URL."`
	AppVersion string `json:"app_version" doc:"As the package manager writes it, with the epoch where there is one."`
	VulNum     int32  `json:"vul_num" doc:"Vulnerabilities that nobody has handled."`
}

type listImageAppsInput struct {
	InProject
	Page
	ImageID   string `path:"image_id" minLength:"0" maxLength:"65535" doc:"As in ListRegistryImages: of an image, of an index of images of several platforms, or of one of these."`
	ImageType string `query:"image_type" required:"true" enum:"private_image,shared_image,instance_image,cicd,harbor,jfrog,other" doc:"jfrog and other are beyond the contract. This release has no images of CI/CD."`
	Namespace string `query:"namespace" minLength:"0" maxLength:"65535" doc:"First part of the repository's name. What is left out or empty fits everything, here and below."`
	ImageName string `query:"image_name" minLength:"0" maxLength:"65535" doc:"Rest of the repository's name."`
	TagName   string `query:"tag_name" minLength:"0" maxLength:"65535" doc:"Tag."`
	AppName   string `query:"app_name" minLength:"0" maxLength:"65535" doc:"Part of the software's name, in upper or lower case."`
}

type listImageAppsOutput struct {
	Body struct {
		TotalNum int32           `json:"total_num"`
		DataList []ImageAppsInfo `json:"data_list" nullable:"false" doc:"By name, version and type, each once, whatever platforms of the image have it."`
	}
}

func (s *server) listImageApps(ctx context.Context, in *listImageAppsInput) (*listImageAppsOutput, error) {
	ref, err := imageReference(in.ImageType, in.ImageID, in.Namespace, in.ImageName, in.TagName)
	if err != nil {
		return nil, err
	}
	found, total, err := s.inventory.ImageSoftware(ctx, s.extent(ctx, "ListImageApps", in.InProject), ref, in.AppName, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	out := &listImageAppsOutput{}
	out.Body.TotalNum = count32(total)
	out.Body.DataList = wireAll(found, func(p tidewaiter.Software) ImageAppsInfo {
		return ImageAppsInfo{AppName: p.Name, AppType: appType(p.Type), AppVersion: p.Version, VulNum: count32(p.Vulnerabilities)}
	})
	return out, nil
}

// ImageAppResponseInfo is software in an image of one platform on the wire.
type ImageAppResponseInfo struct {
	AppName        string `json:"app_name" doc:"As in ListImageApps; not cut to the contract's 128 characters, here and below."`
	AppType        string `json:"app_type" doc:"As in ListImageApps."`
	AppVersion     string `json:"app_version" doc:"As the package manager writes it."`
	VulNum         int32  `json:"vul_num" doc:"Vulnerabilities that nobody has handled."`
	AppPath        string `json:"app_path" doc:"The file that says that the software is there; what is in an archive stands behind !/."`
	LayerDigest    string `json:"layer_digest" doc:"The layer from which on the software is there, as in the registry."`
	IsCompliant    bool   `json:"is_compliant" doc:"true: this release has no rules for what software may not be used."`
	LatestScanTime int64  `json:"latest_scan_time" doc:"Milliseconds."`
	ImageType      string `json:"image_type" enum:"SwrPrivate,SwrShared,SwrEnterprise,Harbor,Jfrog,Other"`
	Namespace      string `json:"namespace" doc:"Of a tag that stands for the image, as the two below; empty if none does any more."`
	ImageName      string `json:"image_name"`
	ImageVersion   string `json:"image_version"`
	ImageID        string `json:"image_id" doc:"Of the image of one platform."`
}

type listGlobalImageAppsInput struct {
	InProject
	InRegion
	Page
	ImageType   string         `query:"image_type" enum:"local,registry,cicd" doc:"This release has images of registries only."`
	AppName     string         `query:"app_name" minLength:"0" maxLength:"32" doc:"Part of the software's name, in upper or lower case."`
	IsCompliant Optional[bool] `query:"is_compliant" doc:"Only false, which lists the software that may not be used: in this release none. Leave it out for all software."`
}

type listGlobalImageAppsOutput struct {
	Body struct {
		TotalNum int32                  `json:"total_num"`
		DataList []ImageAppResponseInfo `json:"data_list" nullable:"false" doc:"By name; each version of a package once for each image of one platform that has it."`
	}
}

func (s *server) listGlobalImageApps(ctx context.Context, in *listGlobalImageAppsInput) (*listGlobalImageAppsOutput, error) {
	out := &listGlobalImageAppsOutput{}
	out.Body.DataList = []ImageAppResponseInfo{}
	switch {
	case in.IsCompliant.Given && in.IsCompliant.Value:
		return nil, tidewaiter.InvalidField("is_compliant", "it can only be false; leave it out for all software")
	case in.IsCompliant.Given, in.ImageType == "local", in.ImageType == "cicd":
		return out, nil // there is none
	}
	found, total, err := s.inventory.Software(ctx, s.extent(ctx, "ListGlobalImageApps", in.InProject), in.AppName, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	out.Body.TotalNum = count32(total)
	out.Body.DataList = wireAll(found, func(p tidewaiter.InstalledSoftware) ImageAppResponseInfo {
		return ImageAppResponseInfo{
			AppName: p.Name, AppType: appType(p.Type), AppVersion: p.Version, VulNum: count32(p.Vulnerabilities), AppPath: p.Path, LayerDigest: string(p.Layer), IsCompliant: true,
			LatestScanTime: milliseconds(p.Image.Scanned), ImageType: string(p.Image.RegistryType),
			Namespace: p.Image.Namespace, ImageName: p.Image.Name, ImageVersion: p.Image.Tag, ImageID: p.Image.ImageID,
		}
	})
	return out, nil
}
