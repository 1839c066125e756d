package ospkg

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// Release reads the files by which a distribution says what it is: os-release
// (https://www.freedesktop.org/software/systemd/man/latest/os-release.html)
// and, of distributions older than that, the one line of redhat-release.
type Release struct{}

var _ extract.Extractor = Release{}

// Name implements [extract.Extractor].
func (Release) Name() string { return "os/release" }

// Version implements [extract.Extractor].
func (Release) Version() int { return 1 }

const maxRelease = 64 << 10

// Wants implements [extract.Extractor]. Most of the files are symbolic links
// to one of the others, which are read as well.
func (Release) Wants(name string, mode fs.FileMode, size int64) bool {
	if !mode.IsRegular() || size == 0 {
		return false
	}
	switch name {
	case "etc/os-release", "usr/lib/os-release", "etc/redhat-release", "etc/centos-release", "etc/system-release":
		return true
	}
	return false
}

// Extract implements [extract.Extractor].
func (Release) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	content, err := parse.All(f, maxRelease)
	if err != nil {
		return extract.Found{}, err
	}
	var system tidewaiter.System
	if strings.HasSuffix(f.Path, "/os-release") {
		system = osRelease(content)
		if system.ID == "" {
			return extract.Found{}, errors.New("it does not say which distribution this is")
		}
	} else if system = redhatRelease(string(content)); system.ID == "" {
		return extract.Found{}, nil // a distribution that has an os-release as well
	}
	for _, text := range append([]string{system.ID, system.VersionID, system.Codename, system.Name, system.CPE}, system.IDLike...) {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 1024 {
			return extract.Found{}, errors.New("it names a distribution with bytes that are no text, or too many")
		}
	}
	return extract.Found{Systems: []tidewaiter.System{system}}, nil
}

// osRelease reads assignments, of which the values may be quoted as in a shell.
func osRelease(content []byte) tidewaiter.System {
	fields := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, maxRelease+1)
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if ok && !strings.HasPrefix(name, "#") {
			fields[name] = unquote(value)
		}
	}
	id := fields["ID"]
	if id == "" && len(fields) > 0 {
		id = "linux" // its default
	}
	return tidewaiter.System{
		ID:        id,
		IDLike:    strings.Fields(fields["ID_LIKE"]),
		VersionID: fields["VERSION_ID"],
		Codename:  fields["VERSION_CODENAME"],
		Name:      fields["PRETTY_NAME"],
		CPE:       fields["CPE_NAME"],
	}
}

// unquote undoes the quotes of a shell, as far as os-release has them.
func unquote(value string) string {
	if len(value) < 2 {
		return value
	}
	quote := value[0]
	if quote != '"' && quote != '\'' || value[len(value)-1] != quote {
		return value
	}
	value = value[1 : len(value)-1]
	if quote == '\'' || !strings.Contains(value, `\`) {
		return value
	}
	var plain strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) && strings.IndexByte("\"$`\\", value[i+1]) >= 0 {
			i++
		}
		plain.WriteByte(value[i])
	}
	return plain.String()
}

// redhatRelease reads "CentOS release 6.10 (Final)" and the like.
func redhatRelease(line string) tidewaiter.System {
	line = strings.TrimSpace(line)
	if strings.Contains(line, "\n") {
		return tidewaiter.System{}
	}
	release := regexp.MustCompile(`^(.*\S)\s+release\s+([0-9.]+)(?:\s+\((.*)\))?`).FindStringSubmatch(line)
	if release == nil {
		return tidewaiter.System{}
	}
	system := tidewaiter.System{VersionID: release[2], Codename: release[3], Name: line}
	for _, known := range []struct{ begins, id string }{
		{"Red Hat Enterprise Linux", "rhel"},
		{"CentOS", "centos"},
		{"Fedora", "fedora"},
		{"AlmaLinux", "almalinux"},
		{"Rocky Linux", "rocky"},
		{"Oracle Linux", "ol"},
		{"Scientific Linux", "scientific"},
		{"Amazon Linux", "amzn"},
		{"openEuler", "openeuler"},
		{"EulerOS", "euleros"},
		{"Anolis OS", "anolis"},
	} {
		if strings.HasPrefix(release[1], known.begins) {
			system.ID = known.id
		}
	}
	return system
}
