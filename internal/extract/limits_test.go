package extract_test

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

// zipped returns an archive of files, each name followed by its content.
func zipped(t testing.TB, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err == nil {
			_, err = io.WriteString(f, files[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const pom = "groupId=g\nartifactId=a\nversion=1\n"

// TestEveryLimit hits each limit in a layer with all extractors: a cut says so,
// with its code and in words, and the package beside is found all the same.
func TestEveryLimit(t *testing.T) {
	beside := extracttest.File("a/node_modules/beside/package.json", `{"name": "beside", "version": "1"}`)
	layer := func(entries ...extracttest.Entry) []byte {
		return extracttest.Tar(t, append([]extracttest.Entry{beside}, entries...)...)
	}
	nested := zipped(t, "x/pom.properties", pom)
	for i := range 4 {
		nested = zipped(t, fmt.Sprintf("%d.jar", i), nested)
	}
	status := extracttest.File("var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nVersion: 1\n")
	zeros := extracttest.File("zeros", strings.Repeat("\x00", 3<<20))
	var long bytes.Buffer
	z, err := zstd.NewWriter(&long, zstd.WithWindowSize(8<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	// The front of the layer in a frame of its own, which is read.
	front, rest := layer(zeros)[:2048], layer(zeros)[2048:]
	long.Write(extracttest.Zstd(t, front))
	z.Reset(&long)
	for b := rest; len(b) > 0; b = b[min(len(b), 64<<10):] { // so that the size is not known
		_, _ = z.Write(b[:min(len(b), 64<<10)])
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		limits  extract.Limits
		archive []byte
		code    string
		reason  string
	}{
		{"LayerBytes", extract.Limits{LayerBytes: 1 << 20}, layer(zeros), extract.CutLayerSize, "more than 1048576 bytes, uncompressed"},
		{"Ratio", extract.Limits{Ratio: 20, RatioFrom: 1 << 20}, layer(zeros), extract.CutLayerSize, "more than 20 times as large as its compressed form"},
		{"Entries", extract.Limits{Entries: 2}, layer(extracttest.File("1", ""), extracttest.File("2", "")), extract.CutLayerSize, "more than 2 entries"},
		{"TextBytes", extract.Limits{TextBytes: 50}, layer(extracttest.File("a/file/with/a/long/name", "")), extract.CutLayerSize, "paths of the layer have more than 50 bytes"},
		{"PathBytes", extract.Limits{PathBytes: 40}, layer(extracttest.File(strings.Repeat("n", 41), "")), extract.CutPath, "longer than 40 bytes"},
		{"PathBytes of a link", extract.Limits{PathBytes: 40}, layer(extracttest.Symlink("x", strings.Repeat("n", 41))), extract.CutPath, "target of a link is longer than 40 bytes"},
		{"PathDepth", extract.Limits{PathDepth: 5}, layer(extracttest.File("1/2/3/4/5/6", "")), extract.CutPath, "deeper than 5 folders"},
		{"HeldFile and SpoolBytes", extract.Limits{HeldFile: 50, SpoolBytes: 80}, layer(status), extract.CutFileSize, "larger than the 80 bytes"},
		{"NestedDepth", extract.Limits{NestedDepth: 3}, layer(extracttest.File("n.jar", nested)), extract.CutNesting, "archives within archives, more than 3"},
		{"NestedBytes", extract.Limits{NestedBytes: 500}, layer(extracttest.File("n.jar", nested)), extract.CutNesting, "more than 500 bytes to unpack"},
		{"NestedEntries", extract.Limits{NestedEntries: 3}, layer(extracttest.File("n.jar", nested)), extract.CutNesting, "more than 3 entries"},
		{"Packages", extract.Limits{Packages: 2}, layer(status), extract.CutLayerSize, "more than 2 packages"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := extract.Options{Extractors: all.Extractors(), Limits: c.limits, Workers: 1}
			checkCut(t, extracttest.Layer(t, extracttest.Gzip(t, c.archive), c.archive, o), c.code, c.reason)
			o.Limits = extract.Limits{}
			if facts := extracttest.Layer(t, extracttest.Gzip(t, c.archive), c.archive, o); len(facts.Cuts) > 0 {
				t.Errorf("cuts by the defaults: %v", facts.Cuts)
			}
		})
	}
	t.Run("ZstdWindow", func(t *testing.T) {
		o := extract.Options{Extractors: all.Extractors(), Limits: extract.Limits{ZstdWindow: 1 << 20}}
		checkCut(t, extracttest.Layer(t, long.Bytes(), layer(zeros), o), extract.CutCompressed, "a zstd frame wants more memory than it may have")
		o.Limits = extract.Limits{}
		if facts := extracttest.Layer(t, long.Bytes(), layer(zeros), o); len(facts.Cuts) > 0 || !facts.Verified {
			t.Errorf("cuts by the defaults: %v", facts.Cuts)
		}
	})
	hang := func(ctx context.Context, _ extract.Input) (extract.Found, error) {
		<-ctx.Done()
		return extract.Found{}, ctx.Err()
	}
	t.Run("FileTime", func(t *testing.T) {
		o := extract.Options{Extractors: append(all.Extractors(), odd{extract: hang}), Limits: extract.Limits{FileTime: time.Second}}
		archive := layer(extracttest.File("odd", "x"))
		checkCut(t, extracttest.Layer(t, archive, archive, o), extract.CutTime, "an extractor took too long")
	})
	t.Run("Time", func(t *testing.T) {
		// A file fills the buffers between the stations, so that what stands before it
		// reaches the last of them; and then nothing comes any more.
		archive := layer(extracttest.File("fill", strings.Repeat("\x00", 8<<20)))
		r, w := io.Pipe()
		go func() { _, _ = w.Write(archive[:len(archive)-1024]) }()
		o := extract.Options{Extractors: all.Extractors(), Verified: true, Limits: extract.Limits{Time: 3 * time.Second}}
		facts, err := extract.Layer(t.Context(), r, tidewaiter.Descriptor{}, tidewaiter.DigestOf(nil), o)
		if err != nil {
			t.Fatal(err)
		}
		checkCut(t, facts, extract.CutTime, "the layer took too long")
	})
}

// checkCut wants a cut with a code and, in words for people, a reason; and the
// package beside.
func checkCut(t *testing.T, facts tidewaiter.LayerFacts, code, reason string) {
	t.Helper()
	beside := false
	for _, p := range facts.Packages {
		beside = beside || p.Name == "beside"
	}
	if !beside {
		t.Error("the package beside is not found")
	}
	hit := false
	for _, c := range facts.Cuts {
		hit = hit || c.Code == code && strings.Contains(c.Reason, reason)
		if c.Code == "" || len(c.Reason) < 10 || len(c.Reason) > 310 || strings.ContainsFunc(c.Reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("cut %q with reason %q", c.Code, c.Reason)
		}
	}
	if !hit {
		t.Errorf("no cut %s that says %q: %v", code, reason, facts.Cuts)
	}
}

// TestLimitsOf wants each limit that a cluster can set for layers to reach the
// engine, and zero to stay the default.
func TestLimitsOf(t *testing.T) {
	same(t, "limits of none", extract.LimitsOf(tidewaiter.ScanLimits{}), extract.Limits{})
	got := extract.LimitsOf(tidewaiter.ScanLimits{
		LayerBytes: 1, Ratio: 2, Entries: 3, HeldFile: 4, SpoolBytes: 5, ZstdWindow: 6, NestedDepth: 7, NestedBytes: 8, LayerSeconds: 9,
	})
	same(t, "limits", got, extract.Limits{
		LayerBytes: 1, Ratio: 2, Entries: 3, HeldFile: 4, SpoolBytes: 5, ZstdWindow: 6, NestedDepth: 7, NestedBytes: 8, Time: 9 * time.Second,
	})
	// One that is new must be threaded through, or be one of the image.
	image := map[string]bool{"ImageBytes": true, "Layers": true, "ImageSeconds": true}
	fields := reflect.TypeFor[tidewaiter.ScanLimits]()
	for i := range fields.NumField() {
		var l tidewaiter.ScanLimits
		reflect.ValueOf(&l).Elem().Field(i).SetInt(7)
		if unused := extract.LimitsOf(l) == (extract.Limits{}); unused != image[fields.Field(i).Name] {
			t.Errorf("%s reaches the engine: %v", fields.Field(i).Name, !unused)
		}
	}
}

// peak returns by how much the heap grew at most while f ran, sampled.
func peak(t *testing.T, f func()) int64 {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	heap := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	before, most := heap(), int64(0)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			most = max(most, heap())
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-stopped
	return most - before
}

// TestLimitsBoundMemory measures what layers take that hit limits.
func TestLimitsBoundMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a gigabyte")
	}
	big := strings.Repeat("x", 1<<20)
	stream := func(write func(w io.Writer)) io.Reader {
		r, w := io.Pipe()
		go func() {
			buffer := bufio.NewWriterSize(w, 1<<20)
			write(buffer)
			_ = buffer.Flush()
			_ = w.Close()
		}()
		return r
	}
	file := func(w io.Writer, name string, megabytes int64) {
		_, _ = w.Write(raw(extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Size: megabytes << 20, Mode: 0o755}}))
		for range megabytes {
			_, _ = io.WriteString(w, big)
		}
	}
	gigabyte := bomb(t, 1<<30)
	manyJars := zipped(t, "a.jar", zipped(t, "b.jar", zipped(t, "zeros.jar", strings.Repeat("\x00", 64<<20))))
	for _, c := range []struct {
		name   string
		blob   func() io.Reader
		limit  int64 // MiB
		cut    string
		limits extract.Limits
	}{
		{"a bomb", func() io.Reader { return bytes.NewReader(gigabyte) }, 16, extract.CutLayerSize, extract.Limits{}},
		{"a zstd window of a gigabyte", func() io.Reader {
			return bytes.NewReader([]byte("\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00\x00"))
		}, 80, extract.CutCompressed, extract.Limits{}},
		{"large files that are wanted", func() io.Reader {
			return stream(func(w io.Writer) {
				file(w, "a.jar", 128)
				file(w, "b.jar", 128)
				_, _ = w.Write(end())
			})
		}, 24, "", extract.Limits{}},
		{"files that are wanted and too large", func() io.Reader {
			return stream(func(w io.Writer) {
				file(w, "a.jar", 129)
				_, _ = w.Write(end())
			})
		}, 16, extract.CutFileSize, extract.Limits{SpoolBytes: 128 << 20}},
		{"many files that are wanted", func() io.Reader {
			return stream(func(w io.Writer) {
				for i := range 16 {
					file(w, fmt.Sprint(i, ".jar"), 16)
				}
				_, _ = w.Write(end())
			})
		}, 96, "", extract.Limits{}},
		{"a PAX record of a gigabyte", func() io.Reader {
			return stream(func(w io.Writer) {
				file(w, "x", 0)
				_, _ = w.Write(raw(extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeXHeader, Name: "x", Size: 1 << 30}}))
				for range 1 << 10 {
					_, _ = io.WriteString(w, big)
				}
				_, _ = w.Write(raw(extracttest.File("x", "")))
				_, _ = w.Write(end())
			})
		}, 16, extract.CutEntry, extract.Limits{}},
		{"whiteouts without end", func() io.Reader {
			return stream(func(w io.Writer) {
				for i := range 110_000 {
					_, _ = w.Write(raw(extracttest.File(fmt.Sprintf("d/.wh.%d", i), "")))
				}
				_, _ = w.Write(end())
			})
		}, 48, extract.CutLayerSize, extract.Limits{Entries: 100_000}},
		{"paths without end", func() io.Reader {
			return stream(func(w io.Writer) {
				for i := range 5_000 {
					name := fmt.Sprint(i, "/") + strings.Repeat(strings.Repeat("n", 250)+"/", 15)
					_, _ = w.Write(pax(extracttest.File("x", ""), "path", name))
				}
				_, _ = w.Write(end())
			})
		}, 64, extract.CutLayerSize, extract.Limits{TextBytes: 16 << 20}},
		{"archives within archives", func() io.Reader {
			return bytes.NewReader(extracttest.Tar(t, extracttest.File("a.jar", manyJars)))
		}, 64, "", extract.Limits{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := extract.Options{Extractors: all.Extractors(), Limits: c.limits, Verified: true, SpoolDir: t.TempDir()}
			blob := c.blob()
			var facts tidewaiter.LayerFacts
			var err error
			took := peak(t, func() {
				facts, err = extract.Layer(t.Context(), blob, tidewaiter.Descriptor{}, tidewaiter.DigestOf([]byte("none")), o)
			})
			if err != nil {
				t.Fatal(err)
			}
			hit := c.cut == ""
			for _, cut := range facts.Cuts {
				hit = hit || cut.Code == c.cut
			}
			if t.Logf("%d MiB", took>>20); took > c.limit<<20 || !hit {
				t.Errorf("it took %d MiB, want no more than %d; cuts %.500v", took>>20, c.limit, facts.Cuts)
			}
			runtime.KeepAlive(facts)
			if left, err := os.ReadDir(o.SpoolDir); err != nil || len(left) > 0 {
				t.Errorf("the folder for the spool has %v, %v", left, err)
			}
		})
	}
}
