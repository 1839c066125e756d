package hssapi

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerBaseImage() {
	gateway.Register(s.api, s.operation("ListImageBasicImage"), s.listImageBasicImage)
}

// ImageBasicImageInfo is what an image was built from on the wire.
type ImageBasicImageInfo struct {
	OSName       string `json:"os_name" doc:"Such as Debian GNU/Linux 12 (bookworm); of an image without an operating system it is empty."`
	OSVersion    string `json:"os_version" doc:"Such as 12."`
	LayerDigest  string `json:"layer_digest" doc:"The topmost layer that comes from the base image, as in the registry that has the base image."`
	ImageType    string `json:"image_type,omitempty" enum:"SwrPrivate,SwrShared,SwrEnterprise,Harbor,Jfrog,Other" doc:"Beyond the contract, as all below: which image that is. They are missing if none is known, and the operating system is that of the lowest layer."`
	Namespace    string `json:"namespace,omitempty"`
	ImageName    string `json:"image_name,omitempty"`
	ImageVersion string `json:"image_version,omitempty"`
	ImageID      string `json:"image_id,omitempty"`
}

// listImageBasicImageInput has no ranges in the contract, but for the enum: those
// of the page are this server's own.
type listImageBasicImageInput struct {
	InProject
	Limit        int    `query:"limit" format:"int32" minimum:"1" maximum:"200" default:"10"`
	Offset       int    `query:"offset" format:"int32" minimum:"0" maximum:"2000000" default:"0"`
	ImageID      string `path:"image_id" doc:"As in ListRegistryImages: of an image, of an index of images of several platforms, or of one of these."`
	ImageType    string `query:"image_type" required:"true" enum:"private_image,shared_image,instance_image,cicd,harbor,jfrog,other" doc:"jfrog and other are beyond the contract. This release has no images of CI/CD."`
	Namespace    string `query:"namespace" doc:"First part of the repository's name. What is left out or empty fits everything, here and below."`
	ImageName    string `query:"image_name" doc:"Rest of the repository's name."`
	ImageVersion string `query:"image_version" doc:"Tag."`
	OSName       string `query:"os_name" doc:"Part of the name of the operating system, or of its id such as debian, in upper or lower case."`
	Region       string `header:"region" required:"true" doc:"Required for compatibility; the answer does not depend on it."`
}

type listImageBasicImageOutput struct {
	Body struct {
		TotalNum int32                 `json:"total_num"`
		DataList []ImageBasicImageInfo `json:"data_list" nullable:"false" doc:"The images that have the most of this image's lowest layers, and no others: all their tags, in all registries that the caller may see. If there is none, the operating system of the lowest layer, if that has one."`
	}
}

func (s *server) listImageBasicImage(ctx context.Context, in *listImageBasicImageInput) (*listImageBasicImageOutput, error) {
	ref, err := imageReference(in.ImageType, in.ImageID, in.Namespace, in.ImageName, in.ImageVersion)
	if err != nil {
		return nil, err
	}
	found, total, err := s.inventory.BaseImages(ctx, s.extent(ctx, "ListImageBasicImage", in.InProject), ref, in.OSName, store.Page{Offset: in.Offset, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := &listImageBasicImageOutput{}
	out.Body.TotalNum = count32(total)
	out.Body.DataList = wireAll(found, func(b tidewaiter.BaseImage) ImageBasicImageInfo {
		return ImageBasicImageInfo{
			OSName: b.OSName, OSVersion: b.OSVersion, LayerDigest: string(b.Layer), ImageType: string(b.Image.RegistryType),
			Namespace: b.Image.Namespace, ImageName: b.Image.Name, ImageVersion: b.Image.Tag, ImageID: b.Image.ImageID,
		}
	})
	return out, nil
}
