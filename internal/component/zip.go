package component

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A download is what a server offers beside the OCI endpoint.
type download struct {
	zip       *splice
	zipDigest v1.Hash
	sums      []byte // SHA256SUMS
	sumsSig   []byte // SHA256SUMS.sig
}

// An entry is a file in the zip.
type entry struct {
	name    string
	digest  v1.Hash
	content *io.SectionReader
}

func memoryEntry(name string, content []byte) entry {
	b := newMemoryBlob("", content)
	return entry{name: name, digest: b.digest, content: b.content}
}

// Zip returns the zip that a server with this key offers, and its digest.
func (b *Bundle) Zip(key *SigningKey) (content *io.SectionReader, digest string, err error) {
	d, err := newDownload(b, key)
	if err != nil {
		return nil, "", err
	}
	return d.zip.reader(), d.zipDigest.String(), nil
}

// newDownload makes the zip and what is in it. The same bundle and key give
// the same bytes.
func newDownload(b *Bundle, key *SigningKey) (*download, error) {
	public, err := key.PublicPEM()
	if err != nil {
		return nil, err
	}
	readme, err := b.readme(public)
	if err != nil {
		return nil, err
	}
	entries := []entry{memoryEntry("README.md", readme), memoryEntry("cosign.pub", public)}
	layout, err := b.layoutEntries()
	if err != nil {
		return nil, err
	}
	entries = append(entries, layout...)
	for _, p := range b.platforms {
		archive, digest, err := b.archive(p)
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", p.ArchiveName(), err)
		}
		entries = append(entries, entry{p.ArchiveName(), digest, archive.reader()})
	}

	d := &download{sums: sums(entries)}
	signature, err := key.Sign(d.sums)
	if err != nil {
		return nil, err
	}
	d.sumsSig = []byte(base64.StdEncoding.EncodeToString(signature))
	entries = append(entries, memoryEntry("SHA256SUMS", d.sums), memoryEntry("SHA256SUMS.sig", d.sumsSig))
	slices.SortFunc(entries, func(x, y entry) int { return strings.Compare(x.name, y.name) })
	d.zip, d.zipDigest, err = zipEntries(entries, b.modTime())
	return d, err
}

// layoutEntries is the OCI layout of the whole index, as the folder oci.
func (b *Bundle) layoutEntries() ([]entry, error) {
	d := b.index
	d.Annotations = map[string]string{refNameAnnotation: b.version}
	index, err := layoutIndex(d)
	if err != nil {
		return nil, err
	}
	entries := []entry{memoryEntry("oci/oci-layout", []byte(layoutVersion)), memoryEntry("oci/index.json", index)}
	for _, blobs := range []map[v1.Hash]blob{b.manifests, b.blobs} {
		for digest, blob := range blobs {
			content, err := blob.open()
			if err != nil {
				return nil, err
			}
			entries = append(entries, entry{"oci/" + blobPath(digest), digest, content})
		}
	}
	return entries, nil
}

// sums lists the entries as sha256sum does, sorted by name.
func sums(entries []entry) []byte {
	var lines []string
	for _, e := range entries {
		lines = append(lines, e.name+"\x00"+e.digest.Hex+"  "+e.name+"\n")
	}
	slices.Sort(lines)
	var out bytes.Buffer
	for _, line := range lines {
		_, text, _ := strings.Cut(line, "\x00")
		out.WriteString(text)
	}
	return out.Bytes()
}

// zipEntries stores the entries in a zip. They are compressed already, and
// stored bytes can be spliced. Sizes and checksums stand before each entry's
// content, so that the zip can also be unpacked as it arrives.
func zipEntries(entries []entry, modTime time.Time) (*splice, v1.Hash, error) {
	out := newSplicer()
	w := zip.NewWriter(out)
	for _, e := range entries {
		checksum := crc32.NewIEEE()
		if _, err := io.Copy(checksum, io.NewSectionReader(e.content, 0, e.content.Size())); err != nil {
			return nil, v1.Hash{}, fmt.Errorf("read %s: %w", e.name, err)
		}
		to, err := w.CreateRaw(zipHeader(e, checksum.Sum32(), modTime))
		if err != nil {
			return nil, v1.Hash{}, fmt.Errorf("add %s to zip: %w", e.name, err)
		}
		if err := w.Flush(); err != nil {
			return nil, v1.Hash{}, err
		}
		if err := out.insert(flushWriter{to, w}, e.content); err != nil {
			return nil, v1.Hash{}, fmt.Errorf("add %s to zip: %w", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, v1.Hash{}, err
	}
	archive, digest := out.finish()
	return archive, digest, nil
}

// flushWriter passes on what a zip.Writer would keep in its buffer.
type flushWriter struct {
	entry io.Writer
	zip   *zip.Writer
}

func (w flushWriter) Write(p []byte) (int, error) {
	n, err := w.entry.Write(p)
	if err != nil {
		return n, err
	}
	return n, w.zip.Flush()
}

// zipHeader fills in what CreateRaw leaves to its caller.
func zipHeader(e entry, checksum uint32, modTime time.Time) *zip.FileHeader {
	const version20, extendedTimestamp = 20, 0x5455
	size := uint64(e.content.Size())
	h := &zip.FileHeader{
		Name: e.name, Method: zip.Store, ReaderVersion: version20,
		CRC32: checksum, CompressedSize64: size, UncompressedSize64: size,
	}
	h.SetMode(0o644)
	h.CreatorVersion |= version20
	t := modTime.UTC()
	h.ModifiedDate = uint16(t.Day() + int(t.Month())<<5 + (t.Year()-1980)<<9)   //nolint:staticcheck // the only way with CreateRaw
	h.ModifiedTime = uint16(t.Second()/2 + t.Minute()<<5 + t.Hour()<<11)        //nolint:staticcheck // likewise
	h.Extra = binary.LittleEndian.AppendUint16(h.Extra, extendedTimestamp)      // APPNOTE.TXT 4.5.3; Info-ZIP's field "UT"
	h.Extra = append(binary.LittleEndian.AppendUint16(h.Extra, 5), 1)           // five bytes: modification time only
	h.Extra = binary.LittleEndian.AppendUint32(h.Extra, uint32(modTime.Unix())) // in UTC, unlike the MS-DOS fields
	return h
}

//go:embed readme.md.tmpl
var readmeTemplate string

// readme is the README.md in the zip.
func (b *Bundle) readme(public []byte) ([]byte, error) {
	t, err := template.New("README.md").Parse(readmeTemplate)
	if err != nil {
		return nil, fmt.Errorf("parse README: %w", err)
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Version":    b.version,
		"LocalName":  b.LocalName(),
		"Repository": Repository,
		"Index":      b.index.Digest,
		"Platforms":  b.platforms,
		"PublicKey":  strings.TrimSpace(string(public)),
	})
	if err != nil {
		return nil, fmt.Errorf("write README: %w", err)
	}
	return out.Bytes(), nil
}
