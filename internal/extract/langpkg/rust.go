package langpkg

import (
	"compress/zlib"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// RustBinary reads the list of crates that cargo-auditable writes into
// programs (https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md).
// Other Rust programs do not say what is in them. Crates that were needed to
// build only are not in the program, and not listed.
type RustBinary struct{}

var _ extract.Extractor = RustBinary{}

// Name implements [extract.Extractor].
func (RustBinary) Name() string { return "rust/binary" }

// Version implements [extract.Extractor].
func (RustBinary) Version() int { return 1 }

// Wants implements [extract.Extractor].
func (RustBinary) Wants(_ string, mode fs.FileMode, size int64) bool { return wantsProgram(mode, size) }

// WantsContent tells by the first bytes of a file whether it is of interest.
func (RustBinary) WantsContent(head []byte) bool { return isELF(head) }

// Extract implements [extract.Extractor].
func (e RustBinary) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	program, err := openELF(f)
	if err != nil || program == nil {
		return extract.Found{}, err
	}
	section := program.Section(".dep-v0")
	if section == nil {
		return extract.Found{}, nil
	}
	inflated, err := zlib.NewReader(section.Open())
	if err != nil {
		return extract.Found{}, fmt.Errorf("read the list of crates: %w", err)
	}
	list := parse.NewList(e.Name())
	dec := json.NewDecoder(io.LimitReader(inflated, maxMetadata))
	err = parse.Members(dec, func(name string) error {
		if name != "packages" {
			return parse.Skip(dec)
		}
		return parse.Elements(dec, func() error {
			var crate struct{ Name, Version, Source, Kind string }
			if err := dec.Decode(&crate); err != nil {
				return err
			}
			if crate.Kind != "build" {
				list.Add(tidewaiter.Package{Ecosystem: "crates.io", Type: "cargo", Name: crate.Name, Version: crate.Version})
			}
			return nil
		})
	})
	if err != nil {
		return list.Found(), fmt.Errorf("read the list of crates: %w", err)
	}
	return list.Found(), nil
}
