package ospkg_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/extract/ospkg"
)

// input is a file that is in memory.
func input(path string, content []byte) extract.Input {
	return extract.Input{Path: path, Mode: 0o644, Size: int64(len(content)), ReaderAt: bytes.NewReader(content)}
}

// lines returns the packages that an extractor finds, a line each.
func lines(found extract.Found) []string {
	var list []string
	for _, p := range found.Packages {
		list = append(list, fmt.Sprintf("%s %s %s %s %s", p.Name, p.Version, p.Architecture, p.SourceName, p.SourceVersion))
	}
	return list
}

// unzipped returns a file of testdata.
func unzipped(t testing.TB, file string) []byte {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestDpkgQuery compares with dpkg-query, on a machine that has it.
func TestDpkgQuery(t *testing.T) {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${db:Status-Status}\t${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n").Output()
	if err != nil {
		t.Skipf("no dpkg-query here: %v", err)
	}
	content, err := os.ReadFile("/var/lib/dpkg/status")
	if err != nil {
		t.Skipf("no status file here: %v", err)
	}
	var want []string
	for line := range strings.Lines(string(out)) {
		state, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if state != "config-files" && state != "not-installed" {
			want = append(want, rest)
		}
	}
	found, err := ospkg.Dpkg{}.Extract(context.Background(), input("var/lib/dpkg/status", content))
	if err != nil || len(found.Cuts) > 0 {
		t.Fatalf("Extract: %v, cuts %v", err, found.Cuts)
	}
	got := lines(found)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dpkg-query (-), found (+):\n%s", diff)
	}
}

var xs = bytes.Repeat([]byte("x"), 16<<10)

// endless is a file that ends after size bytes, all of them the same, behind a head.
type endless struct {
	head string
	size int64
}

func (e endless) ReadAt(b []byte, offset int64) (int, error) {
	n := int(min(int64(len(b)), e.size-offset))
	for filled := 0; filled < n; {
		filled += copy(b[filled:n], xs)
	}
	if offset < int64(len(e.head)) {
		copy(b, e.head[offset:])
	}
	if n < len(b) {
		return max(n, 0), io.EOF
	}
	return n, nil
}

// TestLongLine reads a status file with one line of 1 GB: it is skipped without
// being held, and the packages around it are found.
func TestLongLine(t *testing.T) {
	for _, test := range []struct {
		name, head string
		packages   int
		cuts       int
	}{
		{"field that does not matter", "Package: a\nStatus: install ok installed\nVersion: 1\nDescription: ", 1, 0},
		{"version", "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nVersion: ", 1, 1},
		{"no field", "Package: a\nStatus: install ok installed\nVersion: 1\n", 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			size := int64(1 << 30)
			if testing.Short() {
				size = 1 << 20
			}
			f := extract.Input{Path: "var/lib/dpkg/status", Size: size, ReaderAt: endless{test.head, size}}
			found, err := ospkg.Dpkg{}.Extract(context.Background(), f)
			if err != nil || len(found.Packages) != test.packages || len(found.Cuts) != test.cuts {
				t.Errorf("Extract: %v, %d packages, cuts %v", err, len(found.Packages), found.Cuts)
			}
		})
	}
}

func TestChisel(t *testing.T) {
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`{"jsonwall":"1.0","schema":"1.0","count":4}`,
		`{"kind":"content","slice":"libssl3_libs","path":"/usr/lib/libssl.so.3"}`,
		`{"kind":"package","name":"base-files","version":"13ubuntu10","sha256":"00","arch":"amd64"}`,
		`{"kind":"package","name":"libssl3t64","version":"3.0.13-0ubuntu3","sha256":"00","arch":"amd64"}`,
		`{"kind":"path","path":"/etc/debian_version","mode":"0644","size":13}`,
	} {
		if _, err := fmt.Fprintln(w, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := ospkg.Chisel{}.Extract(context.Background(), input("var/lib/chisel/manifest.wall", packed.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"base-files 13ubuntu10 amd64  ", "libssl3t64 3.0.13-0ubuntu3 amd64  "}, lines(found)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	got := owned(t, "var/lib/chisel/manifest.wall", packed.Bytes(), "etc/debian_version", "usr/lib/libssl.so.3", "etc/passwd")
	if diff := cmp.Diff([]string{"etc/debian_version"}, got); diff != "" {
		t.Errorf("files: want (-), got (+):\n%s", diff)
	}
	if _, err := (ospkg.Chisel{}).Extract(context.Background(), input("var/lib/chisel/manifest.wall", packed.Bytes()[:packed.Len()-8])); err == nil {
		t.Error("a manifest that is cut off is read without an error")
	}
}

// TestChiselBomb unpacks to more than a manifest may have.
func TestChiselBomb(t *testing.T) {
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	line := bytes.Repeat([]byte(`{"kind":"path","path":"/etc/x"}`+"\n"), 1000)
	for range 1000 {
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if _, err := (ospkg.Chisel{}).Extract(context.Background(), input("var/lib/chisel/manifest.wall", packed.Bytes())); err == nil {
		t.Error("a manifest of 32 MB is read without an error")
	}
}

func TestConform(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	wall := w.EncodeAll([]byte(`{"kind":"package","name":"a","version":"1"}`), nil)
	samples := map[string]extracttest.Sample{
		"os/dpkg":         {Path: "var/lib/dpkg/status", Body: []byte("Package: a\nStatus: install ok installed\nVersion: 1\n")},
		"os/dpkg-files":   {Path: "var/lib/dpkg/info/a.list", Body: []byte("/.\n/bin\n/bin/a\n")},
		"os/chisel":       {Path: "var/lib/chisel/manifest.wall", Body: wall},
		"os/apk":          {Path: "usr/lib/apk/db/installed", Body: []byte("P:a\nV:1\n")},
		"os/rpm":          {Path: "usr/lib/sysimage/rpm/Packages.db", Body: ndb(t, header("a", "1", "1", 0))},
		"os/rpm-manifest": {Path: "var/lib/rpmmanifest/container-manifest-2", Body: []byte("a\t1-1\t0\t0\t\t(none)\t0\tx86_64\t0\ta-1-1.src.rpm\n")},
		"os/release":      {Path: "etc/os-release", Body: []byte("ID=a\n")},
	}
	for _, e := range ospkg.Extractors() {
		t.Run(e.Name(), func(t *testing.T) { extracttest.Conform(t, e, samples[e.Name()]) })
	}
}

// TestManyPackages lists more packages than are kept: that leaves a cut.
func TestManyPackages(t *testing.T) {
	var list bytes.Buffer
	for i := range 100_010 {
		fmt.Fprintf(&list, "P:p%d\nV:1-r0\n\n", i)
	}
	found, err := ospkg.Apk{}.Extract(context.Background(), input("lib/apk/db/installed", list.Bytes()))
	if err != nil || len(found.Packages) != 100_000 || len(found.Cuts) != 1 {
		t.Errorf("Extract: %v, %d packages, cuts %v", err, len(found.Packages), found.Cuts)
	}
}

// TestStopped ends when the context does.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, test := range []struct {
		e extract.Extractor
		f extract.Input
	}{
		{ospkg.Dpkg{}, input("var/lib/dpkg/status", []byte("Package: a\n\n"))},
		{ospkg.Apk{}, input("lib/apk/db/installed", []byte("P:a\nV:1\n\n"))},
		{ospkg.RPM{}, input("var/lib/rpm/rpmdb.sqlite", unzipped(t, "rpm/rpmdb.sqlite.gz"))},
	} {
		if _, err := test.e.Extract(ctx, test.f); err == nil {
			t.Errorf("%s goes on after its context has ended", test.e.Name())
		}
	}
}

// fuzz feeds an extractor. It may fail, but neither panic nor take long, and
// what it finds has to be what packages can be called.
func fuzz(f *testing.F, e extract.Extractor, path string) {
	f.Fuzz(func(t *testing.T, content []byte) {
		began := time.Now()
		found, err := e.Extract(context.Background(), input(path, content))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, p := range found.Packages {
			if p.Name == "" || len(p.Name)+len(p.Version) > 2048 || strings.ContainsAny(p.Name+p.Version+p.SourceName, "\x00\n\x1b") {
				t.Errorf("package %+v", p)
			}
		}
		for _, s := range found.Systems {
			if s.ID == "" || strings.ContainsAny(s.ID+s.Name, "\x00\n\x1b") {
				t.Errorf("system %+v", s)
			}
		}
		_ = err
	})
}

func FuzzDpkg(f *testing.F) {
	f.Add([]byte("Package: a\nStatus: install ok installed\nSource: b (1)\nVersion: 1\n more\n\n"))
	fuzz(f, ospkg.Dpkg{}, "var/lib/dpkg/status")
}

func FuzzDpkgFiles(f *testing.F) {
	f.Add([]byte("/.\n/etc\n/etc/passwd\n/usr/../bin//x\n"))
	fuzz(f, ospkg.DpkgFiles{}, "var/lib/dpkg/info/a.list")
}

func FuzzApk(f *testing.F) {
	f.Add([]byte("P:a\nV:1-r0\nA:x86_64\nL:MIT\no:b\nF:etc\n\n"))
	fuzz(f, ospkg.Apk{}, "lib/apk/db/installed")
}

func FuzzRelease(f *testing.F) {
	f.Add([]byte("ID=\"a\\\"b\"\nVERSION_ID='1'\nID_LIKE=\"x y\"\n"))
	fuzz(f, ospkg.Release{}, "etc/os-release")
}

func FuzzRedhatRelease(f *testing.F) {
	f.Add([]byte("CentOS release 6.10 (Final)\n"))
	fuzz(f, ospkg.Release{}, "etc/redhat-release")
}

func FuzzRPMManifest(f *testing.F) {
	f.Add([]byte("bash\t5.1-4\t1\t1\tMicrosoft\t(none)\t1\tx86_64\t0\tbash-5.1-4.src.rpm\n"))
	fuzz(f, ospkg.RPMManifest{}, "var/lib/rpmmanifest/container-manifest-2")
}

func FuzzChisel(f *testing.F) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(w.EncodeAll([]byte(`{"kind":"package","name":"a","version":"1","arch":"amd64"}`), nil))
	fuzz(f, ospkg.Chisel{}, "var/lib/chisel/manifest.wall")
}

func FuzzRPM(f *testing.F) {
	f.Add(ndb(f, header("a", "1", "2", 3)))
	f.Add(unzipped(f, "rpm/Packages.bigendian.gz"))
	f.Add(unzipped(f, "rpm/Packages.gz"))
	fuzz(f, ospkg.RPM{}, "var/lib/rpm/Packages")
}

func FuzzRPMSQLite(f *testing.F) {
	f.Add(unzipped(f, "rpm/rpmdb.sqlite.gz"))
	fuzz(f, ospkg.RPM{}, "var/lib/rpm/rpmdb.sqlite")
}

// FuzzRPMHeader has a header in a database that is whole.
func FuzzRPMHeader(f *testing.F) {
	f.Add(header("a", "1", "2", 3))
	f.Add(index([]entry{{1000, 6, "a\x00", 1}, {1001, 6, "1\x00", 1}, {1116, 4, numbers(0, 0), 2}, {1117, 8, "ls\x00env\x00", 2}, {1118, 8, "/usr/bin/\x00", 1}}))
	f.Add(index([]entry{{1000, 6, "a\x00", 1}, {1001, 6, "1\x00", 1}, {1027, 8, "/etc/passwd\x00", 1}}))
	f.Fuzz(func(t *testing.T, h []byte) {
		if len(h) > 1<<20 {
			return
		}
		found, err := ospkg.RPM{}.Extract(t.Context(), input("usr/lib/sysimage/rpm/Packages.db", ndb(t, h)))
		if err != nil || len(found.Packages)+len(found.Cuts) == 0 && len(h) > 0 {
			t.Errorf("%d bytes: %d packages, cuts %v, %v", len(h), len(found.Packages), found.Cuts, err)
		}
	})
}

// TestDeepManifest nests values a million deep.
func TestDeepManifest(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	wall := w.EncodeAll([]byte(`{"kind":`+strings.Repeat("[", 1_000_000)), nil)
	if _, err := (ospkg.Chisel{}).Extract(t.Context(), input("var/lib/chisel/manifest.wall", wall)); err == nil {
		t.Error("JSON of a million levels is read without a word")
	}
}
