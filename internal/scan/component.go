package scan

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/codec"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// errLost is for work that the component does not hold, or that nobody wants
// any more: either way it is to drop it.
func errLost() error {
	return protocol.Errorf(protocol.ErrLeaseLost, tidewaiter.Conflict, "the lease of the work is lost, or nobody wants the work any more; drop it")
}

// held is scan work that a component holds.
type held struct {
	work     tidewaiter.Work
	manifest tidewaiter.Manifest
	registry tidewaiter.Registry
}

// key returns what the facts of a layer are kept under.
func (h held) key(l protocol.Layer, extractors string) tidewaiter.LayerKey {
	return tidewaiter.LayerKey{ProjectID: h.registry.ProjectID, ClusterID: h.work.ClusterID, Digest: l.Digest, DiffID: l.DiffID, Extractors: extractors}
}

// hold returns the work of a lease and what it is about. Within a transaction
// it stays held.
func hold(ctx context.Context, tx *store.DB, l tidewaiter.Lease) (h held, err error) {
	h.work, err = tx.Holds(ctx, l)
	switch {
	case lostRace(err):
		return h, errLost()
	case err != nil:
		return h, err
	case h.work.Stop:
		return h, errLost()
	case h.work.Kind != tidewaiter.ScanWork:
		return h, tidewaiter.Errorf(tidewaiter.Invalid, "the work is no scan")
	}
	id, err := store.ManifestOfWork(h.work)
	if err != nil {
		return h, err
	}
	if h.manifest, _, err = tx.Manifest(ctx, id); err == nil {
		h.registry, err = tx.Registry(ctx, h.manifest.RegistryID)
	}
	if lostRace(err) {
		return h, errLost()
	}
	return h, err
}

// Describe returns what a scan that was just leased is about, less the
// registry, and notes that it is under way. Errors: Conflict if the image is
// gone by now; then it has failed.
func (s *Service) Describe(ctx context.Context, w tidewaiter.Work) (registryID string, p protocol.Scan, err error) {
	id, err := store.ManifestOfWork(w)
	if err != nil {
		return "", p, err
	}
	gone := false
	err = s.store.Tx(ctx, func(tx *store.DB) error {
		m, repository, err := tx.Manifest(ctx, id)
		if err == nil {
			err = tx.KeepRegistries(ctx, []string{m.RegistryID})
		}
		if gone = repository == "" && (err == nil || lostRace(err)); gone {
			return tx.EndScan(ctx, w.ID, id, goneOutcome(), s.now())
		}
		if err != nil {
			return err
		}
		cluster, err := tx.Cluster(ctx, w.ClusterID)
		if err != nil {
			return err
		}
		r, err := tx.Registry(ctx, m.RegistryID)
		if err != nil {
			return err
		}
		registryID = m.RegistryID
		p = protocol.Scan{
			Repository: repository, Digest: m.Digest, Limits: protocol.ScanLimits(cluster.Limits),
			AttachedVEX: r.Settings.TrustAttachedVEX && s.findings != nil,
		}
		return tx.BeginScan(ctx, id)
	})
	if err == nil && gone {
		err = errLost()
	}
	return registryID, p, err
}

// Layers answers which layers are known, and gives those that are not to the
// asker, unless others are at them. Errors: Conflict (the lease is lost), Invalid.
func (s *Service) Layers(ctx context.Context, l tidewaiter.Lease, q protocol.LayersRequest) ([]string, error) {
	if err := checkSet(q.Extractors, q.Limits); err != nil {
		return nil, err
	}
	if err := checkLayers(q.Layers); err != nil {
		return nil, err
	}
	var states []string
	err := s.store.Tx(ctx, func(tx *store.DB) error {
		h, err := hold(ctx, tx, l)
		if err != nil {
			return err
		}
		now := s.now()
		states = make([]string, len(q.Layers))
		for _, i := range inOrder(q.Layers) {
			state, err := tx.ClaimLayer(ctx, h.key(q.Layers[i], q.Extractors), q.Limits, l, now)
			if err != nil {
				return err
			}
			states[i] = string(state)
		}
		return nil
	})
	return states, err
}

// inOrder returns the places of layers in an order that is the same for all who
// claim them: two who wait for one another's claims would wait for ever.
func inOrder(layers []protocol.Layer) []int {
	places := make([]int, len(layers))
	for i := range places {
		places[i] = i
	}
	slices.SortFunc(places, func(a, b int) int {
		return cmp.Or(strings.Compare(string(layers[a].Digest), string(layers[b].Digest)), strings.Compare(string(layers[a].DiffID), string(layers[b].DiffID)))
	})
	return places
}

// Layer takes in what was found in a layer. Errors: Conflict (the lease is
// lost), Invalid (facts that no honest component sends; nothing was kept).
func (s *Service) Layer(ctx context.Context, l tidewaiter.Lease, r protocol.LayerReport, encoded []byte) error {
	if err := checkSet(r.Extractors, r.Limits); err != nil {
		return err
	}
	if err := checkLayers([]protocol.Layer{r.Layer}); err != nil {
		return err
	}
	h, err := hold(ctx, s.store, l)
	if err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.done()
	facts, err := codec.Decode(bytes.NewReader(encoded), s.factLimits(encoded))
	if err != nil {
		return tidewaiter.Wrap(tidewaiter.Invalid, err, "the facts of the layer cannot be read")
	}
	if facts.DiffID != r.Layer.DiffID || facts.Extractors != r.Extractors {
		return tidewaiter.InvalidField("layer", "is another one than that of the facts")
	}
	n := store.NewLayer{LayerKey: h.key(r.Layer, r.Extractors), Size: facts.Size, Facts: encoded, Loose: looseFiles(facts)}
	if len(facts.Cuts) > 0 {
		n.Limits = r.Limits // with others it might be looked into further
	}
	return s.store.PutLayer(ctx, n, s.now())
}

// begin waits for the right to hold the facts of an image in memory.
func (s *Service) begin(ctx context.Context) error {
	select {
	case s.merges <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) done() { <-s.merges }

// checkSet checks how a component names its extractors and its limits.
func checkSet(extractors, limits string) error {
	const most = 64
	if extractors == "" || len(extractors) > most || strings.ContainsFunc(extractors, isOdd) {
		return tidewaiter.InvalidField("extractors", "is no version of a set of extractors; send 1 to %d letters, digits and hyphens", most)
	}
	if limits == "" || len(limits) > most || strings.ContainsFunc(limits, isOdd) {
		return tidewaiter.InvalidField("limits", "is no name of limits; send 1 to %d letters, digits and hyphens", most)
	}
	return nil
}

func isOdd(c rune) bool {
	return (c < 'a' || 'z' < c) && (c < 'A' || 'Z' < c) && (c < '0' || '9' < c) && c != '-'
}

func checkLayers(layers []protocol.Layer) error {
	if len(layers) > protocol.MaxLayers {
		return tidewaiter.InvalidField("layers", "has more than %d entries", protocol.MaxLayers)
	}
	for _, l := range layers {
		if l.Size < 0 {
			return tidewaiter.InvalidField("size", "of a layer is below zero")
		}
		for _, d := range []tidewaiter.Digest{l.Digest, l.DiffID} {
			if _, err := tidewaiter.ParseDigest(string(d)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Image takes in what an image is: the server lays its layers over one another.
// Errors: Conflict (the lease is lost; or, with the code ErrLayersMissing, the
// facts of a layer are not there: ask for the layers again), Invalid.
func (s *Service) Image(ctx context.Context, l tidewaiter.Lease, r protocol.ImageReport) error {
	if err := checkSet(r.Extractors, r.Limits); err != nil {
		return err
	}
	if err := checkLayers(r.Layers); err != nil {
		return err
	}
	h, err := hold(ctx, s.store, l)
	if err != nil {
		return err
	}
	id, err := s.imageOf(ctx, h, r.Digest)
	if err != nil {
		return err
	}
	if r.Failure != nil {
		code, reason := checkFailure(*r.Failure)
		return s.finishPart(ctx, l, store.ScanPart{ManifestID: id, Code: code, Reason: reason}, nil)
	}
	if len(r.Layers) == 0 {
		return tidewaiter.InvalidField("layers", "is empty; send the layers of the image, or why it failed")
	}
	known, err := s.store.ResultSummary(ctx, id)
	if err == nil && known.Complete && known.Extractors == r.Extractors {
		return s.finishPart(ctx, l, store.ScanPart{ManifestID: id}, nil) // the image of a digest does not change
	}
	if err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return err
	}
	result, err := s.merge(ctx, h, id, r)
	if tidewaiter.KindOf(err) == tidewaiter.TooLarge {
		return s.finishPart(ctx, l, store.ScanPart{ManifestID: id, Code: tidewaiter.FailImageSize, Reason: tooLargeReason}, nil)
	}
	if err != nil {
		return err
	}
	part := store.ScanPart{ManifestID: id, Code: result.Code, Reason: result.Reason}
	if known.Complete && !result.Complete {
		return s.finishPart(ctx, l, part, nil) // the last good result stays in force
	}
	return s.finishPart(ctx, l, part, &result)
}

// imageOf returns the id of the image that a report is about: of the one that
// is being scanned, or one of the index that is.
func (s *Service) imageOf(ctx context.Context, h held, digest tidewaiter.Digest) (int64, error) {
	if digest == h.manifest.Digest && len(h.manifest.Children) == 0 {
		return h.manifest.ID, nil
	}
	for _, c := range h.manifest.Children {
		if c != digest {
			continue
		}
		found, err := s.store.ManifestsByDigest(ctx, h.registry.ID, []tidewaiter.Digest{digest})
		if err != nil {
			return 0, err
		}
		if m, ok := found[digest]; ok {
			return m.ID, nil
		}
	}
	return 0, tidewaiter.InvalidField("digest", "is of no image that the work is about")
}

// finishPart notes what was found out about one image, if the lease still holds.
func (s *Service) finishPart(ctx context.Context, l tidewaiter.Lease, part store.ScanPart, result *store.NewResult) error {
	return s.store.Tx(ctx, func(tx *store.DB) error {
		if result != nil {
			// The registry first: the counts of its packages are changed.
			m, _, err := tx.Manifest(ctx, part.ManifestID)
			if err != nil {
				return lostIfGone(err)
			}
			if _, err := tx.LockRegistry(ctx, m.RegistryID); err != nil {
				return lostIfGone(err)
			}
		}
		h, err := hold(ctx, tx, l)
		if err != nil {
			return err
		}
		if result != nil {
			if err := tx.PutResult(ctx, *result); err != nil {
				return lostIfGone(err)
			}
		}
		return tx.PutScanPart(ctx, h.work.ID, part)
	})
}

func lostIfGone(err error) error {
	if lostRace(err) {
		return errLost()
	}
	return err
}

// maxRetry and minRetry bound when a component may ask for another attempt.
const (
	minRetry = time.Second
	maxRetry = time.Hour
)

// Finish ends the lease of a scan: it is done, failed, to be tried again, or
// given back. What all images of an index have come to becomes what it has
// come to itself. Errors: Conflict (the lease is lost), Invalid.
func (s *Service) Finish(ctx context.Context, w tidewaiter.Work, l tidewaiter.Lease, f protocol.FinishRequest) error {
	if f.Outcome == protocol.OutcomeFailed && f.Failure == nil {
		return tidewaiter.InvalidField("failure", "is missing; say why the work failed")
	}
	id, err := store.ManifestOfWork(w)
	if err != nil {
		return err
	}
	released := false
	err = s.store.Tx(ctx, func(tx *store.DB) error {
		m, _, err := tx.Manifest(ctx, id)
		gone := lostRace(err)
		if err != nil && !gone {
			return err
		}
		if !gone {
			if _, err := tx.LockRegistry(ctx, m.RegistryID); err != nil && !lostRace(err) {
				return err
			}
		}
		if err := tx.LockScan(ctx, id); err != nil {
			return err
		}
		w, err := tx.Holds(ctx, l)
		if err != nil {
			return lostIfGone(err)
		}
		now, progress := s.now(), checkProgress(f.Progress)
		if err := tx.DropClaims(ctx, w.ID); err != nil {
			return err
		}
		again := f.Outcome == protocol.OutcomeFailed && f.Failure.RetrySeconds > 0 && w.Failures+1 < tidewaiter.MaxAttempts
		switch {
		case gone || w.Stop:
			return tx.EndWork(ctx, l, tidewaiter.WorkStopped, "", progress, now)
		case f.Outcome == protocol.OutcomeReleased:
			released = true
			err = tx.ReleaseWork(ctx, l, now, false)
		case again:
			wait := min(max(time.Duration(f.Failure.RetrySeconds)*time.Second, minRetry), maxRetry)
			err = tx.ReleaseWork(ctx, l, now.Add(wait), true)
		default:
			return s.end(ctx, tx, ending{l, w, m, progress, now}, f)
		}
		if err != nil {
			return err
		}
		return tx.BeginScan(ctx, id) // it waits again
	})
	if released && err == nil {
		s.wake(w.ClusterID)
	}
	return err
}

// An ending is the end of a scan under way, in its transaction.
type ending struct {
	lease    tidewaiter.Lease
	work     tidewaiter.Work
	manifest tidewaiter.Manifest
	progress tidewaiter.WorkProgress
	now      time.Time
}

func (s *Service) end(ctx context.Context, tx *store.DB, e ending, f protocol.FinishRequest) error {
	var o tidewaiter.ScanOutcome
	var err error
	if f.Outcome == protocol.OutcomeFailed {
		o.Failed = true
		o.Code, o.Reason = checkFailure(protocol.ScanFailure{Code: f.Failure.Code, Message: f.Failure.Message})
		if f.Failure.Credential {
			o.Code = tidewaiter.FailAuthentication
			o.Reason = "the registry's password cannot be opened by the components of its cluster, or was given for another address or user; give it again (UpdateRegistry with registry_password)"
		}
	} else if o, err = s.outcome(ctx, tx, e); err != nil {
		return err
	}
	state := tidewaiter.WorkDone
	if o.Failed {
		state = tidewaiter.WorkFailed
	}
	if err := tx.EndWork(ctx, e.lease, state, o.Reason, e.progress, e.now); err != nil {
		return err
	}
	return tx.EndScan(ctx, e.work.ID, e.manifest.ID, o, e.now)
}

// outcome puts together what the images of the work have come to.
func (s *Service) outcome(ctx context.Context, tx *store.DB, e ending) (tidewaiter.ScanOutcome, error) {
	o := tidewaiter.ScanOutcome{}
	parts, err := tx.ScanParts(ctx, e.work.ID)
	if err != nil {
		return o, err
	}
	images := []tidewaiter.Manifest{e.manifest}
	if len(e.manifest.Children) > 0 {
		found, err := tx.ManifestsByDigest(ctx, e.manifest.RegistryID, e.manifest.Children)
		if err != nil {
			return o, err
		}
		images = images[:0]
		for _, c := range e.manifest.Children {
			images = append(images, found[c])
		}
	}
	for _, m := range images {
		part, reported := parts[m.ID]
		switch {
		case !reported:
			part = store.ScanPart{Code: tidewaiter.FailUnknown, Reason: "the scan component did not report it"}
		case part.Code == "":
			summary, err := tx.ResultSummary(ctx, m.ID)
			if err != nil {
				return o, err
			}
			o.Extractors = summary.Extractors
			continue
		}
		if !o.Failed {
			o.Failed, o.Code, o.Reason = true, part.Code, part.Reason
			if len(images) > 1 {
				o.Reason = fmt.Sprintf("%s: %s", m.Platform, part.Reason)
			}
		}
	}
	return o, nil
}
