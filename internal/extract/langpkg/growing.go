package langpkg

import (
	"bytes"
	"io"
)

// growing is memory that is written once and then read. It grows by pieces,
// which are not copied when there are more.
type growing struct {
	pieces [][]byte // all full but the last
	size   int64
}

const pieceSize = 256 << 10

// Write implements [io.Writer].
func (g *growing) Write(b []byte) (int, error) {
	written := len(b)
	for len(b) > 0 {
		last := len(g.pieces) - 1
		if last < 0 || len(g.pieces[last]) == pieceSize {
			g.pieces = append(g.pieces, make([]byte, 0, pieceSize))
			last++
		}
		n := min(len(b), pieceSize-len(g.pieces[last]))
		g.pieces[last] = append(g.pieces[last], b[:n]...)
		b = b[n:]
	}
	g.size += int64(written)
	return written, nil
}

// ReadAt implements [io.ReaderAt].
func (g *growing) ReadAt(b []byte, offset int64) (int, error) {
	read := 0
	for read < len(b) && offset >= 0 && offset < g.size {
		n := copy(b[read:], g.pieces[offset/pieceSize][offset%pieceSize:])
		read += n
		offset += int64(n)
	}
	if read < len(b) {
		return read, io.EOF
	}
	return read, nil
}

// reader returns a reader of all, which forgets what it has read.
func (g *growing) reader() io.Reader {
	return &forgetting{pieces: g.pieces}
}

// forgetting reads pieces, and lets go of each.
type forgetting struct {
	pieces  [][]byte
	current bytes.Reader
}

// Read implements [io.Reader].
func (f *forgetting) Read(b []byte) (int, error) {
	for f.current.Len() == 0 {
		if len(f.pieces) == 0 {
			return 0, io.EOF
		}
		f.current.Reset(f.pieces[0])
		f.pieces[0] = nil
		f.pieces = f.pieces[1:]
	}
	return f.current.Read(b)
}
