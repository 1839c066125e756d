package identity_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// TestTheDatabaseHoldsNoSecret looks for each secret in all pages of the SQLite
// database, its journal and its index, while it is open and after it is closed.
func TestTheDatabaseHoldsNoSecret(t *testing.T) {
	url := storetest.SQLite(t)
	folder := filepath.Dir(strings.TrimPrefix(url, "sqlite:"))
	h := newHouse(t, storetest.Open(t, url))
	planted := "planted password 1"
	user, _, err := h.CreateUser(t.Context(), h.root, identity.NewUser{Name: "planted-name", Password: planted})
	h.must(err)
	token := h.issue(identity.TokenRequest{UserID: user.ID, Password: planted})
	_, secret, err := h.CreateAccessKey(t.Context(), h.root, user.ID)
	h.must(err)
	changed := "planted password 2"
	_, err = h.UpdateUser(t.Context(), h.root, user.ID, identity.UserChange{Password: &changed})
	h.must(err)

	secrets := []string{planted, changed, token, strings.TrimPrefix(token, identity.TokenPrefix), secret, h.boot.Password, h.boot.SecretKey}
	look := func() (files, names int) {
		err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			h.must(err)
			files++
			names += bytes.Count(content, []byte("planted-name"))
			for i, s := range secrets {
				if bytes.Contains(content, []byte(s)) {
					t.Errorf("secret %d is in %s", i, filepath.Base(path))
				}
			}
			return nil
		})
		h.must(err)
		return files, names
	}
	if files, names := look(); files < 3 || names == 0 {
		t.Errorf("looked into %d files, and found the user's name %d times: this test finds nothing", files, names)
	}
	h.must(h.db.Close())
	if _, names := look(); names == 0 {
		t.Error("the user's name is not there: this test finds nothing")
	}
}
