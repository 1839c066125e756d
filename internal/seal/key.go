package seal

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"filippo.io/age"

	"github.com/tidewaiter/tidewaiter"
)

// Key is an age X25519 identity: a component's own, or that of a cluster. It
// never prints itself.
type Key struct{ identity *age.X25519Identity }

// NewKey makes a key.
func NewKey() (*Key, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &Key{identity}, nil
}

// ParseKey reads what [Key.Private] wrote; white space around it does not
// matter. Errors are of kind [tidewaiter.Invalid].
func ParseKey(s string) (*Key, error) {
	identity, err := age.ParseX25519Identity(strings.TrimSpace(s))
	if err != nil {
		// age's error may repeat part of the key.
		return nil, tidewaiter.Errorf(tidewaiter.Invalid, "this is not an age X25519 key: one line that begins with AGE-SECRET-KEY-1")
	}
	return &Key{identity}, nil
}

// Private returns the private key, AGE-SECRET-KEY-1…, for the file that keeps it.
func (k *Key) Private() string { return k.identity.String() }

// Recipient returns the public half, age1….
func (k *Key) Recipient() string { return k.identity.Recipient().String() }

// String returns the public half, so that no log or error shows the other.
func (k *Key) String() string { return "key of " + k.Recipient() }

// GoString is [Key.String].
func (k *Key) GoString() string { return k.String() }

// LogValue is [Key.String].
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// CheckRecipient tells whether one can seal to a recipient. Errors are of kind
// [tidewaiter.Invalid] and name the field.
func CheckRecipient(field, recipient string) error {
	_, err := Seal(recipient, Binding{}, "")
	if e, ok := errors.AsType[*tidewaiter.Error](err); ok {
		return tidewaiter.InvalidField(field, "%s", e.Message)
	}
	return err
}

var errRecipient = tidewaiter.Errorf(tidewaiter.Invalid,
	"the recipient is not an age X25519 public key: age1 and 58 characters (no post-quantum, plugin or SSH recipient)")

// parseRecipient reads age1… in its only spelling: as text, the key in force is
// compared with others.
func parseRecipient(s string) (*age.X25519Recipient, error) {
	r, err := age.ParseX25519Recipient(s)
	if err != nil || r.String() != s {
		return nil, errRecipient
	}
	return r, nil
}
