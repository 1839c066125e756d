//go:build linux

package e2e

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// packagesOf lists the packages of an image in a registry. What is found in the
// image must be all: a cut fails the test.
func packagesOf(t testing.TB, r *registryServer, repository, reference string) []tidewaiter.Package {
	t.Helper()
	view := viewOf(t, r, repository, reference)
	for _, c := range view.Cuts {
		t.Errorf("%s was not looked into: %s: %s", c.Path, c.Code, c.Reason)
	}
	var packages []tidewaiter.Package
	for _, p := range view.Packages {
		packages = append(packages, p.Package)
	}
	return packages
}

// viewOf reads an image, layer by layer, as a scan does.
func viewOf(t testing.TB, r *registryServer, repository, reference string) overlay.View {
	t.Helper()
	address, err := tidewaiter.ParseRegistryAddress(r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	client, err := registry.NewClient(registry.Config{
		Type: registry.Other, Protocol: r.Scheme(), Address: address, Username: r.User, Password: r.Password,
	}, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	artifact, err := client.Inspect(t.Context(), repository, reference)
	if err != nil || len(artifact.Images) != 1 || artifact.Images[0].Err != nil {
		t.Fatalf("inspect %s: %v, %d images", repository, err, len(artifact.Images))
	}
	image := artifact.Images[0]
	var layers []tidewaiter.LayerFacts
	for i, desc := range image.Layers {
		open := func(ctx context.Context) (io.ReadCloser, error) { return client.Blob(ctx, repository, desc) }
		blob, err := open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		facts, err := extract.Layer(t.Context(), blob, desc, image.DiffIDs[i], extract.Options{
			Extractors: all.Extractors(), Verified: true, Reopen: open, SpoolDir: t.TempDir(),
		})
		_ = blob.Close()
		if err != nil {
			t.Fatalf("layer %d of %s: %v", i, repository, err)
		}
		if !facts.Verified || len(facts.Notes) > 0 {
			t.Errorf("layer %d of %s: verified %t, %q", i, repository, facts.Verified, facts.Notes)
		}
		layers = append(layers, facts)
	}
	return overlay.Merge(layers)
}

// A difference between what the tools of an image list and what we list, that
// is as it should be. The patterns are those of path.Match, in which a * does
// not match a /; a place that ends in /... takes in all beneath it.
type difference struct {
	image string // pattern
	who   lister
	kind  string // type of the package
	name  string // pattern
	at    string // pattern, "" for any
	why   string
}

type lister string

const (
	onlyUs   lister = "we list it, and no tool does"
	onlyTool lister = "a tool lists it, and we do not"
)

// differences are all that there are. One that no longer is fails the test.
var differences = []difference{
	{"golang", onlyTool, "golang", "example.org/folder", "", "a module replaced by a folder is required as v0.0.0, which is no version of it"},
	{"golang", onlyUs, "golang", "example.org/folder", "", "listed without that version"},
	{"node", onlyTool, "npm", "@harbour/*", "", "a link to the project's own sources"},
	{"node", onlyTool, "npm", "bundles", "", "the same"},
	{"node", onlyUs, "npm", "*", "usr/local/lib/node_modules/pnpm/dist/node_modules/...", "pnpm carries packages within its own, which npm does not look for; they are there"},
	{"node", onlyUs, "npm", "@*/*", "usr/local/lib/node_modules/pnpm/dist/node_modules/...", "the same"},
	{"python", onlyUs, "pypi", "*", "usr/src/python/*", "setuptools leaves metadata beside sources that it builds; it is what an editable installation of old has, too"},
	{"perl", onlyTool, "cpan", "Buoy", "", "cpanm keeps no record of what it installed from a file"},
	{"java", onlyUs, "maven", "*", "usr/share/java/*", "Debian's archives without pom.properties: by their names, which are Debian's, and their manifests"},
	{"big", onlyUs, "maven", "*", "usr/share/java/*", "the same"},
	{"layers", onlyUs, "maven", "*", "usr/share/java/*", "the same"},
	{"java", onlyUs, "maven", "*", "usr/share/maven-repo/...", "the same"},
	{"layers", onlyUs, "maven", "*", "usr/share/maven-repo/...", "the same"},
	{"big", onlyUs, "maven", "*", "usr/share/maven-repo/...", "the same"},
	{"java", onlyTool, "maven", "org.jsr*:jsr305", "", "other names that Debian has for com.google.code.findbugs:jsr305"},
	{"java", onlyTool, "maven", "com.esotericsoftware.kryo:kryo", "", "the group that kryo had before 2.24; the archive does not tell"},
	{"java", onlyUs, "maven", "com.esotericsoftware:kryo", "srv/java/lib/*", "listed with the group that it has now"},
	{"java", onlyTool, "maven", "javax.el:javax.el-api", "", "Debian shortens the version; pom.properties in it has 3.0.0"},
	{"java", onlyTool, "maven", "javax.servlet.jsp:javax.servlet.jsp-api", "", "Debian shortens the version; pom.properties in it has another"},
	{"java", onlyTool, "maven", "xerces:xmlParserAPIs", "", "another name that Debian has for xml-apis"},
	{"java", onlyUs, "maven", "xmlParserAPIs:xmlParserAPIs", "srv/java/lib/*", "by the name of the file: the archive has nothing of its own"},
	{"java", onlyTool, "maven", "xml-apis:xml-apis-1.4", "", "an artifact of Debian's, whose name holds a version"},
	{"java", onlyUs, "maven", "xml-apis:xml-apis", "srv/java/lib/*", "the same, with 1.4 taken for the beginning of the version"},
	{"java", onlyUs, "maven", "com.google.inject:guice", "srv/java/lib/*-no_aop.jar", "a classifier in the name of the file is taken for a part of the version"},
	{"java", onlyUs, "maven", "carrier:carrier", "", "an archive without pom.properties: by its name"},
}

func (d difference) fits(image string, who lister, f fact) bool {
	match := func(pattern, text string) bool {
		if above, ok := strings.CutSuffix(pattern, "..."); ok {
			return strings.HasPrefix(text, above)
		}
		ok, err := path.Match(pattern, text)
		return ok && err == nil
	}
	return d.who == who && d.kind == f.Type && match(d.image, image) && match(d.name, f.Name) && (d.at == "" || match(d.at, f.At))
}

// TestPackagesAsToolsListThem compares what we list of images with what their
// own package managers say is installed in them: nothing is missing, and
// nothing invented.
func TestPackagesAsToolsListThem(t *testing.T) { //nolint:tparallel // making images leaves nothing for others
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	names := realImageNames(t)
	c := &comparison{used: make([]bool, len(differences))}
	t.Cleanup(func() {
		for i, d := range differences {
			if c.compared == len(names) && !c.used[i] && !t.Failed() {
				t.Errorf("the difference in %s %s is no more: %s", d.image, d.name, d.why)
			}
		}
	})
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := newRealImage(t, name)
			r.Push(t, "real/"+name, "1", image)
			c.compare(t, image, packagesOf(t, r, "real/"+name, "1"))
		})
	}
}

// A comparison remembers which differences there were.
type comparison struct {
	mu       sync.Mutex
	used     []bool // by index of differences
	compared int    // images
}

func (c *comparison) compare(t *testing.T, image *realImage, packages []tidewaiter.Package) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.compared++
	ours, theirs := make(map[fact]bool), make(map[fact]bool)
	for _, p := range packages {
		ours[factOf(p)] = true
	}
	for _, answer := range image.Tools {
		for _, f := range answer.read(t) {
			theirs[f] = true
		}
	}
	without := func(all, others map[fact]bool, who lister) {
		for _, f := range sorted(all) {
			if others[f] {
				continue
			}
			i := slices.IndexFunc(differences, func(d difference) bool { return d.fits(image.Name, who, f) })
			if i < 0 {
				t.Errorf("%s: %s", who, f)
				continue
			}
			c.used[i] = true
		}
	}
	without(theirs, ours, onlyTool)
	without(ours, theirs, onlyUs)
	t.Logf("%d packages, %d by %d tools", len(ours), len(theirs), len(image.Tools))
}

func sorted(facts map[fact]bool) []fact {
	var list []fact
	for f := range facts {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b fact) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// twoPlatforms is an image for amd64 and arm64.
func twoPlatforms(t testing.TB) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.DockerManifestList)
	for _, architecture := range []string{"amd64", "arm64"} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        newRealImage(t, "multi-"+architecture),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	return index
}

// TestPackagesOfPlatforms does the same for the images of an index.
func TestPackagesOfPlatforms(t *testing.T) {
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	index := twoPlatforms(t)
	r.Push(t, "real/multi", "1", index)
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	c := &comparison{used: make([]bool, len(differences))}
	for _, child := range manifest.Manifests {
		image := newRealImage(t, "multi-"+child.Platform.Architecture)
		packages := packagesOf(t, r, "real/multi", child.Digest.String())
		c.compare(t, image, packages)
		for _, p := range packages {
			if p.Type == "deb" && p.Architecture != "all" && p.Architecture != child.Platform.Architecture {
				t.Errorf("%s of %s in the image for %s", p.Name, p.Architecture, child.Platform.Architecture)
			}
		}
	}
}
