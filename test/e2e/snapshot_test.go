//go:build linux

package e2e

import (
	"archive/tar"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// A snapshot is what is in a folder, so that a change can be seen: by path.
type snapshot map[string]fileState

// A fileState is another one when anything of the file is.
type fileState struct {
	inode, links            uint64
	born, changed           unix.StatxTimestamp // inodes are used again
	folder, regular, socket bool
}

func takeSnapshot(root string) (snapshot, error) {
	s := make(snapshot)
	err := filepath.WalkDir(root, func(file string, _ fs.DirEntry, err error) error {
		if err != nil || file == root {
			return err
		}
		var x unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, file, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &x); err != nil {
			return fmt.Errorf("stat %s: %w", file, err)
		}
		kind := uint32(x.Mode) & unix.S_IFMT
		s[strings.TrimPrefix(file, root+"/")] = fileState{
			inode: x.Ino, links: uint64(x.Nlink), born: x.Btime, changed: x.Ctime,
			folder: kind == unix.S_IFDIR, regular: kind == unix.S_IFREG, socket: kind == unix.S_IFSOCK,
		}
		return nil
	})
	return s, err
}

// replaced tells whether a folder is another one than that of its name before.
func (before snapshot) replaced(path string, now fileState) bool {
	was, ok := before[path]
	return ok && was.folder && now.folder && (was.inode != now.inode || was.born != now.born)
}

// A layerNote is what is to be known of a layer without reading it.
type layerNote struct {
	Blob, Diff v1.Hash
	Bytes      int64
	Media      types.MediaType
}

// A fileLayer is a layer in a file.
type fileLayer struct {
	layerNote
	file string
}

func (l fileLayer) Digest() (v1.Hash, error)             { return l.Blob, nil }
func (l fileLayer) DiffID() (v1.Hash, error)             { return l.Diff, nil }
func (l fileLayer) Size() (int64, error)                 { return l.Bytes, nil }
func (l fileLayer) MediaType() (types.MediaType, error)  { return l.Media, nil }
func (l fileLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.file) }
func (l fileLayer) Uncompressed() (io.ReadCloser, error) { return uncompressed(l.file) }

func uncompressed(file string) (io.ReadCloser, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	magic := make([]byte, 2)
	if _, err := io.ReadFull(f, magic); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if magic[0] == 0x1f {
		r, err := gzip.NewReader(f)
		return readCloser{r, f}, err
	}
	r, err := zstd.NewReader(f)
	return readCloser{r, f}, err
}

type readCloser struct {
	io.Reader
	io.Closer
}

// writeLayer writes what is other in a folder than it was before, as a runtime
// does: with a whiteout for what is gone, and an opaque mark in a folder that
// was made anew. What lies in WORK/layer.tar is taken instead, if a script
// wanted an archive that no runtime makes.
func writeLayer(root string, before snapshot, file, compression string) (layerNote, error) {
	out, err := os.Create(file)
	if err != nil {
		return layerNote{}, err
	}
	defer out.Close()
	blob, plain, size := sha256.New(), sha256.New(), new(counter)
	packed := io.MultiWriter(out, blob, size)
	note := layerNote{Media: types.DockerLayer}
	var compressor io.WriteCloser
	if compression == "zstd" {
		note.Media = types.OCILayerZStd
		compressor, err = zstd.NewWriter(packed, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	} else {
		compressor, err = gzip.NewWriterLevel(packed, gzip.BestSpeed)
	}
	if err != nil {
		return layerNote{}, err
	}
	to := io.MultiWriter(compressor, plain)
	own := filepath.Join(filepath.Dir(root), "work", "layer.tar")
	if archive, openErr := os.Open(own); openErr == nil {
		_, err = io.Copy(to, archive)
		err = errors.Join(err, archive.Close(), os.Remove(own))
	} else {
		err = writeChanges(to, root, before)
	}
	if err = errors.Join(err, compressor.Close()); err != nil {
		return layerNote{}, err
	}
	note.Bytes = int64(*size)
	note.Blob = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(blob.Sum(nil))}
	note.Diff = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(plain.Sum(nil))}
	return note, nil
}

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// writeChanges writes the archive of a layer.
func writeChanges(to io.Writer, root string, before snapshot) error {
	now, err := takeSnapshot(root)
	if err != nil {
		return err
	}
	var paths []string // "path" of what is there, "path\x00" of what is gone
	for path, state := range now {
		if was, ok := before[path]; (!ok || was != state) && !state.socket {
			paths = append(paths, path)
		}
	}
	for path := range before {
		parent := filepath.Dir(path)
		folder := now[parent].folder || parent == "."
		if _, ok := now[path]; !ok && folder && !before.replaced(parent, now[parent]) {
			paths = append(paths, path+"\x00")
		}
	}
	slices.SortFunc(paths, func(a, b string) int {
		return cmp.Compare(strings.ReplaceAll(a, "/", "\x01"), strings.ReplaceAll(b, "/", "\x01"))
	})
	w := tar.NewWriter(to)
	linked := make(map[uint64]string)
	for _, path := range paths {
		if gone, ok := strings.CutSuffix(path, "\x00"); ok {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.Join(filepath.Dir(gone), ".wh."+filepath.Base(gone)), Mode: 0o600})
		} else {
			err = writeEntry(w, root, path, now[path], linked)
		}
		if err == nil && before.replaced(path, now[path]) {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path + "/.wh..wh..opq", Mode: 0o600})
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return w.Close()
}

func writeEntry(w *tar.Writer, root, path string, state fileState, linked map[uint64]string) error {
	file := filepath.Join(root, path)
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	target := ""
	if info.Mode().Type() == fs.ModeSymlink {
		if target, err = os.Readlink(file); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name, header.Uname, header.Gname = path, "", ""
	if state.folder {
		header.Name += "/"
	}
	if state.regular && state.links > 1 {
		if first, ok := linked[state.inode]; ok {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
			return w.WriteHeader(header)
		}
		linked[state.inode] = path
	}
	if err := w.WriteHeader(header); err != nil || !state.regular {
		return err
	}
	content, err := os.Open(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, content)
	return errors.Join(err, content.Close())
}

// unpackImage puts the files of an image into a folder.
func unpackImage(image v1.Image, root string) error {
	if layers, err := image.Layers(); err != nil || len(layers) == 0 {
		return err
	}
	content := mutate.Extract(image)
	defer content.Close()
	cmd := command(nil, "/bin/tar", "--extract", "--preserve-permissions", "--numeric-owner", "--directory", root)
	cmd.Stdin = content
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("unpack an image: %w: %s", err, said)
	}
	return nil
}

func TestSnapshotSeesChanges(t *testing.T) {
	need(t)
	root := filepath.Join(t.TempDir(), "root")
	shell := func(script string) {
		t.Helper()
		cmd := exec.Command("/bin/sh", "-ec", script)
		cmd.Dir = root
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	shell(`mkdir -p keep anew gone/below; echo 1 >keep/same; echo 1 >keep/other; echo 1 >keep/removed; echo 1 >anew/old; echo 1 >gone/below/x; echo 1 >linked`)
	before, err := takeSnapshot(root)
	if err != nil {
		t.Fatal(err)
	}
	shell(`echo 2 >keep/other; rm keep/removed; rm -r anew gone; mkdir anew; echo 2 >anew/new; ln linked link; ln -s link sym; mkdir -p "new folder"`)
	var layer strings.Builder
	if err := writeChanges(&layer, root, before); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(strings.NewReader(layer.String())); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name+map[bool]string{true: " -> " + h.Linkname}[h.Linkname != ""])
	}
	want := []string{".wh.gone", "anew/", "anew/.wh..wh..opq", "anew/new", "keep/", "keep/.wh.removed", "keep/other", "link", "linked -> link", "new folder/", "sym -> link"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the layer has %q, want %q", got, want)
	}
}
