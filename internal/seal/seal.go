// Package seal closes a secret so that only the holder of one key can open it.
// The server seals what a user entrusts to it to the key of a cluster; scan
// components, which have that key, open it. Both sides, and nobody else, use
// this package.
//
// A sealed secret is an age file (https://age-encryption.org/v1) with one
// X25519 recipient. Inside is a JSON object, followed by blanks up to a
// multiple of 1,024 bytes so that the file's length does not tell how long the
// secret is. The object says what the secret is for: a sealed secret that
// somebody moved to another registry, or sent elsewhere, is refused by [Key.Open].
package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"filippo.io/age"

	"github.com/tidewaiter/tidewaiter"
)

// Limits.
const (
	MaxSecret = 16 << 10 // bytes of a secret
	maxSealed = 64 << 10 // bytes of an age file that is looked at
	padding   = 1 << 10
)

// version is that of the JSON object within.
const version = 1

// What a sealed object is.
const (
	useSecret = "registry secret"
	useKey    = "cluster key"
)

// Binding says what a secret is for.
type Binding struct {
	RegistryID string
	Name       string // tidewaiter.SecretPassword, …
	Origin     string // scheme://host:port of the registry, as [Origin] writes it
	Username   string
}

// content is what is within an age file.
type content struct {
	Version    int    `json:"v"`
	Use        string `json:"use"`
	RegistryID string `json:"registry_id,omitempty"`
	Name       string `json:"name,omitempty"`
	Origin     string `json:"origin,omitempty"`
	Username   string `json:"username,omitempty"`
	Secret     []byte `json:"secret"` // bytes: JSON would replace what is not UTF-8
}

// Why a sealed secret does not open. A component reports each of them as
// something that giving the secret again mends.
var (
	// ErrOtherKey is of kind [tidewaiter.Unauthenticated].
	ErrOtherKey = tidewaiter.Errorf(tidewaiter.Unauthenticated,
		"the secret is sealed to another key than that of this cluster; give it again")
	// ErrOtherBinding is of kind [tidewaiter.Forbidden].
	ErrOtherBinding = tidewaiter.Errorf(tidewaiter.Forbidden,
		"the secret was given for another registry, address or user name; give it again")
	// ErrDamaged is of kind [tidewaiter.Invalid].
	ErrDamaged = tidewaiter.Errorf(tidewaiter.Invalid,
		"the sealed secret is damaged, or of a newer version; give it again")
)

// Seal closes a secret to a recipient (age1…). Sealing the same twice gives
// different bytes. Errors are of kind [tidewaiter.Invalid]: the recipient is no
// X25519 key, the secret is longer than [MaxSecret], the binding is not UTF-8.
func Seal(recipient string, b Binding, secret string) ([]byte, error) {
	for _, s := range []string{b.RegistryID, b.Name, b.Origin, b.Username} {
		if !utf8.ValidString(s) {
			return nil, tidewaiter.Errorf(tidewaiter.Invalid, "what a secret is bound to is not valid UTF-8; encode it as UTF-8")
		}
	}
	return seal(recipient, content{
		Use: useSecret, RegistryID: b.RegistryID, Name: b.Name, Origin: b.Origin, Username: b.Username, Secret: []byte(secret),
	})
}

// Open returns a secret, if it was sealed to this key and for what it is wanted
// for. Otherwise the error is [ErrOtherKey], [ErrOtherBinding] or [ErrDamaged].
func (k *Key) Open(sealed []byte, want Binding) (string, error) {
	c, err := k.open(sealed)
	if err != nil {
		return "", err
	}
	if c.Use != useSecret || (Binding{c.RegistryID, c.Name, c.Origin, c.Username}) != want {
		return "", ErrOtherBinding
	}
	return string(c.Secret), nil
}

// SealKey closes the private key of a cluster to the recipient of one component.
func SealKey(recipient string, key *Key) ([]byte, error) {
	return seal(recipient, content{Use: useKey, Secret: []byte(key.Private())})
}

// OpenKey returns the key that another component sealed for the holder of own.
// Whether it is the cluster's the caller has to see from its [Key.Recipient].
// Errors are those of [Key.Open].
func OpenKey(own *Key, sealed []byte) (*Key, error) {
	c, err := own.open(sealed)
	if err != nil {
		return nil, err
	}
	if c.Use != useKey {
		return nil, ErrOtherBinding
	}
	key, err := ParseKey(string(c.Secret))
	if err != nil {
		return nil, ErrDamaged
	}
	return key, nil
}

func seal(recipient string, c content) ([]byte, error) {
	to, err := parseRecipient(recipient)
	if err != nil {
		return nil, err
	}
	if len(c.Secret) > MaxSecret {
		return nil, tidewaiter.Errorf(tidewaiter.Invalid, "the secret is too long; give at most %d bytes", MaxSecret)
	}
	c.Version = version
	plain, err := json.Marshal(c) //nolint:gosec // G117: it goes nowhere but into the age file
	if err != nil {
		return nil, fmt.Errorf("encode a secret: %w", err)
	}
	plain = append(plain, bytes.Repeat([]byte{' '}, padding-len(plain)%padding)...)
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to)
	if err != nil {
		// A point of low order: the one recipient that parses and does not work.
		return nil, errRecipient
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("seal a secret: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal a secret: %w", err)
	}
	return sealed.Bytes(), nil
}

// open opens an age file. What age says of a file that it cannot open is not
// passed on: of its errors only one matters to a caller.
func (k *Key) open(sealed []byte) (content, error) {
	if len(sealed) > maxSealed {
		return content{}, ErrDamaged
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), k.identity)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return content{}, ErrOtherKey
	}
	if err != nil {
		return content{}, ErrDamaged
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return content{}, ErrDamaged
	}
	var c content
	if err := json.Unmarshal(plain, &c); err != nil || c.Version != version {
		return content{}, ErrDamaged
	}
	return c, nil
}
