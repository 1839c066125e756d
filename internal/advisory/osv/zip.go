package osv

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// zip reads the advisories of a zip file, one entry of its directory at a time:
// archive/zip holds the whole directory, which can have more entries than there
// is memory, and a large export has hundreds of thousands.
func (r *reader) zip(f io.ReaderAt, size int64) error {
	damaged := func(err error) error {
		return tidewaiter.Wrap(tidewaiter.Invalid, err, "the zip file is damaged; fetch it again")
	}
	directory, count, err := zipDirectory(f, size)
	if err != nil {
		return damaged(err)
	}
	entries := bufio.NewReaderSize(io.NewSectionReader(f, directory, size-directory), 1<<16)
	unpacker := flate.NewReader(bytes.NewReader(nil))
	var text []byte
	for range count {
		e, err := readZipEntry(entries)
		if err != nil {
			return damaged(err)
		}
		if !strings.HasSuffix(strings.ToLower(e.name), ".json") {
			continue
		}
		if text, err = e.read(f, size, unpacker, text[:0]); err != nil {
			return damaged(fmt.Errorf("entry %.100q: %w", e.name, err))
		}
		if err := r.one(e.name, text); err != nil {
			return err
		}
		if cap(text) > 1<<20 {
			text = nil // one large advisory does not cost memory to the end
		}
	}
	return nil
}

var errZip = errors.New("it does not have the structure of a zip file")

// zipDirectory finds the directory, and how many entries it says to have.
func zipDirectory(f io.ReaderAt, size int64) (offset int64, count uint64, err error) {
	const end, end64Locator, end64 = 22, 20, 56
	tail := make([]byte, min(size, 65535+end))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return 0, 0, err
	}
	at := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if at < 0 || len(tail)-at < end {
		return 0, 0, errZip
	}
	record := tail[at:]
	count = uint64(binary.LittleEndian.Uint16(record[10:]))
	where := uint64(binary.LittleEndian.Uint32(record[16:]))
	if count == 0xffff || where == 0xffffffff {
		locator := make([]byte, end64Locator)
		if _, err := f.ReadAt(locator, size-int64(len(tail)-at)-end64Locator); err != nil || string(locator[:4]) != "PK\x06\x07" {
			return 0, 0, errZip
		}
		record := make([]byte, end64)
		if _, err := f.ReadAt(record, int64(binary.LittleEndian.Uint64(locator[8:])&(1<<62-1))); err != nil || string(record[:4]) != "PK\x06\x06" {
			return 0, 0, errZip
		}
		count = binary.LittleEndian.Uint64(record[32:])
		where = binary.LittleEndian.Uint64(record[48:])
	}
	if where > uint64(size) {
		return 0, 0, errZip
	}
	return int64(where), count, nil
}

// zipEntry is an entry of the directory.
type zipEntry struct {
	name             string
	method           uint16
	crc              uint32
	packed, unpacked uint64
	offset           uint64
}

func readZipEntry(r *bufio.Reader) (zipEntry, error) {
	var header [46]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return zipEntry{}, fmt.Errorf("its directory ends early: %w", err)
	}
	u16 := func(at int) uint16 { return binary.LittleEndian.Uint16(header[at:]) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(header[at:]) }
	if u32(0) != 0x02014b50 {
		return zipEntry{}, errZip
	}
	rest := make([]byte, int(u16(28))+int(u16(30))+int(u16(32)))
	if _, err := io.ReadFull(r, rest); err != nil {
		return zipEntry{}, fmt.Errorf("its directory ends early: %w", err)
	}
	e := zipEntry{
		name:     string(rest[:u16(28)]),
		method:   u16(10),
		crc:      u32(16),
		packed:   uint64(u32(20)),
		unpacked: uint64(u32(24)),
		offset:   uint64(u32(42)),
	}
	if u16(8)&1 != 0 {
		return e, errors.New("an entry is encrypted")
	}
	extra := rest[u16(28):][:u16(30)]
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if n > len(extra)-4 {
			break
		}
		if id == 1 {
			e.large(extra[4:][:n])
		}
		extra = extra[4+n:]
	}
	return e, nil
}

// large takes the sizes of the zip64 field, which has those that are missing.
func (e *zipEntry) large(field []byte) {
	for _, is := range []*uint64{&e.unpacked, &e.packed, &e.offset} {
		if *is == 0xffffffff && len(field) >= 8 {
			*is = binary.LittleEndian.Uint64(field)
			field = field[8:]
		}
	}
}

// read unpacks an entry into the memory of text.
func (e *zipEntry) read(f io.ReaderAt, size int64, unpacker io.ReadCloser, text []byte) ([]byte, error) {
	if e.unpacked > maxDocument {
		return nil, fmt.Errorf("it is larger than %d bytes", maxDocument)
	}
	if e.offset > uint64(size) || e.packed > uint64(size) {
		return nil, errZip
	}
	var header [30]byte
	if _, err := f.ReadAt(header[:], int64(e.offset)); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(header[:]) != 0x04034b50 {
		return nil, errZip
	}
	start := int64(e.offset) + 30 + int64(binary.LittleEndian.Uint16(header[26:])) + int64(binary.LittleEndian.Uint16(header[28:]))
	var content io.Reader = bufio.NewReader(io.NewSectionReader(f, start, int64(e.packed)))
	switch e.method {
	case 0:
	case 8:
		if err := unpacker.(flate.Resetter).Reset(content, nil); err != nil {
			return nil, err
		}
		content = unpacker
	default:
		return nil, fmt.Errorf("it is packed by method %d, which is neither 0 nor 8", e.method)
	}
	buffer := bytes.NewBuffer(text)
	n, err := buffer.ReadFrom(io.LimitReader(content, int64(e.unpacked)+1))
	if err != nil {
		return nil, err
	}
	if n != int64(e.unpacked) || crc32.ChecksumIEEE(buffer.Bytes()) != e.crc {
		return nil, errors.New("its content is not what the directory says")
	}
	return buffer.Bytes(), nil
}
