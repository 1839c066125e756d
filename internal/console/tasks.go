package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

type tasksContent struct {
	Tasks  []hssapi.ImageScanTaskInfo
	Type   string // image_scan or image_sync
	Paging paging
}

func (c *console) tasks(ctx context.Context, r *request) (any, error) {
	v := &tasksContent{Type: r.URL.Query().Get("type")}
	if v.Type == "" {
		v.Type = "image_scan"
	}
	q := r.query()
	q.Set("type", v.Type)
	var found listOf[hssapi.ImageScanTaskInfo]
	if err := c.get(ctx, r, "/image/tasks", q, &found); err != nil {
		return nil, err
	}
	v.Tasks, v.Paging = found.DataList, r.paging(len(found.DataList), found.TotalNum)
	return v, nil
}

// scan starts a scan: of all images, or of one by its id.
func (c *console) scan(ctx context.Context, r *request) (string, error) {
	body := hssapi.CreateManualImageScanTaskReqInfo{IsAll: true}
	if text := r.PostFormValue("id"); text != "" {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", tidewaiter.InvalidField("id", "it is no number")
		}
		body = hssapi.CreateManualImageScanTaskReqInfo{ImageInfo: []hssapi.CreateManualImageScanTaskReqInfoImageInfo{{ID: id}}}
	}
	err := c.send(ctx, r, http.MethodPost, "/image/image-scan/tasks", r.enterprise, body)
	return projectPath(r.project) + "tasks", err
}

func (c *console) stopTask(ctx context.Context, r *request) (string, error) {
	path := "/image/image-scan/tasks/" + url.PathEscape(r.PathValue("id")) + "/stop"
	return projectPath(r.project) + "tasks", c.send(ctx, r, http.MethodPut, path, tidewaiter.AllGrantedEnterpriseProjects, nil)
}
