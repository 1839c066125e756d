//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	hss "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

const curl = "/usr/bin/curl"

// sdk returns the vendor's client, signing with the first access key. It is the
// same each time: the client keeps connections open, and cannot be closed.
func (s *server) sdk(t testing.TB) *hss.HssClient {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client
	}
	auth, err := basic.NewCredentialsBuilder().WithAk(s.AccessKey).WithSk(s.SecretKey).WithProjectId(s.ProjectID).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	client, err := hss.HssClientBuilder().WithEndpoints([]string{s.URL}).WithCredential(auth).
		WithHttpConfig(config.DefaultHttpConfig().WithIgnoreSSLVerification(true)).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	s.client = hss.NewHssClient(client)
	return s.client
}

// answer is what ShowImageUploadCommand answers.
type answer struct {
	ImageCommand        string `json:"image_command"`
	ImagesDownloadURL   string `json:"images_download_url"`
	SwrImagePullCommand string `json:"swr_image_pull_command"`
}

// target is a registry as a user describes it to the operation.
type target struct{ addr, namespace, username, password string }

// askSDK asks with the vendor's SDK and AK/SK.
func (s *server) askSDK(t testing.TB, to target) answer {
	t.Helper()
	resp, err := s.sdk(t).ShowImageUploadCommand(&model.ShowImageUploadCommandRequest{
		RegistryAddr: to.addr, Namespace: to.namespace, Username: to.username, Password: to.password,
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer{*resp.ImageCommand, *resp.ImagesDownloadUrl, *resp.SwrImagePullCommand}
}

// token signs the administrator in with curl, and returns a token for a project.
func (s *server) token(t testing.TB) string {
	t.Helper()
	need(t, curl)
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":`+
		`{"name":%q,"password":%q,"domain":{"name":%q}}}},"scope":{"project":{"name":%q}}}}`,
		s.User, s.Password, s.Domain, s.ProjectName)
	out := output(t, command(nil, curl, "-sSk", "-i", "-H", "Content-Type: application/json",
		"--data-binary", "@-", s.URL+"/v3/auth/tokens"), body)
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(line, ": "); ok && strings.EqualFold(name, "X-Subject-Token") {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no token in:\n%s", out)
	return ""
}

// ownToken is a token of the administrator for the project, the same each time.
func (s *server) ownToken(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signIn == "" {
		s.signIn = s.token(t)
	}
	return s.signIn
}

// askCurl asks with curl and a token. Token and password go through curl's
// configuration on standard input, so that no process has them as arguments.
func (s *server) askCurl(t testing.TB, token string, to target) answer {
	t.Helper()
	quoted := func(v string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) }
	config := fmt.Sprintf("header = \"X-Auth-Token: %s\"\n", token)
	for _, p := range [][2]string{
		{"registry_addr", to.addr}, {"namespace", to.namespace}, {"username", to.username}, {"password", to.password},
		{"enterprise_project_id", "all_granted_eps"}, // as the vendor's example has it
	} {
		config += fmt.Sprintf("data-urlencode = \"%s=%s\"\n", p[0], quoted(p[1]))
	}
	out := output(t, command(nil, curl, "-sS", "-G", "-K", "-",
		s.URL+"/v5/"+s.ProjectID+"/image/registries/image-upload-command"), config)
	var a answer
	if err := json.Unmarshal([]byte(out), &a); err != nil || a.ImageCommand == "" {
		t.Fatalf("curl got %s (%v)", out, err)
	}
	return a
}

// download fetches the zip as a user does, in two pieces, checks what it says of
// itself, and returns the folder where it was unpacked.
func (s *server) download(t testing.TB, url string) string {
	t.Helper()
	need(t, curl, "/usr/bin/unzip", "/usr/bin/sha256sum", "/usr/bin/openssl")
	dir := t.TempDir()
	run := func(input, name string, args ...string) string {
		t.Helper()
		cmd := command(nil, name, args...)
		cmd.Dir = dir
		return output(t, cmd, input)
	}
	zip := filepath.Base(url)
	run("", curl, "-sS", "-f", "-r", "0-99999", "-o", zip, url)
	run("", curl, "-sS", "-f", "-C", "-", "-o", zip, url)
	run("", "/usr/bin/unzip", "-q", zip)
	run("", "/usr/bin/sha256sum", "--quiet", "-c", "SHA256SUMS")
	run("", "/bin/sh", "-c", "base64 -d SHA256SUMS.sig >sig && openssl dgst -sha256 -verify cosign.pub -signature sig SHA256SUMS")
	if published := run("", curl, "-sS", "-f", s.URL+"/components/cosign.pub"); published != readFile(t, filepath.Join(dir, "cosign.pub")) {
		t.Error("the public key in the zip is not the one that the server publishes")
	}
	return dir
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// announced returns the digests that `tidewaiter component show` prints, by
// "index", "linux/amd64 manifest", "linux/amd64 config" and so on.
func announced(t testing.TB) map[string]string {
	t.Helper()
	digests := map[string]string{}
	for line := range strings.Lines(output(t, command(nil, tidewaiterProgram(t), "component", "show"), "")) {
		switch f := strings.Fields(line); {
		case len(f) == 2 && f[0] == "index":
			digests["index"] = f[1]
		case len(f) == 5:
			digests[f[0]+" "+f[1]], digests[f[0]+" "+f[3]] = f[2], f[4]
		}
	}
	if len(digests) != 5 {
		t.Fatalf("tidewaiter component show gives %v", digests)
	}
	return digests
}
