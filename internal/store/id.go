package store

import (
	"crypto/rand"
	"encoding/hex"
)

// NewID returns a fresh id: 32 lower-case hex digits, from 16 random bytes.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand
	return hex.EncodeToString(b[:])
}
