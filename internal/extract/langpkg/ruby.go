package langpkg

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// Ruby reads the specifications of installed gems, which RubyGems writes in a
// form of its own: programs, but always of the same lines. The gems that come
// with Ruby (specifications/default) are listed as well, as by "gem list".
type Ruby struct{}

var _ extract.Extractor = Ruby{}

// Name implements [extract.Extractor].
func (Ruby) Name() string { return "ruby/gem" }

// Version implements [extract.Extractor].
func (Ruby) Version() int { return 2 }

const maxGemspec = 1 << 20

// Wants implements [extract.Extractor].
func (Ruby) Wants(name string, mode fs.FileMode, size int64) bool {
	if !data(mode, size) || path.Ext(name) != ".gemspec" {
		return false
	}
	above := folders(name, 2)
	return above[0] == "specifications" || above[0] == "default" && above[1] == "specifications"
}

// Extract implements [extract.Extractor].
func (e Ruby) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	content, err := parse.All(f, maxGemspec)
	if err != nil {
		return extract.Found{}, err
	}
	field := func(name, value string) string {
		found := regexp.MustCompile(`(?m)^\s*\w+\.` + name + `\s*=\s*` + value).FindSubmatch(content)
		if found == nil {
			return ""
		}
		return string(found[1])
	}
	const text = `["']([^"'\n]*)["']`
	p := tidewaiter.Package{
		Ecosystem: "RubyGems",
		Type:      "gem",
		Name:      field("name", text),
		Version:   field("version", `(?:Gem::Version\.new\()?\s*`+text),
	}
	if p.Name == "" || p.Version == "" {
		return extract.Found{}, errors.New("a specification without a name or a version")
	}
	for _, quoted := range regexp.MustCompile(text).FindAllStringSubmatch(field("licenses", `\[([^\]\n]*)\]`), -1) {
		p.Licenses = append(p.Licenses, quoted[1])
	}
	if single := field("license", text); single != "" && len(p.Licenses) == 0 {
		p.Licenses = []string{strings.TrimSpace(single)}
	}
	list := parse.NewList(e.Name())
	list.Add(p)
	home := "../" // of the gems
	if folders(f.Path, 1)[0] == "default" {
		home = "../../"
	}
	full := strings.TrimSuffix(path.Base(f.Path), ".gemspec") // with the platform
	list.Owned().Folder(home + "gems/" + full)
	list.Owned().File(home + "cache/" + full + ".gem")
	for _, quoted := range regexp.MustCompile(text).FindAllStringSubmatch(field("executables", `\[([^\]\n]*)\]`), -1) {
		list.Owned().File(home + "bin/" + path.Base(quoted[1]))
	}
	return list.Found(), nil
}
