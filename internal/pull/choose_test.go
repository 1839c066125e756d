package pull

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// listing returns layers with one package.
func listing(pkg string) []extracttest.Entry {
	return []extracttest.Entry{extracttest.File("a.list", pkg+" 1\n")}
}

// chosen says which packages the images have that are chosen, or the kind and
// text of the error.
func chosen(t *testing.T, target string, o Options) string {
	t.Helper()
	s, err := open(t, target, o)
	if err != nil {
		return fmt.Sprintf("%v: %v", tidewaiter.KindOf(err), err)
	}
	var got []string
	for i := range s.Images {
		if problem := s.Images[i].Problem(); problem != "" {
			got = append(got, "problem")
			continue
		}
		for _, line := range found(t, &s.Images[i]) {
			name, _, _ := strings.Cut(line, " ")
			got = append(got, name)
		}
	}
	return strings.Join(got, " ")
}

// TestImageNames chooses among several images of an archive.
func TestImageNames(t *testing.T) {
	one, two := newImage(t, "linux/amd64", listing("one")), newImage(t, "linux/amd64", listing("two"))
	oneManifest, oneConfig, _ := content(t, one)
	names := []string{"docker.io/library/app:v1", "registry.example.com/team/app:v2"}
	docker := dockerFiles(t, []string{"app:v1", "app:latest"}, one, listing("one"))
	second := dockerFiles(t, []string{"registry.example.com/team/app:v2"}, two, listing("two"))
	first := docker[len(docker)-1].Body
	docker = append(docker[:len(docker)-1], second...)
	docker = change(docker, "manifest.json", func(s string) string { return first[:len(first)-1] + "," + s[1:] })
	oci := layoutFiles(t, func(n int, d map[string]any) {
		d["annotations"] = map[string]string{annotationImageName: names[n], annotationRefName: fmt.Sprint("v", n+1)}
	}, one, two)
	unnamed := layoutFiles(t, nil, one, two)
	twice := layoutFiles(t, func(n int, d map[string]any) {
		d["annotations"] = map[string]string{annotationImageName: names[n]}
	}, one, one)

	several := "there are several images; choose with --image-name: "
	for _, c := range []struct {
		what    string
		entries []extracttest.Entry
		name    string
		want    string
	}{
		{"docker", docker, "", "conflict: " + several + "app:v1, registry.example.com/team/app:v2"},
		{"docker", docker, "app:v1", "one"}, {"docker", docker, "app", "one"}, {"docker", docker, "docker.io/library/app:latest", "one"},
		{"docker", docker, "registry.example.com/team/app:v2", "two"},
		{"docker", docker, sum(oneConfig).String(), "one"}, {"docker", docker, sum(oneConfig).Hex + ".json", "one"},
		{"docker", docker, "nobody", "not found: there is no image of that name; choose with --image-name: app:v1, registry.example.com/team/app:v2"},
		{"layout", oci, "", "conflict: " + several + strings.Join(names, ", ")},
		{"layout", oci, "v1", "one"}, {"layout", oci, "v2", "two"}, {"layout", oci, "app:v1", "one"}, {"layout", oci, names[1], "two"},
		{"layout", oci, sum(oneManifest).String(), "one"},
		{"layout", oci, "nobody", "not found: there is no image of that name; choose with --image-name: " + strings.Join(names, ", ")},
		{"unnamed", unnamed, sum(oneManifest).String(), "one"},
		{"unnamed", unnamed, "", "conflict: there are several images for"},
		{"one image twice", twice, "", "one"}, {"one image twice", twice, names[1], "one"},
	} {
		o := Options{Name: c.name}
		if c.what == "unnamed" {
			o.Platform = tidewaiter.Platform{OS: "linux", Architecture: "amd64"}
		}
		if got := chosen(t, writeArchive(t, c.entries), o); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s, %q: %s, want %s", c.what, c.name, got, c.want)
		}
	}
	s, err := open(t, writeArchive(t, twice), Options{})
	if err != nil || !slices.Equal(s.Images[0].Names, names) {
		t.Errorf("%q, %v", s.Images[0].Names, err)
	}
}

// TestPlatforms chooses among the platforms of one image, in a registry and in
// a layout, with an index and without.
func TestPlatforms(t *testing.T) {
	order := []string{"linux/amd64", "linux/arm64", "windows/amd64"}
	images := map[string]v1.Image{}
	var list []v1.Image
	for _, p := range order {
		images[p] = newImage(t, p, listing(strings.ReplaceAll(p, "/", "-")))
		list = append(list, images[p])
	}
	host := newRegistry(t, nil)
	index := newIndex(t, images, order...)
	push(t, host+"/app:v1", index)
	push(t, host+"/single:v1", images["linux/arm64"])
	raw, err := index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	flat := layoutFiles(t, nil, list...)
	nested := append(without(flat, "index.json"), blob(raw), extracttest.File("index.json", toJSON(t, map[string]any{
		"manifests": []any{map[string]any{"mediaType": tidewaiter.MediaTypeOCIIndex, "digest": sum(raw).String(), "size": len(raw)}},
	})))
	arm, _, _ := content(t, images["linux/arm64"])
	partly := without(nested, "blobs/sha256/"+sum(arm).Hex)

	own := "linux-" + runtime.GOARCH
	for _, c := range []struct{ target, platform, want string }{
		{host + "/app:v1", "", own}, {host + "/app:v1", "linux/arm64", "linux-arm64"}, {host + "/app:v1", "all", "linux-amd64 linux-arm64 problem"},
		{host + "/app:v1", "linux/s390x", "not found: there is no image for linux/s390x; choose with --platform: linux/amd64, linux/arm64, windows/amd64"},
		{host + "/app:v1", "windows/amd64", "problem"},
		{host + "/single:v1", "", "linux-arm64"}, {host + "/single:v1", "linux/amd64", "not found: there is no image for linux/amd64"},
		{host + "/single:v1", "all", "linux-arm64"},
		{host + "/app@" + sum(arm).String(), "", "linux-arm64"},
		{host + "/nothing:v1", "", "not found: "},
		{writeArchive(t, flat), "linux/arm64", "linux-arm64"}, {writeArchive(t, flat), "", own}, {writeArchive(t, flat), "all", "linux-amd64 linux-arm64 problem"},
		{writeFolder(t, nested), "linux/arm64", "linux-arm64"}, {writeFolder(t, nested), "", own}, {writeFolder(t, nested), "all", "linux-amd64 linux-arm64 problem"},
		{writeFolder(t, partly), "linux/arm64", "not found: the blob " + sum(arm).String() + " is not there"},
		{writeFolder(t, partly), "linux/amd64", "linux-amd64"}, {writeFolder(t, partly), "all", "linux-amd64 problem problem"},
	} {
		o := Options{PlainHTTP: true, All: c.platform == "all"}
		if c.platform != "" && c.platform != "all" {
			if o.Platform, err = ParsePlatform(c.platform); err != nil {
				t.Fatal(err)
			}
		}
		got := chosen(t, c.target, o)
		if got != c.want && !(strings.Contains(c.want, ": ") && strings.HasPrefix(got, c.want)) {
			t.Errorf("%s for %q: %s, want %s", c.target, c.platform, got, c.want)
		}
	}
}

// TestIndexes has indexes within indexes, and lists that are too long.
func TestIndexes(t *testing.T) {
	image := newImage(t, "linux/amd64", oneLayer())
	files := layoutFiles(t, nil, image)
	manifest, _, _ := content(t, image)
	desc := map[string]any{"mediaType": tidewaiter.MediaTypeOCIManifest, "digest": sum(manifest).String(), "size": len(manifest)}
	wrap := func(inner ...any) map[string]any {
		b := []byte(toJSON(t, map[string]any{"schemaVersion": 2, "mediaType": tidewaiter.MediaTypeOCIIndex, "manifests": inner}))
		files = append(files, blob(b))
		return map[string]any{"mediaType": tidewaiter.MediaTypeOCIIndex, "digest": sum(b).String(), "size": len(b)}
	}
	at := func(inner ...any) string {
		all := append(without(files, "index.json"), extracttest.File("index.json", toJSON(t, map[string]any{"manifests": inner})))
		return writeArchive(t, all)
	}
	deep := wrap(desc, desc)
	for range registry.MaxNesting - 1 {
		deep = wrap(deep, deep)
	}
	if got := chosen(t, at(deep, desc), Options{}); got != "one" {
		t.Errorf("nested: %s", got)
	}
	if got := chosen(t, at(wrap(deep)), Options{}); !strings.Contains(got, "an index within too many others") {
		t.Errorf("nested deeper: %s", got)
	}
	var all []any
	for n := range 3 {
		var many []any
		for m := range 400 {
			many = append(many, map[string]any{"mediaType": tidewaiter.MediaTypeOCIManifest, "digest": fmt.Sprintf("sha256:%064d", n*1000+m), "size": 1})
		}
		all = append(all, wrap(many...))
	}
	if got := chosen(t, at(all...), Options{}); !strings.HasPrefix(got, "too large: ") {
		t.Errorf("a thousand images: %s", got)
	}
	// Without one, the configs say which platform an image is for.
	if got := chosen(t, at(desc, map[string]any{"mediaType": tidewaiter.MediaTypeOCIManifest, "digest": fmt.Sprintf("sha256:%064d", 1), "size": 1}), Options{
		Platform: tidewaiter.Platform{OS: "linux", Architecture: "amd64"},
	}); got != "one" {
		t.Errorf("one of two is missing: %s", got)
	}
}

// TestMuchConfig keeps the configs of many images within bounds.
func TestMuchConfig(t *testing.T) {
	var b budget
	kept := 0
	for range 200 {
		c := registry.Child{Config: &tidewaiter.ImageConfig{Steps: []tidewaiter.BuildStep{{Command: strings.Repeat("x", 1<<20)}}}}
		if b.config(&c); c.Config != nil {
			kept++
		}
	}
	if kept != 63 {
		t.Errorf("kept %d configs of a mebibyte", kept)
	}
}

// TestCancelled ends with the context's error.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	file := writeArchive(t, layoutFiles(t, nil, newImage(t, "linux/amd64", oneLayer())))
	if _, err := Open(ctx, file, Options{}); err == nil {
		t.Error("a context that has ended is taken no notice of")
	}
}
