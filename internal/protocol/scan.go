package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// The paths of a scan, after /work/{id}.
const (
	PathLayers   = "/layers"   // LayersRequest, LayersResponse
	PathLayer    = "/layer"    // LayerReport and the facts, 204
	PathImage    = "/image"    // ImageReport, 204
	PathAttached = "/attached" // AttachedReport, 204
)

// Limits of what a component sends of a scan.
const (
	MaxFacts  = 64 << 20 // bytes of the body of PathLayer
	MaxLayers = 1_000    // of an image
	MaxSteps  = 4_096    // of the history of an image

	MaxAttached      = 20      // documents of one image
	MaxAttachedBytes = 1 << 20 // of one document
	MaxAttachedTotal = 4 << 20 // of all documents of one image
)

// ContentFacts is the Content-Type of PathLayer: a LayerReport as JSON on one
// line, a line feed, and the facts as package extract/codec writes them.
const ContentFacts = "application/vnd.tidewaiter.facts"

// Scan is the work of looking into an image, or all images of an index.
type Scan struct {
	Registry   Registry          `json:"registry"`
	Repository string            `json:"repository"`
	Digest     tidewaiter.Digest `json:"digest"`
	Limits     ScanLimits        `json:"limits,omitzero"`
	// AttachedVEX says that VEX documents are wanted that are attached to the
	// images: an AttachedReport for each digest.
	AttachedVEX bool `json:"attached_vex,omitempty"`
}

// ScanLimits bound what a scan may cost; 0 is the component's own default.
type ScanLimits struct {
	LayerBytes   int64 `json:"layer_bytes,omitempty"`
	Ratio        int64 `json:"ratio,omitempty"`
	Entries      int   `json:"entries,omitempty"`
	HeldFile     int64 `json:"held_file,omitempty"`
	SpoolBytes   int64 `json:"spool_bytes,omitempty"`
	ZstdWindow   int64 `json:"zstd_window,omitempty"`
	NestedDepth  int   `json:"nested_depth,omitempty"`
	NestedBytes  int64 `json:"nested_bytes,omitempty"`
	LayerSeconds int   `json:"layer_seconds,omitempty"`
	ImageBytes   int64 `json:"image_bytes,omitempty"`
	Layers       int   `json:"layers,omitempty"`
	ImageSeconds int   `json:"image_seconds,omitempty"`
}

// Layer names a layer of an image.
type Layer struct {
	Digest tidewaiter.Digest `json:"digest"` // as in the registry
	DiffID tidewaiter.Digest `json:"diff_id"`
	Size   int64             `json:"size"` // bytes, as in the registry
}

// LayersRequest asks of which layers the server has the facts. Those that it
// does not have, and that no other work is looking into, are the asker's from
// then on, for as long as it holds its lease.
type LayersRequest struct {
	Attempt    int     `json:"attempt"`
	Extractors string  `json:"extractors"` // version of the component's set
	Limits     string  `json:"limits"`     // names the limits, of those that leave cuts
	Layers     []Layer `json:"layers"`     // up to MaxLayers
}

// LayersResponse has one word for each layer: known, claimed or busy. A busy
// one is asked for again later.
type LayersResponse struct {
	Layers []string `json:"layers"`
}

// The words of a LayersResponse.
const (
	LayerKnown   = "known"
	LayerClaimed = "claimed"
	LayerBusy    = "busy"
)

// LayerReport comes before the facts of a layer.
type LayerReport struct {
	Attempt    int    `json:"attempt"`
	Extractors string `json:"extractors"`
	Limits     string `json:"limits"`
	Layer      Layer  `json:"layer"`
}

// Join returns the body of PathLayer.
func (r LayerReport) Join(facts []byte) ([]byte, error) {
	head, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a report: %w", err)
	}
	return append(append(head, '\n'), facts...), nil
}

// maxLayerHead is how long a LayerReport may be, in bytes.
const maxLayerHead = 4 << 10

// SplitLayer takes the body of PathLayer apart. Errors are of kind Invalid.
func SplitLayer(body []byte) (r LayerReport, facts []byte, err error) {
	n := bytes.IndexByte(body[:min(len(body), maxLayerHead)], '\n')
	if n < 0 || json.Unmarshal(body[:n], &r) != nil {
		return r, nil, tidewaiter.Errorf(tidewaiter.Invalid, "the body does not begin with a line of JSON, as docs/protocol.md has it")
	}
	return r, body[n+1:], nil
}

// ImageReport says what an image of one platform is. The server has the facts
// of all its layers by then, unless the image failed. The same report may come
// more than once.
type ImageReport struct {
	Attempt    int               `json:"attempt"`
	Digest     tidewaiter.Digest `json:"digest"` // of its manifest
	Extractors string            `json:"extractors"`
	Limits     string            `json:"limits"`
	Config     ImageConfig       `json:"config,omitzero"`
	Layers     []Layer           `json:"layers,omitempty"` // the lowest first
	Failure    *ScanFailure      `json:"failure,omitempty"`
}

// AttachedReport says which documents are attached to an image or an index
// that may say something about vulnerabilities. All that was reported before of
// the same image is gone. The same report may come more than once.
type AttachedReport struct {
	Attempt   int                `json:"attempt"`
	Digest    tidewaiter.Digest  `json:"digest"`              // of the image or the index
	Problem   string             `json:"problem,omitempty"`   // why it is not known what is attached; then what was reported before stays
	Documents []AttachedDocument `json:"documents,omitempty"` // up to MaxAttached
}

// AttachedDocument is one of them, as it is, or why it could not be read.
type AttachedDocument struct {
	Digest    tidewaiter.Digest `json:"digest"` // of its blob
	MediaType string            `json:"media_type"`
	Content   []byte            `json:"content,omitempty"` // up to MaxAttachedBytes
	Problem   string            `json:"problem,omitempty"` // up to MaxMessage characters
}

// ScanFailure is why an image could not be looked into, or not to its end.
type ScanFailure struct {
	Code    string `json:"code"`    // of the contract's scan_failed_code
	Message string `json:"message"` // for people; up to MaxMessage characters
}

// ImageConfig is what the config of an image says, less secrets.
type ImageConfig struct {
	OS           string            `json:"os,omitempty"`
	Architecture string            `json:"architecture,omitempty"`
	Variant      string            `json:"variant,omitempty"`
	OSVersion    string            `json:"os_version,omitempty"`
	Created      time.Time         `json:"created,omitzero"`
	Steps        []BuildStep       `json:"steps,omitempty"` // up to MaxSteps
	User         string            `json:"user,omitempty"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Command      []string          `json:"command,omitempty"`
	Env          []string          `json:"env,omitempty"` // names alone
	Ports        []string          `json:"ports,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	WorkDir      string            `json:"work_dir,omitempty"`
}

// BuildStep is an entry of an image's history.
type BuildStep struct {
	Command string    `json:"command,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Empty   bool      `json:"empty,omitempty"` // it made no layer
	Comment string    `json:"comment,omitempty"`
}

// WireConfig returns a config as it is sent.
func WireConfig(c tidewaiter.ImageConfig) ImageConfig {
	w := ImageConfig{
		OS: c.Platform.OS, Architecture: c.Platform.Architecture, Variant: c.Platform.Variant, OSVersion: c.Platform.OSVersion,
		Created: c.Created, User: c.User, Entrypoint: c.Entrypoint, Command: c.Command, Env: c.Env, Ports: c.Ports, Labels: c.Labels, WorkDir: c.WorkDir,
	}
	for _, s := range c.Steps {
		w.Steps = append(w.Steps, BuildStep(s))
	}
	return w
}

// Noun returns what a config that was sent says.
func (w ImageConfig) Noun(diffIDs []tidewaiter.Digest) tidewaiter.ImageConfig {
	c := tidewaiter.ImageConfig{
		Platform: tidewaiter.Platform{OS: w.OS, Architecture: w.Architecture, Variant: w.Variant, OSVersion: w.OSVersion},
		Created:  w.Created, DiffIDs: diffIDs, User: w.User, Entrypoint: w.Entrypoint, Command: w.Command, Env: w.Env, Ports: w.Ports, Labels: w.Labels, WorkDir: w.WorkDir,
	}
	for _, s := range w.Steps {
		c.Steps = append(c.Steps, tidewaiter.BuildStep(s))
	}
	return c
}
