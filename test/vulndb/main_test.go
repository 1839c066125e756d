package main

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConvert(t *testing.T) {
	export := writeZip(t, map[string]string{
		"GO-1.json": `{"id":"GO-1","modified":"2026-01-02T00:00:00Z","affected":[
			{"package":{"name":"example.com/b","ecosystem":"Go"},"ranges":[{"events":[{"introduced":"0"},{"fixed":"1.2.3"}]}]},
			{"package":{"name":"example.com/a","ecosystem":"Go"},"ranges":[{"events":[{"introduced":"0"}]}]},
			{"package":{"name":"elsewhere","ecosystem":"npm"}}]}`,
		"README": "not an advisory",
	})
	dir := t.TempDir()
	n, last, err := convert(export, dir)
	if err != nil || n != 1 || last != "GO-1" {
		t.Fatalf("convert = %d, %q, %v; want 1 advisory, GO-1", n, last, err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "index", "modules.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"path":"example.com/a","vulns":[{"id":"GO-1","modified":"2026-01-02T00:00:00Z"}]},` +
		`{"path":"example.com/b","vulns":[{"id":"GO-1","modified":"2026-01-02T00:00:00Z","fixed":"1.2.3"}]}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("modules.json (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(dir, "ID", "GO-1.json")); err != nil {
		t.Error(err)
	}
}

func TestConvertRefuses(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"an empty export":   {"README": "nothing"},
		"an id with a path": {"x.json": `{"id":"../x"}`},
		"no JSON":           {"x.json": `{`},
	} {
		if _, _, err := convert(writeZip(t, files), t.TempDir()); err == nil {
			t.Errorf("%s: convert succeeded", name)
		}
	}
}

// writeZip writes an archive of the files, each name with its text.
func writeZip(t *testing.T, files map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "all.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	for name, text := range files {
		entry, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := strings.NewReader(text).WriteTo(entry); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
