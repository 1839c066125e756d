// Package extract turns the layers of an image into facts: files, packages,
// operating systems. A layer is read once, as a stream, and never written:
// decompressor, tar reader, hashes and extractors work on the same bytes.
//
// Files are hashed as they are. What is in an archive within a layer is no file
// of the image, and no fact; of archives of Java it is said what packages they hold.
//
// Layers are hostile. Every limit that is hit leaves a [tidewaiter.Cut], and
// an image with one is never called clean.
package extract

import (
	"context"
	"io"
	"io/fs"

	"github.com/tidewaiter/tidewaiter"
)

// Extractor finds facts in single files. It is used by several goroutines.
type Extractor interface {
	// Name is unique, such as "os/dpkg".
	Name() string
	// Version counts the changes of what the extractor finds. It is part of the
	// key under which facts are kept.
	Version() int
	// Wants says, before the file is read, whether Extract is to see it. path is
	// slash-separated, clean, and without a leading slash.
	Wants(path string, mode fs.FileMode, size int64) bool
	// Extract finds facts in a file. An error becomes a Cut of that file.
	Extract(ctx context.Context, f Input) (Found, error)
}

// Input is a file for an extractor.
type Input struct {
	Path    string
	Mode    fs.FileMode
	Size    int64
	Nesting Nesting
	io.ReaderAt
}

// Nesting bounds what a file costs that is an archive, with all that is in it. A
// zero field stands for the extractor's default. More leaves a cut of code [CutNesting].
type Nesting struct {
	Depth   int   // archives within archives
	Bytes   int64 // that are unpacked
	Entries int   // of all the archives
}

// Found is what an extractor found in one file. The caller fills in the path.
type Found struct {
	Packages []tidewaiter.Package
	Systems  []tidewaiter.System
	Cuts     []tidewaiter.Cut // of nested archives, for instance
	// Owned are the files that belong to packages, and more than they: a file in
	// which a package is found need not be among them.
	Owned Owned
}

// The codes of cuts, which end up in the contract's scan_failed_code.
const (
	CutFileSize   = "file_too_large"  // a file that an extractor wants is larger than may be held
	CutLayerSize  = "layer_too_large" // the layer's output, ratio or number of entries
	CutPath       = "path"            // a path that no file can have, or too long or deep a one
	CutEntry      = "entry"           // a sparse file, a broken entry
	CutParse      = "parse"           // an extractor could not read the file
	CutNesting    = "nesting"         // archives within archives
	CutForeign    = "foreign_layer"   // not in the registry
	CutEncrypted  = "encrypted_layer" //
	CutDigest     = "digest"          // bytes other than those asked for
	CutCompressed = "compression"     // not decompressible, or of an unknown kind
	CutTime       = "time"            // took too long
)
