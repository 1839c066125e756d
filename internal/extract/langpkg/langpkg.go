// Package langpkg finds the packages of programming languages that an image
// holds installed: what its programs can load. Lock files and manifests of
// sources, which say what somebody may install, are not read.
//
// Names and versions are written as the file has them; where an ecosystem
// compares them otherwise (PyPI: _ and - are one), whoever compares does so.
// A name is the whole name that OSV uses: group:artifact of Maven, @scope/name
// of npm, vendor/name of Composer. The namespace repeats its first part, for
// the purl.
package langpkg

import (
	"io/fs"
	"path"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/extract"
)

// Extractors returns the extractors of this package.
func Extractors() []extract.Extractor {
	return []extract.Extractor{
		Python{}, PythonFiles{}, Conda{}, Node{}, GoBinary{}, RustBinary{}, NewJava(), DotNet{}, Ruby{}, PHP{}, Perl{}, PerlFiles{}, R{},
	}
}

// maxMetadata is the most of a metadata file that is read.
const maxMetadata = 16 << 20

// data tells whether a file is regular and holds anything.
func data(mode fs.FileMode, size int64) bool { return mode.IsRegular() && size > 0 }

// folders returns the last folders of a path, innermost first: for a/b/c/file
// it is c, b, a.
func folders(file string, n int) []string {
	list := make([]string, n)
	folder := path.Dir(file)
	for i := range list {
		if folder == "." || folder == "/" {
			break
		}
		list[i] = path.Base(folder)
		folder = path.Dir(folder)
	}
	return list
}

// before returns what stands before the last separator, or "".
func before(name, separator string) string {
	i := strings.LastIndex(name, separator)
	if i < 0 {
		return ""
	}
	return name[:i]
}
