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

// documentedUploadCommand is what README.md shows.
func documentedUploadCommand(endpoint, ak, sk, projectID string) (*model.ShowImageUploadCommandResponse, error) {
	auth, err := basic.NewCredentialsBuilder().WithAk(ak).WithSk(sk).WithProjectId(projectID).SafeBuild()
	if err != nil {
		return nil, err
	}
	http, err := hss.HssClientBuilder().WithEndpoints([]string{endpoint}).WithCredential(auth).SafeBuild()
	if err != nil {
		return nil, err
	}
	answer, err := hss.NewHssClient(http).ShowImageUploadCommand(&model.ShowImageUploadCommandRequest{
		RegistryAddr: "registry.example.com:5000", Namespace: "library", Username: "me", Password: "secret",
	})
	return answer, err
}

// TestDocumentedSDK runs the Go examples of README.md and docs/sdk.md, and finds
// them unchanged in this file.
func TestDocumentedSDK(t *testing.T) {
	source, err := os.ReadFile("sdk_docs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for page, endpoint := range map[string]string{"README.md": `"http://127.0.0.1:8080"`, "docs/sdk.md": `"https://tidewaiter.example.com"`} {
		text, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		_, example, found := strings.Cut(string(text), "```go\n")
		example, _, ended := strings.Cut(example, "```")
		if !found || !ended {
			t.Fatalf("%s has no example in Go", page)
		}
		if example = strings.ReplaceAll(example, endpoint, "endpoint"); !strings.Contains(words(string(source)), words(example)) {
			t.Errorf("%s shows what is not run here:\n%s", page, example)
		}
	}

	h := newHouse(t)
	images, err := documentedSDK(h.url, h.boot.AccessKey, h.boot.SecretKey, h.boot.Project.ID)
	h.must(err)
	if images.HttpStatusCode != 200 || images.TotalNum == nil || *images.TotalNum != 0 {
		t.Errorf("got %d, %v", images.HttpStatusCode, images)
	}
	answer, err := documentedUploadCommand(h.url, h.boot.AccessKey, h.boot.SecretKey, h.boot.Project.ID)
	h.must(err)
	if answer.ImageCommand == nil || !strings.Contains(*answer.ImageCommand, "docker push") {
		t.Errorf("the command is %v", answer.ImageCommand)
	}
}
