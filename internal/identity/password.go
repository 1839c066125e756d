package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/tidewaiter/tidewaiter"
)

// Parameters of argon2id, from the OWASP password storage cheat sheet
// (https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html).
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16 // bytes
	argonSum     = 32 // bytes
)

// Limits of a password, in characters.
const (
	minPassword = 8
	maxPassword = 128
)

// maxWaiting is how many sign-ins may wait for their turn.
const maxWaiting = 256

// hasher hashes passwords, as many at once as there are processors: each takes
// 19 MiB and some 20 ms.
type hasher struct {
	slots   chan struct{}
	waiting atomic.Int64
	dummy   string // the hash of nobody's password
}

func newHasher() *hasher {
	// The sum is random, not a hash, so that making it takes no time.
	salt, sum := make([]byte, argonSalt), make([]byte, argonSum)
	rand.Read(salt)
	rand.Read(sum)
	return &hasher{slots: make(chan struct{}, runtime.NumCPU()), dummy: formatHash(salt, sum)}
}

// acquire waits for a turn. Its errors are that of the context, or of kind
// [tidewaiter.Throttled].
func (h *hasher) acquire(ctx context.Context) (release func(), err error) {
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return nil, tidewaiter.Errorf(tidewaiter.Throttled, "too many sign-ins at once; try again in a few seconds")
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hash returns the PHC string of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	salt := make([]byte, argonSalt)
	rand.Read(salt)
	return formatHash(salt, argon(password, salt, argonMemory, argonTime, argonThreads, argonSum)), nil
}

// formatHash returns a PHC string
// (https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md).
func formatHash(salt, sum []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

func argon(password string, salt []byte, memory, time uint32, threads uint8, size int) []byte {
	return argon2.IDKey([]byte(password), salt, time, memory, threads, uint32(size))
}

// verifyHash reports whether a password is that of a PHC string. The caller
// must hold a slot of the hasher.
func verifyHash(hash, password string) (bool, error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return false, fmt.Errorf("stored password hash has an unknown form")
	}
	var memory, time uint32
	var threads uint8
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &time, &threads); err != nil {
		return false, fmt.Errorf("stored password hash has unknown parameters")
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) == 0 || time == 0 || threads == 0 {
		return false, fmt.Errorf("stored password hash is damaged")
	}
	got := argon(password, salt, memory, time, threads, len(want))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// checkPassword checks a new password.
func checkPassword(password, userName string) error {
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return tidewaiter.InvalidField("password", "it is not UTF-8")
	case n < minPassword || n > maxPassword:
		return tidewaiter.InvalidField("password", "it must have %d to %d characters", minPassword, maxPassword)
	case strings.EqualFold(password, userName):
		return tidewaiter.InvalidField("password", "it must not be the user name")
	}
	return nil
}

// Alphabets of generated secrets.
const (
	lettersAndDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	upperAndDigits   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	// easilyRead leaves out what looks alike: 0 O, 1 I l.
	easilyRead = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
)

// randomText returns n characters of an alphabet of at most 64, each as likely
// as the others.
func randomText(alphabet string, n int) string {
	out := make([]byte, 0, n)
	var b [64]byte
	for {
		rand.Read(b[:])
		for _, c := range b {
			if c &= 63; int(c) < len(alphabet) {
				if out = append(out, alphabet[c]); len(out) == n {
					return string(out)
				}
			}
		}
	}
}

// newPassword returns a generated password of about 139 bits.
func newPassword() string { return randomText(easilyRead, 24) }
