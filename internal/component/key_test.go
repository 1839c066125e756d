package component

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

func TestSignDeterministic(t *testing.T) {
	key := fakeKey(t)
	first, err := key.Sign([]byte("message"))
	check(t, err)
	second, err := key.Sign([]byte("message"))
	check(t, err)
	if !bytes.Equal(first, second) {
		t.Error("two signatures over one message differ")
	}
	digest := sha256.Sum256([]byte("message"))
	if !ecdsa.VerifyASN1(&key.private.PublicKey, digest[:], first) {
		t.Error("the signature does not verify")
	}
}

// All that start at once end up with one key, and nothing else is left.
func TestLoadOrCreateSigningKey(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "signing.key")
	keys := make([]*SigningKey, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			key, err := LoadOrCreateSigningKey(file)
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = key
		})
	}
	wg.Wait()
	for _, key := range keys {
		if key == nil || !key.private.Equal(keys[0].private) {
			t.Fatal("there is more than one key")
		}
	}
	entries, err := os.ReadDir(dir)
	check(t, err)
	if len(entries) != 1 {
		t.Errorf("files left behind: %v", entries)
	}
	info, err := os.Stat(file)
	check(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
}

func TestSigningKeyRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "signing.key")
	text, err := fakeKey(t).MarshalPEM()
	check(t, err)
	for _, tt := range []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"readable by others", string(text), 0o640, "chmod 600"},
		{"empty", "", 0o600, "PEM block PRIVATE KEY"},
		{"damaged", strings.Replace(string(text), "MIG", "MIH", 1), 0o600, "ECDSA key on P-256"},
		{"other block", strings.ReplaceAll(string(text), "PRIVATE KEY", "PUBLIC KEY"), 0o600, "PEM block PRIVATE KEY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check(t, os.WriteFile(file, []byte(tt.content), 0o600))
			check(t, os.Chmod(file, tt.mode))
			_, err := LoadOrCreateSigningKey(file)
			if tidewaiter.KindOf(err) != tidewaiter.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one of kind Invalid with %q", err, tt.want)
			}
			after, err := os.ReadFile(file)
			check(t, err)
			if string(after) != tt.content {
				t.Error("the file was changed")
			}
		})
	}
}

func TestSigningKeyIsNotPrinted(t *testing.T) {
	key := fakeKey(t)
	secret := fmt.Sprint(key.private.D) //nolint:staticcheck // only to look for it
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, key); strings.Contains(text, secret) || text != "signing key" {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}
