package hssapi_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// image returns the manifest of an image, different for each text.
func image(text string) protocol.Manifest {
	return protocol.Manifest{
		Digest: tidewaiter.DigestOf([]byte("manifest of " + text)), MediaType: tidewaiter.MediaTypeOCIManifest, Kind: "image",
		ConfigDigest: tidewaiter.DigestOf([]byte("config of " + text)), Size: int64(1000 + len(text)), OS: "linux", Architecture: "amd64",
	}
}

// tagged returns a report of all of a repository: pairs of a tag and a manifest.
// Each tag is pushed a day after the one before.
func tagged(name string, pairs ...any) protocol.RepositoryReport {
	r := protocol.RepositoryReport{Name: name, Complete: true}
	pushed := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := 0; i < len(pairs); i += 2 {
		m := pairs[i+1].(protocol.Manifest)
		r.Manifests = append(r.Manifests, m)
		r.Tags = append(r.Tags, protocol.Tag{Name: pairs[i].(string), Digest: m.Digest, Pushed: pushed.AddDate(0, 0, i/2)})
	}
	return r
}

// stocked has images in two registries.
func stocked(t *testing.T) (h *house, ids map[string]string) {
	h = newHouse(t)
	ids = h.wellConnected(map[string]string{"harbor": "Harbor", "swr": "SwrShared"})
	arm := image("arm")
	arm.Architecture, arm.Variant = "arm64", "v8"
	index := protocol.Manifest{
		Digest: tidewaiter.DigestOf([]byte("index")), MediaType: tidewaiter.MediaTypeOCIIndex, Kind: "index",
		Children: []tidewaiter.Digest{image("amd").Digest, arm.Digest},
	}
	old := image("old")
	old.Kind, old.Reason = "schema 1 image", "it has a manifest of schema 1"
	windows := image("windows")
	windows.Kind, windows.OS, windows.Reason = "windows image", "windows", "it is an image of Windows"
	multi := tagged("team/multi", "1", index)
	multi.Manifests = []protocol.Manifest{image("amd"), arm, index}
	for _, id := range []string{ids["harbor"], ids["swr"]} {
		h.taskOf(object{"sync_all_registries": false, "registry_info": []object{{"registry_id": id}}})
		if id == ids["harbor"] {
			h.sync(tagged("team/app", "1.0", image("app 1"), "2.0", image("app two")), multi,
				tagged("deep/er/name", "x", old, "w", windows), tagged("alone", "latest", image("alone")))
			continue
		}
		shared := tagged("org/shared", "1", image("shared"))
		shared.Owner = "friend"
		h.sync(shared)
	}
	return h, ids
}

// names returns namespace/name:version of all images that a query finds.
func (h *house) names(path string, query ...string) []string {
	h.Helper()
	values := url.Values{"limit": {"200"}}
	for i := 0; i < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	a := h.ask("GET", path+"?"+values.Encode(), nil)
	out := []string{}
	for _, v := range a.body["data_list"].([]any) {
		i := v.(object)
		out = append(out, strings.TrimPrefix(fmt.Sprintf("%s/%s:%s", i["namespace"], i["image_name"], i["image_version"]), "/"))
	}
	return out
}

const images = "/image/registries/images"

func TestListRegistryImagesFilters(t *testing.T) {
	h, ids := stocked(t)
	everything := []string{"team/app:1.0", "team/app:2.0", "team/multi:1", "deep/er/name:x", "deep/er/name:w", "alone:latest", "org/shared:1"}
	now := fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())
	day := func(n int) string { return fmt.Sprint(time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC).UnixMilli()) }
	for _, tt := range []struct {
		query []string
		want  []string
	}{
		{nil, everything},
		{[]string{"namespace", "team"}, []string{"team/app:1.0", "team/app:2.0", "team/multi:1"}},
		{[]string{"image_name", "app"}, []string{"team/app:1.0", "team/app:2.0"}},
		{[]string{"image_name", "er/name"}, []string{"deep/er/name:x", "deep/er/name:w"}},
		{[]string{"image_name", "a*"}, []string{"team/app:1.0", "team/app:2.0", "alone:latest"}},
		{[]string{"image_version", "2.0"}, []string{"team/app:2.0"}},
		{[]string{"registry_name", "swr"}, []string{"org/shared:1"}},
		{[]string{"registry_id", ids["swr"]}, []string{"org/shared:1"}},
		{[]string{"image_type", "shared_image"}, []string{"org/shared:1"}},
		{[]string{"image_type", "jfrog"}, []string{}},
		{[]string{"image_type", "other"}, []string{}},
		{[]string{"latest_version", "true", "namespace", "team"}, []string{"team/app:2.0", "team/multi:1"}},
		{[]string{"latest_version", "false"}, everything},
		{[]string{"image_size", "1007"}, []string{"team/app:2.0", "deep/er/name:w"}},
		{[]string{"image_size", "0"}, []string{}},
		{[]string{"scan_status", "unscan"}, everything},
		{[]string{"scan_status", "success"}, []string{}},
		{[]string{"start_latest_update_time", day(2)}, []string{"team/app:2.0", "deep/er/name:w"}},
		{[]string{"end_latest_update_time", day(1), "namespace", "team"}, []string{"team/app:1.0", "team/multi:1"}},
		{[]string{"start_latest_update_time", day(1), "end_latest_update_time", day(1), "image_name", "app"}, []string{"team/app:1.0"}},
		{[]string{"start_latest_sync_time", now}, []string{}},
		{[]string{"end_latest_sync_time", now}, everything},
		{[]string{"start_latest_sync_time", "0", "end_latest_sync_time", "9223372036854775807"}, everything},
		{[]string{"start_latest_scan_time", "1"}, []string{}},
		{[]string{"end_latest_scan_time", now}, []string{}},
		{[]string{"has_malicious_file", "true"}, []string{}},
		{[]string{"has_unsafe_setting", "true"}, []string{}},
		{[]string{"has_vul", "true"}, []string{}},
		{[]string{"has_vul", "false"}, []string{}}, {[]string{"risky", "false"}, []string{}}, // nobody knows
		{[]string{"risky", "true"}, []string{}},
		{[]string{"is_multarch", "true"}, []string{"team/multi:1"}},
		{[]string{"is_multarch", "false", "namespace", "team"}, []string{"team/app:1.0", "team/app:2.0"}},
		{[]string{"severity_level", "High"}, []string{}},
		{[]string{"instance_id", ""}, everything},
		{[]string{"instance_id", "i"}, []string{}},
		{[]string{"instance_name", "i"}, []string{}},
		{[]string{"limit", "2", "offset", "1"}, []string{"team/app:2.0", "team/multi:1"}},
		{[]string{"limit", "1", "sort_dir", "desc"}, []string{"org/shared:1"}},
		{[]string{"enterprise_project_id", "another"}, []string{}},
		{[]string{"enterprise_project_id", "all_granted_eps"}, everything},
	} {
		if diff := cmp.Diff(tt.want, h.names(images, tt.query...)); diff != "" {
			t.Errorf("%v (-want +got)\n%s", tt.query, diff)
		}
	}
	for _, dir := range []string{"asc", "desc"} {
		if got := h.names(images, "sort_key", "latest_scan_time", "sort_dir", dir); len(got) != len(everything) {
			t.Errorf("sorted %s: %v", dir, got)
		}
	}
	if a := h.ask("GET", images+"?limit=2", nil); a.body["total_num"] != 7. {
		t.Errorf("a page says that there are %v", a.body["total_num"])
	}
}

func TestListRegistryImagesBadInputs(t *testing.T) {
	h := newHouse(t)
	if a := h.ask("GET", images, nil); !strings.Contains(a.text, `"data_list":[]`) {
		t.Errorf("an empty list is %s", a.text)
	}
	bad := map[string]string{
		"limit=0": "limit", "limit=201": "limit", "limit=1.5": "limit", "offset=-1": "offset", "offset=2000001": "offset",
		"image_type=oci": "image_type", "sort_key=name": "sort_key", "sort_dir=up": "sort_dir", "latest_version=maybe": "latest_version",
		"image_size=-1": "image_size", "image_size=2147483548": "image_size", "scan_status=download_failed": "scan_status",
		"severity_level=Critical": "severity_level", "has_vul=x": "has_vul", "risky=": "risky", "is_multarch=2": "is_multarch",
		"has_malicious_file=no": "has_malicious_file", "has_unsafe_setting=no": "has_unsafe_setting",
	}
	for name, longest := range map[string]int{
		"namespace": 128, "image_name": 128, "image_version": 64, "registry_name": 128, "instance_id": 128, "instance_name": 128, "enterprise_project_id": 256,
	} {
		bad[name+"="+strings.Repeat("x", longest+1)] = name
		h.ask("GET", images+"?"+name+"="+strings.Repeat("x", longest), nil)
		if !strings.HasPrefix(name, "instance") {
			bad[name+"="] = name
		}
	}
	for _, kind := range []string{"update", "scan", "sync"} {
		start, end := "start_latest_"+kind+"_time", "end_latest_"+kind+"_time"
		bad[start+"=-1"], bad[end+"=-1"], bad[start+"=9223372036854775808"], bad[end+"=soon"] = start, end, start, end
		bad[start+"=2&"+end+"=1"] = start + ": it is later than " + end
	}
	for query, message := range bad {
		h.fail("HSS.0001", message, "GET", images+"?"+query, nil)
	}
}

func TestImageFields(t *testing.T) {
	h, ids := stocked(t)
	find := func(query ...string) object {
		t.Helper()
		values := url.Values{}
		for i := 0; i < len(query); i += 2 {
			values.Set(query[i], query[i+1])
		}
		list := h.ask("GET", images+"?"+values.Encode(), nil).body["data_list"].([]any)
		if len(list) != 1 {
			t.Fatalf("%v: %d images", query, len(list))
		}
		return list[0].(object)
	}
	got := find("namespace", "team", "image_name", "multi")
	digest := tidewaiter.DigestOf([]byte("index"))
	platform := func(i any, text, platform string) object {
		m := image(text)
		return object{
			"id": i, "image_id": hexOf(m.ConfigDigest), "image_name": "multi", "image_version": "1", "image_type": "harbor", "namespace": "team",
			"image_digest": string(m.Digest), "scan_status": "unscan", "vul_num": 0., "unsafe_setting_num": 0., "malicious_file_num": 0., "platform": platform,
		}
	}
	var associated []any
	if list, ok := got["association_images"].([]any); ok && len(list) == 2 {
		associated = []any{
			platform(list[0].(object)["id"], "amd", "linux/amd64"), platform(list[1].(object)["id"], "arm", "linux/arm64/v8"),
		}
	}
	want := object{
		"id": got["id"], "namespace": "team", "image_name": "multi", "image_id": hexOf(digest), "image_digest": string(digest), "image_version": "1",
		"image_type": "harbor", "registry_id": ids["harbor"], "registry_name": "harbor", "registry_type": "Harbor", "latest_version": true,
		"scan_status": "unscan", "image_size": 2006., "latest_update_time": float64(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()),
		"latest_scan_time": 0., "latest_sync_time": got["latest_sync_time"], "vul_num": 0., "unsafe_setting_num": 0., "malicious_file_num": 0.,
		"scannable": true, "is_multiple_arch": true, "association_images": associated,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an index (-want +got)\n%s", diff)
	}
	if n, ok := got["latest_sync_time"].(float64); !ok || time.Since(time.UnixMilli(int64(n))) > time.Minute {
		t.Errorf("synchronised at %v", got["latest_sync_time"])
	}

	got = find("registry_name", "swr")
	if got["domain_name"] != "friend" || got["shared_status"] != "effective" || got["image_type"] != "shared_image" || got["registry_type"] != "SwrShared" {
		t.Errorf("a shared image: %v", got)
	}
	got = find("image_version", "x")
	if got["scannable"] != false || got["scan_failed_code"] != "schema_v1_not_support" || got["scan_failed_desc"] == "" {
		t.Errorf("an image of schema 1: %v", got)
	}
	got = find("image_version", "w")
	if got["scannable"] != false || got["scan_failed_code"] != nil || got["scan_failed_desc"] != "it is an image of Windows" {
		t.Errorf("an image of Windows: %v", got)
	}

	// What has gone from the registry stays for a while, and says so.
	h.taskOf(object{"sync_all_registries": false, "registry_info": []object{{"registry_id": ids["harbor"]}}})
	h.sync(tagged("team/app", "2.0", image("app two")))
	got = find("image_name", "app", "image_version", "1.0")
	since, _ := got["missing_since"].(float64)
	if got["scannable"] != false || got["scan_failed_code"] != "get_detail_info_not_found" || got["scan_failed_desc"] == "" ||
		time.Since(time.UnixMilli(int64(since))) > time.Minute {
		t.Errorf("an image that has gone: %v", got)
	}
	if got := find("image_name", "app", "image_version", "2.0"); got["missing_since"] != nil || got["scannable"] != true {
		t.Errorf("an image that is there: %v", got)
	}
	if diff := cmp.Diff(object{"local_num": 0., "cicd_num": 0., "registry_num": 2.}, h.ask("GET", "/image/asset/statistics", nil).body); diff != "" {
		t.Errorf("the count of images (-want +got)\n%s", diff)
	}
	a := h.ask("GET", "/image/registries?registry_name=harbor", nil)
	if r := a.body["data_list"].([]any)[0].(object); r["images_num"] != 1. || r["latest_sync_time"] == 0. {
		t.Errorf("the connection: %v", r)
	}
}

func hexOf(d tidewaiter.Digest) string {
	_, hex, _ := strings.Cut(string(d), ":")
	return hex
}

func TestListSwrImageRepository(t *testing.T) {
	h, _ := stocked(t)
	const path = "/image/swr-repository"
	for _, tt := range []struct {
		query []string
		want  []string
	}{
		{[]string{"image_type", "shared_image"}, []string{"org/shared:1"}},
		{[]string{"image_type", "private_image"}, []string{}},
		{[]string{"image_type", "instance_image"}, []string{}},
		{[]string{"image_type", "local_image"}, []string{}},
		{[]string{"image_type", "shared_image", "namespace", "", "image_name", "shared", "image_version", "1", "latest_version", "true"}, []string{"org/shared:1"}},
		{[]string{"image_type", "shared_image", "scan_status", "success"}, []string{}},
		{[]string{"image_type", "shared_image", "has_vul", "true"}, []string{}},
		{[]string{"image_type", "shared_image", "has_malicious_file", "false", "has_unsafe_setting", "false"}, []string{"org/shared:1"}},
		{[]string{"image_type", "shared_image", "image_size", "1006"}, []string{"org/shared:1"}},
		{[]string{"image_type", "shared_image", "start_latest_update_time", "4070880000000"}, []string{}},
		{[]string{"image_type", "shared_image", "end_latest_scan_time", "1"}, []string{}},
		{[]string{"image_type", "shared_image", "instance_id", "x", "instance_name", "y"}, []string{}},
		{[]string{"image_type", "shared_image", "offset", "1"}, []string{}},
	} {
		if diff := cmp.Diff(tt.want, h.names(path, tt.query...)); diff != "" {
			t.Errorf("%v (-want +got)\n%s", tt.query, diff)
		}
	}
	for query, message := range map[string]string{
		"": "image_type", "image_type=": "image_type", "image_type=harbor": "image_type", "image_type=shared_image&limit=0": "limit",
		"image_type=shared_image&start_latest_update_time=2&end_latest_update_time=1": "start_latest_update_time: it is later",
	} {
		h.fail("HSS.0001", message, "GET", path+"?"+query, nil)
	}
	list, err := h.sdk.ListSwrImageRepository(&model.ListSwrImageRepositoryRequest{ImageType: "shared_image"})
	h.must(err)
	if got := (*list.DataList)[0]; *list.TotalNum != 1 || *got.DomainName != "friend" || *got.SharedStatus != "effective" || !*got.Scannable || len(*got.AssociationImages) != 0 {
		t.Errorf("got %s", list)
	}
}

func TestImagesThroughSDK(t *testing.T) {
	h, _ := stocked(t)
	list, err := h.sdk.ListRegistryImages(&model.ListRegistryImagesRequest{
		Namespace: pointer("team"), IsMultarch: pointer(true), LatestVersion: pointer(true), Limit: pointer(int32(200)),
		SortKey: pointer("latest_scan_time"), SortDir: pointer("desc"), EnterpriseProjectId: pointer("all_granted_eps"),
	})
	h.must(err)
	if *list.TotalNum != 1 || *(*list.DataList)[0].ImageName != "multi" || len(*(*list.DataList)[0].AssociationImages) != 2 {
		t.Errorf("got %s", list)
	}
	n, err := h.sdk.ShowImageAssetStatistics(&model.ShowImageAssetStatisticsRequest{})
	h.must(err)
	if *n.RegistryNum != 7 || *n.LocalNum != 0 || *n.CicdNum != 0 {
		t.Errorf("got %s", n)
	}
}

// A time that is shown, as both ends of a range, finds what it was shown of:
// its microseconds are within.
func TestRangeOfOneMillisecond(t *testing.T) {
	h, _ := stocked(t)
	for _, v := range h.ask("GET", images+"?limit=200", nil).body["data_list"].([]any) {
		i := v.(object)
		at := fmt.Sprintf("%.0f", i["latest_sync_time"])
		name := strings.TrimPrefix(fmt.Sprintf("%s/%s:%s", i["namespace"], i["image_name"], i["image_version"]), "/")
		if got := h.names(images, "start_latest_sync_time", at, "end_latest_sync_time", at); !slices.Contains(got, name) {
			t.Errorf("%s was synchronised at %s; then were %q", name, at, got)
		}
	}
}
