package langpkg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// Perl reads what cpanm and Carton write of each distribution that they
// install: .meta/Name-1.0/install.json beneath a folder of libraries. The shell
// cpan leaves no version behind but in the modules themselves, which are not
// read. OSV has no ecosystem of this name: the packages are listed only.
type Perl struct{}

var _ extract.Extractor = Perl{}

// Name implements [extract.Extractor].
func (Perl) Name() string { return "perl/cpanm" }

// Version implements [extract.Extractor].
func (Perl) Version() int { return 3 }

// Wants implements [extract.Extractor].
func (Perl) Wants(name string, mode fs.FileMode, size int64) bool {
	return data(mode, size) && path.Base(name) == "install.json" && folders(name, 2)[1] == ".meta"
}

// Extract implements [extract.Extractor].
func (e Perl) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	content, err := parse.All(f, maxMetadata)
	if err != nil {
		return extract.Found{}, err
	}
	var install struct {
		Name, Dist, Version parse.Text
		Provides            json.RawMessage // modules
	}
	if err := json.Unmarshal(content, &install); err != nil {
		return extract.Found{}, fmt.Errorf("read install.json: %w", err)
	}
	// Name is that of the main module (Foo::Bar), Dist that of the archive
	// (Foo-Bar-1.0), by which a distribution is known.
	p := tidewaiter.Package{Ecosystem: "CPAN", Type: "cpan", Version: string(install.Version)}
	// A version that looks like a number may be one in JSON, where 1.10 is 1.1.
	if version := distVersion.FindString(string(install.Dist)); p.Version == "" && version != "" {
		p.Version = version[1:]
	}
	if p.Name = strings.TrimSuffix(string(install.Dist), "-"+p.Version); p.Name == string(install.Dist) {
		p.Name = strings.ReplaceAll(string(install.Name), "::", "-")
	}
	if p.Name == "" || p.Version == "" {
		return extract.Found{}, errors.New("install.json without a name or a version")
	}
	list := parse.NewList(e.Name())
	list.Add(p)
	list.Owned().Folder(".")
	var provides map[string]struct{ File parse.Text }
	_ = json.Unmarshal(install.Provides, &provides) // what is no such object says nothing
	for _, module := range slices.Sorted(maps.Keys(provides)) {
		// Where it was in the distribution; then beside .meta, or, of one that is not
		// compiled, in the folder above, which is that of all architectures.
		file := strings.TrimPrefix(string(provides[module].File), "lib/")
		list.Owned().File("../../" + file)
		list.Owned().File("../../../" + file)
	}
	return list.Found(), nil
}

// distVersion is what follows the name in that of an archive.
var distVersion = regexp.MustCompile(`-v?[0-9][^-]*(-TRIAL[0-9]*)?$`)

// PerlFiles reads which files belong to distributions of Perl: a file .packlist
// for each, with a path on each line, and one for Perl itself.
type PerlFiles struct{}

var _ extract.Extractor = PerlFiles{}

// Name implements [extract.Extractor].
func (PerlFiles) Name() string { return "perl/files" }

// Version implements [extract.Extractor].
func (PerlFiles) Version() int { return 1 }

// Wants implements [extract.Extractor].
func (PerlFiles) Wants(name string, mode fs.FileMode, size int64) bool {
	return data(mode, size) && path.Base(name) == ".packlist"
}

// Extract implements [extract.Extractor].
func (PerlFiles) Extract(ctx context.Context, f extract.Input) (extract.Found, error) {
	var found extract.Found
	found.Owned.File(path.Base(f.Path))
	err := parse.Lines(ctx, parse.Reader(f), func(line []byte) {
		name, _, _ := strings.Cut(string(line), " type=") // of links, and of files with notes
		if strings.HasPrefix(name, "/") {
			found.Owned.File(name)
		}
	})
	if err != nil {
		return found, fmt.Errorf("read .packlist: %w", err)
	}
	return found, nil
}
