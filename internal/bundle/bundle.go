// Package bundle writes and reads what a server without a network needs in one
// signed file: the sources of its advisories, and the scan component.
//
// The file is a tar archive. First comes bundle.json, a [Manifest], then
// bundle.json.sig, the signature over its bytes (ECDSA on P-256 with SHA-256, in
// ASN.1 and base64: what `openssl dgst -sha256 -verify` and `cosign verify-blob`
// take), then the files that the manifest names, in its order.
package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// The names of the first two files.
const (
	manifestName  = "bundle.json"
	signatureName = "bundle.json.sig"
)

const (
	format      = 1
	maxManifest = 8 << 20
	maxFiles    = 1_000
)

// Manifest says what is in a bundle.
type Manifest struct {
	Format     int               `json:"format"`
	Created    time.Time         `json:"created"`
	Version    string            `json:"version"` // of the program that wrote it
	Set        tidewaiter.Digest `json:"set"`     // of the set of advisories that was made of the sources there
	Advisories int               `json:"advisories"`
	Newest     time.Time         `json:"newest"`
	Sources    []Source          `json:"sources"`
	Files      []File            `json:"files"`
}

// Source is where advisories came from. Its content is the file of that digest.
type Source struct {
	Location   string            `json:"location"`
	Digest     tidewaiter.Digest `json:"digest"`
	Newest     time.Time         `json:"newest"`
	Advisories int               `json:"advisories"`
	Refused    int               `json:"refused"`
}

// File is a file of a bundle.
type File struct {
	Name   string            `json:"name"`
	Kind   string            `json:"kind"` // source or component
	Digest tidewaiter.Digest `json:"digest"`
	Size   int64             `json:"size"`
}

// The kinds of files.
const (
	KindSource    = "source"
	KindComponent = "component"
)

var (
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	nameForm   = regexp.MustCompile(`^[a-z]+/[A-Za-z0-9][A-Za-z0-9._-]{0,150}$`)
)

// check refuses a manifest of which nothing good can come, though it is signed.
func (m *Manifest) check() error {
	if m.Format != format {
		return tidewaiter.Errorf(tidewaiter.Invalid, "the bundle has format %d, and this program reads %d", m.Format, format)
	}
	if len(m.Files) > maxFiles || len(m.Sources) > maxFiles {
		return tidewaiter.Errorf(tidewaiter.TooLarge, "the bundle has more than %d files", maxFiles)
	}
	digests, names := make(map[tidewaiter.Digest]bool), make(map[string]bool)
	for _, f := range m.Files {
		if !nameForm.MatchString(f.Name) || !digestForm.MatchString(string(f.Digest)) || f.Size < 0 || f.Kind != KindSource && f.Kind != KindComponent || names[f.Name] {
			return tidewaiter.Errorf(tidewaiter.Invalid, "the bundle's file %.80q is not described as one", f.Name)
		}
		digests[f.Digest], names[f.Name] = true, true
	}
	for _, s := range m.Sources {
		if !digests[s.Digest] {
			return tidewaiter.Errorf(tidewaiter.Invalid, "the bundle has no file of the source %.200q", s.Location)
		}
	}
	return nil
}

// Write writes a bundle. open gives the content of a file of the manifest.
func Write(w io.Writer, m Manifest, sign func([]byte) ([]byte, error), open func(File) (io.ReadCloser, error)) error {
	m.Format = format
	if err := m.check(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	signature, err := sign(text)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	put := func(name string, size int64, content io.Reader) error {
		header := &tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: m.Created.Truncate(time.Second), Format: tar.FormatPAX}
		if err := t.WriteHeader(header); err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
		if _, err := io.Copy(t, content); err != nil {
			return fmt.Errorf("write bundle: %s: %w", name, err)
		}
		return nil
	}
	for _, first := range []struct {
		name string
		text []byte
	}{{manifestName, text}, {signatureName, []byte(base64.StdEncoding.EncodeToString(signature))}} {
		if err := put(first.name, int64(len(first.text)), bytes.NewReader(first.text)); err != nil {
			return err
		}
	}
	for _, f := range m.Files {
		content, err := open(f)
		if err != nil {
			return err
		}
		if err := errors.Join(put(f.Name, f.Size, content), content.Close()); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

// Read reads a bundle: it verifies the signature of its manifest, gives each file
// to visit, and wants each to be what the manifest says, and nothing else to be
// there. What visit was given counts only once Read has returned without an
// error. Errors: Invalid (it is no bundle, or damaged), Forbidden (the signature
// is another's).
func Read(r io.Reader, verify func(message, signature []byte) bool, visit func(m Manifest, f File, content io.Reader) error) (m Manifest, err error) {
	t := tar.NewReader(r)
	text, err := first(t, manifestName)
	if err != nil {
		return m, err
	}
	encoded, err := first(t, signatureName)
	if err != nil {
		return m, err
	}
	signature, err := base64.StdEncoding.DecodeString(string(encoded))
	if err != nil || !verify(text, signature) {
		return m, tidewaiter.Errorf(tidewaiter.Forbidden, "the bundle is not signed with this key; look which server made it, and take the key of that one")
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, damaged(err)
	}
	if err := m.check(); err != nil {
		return m, err
	}
	for _, f := range m.Files {
		header, err := t.Next()
		if err != nil || header.Name != f.Name || header.Size != f.Size || header.Typeflag != tar.TypeReg {
			return m, damaged(errors.Join(err, fmt.Errorf("%s is not where it should be", f.Name)))
		}
		sum := sha256.New()
		content := io.TeeReader(watched{t}, sum)
		if err := visit(m, f, content); err != nil {
			return m, err
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			return m, damaged(err)
		}
		if tidewaiter.Digest("sha256:"+hex.EncodeToString(sum.Sum(nil))) != f.Digest {
			return m, damaged(fmt.Errorf("%s has other bytes than it should have", f.Name))
		}
	}
	if _, err := t.Next(); !errors.Is(err, io.EOF) {
		return m, damaged(errors.Join(err, errors.New("there is more in it than it says")))
	}
	return m, nil
}

// watched has what cannot be read be an error about the bundle.
type watched struct{ r io.Reader }

func (w watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = damaged(err)
	}
	return n, err
}

func damaged(err error) error {
	return tidewaiter.Wrap(tidewaiter.Invalid, err, "the bundle is damaged: %v", err)
}

// first reads one of the first files.
func first(t *tar.Reader, name string) ([]byte, error) {
	header, err := t.Next()
	if err != nil || header.Name != name || header.Size > maxManifest {
		return nil, tidewaiter.Errorf(tidewaiter.Invalid, "this is no bundle")
	}
	text, err := io.ReadAll(t)
	if err != nil {
		return nil, damaged(err)
	}
	return text, nil
}
