package langpkg

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// PythonFiles reads which files belong to distributions of Python: RECORD in a
// dist-info folder
// (https://packaging.python.org/en/latest/specifications/recording-installed-packages/),
// installed-files.txt in an egg-info folder.
type PythonFiles struct{}

var _ extract.Extractor = PythonFiles{}

// Name implements [extract.Extractor].
func (PythonFiles) Name() string { return "python/files" }

// Version implements [extract.Extractor].
func (PythonFiles) Version() int { return 1 }

// Wants implements [extract.Extractor].
func (PythonFiles) Wants(name string, mode fs.FileMode, size int64) bool {
	if !data(mode, size) {
		return false
	}
	switch path.Base(name) {
	case "RECORD":
		return strings.HasSuffix(path.Dir(name), ".dist-info")
	case "installed-files.txt":
		return strings.HasSuffix(path.Dir(name), ".egg-info")
	}
	return false
}

// Extract implements [extract.Extractor].
func (PythonFiles) Extract(ctx context.Context, f extract.Input) (extract.Found, error) {
	var found extract.Found
	isRecord := path.Base(f.Path) == "RECORD"
	err := parse.Lines(ctx, parse.Reader(f), func(line []byte) {
		name := string(line)
		if isRecord {
			name = firstField(name)
		}
		switch {
		case name == "":
		case isRecord && !strings.HasPrefix(name, "/"):
			found.Owned.File("../" + name) // from the folder that holds the dist-info
		default:
			found.Owned.File(name)
		}
	})
	if err != nil {
		return found, fmt.Errorf("read which files belong to a distribution: %w", err)
	}
	return found, nil
}

// firstField returns the first field of a line of comma-separated values.
func firstField(line string) string {
	if !strings.HasPrefix(line, `"`) {
		name, _, _ := strings.Cut(line, ",")
		return name
	}
	fields, err := csv.NewReader(strings.NewReader(line)).Read()
	if err != nil && !errors.Is(err, io.EOF) || len(fields) == 0 {
		return ""
	}
	return fields[0]
}
