package extract

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// maxCuts is how many cuts a layer gets; one more stands for the rest.
const maxCuts = 1000

// modeBits are those of a file's mode that are facts.
const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// A layerCut ends the walk with a cut of the layer.
type layerCut struct{ tidewaiter.Cut }

func (e *layerCut) Error() string { return e.Reason }

// tooLarge returns the cut of a layer that is too large in some way.
func tooLarge(format string, args ...any) error {
	return &layerCut{tidewaiter.Cut{Code: CutLayerSize, Reason: fmt.Sprintf(format, args...)}}
}

// entryCut is a cut, and the entry that it is about, or -1.
type entryCut struct {
	entry int
	tidewaiter.Cut
}

// A walker goes through a tar archive once.
type walker struct {
	limits Limits
	store  *store
	pool   *pool
	// pick says which extractors are to see the content of an entry.
	pick func(entry int, f *tidewaiter.File) []want
	sum  hash.Hash // of one file; nil: contents are not hashed

	entries   []tidewaiter.File // in the order of the archive
	whiteouts []string
	opaque    []string
	cuts      []entryCut
	unread    map[int]tidewaiter.Cut // wanted contents that could not be held
	text      int64                  // bytes of paths and link targets
	buf       []byte
}

func newWalker(l Limits, s *store, p *pool) *walker {
	return &walker{limits: l, store: s, pool: p, unread: make(map[int]tidewaiter.Cut), buf: make([]byte, 128<<10)}
}

// walk reads an archive to its end. An error is a *layerCut, the context's, or
// that of the archive.
func (w *walker) walk(ctx context.Context, r io.Reader) error {
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return err
		}
		if n >= w.limits.Entries {
			return tooLarge("the layer has more than %d entries", w.limits.Entries)
		}
		if err := w.entry(ctx, tr, h); err != nil {
			return err
		}
	}
}

// entry looks at one entry. Names are cloned: the tar reader's are parts of
// headers of up to a megabyte.
func (w *walker) entry(ctx context.Context, tr *tar.Reader, h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	clean, problem := w.limits.cleanPath(h.Name)
	if problem != "" {
		w.cut(-1, h.Name, CutPath, problem)
		return nil
	}
	m, about := readMark(clean)
	switch {
	case clean == "":
		if h.Typeflag != tar.TypeDir {
			w.cut(-1, "", CutPath, "the root of the image is no folder")
		}
		return nil
	case m == badMark:
		w.cut(-1, clean, CutPath, "a whiteout of nothing")
		return nil
	}
	if w.text += int64(len(clean) + len(h.Linkname)); w.text > w.limits.TextBytes {
		return tooLarge("the paths of the layer have more than %d bytes", w.limits.TextBytes)
	}
	switch m {
	case whiteout:
		w.whiteouts = append(w.whiteouts, strings.Clone(about))
		return nil
	case opaque:
		w.opaque = append(w.opaque, strings.Clone(about))
		return nil
	case aufs:
		if !strings.HasPrefix(clean, aufsPrefix) {
			return nil
		} // else it may be what hard links point to
	}
	f := tidewaiter.File{
		Path: strings.Clone(clean), Type: typeOf(h), Mode: h.FileInfo().Mode() & modeBits,
		UID: h.Uid, GID: h.Gid, Modified: modified(h.ModTime),
	}
	switch f.Type {
	case "":
		w.cut(-1, clean, CutEntry, "an entry of a kind that no image has")
		return nil
	case tidewaiter.RegularFile:
		return w.regular(ctx, tr, h, f)
	case tidewaiter.SymbolicLink:
		if len(h.Linkname) > w.limits.PathBytes {
			w.cut(-1, clean, CutPath, fmt.Sprintf("the target of a link is longer than %d bytes", w.limits.PathBytes))
			return nil
		}
		f.Link = strings.Clone(h.Linkname)
	case tidewaiter.HardLink:
		target, problem := w.limits.cleanPath(h.Linkname)
		if problem == "" && target == "" {
			problem = "a hard link to the root of the image"
		}
		if problem != "" {
			w.cut(-1, clean, CutPath, "the target of a hard link: "+problem)
			return nil
		}
		f.Link = strings.Clone(target)
	}
	w.entries = append(w.entries, f)
	return nil
}

// regular hashes a file, and holds it for the extractors that want it.
func (w *walker) regular(ctx context.Context, tr *tar.Reader, h *tar.Header, f tidewaiter.File) error {
	f.Size = h.Size
	n := len(w.entries)
	w.entries = append(w.entries, f)
	if isSparse(h) {
		w.refuse(n, tidewaiter.Cut{Code: CutEntry, Reason: "a sparse file is not looked into"})
		return nil
	}
	wants := w.pick(n, &f)
	if w.sum == nil && len(wants) == 0 {
		return nil // Next skips it
	}
	var content *held
	if len(wants) > 0 {
		var err error
		if content, err = w.store.hold(ctx, f.Size); err != nil {
			if !w.refused(n, err) {
				return err
			}
		}
	}
	err := w.read(tr, n, &content)
	if err == nil && content != nil {
		return w.pool.add(ctx, job{content: n, mode: f.Mode, size: f.Size, held: content, wants: wants})
	}
	if content != nil {
		content.release()
	}
	if err != nil {
		w.entries = w.entries[:n] // half a file is none
		w.cut(-1, f.Path, CutEntry, "the file was not read to its end")
	}
	return err
}

// read reads the content of a regular file, which is the entry n.
func (w *walker) read(tr *tar.Reader, n int, content **held) error {
	if w.sum != nil {
		w.sum.Reset()
	}
	for {
		k, err := tr.Read(w.buf)
		if w.sum != nil {
			w.sum.Write(w.buf[:k])
		}
		if *content != nil && k > 0 {
			if err := (*content).write(w.buf[:k]); err != nil {
				(*content).release()
				*content = nil
				if !w.refused(n, err) {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if w.sum != nil {
		w.entries[n].SHA256 = digestOf(w.sum)
	}
	return nil
}

// refused makes a cut of an error that says why a file is not held.
func (w *walker) refused(n int, err error) bool {
	why, ok := errors.AsType[errHold](err)
	if ok {
		w.refuse(n, tidewaiter.Cut{Code: CutFileSize, Reason: why.reason})
	}
	return ok
}

// refuse makes a cut of an entry whose content nobody will see.
func (w *walker) refuse(n int, c tidewaiter.Cut) {
	w.unread[n] = c
	w.cut(n, w.entries[n].Path, c.Code, c.Reason)
}

func (w *walker) cut(entry int, path, code, reason string) {
	if len(path) > w.limits.PathBytes {
		path = path[:min(w.limits.PathBytes, maxReason)] + "…"
	}
	if len(w.cuts) <= maxCuts {
		w.cuts = append(w.cuts, entryCut{entry, tidewaiter.Cut{Path: strings.Clone(path), Code: code, Reason: reason}})
	}
}

// digestOf returns the digest of what a sha256 hash has seen.
func digestOf(h hash.Hash) tidewaiter.Digest {
	const prefix = "sha256:"
	var sum [sha256.Size]byte
	var text [len(prefix) + 2*sha256.Size]byte
	copy(text[:], prefix)
	hex.Encode(text[len(prefix):], h.Sum(sum[:0]))
	return tidewaiter.Digest(text[:])
}

// modified bounds a time to what can be written down.
func modified(t time.Time) time.Time {
	if s := t.Unix(); s > 0 && s <= maxTime {
		return time.Unix(s, 0).UTC()
	}
	return time.Time{}
}

// maxTime is the last second of the year 9999.
const maxTime = 253402300799
