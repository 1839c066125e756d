//go:build linux

package e2e

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// What happens to a registry in the middle of a scan.

// The registry goes away in the middle and comes back.
func TestRegistryDownInMidScan(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 6)
	task, g := a.holdScan(t, 5, isBlob)
	a.reg.Stop()
	g.Open()
	if err := a.within(patience, "waiting for the registry", func() bool {
		return strings.Contains(a.component.stderr.String(), "the scan failed")
	}); err != nil {
		t.Error(err)
	}
	a.reg.Start(t)
	to := a.reg.Addr
	a.front.To(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", to) })
	a.done(t, task, want)
}

// The password is changed in the registry, and not yet here.
func TestCredentialRotatedInMidScan(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 6)
	task, g := a.holdScan(t, 5, isBlob)
	a.reg.SetPassword(t, "an0ther-Pa55word")
	g.Open()
	ended := a.awaitScan(t, task, scanPatience)
	if *ended.TotalNum != 6 || *ended.FailedNum == 0 || len(*ended.FailedImages) != int(*ended.FailedNum) {
		t.Errorf("with a password that the registry does not take the scan has come to %s", progressOf(ended))
	}
	for name, status := range a.statuses(t) {
		if status != "success" && status != "failed: authentication_failed" {
			t.Errorf("%s is %s", name, status)
		}
	}
	for _, f := range *ended.FailedImages {
		if !strings.Contains(*f.FailedReason, "password") {
			t.Errorf("%s failed, and it says %q, not what to mend", *f.ImageName, *f.FailedReason)
		}
	}
	a.updateRegistry(t, a.id, &model.UpdateRegistryRequestBody{RegistryPassword: ptr("an0ther-Pa55word")})
	a.awaitRegistry(t, a.id, "success")
	a.done(t, a.scanAll(t), want)
}

// A tag is moved while its image is scanned: the scan is of what it stood for,
// and what it stands for from then on has not been scanned.
func TestTagMovedInMidScan(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 1)
	const name = scanRepository + "app-000"
	task, g := a.holdScan(t, 1, isBlob)
	moved := imageOf(t, "amd64", npmLayer(t, "moved", "9.9.9", 100))
	a.reg.Push(t, name, "v1", moved)
	g.Open()
	a.done(t, task, want)
	a.sync(t, a.id)
	if status := a.statuses(t)[name+":v1"]; status != "unscan" {
		t.Errorf("what the tag stands for now is %s", status)
	}
	want.Images[name+":v1"] = []string{"moved 9.9.9 0"}
	a.done(t, a.scanAll(t), want)
}

// An image is deleted before its turn.
func TestImageDeletedInMidScan(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 4)
	task, g := a.holdScan(t, 0, func(method, path string) bool {
		return strings.Contains(path, "/manifests/") && strings.Contains(path, "app-002")
	})
	a.reg.Delete(t, scanRepository+"app-002", "v1")
	g.Open()
	ended := a.awaitScan(t, task, scanPatience)
	if *ended.SuccessNum != 3 || *ended.FailedNum != 1 || *ended.TaskStatus != 100 {
		t.Errorf("with an image that is gone the scan has come to %s", progressOf(ended))
	}
	if status := a.statuses(t)[scanRepository+"app-002:v1"]; status != "failed: get_detail_info_not_found" {
		t.Errorf("the image that is gone is %s", status)
	}
	delete(want.Images, scanRepository+"app-002:v1")
	book := ledgerOf(t, a.server)
	book.quiet(t)
	book.consistent(t)
	book.holds(t, want)
}

// DeleteBlob removes a layer, and leaves the image.
func (r *registryServer) DeleteBlob(t testing.TB, repository, digest string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, r.URL()+"/v2/"+repository+"/blobs/"+digest, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(r.User, r.Password)
	resp, err := (&http.Client{Transport: r.http, Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("delete the layer %s: %s", digest, resp.Status)
	}
}

// Images that fail do not take the place of others: two are looked into at a
// time, as ever.
func TestFailedScansMakeRoom(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 6)
	for i := range 6 {
		layer := npmLayer(t, "lost", strconv.Itoa(i), 1000)
		a.reg.Push(t, scanRepository+"lost-"+strconv.Itoa(i), "v1", imageOf(t, "amd64", layer))
		a.reg.DeleteBlob(t, scanRepository+"lost-"+strconv.Itoa(i), layerDigest(t, layer))
	}
	a.sync(t, a.id)
	failing := a.startScan(t, &model.CreateManualImageScanTaskReqInfo{QueryInfo: &model.CreateManualImageScanTaskReqInfoQueryInfo{ImageName: ptr("lost-*")}})
	ended := a.awaitScan(t, failing, scanPatience)
	if *ended.TotalNum != 6 || *ended.FailedNum != 6 || *ended.TaskStatus != -3 {
		t.Errorf("the scan of images without layers has come to %s", progressOf(ended))
	}
	for name, status := range a.statuses(t) {
		if strings.Contains(name, "lost") && status != "failed: download_failed" {
			t.Errorf("%s is %s", name, status)
		}
	}
	own := slices.DeleteFunc(slices.Collect(maps.Keys(want.Layers)), func(d string) bool { return want.Layers[d] > 200<<10 })
	g := a.front.Hold(0, func(method, path string) bool {
		return slices.ContainsFunc(own, func(d string) bool { return ofLayer(d)(method, path) })
	})
	t.Cleanup(g.Open)
	task := a.startScan(t, &model.CreateManualImageScanTaskReqInfo{QueryInfo: &model.CreateManualImageScanTaskReqInfoQueryInfo{ImageName: ptr("app-*")}})
	g.await(t)
	if err := a.until("at two images", func() bool {
		asked := a.front.pulls(want)
		return len(slices.DeleteFunc(slices.Clone(own), func(d string) bool { return asked[d] == 0 })) == 2
	}); err != nil {
		t.Error(err)
	}
	g.Open()
	a.scanned(t, task, scanPatience, 6)
	book := ledgerOf(t, a.server)
	book.quiet(t)
	book.consistent(t)
}
