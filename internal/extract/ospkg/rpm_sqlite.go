package ospkg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// sqliteMagic begins a database (https://www.sqlite.org/fileformat2.html, which
// explains all that follows).
const sqliteMagic = "SQLite format 3\x00"

const (
	sqliteHeader   = 100 // bytes before the first page's B-tree
	sqliteInterior = 5   // kind of page: children of a table's B-tree
	sqliteLeaf     = 13  // kind of page: rows of a table's B-tree
	sqliteDepth    = 20
)

// sqlite reads the tables of a database, one page at a time. There is no need
// for more of SQL than that, and no file on a disk that SQLite could open.
type sqlite struct {
	r        io.ReaderAt
	pages    int64
	pageSize int64
	usable   int64 // bytes of a page, less those reserved
	visited  int64 // pages, so that a loop in the tree ends
	payload  []byte
}

// sqliteHeaders returns the headers in the table that rpm keeps:
// Packages(hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL).
func sqliteHeaders(r io.ReaderAt, size int64) headers {
	return func(visit func([]byte) error) error {
		db, err := openSQLite(r, size)
		if err != nil {
			return err
		}
		root := int64(0)
		err = db.rows(1, 0, func(row []sqliteValue) error {
			// The schema: type, name, table, root page, SQL.
			if len(row) >= 4 && string(row[0].bytes) == "table" && string(row[1].bytes) == "Packages" {
				root = row[3].integer
			}
			return nil
		})
		if err != nil {
			return err
		}
		if root == 0 {
			return errors.New("the database has no table Packages")
		}
		return db.rows(root, 0, func(row []sqliteValue) error {
			if len(row) < 2 {
				return errors.New("a row of the table Packages has no blob")
			}
			return visit(row[1].bytes)
		})
	}
}

func openSQLite(r io.ReaderAt, size int64) (*sqlite, error) {
	header := make([]byte, sqliteHeader)
	if err := readAt(r, header, 0); err != nil {
		return nil, err
	}
	pageSize := int64(binary.BigEndian.Uint16(header[16:]))
	if pageSize == 1 {
		pageSize = 65536
	}
	if pageSize < 512 || pageSize&(pageSize-1) != 0 {
		return nil, fmt.Errorf("a database with pages of %d bytes", pageSize)
	}
	usable := pageSize - int64(header[20])
	if usable < 480 {
		return nil, fmt.Errorf("a database that uses %d bytes of a page", usable)
	}
	return &sqlite{r: r, pages: size / pageSize, pageSize: pageSize, usable: usable}, nil
}

// rows visits the rows of the B-tree below a page, in order.
func (db *sqlite) rows(number int64, depth int, visit func([]sqliteValue) error) error {
	if depth > sqliteDepth {
		return fmt.Errorf("a tree of more than %d levels", sqliteDepth)
	}
	if db.visited++; db.visited > 2*db.pages+2 {
		return errors.New("a tree that contains itself")
	}
	page, err := db.page(number)
	if err != nil {
		return err
	}
	head := page
	if number == 1 {
		head = page[sqliteHeader:]
	}
	kind, cells := head[0], int(binary.BigEndian.Uint16(head[3:]))
	pointers := head[8:]
	if kind == sqliteInterior {
		pointers = head[12:]
	} else if kind != sqliteLeaf {
		return fmt.Errorf("page %d is no part of a table", number)
	}
	if 2*cells > len(pointers) {
		return fmt.Errorf("page %d has %d cells", number, cells)
	}
	for i := range cells {
		offset := int64(binary.BigEndian.Uint16(pointers[2*i:]))
		if offset+4 > db.usable {
			return fmt.Errorf("page %d has a cell outside of it", number)
		}
		if kind == sqliteInterior {
			err = db.rows(int64(binary.BigEndian.Uint32(page[offset:])), depth+1, visit)
		} else {
			err = db.row(page[offset:db.usable], visit)
		}
		if err != nil {
			return err
		}
	}
	if kind == sqliteInterior {
		return db.rows(int64(binary.BigEndian.Uint32(head[8:])), depth+1, visit)
	}
	return nil
}

func (db *sqlite) page(number int64) ([]byte, error) {
	if number < 1 || number > db.pages {
		return nil, fmt.Errorf("page %d is outside of the file", number)
	}
	page := make([]byte, db.pageSize)
	return page, readAt(db.r, page, (number-1)*db.pageSize)
}

// row reads the cell of a leaf: size of the payload, row id, the payload's
// beginning, and the page on which it goes on.
func (db *sqlite) row(cell []byte, visit func([]sqliteValue) error) error {
	size, cell, err := sqliteVarint(cell)
	if err != nil {
		return err
	}
	_, cell, err = sqliteVarint(cell)
	if err != nil {
		return err
	}
	if size < 0 || size > maxHeader {
		return fmt.Errorf("a row of %d bytes", size)
	}
	local := size
	if most := db.usable - 35; size > most {
		least := (db.usable-12)*32/255 - 23
		if local = least + (size-least)%(db.usable-4); local > most {
			local = least
		}
	}
	if local > int64(len(cell)) {
		return errors.New("a row outside of its page")
	}
	db.payload = append(db.payload[:0], cell[:local]...)
	if local < size {
		if local+4 > int64(len(cell)) {
			return errors.New("a row outside of its page")
		}
		if err := db.overflow(binary.BigEndian.Uint32(cell[local:]), size); err != nil {
			return err
		}
	}
	row, err := sqliteRecord(db.payload)
	if err != nil {
		return err
	}
	return visit(row)
}

// overflow appends what other pages hold of a payload, up to its size. Each
// page begins with the number of the next.
func (db *sqlite) overflow(next uint32, size int64) error {
	for int64(len(db.payload)) < size {
		page, err := db.page(int64(next))
		if err != nil {
			return err
		}
		next = binary.BigEndian.Uint32(page)
		rest := min(size-int64(len(db.payload)), db.usable-4)
		db.payload = append(db.payload, page[4:4+rest]...)
	}
	return nil
}

// sqliteValue is a column of a row: a number, or the bytes of text or a blob.
type sqliteValue struct {
	integer int64
	bytes   []byte
}

// sqliteRecord reads a record: the size of its header, the type of each
// column, the columns.
func sqliteRecord(record []byte) ([]sqliteValue, error) {
	size, types, err := sqliteVarint(record)
	if err != nil {
		return nil, err
	}
	before := int64(len(record) - len(types))
	if size < before || size > int64(len(record)) {
		return nil, errors.New("a record whose header is outside of it")
	}
	types, values := types[:size-before], record[size:]
	var row []sqliteValue
	for len(types) > 0 && len(row) < 16 {
		var kind int64
		if kind, types, err = sqliteVarint(types); err != nil {
			return nil, err
		}
		var width int64
		switch {
		case kind < 0:
			return nil, errors.New("a column of no type")
		case kind >= 12:
			width = (kind - 12) / 2
		case kind >= 8:
			width = 0 // the numbers 0 and 1
		default:
			width = []int64{0, 1, 2, 3, 4, 6, 8, 8}[kind]
		}
		if width > int64(len(values)) {
			return nil, errors.New("a column outside of its record")
		}
		var value sqliteValue
		if kind >= 12 {
			value.bytes = values[:width]
		} else {
			value.integer = bigEndian(values[:width])
		}
		row = append(row, value)
		values = values[width:]
	}
	return slices.Clip(row), nil
}

// bigEndian reads a number of up to eight bytes. Root pages are positive.
func bigEndian(b []byte) int64 {
	n := int64(0)
	for _, c := range b {
		n = n<<8 | int64(c)
	}
	return n
}

// sqliteVarint reads a number of one to nine bytes, seven bits each but for the
// ninth, and returns what follows.
func sqliteVarint(b []byte) (int64, []byte, error) {
	n := uint64(0)
	for i, c := range b {
		if i == 8 {
			return int64(n<<8 | uint64(c)), b[9:], nil
		}
		n = n<<7 | uint64(c&0x7f)
		if c&0x80 == 0 {
			return int64(n), b[i+1:], nil
		}
	}
	return 0, nil, errors.New("a number without an end")
}
