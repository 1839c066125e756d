package advisory

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// sorter sorts records, more than there is memory for: it writes sorted runs to
// a folder, and merges them.
type sorter struct {
	folder string
	limit  int // bytes of records in memory
	buffer []byte
	places []place
	runs   []*os.File
}

// place is where a record is in the buffer.
type place struct{ start, key, end int }

// sortMemory is what a sorter holds.
const sortMemory = 16 << 20

func newSorter(folder string) *sorter { return &sorter{folder: folder, limit: sortMemory} }

// add takes a record. Records of one key are sorted by their values.
func (s *sorter) add(key, value []byte) error {
	start := len(s.buffer)
	s.buffer = append(append(s.buffer, key...), value...)
	s.places = append(s.places, place{start, start + len(key), len(s.buffer)})
	if len(s.buffer)+24*len(s.places) < s.limit {
		return nil
	}
	return s.spill()
}

func (s *sorter) compare(a, b place) int {
	return cmp.Or(
		bytes.Compare(s.buffer[a.start:a.key], s.buffer[b.start:b.key]),
		bytes.Compare(s.buffer[a.key:a.end], s.buffer[b.key:b.end]))
}

// spill writes what is in memory to a run.
func (s *sorter) spill() error {
	slices.SortFunc(s.places, s.compare)
	f, err := unlinkedFile(s.folder)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, f)
	w := bufio.NewWriterSize(f, 1<<18)
	for _, p := range s.places {
		if err := writeRecord(w, s.buffer[p.start:p.key], s.buffer[p.key:p.end]); err != nil {
			return fmt.Errorf("write a sorted run: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write a sorted run: %w", err)
	}
	s.buffer, s.places = s.buffer[:0], s.places[:0]
	return nil
}

// each gives all records in order. The bytes are valid until the next one.
func (s *sorter) each(visit func(key, value []byte) error) error {
	if len(s.places) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.buffer, s.places = nil, nil
	var merge runs
	for _, f := range s.runs {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read a sorted run: %w", err)
		}
		r := &run{r: bufio.NewReaderSize(f, max(1<<14, min(1<<18, (8<<20)/len(s.runs))))}
		if err := r.next(); err != nil {
			return err
		}
		merge = append(merge, r)
	}
	heap.Init(&merge)
	for len(merge) > 0 {
		r := merge[0]
		if r.done {
			heap.Pop(&merge)
			continue
		}
		if err := visit(r.key, r.value); err != nil {
			return err
		}
		if err := r.next(); err != nil {
			return err
		}
		heap.Fix(&merge, 0)
	}
	return nil
}

// close gives the space of the runs back.
func (s *sorter) close() error {
	var errs []error
	for _, f := range s.runs {
		errs = append(errs, f.Close())
	}
	s.runs, s.buffer, s.places = nil, nil, nil
	return errors.Join(errs...)
}

// run is a sorted run, at one of its records.
type run struct {
	r          *bufio.Reader
	key, value []byte
	done       bool
}

func (r *run) next() (err error) {
	r.key, r.value, err = readRecord(r.r, r.key, r.value)
	if errors.Is(err, io.EOF) {
		r.done, err = true, nil
	}
	if err != nil {
		return fmt.Errorf("read a sorted run: %w", err)
	}
	return nil
}

type runs []*run

var _ heap.Interface = (*runs)(nil)

func (r runs) Len() int      { return len(r) }
func (r runs) Swap(i, j int) { r[i], r[j] = r[j], r[i] }
func (r runs) Less(i, j int) bool {
	a, b := r[i], r[j]
	if a.done || b.done {
		return a.done && !b.done
	}
	return cmp.Or(bytes.Compare(a.key, b.key), bytes.Compare(a.value, b.value)) < 0
}
func (r *runs) Push(x any) { *r = append(*r, x.(*run)) }
func (r *runs) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}

// spool is a file of records, read in the order in which they were written.
type spool struct {
	f *os.File
	w *bufio.Writer
}

func newSpool(folder string) (*spool, error) {
	f, err := unlinkedFile(folder)
	if err != nil {
		return nil, err
	}
	return &spool{f, bufio.NewWriterSize(f, 1<<18)}, nil
}

func (s *spool) add(key, value []byte) error { return writeRecord(s.w, key, value) }

func (s *spool) each(visit func(key, value []byte) error) error {
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("write a temporary file: %w", err)
	}
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read a temporary file: %w", err)
	}
	r := run{r: bufio.NewReaderSize(s.f, 1<<18)}
	for {
		if err := r.next(); err != nil || r.done {
			return err
		}
		if err := visit(r.key, r.value); err != nil {
			return err
		}
	}
}

func (s *spool) close() error { return s.f.Close() }

// unlinkedFile returns a file that is gone once it is closed, even if the
// process dies.
func unlinkedFile(folder string) (*os.File, error) {
	f, err := os.CreateTemp(folder, tempPattern)
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("make a temporary file: %w", err), f.Close())
	}
	return f, nil
}

func writeRecord(w *bufio.Writer, key, value []byte) error {
	header := binary.AppendUvarint(w.AvailableBuffer(), uint64(len(key)))
	header = binary.AppendUvarint(header, uint64(len(value)))
	if _, err := w.Write(header); err != nil {
		return err
	}
	if _, err := w.Write(key); err != nil {
		return err
	}
	_, err := w.Write(value)
	return err
}

// readRecord reads into the memory of key and value.
func readRecord(r *bufio.Reader, key, value []byte) (k, v []byte, err error) {
	keyLength, err := binary.ReadUvarint(r)
	if err != nil {
		return key, value, err
	}
	valueLength, err := binary.ReadUvarint(r)
	if err != nil {
		return key, value, fmt.Errorf("half a record: %w", io.ErrUnexpectedEOF)
	}
	key = slices.Grow(key[:0], int(keyLength))[:keyLength]
	value = slices.Grow(value[:0], int(valueLength))[:valueLength]
	if _, err = io.ReadFull(r, key); err == nil {
		_, err = io.ReadFull(r, value)
	}
	if err != nil {
		return key, value, fmt.Errorf("half a record: %w", io.ErrUnexpectedEOF)
	}
	return key, value, nil
}
