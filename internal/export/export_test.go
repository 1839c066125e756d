package export_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/export"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
)

var update = flag.Bool("update", false, "write what is written into testdata, for you to read")

func digest(c string) tidewaiter.Digest { return tidewaiter.Digest("sha256:" + strings.Repeat(c, 64)) }

// newImage returns an image with two layers, packages of both, and, if it is
// asked for, something that was not looked into.
func newImage(partial bool) export.Image {
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	facts := []tidewaiter.LayerFacts{
		{
			DiffID: digest("a"), Verified: true, Size: 3000,
			Files:   []tidewaiter.File{{Path: "etc/os-release", Type: tidewaiter.RegularFile}, {Path: "var/lib/dpkg/status", Type: tidewaiter.RegularFile}},
			Systems: []tidewaiter.System{{Path: "etc/os-release", ID: "debian", VersionID: "12", Codename: "bookworm", Name: "Debian GNU/Linux 12 (bookworm)", CPE: "cpe:2.3:o:debian:debian_linux:12"}},
			Packages: []tidewaiter.Package{
				{Type: "deb", Name: "libc6", Version: "2.36-9", Architecture: "amd64", SourceName: "glibc", SourceVersion: "2.36-9", Path: "var/lib/dpkg/status", Extractor: "os/dpkg"},
			},
			Notes: []string{"the media type is not that of the layer's bytes, which are zstd"},
		},
		{
			DiffID: digest("b"), Verified: true, Size: 500,
			Files: []tidewaiter.File{{Path: "srv/a.war", Type: tidewaiter.RegularFile}, {Path: "srv/evil\x1b[31m\u202e\u009b", Type: tidewaiter.RegularFile}},
			Packages: []tidewaiter.Package{
				{Type: "maven", Ecosystem: "Maven", Namespace: "org.example", Name: "org.example:b", Version: "1.0", Path: "srv/a.war", Inside: []string{"WEB-INF/lib/b.jar"}, Licenses: []string{"Apache-2.0", ""}, Extractor: "lang/java"},
				{Type: "npm", Ecosystem: "npm", Name: "evil\x1b[31m\u202e\u009b", Version: "1", Path: "srv/evil\x1b[31m\u202e\u009b", Extractor: "lang/node"},
				{Type: "npm", Ecosystem: "npm", Name: "evil\x1b[31m\u202e\u009b", Version: "1", Path: "srv/evil\x1b[31m\u202e\u009b", Extractor: "lang/node"},
			},
		},
	}
	if partial {
		facts[1].Cuts = []tidewaiter.Cut{{Path: "srv/a.war", Code: "nesting", Reason: "archives within archives within archives"}}
	}
	return export.Image{
		Image: tidewaiter.Image{
			Digest: digest("c"), ID: digest("d"), MediaType: tidewaiter.MediaTypeOCIManifest, Size: 1234, Platform: tidewaiter.Platform{OS: "linux", Architecture: "amd64"},
			Layers:  []tidewaiter.Descriptor{{Digest: digest("e"), Size: 1000, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip"}, {Digest: digest("f"), Size: 200}},
			DiffIDs: []tidewaiter.Digest{digest("a"), digest("b")},
		},
		Names: []string{"registry.example.com:5000/team/app:1.2", "registry.example.com:5000/team/app:latest"}, Created: made, Extractors: "2-0123456789abcdef",
		Config: &tidewaiter.ImageConfig{
			DiffIDs: []tidewaiter.Digest{digest("a"), digest("b")},
			Steps:   []tidewaiter.BuildStep{{Command: "ADD rootfs.tar /", Created: made}, {Command: "ENV A=b", Empty: true}, {Command: "COPY a.war /srv/", Comment: "buildkit"}},
		},
		Facts: facts, View: overlay.Merge(facts),
	}
}

// TestGolden compares what is written with the files in testdata.
func TestGolden(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer) error{
		"complete.json": func(b *bytes.Buffer) error {
			return export.JSON(b, "app.tar", "oci-layout", []export.Image{newImage(false)})
		},
		"partial.json": func(b *bytes.Buffer) error {
			failed := export.Image{Problem: "it is an image for Windows; only Linux images are scanned", Image: tidewaiter.Image{Digest: digest("9"), Platform: tidewaiter.Platform{OS: "windows", Architecture: "amd64"}}}
			return export.JSON(b, "app.tar", "oci-layout", []export.Image{newImage(true), failed})
		},
		"complete.cdx.json": func(b *bytes.Buffer) error { return export.CycloneDX(b, newImage(false)) },
		"partial.cdx.json":  func(b *bytes.Buffer) error { return export.CycloneDX(b, newImage(true)) },
	} {
		var b, again bytes.Buffer
		if err := errors.Join(write(&b), write(&again)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Errorf("%s is not the same twice", name)
		}
		if !json.Valid(b.Bytes()) {
			t.Errorf("%s is no JSON", name)
		}
		if strings.ContainsFunc(b.String(), func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) }) {
			t.Errorf("%s would act on a terminal", name)
		}
		text := strings.ReplaceAll(b.String(), `"version": "`+tidewaiter.Version+`"`, `"version": "VERSION"`)
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), text); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestCycloneDX lets the library of others read the bill.
func TestCycloneDX(t *testing.T) {
	for _, partial := range []bool{false, true} {
		var b bytes.Buffer
		if err := export.CycloneDX(&b, newImage(partial)); err != nil {
			t.Fatal(err)
		}
		var bom cyclonedx.BOM
		if err := cyclonedx.NewBOMDecoder(&b, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
			t.Fatal(err)
		}
		if bom.SpecVersion != cyclonedx.SpecVersion1_6 || !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(bom.SerialNumber) {
			t.Errorf("version %s, serial number %s", bom.SpecVersion, bom.SerialNumber)
		}
		refs := map[string]bool{bom.Metadata.Component.BOMRef: true}
		for _, c := range *bom.Components {
			if refs[c.BOMRef] || c.BOMRef == "" || c.Name == "" {
				t.Errorf("component %q with the reference %q, which is there already", c.Name, c.BOMRef)
			}
			refs[c.BOMRef] = true
		}
		if got := (*bom.Compositions)[0].Aggregate; (got == cyclonedx.CompositionAggregateIncomplete) != partial {
			t.Errorf("partial %v: the composition is %s", partial, got)
		}
		cuts := 0
		for _, p := range *bom.Metadata.Properties {
			if p.Name == "tidewaiter:cut" {
				cuts++
			}
		}
		if (cuts > 0) != partial {
			t.Errorf("partial %v: %d cuts", partial, cuts)
		}
	}
	var one, other bytes.Buffer
	second := newImage(false)
	second.Digest = digest("8")
	if err := errors.Join(export.CycloneDX(&one, newImage(false)), export.CycloneDX(&other, second)); err != nil {
		t.Fatal(err)
	}
	serial := regexp.MustCompile(`urn:uuid:[0-9a-f-]+`)
	if serial.FindString(one.String()) == serial.FindString(other.String()) {
		t.Error("two images have one serial number")
	}
	// An archive of docker save has no manifest, and a layout may have a tag alone.
	for _, i := range []export.Image{{Image: tidewaiter.Image{ID: digest("1")}}, {Image: tidewaiter.Image{Digest: digest("2")}, Names: []string{"v1"}}, {}} {
		var b bytes.Buffer
		if err := export.CycloneDX(&b, i); err != nil || strings.Contains(b.String(), `"purl"`) {
			t.Errorf("%v: %s", err, b.String())
		}
	}
}

func TestStatus(t *testing.T) {
	whole, partial, failed := newImage(false), newImage(true), export.Image{Problem: "x"}
	for _, c := range []struct {
		images []export.Image
		want   string
	}{
		{[]export.Image{whole}, export.Complete}, {[]export.Image{partial}, export.Partial}, {[]export.Image{failed}, export.Failed},
		{[]export.Image{whole, whole}, export.Complete}, {[]export.Image{whole, partial}, export.Partial}, {[]export.Image{failed, whole}, export.Partial},
		{[]export.Image{failed, failed}, export.Failed}, {nil, export.Failed},
	} {
		if got := export.StatusOf(c.images); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
