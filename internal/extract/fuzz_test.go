package extract_test

import (
	"archive/tar"
	"bytes"
	"path"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/codec"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
)

// FuzzLayer reads bytes as a layer. Whatever they are, the facts are in order,
// can be written down, and can be laid over one another.
func FuzzLayer(f *testing.F) {
	archive := sample(f)
	for _, blob := range [][]byte{
		archive, extracttest.Gzip(f, archive), extracttest.Zstd(f, archive), nil, make([]byte, 1024),
		pax(extracttest.File("x", "x"), "path", "a/../b", "size", "1"),
		pax(extracttest.File("x", "0\n"), "GNU.sparse.major", "1", "GNU.sparse.minor", "0"),
		raw(extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeGNUSparse, Name: "x"}}),
		join(raw(extracttest.File("a/.wh.b", "")), raw(extracttest.Link("a", "b")), raw(extracttest.File("a/b", ""))),
	} {
		f.Add(blob)
	}
	o := lists()
	o.Limits = extract.Limits{LayerBytes: 1 << 20, ZstdWindow: 1 << 20, Entries: 1000}
	f.Fuzz(func(t *testing.T, blob []byte) {
		facts := extracttest.Layer(t, blob, blob, o)
		check(t, facts)
		overlay.Merge([]tidewaiter.LayerFacts{facts, facts})
	})
}

// check tells whether facts are as they must be.
func check(t *testing.T, facts tidewaiter.LayerFacts) {
	t.Helper()
	if !facts.Verified && len(facts.Cuts) == 0 {
		t.Error("neither verified nor cut")
	}
	var b bytes.Buffer
	if err := codec.Encode(&b, facts); err != nil {
		t.Fatal(err)
	}
	back, err := codec.Decode(&b, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "facts, written and read", back, facts)
	for _, f := range facts.Files {
		if strings.HasPrefix(path.Base(f.Path), ".wh.") {
			t.Errorf("a whiteout is a file: %q", f.Path)
		}
	}
}

// FuzzWhiteouts has entries of three layers, one a line: a digit for the layer,
// a letter for the kind, and the path. Nothing that a whiteout of the top layer
// is about is left, unless that layer has it.
func FuzzWhiteouts(f *testing.F) {
	f.Add("0fa/b\n1w.wh.a\n2da\n")
	f.Add("0da\n0fa/b\n1ld/x\n2fa/.wh..wh..opq\n2fa/c\n")
	f.Add("0f.wh.\n1f.wh..\n2f.wh...wh.x\n2fa/.wh.b/.wh.c\n")
	f.Fuzz(func(t *testing.T, text string) {
		layers := make([][]byte, 3)
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if len(line) < 3 || len(line) > 100 || line[0] < '0' || line[0] > '2' {
				continue
			}
			e := extracttest.File(line[2:], "")
			switch line[1] {
			case 'd':
				e = extracttest.Folder(line[2:])
			case 'l':
				e = extracttest.Symlink(line[2:], "x")
			case 'h':
				e = extracttest.Link(line[2:], "a")
			}
			layers[line[0]-'0'] = append(layers[line[0]-'0'], raw(e)...)
		}
		var all []tidewaiter.LayerFacts
		for _, archive := range layers {
			archive = append(archive, end()...)
			all = append(all, extracttest.Layer(t, archive, archive, extract.Options{}))
			check(t, all[len(all)-1])
		}
		top := all[2]
		for _, file := range overlay.Merge(all).Files {
			if file.Layer == 2 {
				continue
			}
			for _, w := range top.Whiteouts {
				if file.Path == w || strings.HasPrefix(file.Path, w+"/") {
					t.Errorf("%q is there, in spite of the whiteout of %q", file.Path, w)
				}
			}
			for _, o := range top.Opaque {
				if o == "" || strings.HasPrefix(file.Path, o+"/") {
					t.Errorf("%q is there, in spite of the opaque folder %q", file.Path, o)
				}
			}
		}
	})
}
