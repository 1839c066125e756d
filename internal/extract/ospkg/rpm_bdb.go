package ospkg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// bdbHashMagic stands at byte 12 of a hash database of Berkeley DB
// (https://github.com/berkeleydb/libdb/blob/master/src/dbinc/db_page.h).
const bdbHashMagic = 0x061561

const (
	bdbMeta = 72 // bytes of the metadata page that are read
	bdbPage = 26 // bytes of the header of a page

	bdbHashUnsorted = 2 // kinds of pages
	bdbOverflow     = 7
	bdbHash         = 13

	bdbKeyData = 1 // kinds of items on a page
	bdbOffPage = 3
)

// bdb reads the pages of a hash database. Which page a key belongs to does not
// matter: all are read.
type bdb struct {
	r        io.ReaderAt
	order    binary.ByteOrder
	pageSize int64
	pages    int64
	overflow int64 // pages that headers went on to, so that loops end
	header   []byte
}

// bdbHeaders returns the headers of a database: keys and values of a hash. The
// key 0 is that of rpm's counter.
func bdbHeaders(r io.ReaderAt, size int64, order binary.ByteOrder) headers {
	return func(visit func([]byte) error) error {
		meta := make([]byte, bdbMeta)
		if err := readAt(r, meta, 0); err != nil {
			return err
		}
		db := &bdb{r: r, order: order, pageSize: int64(order.Uint32(meta[20:])), pages: int64(order.Uint32(meta[32:])) + 1}
		switch {
		case db.pageSize < 512 || db.pageSize > 65536 || db.pageSize&(db.pageSize-1) != 0:
			return fmt.Errorf("pages of %d bytes", db.pageSize)
		case meta[24] != 0:
			return errors.New("an encrypted database")
		case db.pages*db.pageSize > size:
			return errors.New("it ends before its last page")
		}
		page := make([]byte, db.pageSize)
		for number := int64(1); number < db.pages; number++ {
			if err := readAt(r, page, number*db.pageSize); err != nil {
				return err
			}
			if kind := page[25]; kind != bdbHash && kind != bdbHashUnsorted {
				continue
			}
			if err := db.pairs(page, visit); err != nil {
				return err
			}
		}
		return nil
	}
}

// pairs visits the values on a page. Items are put in from the end of the page
// on, and the index, which says where each begins, from its beginning on.
func (db *bdb) pairs(page []byte, visit func([]byte) error) error {
	entries := int(db.order.Uint16(page[20:]))
	if entries%2 != 0 || bdbPage+2*entries > len(page) {
		return fmt.Errorf("a page of %d items", entries)
	}
	end := len(page)
	for i := range entries {
		begin := int(db.order.Uint16(page[bdbPage+2*i:]))
		if begin >= end || begin < bdbPage+2*entries {
			return errors.New("an item outside of its page")
		}
		item := page[begin:end]
		end = begin
		if i%2 == 0 {
			continue // a key
		}
		value, err := db.value(item)
		if err != nil {
			return err
		}
		if len(value) <= 4 {
			continue // the counter
		}
		if err := visit(value); err != nil {
			return err
		}
	}
	return nil
}

// value returns what an item holds, or the pages that it names.
func (db *bdb) value(item []byte) ([]byte, error) {
	switch item[0] {
	case bdbKeyData:
		return item[1:], nil
	case bdbOffPage:
	default:
		return nil, fmt.Errorf("an item of type %d", item[0])
	}
	if len(item) < 12 {
		return nil, errors.New("an item outside of its page")
	}
	next, length := int64(db.order.Uint32(item[4:])), int64(db.order.Uint32(item[8:]))
	if length > maxHeader {
		return nil, fmt.Errorf("a header of %d bytes", length)
	}
	db.header = db.header[:0]
	page := make([]byte, db.pageSize)
	for int64(len(db.header)) < length {
		if db.overflow++; next < 1 || next >= db.pages || db.overflow > db.pages {
			return nil, errors.New("a header that goes on nowhere")
		}
		if err := readAt(db.r, page, next*db.pageSize); err != nil {
			return nil, err
		}
		used := int(db.order.Uint16(page[22:]))
		if page[25] != bdbOverflow || used == 0 || bdbPage+used > len(page) {
			return nil, errors.New("a header that goes on nowhere")
		}
		db.header = append(db.header, page[bdbPage:bdbPage+used]...)
		next = int64(db.order.Uint32(page[16:]))
	}
	if int64(len(db.header)) != length {
		return nil, errors.New("a header of another length than is said")
	}
	return db.header, nil
}
