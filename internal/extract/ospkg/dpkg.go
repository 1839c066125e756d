package ospkg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// Dpkg reads dpkg's status file, and the files of status.d that stand for it in
// images without dpkg ("distroless"): stanzas as in deb-control(5), with the
// state that dpkg(1) describes.
type Dpkg struct{}

var _ extract.Extractor = Dpkg{}

// Name implements [extract.Extractor].
func (Dpkg) Name() string { return "os/dpkg" }

// Version implements [extract.Extractor].
func (Dpkg) Version() int { return 2 }

const (
	dpkgStatus  = "var/lib/dpkg/status"
	dpkgStatusD = "var/lib/dpkg/status.d/"
)

// Wants implements [extract.Extractor].
func (Dpkg) Wants(name string, mode fs.FileMode, size int64) bool {
	if !mode.IsRegular() || size == 0 {
		return false
	}
	below, ok := strings.CutPrefix(name, dpkgStatusD)
	return name == dpkgStatus || ok && !strings.Contains(below, "/") && path.Ext(below) != ".md5sums"
}

// Extract implements [extract.Extractor].
func (d Dpkg) Extract(ctx context.Context, f extract.Input) (extract.Found, error) {
	list := parse.NewList(d.Name())
	if f.Path == dpkgStatus {
		for _, name := range []string{"status-old", "available", "available-old", "diversions", "diversions-old", "statoverride", "statoverride-old", "arch", "cmethopt", "lock", "lock-frontend"} {
			list.Owned().File(name)
		}
	}
	stanzas := parse.NewStanzas(parse.Reader(f), "Package", "Status", "Version", "Architecture", "Source")
	nameless, unversioned := 0, 0
	for {
		stanza, err := stanzas.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return list.Found(), fmt.Errorf("read dpkg's status: %w", err)
		}
		p := tidewaiter.Package{
			Type:         "deb",
			Name:         stanza.Get("Package"),
			Version:      stanza.Get("Version"),
			Architecture: stanza.Get("Architecture"),
		}
		p.SourceName, p.SourceVersion = debianSource(stanza.Get("Source"), p.Name, p.Version)
		switch {
		case !dpkgUnpacked(stanza, f.Path):
			continue
		case p.Name == "":
			nameless++
			continue
		case p.Version == "":
			unversioned++
			continue
		}
		if !list.Add(p) {
			break
		}
	}
	if n := nameless + unversioned + stanzas.Malformed(); n > 0 {
		list.Cut(extract.CutParse, fmt.Sprintf("%d entries of dpkg's status have no name, %d no version, and %d lines are no fields",
			nameless, unversioned, stanzas.Malformed()))
	}
	return list.Found(), nil
}

// dpkgUnpacked tells whether the files of a package are there. Status says
// what is wanted, whether there was an error, and the state: of a package that
// is not installed nothing is there, of one with config-files next to nothing.
// Those who write status.d leave Status out.
func dpkgUnpacked(stanza parse.Stanza, path string) bool {
	if _, ok := stanza["Status"]; !ok {
		return strings.HasPrefix(path, dpkgStatusD)
	}
	fields := strings.Fields(stanza.Get("Status"))
	if len(fields) == 0 {
		return false
	}
	switch fields[len(fields)-1] {
	case "not-installed", "config-files":
		return false
	}
	return true
}

// debianSource returns the source package of a binary package: "name" or
// "name (version)"; what is not said is the same as of the binary package.
func debianSource(field, name, version string) (sourceName, sourceVersion string) {
	if field == "" {
		return name, version
	}
	sourceName, rest, ok := strings.Cut(field, " ")
	if !ok {
		return sourceName, version
	}
	sourceVersion = strings.Trim(rest, " ()")
	if sourceVersion == "" {
		sourceVersion = version
	}
	return sourceName, sourceVersion
}
