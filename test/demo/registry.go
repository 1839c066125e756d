package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// throwAway is a registry in this process, with a user and a password.
type throwAway struct {
	address, user, password string
	server                  *http.Server
}

func startRegistry() (*throwAway, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &throwAway{address: l.Addr().String(), user: "demo", password: rand.Text()}
	quiet := log.New(io.Discard, "", 0)
	content := registry.New(registry.Logger(quiet))
	r.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		user, password, _ := req.BasicAuth()
		if user != r.user || subtle.ConstantTimeCompare([]byte(password), []byte(r.password)) == 0 {
			w.Header().Set("WWW-Authenticate", `Basic realm="demo"`)
			http.Error(w, `{"errors": [{"code": "UNAUTHORIZED", "message": "sign in"}]}`, http.StatusUnauthorized)
			return
		}
		content.ServeHTTP(w, req)
	})}
	go r.server.Serve(l) //nolint:errcheck // it ends with close
	return r, nil
}

func (r *throwAway) close() { r.server.Close() } //nolint:errcheck,gosec // the demo is over

// source is a program that an image is made of.
type source struct {
	repository, tag string
	requires        string // module@version that it is built with
	module, version string
	text            string
}

// programs are two small programs with old modules, of which vulnerabilities are
// known.
func programs() []source {
	return []source{
		{
			repository: "shop/web", tag: "1.0", requires: "golang.org/x/text@v0.3.5", module: "golang.org/x/text", version: "v0.3.5",
			text: "package main\n\nimport (\n\t\"fmt\"\n\n\t\"golang.org/x/text/language\"\n)\n\nfunc main() { fmt.Println(language.Parse(\"en\")) }\n",
		},
		{
			repository: "shop/worker", tag: "2.1", requires: "gopkg.in/yaml.v2@v2.2.3", module: "gopkg.in/yaml.v2", version: "v2.2.3",
			text: "package main\n\nimport (\n\t\"fmt\"\n\n\t\"gopkg.in/yaml.v2\"\n)\n\nfunc main() { fmt.Println(yaml.Unmarshal([]byte(\"a: 1\"), new(any))) }\n",
		},
	}
}

// pushProgram builds a program, makes an image of it, and pushes that.
func (r *throwAway) pushProgram(ctx context.Context, s source) error {
	binary, err := build(ctx, s)
	if err != nil {
		return err
	}
	image, err := imageOf(binary)
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(r.address+"/"+s.repository+":"+s.tag, name.Insecure)
	if err != nil {
		return err
	}
	return remote.Write(ref, image, remote.WithContext(ctx), remote.WithAuth(&authn.Basic{Username: r.user, Password: r.password}))
}

func build(ctx context.Context, s source) ([]byte, error) {
	dir, err := os.MkdirTemp("", "tidewaiter-demo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	module := fmt.Sprintf("module example.com/%s\n\ngo 1.21\n\nrequire %s %s\n", filepath.Base(s.repository), s.module, s.version)
	for file, text := range map[string]string{"go.mod": module, "main.go": s.text} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-trimpath", "-o", "program", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "program")) //nolint:gosec // it was built just now
}

// imageOf makes an image from scratch that holds one program.
func imageOf(binary []byte) (v1.Image, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(binary))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(binary); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{CreatedBy: "COPY app /app"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config.Entrypoint = "linux", "amd64", []string{"/app"}
	return mutate.ConfigFile(image, config)
}
