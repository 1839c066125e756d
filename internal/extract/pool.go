package extract

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
)

// grace is how long an extractor may take to notice that its time is up.
const grace = 500 * time.Millisecond

// A want is an extractor that is to see some content, as the file of a path.
type want struct {
	extractor int // its index
	path      string
}

// A job is content for the extractors that want it.
type job struct {
	content int // index of the entry that brought it
	mode    fs.FileMode
	size    int64
	held    *held
	wants   []want
}

// A finding is what belongs to some content in the eyes of one extractor.
type finding struct {
	content   int
	extractor int
}

// An outcome is what an extractor made of some content.
type outcome struct {
	found Found
	cut   tidewaiter.Cut // without a path; Code is "" if there is none
}

// A pool runs extractors.
type pool struct {
	extractors []Extractor
	limits     Limits
	jobs       chan job
	wait       sync.WaitGroup
	stuck      []atomic.Bool // extractors that did not stop when told to

	mu       sync.Mutex
	outcomes map[finding]outcome
	packages int
	owned    int
	strings  map[string]string
	tooMany  bool
}

func newPool(extractors []Extractor, l Limits) *pool {
	return &pool{
		extractors: extractors, limits: l,
		stuck:    make([]atomic.Bool, len(extractors)),
		outcomes: make(map[finding]outcome),
		strings:  make(map[string]string),
	}
}

// start begins to take jobs.
func (p *pool) start(ctx context.Context, workers int) {
	p.jobs = make(chan job)
	for range workers {
		p.wait.Go(func() {
			for j := range p.jobs {
				p.work(ctx, j)
			}
		})
	}
}

// add hands a job over; it waits for a free worker.
func (p *pool) add(ctx context.Context, j job) error {
	select {
	case p.jobs <- j:
		return nil
	case <-ctx.Done():
		j.held.release()
		return context.Cause(ctx)
	}
}

// finish waits until all jobs are done.
func (p *pool) finish() {
	close(p.jobs)
	p.wait.Wait()
}

func (p *pool) work(ctx context.Context, j job) {
	defer j.held.release()
	for _, w := range j.wants {
		o := p.extract(ctx, j, w)
		p.keep(finding{j.content, w.extractor}, o)
	}
}

// errRevoked is what an extractor reads that was given up.
var errRevoked = errors.New("the file is no longer there")

// A lease lets an extractor read a file while it may.
type lease struct {
	ctx context.Context //nolint:containedctx // of one call of Extract, whose reads it ends
	io.ReaderAt
	size    int64
	revoked atomic.Bool
}

func (l *lease) ReadAt(p []byte, off int64) (int, error) {
	if l.revoked.Load() {
		return 0, errRevoked
	}
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if off >= l.size {
		return 0, io.EOF
	}
	return l.ReaderAt.ReadAt(p, off)
}

// extract runs one extractor. It does not wait for one that neither comes to an
// end nor heeds its context: that one goes on without its file, and is not
// asked again.
func (p *pool) extract(ctx context.Context, j job, w want) outcome {
	const tooLong = "an extractor took too long"
	if p.stuck[w.extractor].Load() {
		return outcome{cut: tidewaiter.Cut{Code: CutTime, Reason: "an extractor that hung on another file was not asked again"}}
	}
	ctx, cancel := context.WithTimeout(ctx, p.limits.FileTime)
	defer cancel()
	l := &lease{ctx: ctx, ReaderAt: j.held, size: j.size}
	defer l.revoked.Store(true)
	done := make(chan outcome, 1)
	go func() {
		o := outcome{cut: tidewaiter.Cut{Code: CutParse, Reason: "an extractor crashed"}}
		defer func() {
			_ = recover() // hostile bytes, and other people's parsers
			done <- o
		}()
		found, err := p.extractors[w.extractor].Extract(ctx, Input{
			Path: w.path, Mode: j.mode, Size: j.size, ReaderAt: l,
			Nesting: Nesting{p.limits.NestedDepth, p.limits.NestedBytes, p.limits.NestedEntries},
		})
		o = outcome{found: found}
		switch {
		case err != nil && ctx.Err() != nil:
			o.cut = tidewaiter.Cut{Code: CutTime, Reason: tooLong}
		case err != nil:
			o.cut = tidewaiter.Cut{Code: CutParse, Reason: readable(err.Error())}
		}
	}()
	select {
	case o := <-done:
		return o
	case <-ctx.Done():
	}
	select {
	case o := <-done:
		return o
	case <-time.After(grace):
		p.stuck[w.extractor].Store(true)
		return outcome{cut: tidewaiter.Cut{Code: CutTime, Reason: tooLong + ", and did not stop when told to"}}
	}
}

// keep keeps an outcome, within bounds.
func (p *pool) keep(f finding, o outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if room := p.limits.Packages - p.packages; len(o.found.Packages) > room {
		o.found.Packages = o.found.Packages[:room]
		p.tooMany = true
	}
	p.packages += len(o.found.Packages)
	name := p.extractors[f.extractor].Name()
	var kept []tidewaiter.Package
	for _, pkg := range o.found.Packages {
		if pkg.Extractor == "" {
			pkg.Extractor = name
		}
		if !p.bound(&pkg) {
			o.found.Cuts = append(o.found.Cuts, tidewaiter.Cut{Code: CutParse, Reason: "a package without a name, or with too long a one, was left out"})
			continue
		}
		kept = append(kept, pkg)
	}
	o.found.Packages = kept
	o.found.Systems = slices.Clone(o.found.Systems[:min(len(o.found.Systems), 16)])
	for i := range o.found.Systems {
		s := &o.found.Systems[i]
		for _, text := range []*string{&s.ID, &s.VersionID, &s.Codename, &s.Name, &s.CPE} {
			*text = p.text(*text)
		}
		s.IDLike = p.texts(s.IDLike, 16)
	}
	o.found.Cuts = o.found.Cuts[:min(len(o.found.Cuts), maxFileCuts)]
	p.owned += o.found.Owned.limit(p.limits.Owned - p.owned)
	p.outcomes[f] = o
}

const (
	maxText     = 1024 // bytes of a name, a version, a license
	maxLicenses = 64
	maxInside   = 32
	maxFileCuts = 100 // of one file
)

// bound shortens what may be long, and refuses what then would be another package.
func (p *pool) bound(pkg *tidewaiter.Package) bool {
	if pkg.Name == "" || len(pkg.Name) > maxText || len(pkg.Version) > maxText {
		return false
	}
	for _, text := range []*string{
		&pkg.Ecosystem, &pkg.Name, &pkg.Version, &pkg.SourceName, &pkg.SourceVersion,
		&pkg.Architecture, &pkg.Type, &pkg.Namespace, &pkg.Extractor,
	} {
		*text = p.text(*text)
	}
	pkg.Licenses = p.texts(pkg.Licenses, maxLicenses)
	pkg.Inside = p.texts(pkg.Inside, maxInside)
	return true
}

func (p *pool) texts(list []string, most int) []string {
	var kept []string
	for _, s := range list[:min(len(list), most)] {
		kept = append(kept, p.text(s))
	}
	return kept
}

// text returns a bounded copy of s in UTF-8 without NUL, the same for the same
// text: an extractor's strings may be parts of the file that it read, and would
// keep all of it.
func (p *pool) text(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\ufffd"), "\ufffd")
	}
	if kept, ok := p.strings[s]; ok {
		return kept
	}
	s = strings.Clone(s)
	p.strings[s] = s
	return s
}

// wants returns the extractors that want to see a file.
func (p *pool) wants(f *tidewaiter.File) []want {
	var list []want
	for i, e := range p.extractors {
		if wanted(e, f) {
			list = append(list, want{i, f.Path})
		}
	}
	return list
}

// wanted asks an extractor. One that crashes over a path gets to see the file:
// what it does then is recorded.
func wanted(e Extractor, f *tidewaiter.File) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = true
		}
	}()
	return e.Wants(f.Path, f.Mode, f.Size)
}
