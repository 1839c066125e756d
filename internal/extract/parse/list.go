// Package parse holds what the extractors of packages have in common: the list
// of what a file said, which refuses what no package is called, and readers of
// the two forms that most databases have, stanzas of fields and JSON. All of
// it reads hostile bytes with bounded memory.
package parse

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
)

// What one file may say. More of it leaves a cut.
const (
	MaxPackages = 100_000
	maxText     = 1024     // bytes of a name or a version
	maxAllText  = 32 << 20 // bytes of all text that is kept of a file
	maxLicenses = 32
	maxCuts     = 32
)

// List collects the packages of one file. Use NewList.
type List struct {
	extractor string
	found     extract.Found
	text      int  // bytes kept
	refused   int  // packages whose text no package has
	full      bool // a limit was hit
	moreCuts  bool
}

// NewList returns an empty list of what the extractor of that name finds.
func NewList(extractor string) *List { return &List{extractor: extractor} }

// Add puts a package on the list. It tells whether the list is still open: on
// false the rest of the file need not be read.
func (l *List) Add(p tidewaiter.Package) bool {
	p.Extractor = l.extractor
	p.Licenses = licenses(p.Licenses)
	size := len(p.Namespace)
	for _, text := range []string{p.Name, p.Version, p.SourceName, p.SourceVersion, p.Architecture} {
		if !usable(text) {
			l.refused++
			return true
		}
		size += len(text)
	}
	for _, text := range p.Licenses {
		size += len(text)
	}
	if p.Name == "" {
		l.refused++
		return true
	}
	if len(l.found.Packages) == MaxPackages || l.text+size > maxAllText {
		l.full = true
		return false
	}
	l.text += size
	l.found.Packages = append(l.found.Packages, p)
	return true
}

// Cut says that a part of the file was not looked into, and why. Its path is
// that of the file, which the caller of the extractor fills in.
func (l *List) Cut(code, reason string) {
	if len(l.found.Cuts) >= maxCuts {
		l.moreCuts = true
		return
	}
	l.found.Cuts = append(l.found.Cuts, tidewaiter.Cut{Code: code, Reason: reason})
}

// Owned are the files that belong to the packages.
func (l *List) Owned() *extract.Owned { return &l.found.Owned }

// Len is the number of packages on the list.
func (l *List) Len() int { return len(l.found.Packages) }

// Found returns what was found. It belongs to the end of Extract.
func (l *List) Found() extract.Found {
	found := l.found
	add := func(reason string) {
		found.Cuts = append(found.Cuts, tidewaiter.Cut{Code: extract.CutParse, Reason: reason})
	}
	if l.full {
		add(fmt.Sprintf("it lists more packages than the %d, or more text than the %d MiB, that are kept of one file", MaxPackages, maxAllText>>20))
	}
	if l.refused > 0 {
		add(fmt.Sprintf("%d of its packages have no name, or one or a version with control characters or more than %d bytes", l.refused, maxText))
	}
	if l.moreCuts {
		add(fmt.Sprintf("more than %d of its parts could not be read", maxCuts))
	}
	return found
}

// usable tells whether text can be a name or a version: short, UTF-8, and
// without control characters.
func usable(text string) bool {
	if len(text) > maxText || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// licenses keeps those that can be licences: what is said beside is dropped,
// as a package is none the less there.
func licenses(list []string) []string {
	var kept []string
	for _, license := range list {
		if license != "" && usable(license) && len(kept) < maxLicenses {
			kept = append(kept, license)
		}
	}
	return kept
}

// Reader returns a reader of the file from its beginning.
func Reader(f extract.Input) *io.SectionReader {
	return io.NewSectionReader(f, 0, f.Size)
}

// All reads a file into memory, unless it is larger than limit.
func All(f extract.Input, limit int64) ([]byte, error) {
	if f.Size < 0 || f.Size > limit {
		return nil, fmt.Errorf("it has %d bytes, more than the %d that are read of such a file", f.Size, limit)
	}
	content := make([]byte, f.Size)
	if n, err := f.ReadAt(content, 0); n < len(content) {
		return nil, fmt.Errorf("read it: %w", err)
	}
	return content, nil
}
