package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/codec"
)

func encode(t testing.TB, f tidewaiter.LayerFacts) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := codec.Encode(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sample() tidewaiter.LayerFacts {
	digest := tidewaiter.DigestOf([]byte("x"))
	return tidewaiter.LayerFacts{
		DiffID: digest, Verified: true, Extractors: "1-abc", Size: 12345,
		Files: []tidewaiter.File{
			{Path: "a", Type: tidewaiter.Folder, Mode: 0o755, UID: -1, GID: 1 << 40},
			{Path: "a/b\xff", Type: tidewaiter.RegularFile, Mode: fs.ModeSetuid | 0o755, Size: 7, Modified: time.Unix(1700000000, 0).UTC(), SHA256: digest, Owned: true},
			{Path: "a/link", Type: tidewaiter.SymbolicLink, Link: "../../x\xfe"},
			{Path: "a-b", Type: tidewaiter.HardLink, Link: "a/b\xff", SHA256: digest, Size: 7},
			{Path: "dev", Type: tidewaiter.SpecialFile, Owned: true},
		},
		Whiteouts: []string{"w", "w/x"}, Opaque: []string{"", "o"},
		Packages: []tidewaiter.Package{
			{Ecosystem: "Debian", Name: "libc", Version: "1", SourceName: "glibc", SourceVersion: "2", Architecture: "amd64",
				Type: "deb", Namespace: "debian", Licenses: []string{"GPL", "MIT"}, Path: "a/b\xff", Extractor: "os/dpkg"},
			{Ecosystem: "Maven", Name: "b", Version: "1", Path: "a-b", Inside: []string{"x.jar", "y.jar"}},
		},
		Systems: []tidewaiter.System{{Path: "a-b", ID: "debian", IDLike: []string{"x"}, VersionID: "12", Codename: "bookworm", Name: "Debian", CPE: "cpe"}},
		Cuts:    []tidewaiter.Cut{{Code: "time", Reason: "ü"}, {Path: "a\xff", Code: "parse", Reason: "no"}},
		Notes:   []string{"odd"},
	}
}

func TestRoundTrip(t *testing.T) {
	for name, want := range map[string]tidewaiter.LayerFacts{"full": sample(), "empty": {DiffID: tidewaiter.DigestOf(nil)}} {
		got, err := codec.Decode(iotest.OneByteReader(bytes.NewReader(encode(t, want))), codec.Limits{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*tidewaiter.LayerFacts){
		"files out of order":     func(f *tidewaiter.LayerFacts) { f.Files[0], f.Files[1] = f.Files[1], f.Files[0] },
		"a path twice":           func(f *tidewaiter.LayerFacts) { f.Files[1].Path = "a" },
		"a package of no file":   func(f *tidewaiter.LayerFacts) { f.Packages[0].Path = "b" },
		"a system of no file":    func(f *tidewaiter.LayerFacts) { f.Systems[0].Path = "b" },
		"a digest that is none":  func(f *tidewaiter.LayerFacts) { f.Files[1].SHA256 = "sha256:12" },
		"whiteouts out of order": func(f *tidewaiter.LayerFacts) { f.Whiteouts[0] = "x" },
	} {
		f := sample()
		change(&f)
		if err := codec.Encode(io.Discard, f); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestDecodeOldForm refuses the form of version 1, in which files were not owned.
func TestDecodeOldForm(t *testing.T) {
	b := encode(t, sample())
	b[7] = 1
	if _, err := codec.Decode(bytes.NewReader(b), codec.Limits{}); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("version 1: %v", err)
	}
}

// TestDecodeRefuses decodes what an encoder writes that does not look.
func TestDecodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*tidewaiter.LayerFacts){
		"no diff ID":         func(f *tidewaiter.LayerFacts) { f.DiffID = "" },
		"negative size":      func(f *tidewaiter.LayerFacts) { f.Size = -1 },
		"a path above":       func(f *tidewaiter.LayerFacts) { f.Files[0].Path = "../a" },
		"an absolute path":   func(f *tidewaiter.LayerFacts) { f.Files[0].Path = "/a" },
		"an unclean path":    func(f *tidewaiter.LayerFacts) { f.Files[4].Path = "x/./y" },
		"an empty path":      func(f *tidewaiter.LayerFacts) { f.Files[0].Path = "" },
		"a NUL in a path":    func(f *tidewaiter.LayerFacts) { f.Files[4].Path = "x\x00" },
		"a type":             func(f *tidewaiter.LayerFacts) { f.Files[0].Type = "door" },
		"a file's size":      func(f *tidewaiter.LayerFacts) { f.Files[1].Size = -1 },
		"a time":             func(f *tidewaiter.LayerFacts) { f.Files[1].Modified = time.Unix(1<<40, 0) },
		"a hard link":        func(f *tidewaiter.LayerFacts) { f.Files[3].Link = "../x" },
		"a folder's digest":  func(f *tidewaiter.LayerFacts) { f.Files[0].SHA256 = f.DiffID },
		"a folder's package": func(f *tidewaiter.LayerFacts) { f.Packages[0].Path = "a" },
		"a nameless package": func(f *tidewaiter.LayerFacts) { f.Packages[0].Name = "" },
		"no UTF-8":           func(f *tidewaiter.LayerFacts) { f.Packages[0].Version = "\xff" },
		"a NUL":              func(f *tidewaiter.LayerFacts) { f.Systems[0].Name = "a\x00" },
		"a long text":        func(f *tidewaiter.LayerFacts) { f.Packages[0].Licenses[1] = strings.Repeat("x", 5000) },
		"a long path":        func(f *tidewaiter.LayerFacts) { f.Files[4].Path = strings.Repeat("x", 20000) },
		"a cut without code": func(f *tidewaiter.LayerFacts) { f.Cuts[0].Code = "" },
		"the root removed":   func(f *tidewaiter.LayerFacts) { f.Whiteouts[0] = "" },
		"many notes":         func(f *tidewaiter.LayerFacts) { f.Notes = make([]string, 2000) },
	} {
		f := sample()
		change(&f)
		got, err := codec.Decode(bytes.NewReader(encode(t, f)), codec.Limits{})
		if tidewaiter.KindOf(err) != tidewaiter.Invalid || len(got.Files) > 0 {
			t.Errorf("%s: %v, %d files", name, err, len(got.Files))
		}
	}
}

func TestDecodeLimits(t *testing.T) {
	b := encode(t, sample())
	for _, l := range []codec.Limits{{Files: 4}, {Packages: 1}, {TextBytes: 100}} {
		if _, err := codec.Decode(bytes.NewReader(b), l); tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if _, err := codec.Decode(bytes.NewReader(b), codec.Limits{Files: 5, Packages: 2, TextBytes: 1000}); err != nil {
		t.Error(err)
	}
	// Claims of what does not follow must not be believed.
	for _, body := range [][]byte{
		nil, []byte("x"), binary.AppendUvarint(nil, 1<<60), bytes.Repeat([]byte{0xff}, 1000),
	} {
		var b bytes.Buffer
		b.WriteString("TWfacts\x02")
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = z.Write(body)
		_ = z.Close()
		if _, err := codec.Decode(&b, codec.Limits{}); tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%x: %v", body, err)
		}
	}
	for i := range b {
		if _, err := codec.Decode(bytes.NewReader(b[:i]), codec.Limits{}); tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Fatalf("the first %d bytes: %v", i, err)
		}
	}
	broken := errors.New("connection reset")
	if _, err := codec.Decode(io.MultiReader(bytes.NewReader(b[:50]), iotest.ErrReader(broken)), codec.Limits{}); !errors.Is(err, broken) {
		t.Errorf("a broken connection: %v", err)
	}
}

// large returns facts of many files, whose digests do not compress.
func large(files, packages int) tidewaiter.LayerFacts {
	rng := rand.New(rand.NewPCG(1, 2))
	f := tidewaiter.LayerFacts{DiffID: tidewaiter.DigestOf(nil), Verified: true, Extractors: "1-abc"}
	for i := range files {
		f.Files = append(f.Files, tidewaiter.File{
			Path: fmt.Sprintf("usr/lib/python3/site-packages/p%03d/m%06d_%x.py", i/100, i, rng.Uint32()),
			Type: tidewaiter.RegularFile, Mode: 0o644, Size: int64(rng.ExpFloat64() * 20000),
			Modified: time.Unix(1700000000+int64(rng.IntN(1e6)), 0).UTC(),
			SHA256:   tidewaiter.DigestOf(binary.AppendVarint(nil, int64(i))),
		})
	}
	for i := range packages {
		f.Packages = append(f.Packages, tidewaiter.Package{Ecosystem: "PyPI", Type: "pypi", Name: fmt.Sprintf("package-%d", i), Version: fmt.Sprintf("%d.%d", rng.IntN(9), rng.IntN(99)), Path: f.Files[i].Path, Extractor: "lang/python"})
	}
	return f
}

func TestSize(t *testing.T) {
	if n := len(encode(t, large(34_500, 2000))); n > 2<<20 {
		t.Errorf("34,500 files take %d bytes", n)
	} else {
		t.Logf("34,500 files take %d bytes", n)
	}
}

func BenchmarkEncode(b *testing.B) {
	f := large(34_500, 2000)
	for b.Loop() {
		_ = codec.Encode(io.Discard, f)
	}
	b.ReportMetric(float64(len(encode(b, f))), "bytes")
}

func BenchmarkDecode(b *testing.B) {
	encoded := encode(b, large(34_500, 2000))
	for b.Loop() {
		if _, err := codec.Decode(bytes.NewReader(encoded), codec.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzDecode decodes bytes as they may stand in the frame: what is taken is
// consistent, so that it can be written again and is then the same.
func FuzzDecode(f *testing.F) {
	unframe := func(b []byte) []byte {
		r, err := zstd.NewReader(bytes.NewReader(b[8:]))
		if err != nil {
			f.Fatal(err)
		}
		defer r.Close()
		body, err := io.ReadAll(r)
		if err != nil {
			f.Fatal(err)
		}
		return body
	}
	f.Add(unframe(encode(f, sample())))
	f.Add(unframe(encode(f, large(3, 2))))
	f.Add([]byte{})
	writer, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b := writer.EncodeAll(body, []byte("TWfacts\x02"))
		if len(body) > 1<<20 {
			return
		}
		facts, err := codec.Decode(bytes.NewReader(b), codec.Limits{Files: 1000, Packages: 1000})
		if err != nil {
			return
		}
		again, err := codec.Decode(bytes.NewReader(encode(t, facts)), codec.Limits{})
		if diff := cmp.Diff(facts, again); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}
