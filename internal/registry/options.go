package registry

import (
	"context"
	"crypto/x509"
	"math/rand/v2"
	"net"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// Limits of what a registry may make us read or do.
const (
	MaxManifest     = 4 << 20  // bytes of a manifest, as the distribution specification advises
	MaxConfig       = 8 << 20  // bytes of an image's config
	MaxConfigs      = 64 << 20 // bytes of the configs of an index that are kept
	MaxAnswer       = 8 << 20  // bytes of one page of a product's API
	MaxPages        = 10_000   // pages of one listing
	MaxTags         = 100_000  // tags of one repository
	MaxRepositories = 100_000  // repositories of one registry
	MaxDescriptors  = 1_000    // descriptors in one manifest or index
	MaxNesting      = 3        // indexes within indexes
	maxRedirects    = 5
	maxToken        = 64 << 10 // bytes of a token service's answer
)

// Options are what tests and callers may change. The zero value is right for
// production.
type Options struct {
	Now         func() time.Time                           // time.Now if nil
	Sleep       func(context.Context, time.Duration) error // waits, or returns the context's error
	Random      func() float64                             // [0, 1): jitter
	Resolver    *net.Resolver                              // names to addresses
	Roots       *x509.CertPool                             // the usual authorities; nil is the system's
	Attempts    int                                        // per request, rate limits and failures included; 5 if 0
	MaxWait     time.Duration                              // the longest Retry-After that is waited for; 5 minutes if 0
	Timeout     time.Duration                              // from a request to the header of its answer, and for all of a manifest or page; 1 minute if 0
	IdleTimeout time.Duration                              // a blob's body must bring MinBytes within this time; 30 seconds if 0
	MinBytes    int64                                      // 16 KiB if 0
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Attempts == 0 {
		o.Attempts = 5
	}
	if o.MaxWait == 0 {
		o.MaxWait = 5 * time.Minute
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 30 * time.Second
	}
	if o.MinBytes == 0 {
		o.MinBytes = 16 << 10
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// userAgent is what we call ourselves.
const userAgent = "tidewaiter-scan-component/" + tidewaiter.Version
