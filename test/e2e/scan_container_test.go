//go:build linux

package e2e

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

// The way of a user: the component in a container, by the printed line, scans
// the user's registry. Each layer is pulled once, whatever images it is in;
// what is known is not pulled again; and no layer is ever on a disk.
func TestScanThroughContainer(t *testing.T) {
	c := startInContainer(t)
	a, d := c.attached, c.dockerd

	want := a.reg.fillBase(t, 20, 4<<20, 64<<10)
	want.put(t, a.reg, scanRepository+"spooled", "v1", imageOf(t, "amd64", jarLayer(t)), []string{"org.example:big 3.1.4 0"})
	a.sync(t, a.id)
	written := watchFiles(t, d.processOf(t, c.config, c.container))
	a.front.ForgetPulled()
	a.scanned(t, a.scanAll(t), scanPatience, 22) // with the component's own image
	book := ledgerOf(t, a.server)
	book.quiet(t)
	book.consistent(t)
	found := book.packages(t)
	for name, packages := range want.Images {
		if !slices.Equal(found[name], packages) {
			t.Errorf("%s holds %q, want %q", name, found[name], packages)
		}
	}

	layers := a.reg.layersOf(t, "tools/scan-component", c.tag)
	for digest, size := range want.Layers {
		layers[digest] = size
	}
	pulled := a.front.Pulled()
	for digest, size := range layers {
		if got := pulled[digest]; got != (pull{1, size}) {
			t.Errorf("of the layer %s with %d bytes were pulled %+v", digest, size, got)
		}
	}

	before := len(a.front.Seen("/"))
	a.scanned(t, a.scanAll(t), patience, 22)
	if after := len(a.front.Seen("/")); after != before {
		t.Errorf("for a second scan the registry was asked %d times", after-before)
	}
	a.front.ForgetPulled()
	again := imageOf(t, "amd64", baseLayer(t, "base", 4<<20), npmLayer(t, "app-003", "1.0.0", 64<<10), npmLayer(t, "app-005", "1.0.0", 64<<10))
	a.reg.Push(t, scanRepository+"again", "v1", again)
	a.sync(t, a.id)
	a.scanned(t, a.scanAll(t), patience, 23)
	for digest, p := range a.front.Pulled() {
		if _, layer := layers[digest]; layer {
			t.Errorf("of the layer %s, which is known, were pulled %+v", digest, p)
		}
	}
	if got := book.packages(t)[scanRepository+"again:v1"]; len(got) != 4 {
		t.Errorf("the image of known layers holds %q", got)
	}
	spooled := false
	for _, w := range written() {
		if w != "/var/lib/tidewaiter/ (without a name)" {
			t.Errorf("the component has written to %s", w)
		}
		spooled = true
	}
	if !spooled {
		t.Error("the large file was not spooled, so that this proves little")
	}
}

// A contained is a component in a container of docker's, in a cluster of its
// own, and its registry, which is connected.
type contained struct {
	*attached
	dockerd   *dockerd
	config    string // of docker's client
	container string
	tag       string // of tools/scan-component, the component's image
}

// startInContainer does as a user does, with the commands that the server gives.
func startInContainer(t *testing.T) *contained {
	t.Helper()
	c := &contained{dockerd: startDockerd(t), config: t.TempDir()}
	a := &attached{way: newPlainRelay(t), name: "docker"}
	c.attached = a
	a.server = startAlone(t, a.way, "--sync-at", "off")
	a.reg = startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	a.front = relayTo(t, a.reg.Addr)

	asked := a.askSDK(t, target{a.reg.Addr, "tools", "alice", "pa ss"})
	dir := a.download(t, asked.ImagesDownloadURL)
	if written, status := shell(t, "dash", asked.ImageCommand, c.dockerd.env(c.config), dir); status != 0 {
		t.Fatalf("status %d:\n%s", status, written)
	}
	c.tag = a.reg.Tags(t, "tools/scan-component")[0]
	c.container = a.runComponent(t, c.dockerd, c.config, "create", a.reg.Addr+"/tools/scan-component:"+c.tag)
	a.awaitComponents(t, a.clusterID, 1)
	a.id = a.addRegistry(t, a.connection())
	a.set(t, a.id, settings{"ca": a.front.CA.PEM})
	a.awaitRegistry(t, a.id, "success")
	return c
}

// The component within the server writes no layer either.
func TestLocalScanWritesNoLayer(t *testing.T) {
	t.Parallel()
	s := startTidewaiter(t, "--sync-at", "off")
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	want := r.fillBase(t, 2, 100<<10, 1<<10)
	want.put(t, r, scanRepository+"spooled", "v1", imageOf(t, "amd64", jarLayer(t)), []string{"org.example:big 3.1.4 0"})
	id := s.addRegistry(t, r.connection("local", "local"))
	s.awaitRegistry(t, id, "success")
	s.sync(t, id)
	written := watchFiles(t, s.cmd.Process.Pid)
	s.scanned(t, s.scanAll(t), scanPatience, 3)
	ledgerOf(t, s).holds(t, want)
	own := []string{s.Data + "/tidewaiter.db", s.Data + "/tidewaiter.db-wal", s.Data + "/tidewaiter.db-shm", s.Data + "/component/ (without a name)"}
	spooled := false
	for _, w := range written() {
		if !slices.Contains(own, w) {
			t.Errorf("the server has written to %s", w)
		}
		spooled = spooled || strings.HasSuffix(w, "(without a name)")
	}
	if !spooled {
		t.Error("the large file was not spooled, so that this proves little")
	}
}

// jarLayer holds an archive of Java that is too large to be held in memory, and
// has to be read from its end.
func jarLayer(t testing.TB) v1.Layer {
	t.Helper()
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	for _, f := range []struct{ name, content string }{
		{"META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n\n"},
		{"META-INF/maven/org.example/big/pom.properties", "groupId=org.example\nartifactId=big\nversion=3.1.4\n"},
		{"data.bin", noise("jar", 17<<20)},
	} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Store})
		if err == nil {
			_, err = io.WriteString(w, f.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return layerOf(t, extracttest.File("opt/big.jar", jar.String()))
}

// layersOf returns the layers of all images of a tag, with their sizes.
func (r *registryServer) layersOf(t testing.TB, repository, tag string) map[string]int64 {
	t.Helper()
	found, err := remote.Get(r.reference(t, repository, tag), r.options()...)
	if err != nil {
		t.Fatal(err)
	}
	var images []v1.Image
	if found.MediaType.IsIndex() {
		index, err := found.ImageIndex()
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, child := range manifest.Manifests {
			image, err := index.Image(child.Digest)
			if err != nil {
				t.Fatal(err)
			}
			images = append(images, image)
		}
	} else {
		image, err := found.Image()
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, image)
	}
	layers := map[string]int64{}
	for _, image := range images {
		manifest, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, layer := range manifest.Layers {
			layers[layer.Digest.String()] = layer.Size
		}
	}
	return layers
}

// watchFiles has strace watch a process from now on. What it returns ends that,
// and returns the files that the process has opened to write to, or made.
func watchFiles(t testing.TB, pid int) (written func() []string) {
	t.Helper()
	need(t, strace)
	file := filepath.Join(t.TempDir(), "strace")
	p, err := launch(command(nil, strace, "-f", "-y", "-s", "4096", "-o", file,
		"-e", "trace=open,openat,openat2,creat,memfd_create,mkdir,mkdirat,mknod,mknodat,link,linkat,symlink,symlinkat,rename,renameat,renameat2,truncate", "-p", strconv.Itoa(pid)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.stop(syscall.SIGTERM) })
	if _, err := p.await(&p.stderr, `attached`); err != nil {
		t.Fatal(err)
	}
	return func() []string {
		_ = p.stop(syscall.SIGINT) // it detaches
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return opened(string(text))
	}
}

// processOf returns the process of a container, by its number outside of the
// daemon's namespace.
func (d *dockerd) processOf(t testing.TB, config, container string) int {
	t.Helper()
	inside := strings.TrimSpace(d.docker(t, config, "", "inspect", "--format", "{{.State.Pid}}", container))
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, status := range statuses {
		text, err := os.ReadFile(status)
		if err != nil {
			continue // it has ended
		}
		// Its numbers from here inwards: ours, the daemon's, and its own, which is 1.
		_, numbers, _ := strings.Cut(string(text), "NSpid:")
		numbers, _, _ = strings.Cut(numbers, "\n")
		if n := strings.Fields(numbers); len(n) == 3 && n[1] == inside && n[2] == "1" && strings.Contains(string(text), "Name:\tscan-component\n") {
			pid, err := strconv.Atoi(n[0])
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("the process of the container %s, %s, is not to be found", container, inside)
	return 0
}

const strace = "/usr/bin/strace"

// opened reads what strace wrote: each file that was opened to be written to,
// once.
func opened(text string) []string {
	call := regexp.MustCompile(`^\d+ +(\w+)\((?:AT_FDCWD(?:<[^>]*>)?, )?(?:"([^"]*)")?(.*)$`)
	reads := regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT|O_TRUNC`)
	var files []string
	for line := range strings.Lines(text) {
		found := call.FindStringSubmatch(strings.TrimSpace(line))
		if found == nil || strings.Contains(found[3], " = -1 ") || strings.HasPrefix(found[1], "open") && !reads.MatchString(found[3]) {
			continue
		}
		name := found[2]
		switch {
		case strings.Contains(found[3], "O_TMPFILE"):
			name = strings.TrimSuffix(name, "/") + "/ (without a name)"
		case !strings.HasPrefix(found[1], "open"):
			name = found[1] + " " + name
		}
		if !slices.Contains(files, name) {
			files = append(files, name)
		}
	}
	return files
}
