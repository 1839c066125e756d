package advisory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/version"
)

// Builder compiles advisories into an index. What it is given it keeps in files,
// so that its memory does not grow with the advisories, but for their severities.
type Builder struct {
	folder    string
	documents *sorter // by id, and of one id the last one first
	threats   *sorter // by CVE, in the order in which they were added
	record    encoder

	threatsAdded uint64
}

// Built is an index that was built.
type Built struct {
	Digest tidewaiter.Digest // of the file
	Path   string
	Size   int64
	Meta   Meta
}

// Meta says what is in an index.
type Meta struct {
	Format     int            // of the file
	Orders     int            // the revision of the keys of versions in it
	Advisories int            // of which
	Withdrawn  int            // are about nothing
	Packages   int            // names in ecosystems
	Entries    int            // packages of all advisories
	Ecosystems map[string]int // names in each
	Threats    int            // vulnerabilities of whose use something is known
	Exploited  int            // of which are exploited
	Newest     time.Time      // when one of its advisories was last changed
}

const (
	format        = 1
	maxEcosystems = 10_000
	maxEntries    = 256 << 20 // bytes about one package
)

// NewBuilder returns a builder that works in a folder, and leaves the index
// there. Close it.
func NewBuilder(folder string) *Builder {
	return &Builder{folder: folder, documents: newSorter(folder), threats: newSorter(folder)}
}

// Close gives back what the builder has taken, but for the index.
func (b *Builder) Close() error { return errors.Join(b.documents.close(), b.threats.close()) }

// Add takes an advisory. Of two with one id the one counts that was changed last.
func (b *Builder) Add(a tidewaiter.Advisory) error {
	h := head{withdrawn: a.Withdrawn, modified: a.Modified, aliases: a.Aliases, upstream: a.Upstream, kind: a.Kind}
	h.severity, _ = severityOf(a.Severities, a.ID)
	e := b.record[:0]
	h.append(&e)
	appendTail(&e, &a)
	e.number(uint64(len(a.Affected)))
	for i := range a.Affected {
		affected := &a.Affected[i]
		e.text(packageKey(affected.Ecosystem, affected.Name))
		appendEntry(&e, a.ID, affected)
	}
	b.record = e[:0]
	key := append([]byte(a.ID), 0)
	key = binary.BigEndian.AppendUint64(key, math.MaxInt64-uint64(max(a.Modified.Unix(), 0)))
	return b.documents.add(key, e)
}

// Finish builds the index of what was added.
func (b *Builder) Finish(ctx context.Context) (built Built, err error) {
	c := compiler{ctx: ctx, folder: b.folder, threats: b.threats, known: severities{make(map[string]string)}}
	c.meta = Meta{Format: format, Orders: version.Revision, Ecosystems: make(map[string]int)}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.chooseDocuments(b.documents); err != nil {
		return Built{}, err
	}
	if err := b.documents.close(); err != nil {
		return Built{}, err
	}
	if c.file, err = newIndexFile(b.folder); err != nil {
		return Built{}, err
	}
	for _, step := range []func() error{c.writeAdvisories, c.writeTexts, c.writePackages, c.writeFingerprints, c.writeAliases, c.writeThreats, c.writeMeta} {
		if err := step(); err != nil {
			return Built{}, err
		}
	}
	return c.publish()
}

// compiler takes the steps from documents to an index.
type compiler struct {
	ctx          context.Context
	folder       string
	meta         Meta
	known        severities
	chosen       *spool // documents, one for each id
	texts        *blockWriter
	entries      *sorter // by the key of the package
	aliases      *sorter
	threats      *sorter // the builder's
	fingerprints *spool
	file         *indexFile
}

func (c *compiler) close() error {
	var errs []error
	for _, s := range []*sorter{c.entries, c.aliases} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	for _, s := range []*spool{c.chosen, c.fingerprints} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	if c.texts != nil {
		errs = append(errs, c.texts.close())
	}
	if c.file != nil {
		errs = append(errs, c.file.discard())
	}
	return errors.Join(errs...)
}

// chooseDocuments leaves one document for each id, and takes down what they
// say about severities.
func (c *compiler) chooseDocuments(documents *sorter) (err error) {
	if c.chosen, err = newSpool(c.folder); err != nil {
		return err
	}
	var last []byte
	return documents.each(func(key, record []byte) error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		id := key[:len(key)-9]
		if last != nil && bytes.Equal(id, last) {
			return nil
		}
		last = append(last[:0], id...)
		d := decoder{rest: record}
		h := readHead(&d)
		c.meta.Advisories++
		if h.modified.After(c.meta.Newest) {
			c.meta.Newest = h.modified
		}
		if !h.withdrawn.IsZero() {
			c.meta.Withdrawn++
		} else if h.severity.Method != "" {
			c.known.add(string(id), h.aliases, h.severity)
		}
		return c.chosen.add(id, record)
	})
}

// writeAdvisories writes advisories, and sorts what they say by package.
func (c *compiler) writeAdvisories() (err error) {
	c.entries, c.aliases = newSorter(c.folder), newSorter(c.folder)
	w, err := c.file.bucket(bucketAdvisories)
	if err != nil {
		return err
	}
	if c.texts, err = newBlockWriter(c.folder); err != nil {
		return err
	}
	var record, key, value encoder
	err = c.chosen.each(func(id, document []byte) error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		d := decoder{rest: document}
		h := readHead(&d)
		if h.severity.Method == "" {
			h.severity = c.known.find(&h)
		}
		record = record[:0]
		h.append(&record)
		if err := errors.Join(w.put(id, record), c.texts.add(id, d.bytes())); err != nil {
			return err
		}
		for _, names := range [][]string{h.aliases, h.upstream} {
			for _, name := range names {
				if err := c.aliases.add(aliasKey(name, id), nil); err != nil {
					return err
				}
			}
		}
		sum := h.sum()
		for i := range d.count() {
			key = append(key[:0], d.bytes()...)
			entry := d.bytes()
			if !h.withdrawn.IsZero() {
				continue
			}
			value = append(append(value[:0], id...), 0)
			value = binary.BigEndian.AppendUint32(value, uint32(i))
			value = append(append(value, sum[:]...), entry...)
			if err := c.entries.add(key, value); err != nil {
				return err
			}
		}
		if d.bad {
			return errors.New("build an index: a record is damaged")
		}
		return nil
	})
	return errors.Join(err, w.close())
}

// writeTexts writes what people read of advisories.
func (c *compiler) writeTexts() error {
	w, err := c.file.bucket(bucketTexts)
	if err != nil {
		return err
	}
	return errors.Join(c.texts.each(w.put), w.close())
}

// writePackages writes what is known about each package.
func (c *compiler) writePackages() (err error) {
	c.known.texts = nil
	if c.fingerprints, err = newSpool(c.folder); err != nil {
		return err
	}
	w, err := c.file.bucket(bucketPackages)
	if err != nil {
		return err
	}
	var last []byte
	var value encoder
	sum := sha256.New()
	flush := func() error {
		if last == nil {
			return nil
		}
		ecosystem, _, _ := bytes.Cut(last, []byte(keySeparator))
		c.meta.Ecosystems[string(ecosystem)]++
		if c.meta.Packages++; len(c.meta.Ecosystems) > maxEcosystems {
			return tidewaiter.Errorf(tidewaiter.TooLarge, "the advisories are about more than %d ecosystems and releases", maxEcosystems)
		}
		fingerprint := sum.Sum(nil)[:fingerprintSize]
		sum.Reset()
		return errors.Join(w.put(last, value), c.fingerprints.add(last, fingerprint))
	}
	err = c.entries.each(func(key, record []byte) error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if !bytes.Equal(key, last) {
			if err := flush(); err != nil {
				return err
			}
			last, value = append(last[:0], key...), value[:0]
		}
		entry := record[bytes.IndexByte(record, 0)+1+4:]
		headSum, entry := entry[:fingerprintSize], entry[fingerprintSize:]
		sum.Write(headSum)
		sumEntry(sum, entry)
		value.bytes(entry)
		c.meta.Entries++
		if len(value) > maxEntries {
			return tidewaiter.Errorf(tidewaiter.TooLarge, "the advisories say more than %d bytes about one package", maxEntries)
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return errors.Join(err, w.close())
}

func (c *compiler) writeFingerprints() error {
	w, err := c.file.bucket(bucketFingerprints)
	if err != nil {
		return err
	}
	return errors.Join(c.fingerprints.each(w.put), w.close())
}

func (c *compiler) writeAliases() error {
	w, err := c.file.bucket(bucketAliases)
	if err != nil {
		return err
	}
	var last []byte
	err = c.aliases.each(func(key, _ []byte) error {
		if bytes.Equal(key, last) {
			return nil
		}
		last = append(last[:0], key...)
		return w.put(key, nil)
	})
	return errors.Join(err, w.close())
}

func (c *compiler) writeMeta() error {
	text, err := json.Marshal(c.meta)
	if err != nil {
		return fmt.Errorf("write what is in the index: %w", err)
	}
	w, err := c.file.bucket(bucketMeta)
	if err != nil {
		return err
	}
	return errors.Join(w.put([]byte(bucketMeta), text), w.close())
}

// publish makes the index durable, looks whether it can be read, and gives it
// its name.
func (c *compiler) publish() (Built, error) {
	digest, size, err := c.file.seal()
	if err != nil {
		return Built{}, err
	}
	x, err := Open(c.file.path, digest)
	if err != nil {
		return Built{}, fmt.Errorf("verify the index: %w", err)
	}
	if err := errors.Join(x.verify(c.ctx), x.Close()); err != nil {
		return Built{}, fmt.Errorf("verify the index: %w", err)
	}
	path, err := c.file.rename(FileName(digest))
	if err != nil {
		return Built{}, err
	}
	return Built{Digest: digest, Path: path, Size: size, Meta: c.meta}, nil
}
