package hssapi_test

import (
	"os"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	hss "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// documentedSDK is what docs/sdk.md shows, line by line, for an endpoint.
func documentedSDK(endpoint, ak, sk, projectID string) (*model.ListRegistryImagesResponse, error) {
	auth, err := basic.NewCredentialsBuilder().WithAk(ak).WithSk(sk).WithProjectId(projectID).SafeBuild()
	if err != nil {
		return nil, err
	}
	http, err := hss.HssClientBuilder().WithEndpoints([]string{endpoint}).WithCredential(auth).SafeBuild()
	if err != nil {
		return nil, err
	}
	images, err := hss.NewHssClient(http).ListRegistryImages(&model.ListRegistryImagesRequest{})
	return images, err
}

// TestDocumentedSDK runs the Go example of docs/sdk.md, and finds it unchanged
// in this file.
func TestDocumentedSDK(t *testing.T) {
	page, err := os.ReadFile("../../docs/sdk.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("sdk_docs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(page), "```go\n")
	example, _, ended := strings.Cut(example, "```")
	if !found || !ended {
		t.Fatal("docs/sdk.md has no example in Go")
	}
	example = strings.ReplaceAll(example, `"https://tidewaiter.example.com"`, "endpoint")
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if !strings.Contains(words(string(source)), words(example)) {
		t.Errorf("documentedSDK is not what docs/sdk.md shows:\n%s", example)
	}

	h := newHouse(t)
	images, err := documentedSDK(h.url, h.boot.AccessKey, h.boot.SecretKey, h.boot.Project.ID)
	h.must(err)
	if images.HttpStatusCode != 200 || images.TotalNum == nil || *images.TotalNum != 0 {
		t.Errorf("got %d, %v", images.HttpStatusCode, images)
	}
}
