package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidewaiter/tidewaiter"
)

// TestAdvisoryScripts runs testdata/advisories/*.txt. $EXPORT is a site that has
// the files of the folder export/NAME at NAME/all.zip, with an ETag, and writes
// what it answers to the file answers.
func TestAdvisoryScripts(t *testing.T) {
	needComponent(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/advisories", Cmds: commands(), RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			if err := setUp(env); err != nil {
				return err
			}
			answers, err := os.Create(filepath.Join(env.WorkDir, "answers"))
			if err != nil {
				return err
			}
			var mu sync.Mutex
			site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				status := publish(w, r, filepath.Join(env.WorkDir, "export"))
				if _, err := fmt.Fprintln(answers, status, r.URL.Path); err != nil {
					t.Error(err)
				}
			}))
			env.Defer(func() {
				site.Close()
				answers.Close()
			})
			env.Setenv("EXPORT", site.URL)
			return nil
		},
	})
}

// publish answers with a folder of a folder as a zip file.
func publish(w http.ResponseWriter, r *http.Request, folder string) (status int) {
	folder, name := filepath.Split(filepath.Join(folder, filepath.Clean(r.URL.Path)))
	archive, err := zipFolder(folder)
	if err != nil || name != "all.zip" {
		w.WriteHeader(http.StatusNotFound)
		return http.StatusNotFound
	}
	tag := `"` + string(tidewaiter.DigestOf(archive)) + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return http.StatusNotModified
	}
	_, _ = w.Write(archive) // the client says what it misses
	return http.StatusOK
}

func zipFolder(folder string) ([]byte, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err == nil && len(paths) == 0 {
		err = errors.New("there are no advisories")
	}
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for _, path := range paths {
		text, rerr := os.ReadFile(path)
		f, zerr := z.Create(filepath.Base(path))
		if err = errors.Join(err, rerr, zerr); err != nil {
			return nil, err
		}
		if _, err := f.Write(text); err != nil {
			return nil, err
		}
	}
	err = errors.Join(err, z.Close())
	return archive.Bytes(), err
}
