//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// What users do with scans, with the vendor's SDK.

// scanAll asks for all images to be scanned, and returns the task.
func (s *server) scanAll(t testing.TB) (task string) {
	t.Helper()
	return s.startScan(t, &model.CreateManualImageScanTaskReqInfo{IsAll: ptr(true)})
}

// scanImage asks for one image.
func (s *server) scanImage(t testing.TB, i model.RegistryImagesInfo) (task string) {
	t.Helper()
	return s.startScan(t, &model.CreateManualImageScanTaskReqInfo{ImageInfo: &[]model.CreateManualImageScanTaskReqInfoImageInfo{{Id: i.Id}}})
}

func (s *server) startScan(t testing.TB, body *model.CreateManualImageScanTaskReqInfo) (task string) {
	t.Helper()
	before := s.scanTasks(t)
	if _, err := s.sdk(t).CreateManualImageScanTask(&model.CreateManualImageScanTaskRequest{Body: body}); err != nil {
		t.Fatalf("CreateManualImageScanTask: %v", err)
	}
	for _, found := range s.scanTasks(t) {
		if !slices.ContainsFunc(before, func(old model.ImageScanTaskInfo) bool { return *old.TaskId == *found.TaskId }) {
			return *found.TaskId
		}
	}
	t.Fatal("CreateManualImageScanTask made no task")
	return ""
}

func (s *server) scanTasks(t testing.TB) []model.ImageScanTaskInfo {
	t.Helper()
	resp, err := s.sdk(t).ListImageScanTask(&model.ListImageScanTaskRequest{Type: "image_scan", Limit: ptr(int32(200))})
	if err != nil {
		t.Fatalf("ListImageScanTask: %v", err)
	}
	return *resp.DataList
}

func (s *server) scanTask(t testing.TB, id string) model.ImageScanTaskInfo {
	t.Helper()
	resp, err := s.sdk(t).ListImageScanTask(&model.ListImageScanTaskRequest{Type: "image_scan", TaskId: &id})
	if err != nil {
		t.Fatalf("ListImageScanTask: %v", err)
	}
	if n := len(*resp.DataList); n != 1 {
		t.Fatalf("%d tasks have the id %s", n, id)
	}
	return (*resp.DataList)[0]
}

// awaitScan waits until a task has ended, and returns it. What a task says on
// its way must be true: never more than there is, and never less than before.
func (s *server) awaitScan(t testing.TB, id string, limit time.Duration) model.ImageScanTaskInfo {
	t.Helper()
	var task model.ImageScanTaskInfo
	var last int32
	err := s.within(limit, "done with the scan", func() bool {
		task = s.scanTask(t, id)
		done := *task.SuccessNum + *task.FailedNum
		if done < last || done > *task.TotalNum || *task.TaskStatus < 100 && *task.TaskStatus >= 0 && done == *task.TotalNum && *task.EndTime != 0 {
			t.Errorf("after %d images the task says %s", last, progressOf(task))
		}
		last = done
		return *task.TaskStatus >= 100 || *task.TaskStatus < 0
	})
	if err != nil {
		t.Fatalf("the scan has come to %s\n%v", progressOf(task), err)
	}
	return task
}

func progressOf(i model.ImageScanTaskInfo) string {
	return fmt.Sprintf("status %d, %d of %d well and %d failed, %d minutes to go, %q", *i.TaskStatus, *i.SuccessNum, *i.TotalNum, *i.FailedNum, *i.RemainMin, text(i.FailedReason))
}

// scanned wants a task to have scanned so many images, each well.
func (s *server) scanned(t testing.TB, id string, limit time.Duration, images int) {
	t.Helper()
	task := s.awaitScan(t, id, limit)
	if *task.TaskStatus != 100 || int(*task.TotalNum) != images || int(*task.SuccessNum) != images || *task.FailedNum != 0 || *task.EndTime < *task.BeginTime {
		t.Errorf("of %d images the scan has come to %s", images, progressOf(task))
	}
	for _, f := range *task.FailedImages {
		t.Errorf("%s failed: %s, %s", *f.ImageName, *f.FailedReason, text(f.Namespace))
	}
}

// stopScan stops a task.
func (s *server) stopScan(t testing.TB, id string) {
	t.Helper()
	if _, err := s.sdk(t).StopImageScanTask(&model.StopImageScanTaskRequest{TaskId: id}); err != nil {
		t.Fatalf("StopImageScanTask: %v", err)
	}
}

// image returns what the list says of an image.
func (s *server) image(t testing.TB, name string) model.RegistryImagesInfo {
	t.Helper()
	for _, i := range s.images(t, model.ListRegistryImagesRequest{}) {
		if tagged(i) == name {
			return i
		}
	}
	t.Fatalf("there is no image %s", name)
	return model.RegistryImagesInfo{}
}

// statuses are those of all images, by "repository:tag": "success", or
// "failed: " and the code.
func (s *server) statuses(t testing.TB) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, i := range s.images(t, model.ListRegistryImagesRequest{}) {
		m[tagged(i)] = text(i.ScanStatus)
		if code := text(i.ScanFailedCode); code != "" {
			m[tagged(i)] += ": " + code
		}
	}
	return m
}

// apps returns the software that an image holds, each as "name version".
func (s *server) apps(t testing.TB, i model.RegistryImagesInfo) []string {
	t.Helper()
	var found []string
	for {
		resp, err := s.sdk(t).ListImageApps(&model.ListImageAppsRequest{
			ImageId: text(i.ImageId), ImageType: "other", Namespace: i.Namespace, ImageName: i.ImageName, TagName: i.ImageVersion,
			Offset: ptr(int32(len(found))), Limit: ptr(int32(200)),
		})
		if err != nil {
			t.Fatalf("ListImageApps of %s: %v", tagged(i), err)
		}
		for _, app := range *resp.DataList {
			found = append(found, *app.AppName+" "+*app.AppVersion)
		}
		if len(*resp.DataList) == 0 || len(found) >= int(*resp.TotalNum) {
			if len(found) != int(*resp.TotalNum) {
				t.Errorf("ListImageApps of %s: %d of %d", tagged(i), len(found), *resp.TotalNum)
			}
			return inOrder(found)
		}
	}
}

// lists wants ListImageApps to say of these images what they hold.
func (s *server) lists(t testing.TB, want *cargo) {
	t.Helper()
	held := map[string][]string{}
	for name, packages := range want.Images {
		name, _, _ = strings.Cut(name, " ") // of an index: those of all platforms
		for _, p := range packages {
			held[name] = append(held[name], p[:strings.LastIndex(p, " ")])
		}
	}
	for _, i := range s.images(t, model.ListRegistryImagesRequest{}) {
		wanted, ok := held[tagged(i)]
		if !ok {
			continue
		}
		delete(held, tagged(i))
		if found := s.apps(t, i); !slices.Equal(found, slices.Compact(inOrder(wanted))) {
			t.Errorf("ListImageApps says of %s: %q, want %q", tagged(i), found, wanted)
		}
	}
	for name := range held {
		t.Errorf("%s is not listed", name)
	}
}
