package extract_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

// pax returns an entry with records of the PAX format, which may say anything.
func pax(e extracttest.Entry, records ...string) []byte {
	var body strings.Builder
	for i := 0; i < len(records); i += 2 {
		body.WriteString(record(records[i], records[i+1]))
	}
	return join(raw(extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeXHeader, Name: "PaxHeaders/x"}, Body: body.String()}), raw(e))
}

// record is a record of the PAX format: its length, counting itself, and key=value.
func record(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	n := len(rest)
	for n != len(rest)+len(fmt.Sprint(n)) {
		n = len(rest) + len(fmt.Sprint(n))
	}
	return fmt.Sprint(n) + rest
}

// raw returns an entry as it stands: no writer looks after it.
func raw(e extracttest.Entry) []byte {
	b := make([]byte, 512, 512+len(e.Body)+512)
	copy(b[0:100], e.Name)
	copy(b[100:], fmt.Sprintf("%07o", e.Mode))
	copy(b[108:], fmt.Sprintf("%07o", e.Uid))
	copy(b[116:], fmt.Sprintf("%07o", e.Gid))
	size := int64(len(e.Body))
	if e.Size != 0 {
		size = e.Size
	}
	if size >= 0 && size < 1<<33 {
		copy(b[124:], fmt.Sprintf("%011o", size))
	} else { // base 256
		for i := range 12 {
			b[135-i] = byte(size >> min(8*i, 63))
		}
		b[124] |= 0x80
	}
	copy(b[136:], fmt.Sprintf("%011o", 0))
	b[156] = e.Typeflag
	copy(b[157:257], e.Linkname)
	copy(b[257:], "ustar\x0000")
	return append(checksum(b), padded(e.Body)...)
}

func checksum(b []byte) []byte {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func padded(body string) []byte { return append([]byte(body), make([]byte, -len(body)&511)...) }

func end() []byte { return make([]byte, 1024) }

// TestHostileNames has entries that no file can be: each leaves a cut, and the
// files beside it are found.
func TestHostileNames(t *testing.T) {
	beside := raw(extracttest.File("beside.list", "found 1"))
	long := strings.Repeat("n", 256)
	deep := strings.Repeat("d/", 300) + "f"
	for _, c := range []struct {
		name  string
		entry []byte
		want  string // code and path of the cut, or "" for a file
		path  string // of the file
	}{
		{"above", raw(extracttest.File("../x", "x")), "path ../x", ""},
		{"above, later", raw(extracttest.File("a/../../x", "x")), "path a/../../x", ""},
		{"absolute and above", raw(extracttest.File("/../x", "x")), "path /../x", ""},
		{"absolute", raw(extracttest.File("/etc/x", "x")), "", "etc/x"},
		{"unclean", raw(extracttest.File("./a//b/../x", "x")), "", "a/x"},
		{"not UTF-8", raw(extracttest.File("a\xff\xfe", "x")), "", "a\xff\xfe"},
		{"escapes", raw(extracttest.File("a\x1b[31m\u202e", "x")), "", "a\x1b[31m\u202e"},
		{"root as a file", raw(extracttest.File("./", "x")), "path", ""},
		{"long name", pax(extracttest.File("x", "x"), "path", long), "path " + long, ""},
		{"deep", pax(extracttest.File("x", "x"), "path", deep), "path " + deep, ""},
		{"64 KiB", pax(extracttest.File("x", "x"), "path", strings.Repeat("p/", 32<<10)), "path " + strings.Repeat("p/", 150) + "…", ""},
		{"link of 64 KiB", pax(extracttest.Symlink("x", "x"), "linkpath", strings.Repeat("p/", 32<<10)), "path x", ""},
		{"hard link above", raw(extracttest.Link("x", "../../etc/shadow")), "path x", ""},
		{"hard link to the root", raw(extracttest.Link("x", "/")), "path x", ""},
		{"whiteout of nothing", raw(extracttest.File("a/.wh.", "")), "path a/.wh.", ""},
		{"whiteout of itself", raw(extracttest.File("a/.wh..", "")), "path a/.wh..", ""},
		{"whiteout of the parent", raw(extracttest.File("a/.wh...", "")), "path a/.wh...", ""},
		{"unknown kind", raw(extracttest.Entry{Header: tar.Header{Typeflag: 'Z', Name: "x"}, Body: "x"}), "entry x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			archive := join(c.entry, beside, end())
			facts := extracttest.Layer(t, archive, archive, lists())
			var cuts []string
			files := []string{"beside.list"}
			if c.want != "" {
				cuts = append(cuts, c.want)
			} else {
				files = append(files, c.path)
				slices.Sort(files)
			}
			same(t, "cuts", codes(facts), cuts)
			same(t, "files", paths(facts), files)
			same(t, "packages", found(facts), []string{"beside.list found 1"})
		})
	}
}

// TestHostileArchives breaks the archive: what came before is kept.
func TestHostileArchives(t *testing.T) {
	before := raw(extracttest.File("before.list", "found 1"))
	oldSparse := raw(extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeGNUSparse, Name: "sparse.list"}, Body: "x"})
	copy(oldSparse[257:], "ustar  \x00")
	copy(oldSparse[386:], "00000000000\x0000000000001\x00")
	copy(oldSparse[483:], "77777777777\x00") // 8 GiB
	checksum(oldSparse)
	for _, c := range []struct {
		name string
		rest []byte
		want []string
	}{
		{"old sparse", join(oldSparse, end()), []string{"entry sparse.list"}},
		{"PAX sparse 0.0", join(pax(extracttest.File("sparse.list", "x"), "GNU.sparse.size", "99999999999", "GNU.sparse.numblocks", "1", "GNU.sparse.offset", "0", "GNU.sparse.numbytes", "1"), end()), []string{"entry sparse.list"}},
		{"PAX sparse 0.1", join(pax(extracttest.File("sparse.list", "x"), "GNU.sparse.size", "99999999999", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,1"), end()), []string{"entry sparse.list"}},
		{"PAX sparse 1.0", join(pax(extracttest.File("sparse.list", "1\n0\n1\n"+strings.Repeat("\x00", 506)+"x"),
			"GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "sparse.list", "GNU.sparse.realsize", "9223372036854775807"), end()), []string{"entry sparse.list"}},
		{"negative size", join(raw(extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: -1}}), end()), []string{"entry"}},
		{"negative PAX size", join(pax(extracttest.File("x", ""), "size", "-1"), end()), []string{"entry"}},
		{"size of 2^62", raw(extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "x.list", Size: 1 << 62}, Body: "x"}), []string{"entry x.list", "entry"}},
		{"PAX record of a gigabyte", raw(extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeXHeader, Name: "x", Size: 1 << 30}}), []string{"entry"}},
		{"PAX record with a NUL", join(pax(extracttest.File("x", "x"), "path", "a\x00b"), end()), []string{"entry"}},
		{"PAX record of a wrong length", join(raw(extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeXHeader, Name: "x"}, Body: "99999999999 path=x\n"}), end()), []string{"entry"}},
		{"long name of a gigabyte", raw(extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeGNULongName, Name: "x", Size: 1 << 30}}), []string{"entry"}},
		{"truncated in a header", before[:100], []string{"entry"}},
		{"truncated in a file", before[:515], []string{"entry before.list", "entry"}},
		{"no end", nil, nil},
		{"garbage", bytes.Repeat([]byte("garbage "), 128), []string{"entry"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			archive := join(before, c.rest)
			facts := extracttest.Layer(t, extracttest.Gzip(t, archive), archive, lists())
			same(t, "cuts", codes(facts), c.want)
			same(t, "packages", found(facts), []string{"before.list found 1"})
			if !facts.Verified {
				t.Error("the diff ID was not checked")
			}
		})
	}
}

// TestLimits hits each limit.
func TestLimits(t *testing.T) {
	archive := sample(t)
	body := strings.Repeat("pkg 1\n", 1000)
	big := extracttest.Tar(t, extracttest.File("a.list", "one 1\n"), extracttest.File("big.list", body), extracttest.File("z.list", "two 2\n"))
	zeros := extracttest.Tar(t, extracttest.File("a.list", "one 1\n"), extracttest.File("zeros", strings.Repeat("\x00", 4<<20)))
	for _, c := range []struct {
		name     string
		limits   extract.Limits
		archive  []byte
		cuts     []string
		packages []string
		verified bool
	}{
		{"entries", extract.Limits{Entries: 3}, archive, []string{"layer_too_large"}, []string{"etc/a.list one 1", "etc/a.list two 2"}, true},
		{"text", extract.Limits{TextBytes: 35}, archive, []string{"layer_too_large"}, []string{"etc/a.list one 1", "etc/a.list two 2"}, true},
		{"path", extract.Limits{PathBytes: 5}, extracttest.Tar(t, extracttest.File("a.list", "one 1\n"), extracttest.File("b", "")), []string{"path a.lis…"}, nil, true},
		{"depth", extract.Limits{PathDepth: 1}, extracttest.Tar(t, extracttest.File("a.list", "one 1\n"), extracttest.File("b/c", "")), []string{"path b/c"}, []string{"a.list one 1"}, true},
		{"layer", extract.Limits{LayerBytes: 2 << 20}, zeros, []string{"entry zeros", "layer_too_large"}, []string{"a.list one 1"}, false},
		{"ratio", extract.Limits{Ratio: 10, RatioFrom: 1 << 20}, zeros, []string{"entry zeros", "layer_too_large"}, []string{"a.list one 1"}, false},
		{"file", extract.Limits{HeldFile: 1000, SpoolBytes: 5999}, big, []string{"file_too_large big.list"}, []string{"a.list one 1", "z.list two 2"}, true},
		{"packages", extract.Limits{Packages: 1, HeldFile: 1000, SpoolBytes: 1000}, extracttest.Tar(t, extracttest.File("a.list", "one 1\ntwo 2\n")), []string{"layer_too_large"}, []string{"a.list one 1"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := lists()
			o.Limits = c.limits
			facts := extracttest.Layer(t, extracttest.Gzip(t, c.archive), c.archive, o)
			same(t, "cuts", codes(facts), c.cuts)
			same(t, "packages", found(facts), c.packages)
			if facts.Verified != c.verified {
				t.Errorf("verified %v", facts.Verified)
			}
		})
	}
	t.Run("spool", func(t *testing.T) {
		o := lists()
		o.Limits = extract.Limits{HeldFile: 100, SpoolBytes: 1 << 20}
		o.SpoolDir = t.TempDir()
		facts := extracttest.Layer(t, big, big, o)
		same(t, "cuts", codes(facts), []string(nil))
		same(t, "number of packages", len(facts.Packages), 1002)
		o.SpoolDir += "/there is no such folder"
		same(t, "cuts without a folder", codes(extracttest.Layer(t, big, big, o)), []string{"file_too_large big.list"})
	})
	t.Run("held in turns", func(t *testing.T) {
		o := lists()
		o.Limits = extract.Limits{HeldFile: 6000, HeldBytes: 6000} // one big file at a time
		var entries []extracttest.Entry
		for i := range 50 {
			entries = append(entries, extracttest.File(fmt.Sprint(i, ".list"), body))
		}
		archive := extracttest.Tar(t, entries...)
		facts := extracttest.Layer(t, archive, archive, o)
		same(t, "number of packages", len(facts.Packages), 50_000)
	})
	t.Run("time", func(t *testing.T) {
		r, w := io.Pipe()
		go func() { _, _ = w.Write(archive[:2048]) }() // and nothing more
		o := lists()
		o.Verified, o.Limits.Time = true, 20*time.Millisecond
		facts, err := extract.Layer(t.Context(), r, tidewaiter.Descriptor{}, tidewaiter.DigestOf(archive), o)
		if err != nil {
			t.Fatal(err)
		}
		if last := facts.Cuts[len(facts.Cuts)-1]; last.Code != extract.CutTime || last.Path != "" {
			t.Errorf("cuts: %v", facts.Cuts)
		}
	})
}

// TestManyCuts has more cuts than anybody reads.
func TestManyCuts(t *testing.T) {
	var entries []extracttest.Entry
	for range 5000 {
		entries = append(entries, extracttest.File("../x", ""))
	}
	archive := extracttest.Tar(t, entries...)
	facts := extracttest.Layer(t, archive, archive, lists())
	if n := len(facts.Cuts); n != 1001 {
		t.Errorf("%d cuts", n)
	}
}

// bomb returns a tar with one file of zeros: a bomb.
func bomb(t *testing.T, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Size: size}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(tw, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestBomb stops a bomb by default limits long before it is done.
func TestBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("writes and reads a gigabyte")
	}
	facts := extracttest.Layer(t, bomb(t, 1<<30), nil, lists())
	if facts.Size > 300<<20 || facts.Verified {
		t.Errorf("%d bytes read, verified %v", facts.Size, facts.Verified)
	}
	same(t, "cuts", codes(facts), []string{"entry zeros", extract.CutLayerSize})
}

// TestNamesDoNotPinHeaders has a megabyte of PAX records with each file. The
// facts must not keep them.
func TestNamesDoNotPinHeaders(t *testing.T) {
	const files = 128
	r, w := io.Pipe()
	sum := tidewaiter.Digest("").Hash()
	go func() {
		out := io.MultiWriter(w, sum)
		comment := strings.Repeat("c", 1<<20-200)
		for i := range files {
			name := fmt.Sprint("a", i, ".list")
			_, _ = out.Write(pax(extracttest.File("x", "p 1"), "path", name, "comment", comment))
		}
		_, _ = out.Write(end())
		_ = w.Close()
	}()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	o := lists()
	o.Verified = true
	facts, err := extract.Layer(t.Context(), r, tidewaiter.Descriptor{}, tidewaiter.DigestOf(nil), o)
	if err != nil || len(facts.Files) != files || len(facts.Packages) != files {
		t.Fatalf("%d files, %d packages, %v", len(facts.Files), len(facts.Packages), err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > files<<20/4 {
		t.Errorf("the facts of %d files keep %d bytes", files, kept)
	}
	runtime.KeepAlive(facts)
}

// TestMillionsOfFiles has more empty files than a layer may have. What is kept
// is bounded, and the rest is read for the diff ID only.
func TestMillionsOfFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a million entries")
	}
	const files = 1_000_000
	r, w := io.Pipe()
	go func() {
		b := make([]byte, 0, 1<<20)
		e := raw(extracttest.File("a/000000000", ""))
		for i := range files {
			copy(e, fmt.Sprintf("a/%09d", i))
			if b = append(b, checksum(e)...); len(b) == cap(b) {
				_, _ = w.Write(b)
				b = b[:0]
			}
		}
		_, _ = w.Write(append(b, end()...))
		_ = w.Close()
	}()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	o := lists()
	o.Verified = true
	facts, err := extract.Layer(t.Context(), r, tidewaiter.Descriptor{}, tidewaiter.DigestOf(nil), o)
	if err != nil || len(facts.Files) != 500_000 || facts.Size != files*512+1024 {
		t.Errorf("%d files of %d bytes, %v", len(facts.Files), facts.Size, err)
	}
	same(t, "cuts", codes(facts), []string{extract.CutDigest, extract.CutLayerSize})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 200<<20 {
		t.Errorf("the facts take %d bytes", kept)
	}
	runtime.KeepAlive(facts)
}
