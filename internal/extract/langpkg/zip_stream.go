package langpkg

import (
	"bufio"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// streamZip reads an archive from its beginning to its directory, for one that
// is too large to be held: it calls visit with each entry and a reader of what
// the entry holds, of which visit need not read all. Whatever is unpacked goes
// through a reader that unpacked returns.
func streamZip(archive io.Reader, unpacked func(io.Reader) io.Reader, visit func(name string, content io.Reader) error) error {
	r := bufio.NewReaderSize(archive, 64<<10)
	fixed := make([]byte, zipLocalSize)
	for {
		if _, err := io.ReadFull(r, fixed[:4]); err != nil {
			return fmt.Errorf("read an entry: %w", err)
		}
		switch string(fixed[:4]) {
		case zipLocal:
		case zipCentral, zipEnd:
			return nil
		default:
			return errors.New("it has something else between its entries")
		}
		if _, err := io.ReadFull(r, fixed[4:]); err != nil {
			return fmt.Errorf("read an entry: %w", err)
		}
		le := binary.LittleEndian
		name := make([]byte, le.Uint16(fixed[26:]))
		extra := make([]byte, le.Uint16(fixed[28:]))
		if _, err := io.ReadFull(r, name); err != nil {
			return fmt.Errorf("read an entry: %w", err)
		}
		if _, err := io.ReadFull(r, extra); err != nil {
			return fmt.Errorf("read an entry: %w", err)
		}
		entry := zipEntry{
			flags:  le.Uint16(fixed[6:]),
			method: le.Uint16(fixed[8:]),
			packed: int64(le.Uint32(fixed[18:])),
			size:   int64(le.Uint32(fixed[22:])),
		}
		entry.large(extra)
		if err := entry.stream(r, string(name), unpacked, visit); err != nil {
			return err
		}
	}
}

// stream visits the entry that r stands at, and leaves r behind it.
func (e zipEntry) stream(r *bufio.Reader, name string, unpacked func(io.Reader) io.Reader, visit func(string, io.Reader) error) error {
	described := e.flags&zipDescribed != 0
	var packed io.Reader = r
	switch {
	case e.flags&zipEncrypted != 0:
		return errors.New("an entry is encrypted")
	case !described:
		packed = io.LimitReader(r, e.packed)
	case e.method != zipDeflate:
		return errors.New("an entry does not say where it ends")
	}
	if !described && (strings.HasSuffix(name, "/") || !wantedInJar(name)) {
		_, err := io.Copy(io.Discard, packed)
		return err
	}
	content, err := e.unpack(packed)
	if err != nil {
		return err
	}
	content = unpacked(content)
	if err := visit(name, content); err != nil {
		return err
	}
	// Deflated data says itself where it ends; flate reads no byte further of
	// a reader that gives single bytes.
	if _, err := io.Copy(io.Discard, content); err != nil {
		return fmt.Errorf("unpack an entry: %w", err)
	}
	if !described {
		_, err := io.Copy(io.Discard, packed)
		return err
	}
	return skipDescriptor(r)
}

// skipDescriptor skips the sizes that stand behind an entry: of 32 or of 64
// bits, after a signature or not. What comes next has to be an entry or the
// directory.
func skipDescriptor(r *bufio.Reader) error {
	for _, size := range []int{16, 12, 24, 20} {
		ahead, err := r.Peek(size + 4)
		if err != nil {
			continue
		}
		switch string(ahead[size:]) {
		case zipLocal, zipCentral, zipEnd:
			_, err := r.Discard(size)
			return err
		}
	}
	return errors.New("an entry without its sizes")
}

var _ flate.Reader = (*bufio.Reader)(nil)
