package extract_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

func lists() extract.Options {
	return extract.Options{Extractors: []extract.Extractor{extracttest.Lists{}}}
}

// paths returns the paths of the files.
func paths(f tidewaiter.LayerFacts) []string {
	var list []string
	for _, file := range f.Files {
		list = append(list, file.Path)
	}
	return list
}

// found returns "path name version" of the packages.
func found(f tidewaiter.LayerFacts) []string {
	var list []string
	for _, p := range f.Packages {
		list = append(list, p.Path+" "+p.Name+" "+p.Version)
	}
	return list
}

// codes returns "code path" of the cuts.
func codes(f tidewaiter.LayerFacts) []string {
	var list []string
	for _, c := range f.Cuts {
		list = append(list, strings.TrimSpace(c.Code+" "+c.Path))
	}
	return list
}

// same compares, and says what.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func sample(t testing.TB) []byte {
	return extracttest.Tar(t,
		extracttest.Folder("etc"), extracttest.File("etc/os-release", "test"), extracttest.File("etc/a.list", "one 1\ntwo 2\n"),
		extracttest.File("plain", "content"), extracttest.Symlink("link", "../../etc/a.list"), extracttest.Link("hard.list", "etc/a.list"), extracttest.File("empty", ""),
		extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Devmajor: 1, Devminor: 3}},
		extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "fifo"}},
		extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "bin/su", Mode: 0o4755, Uid: 1, Gid: 2}, Body: "x"},
	)
}

func TestFacts(t *testing.T) {
	archive := sample(t)
	facts := extracttest.Layer(t, archive, archive, lists())
	if !facts.Verified || facts.Size != int64(len(archive)) || facts.Extractors != extract.Version(lists().Extractors) {
		t.Errorf("verified %v, size %d, extractors %q", facts.Verified, facts.Size, facts.Extractors)
	}
	same(t, "paths", paths(facts), []string{"bin/su", "dev/null", "empty", "etc", "etc/a.list", "etc/os-release", "fifo", "hard.list", "link", "plain"})
	same(t, "packages", found(facts), []string{"etc/a.list one 1", "etc/a.list two 2", "hard.list one 1", "hard.list two 2"})
	same(t, "systems", facts.Systems, []tidewaiter.System{{Path: "etc/os-release", ID: "test"}})
	same(t, "cuts", codes(facts), []string(nil))
	for _, f := range facts.Files {
		switch f.Path {
		case "bin/su":
			if f.Mode.String() != "urwxr-xr-x" || f.UID != 1 || f.GID != 2 {
				t.Errorf("bin/su has mode %v, owner %d, group %d", f.Mode, f.UID, f.GID)
			}
		case "plain":
			if f.SHA256 != tidewaiter.DigestOf([]byte("content")) || f.Size != 7 || f.Modified.Unix() != extracttest.Modified {
				t.Errorf("plain: %+v", f)
			}
		case "empty":
			if f.SHA256 != tidewaiter.DigestOf(nil) {
				t.Errorf("empty: %+v", f)
			}
		case "hard.list":
			if f.Type != tidewaiter.HardLink || f.Link != "etc/a.list" || f.SHA256 != tidewaiter.DigestOf([]byte("one 1\ntwo 2\n")) {
				t.Errorf("hard.list: %+v", f)
			}
		case "link":
			if f.Link != "../../etc/a.list" || f.SHA256 != "" {
				t.Errorf("link: %+v", f)
			}
		}
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestCompression reads one archive in all the ways that it may be wrapped.
func TestCompression(t *testing.T) {
	archive := sample(t)
	skippable := []byte("\x50\x2a\x4d\x18\x05\x00\x00\x00hello")
	half := len(archive) / 2
	junk := []string{"bytes that are no layer follow the compressed layer"}
	type notes = []string
	for _, c := range []struct {
		name      string
		blob      []byte
		mediaType string
		notes     notes
	}{
		{"tar", archive, "application/vnd.oci.image.layer.v1.tar", nil},
		{"gzip", extracttest.Gzip(t, archive), "application/vnd.docker.image.rootfs.diff.tar.gzip", nil},
		{"gzip, members as in eStargz", join(extracttest.Gzip(t, archive[:half]), extracttest.Gzip(t, archive[half:]), extracttest.Gzip(t, nil)), "application/vnd.oci.image.layer.v1.tar+gzip", nil},
		{"gzip, junk", join(extracttest.Gzip(t, archive), []byte("junk")), "", junk},
		{"gzip, zeros", join(extracttest.Gzip(t, archive), make([]byte, 4096)), "", junk},
		{"zstd", extracttest.Zstd(t, archive), "application/vnd.oci.image.layer.v1.tar+zstd", nil},
		{"zstd:chunked", join(extracttest.Zstd(t, archive[:half]), skippable, extracttest.Zstd(t, archive[half:]), skippable), "", nil},
		{"zstd, skippable first", join(skippable, extracttest.Zstd(t, archive)), "", nil},
		{"zstd, junk", join(extracttest.Zstd(t, archive), []byte("junk!")), "", junk},
		{"gzip called zstd", extracttest.Gzip(t, archive), "application/vnd.oci.image.layer.v1.tar+zstd", notes{"the media type is not that of the layer's bytes, which are gzip"}},
		{"tar called gzip", archive, "application/vnd.oci.image.layer.v1.tar+gzip", notes{"the media type is not that of the layer's bytes, which are tar"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			desc := tidewaiter.Descriptor{MediaType: c.mediaType, Digest: tidewaiter.DigestOf(c.blob), Size: int64(len(c.blob))}
			got, err := extract.Layer(t.Context(), bytes.NewReader(c.blob), desc, tidewaiter.DigestOf(archive), lists())
			if err != nil {
				t.Fatal(err)
			}
			want := extracttest.Layer(t, archive, archive, lists())
			want.Notes = c.notes
			same(t, "facts", got, want)
		})
	}
}

func TestJunkInArchive(t *testing.T) {
	archive := join(sample(t), extracttest.Tar(t, extracttest.File("hidden", "no runtime sees this")))
	facts := extracttest.Layer(t, archive, archive, lists())
	same(t, "notes", facts.Notes, []string{"bytes that are not zeros follow the end of the archive"})
	same(t, "cuts", codes(facts), []string(nil))
}

func TestBadCompression(t *testing.T) {
	archive := sample(t)
	gz := extracttest.Gzip(t, archive)
	damaged := bytes.Clone(gz)
	damaged[len(gz)/2] ^= 0xff
	giant, err := zstd.NewWriter(nil, zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(false), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	var window bytes.Buffer
	giant.Reset(&window)
	for range 3 {
		if _, err := giant.Write(make([]byte, 8<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := giant.Close(); err != nil {
		t.Fatal(err)
	}
	// A frame of one segment, which claims a content and so a window of 2^40 bytes.
	segment := []byte("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x01\x00\x00\x01\x00\x00")
	for _, c := range []struct {
		name string
		blob []byte
		want string
	}{
		{"truncated", gz[:len(gz)/2], "end too early"},
		{"damaged", damaged, "damaged"},
		{"xz", []byte("\xfd7zXZ\x00 and so on"), "but xz"},
		{"text", []byte("<html>not found</html>"), "neither gzip"},
		{"zstd window", window.Bytes(), "more memory"},
		{"zstd segment", segment, "more memory"},
		{"zstd truncated", extracttest.Zstd(t, archive)[:100], "end too early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			facts := extracttest.Layer(t, c.blob, archive, lists())
			if facts.Verified || len(facts.Cuts) == 0 || facts.Cuts[0].Code != extract.CutCompressed || !strings.Contains(facts.Cuts[0].Reason, c.want) {
				t.Errorf("verified %v, cuts %v, want one that says %q", facts.Verified, facts.Cuts, c.want)
			}
		})
	}
}

func TestDigests(t *testing.T) {
	archive := sample(t)
	desc := tidewaiter.Descriptor{Digest: tidewaiter.DigestOf(archive), Size: int64(len(archive))}
	sum := sha512.Sum512(archive)
	long := tidewaiter.Digest("sha512:" + hex.EncodeToString(sum[:]))

	facts, err := extract.Layer(t.Context(), bytes.NewReader(archive), desc, long, lists())
	if err != nil || !facts.Verified {
		t.Errorf("a sha512 diff ID: verified %v, %v", facts.Verified, err)
	}
	facts, err = extract.Layer(t.Context(), bytes.NewReader(archive), desc, tidewaiter.DigestOf(nil), lists())
	if err != nil || facts.Verified {
		t.Errorf("a wrong diff ID: verified %v, %v", facts.Verified, err)
	}
	same(t, "cuts of a wrong diff ID", codes(facts), []string{extract.CutDigest})
	same(t, "packages of a wrong diff ID", len(facts.Packages), 4)

	if _, err := extract.Layer(t.Context(), bytes.NewReader(archive), desc, "sha256:../../x", lists()); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("a diff ID that is none: %v", err)
	}
	for _, wrong := range []tidewaiter.Descriptor{
		{Digest: tidewaiter.DigestOf(nil), Size: desc.Size},
		{Digest: desc.Digest, Size: desc.Size - 1},
		{Digest: desc.Digest, Size: desc.Size + 1},
		{},
	} {
		facts, err := extract.Layer(t.Context(), bytes.NewReader(archive), wrong, tidewaiter.DigestOf(archive), lists())
		if err == nil || len(facts.Files) > 0 {
			t.Errorf("other bytes than %+v: %d files, no error", wrong, len(facts.Files))
		}
	}
}

// failing ends with an error.
type failing struct {
	io.Reader
	err error
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

func TestNetworkFails(t *testing.T) {
	archive := sample(t)
	broken := errors.New("connection reset")
	for name, blob := range map[string][]byte{"tar": archive, "gzip": extracttest.Gzip(t, archive), "zstd": extracttest.Zstd(t, archive)} {
		for _, n := range []int{0, 1, 100, len(blob) / 2, len(blob)} {
			o := lists()
			o.Verified = true
			_, err := extract.Layer(t.Context(), failing{bytes.NewReader(blob[:n]), broken}, tidewaiter.Descriptor{}, tidewaiter.DigestOf(archive), o)
			if !errors.Is(err, broken) {
				t.Errorf("%s, %d bytes: error is %v", name, n, err)
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	archive := sample(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write(archive[:1024])
		cancel() // and never another byte: the reader is closed
	}()
	_, err := extract.Layer(ctx, r, tidewaiter.Descriptor{}, tidewaiter.DigestOf(archive), lists())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestUnreadable(t *testing.T) {
	for mediaType, code := range map[string]string{
		"application/vnd.oci.image.layer.v1.tar+gzip+encrypted":             extract.CutEncrypted,
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":         extract.CutForeign,
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip":      extract.CutForeign,
		"application/vnd.oci.image.layer.nondistributable.v1.tar+encrypted": extract.CutEncrypted,
	} {
		facts, err := extract.Layer(t.Context(), nil, tidewaiter.Descriptor{MediaType: mediaType}, tidewaiter.DigestOf(nil), lists())
		if err != nil {
			t.Fatal(err)
		}
		same(t, mediaType, codes(facts), []string{code})
	}
}
