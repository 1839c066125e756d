package langpkg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
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
func (Perl) Version() int { return 1 }

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
	var install struct{ Name, Dist, Version parse.Text }
	if err := json.Unmarshal(content, &install); err != nil {
		return extract.Found{}, fmt.Errorf("read install.json: %w", err)
	}
	// Name is that of the main module (Foo::Bar), Dist that of the archive
	// (Foo-Bar-1.0), by which a distribution is known.
	p := tidewaiter.Package{Ecosystem: "CPAN", Type: "cpan", Version: string(install.Version)}
	if p.Name = strings.TrimSuffix(string(install.Dist), "-"+p.Version); p.Name == string(install.Dist) {
		p.Name = strings.ReplaceAll(string(install.Name), "::", "-")
	}
	if p.Name == "" || p.Version == "" {
		return extract.Found{}, errors.New("install.json without a name or a version")
	}
	list := parse.NewList(e.Name())
	list.Add(p)
	return list.Found(), nil
}
