package langpkg

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
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
func (DotNet) Version() int { return 2 }

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
	var assets []dotNetAsset
	ours := make(map[string]bool) // the libraries that are packages
	err := parse.Members(dec, func(name string) error {
		switch name {
		case "targets":
			var targets json.RawMessage
			err := dec.Decode(&targets)
			assets = dotNetAssets(targets)
			return err
		case "libraries":
		default:
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
			ours[library] = true
			return nil
		})
	})
	for _, a := range assets {
		if ours[a.library] {
			a.own(list.Owned())
		}
	}
	if err != nil {
		return list.Found(), fmt.Errorf("read .deps.json: %w", err)
	}
	return list.Found(), nil
}

// A dotNetAsset is a file that a library brings, as the path in its package.
type dotNetAsset struct{ library, name string }

// maxAssets is how many of them are kept of a file.
const maxAssets = 100_000

// dotNetAssets reads targets: for each framework, for each library, the files
// that are loaded. What is of another form names none.
func dotNetAssets(targets []byte) []dotNetAsset {
	var assets []dotNetAsset
	dec := json.NewDecoder(bytes.NewReader(targets))
	_ = parse.Members(dec, func(string) error {
		return parse.Members(dec, func(library string) error {
			return parse.Members(dec, func(kind string) error {
				switch kind {
				case "runtime", "native", "resources", "runtimeTargets":
				default:
					return parse.Skip(dec)
				}
				return parse.Members(dec, func(name string) error {
					if len(assets) < maxAssets {
						assets = append(assets, dotNetAsset{library, name})
					}
					return parse.Skip(dec)
				})
			})
		})
	})
	return assets
}

// own adds where the file of a package may be beside the list: publishing a
// program puts those that it needs itself into its own folder, those for one
// language beneath it, and leaves those for other platforms where they were.
func (a dotNetAsset) own(owned *extract.Owned) {
	folder, file := path.Split(a.name)
	owned.File(file)
	if folder != "" {
		owned.File(path.Base(folder) + "/" + file)
		owned.File(a.name)
	}
}
