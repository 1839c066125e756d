package component

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tidewaiter/tidewaiter"
)

// A SigningKey signs what this server distributes: ECDSA on P-256 over
// SHA-256, the one kind of key that every version of cosign and openssl takes.
// Signatures are deterministic (RFC 6979), so that all replicas with one key
// serve the same bytes.
type SigningKey struct {
	private *ecdsa.PrivateKey
}

// NewSigningKey makes a key.
func NewSigningKey() (*SigningKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	return &SigningKey{private: private}, nil
}

// ParseSigningKey reads a key as [SigningKey.MarshalPEM] writes it. Errors are
// of kind [tidewaiter.Invalid] and never show any part of the key.
func ParseSigningKey(text []byte) (*SigningKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, tidewaiter.Errorf(tidewaiter.Invalid, "the signing key must be a PEM block PRIVATE KEY (PKCS #8)")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || private.Curve != elliptic.P256() {
		return nil, tidewaiter.Errorf(tidewaiter.Invalid, "the signing key must be an ECDSA key on P-256")
	}
	return &SigningKey{private: private}, nil
}

// LoadOrCreateSigningKey reads the key in a file, or makes one and writes it
// there with mode 0600. Of several processes that do so at once, one writes
// and all get its key. Errors are of kind [tidewaiter.Invalid] if there is a
// file and it holds no key, or is open to others.
func LoadOrCreateSigningKey(file string) (*SigningKey, error) {
	key, err := loadSigningKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = NewSigningKey(); err != nil {
		return nil, err
	}
	text, err := key.MarshalPEM()
	if err != nil {
		return nil, err
	}
	if err := writeNew(file, text); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("write signing key: %w", err)
	}
	return loadSigningKey(file)
}

func loadSigningKey(file string) (*SigningKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, tidewaiter.Errorf(tidewaiter.Invalid, "the signing key %s can be read by others: run chmod 600 on it", file)
	}
	text := make([]byte, info.Size())
	if _, err := f.ReadAt(text, 0); err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	return ParseSigningKey(text)
}

// writeNew makes a file with mode 0600, whole or not at all. It fails with
// [fs.ErrExist] if the file is there.
func writeNew(file string, content []byte) error {
	dir := filepath.Dir(file)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // a leftover has mode 0600 and nobody reads it
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Sync()
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces what another process wrote.
	if err := os.Link(temp.Name(), file); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MarshalPEM returns the key, secret, as PKCS #8 in PEM.
func (k *SigningKey) MarshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("marshal signing key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// PublicPEM returns the public key as cosign and openssl read it.
func (k *SigningKey) PublicPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("marshal public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Sign returns the ASN.1 form of the signature over a message. The same
// message has the same signature always.
func (k *SigningKey) Sign(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	signature, err := k.private.Sign(nil, digest[:], crypto.SHA256) // no randomness: RFC 6979
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signature, nil
}

// PublicKey verifies what a [SigningKey] has signed.
type PublicKey struct{ public *ecdsa.PublicKey }

// ParsePublicKey reads a key as [SigningKey.PublicPEM] writes it. Errors are of
// kind [tidewaiter.Invalid].
func ParsePublicKey(text []byte) (*PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, tidewaiter.Errorf(tidewaiter.Invalid, "the key must be a PEM block PUBLIC KEY, such as /components/cosign.pub of the server")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, ok := parsed.(*ecdsa.PublicKey)
	if err != nil || !ok || public.Curve != elliptic.P256() {
		return nil, tidewaiter.Errorf(tidewaiter.Invalid, "the key must be an ECDSA key on P-256, such as /components/cosign.pub of the server")
	}
	return &PublicKey{public}, nil
}

// Verify tells whether a signature is one over a message.
func (k *PublicKey) Verify(message, signature []byte) bool {
	digest := sha256.Sum256(message)
	return ecdsa.VerifyASN1(k.public, digest[:], signature)
}

// String keeps the key out of whatever is printed.
func (k *SigningKey) String() string { return "signing key" }

// GoString keeps the key out of whatever is printed.
func (k *SigningKey) GoString() string { return k.String() }
