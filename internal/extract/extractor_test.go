package extract_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

func TestConform(t *testing.T) {
	extracttest.Conform(t, extracttest.Lists{}, extracttest.Sample{Path: "a.list", Mode: 0o644, Body: []byte("one 1\ntwo 2\n")}, extracttest.Sample{Path: "etc/os-release", Body: []byte("x")})
}

// odd is an extractor of files named "odd" that does as it is told.
type odd struct {
	wants   func(path string) bool
	extract func(ctx context.Context, in extract.Input) (extract.Found, error)
}

func (odd) Name() string { return "test/odd" }
func (odd) Version() int { return 1 }
func (o odd) Wants(path string, _ fs.FileMode, _ int64) bool {
	if o.wants != nil {
		return o.wants(path)
	}
	return strings.HasPrefix(path, "odd")
}
func (o odd) Extract(ctx context.Context, in extract.Input) (extract.Found, error) {
	return o.extract(ctx, in)
}

// TestOddExtractors has extractors that fail in all the ways that there are.
// The other one finds its packages all the same.
func TestOddExtractors(t *testing.T) {
	archive := extracttest.Tar(t, extracttest.File("a.list", "one 1\n"), extracttest.File("odd", "content"), extracttest.File("odd2", "content"), extracttest.File("z.list", "two 2\n"))
	released := make(chan struct{})
	t.Cleanup(func() { close(released) })
	for _, c := range []struct {
		name    string
		extract func(ctx context.Context, in extract.Input) (extract.Found, error)
		cuts    []string
		reason  string
	}{
		{"panics", func(context.Context, extract.Input) (extract.Found, error) {
			panic("a parser")
		}, []string{"parse odd", "parse odd2"}, "crashed"},
		{"ends its goroutine", func(context.Context, extract.Input) (extract.Found, error) {
			runtime.Goexit()
			return extract.Found{}, nil
		}, []string{"parse odd", "parse odd2"}, "crashed"},
		{"fails", func(context.Context, extract.Input) (extract.Found, error) {
			return extract.Found{}, errors.New("\x1b[31mbad\nnews " + strings.Repeat("x", 1000))
		}, []string{"parse odd", "parse odd2"}, "?[31mbad?news xxx"},
		{"hangs, until its context ends", func(ctx context.Context, _ extract.Input) (extract.Found, error) {
			<-ctx.Done()
			return extract.Found{}, ctx.Err()
		}, []string{"time odd", "time odd2"}, "too long"},
		{"reads for ever", func(_ context.Context, in extract.Input) (extract.Found, error) {
			for {
				if _, err := in.ReadAt(make([]byte, 1), 0); err != nil {
					return extract.Found{}, err
				}
			}
		}, []string{"time odd", "time odd2"}, "too long"},
		{"hangs", func(context.Context, extract.Input) (extract.Found, error) {
			<-released
			return extract.Found{}, nil
		}, []string{"time odd", "time odd2"}, "did not stop"},
		{"returns cuts", func(context.Context, extract.Input) (extract.Found, error) {
			return extract.Found{Cuts: []tidewaiter.Cut{{Code: extract.CutNesting, Reason: "too deep"}}}, nil
		}, []string{"nesting odd", "nesting odd2"}, "too deep"},
		{"finds a package without a name", func(context.Context, extract.Input) (extract.Found, error) {
			return extract.Found{Packages: []tidewaiter.Package{{Version: "1"}}}, nil
		}, []string{"parse odd", "parse odd2"}, "without a name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := lists()
			o.Extractors = append(o.Extractors, odd{extract: c.extract})
			o.Limits.FileTime = 10 * time.Millisecond
			o.Workers = 1
			if c.name != "hangs" && !strings.Contains(c.name, "ever") && !strings.Contains(c.name, "until") {
				o.Limits.FileTime = time.Minute
			}
			facts := extracttest.Layer(t, archive, archive, o)
			same(t, "cuts", codes(facts), c.cuts)
			same(t, "packages", found(facts), []string{"a.list one 1", "z.list two 2"})
			for _, cut := range facts.Cuts[:1] {
				if !strings.Contains(cut.Reason, c.reason) || len(cut.Reason) > 310 {
					t.Errorf("reason is %q", cut.Reason)
				}
			}
		})
	}
}

// TestWantsPanics has an extractor that crashes over a path.
func TestWantsPanics(t *testing.T) {
	archive := extracttest.Tar(t, extracttest.File("a.list", "one 1\n"))
	o := lists()
	o.Extractors = append(o.Extractors, odd{
		wants:   func(string) bool { panic("a path") },
		extract: func(context.Context, extract.Input) (extract.Found, error) { return extract.Found{}, errors.New("no") },
	})
	facts := extracttest.Layer(t, archive, archive, o)
	same(t, "cuts", codes(facts), []string{"parse a.list"})
	same(t, "packages", found(facts), []string{"a.list one 1"})
}

// TestStringsAreCopies checks that a package does not keep the file that its
// name was cut from.
func TestStringsAreCopies(t *testing.T) {
	const files = 32
	var entries []extracttest.Entry
	for i := range files {
		entries = append(entries, extracttest.File("odd"+string(rune('a'+i)), strings.Repeat("x", 1<<20)))
	}
	archive := extracttest.Tar(t, entries...)
	o := extract.Options{Extractors: []extract.Extractor{odd{extract: func(_ context.Context, in extract.Input) (extract.Found, error) {
		b, err := io.ReadAll(io.NewSectionReader(in, 0, in.Size))
		text := string(b)
		return extract.Found{Packages: []tidewaiter.Package{{Name: text[:10], Licenses: []string{text[:20]}}}}, err
	}}}}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	facts := extracttest.Layer(t, archive, archive, o)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > files<<20/4 || len(facts.Packages) != files {
		t.Errorf("%d packages keep %d bytes", len(facts.Packages), kept)
	}
	runtime.KeepAlive(facts)
	runtime.KeepAlive(archive)
}

// TestHardLinks has hard links that are wanted, to files that were not.
func TestHardLinks(t *testing.T) {
	archive := extracttest.Tar(t,
		extracttest.File("store/1", "one 1\n"), extracttest.File("store/2", "two 2\n"), extracttest.File("store/big", strings.Repeat("p 1\n", 1000)),
		extracttest.Link("a.list", "store/1"), extracttest.Link("b.list", "a.list"), extracttest.Link("c.list", "store/2"),
		extracttest.File("store/2", "three 3\n"), extracttest.Link("d.list", "store/2"), extracttest.Link("e.list", "store/big"), extracttest.Link("f.list", "elsewhere"),
		extracttest.Link("plain", "elsewhere"))
	blob := extracttest.Gzip(t, archive)
	o := lists()
	o.Limits = extract.Limits{HeldFile: 100, SpoolBytes: 1000}
	facts := extracttest.Layer(t, blob, archive, o)
	same(t, "cuts, read once", codes(facts), []string{"entry a.list", "entry b.list", "entry c.list", "entry d.list", "entry e.list", "entry f.list"})

	opened := 0
	o.Reopen = func(context.Context) (io.ReadCloser, error) {
		opened++
		return io.NopCloser(bytes.NewReader(blob)), nil
	}
	facts = extracttest.Layer(t, blob, archive, o)
	same(t, "cuts", codes(facts), []string{"file_too_large e.list", "entry f.list"})
	same(t, "packages", found(facts), []string{"a.list one 1", "b.list one 1", "c.list two 2", "d.list three 3"})
	if opened != 1 || !facts.Verified {
		t.Errorf("opened %d times, verified %v", opened, facts.Verified)
	}
	for _, f := range facts.Files {
		if f.Path == "c.list" && f.SHA256 != tidewaiter.DigestOf([]byte("two 2\n")) {
			t.Errorf("c.list: %+v", f)
		}
	}

	o.Reopen = func(context.Context) (io.ReadCloser, error) { return nil, errors.New("gone") }
	desc := tidewaiter.Descriptor{Digest: tidewaiter.DigestOf(blob), Size: int64(len(blob))}
	if _, err := extract.Layer(t.Context(), bytes.NewReader(blob), desc, tidewaiter.DigestOf(archive), o); err == nil {
		t.Error("the second reading failed, and no error")
	}
	o.Reopen = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }
	if _, err := extract.Layer(t.Context(), bytes.NewReader(blob), desc, tidewaiter.DigestOf(archive), o); err == nil {
		t.Error("the second reading gave other bytes, and no error")
	}
}

// TestHardLinkToAnotherLayer has a link that is wanted by its name alone: how
// large its target is, which is in a layer below, cannot be known.
func TestHardLinkToAnotherLayer(t *testing.T) {
	archive := extracttest.Tar(t, extracttest.Link("app/lib.jar", "app/lib.txt"), extracttest.Link("app/notes.txt", "app/other.txt"))
	o := extract.Options{Extractors: []extract.Extractor{large{odd{wants: func(path string) bool { return strings.HasSuffix(path, ".jar") }}}}}
	facts := extracttest.Layer(t, archive, archive, o)
	same(t, "cuts", codes(facts), []string{"entry app/lib.jar"})
}

// large wants what another extractor does, if it is of some size.
type large struct{ extract.Extractor }

func (large) Name() string { return "test/large" }
func (l large) Wants(path string, mode fs.FileMode, size int64) bool {
	return size > 100 && l.Extractor.Wants(path, mode, size)
}
