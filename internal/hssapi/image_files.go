package hssapi

import (
	"context"
	"math"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerImageFiles() {
	gateway.Register(s.api, s.operation("ListImageFiles"), s.listImageFiles)
	gateway.Register(s.api, s.operation("ListGlobalImageFiles"), s.listGlobalImageFiles)
	gateway.Register(s.api, s.operation("ShowImageFilesStat"), s.showImageFilesStat)
}

// mostFiles is where the contract's number of files ends.
const mostFiles = 65_535

// ImageFileInfo is a file that belongs to no package on the wire.
type ImageFileInfo struct {
	FileName string `json:"file_name"`
	FilePath string `json:"file_path" doc:"Absolute. Neither it nor the name is cut to the contract's 256 characters."`
	Size     int32  `json:"size" doc:"Bytes. The contract's range ends at 65,535, which files do not keep to: this is the true size, or 2,147,483,647 of a file that is larger."`
}

type listImageFilesInput struct {
	InProject
	Page
	ImageID   string `path:"image_id" minLength:"0" maxLength:"256" doc:"As in ListRegistryImages: of an image, of an index of images of several platforms, or of one of these."`
	ImageType string `query:"image_type" required:"true" enum:"private_image,shared_image,instance_image,cicd,harbor,jfrog,other" doc:"jfrog and other are beyond the contract. This release has no images of CI/CD."`
	Namespace string `query:"namespace" minLength:"0" maxLength:"256" doc:"First part of the repository's name. What is left out or empty fits everything, here and below."`
	ImageName string `query:"image_name" minLength:"0" maxLength:"256" doc:"Rest of the repository's name."`
	TagName   string `query:"tag_name" minLength:"0" maxLength:"256" doc:"Tag."`
	FileName  string `query:"file_name" minLength:"0" maxLength:"256" doc:"Part of the file's name, the last part of its path, in upper or lower case."`
}

type listImageFilesOutput struct {
	Body struct {
		TotalNum int32           `json:"total_num" doc:"At most 65,535, as the contract has it; what lies beyond can be listed all the same."`
		DataList []ImageFileInfo `json:"data_list" nullable:"false" doc:"Regular files that belong to no package: layer by layer, the lowest first; of an image of several platforms by path, the same path and size once."`
	}
}

func (s *server) listImageFiles(ctx context.Context, in *listImageFilesInput) (*listImageFilesOutput, error) {
	ref, err := imageReference(in.ImageType, in.ImageID, in.Namespace, in.ImageName, in.TagName)
	if err != nil {
		return nil, err
	}
	found, total, err := s.inventory.ImageFiles(ctx, s.extent(ctx, "ListImageFiles", in.InProject), ref, in.FileName, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	out := &listImageFilesOutput{}
	out.Body.TotalNum = count32(min(total, mostFiles))
	out.Body.DataList = wireAll(found, func(f tidewaiter.ImageFile) ImageFileInfo {
		return ImageFileInfo{FileName: f.Name, FilePath: f.Path, Size: bytes32(f.Size)}
	})
	return out, nil
}

// bytes32 returns a number of bytes as far as the wire has room for it.
func bytes32(n int64) int32 { return int32(min(n, math.MaxInt32)) } //nolint:gosec // it fits

// ImageFileResponseInfo is such a file of an image of one platform on the wire.
type ImageFileResponseInfo struct {
	FileName     string `json:"file_name"`
	FilePath     string `json:"file_path" doc:"Absolute. Neither it nor the name is cut to the contract's 256 characters."`
	Size         int64  `json:"size" doc:"Bytes. The contract's range ends at 65,535, which files do not keep to: this is the true size."`
	LayerDigest  string `json:"layer_digest" doc:"Beyond the contract, as all below: the layer that has the file, as in the registry."`
	ImageType    string `json:"image_type" enum:"SwrPrivate,SwrShared,SwrEnterprise,Harbor,Jfrog,Other"`
	Namespace    string `json:"namespace" doc:"Of a tag that stands for the image, as the two below; empty if none does any more."`
	ImageName    string `json:"image_name"`
	ImageVersion string `json:"image_version"`
	ImageID      string `json:"image_id" doc:"Of the image of one platform."`
}

type listGlobalImageFilesInput struct {
	InProject
	InRegion
	Page
	ImageType string `query:"image_type" enum:"registry,cicd" doc:"This release has images of registries only."`
	FileName  string `query:"file_name" minLength:"0" maxLength:"65535" doc:"Part of the file's name, the last part of its path, in upper or lower case."`
}

type listGlobalImageFilesOutput struct {
	Body struct {
		TotalNum int32                   `json:"total_num" doc:"At most 65,535, as the contract has it; what lies beyond can be listed all the same."`
		DataList []ImageFileResponseInfo `json:"data_list" nullable:"false" doc:"Regular files that belong to no package, each once for each image of one platform that has it: by registry and image; with file_name by name."`
	}
}

func (s *server) listGlobalImageFiles(ctx context.Context, in *listGlobalImageFilesInput) (*listGlobalImageFilesOutput, error) {
	out := &listGlobalImageFilesOutput{}
	out.Body.DataList = []ImageFileResponseInfo{}
	if in.ImageType == "cicd" {
		return out, nil // there is none
	}
	found, total, err := s.inventory.Files(ctx, s.extent(ctx, "ListGlobalImageFiles", in.InProject), in.FileName, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	out.Body.TotalNum = count32(min(total, mostFiles))
	out.Body.DataList = wireAll(found, func(f tidewaiter.FoundFile) ImageFileResponseInfo {
		return ImageFileResponseInfo{
			FileName: f.Name, FilePath: f.Path, Size: f.Size, LayerDigest: string(f.Layer), ImageType: string(f.Image.RegistryType),
			Namespace: f.Image.Namespace, ImageName: f.Image.Name, ImageVersion: f.Image.Tag, ImageID: f.Image.ImageID,
		}
	})
	return out, nil
}

// showImageFilesStatInput has no ranges in the contract, but for the enum.
type showImageFilesStatInput struct {
	InProject
	ImageID   string `path:"image_id" doc:"As in ListRegistryImages: of an image, of an index of images of several platforms, or of one of these."`
	ImageType string `query:"image_type" required:"true" enum:"private_image,shared_image,local_image,instance_image,registry,local,harbor,jfrog,other" doc:"registry is any of those of registries; harbor, jfrog and other are beyond the contract. This release looks at no images of hosts."`
	Namespace string `query:"namespace" doc:"First part of the repository's name. What is left out or empty fits everything, here and below."`
	ImageName string `query:"image_name" doc:"Rest of the repository's name."`
	TagName   string `query:"tag_name" doc:"Tag."`
	Region    string `header:"region" required:"true" doc:"Required for compatibility; the answer does not depend on it."`
}

type showImageFilesStatOutput struct {
	Body struct {
		TotalFilesNum  int32 `json:"total_files_num" doc:"Regular files, of packages or not; of an index the sum over its platforms."`
		TotalFilesSize int32 `json:"total_files_size" doc:"Their bytes, uncompressed; 2,147,483,647 if they are more."`
	}
}

func (s *server) showImageFilesStat(ctx context.Context, in *showImageFilesStatInput) (*showImageFilesStatOutput, error) {
	ref, err := imageReference(in.ImageType, in.ImageID, in.Namespace, in.ImageName, in.TagName)
	if err != nil {
		return nil, err
	}
	n, err := s.inventory.FileStatistics(ctx, s.extent(ctx, "ShowImageFilesStat", in.InProject), ref)
	if err != nil {
		return nil, err
	}
	out := &showImageFilesStatOutput{}
	out.Body.TotalFilesNum, out.Body.TotalFilesSize = count32(n.Files), bytes32(n.Bytes)
	return out, nil
}
