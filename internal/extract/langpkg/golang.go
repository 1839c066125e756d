package langpkg

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// GoBinary reads what Go writes into the programs that it builds: the main
// module, the modules of the packages in it, and the version of Go, which is
// that of the standard library. Of a module that was replaced by another it
// names the other; replaced by a folder, the module itself. The main module
// has no version unless it was built with one.
type GoBinary struct{}

var _ extract.Extractor = GoBinary{}

// Name implements [extract.Extractor].
func (GoBinary) Name() string { return "go/binary" }

// Version implements [extract.Extractor].
func (GoBinary) Version() int { return 1 }

// Wants implements [extract.Extractor].
func (GoBinary) Wants(_ string, mode fs.FileMode, size int64) bool { return wantsProgram(mode, size) }

// WantsContent tells by the first bytes of a file whether it is of interest.
func (GoBinary) WantsContent(head []byte) bool { return isELF(head) }

// maxBuildInfo is the most that is read of a program. The build information
// of a large one has some 100 KiB.
const maxBuildInfo = 16 << 20

// Extract implements [extract.Extractor].
func (e GoBinary) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	program, err := openELF(f)
	if err != nil || program == nil {
		return extract.Found{}, err
	}
	if program.Section(".go.buildinfo") == nil {
		return extract.Found{}, nil
	}
	limited := &limitedReader{r: io.NewSectionReader(f, 0, f.Size)}
	limited.left.Store(maxBuildInfo)
	info, err := buildinfo.Read(limited)
	if err != nil {
		return extract.Found{}, fmt.Errorf("read Go's build information: %w", err)
	}
	list := parse.NewList(e.Name())
	add := func(name, version string) {
		list.Add(tidewaiter.Package{
			Ecosystem: "Go",
			Type:      "golang",
			Namespace: before(name, "/"),
			Name:      name,
			Version:   strings.TrimPrefix(version, "(devel)"),
		})
	}
	if version := goVersion(info.GoVersion); version != "" {
		add("stdlib", version)
	}
	if info.Main.Path != "" {
		add(replaced(&info.Main))
	}
	for _, module := range info.Deps {
		add(replaced(module))
	}
	return list.Found(), nil
}

// goVersion returns 1.26.1 of "go1.26.1 X:experiment", and "" of a version
// that is under development: it is that of no release.
func goVersion(text string) string {
	text, _, _ = strings.Cut(text, " ")
	version, ok := strings.CutPrefix(text, "go")
	if !ok {
		return ""
	}
	return version
}

// replaced returns the module whose code is in the program. A folder has no
// name that means anything elsewhere: it mostly holds the module, with changes.
// Those who never fetch it require it as v0.0.0 (Kubernetes does), which is no
// version of it.
func replaced(m *debug.Module) (name, version string) {
	if r := m.Replace; r != nil && r.Version != "" && r.Version != "(devel)" {
		return r.Path, r.Version
	} else if r != nil && m.Version == "v0.0.0" {
		return m.Path, ""
	}
	return m.Path, m.Version
}

// limitedReader reads no more than is left in all.
type limitedReader struct {
	r    io.ReaderAt
	left atomic.Int64
}

// ReadAt implements [io.ReaderAt].
func (l *limitedReader) ReadAt(b []byte, offset int64) (int, error) {
	if l.left.Add(-int64(len(b))) < 0 {
		return 0, errors.New("more of it than any program has")
	}
	return l.r.ReadAt(b, offset)
}
