package pull

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// Limits of an archive's own form. What is in its layers, package extract bounds.
const (
	maxMembers   = 200_000  // of a tar archive
	maxNames     = 32 << 20 // bytes of all their names and link targets
	maxLinks     = 10       // links that lead to links
	maxControl   = 4 << 20  // bytes of index.json and manifest.json
	maxImages    = 1_000    // in one archive
	maxImageTags = 1_000    // names of one image
)

// files are what an archive or a folder holds, by names that are
// slash-separated, clean, and lead nowhere outside.
type files interface {
	// open returns a file and its size, or an error that is NotFound or Invalid.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// local tells whether a name stays inside of where it is looked up.
func local(name string) bool {
	return name != "" && len(name) <= 4096 && fs.ValidPath(name) && name != "." && !strings.ContainsAny(name, "\\\x00")
}

// read returns a file of at most so many bytes.
func read(f files, name string, limit int64) ([]byte, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read
	if size > limit {
		return nil, tidewaiter.Errorf(tidewaiter.TooLarge, "%s has more than %d bytes, which makes no sense", shown(name), limit)
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "%s cannot be read", shown(name))
	}
	if int64(len(b)) != size {
		return nil, invalid("%s changes while it is read", shown(name))
	}
	return b, nil
}

// has tells whether there is a file of a name.
func has(f files, name string) (bool, error) {
	r, _, err := f.open(name)
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, r.Close()
}

// folder is a folder of this machine. Links in it that lead outside are refused.
type folder struct{ root *os.Root }

func (f folder) Close() error { return f.root.Close() }

func (f folder) open(name string) (io.ReadCloser, int64, error) {
	if !local(name) {
		return nil, 0, invalid("%s names a file outside of the folder", shown(name))
	}
	info, err := f.root.Stat(name) // before it is opened: opening a FIFO would wait
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, notFound("the folder has no file %s", shown(name))
	case err != nil:
		return nil, 0, tidewaiter.Wrap(tidewaiter.Invalid, err, "%s cannot be read, or is a link that leads out of the folder", shown(name))
	case !info.Mode().IsRegular():
		return nil, 0, invalid("%s is no regular file", shown(name))
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, 0, tidewaiter.Wrap(tidewaiter.Invalid, err, "%s cannot be read", shown(name))
	}
	return file, info.Size(), nil
}

// member is a file of a tar archive, or a link to one.
type member struct {
	offset, size int64
	link         string // the name of another member, or ""
	again        bool   // the archive has several of this name
}

// archive is a tar archive on this machine: its members are read where they are.
type archive struct {
	file    io.ReaderAt
	close   func() error
	members map[string]member
}

func (a *archive) Close() error { return a.close() }

// newArchive reads the table of contents of a tar archive.
func newArchive(ctx context.Context, file io.ReadSeeker, at io.ReaderAt) (*archive, error) {
	if err := checkMagic(at); err != nil {
		return nil, err
	}
	a := &archive{file: at, members: make(map[string]member), close: func() error { return nil }}
	r := tar.NewReader(file)
	names := 0
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "the archive is no tar archive, or damaged, or cut off")
		}
		names += len(h.Name) + len(h.Linkname)
		if n >= maxMembers || names > maxNames {
			return nil, tidewaiter.Errorf(tidewaiter.TooLarge, "the archive has more than %d members, or %d bytes of names", maxMembers, maxNames)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		offset, err := file.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "the archive cannot be read")
		}
		a.add(h, offset)
	}
}

// add notes a member. What could only be read by an unpacked tree, or stands
// outside of it, is not there.
func (a *archive) add(h *tar.Header, offset int64) {
	name := path.Clean(h.Name)
	if !local(name) {
		return
	}
	m := member{offset: offset, size: h.Size}
	switch h.Typeflag {
	case tar.TypeReg:
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				return
			}
		}
	case tar.TypeSymlink:
		if m.link = h.Linkname; !path.IsAbs(m.link) { // else it leads outside
			m.link = path.Join(path.Dir(name), m.link)
		}
	case tar.TypeLink:
		m.link = path.Clean(h.Linkname)
	default:
		return
	}
	_, m.again = a.members[name]
	a.members[name] = m
}

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	at := name
	for range maxLinks {
		if !local(at) {
			return nil, 0, invalid("%s names a file outside of the archive", shown(name))
		}
		m, ok := a.members[at]
		switch {
		case !ok:
			return nil, 0, notFound("the archive has no file %s", shown(name))
		case m.again:
			return nil, 0, invalid("the archive has several files %s; it means different things to different programs", shown(at))
		case m.link == "":
			return io.NopCloser(io.NewSectionReader(a.file, m.offset, m.size)), m.size, nil
		}
		at = m.link
	}
	return nil, 0, invalid("%s is a link to a link to a link without end", shown(name))
}

// checkMagic says what to do about an archive that is compressed as a whole.
func checkMagic(file io.ReaderAt) error {
	head := make([]byte, 6)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return tidewaiter.Wrap(tidewaiter.Invalid, err, "the archive cannot be read")
	}
	head = head[:n]
	for _, kind := range []struct{ magic, name, fix string }{
		{"\x1f\x8b", "gzip", "gunzip"}, {"\x28\xb5\x2f\xfd", "zstd", "unzstd"}, {"BZh", "bzip2", "bunzip2"}, {"\xfd7zXZ\x00", "xz", "unxz"}, {"PK\x03\x04", "zip", "unzip"},
	} {
		if bytes.HasPrefix(head, []byte(kind.magic)) {
			return invalid("the archive is compressed (%s) as a whole; decompress it first, with %s", kind.name, kind.fix)
		}
	}
	return nil
}
