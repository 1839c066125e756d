package tidewaiter

import (
	"io/fs"
	"time"
)

// LayerFacts are what one layer says. They depend on the bytes of the layer and
// on the version of the extractors alone, so that a layer is looked into once,
// whatever images it is in. Each fact belongs to a path: what an image holds is
// what its layers say about the paths that are left when they are laid over
// one another (package overlay).
type LayerFacts struct {
	DiffID Digest // of the uncompressed layer, as the image's config names it
	// Verified says that the bytes that were read have this DiffID. Only then may
	// other images share the facts: an image may claim any DiffID for its bytes.
	Verified   bool
	Extractors string // version of the set of extractors
	Size       int64  // bytes, uncompressed, as far as they were read
	Files      []File // in the order of [ComparePaths]; the last of a path in the layer
	Whiteouts  []string
	Opaque     []string // folders of which nothing beneath shows
	Packages   []Package
	Systems    []System
	Cuts       []Cut    // what was not looked into: an image with one is never clean
	Notes      []string // what is odd, but took nothing away: a wrong media type, junk after the end
}

// File is an entry of a layer.
type File struct {
	Path     string // slash-separated, clean, without a leading slash; hostile text, not always UTF-8
	Type     FileType
	Mode     fs.FileMode // permissions, setuid, setgid, sticky
	UID, GID int
	Size     int64     // of regular files, and as SHA256 of hard links
	Modified time.Time // UTC, whole seconds, in the years 1970 to 9999; else zero
	Link     string    // target of a symbolic link; of a hard link the path
	SHA256   Digest    // of regular files, and of hard links whose target is in the same layer
	// Owned says that a package is found in the file, or that a package of this
	// layer says that the file is its own. A file of an image (package overlay) is
	// also owned if it replaces one that is.
	Owned bool
}

// ComparePaths orders paths as a walk through their tree does: a folder comes
// right before what is in it.
func ComparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return +1
		}
		return int(a[i]) - int(b[i])
	}
	return len(a) - len(b)
}

// FileType says what an entry of a layer is.
type FileType string

// The types of file.
const (
	RegularFile  FileType = "file"
	Folder       FileType = "folder"
	SymbolicLink FileType = "symlink"
	HardLink     FileType = "hardlink"
	SpecialFile  FileType = "special" // device, FIFO
)

// Package is software that a file of a layer says is installed.
type Package struct {
	Ecosystem     string // as in OSV: Debian, Alpine, PyPI, npm, Go, Maven, …; without the suffix of a release
	Name          string
	Version       string
	SourceName    string // distributions: the source package, or ""
	SourceVersion string
	Architecture  string
	Type          string // the purl type: deb, apk, rpm, pypi, npm, golang, maven, …
	Namespace     string // of the purl: the distribution, the Maven group, the npm scope; or ""
	Licenses      []string
	Path          string   // the file that says so
	Inside        []string // archives within the file, outermost first: a.war!/WEB-INF/lib/b.jar
	Extractor     string   // which found it
}

// System is what an os-release file, or one like it, says.
type System struct {
	Path      string
	ID        string
	IDLike    []string
	VersionID string
	Codename  string
	Name      string // PRETTY_NAME
	CPE       string
}

// Cut is something that was not looked into, and why.
type Cut struct {
	Path   string // "" for the layer itself
	Code   string // see package extract
	Reason string // for people
}
