package langpkg

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// Node reads the package.json of packages that stand in a folder node_modules,
// where Node.js looks for them, whoever put them there (npm, Yarn, pnpm), and
// that of Yarn itself as images of Node.js have it. Lock files and the
// application's own package.json say what is wanted, not what is there. The
// archives of Yarn's Plug'n'Play are not read.
type Node struct{}

var _ extract.Extractor = Node{}

// Name implements [extract.Extractor].
func (Node) Name() string { return "node/package" }

// Version implements [extract.Extractor].
func (Node) Version() int { return 2 }

// Wants implements [extract.Extractor].
func (Node) Wants(name string, mode fs.FileMode, size int64) bool {
	if !data(mode, size) || path.Base(name) != "package.json" {
		return false
	}
	above := folders(name, 3)
	if above[1] == "opt" && strings.HasPrefix(above[0], "yarn-v") {
		return true
	}
	return above[1] == "node_modules" && !strings.HasPrefix(above[0], "@") && !strings.HasPrefix(above[0], ".") ||
		above[2] == "node_modules" && strings.HasPrefix(above[1], "@")
}

// Extract implements [extract.Extractor].
func (e Node) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	content, err := parse.All(f, maxMetadata)
	if err != nil {
		return extract.Found{}, err
	}
	var manifest struct {
		Name     parse.Text
		Version  parse.Text
		License  license
		Licenses licenses // of old
		Bin      json.RawMessage
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(string(content), "\ufeff")), &manifest); err != nil {
		return extract.Found{}, fmt.Errorf("read package.json: %w", err)
	}
	// What has no name or version is a folder of a package, or for tests.
	if manifest.Name == "" || manifest.Version == "" {
		return extract.Found{}, nil
	}
	list := parse.NewList(e.Name())
	p := tidewaiter.Package{
		Ecosystem: "npm",
		Type:      "npm",
		Name:      string(manifest.Name),
		Version:   string(manifest.Version),
	}
	if manifest.License != "" {
		p.Licenses = []string{string(manifest.License)}
	}
	for _, l := range manifest.Licenses {
		p.Licenses = append(p.Licenses, string(l))
	}
	if strings.HasPrefix(p.Name, "@") {
		p.Namespace = before(p.Name, "/")
	}
	list.Add(p)
	nodeFiles(list.Owned(), f.Path, p.Name, manifest.Bin)
	return list.Found(), nil
}

// nodeFiles are the folder of a package, and the links to its programs: "bin"
// is one program, with the name of the package, or an object of several.
func nodeFiles(owned *extract.Owned, file, name string, bin json.RawMessage) {
	owned.Folder(".")
	var programs map[string]json.RawMessage
	var one string
	if json.Unmarshal(bin, &one) == nil {
		programs = map[string]json.RawMessage{name[strings.LastIndexByte(name, '/')+1:]: nil}
	} else if json.Unmarshal(bin, &programs) != nil {
		return
	}
	modules, up := path.Dir(path.Dir(file)), ".."
	if strings.HasPrefix(path.Base(modules), "@") {
		modules, up = path.Dir(modules), "../.."
	}
	for _, program := range slices.Sorted(maps.Keys(programs)) {
		if strings.ContainsRune(program, '/') {
			continue
		}
		owned.File(up + "/.bin/" + program)
		if path.Base(path.Dir(modules)) == "lib" { // npm install --global
			owned.File(up + "/../../bin/" + program)
		}
	}
}

// license is a text, or of old an object with a type.
type license string

// UnmarshalJSON implements [json.Unmarshaler].
func (l *license) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*l = license(text)
		return nil
	}
	var object struct{ Type parse.Text }
	if json.Unmarshal(data, &object) == nil {
		*l = license(object.Type)
	}
	return nil
}

// licenses are an array of them, or anything else, which says nothing.
type licenses []license

// UnmarshalJSON implements [json.Unmarshaler].
func (l *licenses) UnmarshalJSON(data []byte) error {
	var list []license
	if json.Unmarshal(data, &list) == nil {
		*l = list
	}
	return nil
}
