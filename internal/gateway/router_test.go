package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRouter(t *testing.T) {
	root := &router{}
	for _, pattern := range []string{
		"GET /v5/{p}/image/whitelists/{id}", "GET /v5/{p}/image/{image_id}/vulnerabilities",
		"GET /v5/{p}/image/registries/images", "GET /v5/{p}/image/{vul_id}/images",
		"GET /v5/{p}/image/registries", "POST /v5/{p}/image/registries", "PUT /v5/{p}/image/registries/{id}",
		"HEAD /v3/auth/tokens", "GET /v3/auth/tokens",
	} {
		root.add(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			values := []string{r.Pattern}
			for _, name := range []string{"p", "id", "image_id", "vul_id"} {
				if v := r.PathValue(name); v != "" {
					values = append(values, name+"="+v)
				}
			}
			w.Header().Set("Got", strings.Join(values, " "))
		}))
	}
	tests := []struct{ request, want string }{
		{"GET /v5/1/image/whitelists/7", "GET /v5/{p}/image/whitelists/{id} p=1 id=7"},
		{"GET /v5/1/image/whitelists/vulnerabilities", "GET /v5/{p}/image/whitelists/{id} p=1 id=vulnerabilities"},
		{"GET /v5/1/image/sha/vulnerabilities", "GET /v5/{p}/image/{image_id}/vulnerabilities p=1 image_id=sha"},
		{"GET /v5/1/image/registries/images", "GET /v5/{p}/image/registries/images p=1"},
		{"GET /v5/1/image/CVE-1/images", "GET /v5/{p}/image/{vul_id}/images p=1 vul_id=CVE-1"},
		// The literal leads nowhere for these; the parameter does.
		{"GET /v5/1/image/registries/vulnerabilities", "GET /v5/{p}/image/{image_id}/vulnerabilities p=1 image_id=registries"},
		{"GET /v5/1/image/whitelists/images", "GET /v5/{p}/image/whitelists/{id} p=1 id=images"},
		{"GET /v5/1/image/a%2Fb/images", "GET /v5/{p}/image/{vul_id}/images p=1 vul_id=a/b"},
		{"PUT /v5/1/image/registries/9", "PUT /v5/{p}/image/registries/{id} p=1 id=9"},
		{"HEAD /v5/1/image/registries", "GET /v5/{p}/image/registries p=1"},
		{"HEAD /v3/auth/tokens", "HEAD /v3/auth/tokens"},
		{"DELETE /v5/1/image/registries", ""},
		{"GET /v5/1/image/registries/", ""},
		{"GET /v5//image/registries", ""},
		{"GET /v5/1/image", ""},
		{"GET /", ""},
	}
	for _, tt := range tests {
		method, target, _ := strings.Cut(tt.request, " ")
		w := httptest.NewRecorder()
		found := root.serve(w, httptest.NewRequest(method, target, nil))
		if got := w.Header().Get("Got"); got != tt.want || found != (tt.want != "") {
			t.Errorf("%s: got %q, want %q", tt.request, got, tt.want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a pattern was registered twice without complaint")
		}
	}()
	root.add("GET /v3/auth/tokens", nil)
}
