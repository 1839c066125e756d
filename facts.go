package tidewaiter

import (
	"io/fs"
	"time"
)

// LayerFacts are what one layer says. They depend on the bytes of the layer and
// on the version of the extractors alone, so that a layer is looked into once,
// whatever images it is in. Each fact belongs to a path: what an image holds is
// what its layers say about the paths that are left when they are laid over
// one another.
type LayerFacts struct {
	DiffID     Digest // of the uncompressed layer
	Extractors string // version of the set of extractors
	Size       int64  // bytes, uncompressed
	Files      []File // in the order of their paths; the last of a path in the layer
	Whiteouts  []string
	Opaque     []string // folders of which nothing beneath shows
	Packages   []Package
	Systems    []System
	Cuts       []Cut // what was not looked into: an image with one is never clean
}

// File is an entry of a layer.
type File struct {
	Path     string // slash-separated, clean, without a leading slash; hostile text
	Type     FileType
	Mode     fs.FileMode // permissions, setuid, setgid, sticky
	UID, GID int
	Size     int64
	Modified time.Time
	Link     string // target of a symbolic link; of a hard link the path
	SHA256   Digest // of regular files
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
