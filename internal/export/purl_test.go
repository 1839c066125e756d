package export_test

import (
	"strings"
	"testing"

	"github.com/package-url/packageurl-go"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/export"
)

var (
	debian = tidewaiter.System{Path: "etc/os-release", ID: "debian", VersionID: "12", Codename: "bookworm", Name: "Debian GNU/Linux 12 (bookworm)"}
	alpine = tidewaiter.System{Path: "etc/os-release", ID: "alpine", VersionID: "3.19.1"}
	rhel   = tidewaiter.System{Path: "etc/os-release", ID: "rhel", VersionID: "9.3"}
)

func TestPackageURL(t *testing.T) {
	for _, c := range []struct {
		p    tidewaiter.Package
		s    tidewaiter.System
		want string
	}{
		{tidewaiter.Package{Type: "deb", Name: "curl", Version: "7.88.1-10+deb12u5", Architecture: "amd64", SourceName: "curl", SourceVersion: "7.88.1-10+deb12u5"}, debian,
			"pkg:deb/debian/curl@7.88.1-10%2Bdeb12u5?arch=amd64&distro=debian-12"},
		{tidewaiter.Package{Type: "deb", Name: "libc6", Version: "2.36-9", Architecture: "arm64", SourceName: "glibc", SourceVersion: "2.36-9"}, debian,
			"pkg:deb/debian/libc6@2.36-9?arch=arm64&distro=debian-12&upstream=glibc"},
		{tidewaiter.Package{Type: "deb", Name: "libgcc-s1", Version: "1:12.2.0-14", Architecture: "amd64", SourceName: "gcc-12", SourceVersion: "12.2.0-14"}, debian,
			"pkg:deb/debian/libgcc-s1@1:12.2.0-14?arch=amd64&distro=debian-12&upstream=gcc-12%4012.2.0-14"},
		{tidewaiter.Package{Type: "deb", Name: "curl", Version: "1"}, tidewaiter.System{}, "pkg:deb/curl@1"},
		{tidewaiter.Package{Type: "apk", Name: "libcrypto3", Version: "3.1.4-r5", Architecture: "x86_64", SourceName: "openssl", SourceVersion: "3.1.4-r5"}, alpine,
			"pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&distro=alpine-3.19.1&upstream=openssl"},
		{tidewaiter.Package{Type: "rpm", Name: "bash", Version: "5.1.8-6.el9", Architecture: "x86_64", SourceName: "bash", SourceVersion: "5.1.8-6.el9"}, rhel,
			"pkg:rpm/redhat/bash@5.1.8-6.el9?arch=x86_64&distro=rhel-9.3&upstream=bash-5.1.8-6.el9.src.rpm"},
		{tidewaiter.Package{Type: "rpm", Name: "openssl-libs", Version: "1:3.0.7-24.el9", Architecture: "x86_64"}, rhel,
			"pkg:rpm/redhat/openssl-libs@3.0.7-24.el9?arch=x86_64&distro=rhel-9.3&epoch=1"},
		{tidewaiter.Package{Type: "rpm", Name: "zlib", Version: "1"}, tidewaiter.System{ID: "opensuse-leap", VersionID: "15.5"}, "pkg:rpm/opensuse/zlib@1?distro=opensuse-leap-15.5"},
		{tidewaiter.Package{Type: "pypi", Name: "Typing_Extensions", Version: "4.9.0"}, debian, "pkg:pypi/typing-extensions@4.9.0"},
		{tidewaiter.Package{Type: "npm", Name: "@babel/core", Namespace: "@babel", Version: "7.23.0"}, debian, "pkg:npm/%40babel/core@7.23.0"},
		{tidewaiter.Package{Type: "npm", Name: "lodash", Version: "4.17.21"}, debian, "pkg:npm/lodash@4.17.21"},
		{tidewaiter.Package{Type: "golang", Name: "github.com/Masterminds/semver/v3", Namespace: "github.com/Masterminds/semver", Version: "v3.2.1"}, debian,
			"pkg:golang/github.com/masterminds/semver/v3@v3.2.1"},
		{tidewaiter.Package{Type: "golang", Name: "stdlib", Version: "1.22.0"}, debian, "pkg:golang/stdlib@1.22.0"},
		{tidewaiter.Package{Type: "maven", Name: "org.apache.commons:commons-lang3", Namespace: "org.apache.commons", Version: "3.12.0"}, debian,
			"pkg:maven/org.apache.commons/commons-lang3@3.12.0"},
		{tidewaiter.Package{Type: "composer", Name: "Symfony/Console", Namespace: "Symfony", Version: "6.4"}, debian, "pkg:composer/symfony/console@6.4"},
		{tidewaiter.Package{Type: "nuget", Name: "Newtonsoft.Json", Version: "13.0.3"}, debian, "pkg:nuget/Newtonsoft.Json@13.0.3"},
		{tidewaiter.Package{Type: "gem", Name: "rack", Version: "2.2.8"}, debian, "pkg:gem/rack@2.2.8"},
		{tidewaiter.Package{Type: "cargo", Name: "serde", Version: "1.0.0"}, debian, "pkg:cargo/serde@1.0.0"},
		{tidewaiter.Package{Name: "x y/z?", Version: "#1 2"}, debian, "pkg:generic/x%20y%2Fz%3F@%231%202"},
		{tidewaiter.Package{Name: "/"}, debian, ""},
		{tidewaiter.Package{Type: "gem"}, debian, ""},
	} {
		if got := export.PackageURL(c.p, c.s); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestPackageURLIsRead lets the library of others read what we write.
func TestPackageURLIsRead(t *testing.T) {
	text := rapid.StringMatching(`[ -~äßÿ]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		p := tidewaiter.Package{
			Type: rapid.SampledFrom([]string{"deb", "apk", "rpm", "maven", "gem", "nuget", "cargo", "cran"}).Draw(t, "type"),
			Name: text.Draw(t, "name"), Version: strings.Trim(text.Draw(t, "version"), " "), Architecture: text.Draw(t, "arch"),
		}
		s := tidewaiter.System{ID: rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "id"), VersionID: text.Draw(t, "release")}
		got := export.PackageURL(p, s)
		if got == "" {
			return
		}
		read, err := packageurl.FromString(got)
		if err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		name, version := strings.Trim(p.Name, "/"), p.Version
		if p.Type == "deb" || p.Type == "apk" {
			name = strings.ToLower(name)
		}
		if p.Type == "rpm" {
			if _, rest, ok := strings.Cut(version, ":"); ok {
				version = rest
			}
		}
		if read.Type != p.Type || read.Name != name || read.Version != version {
			t.Fatalf("%s\nname %q version %q, want %q %q", got, read.Name, read.Version, name, version)
		}
		if arch := read.Qualifiers.Map()["arch"]; (p.Type == "deb" || p.Type == "rpm" || p.Type == "apk") && arch != p.Architecture {
			t.Fatalf("%s: arch %q", got, arch)
		}
	})
}
