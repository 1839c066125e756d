package langpkg_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/extract/langpkg"
)

// input is a file that is in memory.
func input(path string, content []byte) extract.Input {
	return extract.Input{Path: path, Mode: 0o755, Size: int64(len(content)), ReaderAt: bytes.NewReader(content)}
}

// lines returns the packages that an extractor finds, a line each.
func lines(found extract.Found) []string {
	list := []string{}
	for _, p := range found.Packages {
		line := p.Name + " " + p.Version
		if len(p.Inside) > 0 {
			line += " in " + strings.Join(p.Inside, "!/")
		}
		list = append(list, line)
	}
	return list
}

// samples are a file for each extractor.
func samples(t testing.TB) map[string]extracttest.Sample {
	war := jar(t, entry{name: "WEB-INF/lib/a-1.jar", content: string(jar(t, pom("g", "a", "1")))})
	list := map[string]extracttest.Sample{}
	for _, s := range []struct {
		extractor, path, content string
		mode                     fs.FileMode
	}{
		{"python/dist", "lib/a-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: a\nVersion: 1\nClassifier: License :: X\n\ntext\n", 0o644},
		{"python/files", "lib/a-1.dist-info/RECORD", "a.py,sha256=x,1\n\"b,c.py\",,\n../../bin/a,,\n", 0o644},
		{"perl/files", "usr/lib/perl5/auto/A/.packlist", "/usr/lib/perl5/A.pm\n/usr/bin/a type=link from=/x\n", 0o644},
		{"conda/meta", "conda-meta/a.json", `{"name":"a","version":"1","license":"MIT"}`, 0o644},
		{"node/package", "node_modules/a/package.json", `{"name":"a","version":"1","licenses":[{"type":"MIT"}]}`, 0o644},
		{"go/binary", "bin/a", string(goProgram(t)), 0o755},
		{"rust/binary", "bin/b", string(rustProgram(t, `{"packages":[{"name":"a","version":"1","source":"crates.io"}]}`)), 0o755},
		{"java/archive", "a.war", string(war), 0o644},
		{"dotnet/deps", "a.deps.json", `{"libraries":{"A/1":{"type":"package"}}}`, 0o644},
		{"ruby/gem", "specifications/a-1.gemspec", "s.name = \"a\".freeze\ns.version = \"1\"\ns.licenses = [\"MIT\"]\n", 0o644},
		{"php/composer", "vendor/composer/installed.json", `{"packages":[{"name":"v/a","version":"1","license":["MIT"]}]}`, 0o644},
		{"perl/cpanm", "lib/.meta/A-1/install.json", `{"name":"A","dist":"A-1","version":"1"}`, 0o644},
		{"r/description", "lib/a/DESCRIPTION", "Package: a\nVersion: 1\nBuilt: R 4\n", 0o644},
	} {
		list[s.extractor] = extracttest.Sample{Path: s.path, Mode: s.mode, Body: []byte(s.content)}
	}
	return list
}

func TestConform(t *testing.T) {
	list := samples(t)
	for _, e := range langpkg.Extractors() {
		t.Run(e.Name(), func(t *testing.T) { extracttest.Conform(t, e, list[e.Name()]) })
	}
}

// TestDeepJSON nests values a million deep.
func TestDeepJSON(t *testing.T) {
	deep := strings.Repeat("[", 1_000_000)
	for _, test := range []struct {
		e    extract.Extractor
		path string
		text string
	}{
		{langpkg.Node{}, "node_modules/a/package.json", `{"name":"a","version":"1","x":` + deep},
		{langpkg.DotNet{}, "a.deps.json", `{"targets":` + deep},
		{langpkg.PHP{}, "vendor/composer/installed.json", `{"dev":` + deep},
		{langpkg.PHP{}, "vendor/composer/installed.json", deep},
		{langpkg.Conda{}, "conda-meta/a.json", `{"name":` + deep},
		{langpkg.Perl{}, ".meta/a/install.json", deep},
		{langpkg.Perl{}, ".meta/a/install.json", `{"provides":` + deep},
		{langpkg.Node{}, "node_modules/a/package.json", `{"bin":` + deep},
		{langpkg.Conda{}, "conda-meta/a.json", `{"files":` + deep},
		{langpkg.RustBinary{}, "bin/a", string(rustProgram(t, `{"packages":[{"name":`+deep))},
		{langpkg.RustBinary{}, "bin/a", string(rustProgram(t, `{"x":`+deep))},
	} {
		found, err := test.e.Extract(context.Background(), input(test.path, []byte(test.text)))
		if err == nil && len(found.Cuts) == 0 {
			t.Errorf("%s: JSON of a million levels is read without a word", test.e.Name())
		}
	}
}

// TestLargeMetadata wants an error for a file that is larger than such files are.
func TestLargeMetadata(t *testing.T) {
	for _, e := range []extract.Extractor{langpkg.Node{}, langpkg.DotNet{}, langpkg.PHP{}, langpkg.Conda{}, langpkg.Perl{}, langpkg.Ruby{}} {
		_, err := e.Extract(context.Background(), extract.Input{Path: "a", Size: 17 << 20, ReaderAt: bytes.NewReader(nil)})
		if err == nil {
			t.Errorf("%s reads 17 MiB", e.Name())
		}
	}
}

// fuzz feeds an extractor. It may fail, but neither panic nor take long, and
// what it finds has to be what packages can be called.
func fuzz(f *testing.F, name string) {
	var e extract.Extractor
	for _, known := range langpkg.Extractors() {
		if known.Name() == name {
			e = known
		}
	}
	sample := samples(f)[name]
	f.Add(sample.Body)
	fuzzExtractor(f, e, sample.Path)
}

func fuzzExtractor(f *testing.F, e extract.Extractor, path string) {
	f.Fuzz(func(t *testing.T, content []byte) {
		began := time.Now()
		found, err := e.Extract(context.Background(), input(path, content))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, p := range found.Packages {
			if p.Name == "" || len(p.Name)+len(p.Version) > 2048 || strings.ContainsAny(p.Name+p.Version, "\x00\n\x1b") {
				t.Errorf("package %+v", p)
			}
		}
		for _, c := range found.Cuts {
			if c.Code == "" || c.Reason == "" {
				t.Errorf("cut %+v", c)
			}
		}
		_ = fmt.Sprint(err)
	})
}

func FuzzPython(f *testing.F)      { fuzz(f, "python/dist") }
func FuzzPythonFiles(f *testing.F) { fuzz(f, "python/files") }
func FuzzPerlFiles(f *testing.F)   { fuzz(f, "perl/files") }

// FuzzJavaStream has archives in an archive, of which next to nothing may be held.
func FuzzJavaStream(f *testing.F) {
	inner := jar(f, pom("a", "b", "1"), entry{name: "c.jar", content: string(jar(f, manifest("Implementation-Version: 1")))})
	f.Add(jar(f, entry{name: "lib/a.jar", content: string(inner)}))
	f.Add(jar(f, entry{name: "lib/a.jar", content: string(inner), stored: true}))
	fuzzExtractor(f, langpkg.NewSmallJava(1<<20, 64, 1000), "a.war")
}

func FuzzEgg(f *testing.F) {
	f.Add(jar(f, entry{name: "EGG-INFO/PKG-INFO", content: "Name: a\nVersion: 1\n"}))
	fuzzExtractor(f, langpkg.Python{}, "site-packages/a.egg")
}

func FuzzConda(f *testing.F)  { fuzz(f, "conda/meta") }
func FuzzNode(f *testing.F)   { fuzz(f, "node/package") }
func FuzzRust(f *testing.F)   { fuzz(f, "rust/binary") }
func FuzzJava(f *testing.F)   { fuzz(f, "java/archive") }
func FuzzDotNet(f *testing.F) { fuzz(f, "dotnet/deps") }
func FuzzRuby(f *testing.F)   { fuzz(f, "ruby/gem") }
func FuzzPHP(f *testing.F)    { fuzz(f, "php/composer") }
func FuzzPerl(f *testing.F)   { fuzz(f, "perl/cpanm") }
func FuzzR(f *testing.F)      { fuzz(f, "r/description") }
