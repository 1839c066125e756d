package langpkg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// Java reads archives of Java programs, and the archives within them. Maven
// writes into an archive what it is made of (pom.properties, one for each
// artifact, so also of those that were shaded into it); of another archive the
// manifest and the name of the file say what it is, as far as they do.
//
// An archive within an archive is read where it stands, if it is stored there
// without compression, else unpacked into memory, one at a time; one too large
// for that is read as a stream. Nothing else is unpacked.
type Java struct {
	limits javaLimits
	hold   chan struct{} // whoever has put something in may hold archives in memory
}

var _ extract.Extractor = Java{}

// NewJava returns the extractor.
func NewJava() Java {
	return Java{
		limits: javaLimits{nesting: 10, entries: maxEntries, inflated: 4 << 30, held: 48 << 20, wanted: 10_000},
		hold:   make(chan struct{}, 1),
	}
}

// javaLimits are those of a file, with all that is in it.
type javaLimits struct {
	nesting  int   // archives within one another
	entries  int   // of all archives
	inflated int64 // bytes that are unpacked
	held     int64 // bytes of unpacked archives in memory; each may take half of what is left
	wanted   int   // files of interest in an archive
}

const maxEntries = 500_000

// Name implements [extract.Extractor].
func (Java) Name() string { return "java/archive" }

// Version implements [extract.Extractor].
func (Java) Version() int { return 3 }

// Wants implements [extract.Extractor].
func (Java) Wants(name string, mode fs.FileMode, size int64) bool {
	return mode.IsRegular() && size >= zipEndSize && isJar(name)
}

// Extract implements [extract.Extractor].
func (e Java) Extract(ctx context.Context, f extract.Input) (extract.Found, error) {
	limits := e.limits
	limits.nesting = cmp.Or(f.Nesting.Depth, limits.nesting)
	limits.inflated = cmp.Or(f.Nesting.Bytes, limits.inflated)
	limits.entries = cmp.Or(f.Nesting.Entries, limits.entries)
	w := &jarWalk{limits: limits, stopped: ctx.Err, done: ctx.Done(), list: parse.NewList(e.Name()), hold: e.hold}
	err := w.archive(f, f.Size, f.Path, nil)
	if w.holding {
		<-e.hold
	}
	switch {
	case errors.Is(err, errNoZip) && w.list.Len() == 0:
		// Something else of that name, an index or a text.
		return extract.Found{}, nil
	case errors.Is(err, errJarLimit):
		w.list.Cut(extract.CutNesting, err.Error())
	case err != nil:
		return w.list.Found(), fmt.Errorf("read an archive: %w", err)
	}
	return w.list.Found(), nil
}

// isJar tells by its name whether a file is an archive of Java.
func isJar(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".jar", ".war", ".ear", ".par", ".sar", ".rar", ".kar", ".jpi", ".hpi", ".lpkg", ".nar":
		return true
	}
	return false
}

const manifestName = "META-INF/MANIFEST.MF"

// isPom tells whether a file says what an artifact is: mostly
// META-INF/maven/group/artifact/pom.properties.
func isPom(name string) bool { return path.Base(name) == "pom.properties" }

// wantedInJar tells whether a file within an archive says something.
func wantedInJar(name string) bool {
	return isJar(name) || isPom(name) || strings.EqualFold(name, manifestName)
}

// errJarLimit ends the walk through a file, of which the rest is not read.
var errJarLimit = errors.New("limit")

// jarWalk is the walk through one file.
type jarWalk struct {
	limits   javaLimits
	stopped  func() error
	done     <-chan struct{}
	list     *parse.List
	hold     chan struct{}
	holding  bool
	entries  int
	inflated int64
	held     int64
}

// archive reads an archive, given with the name of its file.
func (w *jarWalk) archive(r io.ReaderAt, size int64, name string, inside []string) error {
	z, err := openZip(r, size)
	if err != nil {
		return err
	}
	jar := &jar{name: name, inside: inside}
	err = z.entries(func(e zipEntry) error {
		if err := w.count(); err != nil {
			return err
		}
		if strings.HasSuffix(e.name, "/") || !wantedInJar(e.name) {
			return nil
		}
		if len(z.opened) == w.limits.wanted {
			return fmt.Errorf("%w: more than %d files of interest in an archive", errJarLimit, w.limits.wanted)
		}
		packed, err := z.open(e)
		if err == nil && isJar(e.name) {
			return w.nested(e, packed, inside)
		}
		var content io.Reader
		if err == nil {
			content, err = e.unpack(packed)
		}
		if err != nil {
			w.cut(inside, e.name, err)
			return nil
		}
		return w.file(jar, e.name, content)
	})
	jar.add(w.list, err == nil)
	return err
}

// count counts an entry, and ends the walk of those that are too many or late.
func (w *jarWalk) count() error {
	if err := w.stopped(); err != nil {
		return err
	}
	if w.entries++; w.entries > w.limits.entries {
		return fmt.Errorf("%w: more than %d entries", errJarLimit, w.limits.entries)
	}
	return nil
}

// file reads a file that says something of the archive that it is in.
func (w *jarWalk) file(j *jar, name string, content io.Reader) error {
	limited := w.counted(content)
	var err error
	if isPom(name) {
		err = j.readPom(limited)
	} else {
		err = j.readManifest(limited)
	}
	if errors.Is(err, errJarLimit) {
		return err
	}
	if err != nil {
		w.cut(j.inside, name, err)
	}
	return nil
}

// nested reads an archive within an archive.
func (w *jarWalk) nested(e zipEntry, packed *io.SectionReader, inside []string) error {
	if len(inside)+1 > w.limits.nesting {
		w.list.Cut(extract.CutNesting, fmt.Sprintf("archives within archives, more than %d: %.200q was not read", w.limits.nesting, e.name))
		return nil
	}
	inside = append(slices.Clone(inside), e.name)
	if e.method == zipStored {
		return w.below(inside, w.archive(packed, packed.Size(), e.name, inside))
	}
	content, err := e.unpack(packed)
	if err != nil {
		return w.below(inside, err)
	}
	return w.unpacked(e.name, content, inside)
}

// unpacked reads an archive that has to be unpacked: in memory, or as a stream
// if it is too large.
func (w *jarWalk) unpacked(name string, content io.Reader, inside []string) error {
	if !w.holding {
		select {
		case w.hold <- struct{}{}:
			w.holding = true
		case <-w.done:
			return w.stopped()
		}
	}
	before := w.held
	defer func() { w.held = before }()
	var memory growing
	rest := (w.limits.held - w.held) / 2
	limited := w.counted(content)
	n, err := io.Copy(&memory, io.LimitReader(limited, rest+1))
	switch {
	case err != nil:
		return w.below(inside, err)
	case n <= rest:
		w.held += n
		return w.below(inside, w.archive(&memory, n, name, inside))
	}
	w.held += n
	jar := &jar{name: name, inside: inside}
	err = streamZip(io.MultiReader(memory.reader(), limited), w.counted, func(name string, content io.Reader) error {
		if err := w.count(); err != nil {
			return err
		}
		switch {
		case strings.HasSuffix(name, "/"), !wantedInJar(name):
			return nil
		case !isJar(name):
			return w.file(jar, name, content)
		case len(inside)+1 > w.limits.nesting:
			w.list.Cut(extract.CutNesting, fmt.Sprintf("archives within archives, more than %d: %.200q was not read", w.limits.nesting, name))
			return nil
		}
		return w.unpacked(name, content, append(slices.Clone(inside), name))
	})
	jar.add(w.list, err == nil)
	return w.below(inside, err)
}

// below takes the error of an archive within another: what ends the walk goes
// on, anything else ends that archive only, with a cut.
func (w *jarWalk) below(inside []string, err error) error {
	if err == nil || errors.Is(err, errJarLimit) || w.stopped() != nil {
		return err
	}
	if errors.Is(err, errNoZip) {
		return nil // something else of that name
	}
	w.cut(inside[:len(inside)-1], inside[len(inside)-1], err)
	return nil
}

// cut says that a file within an archive could not be read.
func (w *jarWalk) cut(inside []string, name string, err error) {
	code := extract.CutParse
	if errors.Is(err, errOverlap) {
		code = extract.CutNesting
	}
	w.list.Cut(code, fmt.Sprintf("%.200q within the archive could not be read: %v", strings.Join(append(slices.Clone(inside), name), "!/"), err))
}

// counted returns a reader that counts what it reads as unpacked.
func (w *jarWalk) counted(r io.Reader) io.Reader {
	if i, ok := r.(*inflating); ok && i.w == w {
		return i
	}
	return &inflating{r: r, w: w}
}

// inflating counts what is unpacked of a file.
type inflating struct {
	r io.Reader
	w *jarWalk
}

// Read implements [io.Reader].
func (i *inflating) Read(b []byte) (int, error) {
	if i.w.inflated >= i.w.limits.inflated {
		return 0, fmt.Errorf("%w: more than %d bytes to unpack", errJarLimit, i.w.limits.inflated)
	}
	if err := i.w.stopped(); err != nil {
		return 0, err
	}
	n, err := i.r.Read(b)
	i.w.inflated += int64(n)
	return n, err
}
