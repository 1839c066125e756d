//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// The way of a user with one machine: the server, its own component, and a
// registry over TLS with a private CA, of each product. The vendor's SDK is
// the client.
func TestLocalCluster(t *testing.T) {
	s := startTidewaiter(t, "--sync-at", "off", "--log-level", "debug")
	const password, other = `it's "a" Pl4nted pa$$ word ü`, "Pl4nted-Pa55word"
	t.Run("with", func(t *testing.T) {
		for _, product := range []string{dockerRegistry, distribution, olareg} {
			t.Run(filepath.Base(product), func(t *testing.T) {
				t.Parallel()
				ca := newAuthority(t)
				o := registryOptions{Product: product, TLS: true, CA: ca}
				switch product {
				case dockerRegistry:
					o.User, o.Password, o.Schema1 = "alice", password, true
				case distribution:
					o.User, o.Password, o.Tokens = "alice", other, startTokenService(t, ca)
				}
				localCluster(t, s, startRegistry(t, o))
			})
		}
	})
	secrets := planted{"password": password, "other password": other}.disguises()
	secrets.lookInFiles(t, s.Data, "")
	secrets.lookIn(t, "the log", []byte(s.Said()))
}

func localCluster(t *testing.T, s *server, r *registryServer) {
	name := "local " + filepath.Base(r.Product)
	want := r.fill(t)
	if r.Product != distribution { // whose token service skopeo would not trust
		r.Skopeo(t, onDisk(t, multiArch(t, "copied")), "copied/multi", "1", "oci")
		want.addFrom(t, r, "copied/multi", "1")
	}
	if r.Schema1 {
		r.Skopeo(t, "docker://"+r.Addr+"/alone:latest", "legacy/old", "1", "v2s1")
		want.addFrom(t, r, "legacy/old", "1")
	}
	id := s.addRegistry(t, r.connection(name, "local"))
	mend(t, s, r, id, want)

	s.sync(t, id)
	s.compare(t, name, want)
	skipped(t, s, id, want)
	filters(t, s, name, want)
	if r.Product == dockerRegistry {
		unscannable(t, s, name)
		unchanged(t, s, r, id)
	}
	changes(t, s, r, id, name, want)
	updates(t, s, r, id)
	deletes(t, s, id, name)
}

// mend gives the registry what it needs beyond the contract, one setting after
// the other, each found by reading what the failed check says.
func mend(t *testing.T, s *server, r *registryServer, id string, want listing) {
	t.Helper()
	failing := func(step, says string) {
		t.Helper()
		if reason := s.awaitRegistry(t, id, "fail"); reason != "REQUEST_API_ERROR" {
			t.Errorf("the reason is %s", reason)
		}
		check := s.test(t, id)
		failed, message := check.failed()
		if failed != step || !strings.Contains(message, says) || check.OK {
			t.Errorf("step %q failed with %q; want %q and a word about %q", failed, message, step, says)
		}
	}
	failing("tls", "e2e CA")
	s.set(t, id, settings{"ca": r.CA.PEM})
	if r.Tokens != nil {
		failing("auth", r.Tokens.Host)
		s.set(t, id, settings{"token_hosts": []string{r.Tokens.Host}})
	}
	if r.Product == olareg {
		failing("list", "repositories")
		s.set(t, id, settings{"repositories": append(want.Repositories(), "not/there")})
	}
	s.awaitRegistry(t, id, "success")
	check := s.test(t, id)
	var steps []string
	for _, step := range check.Steps {
		steps = append(steps, step.Name)
		if step.Status != "ok" && step.Name != "dns" || step.Message == "" {
			t.Errorf("step %s: %s, %q", step.Name, step.Status, step.Message)
		}
	}
	if want := []string{"dns", "tcp", "tls", "auth", "list", "pull"}; !check.OK || !slices.Equal(steps, want) {
		t.Errorf("the check says %v: %v", check.OK, steps)
	}
}

// skipped wants what is no image to be counted, with the reason.
func skipped(t *testing.T, s *server, id string, want listing) {
	t.Helper()
	total, charts := 0, 0
	for _, k := range s.details(t, id).Skipped {
		if strings.Contains(strings.ToLower(k.Kind), "helm") {
			charts += k.Count
		}
		if k.Kind == "" || k.Reason == "" || k.Example == "" {
			t.Errorf("skipped without a word: %+v", k)
		}
		total += k.Count
	}
	if total != len(want.Others) || charts != 2 {
		t.Errorf("%d skipped and %d charts, want %d and 2: %+v", total, charts, len(want.Others), s.details(t, id).Skipped)
	}
}

// unscannable wants images that cannot be scanned to say so.
func unscannable(t *testing.T, s *server, name string) {
	t.Helper()
	for _, tt := range []struct{ namespace, code string }{{"legacy", "schema_v1_not_support"}, {"win", ""}} {
		found := s.images(t, model.ListRegistryImagesRequest{RegistryName: &name, Namespace: &tt.namespace})
		if len(found) != 1 {
			t.Fatalf("%d images in %s", len(found), tt.namespace)
		}
		if i := found[0]; *i.Scannable || text(i.ScanFailedCode) != tt.code || text(i.ScanFailedDesc) == "" {
			t.Errorf("%s: scannable %t, %q, %q", tagged(i), *i.Scannable, text(i.ScanFailedCode), text(i.ScanFailedDesc))
		}
	}
}

// filters asks for the images in every way that has an answer before a scan.
func filters(t *testing.T, s *server, name string, want listing) {
	t.Helper()
	var team, multi []string
	for tagged, image := range want.Images {
		if strings.HasPrefix(tagged, "team/") {
			team = append(team, tagged)
		}
		if image.Platforms != nil {
			multi = append(multi, tagged)
		}
	}
	everything := len(want.Images)
	for _, tt := range []struct {
		what    string
		request model.ListRegistryImagesRequest
		found   int
	}{
		{"namespace", model.ListRegistryImagesRequest{Namespace: ptr("team")}, len(team)},
		{"image_name", model.ListRegistryImagesRequest{ImageName: ptr("app")}, 2},
		{"a name with slashes", model.ListRegistryImagesRequest{Namespace: ptr("deep"), ImageName: ptr("er/path/name")}, 1},
		{"image_version", model.ListRegistryImagesRequest{ImageName: ptr("app"), ImageVersion: ptr("v2")}, 1},
		{"is_multarch", model.ListRegistryImagesRequest{IsMultarch: ptr(true)}, len(multi)},
		{"not is_multarch", model.ListRegistryImagesRequest{IsMultarch: ptr(false)}, everything - len(multi)},
		{"latest_version", model.ListRegistryImagesRequest{LatestVersion: ptr(true), ImageName: ptr("app")}, 1},
		{"scan_status", model.ListRegistryImagesRequest{ScanStatus: ptr("unscan")}, everything},
		{"another scan_status", model.ListRegistryImagesRequest{ScanStatus: ptr("success")}, 0},
		{"has_vul", model.ListRegistryImagesRequest{HasVul: ptr(true)}, 0},
		{"risky", model.ListRegistryImagesRequest{Risky: ptr(false)}, 0}, // nothing is known of them yet
		{"start_latest_sync_time", model.ListRegistryImagesRequest{StartLatestSyncTime: ptr(int64(1))}, everything},
		{"end_latest_sync_time", model.ListRegistryImagesRequest{EndLatestSyncTime: ptr(int64(1))}, 0},
		{"sort_key", model.ListRegistryImagesRequest{SortKey: ptr("latest_scan_time"), SortDir: ptr("desc")}, everything},
		{"severity_level", model.ListRegistryImagesRequest{SeverityLevel: ptr("High")}, 0},
		{"image_type of others", model.ListRegistryImagesRequest{ImageType: ptr("harbor")}, 0},
	} {
		tt.request.RegistryName = &name
		if got := s.images(t, tt.request); len(got) != tt.found {
			t.Errorf("by %s: %d images, want %d", tt.what, len(got), tt.found)
		}
	}
	first, err := s.sdk(t).ListRegistryImages(&model.ListRegistryImagesRequest{RegistryName: &name, Limit: ptr(int32(2)), Offset: ptr(int32(1))})
	if err != nil || len(*first.DataList) != 2 || int(*first.TotalNum) != everything {
		t.Errorf("a page of 2 from 1: %v, %v", first, err)
	}
}

// unchanged wants a synchronisation of what is known to ask for no manifest
// again, only for its digest.
func unchanged(t *testing.T, s *server, r *registryServer, id string) {
	t.Helper()
	manifest := regexp.MustCompile(`"(GET|HEAD) /v2/[^ ]+/manifests/`)
	count := func() (gets, heads int) {
		for _, found := range manifest.FindAllStringSubmatch(r.stdout.String()+r.stderr.String(), -1) {
			if found[1] == "GET" {
				gets++
			} else {
				heads++
			}
		}
		return gets, heads
	}
	gets, heads := count()
	if gets == 0 {
		t.Fatal("the registry's log has no requests for manifests, so that counting them proves nothing")
	}
	s.sync(t, id)
	gets2, heads2 := count()
	if gets2 != gets || heads2 == heads {
		t.Errorf("a second synchronisation made %d requests for manifests and %d for digests, want none and some", gets2-gets, heads2-heads)
	}
}

// changes moves, adds and deletes tags, and wants the list to follow.
func changes(t *testing.T, s *server, r *registryServer, id, name string, want listing) {
	t.Helper()
	r.Delete(t, "team/app", "v1")
	delete(want.Images, "team/app:v1")
	moved := tinyImage(t, "app 3", "amd64")
	r.Push(t, "team/app", "v2", moved)
	want.add(t, "team/app", "v2", moved)
	r.Tag(t, "team/app", "v2", "v3")
	want.Images["team/app:v3"] = want.Images["team/app:v2"]
	r.Delete(t, "alone", "latest")
	delete(want.Images, "alone:latest")
	s.sync(t, id)
	s.compare(t, name, want)

	marked := map[string]bool{}
	for _, i := range s.images(t, model.ListRegistryImagesRequest{RegistryName: &name}) {
		if gone(i) {
			marked[tagged(i)] = true
			if *i.Scannable || text(i.ScanFailedDesc) == "" {
				t.Errorf("%s has gone, but is scannable: %t, %q", tagged(i), *i.Scannable, text(i.ScanFailedDesc))
			}
		}
	}
	if len(marked) != 2 || !marked["team/app:v1"] || !marked["alone:latest"] {
		t.Errorf("marked as gone: %v", marked)
	}
	info := s.registry(t, id)
	if got := int(*info.ImagesNum); got != len(want.Images) || *info.LatestSyncTime == 0 {
		t.Errorf("images_num is %d, want %d; latest_sync_time is %d", got, len(want.Images), *info.LatestSyncTime)
	}
	// What is pushed again is there again.
	again := tinyImage(t, "alone again", "arm64")
	r.Push(t, "alone", "latest", again)
	want.add(t, "alone", "latest", again)
	s.sync(t, id)
	s.compare(t, name, want)
}

// updates changes the credential to a wrong one and back.
func updates(t *testing.T, s *server, r *registryServer, id string) {
	t.Helper()
	_, err := s.sdk(t).UpdateRegistry(&model.UpdateRegistryRequest{Id: id, Body: &model.UpdateRegistryRequestBody{RegistryAddr: ptr("127.0.0.1:1")}})
	if says := refused(t, err, 400); !strings.Contains(says, "registry_password") {
		t.Errorf("another address without a password: %s", says)
	}
	if r.User == "" {
		return
	}
	s.updateRegistry(t, id, &model.UpdateRegistryRequestBody{RegistryPassword: ptr("wr0ng")})
	if reason := s.awaitRegistry(t, id, "fail"); reason != "REQUEST_API_ERROR" {
		t.Errorf("with a wrong password the reason is %s", reason)
	}
	if detail := s.details(t, id).FailDetail; !strings.Contains(detail, "password") || strings.Contains(detail, "wr0ng") {
		t.Errorf("with a wrong password it says %q", detail)
	}
	s.updateRegistry(t, id, &model.UpdateRegistryRequestBody{RegistryPassword: &r.Password})
	s.awaitRegistry(t, id, "success")
}

// deletes removes the registry, with its images.
func deletes(t *testing.T, s *server, id, name string) {
	t.Helper()
	assets, err := s.sdk(t).ShowImageAssetStatistics(&model.ShowImageAssetStatisticsRequest{})
	if err != nil || *assets.RegistryNum == 0 {
		t.Errorf("ShowImageAssetStatistics: %v, %v", assets, err)
	}
	counts, err := s.sdk(t).ListRegistryStatistics(&model.ListRegistryStatisticsRequest{})
	if err != nil || *counts.SuccessNum == 0 {
		t.Errorf("ListRegistryStatistics: %v, %v", counts, err)
	}
	if _, err := s.sdk(t).DeleteRegistry(&model.DeleteRegistryRequest{Id: id}); err != nil {
		t.Fatalf("DeleteRegistry: %v", err)
	}
	if left := s.images(t, model.ListRegistryImagesRequest{RegistryName: &name}); len(left) != 0 {
		t.Errorf("%d images are left", len(left))
	}
	found, err := s.sdk(t).ListRegistry(&model.ListRegistryRequest{RegistryName: &name})
	if err != nil || len(*found.DataList) != 0 {
		t.Errorf("after the deletion: %v, %v", found, err)
	}
}

// 300 tags of three digests, in a registry that takes few requests a second and
// says so with 429.
func TestManyTagsOfABusyRegistry(t *testing.T) {
	t.Parallel()
	s := startTidewaiter(t, "--sync-at", "off")
	r := startRegistry(t, registryOptions{Product: olareg})
	want := listing{Images: map[string]imageListed{}}
	for i := range 3 {
		repository := "many/tags"
		first := fmt.Sprintf("t%03d", i)
		image := tinyImage(t, first, "amd64")
		r.Push(t, repository, first, image)
		want.add(t, repository, first, image)
		for j := i + 3; j < 300; j += 3 {
			tag := fmt.Sprintf("t%03d", j)
			r.Tag(t, repository, first, tag)
			want.Images[repository+":"+tag] = want.Images[repository+":"+first]
		}
	}
	r.Stop()
	r.RateLimit = 25
	r.Start(t)
	id := s.addRegistry(t, r.connection("busy", "local"))
	s.set(t, id, settings{"repositories": []string{"many/tags"}})
	s.awaitRegistry(t, id, "success")
	s.sync(t, id)
	s.compare(t, "busy", want)
	if n := len(s.images(t, model.ListRegistryImagesRequest{RegistryName: ptr("busy"), LatestVersion: ptr(true)})); n != 1 {
		t.Errorf("%d images are the latest of their repository", n)
	}
}
