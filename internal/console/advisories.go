package console

import (
	"context"
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

// advisories shows what images are judged by.
func (c *console) advisories(ctx context.Context, r *request) (any, error) {
	v := &adminapi.AdvisoryStatus{}
	return v, c.api.Do(ctx, http.MethodGet, "/tidewaiter/v1/advisories", nil, nil, v)
}

// importAdvisories has the server read a URL; without one, what is new of all
// sources. The page is there when that is done.
func (c *console) importAdvisories(ctx context.Context, r *request) (string, error) {
	path, body := "update", any(nil)
	if location := r.PostFormValue("url"); location != "" {
		path, body = "import", map[string][]string{"urls": {location}}
	}
	var result adminapi.ImportResult
	if err := c.api.Do(ctx, http.MethodPost, "/tidewaiter/v1/advisories/"+path, nil, body, &result); err != nil {
		return "", err
	}
	return projectPath(r.project) + "advisories", nil
}
