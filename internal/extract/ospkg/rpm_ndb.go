package ospkg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The magics of rpm's own format
// (https://github.com/rpm-software-management/rpm/blob/master/lib/backend/ndb/rpmpkg.c).
const (
	ndbMagic     = "RpmP"
	ndbSlotMagic = "Slot"
	ndbBlobMagic = "BlbS"
)

const (
	ndbPage  = 4096 // bytes of a page of slots
	ndbSlot  = 16   // bytes of a slot, and of the unit that it counts in
	ndbSlots = 2    // slots that the header takes
	ndbBlob  = 16   // bytes before a blob
)

// ndbHeaders returns the headers of a database: pages of slots, each of which
// says where the blob of a package is. Numbers are little-endian.
func ndbHeaders(r io.ReaderAt, size int64) headers {
	return func(visit func([]byte) error) error {
		head := make([]byte, ndbSlots*ndbSlot)
		if err := readAt(r, head, 0); err != nil {
			return err
		}
		if version := binary.LittleEndian.Uint32(head[4:]); version != 0 {
			return fmt.Errorf("ndb of version %d", version)
		}
		pages := int64(binary.LittleEndian.Uint32(head[12:]))
		if pages*ndbPage > size {
			return errors.New("slots outside of the file")
		}
		var header []byte
		page := make([]byte, ndbPage)
		for i := range pages {
			if err := readAt(r, page, i*ndbPage); err != nil {
				return err
			}
			for j := 0; j < ndbPage; j += ndbSlot {
				if i == 0 && j < ndbSlots*ndbSlot {
					continue
				}
				slot := page[j : j+ndbSlot]
				if string(slot[:4]) != ndbSlotMagic {
					return errors.New("a slot that is none")
				}
				if number := binary.LittleEndian.Uint32(slot[4:]); number == 0 {
					continue // free
				}
				var err error
				if header, err = ndbRead(r, size, slot, header); err != nil {
					return err
				}
				if err := visit(header); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// ndbRead reads the blob of a slot into the buffer, which may grow.
func ndbRead(r io.ReaderAt, size int64, slot, buffer []byte) ([]byte, error) {
	offset := int64(binary.LittleEndian.Uint32(slot[8:])) * ndbSlot
	head := make([]byte, ndbBlob)
	if err := readAt(r, head, offset); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(head[12:]))
	switch {
	case string(head[:4]) != ndbBlobMagic || string(head[4:8]) != string(slot[4:8]):
		return nil, errors.New("a slot without its blob")
	case length > maxHeader || offset+ndbBlob+length > size:
		return nil, fmt.Errorf("a blob of %d bytes", length)
	}
	if int64(cap(buffer)) < length {
		buffer = make([]byte, length)
	}
	buffer = buffer[:length]
	return buffer, readAt(r, buffer, offset+ndbBlob)
}
