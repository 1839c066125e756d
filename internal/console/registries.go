package console

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

type registriesContent struct {
	Registries []hssapi.RegistryInfo
	Paging     paging
	Filter     map[string]string
}

func (c *console) registries(ctx context.Context, r *request) (any, error) {
	filters := []string{"registry_name", "registry_type", "status"}
	var found listOf[hssapi.RegistryInfo]
	if err := c.get(ctx, r, "/image/registries", r.query(filters...), &found); err != nil {
		return nil, err
	}
	return &registriesContent{found.DataList, r.paging(len(found.DataList), found.TotalNum), r.given(filters...)}, nil
}

type registryContent struct {
	Registry adminapi.RegistryDetails
	Scanned  int // images with a result
	Attached []adminapi.AttachedVEXDocument
}

func (c *console) registry(ctx context.Context, r *request) (any, error) {
	v := &registryContent{}
	if err := c.own(ctx, r, http.MethodGet, "/registries/"+url.PathEscape(r.PathValue("id")), &v.Registry); err != nil {
		return nil, err
	}
	var scanned listOf[struct{}]
	q := url.Values{"registry_id": {v.Registry.ID}, "scan_status": {"success"}, "limit": {"1"}}
	if err := c.get(ctx, r, "/image/registries/images", q, &scanned); err != nil {
		return nil, err
	}
	v.Scanned = scanned.TotalNum
	if v.Registry.Settings.TrustAttachedVEX {
		var attached adminapi.List[adminapi.AttachedVEXDocument]
		err := c.ownWith(ctx, r, "/registries/"+url.PathEscape(v.Registry.ID)+"/attached-vex", url.Values{"limit": {"50"}}, &attached)
		if err != nil && statusOf(err) != http.StatusForbidden {
			return nil, err
		}
		v.Attached = attached.Items
	}
	return v, nil
}

// trustVEX sets whether what VEX documents say counts that are attached to images.
func (c *console) trustVEX(ctx context.Context, r *request) (string, error) {
	trust := r.PostFormValue("trust") == "yes"
	id := url.PathEscape(r.PathValue("id"))
	return projectPath(r.project) + "registries/" + id, c.change(ctx, r, http.MethodPatch, "/registries/"+id, adminapi.RegistryChange{TrustAttachedVEX: &trust}, nil)
}

// connectContent is the form that connects a registry. The password is never
// sent back.
type connectContent struct {
	Form     hssapi.AddRegistryRequestBody
	Clusters []adminapi.Cluster
	Endpoint string
}

func (c *console) connect(ctx context.Context, r *request) (any, error) {
	v := &connectContent{Endpoint: c.endpoint, Form: hssapi.AddRegistryRequestBody{
		RegistryType: "Other", Protocol: "https", ConnectClusterID: tidewaiter.LocalClusterID,
	}}
	var clusters adminapi.List[adminapi.Cluster]
	err := c.own(ctx, r, http.MethodGet, "/clusters", &clusters)
	v.Clusters = clusters.Items
	return v, err
}

func (c *console) addRegistry(ctx context.Context, r *request) (string, error) {
	blank, err := c.connect(ctx, r)
	if err != nil {
		return "", err
	}
	v := blank.(*connectContent)
	v.Form = hssapi.AddRegistryRequestBody{
		RegistryName: r.PostFormValue("registry_name"), RegistryType: r.PostFormValue("registry_type"), APIVersion: "V2",
		Protocol: r.PostFormValue("protocol"), RegistryAddr: r.PostFormValue("registry_addr"),
		RegistryUsername: r.PostFormValue("registry_username"), RegistryPassword: r.PostFormValue("registry_password"),
		Namespace: r.PostFormValue("namespace"), ConnectClusterID: r.PostFormValue("connect_cluster_id"), GetScanImageChannel: "Other",
	}
	err = c.send(ctx, r, http.MethodPost, "/image/registries", r.enterprise, v.Form)
	name := v.Form.RegistryName
	v.Form.RegistryPassword = ""
	if err != nil {
		return "", &formError{err, v}
	}
	var added listOf[hssapi.RegistryInfo]
	if err := c.get(ctx, r, "/image/registries", url.Values{"registry_name": {name}, "limit": {"10"}}, &added); err != nil {
		return "", err
	}
	for _, one := range added.DataList {
		if one.RegistryName == name {
			return projectPath(r.project) + "registries/" + url.PathEscape(one.ID), nil
		}
	}
	return projectPath(r.project) + "registries", nil
}

func (c *console) testRegistry(ctx context.Context, r *request) (string, error) {
	return c.onRegistry(ctx, r, http.MethodPost, "/test")
}

func (c *console) synchronizeRegistry(ctx context.Context, r *request) (string, error) {
	return c.onRegistry(ctx, r, http.MethodPost, "/synchronize")
}

func (c *console) onRegistry(ctx context.Context, r *request, method, what string) (string, error) {
	id := url.PathEscape(r.PathValue("id"))
	return projectPath(r.project) + "registries/" + id, c.own(ctx, r, method, "/registries/"+id+what, nil)
}

func (c *console) deleteRegistry(ctx context.Context, r *request) (string, error) {
	path := "/image/registries/" + url.PathEscape(r.PathValue("id"))
	return projectPath(r.project) + "registries", c.send(ctx, r, http.MethodDelete, path, tidewaiter.AllGrantedEnterpriseProjects, nil)
}

// uploadContent is the form of the upload command, and the command.
type uploadContent struct {
	Address, Namespace, Username, Platform string
	Command                                *struct {
		ImageCommand string `json:"image_command"`
		DownloadURL  string `json:"images_download_url"`
		PullCommand  string `json:"swr_image_pull_command"`
	}
}

func (c *console) uploadCommand(context.Context, *request) (any, error) {
	return &uploadContent{Platform: "linux/amd64"}, nil
}

// makeUploadCommand shows the commands on the page of the form. The password is
// in no address: the form is posted, and the API is asked in this process.
func (c *console) makeUploadCommand(ctx context.Context, r *request) (string, error) {
	v := &uploadContent{
		Address: r.PostFormValue("registry_addr"), Namespace: r.PostFormValue("namespace"),
		Username: r.PostFormValue("username"), Platform: r.PostFormValue("platform"),
	}
	err := c.get(ctx, r, "/image/registries/image-upload-command", url.Values{
		"registry_addr": {v.Address}, "namespace": {v.Namespace}, "username": {v.Username},
		"password": {r.PostFormValue("password")}, "platform": {v.Platform},
	}, &v.Command)
	if err != nil {
		v.Command = nil
	}
	return "", &formError{err, v}
}
