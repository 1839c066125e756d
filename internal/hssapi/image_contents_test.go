package hssapi_test

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/codec"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// file is a file of a layer, owned by a package or not.
func file(path string, size int64, owned bool) tidewaiter.File {
	return tidewaiter.File{Path: path, Type: tidewaiter.RegularFile, Size: size, Owned: owned}
}

// contents are layers by their names, as an extractor finds them.
func contents() map[string]tidewaiter.LayerFacts {
	status := "var/lib/dpkg/status"
	deb := func(name, version string) tidewaiter.Package {
		return tidewaiter.Package{Ecosystem: "Debian", Name: name, Version: version, Type: "deb", Path: status, Extractor: "dpkg"}
	}
	debian := tidewaiter.System{Path: "etc/os-release", ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12 (bookworm)"}
	return map[string]tidewaiter.LayerFacts{
		"debian": {
			Files:    []tidewaiter.File{file("etc/motd", 10, false), file("etc/os-release", 200, true), file("srv/Readme_1", 20, false), file(status, 5_000, true)},
			Packages: []tidewaiter.Package{deb("bash", "5.2-1"), deb("libc6", "1:2.36-9")}, Systems: []tidewaiter.System{debian},
		},
		"arm": {
			Files: []tidewaiter.File{file("etc/motd", 11, false), file(status, 5_000, true)}, Packages: []tidewaiter.Package{deb("bash", "5.2-1"), deb("libarm_only", "1"), deb("libc6", "1:2.36-9")},
		},
		"app": {
			Files: []tidewaiter.File{
				file("srv/100%.JS", 70_000, false), file("srv/Readme_1", 21, false), file("srv/huge.bin", 5<<30, false), file("srv/lib.war", 9, true),
				file("srv/package.json", 7, true), file(status, 6_000, true),
			},
			Packages: []tidewaiter.Package{
				{Ecosystem: "Maven", Name: "org.apache:log4j", Version: "2.17", Type: "maven", Path: "srv/lib.war", Inside: []string{"WEB-INF/lib/log4j.jar"}, Extractor: "java"},
				{Ecosystem: "npm", Name: "@scope/left-pad", Version: "1.3.0", Type: "npm", Path: "srv/package.json", Extractor: "node"},
				deb("bash", "5.2-1"), deb("curl", "7.88"), deb("libc6", "1:2.36-9"),
			},
		},
		"cut": {
			Files: []tidewaiter.File{file("srv/broken.jar", 1, false)}, Cuts: []tidewaiter.Cut{{Path: "srv/broken.jar", Code: "parse", Reason: strings.Repeat("it is no archive; ", 20)}},
		},
	}
}

// namedLayer is the layer of a name.
func namedLayer(name string) protocol.Layer {
	return protocol.Layer{Digest: tidewaiter.DigestOf([]byte("blob " + name)), DiffID: tidewaiter.DigestOf([]byte("tar " + name)), Size: 100}
}

// holds reports that an image has the layers of these names.
func (j *job) holds(digest tidewaiter.Digest, names ...string) {
	j.Helper()
	layers := make([]protocol.Layer, 0, len(names))
	for _, name := range names {
		layers = append(layers, namedLayer(name))
	}
	states, err := j.scans.Layers(j.Context(), j.lease, protocol.LayersRequest{Extractors: extractors, Limits: "usual", Layers: layers})
	j.must(err)
	for i, name := range names {
		if states[i] != protocol.LayerClaimed {
			continue
		}
		facts := contents()[name]
		facts.DiffID, facts.Verified, facts.Extractors, facts.Size = layers[i].DiffID, true, extractors, 1000
		var b bytes.Buffer
		j.must(codec.Encode(&b, facts))
		j.must(j.scans.Layer(j.Context(), j.lease, protocol.LayerReport{Extractors: extractors, Limits: "usual", Layer: layers[i]}, b.Bytes()))
	}
	j.must(j.scans.Image(j.Context(), j.lease, protocol.ImageReport{
		Digest: digest, Extractors: extractors, Limits: "usual", Layers: layers, Config: protocol.ImageConfig{OS: "linux", Architecture: "amd64"},
	}))
}

// laden has images in two registries that were scanned: app:1.0 is built from
// alone:latest, which shared:1 is as well; of app:2.0 not all could be looked
// into; of arm in the index multi it failed.
func laden(t *testing.T) (h *house, ids map[string]string) {
	h, ids = stocked(t)
	h.scan(object{"is_all": true})
	layers := map[tidewaiter.Digest][]string{
		image("app 1").Digest: {"debian", "app"}, image("app two").Digest: {"debian", "cut"}, image("alone").Digest: {"debian"}, image("shared").Digest: {"debian"},
		image("amd").Digest: {"debian", "arm"},
	}
	for j := h.tryScan(); j != nil; j = h.tryScan() {
		for _, digest := range j.images() {
			if names, ok := layers[digest]; ok {
				j.holds(digest, names...)
			} else {
				j.fault(digest, "download_failed", "the blob is gone")
			}
		}
		j.done()
	}
	return h, ids
}

// of names an image in a query: its type, names and tag, and what else.
func of(imageType, namespace, name, tag string, more ...string) string {
	values := url.Values{"image_type": {imageType}, "namespace": {namespace}, "image_name": {name}, "tag_name": {tag}}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return "?" + values.Encode()
}

// rows returns fields of all items of a list, and checks the count.
func (h *house) rows(path string, fields ...string) []string {
	h.Helper()
	a := h.ask("GET", path, nil)
	out := []string{}
	items, ok := a.body["data_list"].([]any)
	if !ok {
		h.Fatalf("%s has no list: %s", path, a.text)
	}
	for _, item := range items {
		var row []string
		for _, f := range fields {
			v := item.(object)[f]
			if n, ok := v.(float64); ok {
				v = int64(n)
			}
			row = append(row, fmt.Sprint(v))
		}
		out = append(out, strings.Join(row, " "))
	}
	if n := a.body["total_num"]; n != float64(len(out)) && !strings.Contains(path, "offset") && !strings.Contains(path, "limit=1") {
		h.Errorf("%s: total_num is %v, but there are %d", path, n, len(out))
	}
	return out
}

func idOf(text string) string { return hexOf(image(text).ConfigDigest) }

func TestListImageApps(t *testing.T) {
	h, _ := laden(t)
	index := hexOf(tidewaiter.DigestOf([]byte("index")))
	app := []string{"@scope/left-pad nodejs 1.3.0 0", "bash deb 5.2-1 0", "curl deb 7.88 0", "libc6 deb 1:2.36-9 0", "org.apache:log4j java 2.17 0"}
	for _, tt := range []struct {
		id, query string
		want      []string
	}{
		{idOf("app 1"), of("harbor", "team", "app", "1.0"), app},
		{idOf("app 1"), of("harbor", "", "", ""), app}, // the id alone
		{"sha256:" + idOf("app 1"), "?image_type=harbor", app},
		{idOf("app 1"), of("harbor", "team", "app", "1.0", "app_name", "LI"), []string{"libc6 deb 1:2.36-9 0"}},
		{idOf("app 1"), of("harbor", "team", "app", "1.0", "app_name", "/left"), app[:1]},
		{idOf("app 1"), of("harbor", "team", "app", "1.0", "app_name", "%"), []string{}},
		{idOf("app 1"), of("harbor", "team", "app", "1.0", "app_name", "_"), []string{}},
		{idOf("app 1"), of("harbor", "team", "app", "1.0", "app_name", strings.Repeat("x", 20_000)), []string{}},
		{idOf("app 1"), of("harbor", "team", "app", "1.0", "offset", "3", "limit", "10"), app[3:]},
		{idOf("app 1"), of("harbor", "team", "app", "1.0", "offset", "2000000"), []string{}},
		{idOf("app two"), of("harbor", "team", "app", "2.0"), []string{"bash deb 5.2-1 0", "libc6 deb 1:2.36-9 0"}}, // what is known of it
		{index, of("harbor", "team", "multi", "1"), []string{"bash deb 5.2-1 0", "libarm_only deb 1 0", "libc6 deb 1:2.36-9 0"}},
		{idOf("amd"), of("harbor", "team", "multi", "1", "app_name", "M_O"), []string{"libarm_only deb 1 0"}},
		{idOf("shared"), of("shared_image", "org", "shared", "1"), []string{"bash deb 5.2-1 0", "libc6 deb 1:2.36-9 0"}},
	} {
		if diff := cmp.Diff(tt.want, h.rows("/image/"+tt.id+"/apps"+tt.query, "app_name", "app_type", "app_version", "vul_num")); diff != "" {
			t.Errorf("%s %s (-want +got)\n%s", tt.id, tt.query, diff)
		}
	}
	list, err := h.sdk.ListImageApps(&model.ListImageAppsRequest{
		ImageId: idOf("app 1"), ImageType: "harbor", Namespace: pointer("team"), ImageName: pointer("app"), TagName: pointer("1.0"), AppName: pointer("BASH"),
	})
	h.must(err)
	if *list.TotalNum != 1 || *(*list.DataList)[0].AppVersion != "5.2-1" || *(*list.DataList)[0].VulNum != 0 {
		t.Errorf("got %s", list)
	}
}

// TestUnknownImages wants an error, never an empty list that reads as clean.
func TestUnknownImages(t *testing.T) {
	h, _ := stocked(t)
	index := hexOf(tidewaiter.DigestOf([]byte("index")))
	operations := []struct{ path, tag string }{{"apps", "tag_name"}, {"files", "tag_name"}, {"files-statistics", "tag_name"}, {"basic-image", "image_version"}}
	fail := func(message, id, query string) {
		t.Helper()
		for _, op := range operations {
			a := h.as(h.token, "GET", "/image/"+id+"/"+op.path+strings.ReplaceAll(query, "tag_name", op.tag), nil, "region", "r")
			if msg, _ := a.body["error_msg"].(string); a.StatusCode != 400 || a.body["error_code"] != "HSS.0011" || !strings.Contains(msg, message) {
				t.Errorf("%s of %s: got %d %s, want %q", op.path, query, a.StatusCode, a.text, message)
			}
		}
	}
	const none = "there is no such image; check image_type"
	fail(none, "another", of("harbor", "", "", ""))
	fail(none, idOf("app two"), of("harbor", "team", "app", "1.0"))
	fail(none, idOf("app 1"), of("harbor", "team", "app", "3"))
	fail(none, idOf("app 1"), of("harbor", "team", "ap", "1.0"))
	fail(none, idOf("app 1"), of("harbor", "deep", "app", "1.0"))
	fail(none, idOf("app 1"), of("shared_image", "", "", ""))
	fail(none, idOf("app 1"), of("jfrog", "", "", ""))
	fail(none, idOf("app 1"), of("harbor", "", "", "", "enterprise_project_id", "another"))
	fail(none, idOf("app 1")+"%00", of("harbor", "", "", ""))
	fail("has not been scanned yet, so that", idOf("app 1"), of("harbor", "team", "app", "1.0"))
	fail("has not been scanned yet, so that", index, of("harbor", "team", "multi", "1"))
	fail("cannot be scanned: it is an image of Windows", idOf("windows"), of("harbor", "deep", "er/name", "w"))
	h.scan(object{"is_all": false, "image_info": []object{{"id": h.imageID("app", "1.0")}}})
	fail("is waiting for it", idOf("app 1"), of("harbor", "team", "app", "1.0"))
	j := h.leaseScan()
	fail("is being scanned", idOf("app 1"), of("harbor", "team", "app", "1.0"))
	j.fault(j.scan.Digest, "download_failed", "the blob is gone")
	j.done()
	fail("its last scan failed: the blob is gone; mend that", idOf("app 1"), of("harbor", "team", "app", "1.0"))

	fail = func(message, id, query string) {
		t.Helper()
		h.fail("HSS.0011", message, "GET", "/image/"+id+query, nil)
	}
	for _, path := range []string{"/apps", "/files"} {
		fail("no images of CI/CD", idOf("app 1"), path+"?image_type=cicd")
	}
	for _, kind := range []string{"local", "local_image"} {
		if a := h.as(h.token, "GET", "/image/x/files-statistics?image_type="+kind, nil, "region", "r"); !strings.Contains(a.text, "no images of hosts") {
			t.Errorf("%s: %s", kind, a.text)
		}
	}
}

func TestListGlobalImageApps(t *testing.T) {
	h, _ := laden(t)
	const path = "/image/apps"
	fields := []string{"app_name", "app_version", "app_type", "app_path", "image_type", "namespace", "image_name", "image_version"}
	status := "/var/lib/dpkg/status"
	curl := "curl 7.88 deb " + status + " Harbor team app 1.0"
	pad, log4j := "@scope/left-pad 1.3.0 nodejs /srv/package.json Harbor team app 1.0", "org.apache:log4j 2.17 java /srv/lib.war!/WEB-INF/lib/log4j.jar Harbor team app 1.0"
	everywhere := func(what string) []string {
		var list []string
		for _, image := range []string{"Harbor team app 1.0", "Harbor team app 2.0", "Harbor team multi 1", "Harbor  alone latest", "SwrShared org shared 1"} {
			list = append(list, what+" deb "+status+" "+image)
		}
		return list
	}
	all := slices.Concat([]string{pad}, everywhere("bash 5.2-1"), []string{curl, "libarm_only 1 deb " + status + " Harbor team multi 1"}, everywhere("libc6 1:2.36-9"), []string{log4j})
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"?limit=200", all}, {"?limit=200&image_type=registry&app_name=", all}, {"?limit=10&offset=3", all[3:13]}, {"?limit=10&offset=14", all[14:]},
		{"?app_name=CUR", []string{curl}}, {"?app_name=M_o", all[7:8]}, {"?app_name=%25", []string{}},
		{"?image_type=local", []string{}}, {"?image_type=cicd", []string{}}, {"?is_compliant=false", []string{}},
		{"?enterprise_project_id=another", []string{}}, {"?limit=200&enterprise_project_id=all_granted_eps", all},
	} {
		if diff := cmp.Diff(tt.want, h.rows(path+tt.query, fields...)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.query, diff)
		}
	}
	h.fail("HSS.0001", "is_compliant: it can only be false", "GET", path+"?is_compliant=true", nil)

	list, err := h.sdk.ListGlobalImageApps(&model.ListGlobalImageAppsRequest{AppName: pointer("log4j"), ImageType: pointer("registry"), Region: pointer("r")})
	h.must(err)
	got := (*list.DataList)[0]
	if *list.TotalNum != 1 || *got.LayerDigest != string(namedLayer("app").Digest) || *got.ImageId != idOf("app 1") || !*got.IsCompliant || *got.LatestScanTime == 0 {
		t.Errorf("got %s", list)
	}
	// A package database is written anew by each layer that installs something.
	list, err = h.sdk.ListGlobalImageApps(&model.ListGlobalImageAppsRequest{AppName: pointer("bash")})
	h.must(err)
	if got := (*list.DataList)[0]; *list.TotalNum != 5 || *got.LayerDigest != string(namedLayer("debian").Digest) {
		t.Errorf("got %s", list)
	}
}

func TestListImageFiles(t *testing.T) {
	h, _ := laden(t)
	index := hexOf(tidewaiter.DigestOf([]byte("index")))
	app := []string{"motd /etc/motd 10", "100%.JS /srv/100%.JS 70000", "Readme_1 /srv/Readme_1 21", "huge.bin /srv/huge.bin 2147483647"}
	for _, tt := range []struct {
		id, query string
		want      []string
	}{
		{idOf("app 1"), of("harbor", "team", "app", "1.0"), app},
		{idOf("app 1"), "?image_type=harbor", app},
		{idOf("app 1"), "?image_type=harbor&offset=1&limit=10", app[1:]},
		{idOf("app 1"), "?image_type=harbor&file_name=.js", app[1:2]},
		{idOf("app 1"), "?image_type=harbor&file_name=0%25", app[1:2]},
		{idOf("app 1"), "?image_type=harbor&file_name=README_", app[2:3]},
		{idOf("app 1"), "?image_type=harbor&file_name=srv", []string{}}, // no part of the name
		{idOf("app two"), "?image_type=harbor", []string{"motd /etc/motd 10", "Readme_1 /srv/Readme_1 20", "broken.jar /srv/broken.jar 1"}},
		{index, of("harbor", "team", "multi", "1"), []string{"Readme_1 /srv/Readme_1 20", "motd /etc/motd 11"}},
	} {
		if diff := cmp.Diff(tt.want, h.rows("/image/"+tt.id+"/files"+tt.query, "file_name", "file_path", "size")); diff != "" {
			t.Errorf("%s %s (-want +got)\n%s", tt.id, tt.query, diff)
		}
	}
	list, err := h.sdk.ListImageFiles(&model.ListImageFilesRequest{
		ImageId: idOf("app 1"), ImageType: "harbor", Namespace: pointer("team"), ImageName: pointer("app"), TagName: pointer("1.0"), FileName: pointer("huge"),
	})
	h.must(err)
	if *list.TotalNum != 1 || *(*list.DataList)[0].Size != 1<<31-1 {
		t.Errorf("got %s", list)
	}
	for id, want := range map[string][2]int32{idOf("app 1"): {8, 1<<31 - 1}, idOf("alone"): {4, 5_230}, index: {4, 5_231}} {
		n, err := h.sdk.ShowImageFilesStat(&model.ShowImageFilesStatRequest{Region: "r", ImageId: id, ImageType: "registry"})
		h.must(err)
		if *n.TotalFilesNum != want[0] || *n.TotalFilesSize != want[1] {
			t.Errorf("%s: got %s, want %v", id, n, want)
		}
	}
	h.fail("HSS.0001", "region", "GET", "/image/"+idOf("app 1")+"/files-statistics?image_type=harbor", nil)
}

func TestListGlobalImageFiles(t *testing.T) {
	h, _ := laden(t)
	const path = "/image/files"
	fields := []string{"file_path", "size", "image_type", "namespace", "image_name", "image_version"}
	all := []string{
		"/etc/motd 10 Harbor team app 1.0", "/srv/100%.JS 70000 Harbor team app 1.0", "/srv/Readme_1 21 Harbor team app 1.0", "/srv/huge.bin 5368709120 Harbor team app 1.0",
		"/etc/motd 10 Harbor team app 2.0", "/srv/Readme_1 20 Harbor team app 2.0", "/srv/broken.jar 1 Harbor team app 2.0",
		"/srv/Readme_1 20 Harbor team multi 1", "/etc/motd 11 Harbor team multi 1", "/etc/motd 10 Harbor  alone latest", "/srv/Readme_1 20 Harbor  alone latest",
		"/etc/motd 10 SwrShared org shared 1", "/srv/Readme_1 20 SwrShared org shared 1",
	}
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"?limit=200", all}, {"?image_type=registry&limit=200&file_name=", all}, {"?offset=5", all[5:]}, {"?offset=50", []string{}},
		{"?file_name=HUGE", all[3:4]}, {"?file_name=0%25.", all[1:2]}, {"?file_name=etc", []string{}}, {"?image_type=cicd", []string{}},
		{"?file_name=README", []string{all[5], all[7], all[10], all[12], all[2]}},
		{"?file_name=README&offset=3", []string{all[12], all[2]}},
		{"?enterprise_project_id=another", []string{}}, {"?limit=200&enterprise_project_id=all_granted_eps", all},
	} {
		if diff := cmp.Diff(tt.want, h.rows(path+tt.query, fields...), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.query, diff)
		}
	}
	list, err := h.sdk.ListGlobalImageFiles(&model.ListGlobalImageFilesRequest{FileName: pointer("huge"), Region: pointer("r")})
	h.must(err)
	if *list.TotalNum != 1 || *(*list.DataList)[0].Size != 5<<30 {
		t.Errorf("got %s", list)
	}
	a := h.ask("GET", path+"?file_name=huge", nil)
	if got := a.body["data_list"].([]any)[0].(object); got["layer_digest"] != string(namedLayer("app").Digest) || got["image_id"] != idOf("app 1") {
		t.Errorf("got %v", got)
	}
}

func TestListImageBasicImage(t *testing.T) {
	h, _ := laden(t)
	ask := func(id, query string) []string {
		t.Helper()
		a := h.as(h.token, "GET", "/image/"+id+"/basic-image"+query, nil, "region", "r")
		var out []string
		for _, v := range a.body["data_list"].([]any) {
			b := v.(object)
			out = append(out, fmt.Sprintf("%v, %v, %v: %v/%v:%v", b["os_name"], b["os_version"], b["layer_digest"] == string(namedLayer("debian").Digest), b["namespace"], b["image_name"], b["image_version"]))
		}
		if a.body["total_num"] != float64(len(out)) && !strings.Contains(query, "limit") {
			t.Errorf("total_num is %v of %v", a.body["total_num"], out)
		}
		return out
	}
	debian := "Debian GNU/Linux 12 (bookworm), 12, true: "
	bases := []string{debian + "<nil>/alone:latest", debian + "org/shared:1"}
	for _, tt := range []struct {
		id, query string
		want      []string
	}{
		{idOf("app 1"), of("harbor", "team", "app", "1.0", "os_name", "DEBIAN"), bases},
		{idOf("app 1"), "?image_type=harbor&limit=1", bases[:1]},
		{idOf("app 1"), "?image_type=harbor&limit=1&offset=1", bases[1:]},
		{idOf("app 1"), "?image_type=harbor&os_name=alpine", nil},
		{idOf("alone"), "?image_type=harbor", []string{debian + "<nil>/<nil>:<nil>"}}, // its lowest layer is all that is known
		{idOf("alone"), "?image_type=harbor&os_name=Bookworm", []string{debian + "<nil>/<nil>:<nil>"}},
		{idOf("alone"), "?image_type=harbor&os_name=alpine", nil},
	} {
		if diff := cmp.Diff(tt.want, ask(tt.id, strings.ReplaceAll(tt.query, "tag_name", "image_version"))); diff != "" {
			t.Errorf("%s %s (-want +got)\n%s", tt.id, tt.query, diff)
		}
	}
	list, err := h.sdk.ListImageBasicImage(&model.ListImageBasicImageRequest{
		Region: "r", ImageId: idOf("app 1"), ImageType: "harbor", Namespace: pointer("team"), ImageName: pointer("app"), ImageVersion: pointer("1.0"),
	})
	h.must(err)
	if *list.TotalNum != 2 || *(*list.DataList)[0].OsVersion != "12" {
		t.Errorf("got %s", list)
	}
	if a := h.as(h.token, "GET", "/image/"+idOf("app 1")+"/basic-image?image_type=harbor", nil); a.body["error_code"] != "HSS.0001" {
		t.Errorf("without a region: %s", a.text)
	}
}

func TestContentsBadInputs(t *testing.T) {
	h := newHouse(t)
	for path, longest := range map[string]map[string]int{
		"/image/x/apps?image_type=harbor&":  {"enterprise_project_id": 256},
		"/image/x/files?image_type=harbor&": {"namespace": 256, "image_name": 256, "tag_name": 256, "file_name": 256},
		"/image/apps?":                      {"app_name": 32},
	} {
		for name, n := range longest {
			h.fail("HSS.0001", name, "GET", path+name+"="+strings.Repeat("x", n+1), nil)
		}
		for _, bad := range []string{"limit=9", "limit=201", "limit=x", "offset=-1", "offset=2000001", "image_name_=x"} {
			h.fail("HSS.0001", strings.SplitN(bad, "=", 2)[0][:5], "GET", path+bad, nil)
		}
	}
	h.fail("HSS.0001", "image_id", "GET", "/image/"+strings.Repeat("x", 257)+"/files?image_type=harbor", nil)
	for path, kinds := range map[string][]string{
		"/image/x/apps": {"", "local", "Harbor"}, "/image/x/files": {"", "local"}, "/image/apps": {"harbor"}, "/image/files": {"local"},
	} {
		for _, kind := range kinds {
			h.fail("HSS.0001", "image_type", "GET", path+"?image_type="+kind, nil)
		}
	}
	h.fail("HSS.0001", "image_type", "GET", "/image/x/apps", nil)
	h.fail("HSS.0001", "is_compliant", "GET", "/image/apps?is_compliant=no", nil)
	for _, path := range []string{"/image/apps", "/image/files"} {
		if a := h.ask("GET", path, nil); !strings.Contains(a.text, `"data_list":[]`) {
			t.Errorf("an empty list is %s", a.text)
		}
	}
}

// TestScansInTheList wants the list of images to say how the scans went.
func TestScansInTheList(t *testing.T) {
	h, _ := laden(t)
	find := func(name, tag string) object {
		t.Helper()
		return h.ask("GET", images+"?image_name="+name+"&image_version="+tag, nil).body["data_list"].([]any)[0].(object)
	}
	if got := find("app", "1.0"); got["scan_status"] != "success" || got["scan_failed_desc"] != nil {
		t.Errorf("an image that was scanned: %v", got)
	}
	got := find("app", "2.0")
	text, _ := got["scan_failed_desc"].(string)
	if got["scan_status"] != "failed" || got["scan_failed_code"] != "failed_to_scan_software" || !strings.HasPrefix(text, "layer 2, srv/broken.jar: it is no archive; ") || len([]rune(text)) != 128 {
		t.Errorf("an image that was scanned in part: %v", got)
	}
	got = find("multi", "1")
	if got["scan_status"] != "failed" || got["scan_failed_code"] != "download_failed" || !strings.Contains(got["scan_failed_desc"].(string), "the blob is gone") {
		t.Errorf("an index of which one platform failed: %v", got)
	}
	var statuses []string
	for _, v := range got["association_images"].([]any) {
		statuses = append(statuses, fmt.Sprint(v.(object)["platform"], " ", v.(object)["scan_status"], " ", v.(object)["scan_failed_desc"]))
	}
	if diff := cmp.Diff([]string{"linux/amd64 success <nil>", "linux/arm64/v8 unscan <nil>"}, statuses); diff != "" {
		t.Errorf("its platforms (-want +got)\n%s", diff)
	}
}

// TestContentsOfEnterpriseProjects has somebody who may see another enterprise
// project than that of the images.
func TestContentsOfEnterpriseProjects(t *testing.T) {
	h, _ := laden(t)
	shop, err := h.id.CreateEnterpriseProject(t.Context(), h.root, "shop", "")
	h.must(err)
	_, secret, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "shopkeeper"})
	h.must(err)
	_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "shopkeeper", PolicyID: "HSS FullAccess", EnterpriseProjectID: shop.ID})
	h.must(err)
	token := h.signIn("shopkeeper", secret)
	const everywhere = "enterprise_project_id=all_granted_eps"
	for _, path := range []string{"/image/apps", "/image/files", "/image/apps?app_name=bash", "/image/files?file_name=motd"} {
		join := "?"
		if strings.Contains(path, "?") {
			join = "&"
		}
		if a := h.as(token, "GET", path+join+everywhere, nil); a.StatusCode != 200 || a.body["total_num"] != 0. {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.text)
		}
		if a := h.as(token, "GET", path, nil); a.StatusCode != 403 {
			t.Errorf("%s of the default enterprise project: %d %s", path, a.StatusCode, a.text)
		}
	}
	for _, path := range []string{"apps", "files", "files-statistics", "basic-image"} {
		a := h.as(token, "GET", "/image/"+idOf("app 1")+"/"+path+"?image_type=harbor&"+everywhere, nil, "region", "r")
		if a.body["error_code"] != "HSS.0011" {
			t.Errorf("%s: %s", path, a.text)
		}
	}
}
