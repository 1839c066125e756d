package codec

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter"
)

// Limits bound the facts that are read. A zero field stands for its default.
// They must be no smaller than those of package extract that the facts were
// made with.
type Limits struct {
	Files     int   // files, whiteouts and opaque folders, each: 500,000
	Packages  int   // 100,000
	TextBytes int64 // of all texts together: 128 MiB
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Files:     cmp.Or(l.Files, 500_000),
		Packages:  cmp.Or(l.Packages, 100_000),
		TextBytes: cmp.Or(l.TextBytes, 128<<20),
	}
}

const (
	maxPath  = 16 << 10 // bytes of a path or of the target of a link
	maxText  = 4 << 10  // bytes of any other text
	maxList  = 1 << 10  // elements of a list within an element, or of systems and notes
	maxCuts  = 10_000
	maxTime  = 253402300799 // the last second of the year 9999
	maxBytes = 1 << 50      // of a layer or a file
)

// Decode reads facts. They are then consistent: paths are clean and in order,
// packages and systems belong to files, texts but paths are UTF-8 without NUL.
// Whether they are true is another matter. Errors of reading r are passed on;
// all others are of kind Invalid.
func Decode(r io.Reader, l Limits) (tidewaiter.LayerFacts, error) {
	d := decoder{limits: l.withDefaults()}
	d.text = d.limits.TextBytes
	watched := &watch{Reader: r}
	f, err := d.read(watched)
	switch {
	case watched.err != nil:
		return tidewaiter.LayerFacts{}, watched.err
	case err != nil:
		return tidewaiter.LayerFacts{}, tidewaiter.Wrap(tidewaiter.Invalid, err, "the facts of a layer cannot be read; server and component may be of different versions")
	}
	return f, nil
}

// watch keeps the error of a reader.
type watch struct {
	io.Reader
	err error
}

func (w *watch) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// A bad is what is wrong with facts.
type bad string

func (b bad) Error() string { return string(b) }

// A decoder reads until the first error, which it then keeps.
type decoder struct {
	limits Limits
	r      *bufio.Reader
	text   int64 // bytes that texts may still have
	err    error
	buf    [maxPath]byte
}

func (d *decoder) read(r io.Reader) (f tidewaiter.LayerFacts, err error) {
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != magic {
		return f, bad("they are of an unknown form")
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(window))
	if err != nil {
		return f, err
	}
	defer z.Close()
	d.r = bufio.NewReaderSize(z, 64<<10)
	d.facts(&f)
	if d.err == nil {
		if _, err := d.r.ReadByte(); !errors.Is(err, io.EOF) {
			return f, bad("something follows them")
		}
	}
	return f, d.err
}

func (d *decoder) fail(problem bad) {
	if d.err == nil {
		d.err = problem
	}
}

func (d *decoder) uint(limit uint64) uint64 {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(d.r)
	if err != nil {
		d.err = err
		return 0
	}
	if n > limit {
		d.fail("a number is out of range")
		return 0
	}
	return n
}

func (d *decoder) int(low, high int64) int64 {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadVarint(d.r)
	if err != nil {
		d.err = err
		return 0
	}
	if n < low || n > high {
		d.fail("a number is out of range")
		return 0
	}
	return n
}

func (d *decoder) bool() bool { return d.uint(1) == 1 }

// bytes reads n bytes, after those of the buffer that are kept.
func (d *decoder) bytes(keep, limit int) []byte {
	n := int(d.uint(uint64(max(0, limit-keep))))
	if d.err != nil {
		return nil
	}
	if d.text -= int64(keep + n); d.text < 0 {
		d.fail("they have too much text")
		return nil
	}
	if _, err := io.ReadFull(d.r, d.buf[keep:keep+n]); err != nil {
		d.err = err
		return nil
	}
	return d.buf[:keep+n]
}

// words reads a text for people or programs.
func (d *decoder) words() string {
	b := d.bytes(0, maxText)
	if !utf8.Valid(b) || slices.Contains(b, 0) {
		d.fail("a text is no UTF-8, or has a NUL in it")
		return ""
	}
	return string(b)
}

// list reads texts. Each takes room by itself, so that an endless number of
// empty ones does not come for nothing.
func (d *decoder) list() (list []string) {
	for n := d.uint(maxList); n > 0 && d.err == nil; n-- {
		d.text -= 16
		list = append(list, d.words())
	}
	return list
}

// isClean tells whether a path is as all are in facts.
func isClean(p string) bool {
	return p != "" && p != "." && p != ".." && p[0] != '/' && !strings.HasPrefix(p, "../") &&
		path.Clean(p) == p && strings.IndexByte(p, 0) < 0
}

// paths reads paths in order, as many as there are, and hands each over. The
// root, whose path is empty, may be the first.
func (d *decoder) paths(n uint64, root bool, each func(string)) {
	before := ""
	for i := range n {
		shared := int(d.uint(uint64(len(before))))
		copy(d.buf[:], before[:shared])
		p := string(d.bytes(shared, maxPath))
		switch {
		case d.err != nil:
			return
		case !isClean(p) && !(root && p == "" && i == 0):
			d.fail("a path is not clean")
			return
		case i > 0 && tidewaiter.ComparePaths(before, p) >= 0:
			d.fail("paths are not in order")
			return
		}
		each(p)
		before = p
	}
}

// readColumn reads one column of a list.
func readColumn[T any](d *decoder, list []T, read func(*T)) {
	for i := range list {
		if d.err != nil {
			return
		}
		read(&list[i])
	}
}

func (d *decoder) facts(f *tidewaiter.LayerFacts) {
	f.DiffID = d.digest()
	f.Verified = d.bool()
	f.Extractors = d.words()
	f.Size = d.int(0, maxBytes)
	d.files(f)
	most := uint64(d.limits.Files)
	d.paths(d.uint(most), false, func(p string) { f.Whiteouts = append(f.Whiteouts, p) })
	d.paths(d.uint(most), true, func(p string) { f.Opaque = append(f.Opaque, p) })
	d.packages(f)
	d.systems(f)
	for n := d.uint(maxCuts); n > 0 && d.err == nil; n-- {
		f.Cuts = append(f.Cuts, tidewaiter.Cut{})
	}
	readColumn(d, f.Cuts, func(c *tidewaiter.Cut) { c.Path = string(d.bytes(0, maxPath)) })
	readColumn(d, f.Cuts, func(c *tidewaiter.Cut) {
		if c.Code = d.words(); c.Code == "" {
			d.fail("a cut has no code")
		}
	})
	readColumn(d, f.Cuts, func(c *tidewaiter.Cut) { c.Reason = d.words() })
	f.Notes = d.list()
}

func (d *decoder) digest() tidewaiter.Digest {
	digest, err := tidewaiter.ParseDigest(d.words())
	if err != nil {
		d.fail("a digest is none")
	}
	return digest
}

func (d *decoder) files(f *tidewaiter.LayerFacts) {
	d.paths(d.uint(uint64(d.limits.Files)), false, func(p string) {
		f.Files = append(f.Files, tidewaiter.File{Path: p})
	})
	types := fileTypes()
	readColumn(d, f.Files, func(f *tidewaiter.File) { f.Type = types[d.uint(uint64(len(types)-1))] })
	readColumn(d, f.Files, func(f *tidewaiter.File) {
		if f.Mode = fs.FileMode(d.uint(math.MaxUint32)); f.Mode&^modeBits != 0 {
			d.fail("a mode has bits that are none")
		}
	})
	readColumn(d, f.Files, func(f *tidewaiter.File) { f.UID = int(d.int(math.MinInt64, math.MaxInt64)) })
	readColumn(d, f.Files, func(f *tidewaiter.File) { f.GID = int(d.int(math.MinInt64, math.MaxInt64)) })
	readColumn(d, f.Files, func(f *tidewaiter.File) { f.Size = d.int(0, math.MaxInt64) })
	var s int64
	readColumn(d, f.Files, func(f *tidewaiter.File) {
		s += d.int(-maxTime, maxTime)
		if s < 0 || s > maxTime {
			d.fail("a time is out of range")
			return
		}
		f.Modified = unix(s)
	})
	readColumn(d, f.Files, func(f *tidewaiter.File) {
		f.Link = string(d.bytes(0, maxPath))
		if f.Type == tidewaiter.HardLink && d.err == nil && !isClean(f.Link) {
			d.fail("the target of a hard link is not clean")
		}
	})
	readColumn(d, f.Files, func(f *tidewaiter.File) { f.Owned = d.bool() })
	readColumn(d, f.Files, func(f *tidewaiter.File) {
		if d.bool() {
			f.SHA256 = "-" // for now
		}
	})
	readColumn(d, f.Files, func(f *tidewaiter.File) {
		if f.SHA256 == "" {
			return
		}
		if f.Type != tidewaiter.RegularFile && f.Type != tidewaiter.HardLink {
			d.fail("what has no content has a digest")
			return
		}
		if _, err := io.ReadFull(d.r, d.buf[:32]); err != nil {
			d.err = err
			return
		}
		f.SHA256 = tidewaiter.Digest("sha256:" + hex.EncodeToString(d.buf[:32]))
	})
}

// place reads which file something is of, and returns its path.
func (d *decoder) place(files []tidewaiter.File) string {
	i := d.uint(math.MaxInt32)
	if d.err != nil {
		return ""
	}
	if i >= uint64(len(files)) || files[i].Type != tidewaiter.RegularFile && files[i].Type != tidewaiter.HardLink {
		d.fail("a package or a system is of no file")
		return ""
	}
	return files[i].Path
}

func (d *decoder) packages(f *tidewaiter.LayerFacts) {
	for n := d.uint(uint64(d.limits.Packages)); n > 0 && d.err == nil; n-- {
		f.Packages = append(f.Packages, tidewaiter.Package{Path: d.place(f.Files)})
	}
	for _, field := range packageFields() {
		last := ""
		readColumn(d, f.Packages, func(p *tidewaiter.Package) {
			if s := d.words(); s != last { // neighbours share most of their texts
				last = s
			}
			*field(p) = last
		})
	}
	readColumn(d, f.Packages, func(p *tidewaiter.Package) {
		if p.Name == "" {
			d.fail("a package has no name")
		}
		p.Licenses = d.list()
	})
	readColumn(d, f.Packages, func(p *tidewaiter.Package) { p.Inside = d.list() })
}

func (d *decoder) systems(f *tidewaiter.LayerFacts) {
	for n := d.uint(maxList); n > 0 && d.err == nil; n-- {
		s := tidewaiter.System{Path: d.place(f.Files)}
		for _, field := range systemFields() {
			*field(&s) = d.words()
		}
		s.IDLike = d.list()
		f.Systems = append(f.Systems, s)
	}
}
