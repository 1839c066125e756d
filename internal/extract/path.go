package extract

import (
	"archive/tar"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
)

// The names by which a layer takes away what lies beneath it
// (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh." // what AUFS kept for itself
)

// cleanPath returns the path of an entry as runtimes read it: absolute or not,
// it lies within the image. The path of the root is "". problem says why no
// file can have it.
func (l Limits) cleanPath(name string) (clean, problem string) {
	if len(name) > l.PathBytes {
		return "", fmt.Sprintf("a path is longer than %d bytes", l.PathBytes)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", "a path has a NUL in it"
	}
	clean = path.Clean(strings.TrimLeft(name, "/"))
	if clean == "." {
		return "", ""
	}
	depth := 0
	for part := range strings.SplitSeq(clean, "/") {
		depth++
		switch {
		case part == "..":
			return "", "a path leads out of the image"
		case len(part) > maxComponent:
			return "", fmt.Sprintf("a name is longer than %d bytes", maxComponent)
		}
	}
	if depth > l.PathDepth {
		return "", fmt.Sprintf("a path is deeper than %d folders", l.PathDepth)
	}
	return clean, ""
}

// A mark is what the name of an entry says that it is.
type mark int

const (
	noMark   mark = iota // a file
	whiteout             // path is not in the layers beneath
	opaque               // nothing in the folder path is
	aufs                 // no file, and no whiteout
	badMark              // a whiteout of nothing
)

// readMark tells a file from a whiteout, and returns what a whiteout is about.
func readMark(clean string) (m mark, about string) {
	dir, name := path.Split(clean)
	dir = strings.TrimSuffix(dir, "/")
	switch {
	case !strings.HasPrefix(name, whiteoutPrefix):
		if strings.HasPrefix(clean, aufsPrefix) {
			return aufs, ""
		}
		return noMark, clean
	case name == opaqueName:
		return opaque, dir
	case strings.HasPrefix(name, aufsPrefix):
		return aufs, ""
	}
	name = strings.TrimPrefix(name, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return badMark, ""
	}
	return whiteout, path.Join(dir, name)
}

// isSparse tells whether an entry is a sparse file of one of GNU tar's formats,
// whose size is no bound for anything.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// typeOf returns the type of an entry, or "" for what no image has.
func typeOf(h *tar.Header) tidewaiter.FileType {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return tidewaiter.RegularFile
	case tar.TypeDir:
		return tidewaiter.Folder
	case tar.TypeSymlink:
		return tidewaiter.SymbolicLink
	case tar.TypeLink:
		return tidewaiter.HardLink
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return tidewaiter.SpecialFile
	}
	return ""
}

// maxReason is how long the reason of a cut gets.
const maxReason = 300

// readable makes a text fit for people: hostile text comes out as one line of
// UTF-8, not too long.
func readable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() > maxReason-4 {
			b.WriteString("…")
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
