// Command vulndb turns an OSV export (Go/all.zip: one JSON file for each
// advisory) into the layout that govulncheck reads with -db file://DIR:
//
//	go run ./test/vulndb -zip Go/all.zip -out DIR
//
// The layout is described at https://go.dev/doc/security/vuln/database.
package main

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxAdvisory bounds one advisory, in bytes.
const maxAdvisory = 4 << 20

// advisory is the part of an OSV record that the index repeats.
type advisory struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"` // the zero time in some exports
	Affected []struct {
		Package struct {
			Name      string `json:"name"`
			Ecosystem string `json:"ecosystem"`
		} `json:"package"`
		Ranges []struct {
			Events []struct {
				Fixed string `json:"fixed"`
			} `json:"events"`
		} `json:"ranges"`
	} `json:"affected"`
}

// module is one line of index/modules.json.
type module struct {
	Path  string       `json:"path"`
	Vulns []moduleVuln `json:"vulns"`
}

type moduleVuln struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"`
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("vulndb: ")
	from := flag.String("zip", "", "the OSV export `FILE` of the ecosystem Go")
	out := flag.String("out", "", "the `DIR` to write, which must be empty or absent")
	flag.Parse()
	if *from == "" || *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	n, last, err := convert(*from, *out)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("%d advisories, up to %s", n, last)
}

// convert writes the database to dir and returns how many advisories it holds
// and the greatest id among them, such as GO-2026-0001. An export without
// advisories is an error.
func convert(export, dir string) (n int, last string, err error) {
	archive, err := zip.OpenReader(export)
	if err != nil {
		return 0, "", fmt.Errorf("open export: %w", err)
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	if err := os.MkdirAll(filepath.Join(dir, "ID"), 0o755); err != nil {
		return 0, "", err
	}
	modules := make(map[string][]moduleVuln)
	var newest time.Time
	for _, file := range archive.File {
		if !strings.HasSuffix(file.Name, ".json") {
			continue
		}
		a, raw, err := read(file)
		if err != nil {
			return 0, "", fmt.Errorf("read %q: %w", file.Name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ID", a.ID+".json"), raw, 0o644); err != nil {
			return 0, "", err
		}
		for path, fixed := range affected(a) {
			modules[path] = append(modules[path], moduleVuln{ID: a.ID, Modified: a.Modified, Fixed: fixed})
		}
		if a.Modified.After(newest) {
			newest = a.Modified
		}
		last = max(last, a.ID)
		n++
	}
	if n == 0 {
		return 0, "", fmt.Errorf("no advisories in %q", export)
	}
	return n, last, writeIndex(dir, modules, newest)
}

// read returns the advisory in a file of the export, and its bytes.
func read(file *zip.File) (a advisory, raw []byte, err error) {
	r, err := file.Open()
	if err != nil {
		return a, nil, err
	}
	raw, err = io.ReadAll(io.LimitReader(r, maxAdvisory+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return a, nil, err
	}
	if len(raw) > maxAdvisory {
		return a, nil, errors.New("longer than an advisory may be")
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, nil, err
	}
	if a.ID == "" || a.ID != filepath.Base(a.ID) {
		return a, nil, errors.New("its id is no file name")
	}
	return a, raw, nil
}

// affected returns the modules that an advisory names, each with its last
// fixed version, or "" where there is none.
func affected(a advisory) map[string]string {
	fixed := make(map[string]string)
	for _, af := range a.Affected {
		if af.Package.Ecosystem != "Go" {
			continue
		}
		last := fixed[af.Package.Name]
		for _, r := range af.Ranges {
			for _, event := range r.Events {
				if event.Fixed != "" {
					last = event.Fixed
				}
			}
		}
		fixed[af.Package.Name] = last
	}
	return fixed
}

// writeIndex writes index/db.json and index/modules.json.
func writeIndex(dir string, modules map[string][]moduleVuln, newest time.Time) error {
	list := make([]module, 0, len(modules))
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		list = append(list, module{Path: path, Vulns: modules[path]})
	}
	if err := os.MkdirAll(filepath.Join(dir, "index"), 0o755); err != nil {
		return err
	}
	for name, v := range map[string]any{
		"db.json":      map[string]time.Time{"modified": newest},
		"modules.json": list,
	} {
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "index", name), raw, 0o644); err != nil {
			return err
		}
	}
	return nil
}
