package extract_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
)

// skippable returns a frame that decompressors of zstd pass over.
func skippable(content string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x184d2a50)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(content))), content...)
}

// gzipExtra returns a member of gzip with nothing in it but an extra field.
func gzipExtra(t *testing.T, extra string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Extra = []byte(extra)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestEStargz reads a layer as stargz-snapshotter lays it out: a member of gzip
// for each file, then one with a table of contents, and a footer that says where
// that is. The table is a file like any other, and what it claims is not believed.
func TestEStargz(t *testing.T) {
	landmark := extracttest.File(".no.prefetch.landmark", "\x0f")
	list := extracttest.File("a.list", "one 1\n")
	lies := `{"version":1,"entries":[{"name":"hidden.list","type":"reg","size":6,"digest":"sha256:` + strings.Repeat("0", 64) + `"}]}`
	table := extracttest.File("stargz.index.json", lies)
	archive := extracttest.Tar(t, landmark, list, table)
	cut := func(from, to int) []byte { return extracttest.Gzip(t, archive[from:to]) }
	// Each entry has a header and less than a block of content here.
	blob := join(cut(0, 1024), cut(1024, 2048), cut(2048, len(archive)),
		gzipExtra(t, "SG\x16\x00"+fmt.Sprintf("%016xSTARGZ", len(cut(0, 1024))+len(cut(1024, 2048)))))
	facts := extracttest.Layer(t, blob, archive, lists())
	same(t, "files", paths(facts), []string{".no.prefetch.landmark", "a.list", "stargz.index.json"})
	same(t, "packages", found(facts), []string{"a.list one 1"})
	if len(facts.Cuts)+len(facts.Notes) > 0 || !facts.Verified {
		t.Errorf("cuts %v, notes %v, verified %v", facts.Cuts, facts.Notes, facts.Verified)
	}
}

// TestZstdChunked reads a layer as containers/storage lays it out: a frame for
// each file, and skippable ones with a manifest and a footer. Those may say anything.
func TestZstdChunked(t *testing.T) {
	archive := extracttest.Tar(t, extracttest.File("a.list", "one 1\n"), extracttest.File("b.list", "two 2\n"))
	frames := join(extracttest.Zstd(t, archive[:1024]), extracttest.Zstd(t, archive[1024:2048]), extracttest.Zstd(t, archive[2048:]))
	manifest := skippable(string(extracttest.Zstd(t, []byte(`{"version":1,"entries":[{"type":"reg","name":"hidden.list","size":6}]}`))))
	footer := skippable(strings.Repeat("\x00", 56) + "GNUlInUx")
	huge := append([]byte("\x50\x2a\x4d\x18\xff\xff\xff\xff"), "a frame of four gigabytes, it says"...)
	for _, c := range []struct {
		name  string
		blob  []byte
		notes []string
	}{
		{"as it is written", join(frames, manifest, footer), nil},
		{"skippable frames everywhere", join(footer, manifest, extracttest.Zstd(t, archive[:700]), footer, footer, extracttest.Zstd(t, archive[700:]), manifest), nil},
		{"empty skippable frames", join(bytes.Repeat(skippable(""), 10_000), frames), nil},
		{"an empty frame", join(extracttest.Zstd(t, nil), frames), nil},
		{"a skippable frame that is cut off", join(frames, huge), []string{"bytes that are no layer follow the compressed layer"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			facts := extracttest.Layer(t, c.blob, archive, lists())
			same(t, "packages", found(facts), []string{"a.list one 1", "b.list two 2"})
			same(t, "notes", facts.Notes, c.notes)
			if len(facts.Cuts) > 0 || !facts.Verified {
				t.Errorf("cuts %v, verified %v", facts.Cuts, facts.Verified)
			}
		})
	}
	t.Run("a skippable frame that is cut off before the layer", func(t *testing.T) {
		facts := extracttest.Layer(t, join(huge, frames), archive, lists())
		same(t, "cuts", codes(facts), []string{extract.CutCompressed})
	})
	t.Run("nothing but skippable frames", func(t *testing.T) {
		facts := extracttest.Layer(t, join(manifest, footer), archive, lists())
		same(t, "cuts", codes(facts), []string{extract.CutDigest})
	})
}

// zstdBomb returns a frame of a file of zeros: each block of 128 KiB takes four bytes.
func zstdBomb(blocks int) []byte {
	size := int64(blocks) << 17
	b := []byte("\x28\xb5\x2f\xfd\x00\x38") // a window of 128 KiB, no size
	head := raw(extracttest.Entry{Header: extracttest.File("zeros", "").Header})
	copy(head[124:], fmt.Sprintf("%011o", size))
	block := func(last, kind, size int) {
		n := size<<3 | kind<<1 | last
		b = append(b, byte(n), byte(n>>8), byte(n>>16))
	}
	block(0, 0, 512)
	b = append(b, checksum(head)...)
	for i := range blocks {
		last := 0
		if i == blocks-1 {
			last = 1
		}
		block(last, 1, 1<<17)
		b = append(b, 0)
	}
	return b
}

// TestZstdBomb has 8 GiB in 256 KiB, a ratio that gzip cannot have.
func TestZstdBomb(t *testing.T) {
	small := zstdBomb(8)
	facts := extracttest.Layer(t, small, nil, lists())
	same(t, "files of a small one", paths(facts), []string{"zeros"})
	blob := zstdBomb(1 << 16)
	facts = extracttest.Layer(t, blob, nil, lists())
	if facts.Size > 300<<20 || facts.Verified {
		t.Errorf("%d bytes read of %d, verified %v", facts.Size, len(blob), facts.Verified)
	}
	same(t, "cuts", codes(facts), []string{"entry zeros", extract.CutLayerSize})
}

// TestCompressedTwice has a layer within a layer's compression, which no runtime
// unpacks: a ratio of a million hides there.
func TestCompressedTwice(t *testing.T) {
	archive := sample(t)
	once := extracttest.Gzip(t, archive)
	for name, blob := range map[string][]byte{"gzip": extracttest.Gzip(t, once), "zstd": extracttest.Zstd(t, once)} {
		facts := extracttest.Layer(t, blob, once, lists())
		same(t, name+": cuts", codes(facts), []string{extract.CutEntry})
		same(t, name+": files", paths(facts), []string(nil))
		if !facts.Verified {
			t.Errorf("%s: the diff ID was not checked", name)
		}
	}
}

// TestEICAR follows a file that virus scanners know by its bytes. A file of a
// layer has its digest in the facts, however it is linked, and also where a higher
// layer removes it, though the image does not have it then. What is in an archive
// is no file of the image: the facts have the digest of the archive. What is
// split has the digests of its parts.
func TestEICAR(t *testing.T) {
	eicar := `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE" + "!$H+H*"
	const known = "sha256:275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
	jar := zipped(t, "eicar.com", eicar)
	inner := string(extracttest.Tar(t, extracttest.File("a.jar", jar)))
	bottom := extracttest.Tar(t,
		extracttest.File("eicar.com", eicar), extracttest.Link("link", "eicar.com"), extracttest.Symlink("symlink", "eicar.com"),
		extracttest.File("part1", eicar[:30]), extracttest.File("part2", eicar[30:]),
		extracttest.File("a.jar", jar), extracttest.File("inner.tar", inner), extracttest.File("removed.com", eicar), extracttest.File("replaced.com", eicar))
	top := extracttest.Tar(t, extracttest.File(".wh.removed.com", ""), extracttest.File("replaced.com", "harmless"), extracttest.Link("again", "link"))
	o := extract.Options{Extractors: all.Extractors()}
	layers := []tidewaiter.LayerFacts{extracttest.Layer(t, extracttest.Gzip(t, bottom), bottom, o), extracttest.Layer(t, top, top, o)}
	have := func(files []tidewaiter.File) string {
		var list []string
		for _, f := range files {
			if f.SHA256 == known {
				list = append(list, f.Path)
			}
		}
		return strings.Join(list, " ")
	}
	same(t, "in the lower layer", have(layers[0].Files), "eicar.com link removed.com replaced.com")
	same(t, "in the upper layer", have(layers[1].Files), "")
	view := overlay.Merge(layers)
	var files []tidewaiter.File
	digests := make(map[string]tidewaiter.Digest)
	for _, f := range view.Files {
		files = append(files, f.File)
		digests[f.Path] = f.SHA256
	}
	same(t, "in the image", have(files), "again eicar.com link")
	same(t, "the archives", []tidewaiter.Digest{digests["a.jar"], digests["inner.tar"]}, []tidewaiter.Digest{tidewaiter.DigestOf([]byte(jar)), tidewaiter.DigestOf([]byte(inner))})
	if len(view.Cuts) > 0 {
		t.Errorf("cuts: %v", view.Cuts)
	}
}
