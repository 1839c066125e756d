package hssapi_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/tidewaiter/tidewaiter"
)

const (
	criticalVector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
	mediumVector   = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N"
)

func osvAdvisory(id, ecosystem, name, fixed, vector string, aliases ...string) object {
	events := []object{{"introduced": "0"}}
	if fixed != "" {
		events = append(events, object{"fixed": fixed})
	}
	kind := "ECOSYSTEM"
	if ecosystem == "npm" {
		kind = "SEMVER"
	}
	a := object{
		"schema_version": "1.7.0", "id": id, "modified": "2026-01-02T00:00:00Z", "published": "2026-01-01T00:00:00Z", "summary": "about " + id, "aliases": aliases,
		"references": []object{{"type": "WEB", "url": "javascript:alert(1)"}, {"type": "FIX", "url": "https://example.com/fix/" + id}},
		"affected":   []object{{"package": object{"ecosystem": ecosystem, "name": name}, "ranges": []object{{"type": kind, "events": events}}}},
	}
	if vector != "" {
		a["severity"] = []object{{"type": "CVSS_V3", "score": vector}}
	}
	return a
}

// advise brings advisories into force.
func (h *house) advise(list ...object) {
	h.Helper()
	text, err := json.Marshal(list)
	h.must(err)
	file := filepath.Join(h.TempDir(), "advisories.json")
	h.must(os.WriteFile(file, text, 0o600))
	_, err = h.sets.Import(h.Context(), []string{file}, h.findings)
	h.must(err)
}

func someAdvisories() []object {
	return []object{
		osvAdvisory("DEBIAN-CVE-2026-1000", "Debian:12", "bash", "5.2-2", criticalVector, "CVE-2026-1000"),
		osvAdvisory("DEBIAN-CVE-2026-2000", "Debian:12", "libc6", "", mediumVector, "CVE-2026-2000"),
		osvAdvisory("GHSA-log4", "Maven", "org.apache:log4j", "2.18", "", "CVE-2026-3000"),
		osvAdvisory("GHSA-other", "npm", "other", "", ""),
	}
}

// vulnerable is [laden], with advisories about what the images hold.
func vulnerable(t *testing.T) (h *house, ids map[string]string) {
	h, ids = laden(t)
	h.advise(someAdvisories()...)
	return h, ids
}

func vulnerabilitiesOf(id, query string) string {
	return "/image/" + id + "/vulnerabilities" + query
}

func TestListImageVulnerabilities(t *testing.T) {
	h, _ := vulnerable(t)
	bash, libc, log4j := "CVE-2026-1000 immediate_repair bash 5.2-1 linux_vul", "CVE-2026-2000 delay_repair libc6 1:2.36-9 linux_vul", "CVE-2026-3000 delay_repair org.apache:log4j 2.17 app_vul"
	index := hexOf(tidewaiter.DigestOf([]byte("index")))
	for _, tt := range []struct {
		id, query string
		want      []string
	}{
		{idOf("app 1"), of("harbor", "team", "app", "1.0"), []string{bash, libc, log4j}},
		{idOf("app 1"), of("harbor", "", "", ""), []string{bash, libc, log4j}},
		{idOf("app 1"), of("harbor", "", "", "", "type", "app_vul"), []string{log4j}},
		{idOf("app 1"), of("harbor", "", "", "", "repair_necessity", "immediate_repair"), []string{bash}},
		{idOf("app 1"), of("harbor", "", "", "", "repair_necessity", "not_needed_repair"), []string{}},
		{idOf("app 1"), of("harbor", "", "", "", "vul_id", "cve-2026-2"), []string{libc}},
		{idOf("app 1"), of("harbor", "", "", "", "vul_id", "%"), []string{}},
		{idOf("app 1"), of("harbor", "", "", "", "app_name", "LOG4"), []string{log4j}},
		{idOf("app 1"), of("harbor", "", "", "", "handle_status", "handled"), []string{}},
		{idOf("app 1"), of("harbor", "", "", "", "handle_status", "unhandled"), []string{bash, libc, log4j}},
		{idOf("app 1"), of("harbor", "", "", "", "offset", "1"), []string{libc, log4j}},
		{idOf("app two"), of("harbor", "", "", ""), []string{bash, libc}}, // what is known of it
		{index, of("harbor", "", "", ""), []string{bash, libc}},
		{idOf("shared"), of("shared_image", "org", "shared", "1"), []string{bash, libc}},
	} {
		if diff := cmp.Diff(tt.want, h.rows(vulnerabilitiesOf(tt.id, tt.query), "vul_id", "repair_necessity", "app_name", "version", "type")); diff != "" {
			t.Errorf("%s %s (-want +got)\n%s", tt.id, tt.query, diff)
		}
	}
	a := h.ask("GET", vulnerabilitiesOf(idOf("app 1"), of("harbor", "", "", "")), nil)
	if set, _ := a.body["advisory_set"].(string); !strings.HasPrefix(set, "sha256:") || a.body["evaluated_time"] == 0. {
		t.Errorf("it is not said by which advisories: %s", a.text)
	}
	if diff := cmp.Diff([]string{"advisories ", "advisories ", "advisories "}, h.rows(vulnerabilitiesOf(idOf("app 1"), of("harbor", "", "", "")), "cause", "build_step")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	list, err := h.sdk.ListImageVulnerabilities(&model.ListImageVulnerabilitiesRequest{
		ImageId: idOf("app 1"), ImageType: "harbor", Namespace: "team", ImageName: "app", TagName: "1.0", AppName: pointer("bash"),
	})
	h.must(err)
	if *list.TotalNum != 1 {
		t.Fatalf("got %s", list)
	}
	// What is empty the SDK writes without a "=".
	empty, err := h.sdk.ListImageVulnerabilities(&model.ListImageVulnerabilitiesRequest{ImageId: idOf("app 1"), ImageType: "harbor", AppName: pointer("bash")})
	h.must(err)
	if *empty.TotalNum != 1 {
		t.Errorf("got %s", empty)
	}
	got := (*list.DataList)[0]
	if *got.VulId != "CVE-2026-1000" || *got.Description != "about DEBIAN-CVE-2026-1000" || *got.Position != string(namedLayer("debian").Digest) || *got.AppPath != "/var/lib/dpkg/status" ||
		*got.Solution != "Upgrade bash to 5.2-2 or later." || *got.Url != "https://example.com/fix/DEBIAN-CVE-2026-1000" {
		t.Errorf("got %s", got)
	}
	for _, tt := range []struct{ id, query, message string }{
		{idOf("arm"), of("harbor", "", "", ""), "its last scan failed"}, {"another", of("harbor", "", "", ""), "there is no such image"},
		{idOf("old"), of("harbor", "", "", ""), "cannot be scanned"}, {idOf("app 1"), of("cicd", "", "", ""), "no images of CI/CD"},
		{idOf("app 1"), "?image_type=harbor", "namespace"},
	} {
		a := h.as(h.token, "GET", vulnerabilitiesOf(tt.id, tt.query), nil)
		if a.StatusCode != 400 || !strings.Contains(a.text, tt.message) {
			t.Errorf("%s %s: got %d %s, want %q", tt.id, tt.query, a.StatusCode, a.text, tt.message)
		}
	}
	apps, err := h.sdk.ListImageApps(&model.ListImageAppsRequest{ImageId: idOf("app 1"), ImageType: "harbor", AppName: pointer("bash")})
	h.must(err)
	if *(*apps.DataList)[0].VulNum != 1 {
		t.Errorf("got %s", apps)
	}
	if got := h.rows("/image/apps?app_name=log4j", "app_name", "vul_num"); !slices.Equal(got, []string{"org.apache:log4j 1"}) {
		t.Errorf("got %q", got)
	}
}

// numbers are what the list of images says of vulnerabilities.
func (h *house) numbers() map[string]string {
	h.Helper()
	out := make(map[string]string)
	for _, item := range h.ask("GET", "/image/registries/images?limit=200", nil).body["data_list"].([]any) {
		i := item.(object)
		level, _ := i["severity_level"].(string)
		out[path.Base(fmt.Sprintf("%s:%s", i["image_name"], i["image_version"]))] = fmt.Sprint(i["scan_status"], " ", i["vul_num"], " ", level)
	}
	return out
}

// TestNeverClean goes through what images can be like of which something is not
// known.
func TestNeverClean(t *testing.T) {
	h, _ := laden(t)
	listed := func(query ...string) []string {
		images := "/image/registries/images"
		return h.names(images, query...)
	}
	for image, n := range h.numbers() {
		if strings.Contains(n, "Security") {
			t.Errorf("without advisories %s is %s", image, n)
		}
	}
	for _, query := range [][]string{{"has_vul", "false"}, {"risky", "false"}, {"severity_level", "Security"}} {
		if got := listed(query...); len(got) > 0 {
			t.Errorf("without advisories %q lists %q", query, got)
		}
	}
	// About nothing that the images hold, but for one of their ecosystems.
	h.advise(osvAdvisory("DEBIAN-CVE-2026-9", "Debian:12", "other", "", ""), osvAdvisory("GHSA-npm", "npm", "other", "", ""))
	want := map[string]string{
		"app:1.0": "success 0 ", // nobody knows of Maven
		"app:2.0": "failed 0 ",  // it was cut
		"multi:1": "failed 0 ",  // of a platform it failed
		"name:x":  "failed 0 ", "name:w": "failed 0 ",
		"alone:latest": "success 0 Security", "shared:1": "success 0 Security",
	}
	if diff := cmp.Diff(want, h.numbers()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, query := range [][]string{{"has_vul", "false"}, {"risky", "false"}, {"severity_level", "Security"}} {
		if diff := cmp.Diff([]string{"alone:latest", "org/shared:1"}, listed(query...)); diff != "" {
			t.Errorf("%q (-want +got)\n%s", query, diff)
		}
	}
	if got := h.ask("GET", vulnerabilitiesOf(idOf("app 1"), of("harbor", "", "", "")), nil).body["unknown_num"]; got != float64(1) {
		t.Errorf("%v packages are not known", got)
	}
}

func TestGlobalVulnerabilities(t *testing.T) {
	h, _ := vulnerable(t)
	list10 := "/image/vulnerabilities?offset=0&limit=10"
	all := []string{"CVE-2026-1000 immediate_repair 5", "CVE-2026-2000 delay_repair 5", "CVE-2026-3000 delay_repair 1"}
	for query, want := range map[string][]string{
		"": all, "&type=app_vul": all[2:], "&type=linux_vul": all[:2], "&repair_necessity=delay_repair": all[1:], "&vul_id=2026-1": all[:1],
		"&enterprise_project_id=another": {}, "&enterprise_project_id=all_granted_eps": all,
	} {
		if diff := cmp.Diff(want, h.rows(list10+query, "vul_id", "repair_necessity", "undeal_number")); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
	}
	general := "/images/vulnerabilities?image_type=registry&handle_status=unhandled&type=linux_vul"
	if diff := cmp.Diff([]string{"CVE-2026-1000 Critical 5", "CVE-2026-2000 Medium 5"}, h.rows(general, "vul_id", "severity_level", "image_num")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for query, want := range map[string]int{"&severity_level=Critical": 1, "&severity_level=Low": 0, "&cve_id=1000&vul_id=CVE-2026-1000": 1, "&cve_id=1000&vul_id=CVE-2026-2": 0,
		"&label_list=exploited": 0, "&status=vul_status_ignored": 0, "&status=vul_status_unfix": 2, "&cluster_id=c": 0} {
		if got := h.rows(general+query, "vul_id"); len(got) != want {
			t.Errorf("%s: got %q", query, got)
		}
	}
	list, err := h.sdk.ListGlobalVulnerabilities(&model.ListGlobalVulnerabilitiesRequest{Limit: 10, VulId: pointer("3000")})
	h.must(err)
	if v := (*list.DataList)[0]; *v.Solution != "Upgrade org.apache:log4j to 2.18 or later." || *(*v.DataList)[0].CveId != "CVE-2026-3000" || *(*v.DataList)[0].PublishTime != 1767225600000 {
		t.Errorf("got %s", v)
	}
	cves, err := h.sdk.ListVulnerabilityCve(&model.ListVulnerabilityCveRequest{VulId: "CVE-2026-1000"})
	h.must(err)
	if *cves.TotalNum != 1 || *(*cves.DataList)[0].CveId != "CVE-2026-1000" || *(*cves.DataList)[0].CvssScore != 9.8 {
		t.Errorf("got %s", cves)
	}
	if a := h.as(h.token, "GET", "/image/vulnerability/CVE-0/cve", nil); a.StatusCode != 400 || !strings.Contains(a.text, "no image has such a vulnerability") {
		t.Errorf("got %s", a.text)
	}
	repositories := h.rows("/image/CVE-2026-1000/images", "namespace", "image_name", "tag_count", "app_name", "image_type")
	want := []string{" alone 1 bash harbor", "org shared 1 bash shared_image", "team app 2 bash harbor", "team multi 1 bash harbor"}
	if diff := cmp.Diff(want, repositories); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for query, n := range map[string]int{"?image_name=PP": 1, "?namespace=team": 2, "?app_name=libc": 0, "?app_name=as": 4, "?image_id=" + idOf("app 1"): 1, "?offset=3": 1, "?enterprise_project_id=another": 0} {
		if got := h.rows("/image/CVE-2026-1000/images"+query, "image_name"); len(got) != n {
			t.Errorf("%s: got %q", query, got)
		}
	}
	affected, err := h.sdk.ListVulAffectImageApps(&model.ListVulAffectImageAppsRequest{ImageId: idOf("app 1"), ImageType: "registry", VulId: "CVE-2026-1000"})
	h.must(err)
	if *affected.TotalNum != 1 || *(*affected.DataList)[0].AppName != "bash" || *(*affected.DataList)[0].Rule != "Debian:12 bash, introduced 0, fixed 5.2-2" {
		t.Errorf("got %s", affected)
	}
	containers, err := h.sdk.ListVulAffectImageContainers(&model.ListVulAffectImageContainersRequest{ImageId: idOf("app 1"), ImageDigest: "d", ImageName: "n", ImageVersion: "v", AgentId: "a"})
	h.must(err)
	if *containers.TotalNum != 0 {
		t.Errorf("got %s", containers)
	}
}
