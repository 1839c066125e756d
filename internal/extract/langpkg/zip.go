package langpkg

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// zipArchive reads an archive by its directory, one entry at a time: package
// archive/zip would hold the directory, which can have millions of entries
// (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT).
type zipArchive struct {
	r      io.ReaderAt
	size   int64
	begin  int64 // of the archive in the file: a program may stand before it
	offset int64 // of the directory, in the file
	length int64 // of the directory
	opened []zipRange
}

// zipRange are the bytes of an entry that was opened.
type zipRange struct{ begin, end int64 }

// zipEntry is an entry of the directory.
type zipEntry struct {
	name   string
	flags  uint16
	method uint16
	packed int64 // bytes in the archive
	size   int64 // bytes when unpacked, as it claims
	offset int64 // of the entry, from the beginning of the archive
}

const (
	zipStored  = 0
	zipDeflate = 8

	zipEncrypted = 1 // flags
	zipDescribed = 1 << 3

	zipLocal     = "PK\x03\x04" // signatures
	zipCentral   = "PK\x01\x02"
	zipEnd       = "PK\x05\x06"
	zipEnd64     = "PK\x06\x06"
	zipLocator64 = "PK\x06\x07"

	zipLocalSize   = 30 // bytes of the fixed part of each
	zipCentralSize = 46
	zipEndSize     = 22
	zipEnd64Size   = 56
	zipLocatorSize = 20
)

var errNoZip = errors.New("no zip archive")

// openZip finds the directory of an archive, from its end.
func openZip(r io.ReaderAt, size int64) (*zipArchive, error) {
	tail := make([]byte, min(size, 0xffff+zipEndSize))
	at := size - int64(len(tail))
	if n, err := r.ReadAt(tail, at); n < len(tail) {
		return nil, fmt.Errorf("read the end of an archive: %w", err)
	}
	i := lastEnd(tail)
	if i < 0 {
		first := make([]byte, len(zipLocal))
		if n, _ := r.ReadAt(first, 0); n == len(first) && string(first) == zipLocal {
			return nil, errors.New("an archive that is cut off")
		}
		return nil, errNoZip
	}
	end := tail[i:]
	dirEnd := at + int64(i)
	length, offset := int64(binary.LittleEndian.Uint32(end[12:])), int64(binary.LittleEndian.Uint32(end[16:]))
	if length == 0xffffffff || offset == 0xffffffff || binary.LittleEndian.Uint16(end[10:]) == 0xffff {
		if l, o, e, ok := zip64End(r, dirEnd); ok {
			length, offset, dirEnd = l, o, e
		}
	}
	begin := dirEnd - length - offset
	if length < 0 || offset < 0 || begin < 0 || begin > size {
		return nil, errors.New("an archive whose directory is outside of it")
	}
	return &zipArchive{r: r, size: size, begin: begin, offset: begin + offset, length: length}, nil
}

// lastEnd returns where the record that ends an archive begins, or -1. A
// comment, which may hold anything, follows it up to the end.
func lastEnd(tail []byte) int {
	for search := tail; ; {
		i := bytes.LastIndex(search, []byte(zipEnd))
		if i < 0 {
			return -1
		}
		if rest := tail[i:]; len(rest) >= zipEndSize && zipEndSize+int(binary.LittleEndian.Uint16(rest[20:])) <= len(rest) {
			return i
		}
		search = search[:i]
	}
}

// zip64End reads the record of large archives, before the one at end.
func zip64End(r io.ReaderAt, end int64) (length, offset, dirEnd int64, ok bool) {
	locator, record := make([]byte, zipLocatorSize), make([]byte, zipEnd64Size)
	if n, _ := r.ReadAt(locator, max(end-zipLocatorSize, 0)); n < len(locator) || string(locator[:4]) != zipLocator64 {
		return 0, 0, 0, false
	}
	// Where the record is: by what is said, or, after a program, right before.
	for _, at := range []int64{int64(binary.LittleEndian.Uint64(locator[8:])), end - zipLocatorSize - zipEnd64Size} {
		if at < 0 {
			continue
		}
		if n, _ := r.ReadAt(record, at); n == len(record) && string(record[:4]) == zipEnd64 {
			return int64(binary.LittleEndian.Uint64(record[40:])), int64(binary.LittleEndian.Uint64(record[48:])), at, true
		}
	}
	return 0, 0, 0, false
}

// entries calls visit with each entry of the directory.
func (z *zipArchive) entries(visit func(zipEntry) error) error {
	directory := bufio.NewReaderSize(io.NewSectionReader(z.r, z.offset, z.length), 64<<10)
	fixed := make([]byte, zipCentralSize)
	for {
		if _, err := io.ReadFull(directory, fixed); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the directory: %w", err)
		}
		if string(fixed[:4]) != zipCentral {
			return errors.New("its directory has something else in it")
		}
		le := binary.LittleEndian
		entry := zipEntry{
			flags:  le.Uint16(fixed[8:]),
			method: le.Uint16(fixed[10:]),
			packed: int64(le.Uint32(fixed[20:])),
			size:   int64(le.Uint32(fixed[24:])),
			offset: int64(le.Uint32(fixed[42:])),
		}
		rest := make([]byte, int(le.Uint16(fixed[28:]))+int(le.Uint16(fixed[30:])))
		if _, err := io.ReadFull(directory, rest); err != nil {
			return fmt.Errorf("read the directory: %w", err)
		}
		if _, err := directory.Discard(int(le.Uint16(fixed[32:]))); err != nil {
			return fmt.Errorf("read the directory: %w", err)
		}
		name, extra := rest[:le.Uint16(fixed[28:])], rest[le.Uint16(fixed[28:]):]
		entry.name = string(name)
		entry.large(extra)
		if err := visit(entry); err != nil {
			return err
		}
	}
}

// large takes sizes that need more than 32 bits from the extra field for them.
func (e *zipEntry) large(extra []byte) {
	for len(extra) >= 4 {
		id, size := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if size > len(extra) {
			return
		}
		if id == 1 {
			field := extra[:size]
			for _, number := range []*int64{&e.size, &e.packed, &e.offset} {
				if *number == 0xffffffff && len(field) >= 8 {
					*number = int64(binary.LittleEndian.Uint64(field))
					field = field[8:]
				}
			}
		}
		extra = extra[size:]
	}
}

var errOverlap = errors.New("entries that share their bytes")

// open returns the bytes of an entry as they are in the archive. Entries that
// share bytes are refused: that is how small archives unpack to huge ones.
func (z *zipArchive) open(e zipEntry) (*io.SectionReader, error) {
	if e.flags&zipEncrypted != 0 {
		return nil, errors.New("encrypted")
	}
	head := make([]byte, zipLocalSize)
	at := z.begin + e.offset
	if e.offset < 0 || e.packed < 0 || at < 0 || at > z.size {
		return nil, errors.New("outside of the archive")
	}
	if n, _ := z.r.ReadAt(head, at); n < len(head) || string(head[:4]) != zipLocal {
		return nil, errors.New("not where the directory says")
	}
	begin := at + zipLocalSize + int64(binary.LittleEndian.Uint16(head[26:])) + int64(binary.LittleEndian.Uint16(head[28:]))
	if begin > z.size || e.packed > z.size-begin {
		return nil, errors.New("outside of the archive")
	}
	is := zipRange{at, begin + e.packed}
	for _, other := range z.opened {
		if is.begin < other.end && other.begin < is.end {
			return nil, errOverlap
		}
	}
	z.opened = append(z.opened, is)
	return io.NewSectionReader(z.r, begin, e.packed), nil
}

// unpack returns what an entry holds.
func (e zipEntry) unpack(packed io.Reader) (io.Reader, error) {
	switch e.method {
	case zipStored:
		return packed, nil
	case zipDeflate:
		return flate.NewReader(packed), nil
	}
	return nil, fmt.Errorf("compressed by method %d", e.method)
}
