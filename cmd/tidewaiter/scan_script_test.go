package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

// TestScanScripts runs testdata/scan/*.txt, which have these images:
//
//	app.tar       an archive of docker save, for linux/amd64
//	layout        the same and one for linux/arm64, as an OCI layout with an index
//	several.tar   an archive with two images, other:1 and other:2
//	hostile.tar   names that would act on a terminal
//	damaged.tar   a package database that cannot be read
//	windows.tar   an image for Windows
//	$REGISTRY     a registry with TLS and a password, whose certificate is in
//	              ca.pem; app:1 is what layout is. $PLAIN is the same without TLS.
//	docker        a folder with docker's configuration for both
//	$EXPORT       an export of OSV, with advisories of Debian: the folder export
func TestScanScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/scan", Cmds: commands(), RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			if err := setUp(env); err != nil {
				return err
			}
			return errors.Join(scanSetUp(t, env), exportSetUp(env))
		},
	})
}

// scanImage is what the images of the scripts are made from.
type scanImage struct {
	platform string
	layers   [][]extracttest.Entry
	steps    []string
}

// scanLayer is a layer whose diff ID is known.
type scanLayer struct {
	v1.Layer
	diffID v1.Hash
}

func (l scanLayer) DiffID() (v1.Hash, error) { return l.diffID, nil }

func (s scanImage) image(tb testing.TB) (v1.Image, error) {
	image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	for n, entries := range s.layers {
		archive := extracttest.Tar(tb, entries...)
		sum := sha256.Sum256(archive)
		layer := scanLayer{static.NewLayer(extracttest.Gzip(tb, archive), types.OCILayer), v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}}
		var err error
		if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: s.steps[n]}}); err != nil {
			return nil, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, _ = strings.Cut(s.platform, "/")
	return mutate.ConfigFile(image, config)
}

const osRelease = "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"

func dpkg(name, version string) string {
	return "Package: " + name + "\nStatus: install ok installed\nVersion: " + version + "\nArchitecture: amd64\n\n"
}

func scanImages(tb testing.TB) (map[string]v1.Image, error) {
	file := extracttest.File
	base := []extracttest.Entry{file("etc/os-release", osRelease), file("var/lib/dpkg/status", dpkg("libc6", "2.36-9"))}
	more := []extracttest.Entry{file("var/lib/dpkg/status", dpkg("libc6", "2.36-9")+dpkg("curl", "7.88.1-10"))}
	images := make(map[string]v1.Image)
	var err error
	for name, s := range map[string]scanImage{
		"app":     {"linux/amd64", [][]extracttest.Entry{base, more}, []string{"/bin/sh -c #(nop) ADD file:1 in / ", "RUN /bin/sh -c TOKEN=hunter2 apt-get install curl # buildkit"}},
		"arm":     {"linux/arm64", [][]extracttest.Entry{base}, []string{"ADD rootfs.tar /"}},
		"other":   {"linux/amd64", [][]extracttest.Entry{{file("x", "")}}, []string{"COPY x /"}},
		"hostile": {"linux/amd64", [][]extracttest.Entry{{file("srv/\x1b[31m\u202e/node_modules/x/package.json", `{"name":"x","version":"1.0.0"}`)}}, []string{"COPY \x1b[31m /"}},
		"damaged": {"linux/amd64", [][]extracttest.Entry{append(base, file("usr/lib/sysimage/rpm/rpmdb.sqlite", "no database \x1b[31m"))}, []string{"ADD rootfs.tar /"}},
		"windows": {"windows/amd64", [][]extracttest.Entry{{file("Files/x", "")}}, []string{"ADD x /"}},
	} {
		image, e := s.image(tb)
		err = errors.Join(err, e)
		images[name] = image
	}
	return images, err
}

func scanSetUp(tb testing.TB, env *testscript.Env) error {
	images, err := scanImages(tb)
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(env.WorkDir, name) }
	tag := func(s string) name.Tag {
		t, e := name.NewTag(s)
		err = errors.Join(err, e)
		return t
	}
	for _, file := range []string{"app", "hostile", "damaged", "windows"} {
		if err := tarball.WriteToFile(in(file+".tar"), tag(file+":1"), images[file]); err != nil {
			return err
		}
	}
	several := map[name.Tag]v1.Image{tag("other:1"): images["other"], tag("other:2"): images["app"]}
	if err := tarball.MultiWriteToFile(in("several.tar"), several); err != nil {
		return err
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: images["app"], Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: images["arm"], Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	if _, err := layout.Write(in("layout"), index); err != nil {
		return err
	}
	return scanRegistry(env, index)
}

// exportSetUp publishes advisories.
func exportSetUp(env *testscript.Env) error {
	folder := filepath.Join(env.WorkDir, "export", "Debian")
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for id, fixed := range map[string]string{"DEBIAN-CVE-2023-38545": "7.88.1-10+deb12u4", "DEBIAN-CVE-2023-99999": "7.88.1-9"} {
		f, err := z.Create(id + ".json")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(f, `{"schema_version":"1.7.0","id":%q,"modified":"2026-01-01T00:00:00Z","upstream":[%q],"summary":"SOCKS5 \u001b[31m overflow",
			"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"references":[{"type":"ADVISORY","url":"https://example.com/advisory"}],
			"affected":[{"package":{"ecosystem":"Debian:12","name":"curl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`, id, id[len("DEBIAN-"):], fixed)
		if err != nil {
			return err
		}
	}
	site := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(folder))))
	env.Defer(site.Close)
	env.Setenv("EXPORT", site.URL)
	env.Setenv("XDG_CACHE_HOME", "")
	return errors.Join(z.Close(), os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "all.zip"), archive.Bytes(), 0o600))
}

// scanRegistry starts a registry, and writes docker's configuration for it.
func scanRegistry(env *testscript.Env, index v1.ImageIndex) error {
	inner := ggcr.New(ggcr.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)))
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "hunter2" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
	plain, tls := httptest.NewServer(guarded), httptest.NewUnstartedServer(guarded)
	tls.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	tls.StartTLS()
	env.Defer(plain.Close)
	env.Defer(tls.Close)
	config := `{"auths":{`
	for n, s := range []*httptest.Server{plain, tls} {
		_, host, _ := strings.Cut(s.URL, "://")
		env.Setenv([]string{"PLAIN", "REGISTRY"}[n], host)
		if n > 0 {
			config += ","
		}
		config += fmt.Sprintf(`%q:{"auth":%q}`, host, base64.StdEncoding.EncodeToString([]byte("me:hunter2")))
	}
	ref, err := name.ParseReference(env.Getenv("PLAIN") + "/team/app:1")
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(ref, index, remote.WithAuth(&authn.Basic{Username: "me", Password: "hunter2"})); err != nil {
		return err
	}
	home := filepath.Join(env.WorkDir, "home")
	env.Setenv("HOME", home)
	env.Setenv("XDG_RUNTIME_DIR", home)
	env.Setenv("XDG_CONFIG_HOME", home)
	env.Setenv("DOCKER_CONFIG", "")
	env.Setenv("REGISTRY_AUTH_FILE", "")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw})
	return errors.Join(
		os.MkdirAll(filepath.Join(env.WorkDir, "docker"), 0o700),
		os.WriteFile(filepath.Join(env.WorkDir, "docker", "config.json"), []byte(config+"}}"), 0o600),
		os.WriteFile(filepath.Join(env.WorkDir, "ca.pem"), ca, 0o600),
	)
}
