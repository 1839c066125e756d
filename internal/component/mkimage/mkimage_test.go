package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/tidewaiter/tidewaiter"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The same source gives the same image, wherever it lies, with an empty build
// cache or a full one, and whatever the environment asks of the go command.
func TestReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the program four times, twice of it from nothing")
	}
	first := buildCopy(t)

	t.Setenv("GOCACHE", filepath.Join(t.TempDir(), "cache"))
	t.Setenv("GOFLAGS", "-tags=purego -ldflags=-compressdwarf=false")
	t.Setenv("GOAMD64", "v3")
	t.Setenv("GOOS", "darwin")
	t.Setenv("CGO_ENABLED", "1")
	t.Setenv("TZ", "Asia/Kathmandu")
	second := buildCopy(t)

	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("two builds of one source differ (-first +second):\n%s", diff)
	}
}

// buildCopy builds a copy of the source in a new folder, and returns the
// digests of all files written, by name.
func buildCopy(t *testing.T) map[string]string {
	t.Helper()
	src, out := t.TempDir(), t.TempDir()
	copySource(t, src)
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"-src", src, "-out", out}, &stdout, &stderr); status != 0 {
		t.Fatalf("status %d: %s", status, stderr.String())
	}
	index, err := layout.ImageIndexFromPath(out)
	check(t, err)
	check(t, validate.Index(index))

	files := map[string]string{}
	err = filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(out, path)
		files[name] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	check(t, err)
	if len(files) != 9 { // two for the layout, one list, and three for each platform
		t.Errorf("%d files, want 9: %v", len(files), files)
	}
	return files
}

// copySource copies what the component is made from.
func copySource(t *testing.T, dir string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	check(t, err)
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}", "./cmd/scan-component", "./internal/component/mkimage")
	list.Dir = root
	packages, err := list.Output()
	check(t, err)
	patterns := []string{filepath.Join(root, "go.mod"), filepath.Join(root, "go.sum")}
	for folder := range strings.FieldsSeq(string(packages)) {
		patterns = append(patterns, filepath.Join(folder, "*.go"))
	}
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		check(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			content, err := os.ReadFile(file)
			check(t, err)
			name, err := filepath.Rel(root, file)
			check(t, err)
			check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			check(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
		}
	}
}

func TestDescribeSource(t *testing.T) {
	dir := t.TempDir()
	copySource(t, dir)
	tools, err := findToolchain(t.Context(), dir)
	check(t, err)
	describe := func() source {
		t.Helper()
		from, err := describeSource(t.Context(), tools, dir)
		check(t, err)
		return from
	}
	if from := describe(); from.revision != "unknown" || from.time.Unix() != 0 {
		t.Errorf("without git: %+v", from)
	}

	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=@1700000000 +0545", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	head := git("rev-parse", "HEAD")
	if from := describe(); from.revision != head || from.time.Unix() != 1700000000 || from.time.Location() != time.UTC {
		t.Errorf("committed: %+v, want %s", from, head)
	}
	check(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte("elsewhere"), 0o644))
	if from := describe(); from.revision != head {
		t.Errorf("with a change elsewhere: %s, want %s", from.revision, head)
	}
	check(t, os.WriteFile(filepath.Join(dir, "cmd", "scan-component", "new.go"), []byte("package main\n"), 0o644))
	if from := describe(); from.revision != head+"-dirty" {
		t.Errorf("with a change: %s, want %s-dirty", from.revision, head)
	}

	t.Setenv("SOURCE_DATE_EPOCH", "1234567890")
	if from := describe(); from.time.Unix() != 1234567890 {
		t.Errorf("SOURCE_DATE_EPOCH: time %v", from.time)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := describeSource(t.Context(), tools, dir); err == nil {
		t.Error("SOURCE_DATE_EPOCH may be nonsense")
	}
}

// The digest in a user's registry is the one that the server announces only
// if this compressor makes the bytes that docker's makes: those of the standard
// library up to Go 1.26. If this fails, another Go is in use than go.mod names.
func TestCompressIsDockers(t *testing.T) {
	var input bytes.Buffer
	for i := range 40000 {
		fmt.Fprintf(&input, "%d %x\n", i, sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
	out, err := compress(input.Bytes())
	check(t, err)
	const want = "221fb37c01bee01969a4766359021037e6a6e43fb4346b62f011fb52b34e5b0b"
	if got := fmt.Sprintf("%x", sha256.Sum256(out)); got != want {
		t.Errorf("%d bytes compress to %d with the digest %s, want %s", input.Len(), len(out), got, want)
	}
}

func TestImage(t *testing.T) {
	from := source{revision: "0123abcd", time: time.Unix(1700000000, 0).UTC()}
	var images []image
	for _, p := range platforms() {
		img, err := newImage(p, []byte("program for "+p.Architecture), []byte("certificates"), from)
		check(t, err)
		images = append(images, img)
	}
	index, err := newIndex(images)
	check(t, err)
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o644))
	check(t, writeLayout(dir, "1.2.3", index, images))
	check(t, writeLayout(dir, "1.2.3", index, images)) // over an old one
	if _, err := os.Stat(filepath.Join(dir, ".gitignore")); err != nil {
		t.Errorf("a file of somebody else is gone: %v", err)
	}
	written, err := layout.ImageIndexFromPath(dir)
	check(t, err)
	check(t, validate.Index(written))

	var config v1.ConfigFile
	check(t, json.Unmarshal(images[1].config.content, &config))
	if config.Architecture != "arm64" || config.OS != "linux" || !config.Created.Equal(from.time) {
		t.Errorf("configuration %+v", config)
	}
	want := v1.Config{
		User: "65532:65532", Entrypoint: []string{"/scan-component"}, Cmd: []string{"selfcheck"}, WorkingDir: "/",
		Env: []string{"PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
	}
	labels := config.Config.Labels
	config.Config.Labels = nil
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if labels["org.opencontainers.image.version"] != tidewaiter.Version || labels["org.opencontainers.image.revision"] != "0123abcd" ||
		labels["org.opencontainers.image.created"] != "2023-11-14T22:13:20Z" {
		t.Errorf("labels %v", labels)
	}

	z, err := gzip.NewReader(bytes.NewReader(images[1].layer.content))
	check(t, err)
	var got []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		owner := 0
		if h.Name == "var/lib/tidewaiter/" {
			owner = 65532
		}
		if h.Uid != owner || h.Gid != owner || !h.ModTime.Equal(from.time) {
			t.Errorf("%s: uid %d, gid %d, time %v", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		got = append(got, fmt.Sprintf("%s %o", h.Name, h.Mode))
	}
	wantFiles := []string{
		"etc/ 755", "etc/group 644", "etc/passwd 644", "etc/ssl/ 755", "etc/ssl/certs/ 755",
		"etc/ssl/certs/ca-certificates.crt 644", "scan-component 755", "tmp/ 1777",
		"var/ 755", "var/lib/ 755", "var/lib/tidewaiter/ 700",
	}
	if diff := cmp.Diff(wantFiles, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// The manifest is what "docker push" would write, to the byte.
func TestManifestIsDockers(t *testing.T) {
	img, err := newImage(platforms()[0], []byte("program"), nil, source{time: time.Unix(0, 0).UTC()})
	check(t, err)
	want := `{
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
   "config": {
      "mediaType": "application/vnd.docker.container.image.v1+json",
      "size": ` + fmt.Sprint(len(img.config.content)) + `,
      "digest": "` + img.config.digest.String() + `"
   },
   "layers": [
      {
         "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
         "size": ` + fmt.Sprint(len(img.layer.content)) + `,
         "digest": "` + img.layer.digest.String() + `"
      }
   ]
}`
	if diff := cmp.Diff(want, string(img.manifest.content)); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
}

func TestCABundle(t *testing.T) {
	text, err := caBundle()
	check(t, err)
	seen := map[string]bool{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		check(t, err)
		if !certificate.IsCA || seen[string(block.Bytes)] {
			t.Errorf("%s: no CA, or there twice", certificate.Subject)
		}
		seen[string(block.Bytes)] = true
	}
	if len(seen) < 100 {
		t.Errorf("%d certificates", len(seen))
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"-out", "x", "more"}, {"-unknown"}} {
		var stderr bytes.Buffer
		if status := run(context.Background(), args, io.Discard, &stderr); status != 2 || stderr.Len() == 0 {
			t.Errorf("%v: status %d, stderr %q", args, status, stderr.String())
		}
	}
	var stderr bytes.Buffer
	if status := run(context.Background(), []string{"-src", t.TempDir(), "-out", t.TempDir()}, io.Discard, &stderr); status != 1 {
		t.Errorf("without a module: status %d, %s", status, stderr.String())
	}
}
