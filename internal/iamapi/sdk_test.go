package iamapi_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	hss "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// sdk builds the vendor's client without a project id: it looks the project up
// by the name of the region.
func (h *house) sdk(ak, sk, regionID string) (*hss.HssClient, error) {
	h.Helper()
	auth, err := basic.NewCredentialsBuilder().WithAk(ak).WithSk(sk).WithIamEndpointOverride(h.url).SafeBuild()
	h.must(err)
	client, err := hss.HssClientBuilder().WithRegion(region.NewRegion(regionID, h.url)).WithCredential(auth).SafeBuild()
	if err != nil {
		return nil, err
	}
	return hss.NewHssClient(client), nil
}

func (h *house) request() *model.ShowImageUploadCommandRequest {
	return &model.ShowImageUploadCommandRequest{
		RegistryAddr: "registry.example.com:5000", Namespace: "library/a", Username: "robot$ci", Password: "it's a secret & more+%",
	}
}

func TestSDKFindsProjectByRegion(t *testing.T) {
	h := newHouse(t)
	client, err := h.sdk(h.boot.AccessKey, h.boot.SecretKey, "default")
	h.must(err)
	resp, err := client.ShowImageUploadCommand(h.request())
	h.must(err)
	for name, text := range map[string]*string{
		"docker load": resp.ImageCommand, endpoint + "/components/": resp.ImagesDownloadUrl, "docker pull tidewaiter.example.com/": resp.SwrImagePullCommand,
	} {
		if text == nil || !strings.Contains(*text, name) {
			t.Errorf("%q is not in %v", name, text)
		}
	}

	if _, err := h.sdk(h.boot.AccessKey, h.boot.SecretKey, "nowhere"); err == nil {
		t.Error("the SDK found a project for a region that has none")
	}
	// The SDK remembers the project of an access key and a region.
	_, err = h.sdk("NOSUCHACCESSKEY00000", h.boot.SecretKey, "default")
	if err == nil || !strings.Contains(err.Error(), "ak not exist") {
		t.Errorf("with an unknown access key the SDK says: %v", err)
	}
}

func TestSDKReadsErrors(t *testing.T) {
	h := newHouse(t)
	client, err := h.sdk(h.boot.AccessKey, h.boot.SecretKey, "default")
	h.must(err)
	check := func(err error, status int, code, message string) {
		t.Helper()
		e, ok := errors.AsType[*sdkerr.ServiceResponseError](err)
		if !ok {
			t.Fatalf("got %T %v", err, err)
		}
		if e.StatusCode != status || e.ErrorCode != code || !strings.Contains(e.ErrorMessage, message) || len(e.RequestId) != 32 {
			t.Errorf("got %+v, want %d %s with %q and a request id", e, status, code, message)
		}
		if strings.Contains(err.Error(), "secret &") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
	req := h.request()
	req.RegistryAddr = "me@registry.example.com"
	_, err = client.ShowImageUploadCommand(req)
	check(err, 400, "HSS.0001", "registry_addr")

	_, err = client.ListCicdConfigurations(&model.ListCicdConfigurationsRequest{})
	check(err, 404, "APIGW.0101", "does not have it yet")

	for _, key := range h.keys() {
		h.must(h.id.EnableAccessKey(t.Context(), h.root, key, false))
	}
	_, err = client.ShowImageUploadCommand(h.request())
	check(err, 401, "APIGW.0301", "Incorrect IAM authentication information")
}

// keys returns the access keys of the first user.
func (h *house) keys() []string {
	h.Helper()
	keys, err := h.id.AccessKeys(h.Context(), h.root, "admin")
	h.must(err)
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}
