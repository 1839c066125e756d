package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	v1empty "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/componentapi"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	extractors "github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/all"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
	"github.com/tidewaiter/tidewaiter/internal/worker"
)

// A harbour is a server with its database, a registry, and a cluster for
// components.
type harbour struct {
	*testing.T
	db        *store.DB
	fleet     *fleet.Service
	inventory *inventory.Service
	scans     *scan.Service
	sets      *snapshots.Service
	findings  *findings.Service
	url       string
	cluster   tidewaiter.Cluster
	hub       *hub
	registry  tidewaiter.Registry
	log       *slog.Logger
}

func project() tidewaiter.Extent { return tidewaiter.Extent{ProjectID: "project-1", All: true} }

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	h := &harbour{T: t, db: storetest.Open(t, storetest.SQLite(t)), hub: newHub(t)}
	h.log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.fleet = fleet.New(fleet.Options{Store: h.db, Logger: h.log, Heartbeat: 200 * time.Millisecond, Lease: time.Minute, Poll: 50 * time.Millisecond})
	var err error
	h.inventory, err = inventory.New(inventory.Options{Store: h.db, Wake: h.fleet.Wake, Logger: h.log})
	check(t, err)
	h.sets = snapshots.New(snapshots.Options{Store: h.db, Folder: t.TempDir(), Logger: h.log})
	t.Cleanup(func() { check(t, h.sets.Close()) })
	h.findings = findings.New(findings.Options{Store: h.db, Sets: h.sets, Logger: h.log})
	h.scans = scan.New(scan.Options{
		Store: h.db, Findings: h.findings, Wake: h.fleet.Wake, Logger: h.log, Extractors: extract.Version(extractors.Extractors()), Interval: 50 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.scans.Run(ctx) }()
	g, err := gateway.New(gateway.Options{Logger: h.log})
	check(t, err)
	server := httptest.NewServer(g.Wrap(componentapi.New(componentapi.Options{Fleet: h.fleet, Inventory: h.inventory, Scans: h.scans})))
	t.Cleanup(func() {
		h.fleet.Close() // ends the long polls, so that the server can close
		server.Close()
		cancel()
		check(t, <-done)
	})
	h.url = server.URL
	h.cluster, err = h.fleet.CreateCluster(t.Context(), "project-1", "edge")
	check(t, err)
	return h
}

// component starts one more component of the cluster.
func (h *harbour) component() (stop func()) {
	h.Helper()
	w := start(h.T, worker.Options{
		Folder: h.TempDir(), Server: h.url, Connect: all.New, Logger: h.log, Extractors: extractors.Extractors(), SpoolDir: h.TempDir(),
		Token: func(ctx context.Context) (string, error) {
			token, err := h.fleet.NewToken(ctx, h.cluster.ID, time.Hour)
			return token.Text, err
		},
	})
	check(h.T, w.Start(h.Context()))
	end := run(h.T, w)
	return func() {
		check(h.T, end())
		check(h.T, w.Close())
	}
}

// connect connects the registry, and waits until its images are listed.
func (h *harbour) connect() {
	h.Helper()
	r, err := h.inventory.AddRegistry(h.Context(), inventory.NewRegistry{
		ProjectID: "project-1", EnterpriseProjectID: "0", Name: "hub", Type: registry.Other, APIVersion: "V2", Protocol: "http",
		Address: h.hub.Listener.Addr().String(), Username: "me", Password: "secret", ClusterID: h.cluster.ID, Channel: "Swr",
	})
	check(h.T, err)
	until(h.T, "the registry is synchronised", func() bool {
		h.registry, err = h.inventory.Registry(h.Context(), project(), r.ID)
		check(h.T, err)
		if h.registry.Status == tidewaiter.RegistryFail {
			h.Fatalf("the registry cannot be used: %s", h.registry.FailDetail)
		}
		return !h.registry.Synced.IsZero()
	})
}

func (h *harbour) synchronise() {
	h.Helper()
	task, err := h.inventory.Synchronize(h.Context(), project(), inventory.Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualSync})
	check(h.T, err)
	until(h.T, "the synchronisation has ended", func() bool {
		task, err = h.inventory.SyncTask(h.Context(), project(), task.ID)
		check(h.T, err)
		return !task.Ended.IsZero()
	})
}

// scan scans all images, and returns the task when it has ended.
func (h *harbour) scan() tidewaiter.ScanTask {
	h.Helper()
	task, err := h.scans.Create(h.Context(), project(), scan.Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualScan, All: true})
	check(h.T, err)
	return h.ended(task.ID)
}

func (h *harbour) ended(id string) tidewaiter.ScanTask {
	h.Helper()
	var p store.ScanProgress
	until(h.T, "the scan task has ended", func() bool {
		var err error
		p, err = h.db.ScanTaskProgress(h.Context(), id)
		check(h.T, err)
		return !p.Ended.IsZero()
	})
	return p.ScanTask
}

// images returns the images by repository and tag.
func (h *harbour) images() map[string]tidewaiter.RegistryImage {
	h.Helper()
	list, _, err := h.inventory.Images(h.Context(), project(), store.ImageFilter{}, store.Page{Limit: 500})
	check(h.T, err)
	m := make(map[string]tidewaiter.RegistryImage)
	for _, i := range list {
		m[strings.TrimPrefix(i.Namespace+"/"+i.Name, "/")+":"+i.Tag] = i
	}
	return m
}

// packages returns what an image holds, as "name version layer".
func (h *harbour) packages(manifestID int64) []string {
	h.Helper()
	r, err := h.db.Result(h.Context(), manifestID)
	check(h.T, err)
	var list []string
	for _, p := range r.Packages {
		list = append(list, fmt.Sprintf("%s %s %d", p.Name, p.Version, p.Origin))
	}
	slices.Sort(list)
	return list
}

// pulled counts how often each blob was asked for, by its digest.
func (h *harbour) pulled() map[string]int {
	n := make(map[string]int)
	for _, r := range h.hub.forget() {
		if _, digest, ok := strings.Cut(r, "/blobs/"); ok && strings.HasPrefix(r, http.MethodGet) {
			n[digest]++
		}
	}
	return n
}

// layerOf makes a layer of files.
func layerOf(t testing.TB, entries ...extracttest.Entry) v1.Layer {
	t.Helper()
	b := extracttest.Tar(t, entries...)
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }, tarball.WithMediaType(types.DockerLayer))
	check(t, err)
	return l
}

func base(t testing.TB) v1.Layer {
	return layerOf(t,
		extracttest.File("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
		extracttest.File("var/lib/dpkg/status", "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9\n\nPackage: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2\n\n"),
		extracttest.File("var/lib/dpkg/info/bash.list", "/.\n/bin\n/bin/bash\n"),
		extracttest.File("bin/bash", "#!"), extracttest.File("usr/local/bin/tool", "a tool"))
}

func npmLayer(t testing.TB, name, version string) v1.Layer {
	return layerOf(t, extracttest.File("app/node_modules/"+name+"/package.json", fmt.Sprintf(`{"name":%q,"version":%q}`, name, version)),
		extracttest.File("app/main-"+name+".js", "main()"))
}

// imageOf makes an image of layers, each with a build step.
func imageOf(t testing.TB, os string, layers ...v1.Layer) v1.Image {
	t.Helper()
	img := v1empty.Image
	for i, l := range layers {
		var err error
		img, err = mutate.Append(img, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: fmt.Sprintf("step %d", i), Created: v1.Time{Time: created()}}})
		check(t, err)
	}
	config, err := img.ConfigFile()
	check(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = os, "amd64"
	img, err = mutate.ConfigFile(img, config)
	check(t, err)
	return img
}

// TestScan scans images on one base with two components: each layer is pulled
// once, and when all is known nothing is.
func TestScan(t *testing.T) {
	h := newHarbour(t)
	const images = 6
	common := base(t)
	for i := range images {
		name := fmt.Sprintf("left-pad-%d", i)
		h.hub.push(fmt.Sprintf("team/app%d:v1", i), imageOf(t, "linux", common, npmLayer(t, name, "1.0.0")))
	}
	h.hub.push("team/multi:v1", mutate.AppendManifests(v1empty.Index,
		mutate.IndexAddendum{Add: imageOf(t, "linux", common, npmLayer(t, "amd", "1.0.0")), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: imageOf(t, "linux", common, npmLayer(t, "arm", "1.0.0")), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}}))
	h.component()
	h.component()
	h.connect()
	h.pulled()

	task := h.scan()
	if task.Total != images+1 || task.Succeeded != images+1 || task.Failed != 0 {
		t.Errorf("task %+v", task)
	}
	all := h.images()
	for i := range images {
		image := all[fmt.Sprintf("team/app%d:v1", i)]
		if image.Scan.Status != tidewaiter.ScanSucceeded || image.Scan.FailedCode != "" || image.Scan.Scanned.IsZero() {
			t.Errorf("image %d: %+v", i, image.Scan)
		}
		want := []string{"bash 5.2.15-2 0", fmt.Sprintf("left-pad-%d 1.0.0 1", i), "libc6 2.36-9 0"}
		if got := h.packages(image.ManifestID); !slices.Equal(got, want) {
			t.Errorf("image %d has %q, want %q", i, got, want)
		}
		r, err := h.db.Result(t.Context(), image.ManifestID)
		check(t, err)
		if !r.Complete || r.System.ID != "debian" || r.Files != 7 || r.LooseFiles != 3 || len(r.Layers) != 2 || r.Config.Steps[r.Layers[1].Step].Command != "step 1" {
			t.Errorf("image %d: %+v", i, r)
		}
		if p := r.Packages[slices.IndexFunc(r.Packages, func(p tidewaiter.ImagePackage) bool { return p.Name == "libc6" })]; p.Ecosystem != "Debian" || p.SourceName != "glibc" || p.Namespace != "debian" {
			t.Errorf("package %+v", p)
		}
	}
	for _, p := range all["team/multi:v1"].Platforms {
		if got := h.packages(p.ManifestID); len(got) != 3 {
			t.Errorf("%s has %q", p.Platform, got)
		}
	}
	baseDigest, err := common.Digest()
	check(t, err)
	configs := 0
	for digest, n := range h.pulled() {
		if digest == baseDigest.String() && n != 1 {
			t.Errorf("the base was pulled %d times", n)
		}
		if n != 1 {
			configs++
		}
	}
	if configs > 0 {
		t.Errorf("%d blobs were pulled more than once", configs)
	}

	task = h.scan()
	if task.Succeeded != images+1 || len(h.hub.forget()) != 0 {
		t.Errorf("second scan: %+v, and the registry was asked", task)
	}
	// One more tag of a known image, and a new image of known layers.
	h.hub.push("team/app0:again", imageOf(t, "linux", common, npmLayer(t, "left-pad-0", "1.0.0")))
	h.hub.push("team/other:v1", imageOf(t, "linux", common, npmLayer(t, "left-pad-0", "1.0.0"), npmLayer(t, "left-pad-1", "1.0.0")))
	h.synchronise()
	if s := h.images()["team/app0:again"].Scan; s.Status != tidewaiter.ScanSucceeded {
		t.Errorf("another tag of an image that was scanned: %+v", s)
	}
	h.pulled()
	task = h.scan()
	for digest, n := range h.pulled() {
		if layers, _ := imageOf(t, "linux", common).Layers(); digest == mustDigest(t, layers[0]) {
			t.Errorf("the base was pulled %d times again", n)
		}
	}
	if got := h.packages(h.images()["team/other:v1"].ManifestID); task.Failed != 0 || len(got) != 4 {
		t.Errorf("an image of known layers: %q, task %+v", got, task)
	}
}

func mustDigest(t testing.TB, l v1.Layer) string {
	t.Helper()
	d, err := l.Digest()
	check(t, err)
	return d.String()
}

// TestScanFailures has images that cannot be scanned, or not to their end: each
// says why, none is clean, and the others are not affected.
func TestScanFailures(t *testing.T) {
	h := newHarbour(t)
	good := imageOf(t, "linux", base(t))
	h.hub.push("good:v1", good)
	h.hub.push("windows:v1", imageOf(t, "windows", npmLayer(t, "win", "1.0.0")))
	broken := layerOf(t, extracttest.File("app/node_modules/x/package.json", "{"), extracttest.File("app/node_modules/y/package.json", `{"name":"y","version":"2.0.0"}`))
	h.hub.push("broken:v1", imageOf(t, "linux", base(t), broken))
	lost := npmLayer(t, "lost", "1.0.0")
	h.hub.push("lost:v1", imageOf(t, "linux", lost))
	h.hub.push("empty:v1", imageOf(t, "linux"))
	h.hub.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+mustDigest(t, lost)) {
			http.Error(w, "gone", http.StatusNotFound)
			return true
		}
		return false
	})
	h.component()
	h.connect()
	task := h.scan()
	if task.Total != 5 || task.Succeeded != 1 || task.Failed != 4 {
		t.Errorf("task %+v", task)
	}
	all := h.images()
	for name, want := range map[string]string{
		"good:v1": "", "windows:v1": tidewaiter.FailUnknown, "broken:v1": tidewaiter.FailSoftware, "lost:v1": tidewaiter.FailDownload, "empty:v1": tidewaiter.FailUnknown,
	} {
		s := all[name].Scan
		status := tidewaiter.ScanFailed
		if want == "" {
			status = tidewaiter.ScanSucceeded
		}
		if s.Status != status || s.FailedCode != want || s.Scanned.IsZero() {
			t.Errorf("%s: %+v, want code %q", name, s, want)
		}
	}
	// What was found in the one that is broken is there all the same.
	if got := h.packages(all["broken:v1"].ManifestID); !slices.Contains(got, "y 2.0.0 1") || !slices.Contains(got, "bash 5.2.15-2 0") {
		t.Errorf("the broken image has %q", got)
	}
	r, err := h.db.Result(t.Context(), all["broken:v1"].ManifestID)
	check(t, err)
	if r.Complete || len(r.Cuts) != 1 || !strings.Contains(r.Reason, "layer 2, app/node_modules/x/package.json") {
		t.Errorf("result of the broken image: %+v", r)
	}
}

// TestStopScan stops a task while an image is being pulled.
func TestStopScan(t *testing.T) {
	h := newHarbour(t)
	slow := npmLayer(t, "slow", "1.0.0")
	h.hub.push("slow:v1", imageOf(t, "linux", slow))
	for i := range 20 {
		h.hub.push(fmt.Sprintf("app%d:v1", i), imageOf(t, "linux", slow, npmLayer(t, fmt.Sprint("n", i), "1.0.0")))
	}
	begun := make(chan struct{}, 1)
	h.hub.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+mustDigest(t, slow)) {
			select {
			case begun <- struct{}{}:
			default:
			}
			<-r.Context().Done()
			return true
		}
		return false
	})
	h.component()
	h.connect()
	task, err := h.scans.Create(t.Context(), project(), scan.Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualScan, All: true})
	check(t, err)
	<-begun
	asked := time.Now()
	check(t, h.scans.Stop(t.Context(), project(), task.ID))
	if p, err := h.db.ScanTaskProgress(t.Context(), task.ID); err != nil || p.State != tidewaiter.ScanStopped {
		t.Errorf("task %+v, %v", p, err)
	}
	until(t, "nothing is leased", func() bool {
		n, err := h.db.CountLeased(t.Context(), tidewaiter.ScanWork)
		check(t, err)
		return n == 0
	})
	if took := time.Since(asked); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	for name, i := range h.images() {
		if i.Scan.Status != tidewaiter.Unscanned {
			t.Errorf("%s: %+v", name, i.Scan)
		}
	}
	h.hub.setFault(nil)
	if task := h.scan(); task.Succeeded != 21 {
		t.Errorf("a scan after that: %+v", task)
	}
}
