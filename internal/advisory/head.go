package advisory

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter"
)

// What an index has about an advisory is its head, which matches need, and its
// packed tail, which people read. In between, while an index is built, stand
// its packages.

// head is what a match says about its advisory.
type head struct {
	withdrawn time.Time
	modified  time.Time
	aliases   []string
	upstream  []string
	kind      string
	severity  tidewaiter.Severity // the one that counts, or none
}

func (h *head) append(e *encoder) {
	e.time(h.withdrawn)
	e.time(h.modified)
	h.appendMatching(e)
}

// appendMatching writes what matches say.
func (h *head) appendMatching(e *encoder) {
	e.texts(h.aliases)
	e.texts(h.upstream)
	e.text(h.kind)
	e.severity(h.severity)
}

// sum names all that matches say.
func (h *head) sum() [fingerprintSize]byte {
	var e encoder
	h.appendMatching(&e)
	full := sha256.Sum256(e)
	return [fingerprintSize]byte(full[:])
}

func readHead(d *decoder) head {
	return head{
		withdrawn: d.time(), modified: d.time(),
		aliases: d.texts(), upstream: d.texts(), kind: d.text(), severity: d.severity(),
	}
}

// appendTail writes what people read, packed.
func appendTail(e *encoder, packer *zstd.Encoder, a *tidewaiter.Advisory) {
	var text encoder
	text.time(a.Published)
	text.texts(a.Related)
	text.text(a.Summary)
	text.text(a.Details)
	text.severities(a.Severities)
	text.number(uint64(len(a.References)))
	for _, r := range a.References {
		text.text(r.Type)
		text.text(r.URL)
	}
	e.bytes(packer.EncodeAll(text, nil))
}

// maxTail is more than a tail can have, unpacked.
const maxTail = 4 << 20

// readAdvisory reads an advisory, without its packages.
func readAdvisory(id string, record []byte, unpacker *zstd.Decoder) (tidewaiter.Advisory, error) {
	d := decoder{rest: record}
	h := readHead(&d)
	text, err := unpacker.DecodeAll(d.bytes(), nil)
	if err != nil || d.bad {
		return tidewaiter.Advisory{}, fmt.Errorf("read advisory %q: the index is damaged: %w", id, err)
	}
	d = decoder{rest: text}
	a := tidewaiter.Advisory{
		ID: id, Modified: h.modified, Withdrawn: h.withdrawn, Aliases: h.aliases, Upstream: h.upstream, Kind: h.kind,
		Published: d.time(), Related: d.texts(), Summary: d.text(), Details: d.text(), Severities: d.severities(),
	}
	for range d.count() {
		a.References = append(a.References, tidewaiter.Reference{Type: d.text(), URL: d.text()})
	}
	if d.bad {
		return tidewaiter.Advisory{}, fmt.Errorf("read advisory %q: the index is damaged", id)
	}
	return a, nil
}
