package console

import (
	"context"
	"net/http"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

// handle ignores a vulnerability of one image, or takes that back, and goes back
// to the page of the image.
func (c *console) handle(ctx context.Context, r *request) (string, error) {
	body := hssapi.HandleImageVulnerabilityRequestBody{
		ImageType: "registry", SelectType: "image_view",
		Type: r.PostFormValue("type"), OperateType: r.PostFormValue("operate_type"), Remark: r.PostFormValue("remark"),
		ImageDataList: []hssapi.HandleImageVulnerabilityRequestBodyImageDataList{
			{ImageID: r.PostFormValue("image_id"), VulIDList: []string{r.PostFormValue("vul_id")}},
		},
	}
	err := c.send(ctx, r, http.MethodPost, "/image/vulnerability/handle", tidewaiter.AllGrantedEnterpriseProjects, body)
	return local(r.PostFormValue("next")), err
}
