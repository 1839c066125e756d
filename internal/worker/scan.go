package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/access"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/codec"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

const (
	// layersAtOnce is how many layers all scans together look into at a time: two
	// keep two cores busy, and what they hold in memory adds up.
	layersAtOnce = 2
	// pullAttempts is how often a layer is begun before the scan fails for now.
	pullAttempts = 3
	// busyWait is the time between two questions for a layer that others are at.
	busyWait = time.Second
	// missingRounds is how often the server may say that it lacks facts which it
	// had before.
	missingRounds = 5

	defaultLayers     = 200
	defaultImageBytes = 20 << 30
	defaultImageTime  = time.Hour
)

// errImageTime is why the context of a scan ended, if it was for its limit.
var errImageTime = errors.New("the scan of the image took too long")

// scanner is a scan under way.
type scanner struct {
	*job
	config     registry.Config
	client     *registry.Client
	repository string
	limits     tidewaiter.ScanLimits
	limitsName string
	wantsVEX   bool // that is attached
}

// scan looks into an image, or into all images of an index.
func (j *job) scan(ctx context.Context, work protocol.Scan) *protocol.FinishRequest {
	config, refused := j.config(work.Registry)
	if refused != nil {
		return refused
	}
	client, err := registry.NewClient(config, j.worker.options.Registry)
	if err != nil {
		return refusedSetting(err)
	}
	defer client.Close()
	j.progress.client.Store(client)
	s := &scanner{
		job: j, config: config, client: client, repository: work.Repository,
		limits: tidewaiter.ScanLimits(work.Limits), limitsName: limitsName(work.Limits), wantsVEX: work.AttachedVEX,
	}
	limit := defaultImageTime
	if n := s.limits.ImageSeconds; n > 0 {
		limit = time.Duration(n) * time.Second
	}
	timed, cancel := context.WithTimeoutCause(ctx, limit, errImageTime)
	defer cancel()
	err = s.run(timed, work.Digest)
	switch {
	case ctx.Err() != nil || errors.Is(err, errLost):
		return nil // nothing that says anything about the image
	case errors.Is(context.Cause(timed), errImageTime):
		return failed(tidewaiter.FailTimeout, fmt.Sprintf("%s: more than %d seconds", errImageTime, int(limit.Seconds())))
	case err != nil:
		j.log.Warn("the scan failed", "error", err)
		return s.failure(err)
	}
	return &protocol.FinishRequest{Outcome: protocol.OutcomeDone}
}

// limitsName names limits, so that facts which were cut short by others are
// not taken for these.
func limitsName(l protocol.ScanLimits) string {
	if l == (protocol.ScanLimits{}) {
		return "default"
	}
	text, _ := json.Marshal(l) //nolint:errchkjson // numbers alone
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// run goes through the images of what a digest stands for. Errors are those
// that concern all of them.
func (s *scanner) run(ctx context.Context, digest tidewaiter.Digest) error {
	a, err := s.client.Inspect(ctx, s.repository, string(digest))
	if err != nil {
		return err
	}
	if len(a.Images) == 0 {
		return registry.Errorf(tidewaiter.Invalid, registry.ReasonAnswer, "it is no image: %s", a.Reason)
	}
	if s.wantsVEX { // before the results, so that they are never shown without
		if err := s.attached(ctx, a); err != nil {
			return err
		}
	}
	s.progress.repositories.Store(int64(len(a.Images))) // the parts of this work
	for _, child := range a.Images {
		if err := s.image(ctx, child); err != nil {
			return err
		}
		s.progress.repositoriesDone.Add(1)
	}
	return nil
}

// image looks into one image and reports it. An error concerns all images.
func (s *scanner) image(ctx context.Context, c registry.Child) error {
	report := protocol.ImageReport{
		Attempt: s.work.Attempt, Digest: c.Digest, Extractors: s.worker.extractors, Limits: s.limitsName,
	}
	if report.Failure = s.unscannable(c); report.Failure != nil {
		return s.call(ctx, protocol.PathImage, report, nil)
	}
	report.Config = protocol.WireConfig(*c.Config)
	for i, d := range c.Layers {
		report.Layers = append(report.Layers, protocol.Layer{Digest: d.Digest, DiffID: c.DiffIDs[i], Size: d.Size})
	}
	for range missingRounds {
		failure, err := s.layers(ctx, c)
		if err != nil {
			return err
		}
		if failure != nil {
			report.Failure, report.Layers, report.Config = failure, nil, protocol.ImageConfig{}
		}
		err = s.call(ctx, protocol.PathImage, report, nil)
		if !hasCode(err, protocol.ErrLayersMissing) {
			return err
		}
	}
	return errors.New("the server loses the facts of layers that it was sent")
}

// unscannable says why an image is not looked into, or returns nil.
func (s *scanner) unscannable(c registry.Child) *protocol.ScanFailure {
	no := func(code, format string, args ...any) *protocol.ScanFailure {
		return &protocol.ScanFailure{Code: code, Message: short(fmt.Sprintf(format, args...), protocol.MaxMessage)}
	}
	layers, bytes := defaultLayers, int64(defaultImageBytes)
	if s.limits.Layers > 0 {
		layers = s.limits.Layers
	}
	if s.limits.ImageBytes > 0 {
		bytes = s.limits.ImageBytes
	}
	switch {
	case c.Err != nil:
		return no(failCode(c.Err), "%s", s.explain(c.Err))
	case c.Kind == registry.KindSchema1:
		return no(tidewaiter.FailSchema1, "%s", c.Reason)
	case !c.Kind.Scannable() || c.Config == nil:
		return no(tidewaiter.FailUnknown, "%s", c.Reason)
	case len(c.Layers) == 0:
		return no(tidewaiter.FailUnknown, "the image has no layers: there is nothing to look into")
	case len(c.Layers) > layers:
		return no(tidewaiter.FailLayers, "the image has %d layers, and more than %d are not looked into", len(c.Layers), layers)
	case c.Size > bytes:
		return no(tidewaiter.FailImageSize, "the image has %d bytes, compressed, and more than %d are not looked into", c.Size, bytes)
	}
	return nil
}

// layers sees to it that the server has the facts of all layers of an image.
// What is wrong with one of them alone is the failure; an error concerns all.
func (s *scanner) layers(ctx context.Context, c registry.Child) (*protocol.ScanFailure, error) {
	pending := make([]int, 0, len(c.Layers))
	seen := make(map[protocol.Layer]bool)
	for i, d := range c.Layers {
		l := protocol.Layer{Digest: d.Digest, DiffID: c.DiffIDs[i]}
		if !seen[l] { // an image may have the same layer twice
			seen[l] = true
			pending = append(pending, i)
		}
	}
	for {
		ask := protocol.LayersRequest{Attempt: s.work.Attempt, Extractors: s.worker.extractors, Limits: s.limitsName}
		for _, i := range pending {
			ask.Layers = append(ask.Layers, protocol.Layer{Digest: c.Layers[i].Digest, DiffID: c.DiffIDs[i], Size: c.Layers[i].Size})
		}
		var answer protocol.LayersResponse
		if err := s.call(ctx, protocol.PathLayers, ask, &answer); err != nil {
			return nil, err
		}
		if len(answer.Layers) != len(pending) {
			return nil, errors.New("the server does not answer for each layer that it was asked for")
		}
		var ours, busy []int
		for n, state := range answer.Layers {
			switch state {
			case protocol.LayerClaimed:
				ours = append(ours, pending[n])
			case protocol.LayerBusy:
				busy = append(busy, pending[n])
			}
		}
		if err := s.pullAll(ctx, c, ours); err != nil {
			if f := s.ownFailure(ctx, err); f != nil {
				return f, nil
			}
			return nil, err
		}
		if len(busy) == 0 {
			return nil, nil
		}
		if len(ours) == 0 {
			if err := s.worker.options.Sleep(ctx, s.worker.jitter(busyWait)); err != nil {
				return nil, context.Cause(ctx)
			}
		}
		pending = busy
	}
}

// ownFailure returns what is said of an image one of whose layers cannot be
// had, if that says nothing about others.
func (s *scanner) ownFailure(ctx context.Context, err error) *protocol.ScanFailure {
	if ctx.Err() != nil {
		return nil
	}
	switch tidewaiter.KindOf(err) {
	case tidewaiter.NotFound, tidewaiter.Invalid, tidewaiter.TooLarge:
		if _, ok := errors.AsType[*registry.Failure](err); ok {
			return &protocol.ScanFailure{Code: tidewaiter.FailDownload, Message: short("a layer cannot be read: "+s.explain(err), protocol.MaxMessage)}
		}
	}
	return nil
}

// pullAll looks into layers, several at a time.
func (s *scanner) pullAll(ctx context.Context, c registry.Child, layers []int) error {
	slots := make(chan struct{}, layersAtOnce)
	return eachOf(ctx, slots, len(layers), func(ctx context.Context, n int) error {
		select {
		case s.worker.layers <- struct{}{}:
			defer func() { <-s.worker.layers }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return s.pull(ctx, c.Layers[layers[n]], c.DiffIDs[layers[n]])
	})
}

// pull looks into one layer and reports its facts. Reading is begun again when
// the connection breaks off.
func (s *scanner) pull(ctx context.Context, d tidewaiter.Descriptor, diffID tidewaiter.Digest) error {
	var facts tidewaiter.LayerFacts
	for n := 1; ; n++ {
		var err error
		facts, err = s.read(ctx, d, diffID)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if tidewaiter.KindOf(err) != tidewaiter.Unavailable || n == pullAttempts {
			return err
		}
		s.log.Info("reading a layer broke off; it is begun again", "digest", d.Digest, "error", err)
		if err := s.worker.options.Sleep(ctx, s.worker.jitter(time.Second<<n)); err != nil {
			return context.Cause(ctx)
		}
	}
	var encoded bytes.Buffer
	if err := codec.Encode(&encoded, facts); err != nil {
		return fmt.Errorf("write facts: %w", err)
	}
	r := protocol.LayerReport{
		Attempt: s.work.Attempt, Extractors: facts.Extractors, Limits: s.limitsName,
		Layer: protocol.Layer{Digest: d.Digest, DiffID: diffID, Size: d.Size},
	}
	body, err := r.Join(encoded.Bytes())
	if err != nil {
		return err
	}
	return s.call(ctx, protocol.PathLayer, rawBody{protocol.ContentFacts, body}, nil)
}

// read streams a layer through the extractors.
func (s *scanner) read(ctx context.Context, d tidewaiter.Descriptor, diffID tidewaiter.Digest) (tidewaiter.LayerFacts, error) {
	open := func(ctx context.Context) (io.ReadCloser, error) { return s.client.Blob(ctx, s.repository, d) }
	o := extract.Options{
		Extractors: s.worker.options.Extractors, Limits: extract.LimitsOf(s.limits), Verified: true, Reopen: open, SpoolDir: s.worker.options.SpoolDir,
	}
	cut, unreadable := extract.Unreadable(d)
	if unreadable && cut.Code == extract.CutEncrypted {
		return extract.Layer(ctx, nil, d, diffID, o)
	}
	blob, err := open(ctx)
	if err != nil {
		if unreadable && tidewaiter.KindOf(err) == tidewaiter.NotFound {
			return extract.Layer(ctx, nil, d, diffID, o) // a foreign layer need not be there
		}
		return tidewaiter.LayerFacts{}, err
	}
	defer blob.Close() //nolint:errcheck // read
	return extract.Layer(ctx, blob, d, diffID, o)
}

// failure is the result of a scan that an error has ended.
func (s *scanner) failure(err error) *protocol.FinishRequest {
	if c, ok := errors.AsType[*crash](err); ok {
		return s.crashed(c)
	}
	if errors.Is(err, errNotHeard) || isRefusal(err) {
		result := failed(tidewaiter.FailDatabase, "the server did not take what the component reported: "+err.Error())
		if errors.Is(err, errNotHeard) {
			result.Failure.RetrySeconds = int(retryUnavailable.Seconds())
		}
		return result
	}
	result := failed(failCode(err), s.explain(err))
	result.Failure.RetrySeconds = s.retry(err)
	return result
}

func (s *scanner) explain(err error) string {
	return access.Explain(err, s.config, s.worker.options.Now())
}

// failCode returns the contract's code for an error of a registry.
func failCode(err error) string {
	switch tidewaiter.KindOf(err) {
	case tidewaiter.Unauthenticated, tidewaiter.Forbidden:
		return tidewaiter.FailAuthentication
	case tidewaiter.NotFound:
		return tidewaiter.FailNotFound
	case tidewaiter.TooLarge:
		return tidewaiter.FailImageSize
	case tidewaiter.Invalid, tidewaiter.Throttled, tidewaiter.Unavailable:
		return tidewaiter.FailDownload
	}
	return tidewaiter.FailUnknown
}
