package langpkg

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// DotNet reads the .deps.json file that lies beside a .NET program
// (https://github.com/dotnet/sdk/blob/main/documentation/specs/runtime-configuration-file.md):
// the packages that it loads, and, of one that brings .NET along, and of the
// shared frameworks, .NET itself.
type DotNet struct{}

var _ extract.Extractor = DotNet{}

// Name implements [extract.Extractor].
func (DotNet) Name() string { return "dotnet/deps" }

// Version implements [extract.Extractor].
func (DotNet) Version() int { return 1 }

// Wants implements [extract.Extractor].
func (DotNet) Wants(name string, mode fs.FileMode, size int64) bool {
	return data(mode, size) && strings.HasSuffix(name, ".deps.json")
}

// Extract implements [extract.Extractor].
func (e DotNet) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	if f.Size > maxMetadata {
		return extract.Found{}, fmt.Errorf("it has %d bytes, more than the %d that are read of such a file", f.Size, maxMetadata)
	}
	list := parse.NewList(e.Name())
	text := withoutMark(f)
	if first, err := firstByte(text); err != nil || first != '{' {
		return extract.Found{}, nil // some other file of that name: WordPress has such
	}
	dec := json.NewDecoder(text)
	err := parse.Members(dec, func(name string) error {
		if name != "libraries" {
			return parse.Skip(dec)
		}
		return parse.Members(dec, func(library string) error {
			var is struct{ Type parse.Text }
			if err := dec.Decode(&is); err != nil {
				return err
			}
			name, version, ok := strings.Cut(library, "/")
			switch is.Type {
			case "package":
			case "runtimepack":
				name = strings.TrimPrefix(name, "runtimepack.")
			default:
				return nil // the program itself, and its parts
			}
			if !ok || version == "" {
				list.Cut(extract.CutParse, "a library has no version")
				return nil
			}
			list.Add(tidewaiter.Package{Ecosystem: "NuGet", Type: "nuget", Name: name, Version: version})
			return nil
		})
	})
	if err != nil {
		return list.Found(), fmt.Errorf("read .deps.json: %w", err)
	}
	return list.Found(), nil
}
