package extract

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The kinds of compression, as bytes say them: media types may be wrong.
const (
	plainTar  = "tar"
	gzipped   = "gzip" // eStargz is gzip
	zstandard = "zstd" // and so is zstd:chunked, with skippable frames
)

// errUnknown is what a layer makes that is neither compressed in a known way
// nor a tar archive.
var errUnknown = errors.New("neither gzip, zstd nor tar")

// compression tells how a layer is compressed from its first bytes: 512, or
// fewer if it has no more.
func compression(head []byte) (string, error) {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzipped, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard, nil
	case len(head) >= 4 && binary.LittleEndian.Uint32(head)&^0xf == 0x184d2a50:
		return zstandard, nil // a skippable frame
	case len(head) == 0, isTarHeader(head):
		return plainTar, nil
	}
	for _, known := range []struct{ name, magic string }{
		{"xz", "\xfd7zXZ\x00"}, {"bzip2", "BZh"}, {"lz4", "\x04\x22\x4d\x18"}, {"zip", "PK\x03\x04"},
	} {
		if bytes.HasPrefix(head, []byte(known.magic)) {
			return "", fmt.Errorf("%w, but %s", errUnknown, known.name)
		}
	}
	return "", errUnknown
}

// isTarHeader tells whether a block is a header with the right checksum, or the
// zeros that end an archive.
func isTarHeader(b []byte) bool {
	if len(b) < 512 {
		return false
	}
	sum, zeros := uint64(8*' '), true
	for i, c := range b[:512] {
		zeros = zeros && c == 0
		if i < 148 || i >= 156 {
			sum += uint64(c)
		}
	}
	var want uint64
	for _, c := range strings.Trim(string(b[148:156]), " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		want = want<<3 + uint64(c-'0')
	}
	return zeros || sum == want
}

// mediaTypeFits tells whether a media type promises what the bytes are. One
// that promises nothing known always does.
func mediaTypeFits(mediaType, kind string) bool {
	switch {
	case strings.HasSuffix(mediaType, "+gzip"), strings.HasSuffix(mediaType, ".gzip"):
		return kind == gzipped
	case strings.HasSuffix(mediaType, "+zstd"), strings.HasSuffix(mediaType, ".zstd"):
		return kind == zstandard
	case strings.HasSuffix(mediaType, ".tar"):
		return kind == plainTar
	}
	return true
}

// newDecompressor returns a reader of the layer's tar archive, the kind of its
// compression, and what frees its memory.
func newDecompressor(src io.Reader, window uint64) (r io.Reader, kind string, stop func(), err error) {
	in := bufio.NewReaderSize(src, 64<<10)
	head, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", nil, err
	}
	if kind, err = compression(head); err != nil {
		return nil, "", nil, err
	}
	stop = func() {}
	switch kind {
	case gzipped:
		if r, err = gzip.NewReader(in); err != nil {
			return nil, kind, nil, err
		}
	case zstandard:
		// Decoding within Read: concurrency would only add memory. The second
		// limit is that of frames of a single segment, whose window is the frame.
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(window))
		if err != nil {
			return nil, kind, nil, err
		}
		r, stop = d, d.Close
	default:
		r = in
	}
	return r, kind, stop, nil
}

// badStream says in words why decompression ended.
func badStream(err error) string {
	switch {
	case errors.Is(err, errUnknown):
		return err.Error()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the compressed bytes end too early"
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return "a zstd frame wants more memory than it may have"
	}
	return "the compressed bytes are damaged: " + readable(err.Error())
}
