//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

// A fact is a package that a tool lists, or that we do, in the same words.
type fact struct {
	Type, Name, Version string
	Detail              string // of distributions: architecture, source package and its version
	At                  string // where it is, if the tool tells: a folder, or a file
}

func (f fact) String() string {
	return strings.TrimRight(fmt.Sprintf("%s %s %s %s %s", f.Type, f.Name, f.Version, f.At, f.Detail), " ")
}

// factOf says of a package of ours what tools say of theirs.
func factOf(p tidewaiter.Package) fact {
	f := fact{Type: p.Type, Name: p.Name, Version: p.Version, At: p.Path}
	switch p.Type {
	case "deb":
		f.At, f.Detail = "", strings.Join([]string{p.Architecture, p.SourceName, p.SourceVersion}, " ")
	case "rpm":
		f.At, f.Detail = "", strings.Join([]string{p.Architecture, p.SourceName, p.SourceVersion}, " ")
	case "apk":
		f.At, f.Detail = "", p.Architecture+" "+p.SourceName
	case "pypi":
		f.Name = pythonName(p.Name)
		switch path.Ext(p.Path) {
		case ".egg": // on the path itself
		case ".egg-info":
			f.At = path.Dir(p.Path)
		default:
			f.At = path.Dir(path.Dir(p.Path))
		}
	case "npm":
		f.At = path.Dir(p.Path)
	case "maven":
		f.At = strings.Join(append([]string{p.Path}, p.Inside...), "!/")
	case "gem":
		f.At = ""
	case "composer":
		f.At = strings.TrimSuffix(p.Path, "/vendor/composer/installed.json")
	case "cpan":
		f.At, _, _ = strings.Cut(p.Path, "/lib/perl5/")
	case "cran", "bioconductor":
		f.Type, f.At = "cran", path.Dir(path.Dir(p.Path))
	}
	return f
}

// pythonName is the form in which names of one package are the same.
func pythonName(name string) string {
	return strings.ToLower(regexp.MustCompile(`[-_.]+`).ReplaceAllString(name, "-"))
}

// read returns what a tool said.
func (a toolAnswer) read(t testing.TB) []fact {
	t.Helper()
	words := strings.Fields(a.Tool)
	readers := map[string]func(testing.TB, string) []fact{
		"dpkg": readDpkg, "dpkg-admindir": readDpkg, "control": readDpkg, "rpm": readRPM, "rpm-newer": readRPM, "apk": readAPK,
		"pip": readPip, "pip-path": readPip, "npm": readNpm, "npm-global": readNpm, "pnpm": readPnpm, "go": readGo, "gem": readGem, "gem-in": readGem,
		"composer": readComposer, "perl": readTable("cpan"), "r": readR, "jar": readTable("maven"),
		"maven-repo": readTable("maven"), "cargo": readTable("cargo"), "node_modules": readTable("npm"),
	}
	reader := readers[words[0]]
	if reader == nil {
		t.Fatalf("nothing reads what %s says", words[0])
	}
	facts := reader(t, a.Answer)
	if len(facts) == 0 {
		t.Fatalf("%s lists nothing:\n%s", a.Tool, a.Answer)
	}
	for i, f := range facts {
		if words[0] == "composer" {
			facts[i].At = strings.TrimPrefix(words[1], "/")
		}
		if f.Name == "" || f.Version == "" && f.Type != "golang" {
			t.Fatalf("%s lists %v", a.Tool, f)
		}
	}
	return facts
}

// rows are the lines of a table, whose columns are set apart by tabs.
func rows(t testing.TB, text string, columns int) [][]string {
	t.Helper()
	var list [][]string
	for line := range strings.Lines(text) {
		row := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(row) != columns {
			t.Fatalf("a line of %d columns, want %d: %q", len(row), columns, line)
		}
		list = append(list, row)
	}
	return list
}

// readTable reads name, version and place.
func readTable(kind string) func(testing.TB, string) []fact {
	return func(t testing.TB, text string) []fact {
		t.Helper()
		var facts []fact
		for _, row := range rows(t, text, 3) {
			name := row[0]
			if kind == "cpan" {
				name = strings.ReplaceAll(name, "::", "-")
			}
			facts = append(facts, fact{Type: kind, Name: name, Version: row[1], At: strings.TrimPrefix(row[2], "/")})
		}
		return facts
	}
}

func readDpkg(t testing.TB, text string) []fact {
	t.Helper()
	var facts []fact
	for _, row := range rows(t, text, 6) {
		if row[0] == "config-files" {
			continue // dpkg keeps it on its list: its files are gone
		}
		facts = append(facts, fact{Type: "deb", Name: row[1], Version: row[2], Detail: strings.Join(row[3:], " ")})
	}
	return facts
}

func readRPM(t testing.TB, text string) []fact {
	t.Helper()
	var facts []fact
	for _, row := range rows(t, text, 4) {
		row[2] = strings.TrimPrefix(row[2], "(none)") // of public keys
		detail := row[2] + "  "
		if source := regexp.MustCompile(`^(.*)-([^-]*-[^-]*)\.(no)?src\.rpm$`).FindStringSubmatch(row[3]); source != nil {
			detail = strings.Join([]string{row[2], source[1], source[2]}, " ")
		}
		facts = append(facts, fact{Type: "rpm", Name: row[0], Version: row[1], Detail: detail})
	}
	return facts
}

func readAPK(t testing.TB, text string) []fact {
	t.Helper()
	var facts []fact
	for _, row := range rows(t, text, 4) {
		facts = append(facts, fact{Type: "apk", Name: row[0], Version: row[1], Detail: row[2] + " " + row[3]})
	}
	return facts
}

func readPip(t testing.TB, text string) []fact {
	t.Helper()
	var list []struct{ Name, Version, Location string }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var facts []fact
	for _, p := range list {
		facts = append(facts, fact{Type: "pypi", Name: pythonName(p.Name), Version: p.Version, At: strings.Trim(p.Location, "/")})
	}
	return facts
}

// readNpm reads lines "folder:name@version", of which the first is the project
// itself, or the folder of all global packages.
func readNpm(t testing.TB, text string) []fact {
	t.Helper()
	var facts []fact
	first := true
	for line := range strings.Lines(text) {
		folder, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		if first || folder == "" {
			first = false
			continue
		}
		if _, real, ok := strings.Cut(rest, "@npm:"); ok {
			rest = real // "folder:alias@npm:name@version"
		}
		rest, _, _ = strings.Cut(rest, ":")
		at := strings.LastIndexByte(rest, '@')
		if at <= 0 {
			t.Fatalf("npm says %q", line)
		}
		facts = append(facts, fact{Type: "npm", Name: rest[:at], Version: rest[at+1:], At: strings.TrimPrefix(folder, "/")})
	}
	return facts
}

// pnpmPackage is a package in pnpm's tree.
type pnpmPackage struct {
	From, Version, Path string
	Dependencies        map[string]pnpmPackage
}

func readPnpm(t testing.TB, text string) []fact {
	t.Helper()
	var projects []pnpmPackage
	if err := json.Unmarshal([]byte(text), &projects); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var facts []fact
	var walk func(p pnpmPackage)
	walk = func(p pnpmPackage) {
		for _, d := range p.Dependencies {
			facts = append(facts, fact{Type: "npm", Name: d.From, Version: d.Version, At: strings.TrimPrefix(d.Path, "/")})
			walk(d)
		}
	}
	for _, p := range projects {
		walk(p)
	}
	return facts
}

// readGo reads what go version -m prints of programs.
func readGo(t testing.TB, text string) []fact {
	t.Helper()
	var facts []fact
	file := ""
	for line := range strings.Lines(text) {
		words := strings.Split(strings.TrimRight(line, "\n"), "\t")
		switch {
		case words[0] != "":
			name, version, ok := strings.Cut(words[0], ": go")
			if !ok {
				t.Fatalf("go says %q", line)
			}
			file = name
			version, _, _ = strings.Cut(version, " ")
			facts = append(facts, fact{Type: "golang", Name: "stdlib", Version: version, At: file})
		case words[1] == "mod", words[1] == "dep":
			facts = append(facts, fact{Type: "golang", Name: words[2], Version: strings.TrimPrefix(words[3], "(devel)"), At: file})
		case words[1] == "=>": // what is in the program instead, if it is no folder
			if words[3] != "" && words[3] != "(devel)" {
				facts[len(facts)-1].Name, facts[len(facts)-1].Version = words[2], words[3]
			}
		}
	}
	return facts
}

// readGem reads lines "name (2.0, default: 1.0)".
func readGem(t testing.TB, text string) []fact {
	t.Helper()
	var facts []fact
	for line := range strings.Lines(text) {
		name, versions, ok := strings.Cut(strings.TrimSpace(line), " (")
		if !ok {
			continue
		}
		for _, version := range strings.Split(strings.TrimSuffix(versions, ")"), ", ") {
			version, _, _ = strings.Cut(strings.TrimPrefix(version, "default: "), " ") // "1.0 x86_64-linux"
			facts = append(facts, fact{Type: "gem", Name: name, Version: version})
		}
	}
	return facts
}

func readComposer(t testing.TB, text string) []fact {
	t.Helper()
	var list struct {
		Installed []struct{ Name, Version string }
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var facts []fact
	for _, p := range list.Installed {
		facts = append(facts, fact{Type: "composer", Name: p.Name, Version: p.Version})
	}
	return facts
}

func readR(t testing.TB, text string) []fact {
	t.Helper()
	var facts []fact
	for _, row := range rows(t, text, 3) {
		facts = append(facts, fact{Type: "cran", Name: row[1], Version: row[2], At: strings.TrimPrefix(row[0], "/")})
	}
	return facts
}
