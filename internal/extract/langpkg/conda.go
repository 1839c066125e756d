package langpkg

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// Conda reads the records of packages in a conda environment:
// conda-meta/name-version-build.json. OSV has no ecosystem of this name: what
// of them is also a package of Python is listed, and judged, as that too.
type Conda struct{}

var _ extract.Extractor = Conda{}

// Name implements [extract.Extractor].
func (Conda) Name() string { return "conda/meta" }

// Version implements [extract.Extractor].
func (Conda) Version() int { return 2 }

// Wants implements [extract.Extractor].
func (Conda) Wants(name string, mode fs.FileMode, size int64) bool {
	return data(mode, size) && path.Ext(name) == ".json" && folders(name, 1)[0] == "conda-meta"
}

// Extract implements [extract.Extractor].
func (e Conda) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	content, err := parse.All(f, maxMetadata)
	if err != nil {
		return extract.Found{}, err
	}
	var record struct {
		Name, Version, Subdir, License parse.Text
		Files                          json.RawMessage // from the folder of the environment
	}
	if err := json.Unmarshal(content, &record); err != nil {
		return extract.Found{}, fmt.Errorf("read conda's record: %w", err)
	}
	if record.Name == "" || record.Version == "" {
		return extract.Found{}, errors.New("conda's record has no name or version")
	}
	list := parse.NewList(e.Name())
	list.Add(tidewaiter.Package{
		Ecosystem:    "Conda",
		Type:         "conda",
		Name:         string(record.Name),
		Version:      string(record.Version),
		Architecture: string(record.Subdir),
		Licenses:     []string{string(record.License)},
	})
	files := json.NewDecoder(bytes.NewReader(record.Files))
	_ = parse.Elements(files, func() error { // what is no list says nothing
		var name parse.Text
		err := files.Decode(&name)
		if name != "" {
			list.Owned().File("../" + string(name))
		}
		return err
	})
	return list.Found(), nil
}
