//go:build linux

package e2e

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/tidewaiter/tidewaiter/internal/registry/registrytest"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
)

// The hosts that README and docs name, each with an address of its own.
var docsHosts = map[string]string{
	"tidewaiter.example.com":     "127.0.0.1",
	"registry.example.com":       "127.0.0.15",
	"harbor.example.com":         "127.0.0.16",
	"artifactory.example.com":    "127.0.0.17",
	"mirror.example.com":         "127.0.0.18",
	"www.cisa.gov":               "127.0.0.18",
	"epss.empiricalsecurity.com": "127.0.0.18",
	publicExport():               "127.0.0.18",
	"localhost":                  "127.0.0.1",
}

// publicExport is the host that advisories come from unless another is named.
func publicExport() string {
	u, err := url.Parse(snapshots.PublicExport)
	if err != nil {
		panic(err)
	}
	return u.Host
}

// docsPasswords are what is typed when a user's password is asked for. admin's is
// that of bootstrap.json.
var docsPasswords = map[string]string{
	"me": "s3cret of me", "robot$scan": "s3cret of robot", "robot$push": "s3cret of another", "scanner": registrytest.Password,
}

// docsFolder is where the commands run: a file system of the test's own is there.
const docsFolder = "/srv"

// docsWorld is a network with the servers that the docs are about.
type docsWorld struct {
	*testing.T

	ca     *authority
	docker *dockerd
	plain  *server // http://127.0.0.1:8080, with its data where README has it
	public *server // https://tidewaiter.example.com
	app    v1.Image
}

func newDocsWorld(t *testing.T) *docsWorld {
	t.Helper()
	w := &docsWorld{T: t, ca: newAuthority(t), app: imageOf(t, "amd64", baseLayer(t, "app", 100), npmLayer(t, "minimist", "1.2.0", 100))}
	w.put("ca.pem", []byte(w.ca.PEM))
	w.put("password.txt", []byte(docsPasswords["me"]+"\n"))
	t.Setenv("SSL_CERT_FILE", w.ca.File)
	t.Setenv("HOME", filepath.Join(docsFolder, "home"))
	if err := os.MkdirAll(filepath.Join(docsFolder, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(tidewaiterProgram(t), filepath.Join(docsFolder, "bin", "tidewaiter")); err != nil {
		t.Fatal(err)
	}
	w.docker = startDockerd(t)
	w.advisories()
	w.registries()
	w.images()
	w.plain = startTidewaiter(t, "--listen", "127.0.0.1:8080", "--data", filepath.Join(docsFolder, "tidewaiter-data"), "--advisories-from", "https://mirror.example.com")
	cert, key := w.ca.issue(t, "tidewaiter", "tidewaiter.example.com")
	w.public = startTidewaiter(t, "--listen", "127.0.0.1:443", "--data", filepath.Join(docsFolder, "public"), "--public-url", "https://tidewaiter.example.com",
		"--tls-cert", cert, "--tls-key", key, "--advisories-from", "https://mirror.example.com")
	w.put("bootstrap.json", []byte(readFile(t, filepath.Join(w.public.Data, "bootstrap.json"))))
	output(t, command(nil, tidewaiterProgram(t), "advisories", "import", filepath.Join(docsFolder, "Debian.zip"), "--data", w.public.Data), "")
	return w
}

// put writes a file into the folder of the commands.
func (w *docsWorld) put(path string, content []byte) {
	w.Helper()
	file := filepath.Join(docsFolder, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		w.Fatal(err)
	}
}

// serve answers for a host of the docs, with TLS.
func (w *docsWorld) serve(host string, h http.Handler) {
	w.Helper()
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close()
	var names []string
	for name, addr := range docsHosts {
		if addr == docsHosts[host] {
			names = append(names, name)
		}
	}
	var err error
	if s.Listener, err = tls.Listen("tcp", docsHosts[host]+":443", &tls.Config{Certificates: []tls.Certificate{w.ca.pair(w, host, names...)}}); err != nil {
		w.Fatal(err)
	}
	s.Start()
	w.Cleanup(s.Close)
}

// advisories are an export like OSV's, with what CISA and FIRST publish, and the
// same files beside the commands.
func (w *docsWorld) advisories() {
	w.Helper()
	all := map[string]string{
		"Debian": `{"schema_version": "1.7.0", "id": "DEBIAN-CVE-2026-1000", "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-1000"], "details": "It does what it should not.",
			"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
			"affected": [{"package": {"ecosystem": "Debian:12", "name": "bash"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "5.2.15-3"}]}]}]}`,
		"npm": `{"schema_version": "1.7.0", "id": "GHSA-vh95-rmgr-6w4m", "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2020-7598"],
			"affected": [{"package": {"ecosystem": "npm", "name": "minimist"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.2.2"}]}]}]}`,
		"PyPI": `{"schema_version": "1.7.0", "id": "PYSEC-2026-1", "modified": "2026-01-01T00:00:00Z",
			"affected": [{"package": {"ecosystem": "PyPI", "name": "jinja2"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}`,
		"Go": `{"schema_version": "1.7.0", "id": "GO-2026-0001", "modified": "2026-01-01T00:00:00Z",
			"affected": [{"package": {"ecosystem": "Go", "name": "example.com/x"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]}]}`,
	}
	files := http.NewServeMux()
	answer := func(path string, content []byte) {
		files.HandleFunc("GET "+path, func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(content) })
	}
	for ecosystem, text := range all {
		var archive bytes.Buffer
		z := zip.NewWriter(&archive)
		member, err := z.Create(ecosystem + ".json")
		if err == nil {
			_, err = member.Write([]byte(text))
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			w.Fatal(err)
		}
		w.put(ecosystem+".zip", archive.Bytes())
		answer("/"+ecosystem+"/all.zip", archive.Bytes())
	}
	w.put("PyPI/one.json", []byte(all["PyPI"]))
	answer("/sites/default/files/feeds/known_exploited_vulnerabilities.json", []byte(`{"catalogVersion": "2026.01.02", "dateReleased": "2026-01-02T00:00:00Z",
		"vulnerabilities": [{"cveID": "CVE-2026-1000", "dateAdded": "2026-01-01", "knownRansomwareCampaignUse": "Known"}]}`))
	var scores bytes.Buffer
	packed := gzip.NewWriter(&scores)
	_, err := packed.Write([]byte("#model_version:v2025.03.14,score_date:2026-01-15T00:00:00+0000\ncve,epss,percentile\nCVE-2026-1000,0.5,0.9\n"))
	if err == nil {
		err = packed.Close()
	}
	if err != nil {
		w.Fatal(err)
	}
	answer("/epss_scores-current.csv.gz", scores.Bytes())
	w.serve("mirror.example.com", files)
}

// registries start those that the docs connect: docker-registry as
// registry.example.com, with a password on port 5000 and without on 443, and as
// localhost:5000; Harbor and JFrog Artifactory by their fakes.
func (w *docsWorld) registries() {
	w.Helper()
	const host = "registry.example.com"
	push := func(o registryOptions, repository string, tags ...string) {
		o.CA = w.ca
		r := startRegistry(w, o)
		for _, tag := range tags {
			r.Push(w, repository, tag, w.app)
		}
	}
	push(registryOptions{User: "me", Password: docsPasswords["me"], TLS: true, Names: []string{host, docsHosts[host]}, Addr: docsHosts[host] + ":5000"}, "library/app", "1.0", "latest")
	push(registryOptions{TLS: true, Names: []string{host, docsHosts[host]}, Addr: docsHosts[host] + ":443"}, "team/app", "1.2")
	push(registryOptions{Addr: "127.0.0.1:5000"}, "team/other", "1")

	harbor := registrytest.NewHarbor(w, map[string][]string{"team/app": {"1.0"}}, "V2")
	harbor.URL = "https://harbor.example.com"
	w.serve("harbor.example.com", knownAs("robot$scan", harbor))
	artifactory := registrytest.NewArtifactory(w, map[string][]string{"docker-local/team/app": {"1.0"}})
	artifactory.URL = "https://artifactory.example.com"
	w.serve("artifactory.example.com", artifactory)
	harbor.Fill(w, w.app)
	artifactory.Fill(w, w.app)
}

// knownAs gives the user of a fake another name, and a password.
func knownAs(user string, fake http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if given, password, ok := r.BasicAuth(); ok {
			r.SetBasicAuth(registrytest.Username, "wrong")
			if given == user && password == docsPasswords[user] {
				r.SetBasicAuth(registrytest.Username, registrytest.Password)
			}
		}
		fake.ServeHTTP(rw, r)
	})
}

// images are those that docker has, and an OCI layout.
func (w *docsWorld) images() {
	w.Helper()
	named := make(map[name.Tag]v1.Image)
	for _, tag := range []string{"app:latest", "app:1"} {
		ref, err := name.NewTag(tag)
		if err != nil {
			w.Fatal(err)
		}
		named[ref] = w.app
	}
	archive := filepath.Join(w.TempDir(), "app.tar")
	if err := tarball.MultiWriteToFile(archive, named); err != nil {
		w.Fatal(err)
	}
	w.docker.docker(w, w.TempDir(), "", "load", "-i", archive)
	folder, err := layout.Write(filepath.Join(docsFolder, "layout"), empty.Index)
	if err == nil {
		err = folder.AppendImage(w.app)
	}
	if err != nil {
		w.Fatal(err)
	}
}
