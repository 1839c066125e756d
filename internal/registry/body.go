package registry

import (
	"context"
	"errors"
	"hash"
	"io"
	"sync/atomic"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// slowBody is the body of an answer that must keep coming: at least min bytes
// in each window of time that is spent waiting for it, or its end. A reader
// that takes its time between reads is not the registry's fault.
type slowBody struct {
	body   io.ReadCloser
	cancel context.CancelFunc
	window time.Duration
	min    int64
	at     Origin

	waited time.Duration // within this window
	got    int64         // within this window
}

func (b *slowBody) Read(p []byte) (int, error) {
	var cut atomic.Bool
	started := time.Now()
	timer := time.AfterFunc(b.window-b.waited, func() {
		cut.Store(true)
		b.cancel()
	})
	n, err := b.body.Read(p)
	timer.Stop()
	b.waited += time.Since(started)
	if b.got += int64(n); b.got >= b.min {
		b.waited, b.got = 0, 0
	}
	if err != nil && !errors.Is(err, io.EOF) && cut.Load() {
		err = tidewaiter.Wrap(tidewaiter.Unavailable, &Failure{Reason: ReasonTimeout, Err: err},
			"%s sends too slowly; check the network, the proxy, and the load of the registry", b.at)
	}
	return n, err
}

func (b *slowBody) Close() error {
	err := b.body.Close()
	b.cancel()
	return err
}

// verified is a body that must be of a size and have a digest. Its end is
// reported only if both are right.
type verified struct {
	io.ReadCloser
	digest tidewaiter.Digest
	hash   hash.Hash
	left   int64
	at     Origin
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.left -= int64(n)
	v.hash.Write(p[:n])
	switch {
	case v.left < 0:
		return 0, failure(tidewaiter.Invalid, ReasonDigest, "%s sends more bytes than the manifest says", v.at)
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, networkError(err, v.at)
	case v.left > 0:
		return n, failure(tidewaiter.Unavailable, ReasonNetwork, "%s sends fewer bytes than the manifest says", v.at)
	case !v.digest.Matches(v.hash):
		return n, failure(tidewaiter.Invalid, ReasonDigest, "%s sends other bytes than those asked for: their digest is wrong", v.at)
	}
	return n, io.EOF
}
