package component

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A splice is content that is put together when it is read: a few bytes of
// its own, such as the headers of an archive, and between them content that
// lies elsewhere. An archive as a splice costs neither memory nor disk, and
// can be read from any offset, by many at a time.
type splice struct {
	parts []part
	size  int64
}

type part struct {
	start, end int64 // where it is in the splice
	content    io.ReaderAt
}

var _ io.ReaderAt = (*splice)(nil)

// ReadAt implements [io.ReaderAt].
func (s *splice) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("component: negative offset")
	}
	i, _ := slices.BinarySearchFunc(s.parts, off, func(p part, off int64) int {
		return cmp.Compare(p.end, off+1)
	})
	n := 0
	for _, part := range s.parts[i:] {
		if n == len(p) {
			break
		}
		want := int(min(int64(len(p)-n), part.end-off))
		got, err := part.content.ReadAt(p[n:n+want], off-part.start)
		n += got
		off += int64(got)
		if got < want {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// reader returns the content from its beginning.
func (s *splice) reader() *io.SectionReader { return io.NewSectionReader(s, 0, s.size) }

// A splicer makes a splice of what an archive writer writes to it.
type splicer struct {
	splice   splice
	own      bytes.Buffer // written, and not yet in a part
	borrowed int64        // bytes that insert still expects
	hash     hash.Hash
}

func newSplicer() *splicer { return &splicer{hash: sha256.New()} }

// Write adds bytes. While insert is at work they only pass by.
func (w *splicer) Write(p []byte) (int, error) {
	w.hash.Write(p)
	if w.borrowed > 0 {
		if int64(len(p)) > w.borrowed {
			return 0, errors.New("component: archive writer mixed content and headers")
		}
		w.borrowed -= int64(len(p))
		return len(p), nil
	}
	return w.own.Write(p)
}

// insert adds content by reference. The content is still sent through to,
// a writer whose bytes arrive at w unchanged and unbuffered, since archive
// writers count what they write.
func (w *splicer) insert(to io.Writer, content *io.SectionReader) error {
	if content.Size() == 0 {
		return nil
	}
	w.flush()
	w.borrowed = content.Size()
	if _, err := io.Copy(to, io.NewSectionReader(content, 0, content.Size())); err != nil {
		return fmt.Errorf("write content to archive: %w", err)
	}
	if w.borrowed != 0 {
		return errors.New("component: archive writer kept content back")
	}
	w.add(content, content.Size())
	return nil
}

// finish returns the splice and the digest of all its bytes.
func (w *splicer) finish() (*splice, v1.Hash) {
	w.flush()
	return &w.splice, v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", w.hash.Sum(nil))}
}

func (w *splicer) flush() {
	if w.own.Len() > 0 {
		own := bytes.Clone(w.own.Bytes())
		w.own.Reset()
		w.add(bytes.NewReader(own), int64(len(own)))
	}
}

func (w *splicer) add(content io.ReaderAt, size int64) {
	start := w.splice.size
	w.splice.size += size
	w.splice.parts = append(w.splice.parts, part{start: start, end: start + size, content: content})
}
