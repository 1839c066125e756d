package langpkg

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

// Python reads the core metadata of installed distributions
// (https://packaging.python.org/en/latest/specifications/core-metadata/), in a
// dist-info or egg-info folder, an egg-info file, or an egg, which is a zip.
// Those that another package carries within itself (setuptools/_vendor) are
// listed as well: they are there, though pip does not know of them. Wheels are
// not installed, and not read.
type Python struct{}

var _ extract.Extractor = Python{}

// Name implements [extract.Extractor].
func (Python) Name() string { return "python/dist" }

// Version implements [extract.Extractor].
func (Python) Version() int { return 2 }

// Wants implements [extract.Extractor].
func (Python) Wants(name string, mode fs.FileMode, size int64) bool {
	if !data(mode, size) {
		return false
	}
	folder := path.Base(path.Dir(name))
	switch path.Base(name) {
	case "METADATA":
		return strings.HasSuffix(folder, ".dist-info")
	case "PKG-INFO":
		return strings.HasSuffix(folder, ".egg-info") || folder == "EGG-INFO"
	}
	return strings.HasSuffix(name, ".egg-info") || strings.HasSuffix(name, ".egg")
}

// Extract implements [extract.Extractor].
func (e Python) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	var text io.Reader = parse.Reader(f)
	if strings.HasSuffix(f.Path, ".egg") {
		var err error
		if text, err = eggMetadata(f); err != nil || text == nil {
			return extract.Found{}, err
		}
	}
	list := parse.NewList(e.Name())
	fields := parse.NewStanzas(text, "Name", "Version", "License", "License-Expression", "Classifier")
	metadata, err := fields.Next()
	if errors.Is(err, io.EOF) {
		return extract.Found{}, errors.New("no metadata in it")
	}
	if err != nil {
		return extract.Found{}, fmt.Errorf("read Python metadata: %w", err)
	}
	p := tidewaiter.Package{
		Ecosystem: "PyPI",
		Type:      "pypi",
		Name:      metadata.Get("Name"),
		Version:   metadata.Get("Version"),
		Licenses:  pythonLicenses(metadata),
	}
	if p.Name == "" || p.Version == "" {
		return extract.Found{}, errors.New("Python metadata without a name or a version")
	}
	list.Add(p)
	switch path.Base(f.Path) {
	case "METADATA":
		list.Owned().Folder(".")
	case "PKG-INFO":
		list.Owned().Folder(".")
		if folders(f.Path, 1)[0] == "EGG-INFO" {
			list.Owned().Folder("..") // an egg that was unpacked
		}
	}
	return list.Found(), nil
}

// pythonLicenses takes the SPDX expression, else the short text, else what the
// classifiers say: "License :: OSI Approved :: MIT License".
func pythonLicenses(metadata parse.Stanza) []string {
	if expression := metadata.Get("License-Expression"); expression != "" {
		return []string{expression}
	}
	if text := metadata.Get("License"); text != "" && text != "UNKNOWN" && len(text) <= 100 {
		return []string{text}
	}
	var list []string
	for _, classifier := range metadata["Classifier"] {
		if below, ok := strings.CutPrefix(classifier, "License :: "); ok && below != "OSI Approved" {
			list = append(list, below[strings.LastIndex(below, ":: ")+1:])
		}
	}
	for i := range list {
		list[i] = strings.TrimPrefix(list[i], ": ")
	}
	return list
}

// eggMetadata returns what EGG-INFO/PKG-INFO in an egg holds, or nil if it is
// no egg.
func eggMetadata(f extract.Input) (io.Reader, error) {
	z, err := openZip(f, f.Size)
	if errors.Is(err, errNoZip) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read an egg: %w", err)
	}
	var text io.Reader
	entries := 0
	err = z.entries(func(e zipEntry) error {
		if entries++; entries > maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		if e.name != "EGG-INFO/PKG-INFO" || text != nil {
			return nil
		}
		packed, err := z.open(e)
		if err != nil {
			return err
		}
		text, err = e.unpack(packed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read an egg: %w", err)
	}
	if text == nil {
		return nil, nil
	}
	return io.LimitReader(text, maxMetadata), nil
}
