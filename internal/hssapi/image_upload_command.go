package hssapi

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/uploadcmd"
)

func (s *server) registerImageUploadCommand() {
	op := s.operation("ShowImageUploadCommand")
	op.ChecksItself = true // uploadcmd.ParseRequest
	gateway.Register(s.api, op, s.showImageUploadCommand)
}

type imageUploadCommandInput struct {
	ProjectID           string `path:"project_id" minLength:"1" maxLength:"256" doc:"Project id."`
	RegistryAddr        string `query:"registry_addr" required:"true" minLength:"1" maxLength:"256" doc:"Address of the registry: host, host:port, IPv4, [IPv6]:port, with or without http:// or https://." example:"registry.example.com:5000"`
	Namespace           string `query:"namespace" required:"true" minLength:"1" maxLength:"128" doc:"Project or directory of the registry that receives the scan component; it may have several path components." example:"library"`
	Username            string `query:"username" required:"true" minLength:"1" maxLength:"128" doc:"User who may push to the registry."`
	Password            string `query:"password" required:"true" minLength:"1" maxLength:"128" doc:"The user's password. It is used to build the command, and neither stored nor logged."`
	EnterpriseProjectID string `query:"enterprise_project_id" minLength:"1" maxLength:"256" doc:"Accepted for compatibility; the answer does not depend on it."`
	Platform            string `query:"platform" enum:"linux/amd64,linux/arm64" default:"linux/amd64" doc:"Beyond the contract: the platform of the nodes that will run the component."`
}

type imageUploadCommandOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		ImageCommand        string `json:"image_command" minLength:"1" maxLength:"1024" doc:"Shell command that uploads the image; run it where the zip was unpacked. The same in dash, bash and zsh."`
		ImagesDownloadURL   string `json:"images_download_url" minLength:"1" maxLength:"256" doc:"Where the zip with the image archives is; public and resumable."`
		SwrImagePullCommand string `json:"swr_image_pull_command" minLength:"1" maxLength:"1024" doc:"Shell command that pulls the same image by digest, from this server or the operator's mirror."`
	}
}

func (s *server) showImageUploadCommand(_ context.Context, in *imageUploadCommandInput) (*imageUploadCommandOutput, error) {
	req, err := uploadcmd.ParseRequest(in.RegistryAddr, in.Namespace, in.Username, in.Password)
	if err != nil {
		return nil, err
	}
	archive, ok := s.component.Archives[in.Platform]
	if !ok {
		return nil, tidewaiter.InvalidField("platform", "the scan component has no image for it; use linux/amd64 or linux/arm64")
	}
	out := &imageUploadCommandOutput{CacheControl: "no-store"}
	out.Body.ImageCommand = uploadcmd.Push(req, uploadcmd.Image{
		Name: s.component.Image, Version: s.component.Version, Archive: archive,
	})
	out.Body.ImagesDownloadURL = s.component.DownloadURL
	out.Body.SwrImagePullCommand = s.pull
	return out, nil
}
