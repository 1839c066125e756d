//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// What users do with registries, with the vendor's SDK wherever it knows how.

// connection returns what AddRegistry takes to connect this registry to a
// cluster.
func (r *registryServer) connection(name, cluster string) *model.AddRegistryRequestBody {
	user, password := r.User, r.Password
	if user == "" { // the contract wants one
		user, password = "anybody", "anything"
	}
	namespace := "tools"
	return &model.AddRegistryRequestBody{
		RegistryName: name, RegistryType: "Other", ApiVersion: "V2", Protocol: r.Scheme(), RegistryAddr: r.Addr,
		RegistryUsername: user, RegistryPassword: password, Namespace: &namespace,
		ConnectClusterId: cluster, GetScanImageChannel: "Other",
	}
}

// addRegistry connects a registry and returns its id. It does not wait for the
// access check.
func (s *server) addRegistry(t testing.TB, body *model.AddRegistryRequestBody) string {
	t.Helper()
	if _, err := s.sdk(t).AddRegistry(&model.AddRegistryRequest{Body: body}); err != nil {
		t.Fatalf("AddRegistry: %v", err)
	}
	found, err := s.sdk(t).ListRegistry(&model.ListRegistryRequest{RegistryName: &body.RegistryName})
	if err != nil {
		t.Fatalf("ListRegistry: %v", err)
	}
	if n := len(*found.DataList); n != 1 {
		t.Fatalf("%d registries are called %s", n, body.RegistryName)
	}
	return *(*found.DataList)[0].Id
}

// updateRegistry changes a registry.
func (s *server) updateRegistry(t testing.TB, id string, body *model.UpdateRegistryRequestBody) {
	t.Helper()
	if _, err := s.sdk(t).UpdateRegistry(&model.UpdateRegistryRequest{Id: id, Body: body}); err != nil {
		t.Fatalf("UpdateRegistry: %v", err)
	}
}

// registry returns what the list says of a registry.
func (s *server) registry(t testing.TB, id string) model.RegistryInfo {
	t.Helper()
	found, err := s.sdk(t).ListRegistry(&model.ListRegistryRequest{RegistryId: &id})
	if err != nil {
		t.Fatalf("ListRegistry: %v", err)
	}
	if n := len(*found.DataList); n != 1 {
		t.Fatalf("%d registries have the id %s", n, id)
	}
	return (*found.DataList)[0]
}

// awaitRegistry waits until a registry has a status, and returns the reason of
// the last failure.
func (s *server) awaitRegistry(t testing.TB, id, status string) (reason string) {
	t.Helper()
	var last model.RegistryInfo
	err := s.until("with the registry "+status, func() bool {
		last = s.registry(t, id)
		return *last.Status == status
	})
	if err != nil {
		t.Fatalf("the registry is %s, want %s: %s\n%v", *last.Status, status, s.details(t, id).FailDetail, err)
	}
	if last.FailReason == nil {
		return ""
	}
	return *last.FailReason
}

// own sends a request to the server's own API under /tidewaiter/v1 and decodes
// the answer; into may be nil. It returns the status and the body.
func (s *server) own(t testing.TB, method, path string, body, into any) (status int, answer string) {
	t.Helper()
	return s.call(t, method, "/tidewaiter/v1"+path, body, into)
}

// call is own for any path.
func (s *server) call(t testing.TB, method, path string, body, into any) (status int, answer string) {
	t.Helper()
	var send bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&send).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	r, err := http.NewRequest(method, s.URL+path, &send)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", s.ownToken(t))
	r.Header.Set("Content-Type", "application/json")
	client := *s.Client
	client.Timeout = 2 * patience // an access check that waits for a component
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
	return resp.StatusCode, string(b)
}

// must is own for a request that is to succeed.
func (s *server) must(t testing.TB, method, path string, body, into any) {
	t.Helper()
	if status, answer := s.own(t, method, path, body, into); status >= 300 {
		t.Fatalf("%s %s: status %d: %s", method, path, status, answer)
	}
}

// settings are what a registry has beyond the contract.
type settings map[string]any

// set changes settings of a registry.
func (s *server) set(t testing.TB, id string, change settings) {
	t.Helper()
	s.must(t, http.MethodPatch, "/registries/"+id, change, nil)
}

// A connectionDetails is what the server's own API says of a registry.
type connectionDetails struct {
	Status     string
	FailReason string   `json:"fail_reason"`
	FailDetail string   `json:"fail_detail"`
	Warnings   []string `json:"warnings"`
	Images     int
	Secrets    []struct {
		Name    string
		Current bool
	}
	Check           *connectionCheck
	Synchronization *struct {
		State                                                     string
		Repositories, RepositoriesDone, Images, Skipped, Requests int
	}
	Skipped []struct {
		Kind, Reason, Example string
		Count                 int
	}
}

// A connectionCheck is the outcome of an access check.
type connectionCheck struct {
	OK         bool
	FailReason string `json:"fail_reason"`
	Steps      []struct {
		Name, Status, Message string
		Milliseconds          float64
	}
	Warnings []string
}

// failed returns the step that failed and what it says, "" if none did.
func (c connectionCheck) failed() (name, message string) {
	for _, step := range c.Steps {
		if step.Status == "failed" {
			return step.Name, step.Message
		}
	}
	return "", ""
}

func (s *server) details(t testing.TB, id string) connectionDetails {
	t.Helper()
	var d connectionDetails
	s.must(t, http.MethodGet, "/registries/"+id, nil, &d)
	return d
}

// test has a component try a registry.
func (s *server) test(t testing.TB, id string) connectionCheck {
	t.Helper()
	var c connectionCheck
	s.must(t, http.MethodPost, "/registries/"+id+"/test", nil, &c)
	return c
}

// startSync asks for the images of registries to be listed, and returns the
// task.
func (s *server) startSync(t testing.TB, ids ...string) (task string) {
	t.Helper()
	before := s.syncTasks(t)
	body := &model.CreateImageSynchronizeTaskRequestInfo{SyncAllRegistries: len(ids) == 0}
	if len(ids) > 0 {
		var info []model.CreateImageSynchronizeTaskRequestInfoRegistryInfo
		for _, id := range ids {
			info = append(info, model.CreateImageSynchronizeTaskRequestInfoRegistryInfo{RegistryId: &id, RegistryType: ptr("Other")})
		}
		body.RegistryInfo = &info
	}
	if _, err := s.sdk(t).CreateImageSynchronizeTask(&model.CreateImageSynchronizeTaskRequest{Body: body}); err != nil {
		t.Fatalf("CreateImageSynchronizeTask: %v", err)
	}
	// Other tests may have started tasks meanwhile.
	for _, found := range s.syncTasks(t) {
		if slices.ContainsFunc(before, func(old model.ImageScanTaskInfo) bool { return *old.TaskId == *found.TaskId }) {
			continue
		}
		of := s.syncOf(t, *found.TaskId)
		if len(ids) == 0 || len(of) == len(ids) && slices.ContainsFunc(of, func(a model.AssociateRegistriesResponseInfo) bool { return *a.RegistryId == ids[0] }) {
			return *found.TaskId
		}
	}
	t.Fatal("CreateImageSynchronizeTask made no task")
	return ""
}

// syncOf returns how the registries of a task fare.
func (s *server) syncOf(t testing.TB, task string) []model.AssociateRegistriesResponseInfo {
	t.Helper()
	resp, err := s.sdk(t).ListAssociateRegistries(&model.ListAssociateRegistriesRequest{TaskId: task, Limit: ptr(int32(100))})
	if err != nil {
		t.Fatalf("ListAssociateRegistries: %v", err)
	}
	return *resp.DataList
}

func (s *server) syncTasks(t testing.TB) []model.ImageScanTaskInfo {
	t.Helper()
	resp, err := s.sdk(t).ListImageScanTask(&model.ListImageScanTaskRequest{Type: "image_sync", Limit: ptr(int32(200))})
	if err != nil {
		t.Fatalf("ListImageScanTask: %v", err)
	}
	return *resp.DataList
}

// awaitSync waits until a task has ended and returns how each of its
// registries fared.
func (s *server) awaitSync(t testing.TB, task string) []model.AssociateRegistriesResponseInfo {
	t.Helper()
	var found []model.AssociateRegistriesResponseInfo
	// A registry that was down is tried again after a minute.
	err := s.within(3*patience, "done with the synchronisation", func() bool {
		found = s.syncOf(t, task)
		return !slices.ContainsFunc(found, func(a model.AssociateRegistriesResponseInfo) bool { return *a.SyncStatus == "running" })
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sync lists the images of a registry, and wants that to end well.
func (s *server) sync(t testing.TB, id string) {
	t.Helper()
	for _, one := range s.awaitSync(t, s.startSync(t, id)) {
		if *one.SyncStatus != "finished" {
			t.Fatalf("the synchronisation of %s ended as %s: %s", *one.RegistryName, *one.SyncStatus, text(one.FailedReason))
		}
	}
}

// images returns every image that a request finds, page by page.
func (s *server) images(t testing.TB, request model.ListRegistryImagesRequest) []model.RegistryImagesInfo {
	t.Helper()
	var all []model.RegistryImagesInfo
	request.Limit = ptr(int32(200))
	for {
		request.Offset = ptr(int32(len(all)))
		resp, err := s.sdk(t).ListRegistryImages(&request)
		if err != nil {
			t.Fatalf("ListRegistryImages: %v", err)
		}
		all = append(all, *resp.DataList...)
		if len(*resp.DataList) == 0 || len(all) >= int(*resp.TotalNum) {
			if len(all) != int(*resp.TotalNum) {
				t.Errorf("total_num is %d, but there are %d images", *resp.TotalNum, len(all))
			}
			return all
		}
	}
}

// gone tells whether an image is marked as no longer in its registry.
func gone(i model.RegistryImagesInfo) bool {
	return text(i.ScanFailedCode) == "get_detail_info_not_found"
}

// tagged is an image's "repository:tag".
func tagged(i model.RegistryImagesInfo) string {
	name := text(i.ImageName)
	if namespace := text(i.Namespace); namespace != "" {
		name = namespace + "/" + name
	}
	return name + ":" + text(i.ImageVersion)
}

// compare wants the server to list exactly these images of a registry as
// present, each once, with its digest and those of its platforms.
func (s *server) compare(t testing.TB, name string, want listing) {
	t.Helper()
	got := map[string]imageListed{}
	for _, i := range s.images(t, model.ListRegistryImagesRequest{RegistryName: &name}) {
		if gone(i) {
			continue
		}
		if _, twice := got[tagged(i)]; twice {
			t.Errorf("%s is listed twice", tagged(i))
		}
		listed := imageListed{Digest: text(i.ImageDigest)}
		if i.AssociationImages != nil {
			for _, a := range *i.AssociationImages {
				listed.Platforms = append(listed.Platforms, text(a.ImageDigest))
			}
		}
		got[tagged(i)] = listed
	}
	if diff := cmp.Diff(want.Images, got); diff != "" {
		t.Errorf("the images of %s differ (-in the registry +listed):\n%s", name, diff)
	}
}

// refused wants an error of the SDK with a status, and returns its message.
func refused(t testing.TB, err error, status int) string {
	t.Helper()
	failed, ok := errors.AsType[*sdkerr.ServiceResponseError](err)
	if !ok || failed.StatusCode != status {
		t.Fatalf("got %v, want status %d", err, status)
	}
	return fmt.Sprintf("%s: %s", failed.ErrorCode, failed.ErrorMessage)
}

func ptr[T any](v T) *T { return &v }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return strings.Clone(*s)
}
