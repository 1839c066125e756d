//go:build linux

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// Advisories: what was published about Debian, Go and Python, from a folder like
// the export of OSV (TIDEWAITER_OSV), and for other ecosystems what is publicly
// known, put into their form in testdata/advisories, with the sources named.

func advisoryFiles(t testing.TB) []string {
	t.Helper()
	folder := os.Getenv("TIDEWAITER_OSV")
	if folder == "" {
		folder = "../../../shared/data/osv"
	}
	files := []string{"testdata/advisories/public-facts.json"}
	for _, ecosystem := range []string{"Debian", "Go", "PyPI"} {
		file := filepath.Join(folder, ecosystem, "all.zip")
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("no advisories to test with: set TIDEWAITER_OSV to a folder with %s/all.zip (%v)", ecosystem, err)
		}
		files = append(files, file)
	}
	return files
}

// unlike are the findings in which the reference differs, and why that is as it
// should be: "image vulnerability package". One that is no more fails the test.
var unlike = map[string]string{}

// vulnerabilities wants each image to have exactly the vulnerabilities that the
// reference finds, in the API and on the command line.
func (s *server) vulnerabilities(t *testing.T, r *registryServer, names []string) {
	t.Helper()
	for _, name := range names {
		if got := s.image(t, "real/"+name+":1"); *got.VulNum != 0 || text(got.SeverityLevel) != "" {
			t.Errorf("%s, of which nothing is known: %d vulnerabilities, %q", name, *got.VulNum, text(got.SeverityLevel))
		}
	}
	files := advisoryFiles(t)
	output(t, command(nil, tidewaiterProgram(t), append([]string{"advisories", "import", "--data", s.Data}, files...)...), "")
	reference := newReference(t, readAdvisories(t, files...))
	met, total, ecosystems, images := make(map[string]bool), 0, make(map[string]int), make(map[string]int)
	for _, name := range names {
		view := viewOf(t, r, "real/"+name, "1")
		want := make(map[string]bool)
		judged := true
		for _, p := range view.Packages {
			subjects := subjectsOf(p.Package, view.System.System)
			judged = judged && len(subjects) > 0
			for _, subject := range subjects {
				for _, v := range reference.vulnerabilities(subject) {
					want[v+" "+p.Name+" "+p.Version] = true
					ecosystems[subject.ecosystem]++
				}
			}
		}
		listed := s.image(t, "real/"+name+":1")
		got, steps := s.listVulnerabilities(t, *listed.ImageId)
		for _, pair := range []struct{ one, other map[string]bool }{{want, got}, {got, want}} {
			for f := range pair.one {
				key := name + " " + f
				if pair.other[f] {
					continue
				}
				if unlike[key] == "" {
					t.Errorf("%s: expected %t, found %t: %s", name, want[f], got[f], f)
				}
				met[key] = true
			}
		}
		if (len(want) > 0 || !judged) && text(listed.SeverityLevel) == "Security" {
			t.Errorf("%s is clean with %d vulnerabilities, all judged: %t", name, len(want), judged)
		}
		if name == "java" && !steps {
			t.Errorf("no vulnerability in %s says which build step brought it", name)
		}
		total, images[*listed.ImageId] = total+len(got), len(got)
		t.Logf("%s: %d packages, %d vulnerabilities, %q", name, len(view.Packages), len(got), text(listed.SeverityLevel))
		if slices.Contains([]string{"alpine", "golang", "node", "python"}, name) {
			if diff := cmp.Diff(got, scanVulnerabilities(t, s.Data, r, "real/"+name+":1")); diff != "" {
				t.Errorf("tidewaiter scan %s (-server +scan)\n%s", name, diff)
			}
		}
	}
	for key := range unlike {
		if !met[key] {
			t.Errorf("the difference is no more: %s", key)
		}
	}
	for _, e := range []string{"Debian:12", "PyPI", "npm", "Go", "Maven", "Alpine:v3.20", "Packagist", "RubyGems", "openSUSE:Leap 15.6", "Red Hat:enterprise_linux:8"} {
		if ecosystems[e] == 0 {
			t.Errorf("no image has a vulnerability of %s: this tests nothing", e)
		}
	}
	s.told(t, images)
	t.Logf("%d vulnerabilities; the reference has looked at %d advisories for %v", total, reference.examined, slices.Sorted(maps.Keys(ecosystems)))
}

// listVulnerabilities returns what the API lists of an image, and whether
// something of it names a build step.
func (s *server) listVulnerabilities(t testing.TB, id string) (found map[string]bool, steps bool) {
	t.Helper()
	found = make(map[string]bool)
	const page = 200
	for offset := int32(0); ; offset += page {
		resp, err := s.sdk(t).ListImageVulnerabilities(&model.ListImageVulnerabilitiesRequest{ImageId: id, ImageType: "other", Offset: ptr(offset), Limit: ptr(int32(page))})
		if err != nil {
			t.Fatalf("ListImageVulnerabilities: %v", err)
		}
		for _, v := range *resp.DataList {
			found[*v.VulId+" "+*v.AppName+" "+*v.Version] = true
			if !digestForm.MatchString(*v.Position) {
				t.Errorf("%s of %s is in the layer %q", *v.VulId, *v.AppName, *v.Position)
			}
		}
		if len(*resp.DataList) < page {
			break
		}
	}
	var body struct {
		DataList []struct {
			BuildStep string `json:"build_step"`
		} `json:"data_list"`
	}
	// What is beyond the contract the SDK does not tell.
	s.call(t, "GET", fmt.Sprintf("/v5/%s/image/%s/vulnerabilities?image_type=other&namespace=&image_name=&tag_name=&limit=200", s.ProjectID, id), nil, &body)
	for _, v := range body.DataList {
		steps = steps || v.BuildStep != ""
	}
	return found, steps
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// told wants the feed to tell of an image for each that has a vulnerability, and
// of nothing twice.
func (s *server) told(t testing.TB, images map[string]int) {
	t.Helper()
	told, after := make(map[string]int), ""
	for {
		var page struct {
			Items []struct {
				ID, Cause string
				Image     struct {
					ID string `json:"image_id"`
				}
				Added, Removed, Changed []struct{ Vulnerability, Package, Version string }
			}
		}
		s.own(t, "GET", "/vulnerability-changes?limit=100&after="+after, nil, &page)
		if len(page.Items) == 0 {
			break
		}
		for _, e := range page.Items {
			if e.Cause != "advisories" || told[e.Image.ID] > 0 || len(e.Removed)+len(e.Changed) > 0 {
				t.Errorf("event %s of %s: %d removed, %d changed, told before: %d", e.ID, e.Cause, len(e.Removed), len(e.Changed), told[e.Image.ID])
			}
			distinct := make(map[string]bool)
			for _, c := range e.Added {
				distinct[c.Vulnerability+" "+c.Package+" "+c.Version] = true
			}
			told[e.Image.ID], after = len(distinct), e.ID
		}
	}
	for id, n := range images {
		if told[id] != n {
			t.Errorf("of the image %s were told %d vulnerabilities, and it has %d", id, told[id], n)
		}
	}
}

// scanVulnerabilities has the command line scan an image of a registry by the
// advisories of a server.
func scanVulnerabilities(t testing.TB, data string, r *registryServer, image string) map[string]bool {
	t.Helper()
	home := t.TempDir()
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.Addr, base64.StdEncoding.EncodeToString([]byte(r.User+":"+r.Password)))
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command([]string{"HOME=" + home, "DOCKER_CONFIG=" + home}, tidewaiterProgram(t), "scan", r.Addr+"/"+image, "--plain-http", "--data", data, "-o", "json")
	out, err := cmd.Output()
	if cmd.ProcessState == nil || !slices.Contains([]int{0, 5}, cmd.ProcessState.ExitCode()) { // 5: some package could not be judged
		t.Fatalf("scan %s: %v", image, err)
	}
	var report struct {
		Images []struct {
			Vulnerabilities []struct{ ID, Package, Version string }
		}
	}
	if err := json.Unmarshal(out, &report); err != nil || len(report.Images) != 1 {
		t.Fatalf("scan %s: %v, %d images", image, err, len(report.Images))
	}
	found := make(map[string]bool)
	for _, v := range report.Images[0].Vulnerabilities {
		found[strings.Join([]string{v.ID, v.Package, v.Version}, " ")] = true
	}
	return found
}
