package langpkg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// R reads the DESCRIPTION of packages in a library of R. One that was installed
// has a field Built; sources have none, and are not listed.
type R struct{}

var _ extract.Extractor = R{}

// Name implements [extract.Extractor].
func (R) Name() string { return "r/description" }

// Version implements [extract.Extractor].
func (R) Version() int { return 2 }

// Wants implements [extract.Extractor].
func (R) Wants(name string, mode fs.FileMode, size int64) bool {
	return data(mode, size) && path.Base(name) == "DESCRIPTION"
}

// Extract implements [extract.Extractor].
func (e R) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	fields := parse.NewStanzas(parse.Reader(f), "Package", "Version", "License", "Built", "biocViews")
	fields.Exact = true
	description, err := fields.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return extract.Found{}, fmt.Errorf("read DESCRIPTION: %w", err)
	}
	p := tidewaiter.Package{
		Ecosystem: "CRAN",
		Type:      "cran",
		Name:      description.Get("Package"),
		Version:   description.Get("Version"),
		Licenses:  []string{description.Get("License")},
	}
	if description.Get("Built") == "" || p.Name == "" || p.Version == "" {
		return extract.Found{}, nil // some other file of that name, or sources
	}
	if _, ok := description["biocViews"]; ok {
		p.Ecosystem, p.Type = "Bioconductor", "bioconductor"
	}
	list := parse.NewList(e.Name())
	list.Add(p)
	list.Owned().Folder(".")
	return list.Found(), nil
}
