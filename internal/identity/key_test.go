package identity

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

func TestLoadOrCreateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "secret.key")
	var mu sync.Mutex
	fingerprints := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 { // of many who make it at once, all get the same
		wg.Go(func() {
			k, err := LoadOrCreateKey(path)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			fingerprints[k.Fingerprint()] = true
		})
	}
	wg.Wait()
	if len(fingerprints) != 1 {
		t.Errorf("%d different keys", len(fingerprints))
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("folder holds %v, %v", files, err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v", fi.Mode(), err)
	}
	content, err := os.ReadFile(path)
	if err != nil || len(bytes.TrimSpace(content)) != 64 {
		t.Errorf("the file has %d bytes, %v", len(content), err)
	}
	for fingerprint := range fingerprints {
		if strings.Contains(string(content), fingerprint) {
			t.Error("the fingerprint is a part of the key")
		}
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	good := strings.Repeat("ab", 32)
	for _, c := range []struct {
		content string
		mode    fs.FileMode
		ok      bool
	}{
		{good, 0o600, true},
		{good + "\n", 0o400, true},
		{good + "\n", 0o440, true}, // as a Kubernetes secret with a group is mounted
		{good, 0o644, false},
		{good, 0o620, false},
		{good[1:], 0o600, false},
		{good + "ab", 0o600, false},
		{good[1:] + "g", 0o600, false},
		{strings.Repeat(" ", 100) + good, 0o600, false},
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadOrCreateKey(path)
		if c.ok && err != nil || !c.ok && tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%q %v: got %v", c.content, c.mode, err)
		}
		if err != nil && strings.Contains(err.Error(), "abab") {
			t.Errorf("the error quotes the key: %v", err)
		}
	}
	empty := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(empty); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("an empty file: got %v", err)
	}
	if _, err := LoadOrCreateKey(filepath.Join(empty, "key")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file for a folder: got %v", err)
	}
}

func TestSealing(t *testing.T) {
	key, err := newKey(bytes.Repeat([]byte{1}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	another, err := newKey(bytes.Repeat([]byte{2}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	sealed := key.seal("AK", "planted secret")
	if again := key.seal("AK", "planted secret"); bytes.Equal(sealed, again) || bytes.Contains(sealed, []byte("planted")) {
		t.Error("sealing hides nothing")
	}
	if secret, err := key.open("AK", sealed); err != nil || string(secret) != "planted secret" {
		t.Errorf("got %q, %v", secret, err)
	}
	if _, err := key.open("AK2", sealed); err == nil {
		t.Error("opened under the name of another access key")
	}
	if _, err := another.open("AK", sealed); err == nil {
		t.Error("opened with another key")
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := key.open("AK", sealed); err == nil {
		t.Error("opened though it was changed")
	}
}
