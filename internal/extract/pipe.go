package extract

import (
	"context"
	"errors"
	"hash"
	"io"

	"github.com/tidewaiter/tidewaiter"
)

// The buffers of the two rings, which bound what is under way between the
// registry and the decompressor, and between that and the tar reader.
const (
	bufferSize        = 256 << 10
	compressedBuffers = 4
	plainBuffers      = 8
)

// A flow carries filled buffers from one goroutine to the next. Sending never
// blocks: there is room for all the buffers that there are.
type flow struct {
	full chan []byte
	err  error // why no more come, io.EOF after the last; set before full is closed
}

func newFlow(buffers int) *flow { return &flow{full: make(chan []byte, buffers)} }

func (f *flow) end(err error) {
	f.err = err
	close(f.full)
}

// newFree returns the place where empty buffers wait.
func newFree(buffers int) chan []byte {
	free := make(chan []byte, buffers)
	for range buffers {
		free <- make([]byte, bufferSize)
	}
	return free
}

// empty takes an empty buffer.
func empty(ctx context.Context, free <-chan []byte) ([]byte, error) {
	select {
	case b := <-free:
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// flowReader reads a flow and gives its buffers back.
type flowReader struct {
	in   *flow
	free chan<- []byte
	full []byte // the buffer at hand
	rest []byte // of it, what was not read
	read int64
	err  error // why no more came
}

func (r *flowReader) Read(p []byte) (int, error) {
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.read += int64(n)
	return n, nil
}

// fill sees to it that there is a rest.
func (r *flowReader) fill() error {
	for len(r.rest) == 0 {
		if r.full != nil {
			r.free <- r.full[:cap(r.full)]
			r.full = nil
		}
		b, ok := <-r.in.full
		if !ok {
			r.err = r.in.err
			return r.err
		}
		r.full, r.rest = b, b
	}
	return nil
}

// drain reads what is left, and tells whether all of it was zeros.
func (r *flowReader) drain() (zeros bool) {
	zeros = true
	for r.fill() == nil {
		for zeros && len(r.rest) > 0 {
			zeros = r.rest[0] == 0
			r.rest = r.rest[1:]
			r.read++
		}
		r.read += int64(len(r.rest))
		r.rest = nil
	}
	return zeros
}

// pump fills buffers from src until it ends, each as full as it gets. check
// sees how many bytes came so far and may end it.
func pump(ctx context.Context, src io.Reader, free <-chan []byte, out *flow, check func(n int64) error) {
	var total int64
	for {
		b, err := empty(ctx, free)
		if err != nil {
			out.end(err)
			return
		}
		n := 0
		for n < len(b) && err == nil {
			var m int
			m, err = src.Read(b[n:])
			n += m
		}
		if total += int64(n); err == nil || errors.Is(err, io.EOF) {
			if problem := check(total); problem != nil {
				err = problem
			}
		}
		if n > 0 {
			out.full <- b[:n]
		}
		if err != nil {
			out.end(err)
			return
		}
	}
}

// digest hashes a flow on its way.
func digest(in, out *flow, h hash.Hash) {
	for b := range in.full {
		h.Write(b)
		out.full <- b
	}
	out.end(in.err)
}

// verified reads what must have a size and a digest: it ends with io.EOF only
// if both are right.
type verified struct {
	src  io.Reader
	desc tidewaiter.Descriptor
	hash hash.Hash
	left int64
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.src.Read(p)
	v.hash.Write(p[:n])
	v.left -= int64(n)
	switch {
	case v.left < 0:
		return 0, tidewaiter.Errorf(tidewaiter.Invalid, "a layer has more bytes than its manifest says")
	case !errors.Is(err, io.EOF):
		return n, err
	case v.left > 0:
		return n, tidewaiter.Errorf(tidewaiter.Unavailable, "a layer has fewer bytes than its manifest says")
	case !v.desc.Digest.Matches(v.hash):
		return n, tidewaiter.Errorf(tidewaiter.Invalid, "a layer has other bytes than its manifest says: their digest is wrong")
	}
	return n, io.EOF
}
