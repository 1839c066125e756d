package extract

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/tidewaiter/tidewaiter"
)

// engineVersion counts the changes of what this package itself finds.
const engineVersion = 2

// Version names a set of extractors: their names and versions, in any order,
// and the engine's. Facts of other versions are not compared.
func Version(extractors []Extractor) string {
	names := make([]string, 0, len(extractors))
	for _, e := range extractors {
		names = append(names, fmt.Sprintf("%s@%d", e.Name(), e.Version()))
	}
	slices.Sort(names)
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	return fmt.Sprintf("%d-%s", engineVersion, hex.EncodeToString(sum[:8]))
}

// Options are how a layer is read. The zero value finds files only.
type Options struct {
	Extractors []Extractor
	Limits     Limits
	// Verified says that the reader ends with io.EOF only after the bytes that
	// the descriptor names, as that of a registry client does. Else Layer checks.
	Verified bool
	// Reopen begins to read the layer once more. It is called when a hard link is
	// wanted whose target was not, and had gone by; without it such a link
	// becomes a cut.
	Reopen   func(context.Context) (io.ReadCloser, error)
	SpoolDir string // for the spool file; "" is the system's folder for temporary files
	Workers  int    // that run extractors: 2
}

// Layer reads a layer and returns its facts. blob holds the layer as desc
// describes it, compressed as its first bytes say, whatever its media type says.
// diffID is what the image's config says of the layer uncompressed; bytes that
// have another one get a cut, and are not Verified.
//
// What is wrong with the layer itself becomes cuts and notes. An error is the
// context's, or one of reading: the network's, or bytes other than desc says,
// of kind Invalid or Unavailable. There are no facts then.
//
// blob is read to its end, unless a limit bites; a blob that is an io.Closer is
// then closed, to end a Read that is under way, for which Layer waits. An extractor that hangs on and ignores its context is left
// to itself; it is a leak that only the end of the process mends.
func Layer(ctx context.Context, blob io.Reader, desc tidewaiter.Descriptor, diffID tidewaiter.Digest, o Options) (tidewaiter.LayerFacts, error) {
	facts := tidewaiter.LayerFacts{DiffID: diffID, Extractors: Version(o.Extractors)}
	if _, err := tidewaiter.ParseDigest(string(diffID)); err != nil {
		return facts, fmt.Errorf("read diff ID: %w", err)
	}
	if cut, ok := Unreadable(desc); ok && (blob == nil || cut.Code == CutEncrypted) {
		facts.Cuts = []tidewaiter.Cut{cut}
		return facts, nil
	}
	o.Limits = o.Limits.withDefaults()
	if o.Workers <= 0 {
		o.Workers = 2
	}
	outer := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, o.Limits.Time, errTime)
	defer cancel()

	spool := newStore(o.Limits, o.SpoolDir)
	extractors := newPool(o.Extractors, o.Limits)
	w := newWalker(o.Limits, spool, extractors)
	w.sum = sha256.New()
	w.pick = func(_ int, f *tidewaiter.File) []want { return extractors.wants(f) }
	s := pass(ctx, blob, desc, diffID, o, w)
	if err := s.broken(outer); err != nil {
		return tidewaiter.LayerFacts{}, err
	}
	content, missing := contents(w.entries), make(map[int][]want)
	found := w.facts(content, missing)
	if len(missing) > 0 {
		if o.Reopen != nil && s.verified {
			err := again(ctx, desc, diffID, o, w, missing)
			if err != nil && (outer.Err() != nil || ctx.Err() == nil) {
				return tidewaiter.LayerFacts{}, err
			}
		}
		found = w.facts(content, nil)
	}
	found.DiffID, found.Extractors, found.Size, found.Verified = facts.DiffID, facts.Extractors, s.size, s.verified
	s.explain(&found, desc)
	if extractors.tooMany {
		found.Cuts = append(found.Cuts, tidewaiter.Cut{Code: CutLayerSize, Reason: fmt.Sprintf("the layer has more than %d packages", o.Limits.Packages)})
	}
	return found, nil
}

// Unreadable tells, and says by a cut, that a layer is encrypted, or that it is
// foreign: it need not be in the registry, and its URLs are never dialled.
func Unreadable(desc tidewaiter.Descriptor) (tidewaiter.Cut, bool) {
	switch {
	case strings.HasSuffix(desc.MediaType, "+encrypted"):
		return tidewaiter.Cut{Code: CutEncrypted, Reason: "the layer is encrypted"}, true
	case strings.Contains(desc.MediaType, ".foreign."), strings.Contains(desc.MediaType, ".nondistributable."):
		return tidewaiter.Cut{Code: CutForeign, Reason: "the layer is not in the registry"}, true
	}
	return tidewaiter.Cut{}, false
}

// errTime is why a layer's context ended, if it was for its own limit.
var errTime = errors.New("the layer took too long")

// A stream is how one pass over a layer went.
type stream struct {
	kind     string // of compression
	blobErr  error  // of reading the blob; nil if it was read to its end
	plainErr error  // of decompression, or a limit; nil likewise
	tarErr   error  // of the archive, or a limit; nil likewise
	timedOut bool
	size     int64 // bytes, uncompressed
	verified bool
	junk     bool // after the end of the archive
}

// pass takes a layer through all the stations: it is read and verified,
// decompressed, hashed, and walked through, each in a goroutine of its own, so
// that they overlap. It returns after all of them and all extractors are done.
func pass(ctx context.Context, blob io.Reader, desc tidewaiter.Descriptor, diffID tidewaiter.Digest, o Options, w *walker) stream {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shut := func() bool { return true }
	if c, ok := blob.(io.Closer); ok {
		shut = context.AfterFunc(ctx, func() { _ = c.Close() })
	}
	if !o.Verified {
		blob = &verified{src: blob, desc: desc, hash: desc.Digest.Hash(), left: desc.Size}
	}
	var wait sync.WaitGroup
	var s stream
	freeIn, in := newFree(compressedBuffers), newFlow(compressedBuffers)
	freeOut, plain, hashed := newFree(plainBuffers), newFlow(plainBuffers), newFlow(plainBuffers)
	hash := diffID.Hash()
	wait.Go(func() { pump(ctx, blob, freeIn, in, func(int64) error { return nil }) })
	wait.Go(func() {
		compressed := &flowReader{in: in, free: freeIn}
		s.kind = decompress(ctx, compressed, freeOut, plain, o.Limits)
		if isLimit(plain.err) || ctx.Err() != nil {
			return
		}
		compressed.drain() // what follows; and the verdict on the digest
		if !errors.Is(compressed.err, io.EOF) {
			s.blobErr = compressed.err
		}
	})
	wait.Go(func() { digest(plain, hashed, hash) })

	w.pool.start(ctx, o.Workers)
	r := &flowReader{in: hashed, free: freeOut}
	s.tarErr = w.walk(ctx, r)
	if ctx.Err() == nil { // whatever ended the walk, the rest belongs to the diff ID
		s.junk = !r.drain() && s.tarErr == nil
	}
	w.pool.finish()
	s.timedOut = !errors.Is(r.err, io.EOF) && errors.Is(context.Cause(ctx), errTime)
	if !errors.Is(r.err, io.EOF) {
		s.plainErr = r.err
	}
	if r.err == nil || isLimit(r.err) {
		cancel() // the stations before this one are not at their end
	}
	wait.Wait()
	shut()
	s.size, s.verified = r.read, s.blobErr == nil && diffID.Matches(hash)
	return s
}

func isLimit(err error) bool {
	_, ok := errors.AsType[*layerCut](err)
	return ok
}

// decompress is the station that makes the tar archive, within the limits.
func decompress(ctx context.Context, compressed *flowReader, free <-chan []byte, out *flow, l Limits) (kind string) {
	r, kind, stop, err := newDecompressor(compressed, l.ZstdWindow)
	if err != nil {
		out.end(err)
		return kind
	}
	defer stop()
	pump(ctx, r, free, out, func(n int64) error {
		switch {
		case n > l.LayerBytes:
			return tooLarge("the layer has more than %d bytes, uncompressed", l.LayerBytes)
		case n > l.RatioFrom && n/l.Ratio > compressed.read:
			return tooLarge("the layer is more than %d times as large as its compressed form", l.Ratio)
		}
		return nil
	})
	return kind
}

// broken returns an error if there can be no facts.
func (s *stream) broken(outer context.Context) error {
	switch {
	case outer.Err() != nil:
		return outer.Err()
	case s.blobErr != nil && !s.timedOut:
		return fmt.Errorf("read layer: %w", s.blobErr)
	}
	return nil
}

// explain adds what is to be said of the layer as a whole.
func (s *stream) explain(f *tidewaiter.LayerFacts, desc tidewaiter.Descriptor) {
	cut := func(code, reason string) {
		f.Cuts = append(f.Cuts, tidewaiter.Cut{Code: code, Reason: reason})
	}
	note := func(text string) { f.Notes = append(f.Notes, text) }
	limit, limited := errors.AsType[*layerCut](s.plainErr)
	switch {
	case s.timedOut:
		cut(CutTime, errTime.Error())
	case limited:
		f.Cuts = append(f.Cuts, limit.Cut)
	case s.plainErr != nil && s.verified:
		note("bytes that are no layer follow the compressed layer")
	case s.plainErr != nil:
		cut(CutCompressed, badStream(s.plainErr))
	case !s.verified:
		cut(CutDigest, "the layer is not the one that the image's config names: its diff ID is another")
	}
	if own, ok := errors.AsType[*layerCut](s.tarErr); ok && own != limit {
		f.Cuts = append(f.Cuts, own.Cut)
	} else if s.tarErr != nil && s.plainErr == nil && !s.timedOut {
		cut(CutEntry, "the archive is damaged: "+readable(s.tarErr.Error()))
	}
	if s.kind != "" && !mediaTypeFits(desc.MediaType, s.kind) {
		note("the media type is not that of the layer's bytes, which are " + s.kind)
	}
	if s.junk {
		note("bytes that are not zeros follow the end of the archive")
	}
}

// again reads the layer once more, for contents that had gone by when they
// turned out to be wanted.
func again(ctx context.Context, desc tidewaiter.Descriptor, diffID tidewaiter.Digest, o Options, first *walker, missing map[int][]want) error {
	blob, err := o.Reopen(ctx)
	if err != nil {
		return fmt.Errorf("read layer again: %w", err)
	}
	defer blob.Close() //nolint:errcheck // read
	w := newWalker(o.Limits, first.store, first.pool)
	w.pick = func(n int, _ *tidewaiter.File) []want { return missing[n] }
	s := pass(ctx, blob, desc, diffID, o, w)
	for n, c := range w.unread {
		first.unread[n] = c
	}
	switch {
	case s.blobErr != nil:
		return fmt.Errorf("read layer again: %w", s.blobErr)
	case !s.verified && !s.timedOut:
		return tidewaiter.Errorf(tidewaiter.Unavailable, "a layer has other bytes when it is read once more")
	}
	return nil
}
