package ospkg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// Chisel reads the manifest that Chisel writes into images that are cut from
// packages of Ubuntu, which have no dpkg: JSON values, compressed by zstd
// (https://documentation.ubuntu.com/chisel/en/latest/reference/manifest/). It
// does not name source packages.
type Chisel struct{}

var _ extract.Extractor = Chisel{}

// Name implements [extract.Extractor].
func (Chisel) Name() string { return "os/chisel" }

// Version implements [extract.Extractor].
func (Chisel) Version() int { return 2 }

const (
	maxWindow = 8 << 20  // bytes of memory for zstd
	maxWall   = 16 << 20 // bytes of a manifest, unpacked
)

// Wants implements [extract.Extractor].
func (Chisel) Wants(name string, mode fs.FileMode, size int64) bool {
	return mode.IsRegular() && size > 0 && name == "var/lib/chisel/manifest.wall"
}

// Extract implements [extract.Extractor].
func (e Chisel) Extract(ctx context.Context, f extract.Input) (extract.Found, error) {
	unpacked, err := zstd.NewReader(parse.Reader(f), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWall))
	if err != nil {
		return extract.Found{}, fmt.Errorf("read Chisel's manifest: %w", err)
	}
	defer unpacked.Close()
	list := parse.NewList(e.Name())
	limited := &io.LimitedReader{R: unpacked, N: maxWall}
	dec := json.NewDecoder(limited)
	for {
		var value struct{ Kind, Name, Version, Arch, Path parse.Text }
		err := dec.Decode(&value)
		if errors.Is(err, io.EOF) && limited.N > 0 {
			return list.Found(), nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return list.Found(), fmt.Errorf("read Chisel's manifest: %w", err)
		}
		switch value.Kind {
		case "path":
			list.Owned().File(string(value.Path))
			continue
		case "package":
		default:
			continue
		}
		list.Add(tidewaiter.Package{Type: "deb", Name: string(value.Name), Version: string(value.Version), Architecture: string(value.Arch)})
	}
}
