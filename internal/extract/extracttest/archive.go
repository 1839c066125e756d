// Package extracttest makes layers for tests, and checks extractors.
package extracttest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
)

// An Entry is an entry of a tar archive. Its zero type is a regular file.
type Entry struct {
	tar.Header
	Body string
}

// Modified is when all files of this package were.
const Modified = 1_700_000_000

// File returns a regular file.
func File(name, body string) Entry {
	return Entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: time.Unix(Modified, 0)}, body}
}

// Folder returns a folder.
func Folder(name string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: time.Unix(Modified, 0)}}
}

// Symlink returns a symbolic link.
func Symlink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: time.Unix(Modified, 0)}}
}

// Link returns a hard link.
func Link(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644, ModTime: time.Unix(Modified, 0)}}
}

// Tar returns an archive.
func Tar(tb testing.TB, entries ...Entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.Body))
		if err := w.WriteHeader(&e.Header); err != nil {
			tb.Fatalf("write %q: %v", e.Name, err)
		}
		if _, err := io.WriteString(w, e.Body); err != nil {
			tb.Fatalf("write %q: %v", e.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// Gzip compresses.
func Gzip(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// Zstd compresses.
func Zstd(tb testing.TB, b []byte, options ...zstd.EOption) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, options...)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// Layer reads a layer that is compressed as blob and not as archive.
func Layer(tb testing.TB, blob, archive []byte, o extract.Options) tidewaiter.LayerFacts {
	tb.Helper()
	desc := tidewaiter.Descriptor{Digest: tidewaiter.DigestOf(blob), Size: int64(len(blob))}
	facts, err := extract.Layer(context.Background(), bytes.NewReader(blob), desc, tidewaiter.DigestOf(archive), o)
	if err != nil {
		tb.Fatalf("Layer: %v", err)
	}
	return facts
}

// Lists is an extractor of files whose names end in ".list": each line is a
// package, name and version; a line that begins with "!" is an error; after "+"
// stands a file, after "*" a folder that belongs to a package. A file
// os-release is a system whose ID is its content.
type Lists struct{}

var _ extract.Extractor = Lists{}

// Name returns "test/lists".
func (Lists) Name() string { return "test/lists" }

// Version returns 1.
func (Lists) Version() int { return 1 }

// Wants wants lists and os-release files.
func (Lists) Wants(path string, _ fs.FileMode, _ int64) bool {
	return strings.HasSuffix(path, ".list") || strings.HasSuffix(path, "os-release")
}

// Extract reads a list.
func (Lists) Extract(_ context.Context, in extract.Input) (extract.Found, error) {
	var found extract.Found
	b, err := io.ReadAll(io.NewSectionReader(in, 0, in.Size))
	if err != nil {
		return found, err
	}
	if strings.HasSuffix(in.Path, "os-release") {
		found.Systems = append(found.Systems, tidewaiter.System{ID: string(b)})
		return found, nil
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "+"); ok {
			found.Owned.File(strings.TrimSuffix(name, "\n"))
			continue
		}
		if name, ok := strings.CutPrefix(line, "*"); ok {
			found.Owned.Folder(strings.TrimSuffix(name, "\n"))
			continue
		}
		name, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(name, "!") {
			return found, fmt.Errorf("line %q is no package", line)
		}
		if name != "" {
			found.Packages = append(found.Packages, tidewaiter.Package{Ecosystem: "test", Name: name, Version: version})
		}
	}
	return found, nil
}
