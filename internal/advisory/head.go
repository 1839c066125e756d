package advisory

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"

	"github.com/tidewaiter/tidewaiter"
)

// What an index has about an advisory is its head, which matches need, and its
// tail, which people read.

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

// appendTail writes what people read.
func appendTail(e *encoder, a *tidewaiter.Advisory) {
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
	e.bytes(text)
}

// Tails are packed in blocks of some dozens, which have much in common. A block
// stands under the id of its first advisory.
const (
	blockSize = 32 << 10
	maxBlock  = 4 << 20 // more than a block can have, unpacked: the last tail may be long
)

// blockWriter packs tails, which come in the order of their ids.
type blockWriter struct {
	packed *spool
	packer *zstd.Encoder
	first  []byte
	block  encoder
}

func newBlockWriter(folder string) (*blockWriter, error) {
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	packed, err := newSpool(folder)
	if err != nil {
		return nil, errors.Join(err, packer.Close())
	}
	return &blockWriter{packed: packed, packer: packer}, nil
}

func (b *blockWriter) add(id, tail []byte) error {
	if len(b.block) == 0 {
		b.first = append(b.first[:0], id...)
	}
	b.block.bytes(id)
	b.block.bytes(tail)
	if len(b.block) < blockSize {
		return nil
	}
	return b.flush()
}

func (b *blockWriter) flush() error {
	if len(b.block) == 0 {
		return nil
	}
	packed := b.packer.EncodeAll(b.block, nil)
	b.block = b.block[:0]
	return b.packed.add(b.first, packed)
}

// each gives all blocks.
func (b *blockWriter) each(visit func(first, packed []byte) error) error {
	if err := b.flush(); err != nil {
		return err
	}
	return b.packed.each(visit)
}

func (b *blockWriter) close() error { return errors.Join(b.packed.close(), b.packer.Close()) }

// findTail returns the tail of an advisory.
func findTail(tx *bolt.Tx, id []byte, unpacker *zstd.Decoder) (decoder, error) {
	c := tx.Bucket([]byte(bucketTexts)).Cursor()
	at, packed := c.Seek(id)
	if at == nil {
		_, packed = c.Last()
	} else if !bytes.Equal(at, id) {
		_, packed = c.Prev() // it is in the block before
	}
	block, err := unpacker.DecodeAll(packed, nil)
	if err != nil {
		return decoder{}, err
	}
	for d := (decoder{rest: block}); len(d.rest) > 0; {
		is, tail := d.bytes(), d.bytes()
		if bytes.Equal(is, id) {
			return decoder{rest: tail}, nil
		}
	}
	return decoder{bad: true}, nil
}

// readAdvisory reads an advisory, without its packages.
func readAdvisory(tx *bolt.Tx, id string, unpacker *zstd.Decoder) (tidewaiter.Advisory, error) {
	record := tx.Bucket([]byte(bucketAdvisories)).Get([]byte(id))
	if record == nil {
		return tidewaiter.Advisory{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no advisory of that id")
	}
	d := decoder{rest: record}
	h := readHead(&d)
	text, err := findTail(tx, []byte(id), unpacker)
	if err != nil {
		return tidewaiter.Advisory{}, fmt.Errorf("read the index: it is damaged: %w", err)
	}
	a := tidewaiter.Advisory{
		ID: id, Modified: h.modified, Withdrawn: h.withdrawn, Aliases: h.aliases, Upstream: h.upstream, Kind: h.kind,
		Published: text.time(), Related: text.texts(), Summary: text.text(), Details: text.text(), Severities: text.severities(),
	}
	for range text.count() {
		a.References = append(a.References, tidewaiter.Reference{Type: text.text(), URL: text.text()})
	}
	if d.bad || text.bad {
		return tidewaiter.Advisory{}, errDamaged
	}
	return a, nil
}
