package ospkg

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// DpkgFiles reads which files belong to dpkg's packages: the lists in
// var/lib/dpkg/info, one for each package; the list of files that a package puts
// elsewhere because another has them (dpkg-divert(1)); and, in images without
// dpkg, the digests beside the files of status.d.
type DpkgFiles struct{}

var _ extract.Extractor = DpkgFiles{}

// Name implements [extract.Extractor].
func (DpkgFiles) Name() string { return "os/dpkg-files" }

// Version implements [extract.Extractor].
func (DpkgFiles) Version() int { return 1 }

const (
	dpkgInfo       = "var/lib/dpkg/info/"
	dpkgDiversions = "var/lib/dpkg/diversions"
)

// Wants implements [extract.Extractor].
func (DpkgFiles) Wants(name string, mode fs.FileMode, size int64) bool {
	if !mode.IsRegular() || size == 0 || !strings.HasPrefix(name, "var/lib/dpkg/") {
		return false
	}
	switch folder, base := path.Split(name); folder {
	case dpkgInfo:
		return path.Ext(base) == ".list"
	case dpkgStatusD:
		return path.Ext(base) == ".md5sums"
	}
	return name == dpkgDiversions
}

// Extract implements [extract.Extractor].
func (DpkgFiles) Extract(ctx context.Context, f extract.Input) (extract.Found, error) {
	var found extract.Found
	visit := func(line []byte) { found.Owned.File(string(line)) }
	base := path.Base(f.Path)
	switch {
	case f.Path == dpkgDiversions:
		n := 0 // of threes: the file, where it is instead, and the package that has it
		visit = func(line []byte) {
			if n++; n%3 == 2 {
				found.Owned.File(string(line))
			}
		}
	case path.Ext(base) == ".md5sums":
		found.Owned.File(base)
		visit = func(line []byte) {
			if _, name, ok := bytes.Cut(line, []byte("  ")); ok {
				found.Owned.File("/" + string(name))
			}
		}
	default:
		// What dpkg keeps of the package belongs to it as well.
		for _, kind := range []string{"list", "md5sums", "conffiles", "preinst", "postinst", "prerm", "postrm", "config", "templates", "triggers", "shlibs", "symbols"} {
			found.Owned.File(strings.TrimSuffix(base, "list") + kind)
		}
	}
	if err := parse.Lines(ctx, parse.Reader(f), visit); err != nil {
		return found, fmt.Errorf("read a list of dpkg's: %w", err)
	}
	return found, nil
}
