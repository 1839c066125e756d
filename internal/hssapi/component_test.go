package hssapi_test

import (
	"bytes"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/codec"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// A job is a scan that the component of a house does.
type job struct {
	*house
	work  tidewaiter.Work
	lease tidewaiter.Lease
	scan  protocol.Scan
}

// leaseScan takes the next scan.
func (h *house) leaseScan() *job {
	h.Helper()
	j := h.tryScan()
	if j == nil {
		h.Fatal("there is no scan to do")
	}
	return j
}

// tryScan is leaseScan where there may be none: it returns nil then.
func (h *house) tryScan() *job {
	h.Helper()
	w, err := h.fleet.Lease(h.Context(), h.component, protocol.LeaseRequest{
		Kinds: []tidewaiter.WorkKind{tidewaiter.ScanWork}, ClusterRecipient: h.key.Recipient(),
	})
	h.must(err)
	if w == nil {
		return nil
	}
	j := &job{house: h, work: *w, lease: tidewaiter.Lease{WorkID: w.ID, Owner: h.component.ID, Attempt: w.Attempt}}
	_, j.scan, err = h.scans.Describe(h.Context(), *w)
	h.must(err)
	return j
}

// layer is the one layer of an image.
func layer(of tidewaiter.Digest) protocol.Layer {
	return protocol.Layer{Digest: tidewaiter.DigestOf([]byte("layer of " + of)), DiffID: tidewaiter.DigestOf([]byte("content of " + of)), Size: 100}
}

// send reports an image of one layer, with what was not looked into.
func (j *job) send(digest tidewaiter.Digest, cuts ...tidewaiter.Cut) {
	j.Helper()
	l := layer(digest)
	states, err := j.scans.Layers(j.Context(), j.lease, protocol.LayersRequest{Extractors: extractors, Limits: "usual", Layers: []protocol.Layer{l}})
	j.must(err)
	if states[0] == protocol.LayerClaimed {
		var b bytes.Buffer
		j.must(codec.Encode(&b, tidewaiter.LayerFacts{
			DiffID: l.DiffID, Verified: true, Extractors: extractors, Size: 200, Cuts: cuts,
			Files:    []tidewaiter.File{{Path: "app", Type: tidewaiter.RegularFile, Size: 7}},
			Packages: []tidewaiter.Package{{Ecosystem: "PyPI", Name: "flask", Version: "3.0.0", Type: "pypi", Path: "app", Extractor: "x"}},
		}))
		j.must(j.scans.Layer(j.Context(), j.lease, protocol.LayerReport{Extractors: extractors, Limits: "usual", Layer: l}, b.Bytes()))
	}
	j.must(j.scans.Image(j.Context(), j.lease, protocol.ImageReport{
		Digest: digest, Extractors: extractors, Limits: "usual", Layers: []protocol.Layer{l},
		Config: protocol.ImageConfig{OS: "linux", Architecture: "amd64"},
	}))
}

// fault reports that an image could not be looked into.
func (j *job) fault(digest tidewaiter.Digest, code, message string) {
	j.Helper()
	j.must(j.scans.Image(j.Context(), j.lease, protocol.ImageReport{
		Digest: digest, Extractors: extractors, Limits: "usual", Failure: &protocol.ScanFailure{Code: code, Message: message},
	}))
}

func (j *job) end(f protocol.FinishRequest) {
	j.Helper()
	f.Attempt = j.lease.Attempt
	j.must(j.scans.Finish(j.Context(), j.work, j.lease, f))
}

// done ends the scan well.
func (j *job) done() {
	j.Helper()
	j.end(protocol.FinishRequest{Outcome: protocol.OutcomeDone})
}

// scanAll does all scans that wait, well, and returns how many they were.
func (h *house) scanAll() int {
	h.Helper()
	for n := 0; ; n++ {
		j := h.tryScan()
		if j == nil {
			return n
		}
		for _, digest := range j.images() {
			j.send(digest)
		}
		j.done()
	}
}

// images returns what is to be reported: the image, or the images of the index.
func (j *job) images() []tidewaiter.Digest {
	if j.scan.Digest == tidewaiter.DigestOf([]byte("index")) {
		return []tidewaiter.Digest{image("amd").Digest, image("arm").Digest}
	}
	return []tidewaiter.Digest{j.scan.Digest}
}
