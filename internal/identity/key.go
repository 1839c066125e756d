package identity

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tidewaiter/tidewaiter"
)

// Key seals the secret halves of access keys for the database.
type Key struct {
	aead        cipher.AEAD
	fingerprint string
}

// keySize is the size of the key in bytes; its file has twice as many hex
// digits and a line feed.
const keySize = 32

// LoadOrCreateKey reads the key in a file, or makes it with its folder if there
// is none, for the owner only (mode 0600). A file that others than its owner
// and group can read, or its group can write, is refused with an error of kind
// [tidewaiter.Invalid]. All replicas on one database need the same key.
func LoadOrCreateKey(path string) (*Key, error) {
	k, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	secret := make([]byte, keySize)
	rand.Read(secret)
	if err := createKey(path, []byte(hex.EncodeToString(secret)+"\n")); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return loadKey(path)
}

func loadKey(path string) (*Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if fi.Mode().Perm()&0o027 != 0 {
		return nil, tidewaiter.Errorf(tidewaiter.Invalid, "the key %s can be read or written by others; run chmod 600 on it", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 2*keySize+2))
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	secret, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(secret) != keySize {
		// The cause is left out: it quotes the key.
		return nil, tidewaiter.Errorf(tidewaiter.Invalid,
			"the key %s is damaged: it must hold 64 hex digits; restore it from a backup", path)
	}
	return newKey(secret)
}

// createKey writes a file so that it is either whole or not there, and fails
// with fs.ErrExist where another process was faster.
func createKey(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".secret-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func newKey(secret []byte) (*Key, error) {
	sealing, err := hkdf.Key(sha256.New, secret, nil, "tidewaiter access keys", keySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	fingerprint, err := hkdf.Key(sha256.New, secret, nil, "tidewaiter fingerprint", 16)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return &Key{aead: aead, fingerprint: hex.EncodeToString(fingerprint)}, nil
}

// Fingerprint returns what tells this key from others, and nothing else of it.
func (k *Key) Fingerprint() string { return k.fingerprint }

// Seal seals what only a holder of this key is to read, bound to what it is for.
func (k *Key) Seal(purpose string, secret []byte) []byte {
	//nolint:gosec // G407: the AEAD makes a random nonce itself and takes none
	return k.aead.Seal(nil, nil, secret, []byte("tidewaiter "+purpose))
}

// Open opens what Seal returned.
func (k *Key) Open(purpose string, sealed []byte) ([]byte, error) {
	secret, err := k.aead.Open(nil, nil, sealed, []byte("tidewaiter "+purpose))
	if err != nil {
		return nil, fmt.Errorf("open what was sealed for %q: %w", purpose, err)
	}
	return secret, nil
}

// seal seals the secret half of an access key, bound to the public half.
func (k *Key) seal(accessKey, secret string) []byte {
	//nolint:gosec // G407: the AEAD makes a random nonce itself and takes none
	return k.aead.Seal(nil, nil, []byte(secret), []byte(accessKey))
}

// open opens what seal returned.
func (k *Key) open(accessKey string, sealed []byte) ([]byte, error) {
	secret, err := k.aead.Open(nil, nil, sealed, []byte(accessKey))
	if err != nil {
		return nil, fmt.Errorf("open secret of access key %q: %w", accessKey, err)
	}
	return secret, nil
}
