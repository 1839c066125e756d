package vex

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// product reads what identifies a product: a package URL, or the digest of an
// image. It returns false for what can be neither.
func product(id string) (p Product, ok bool) {
	if digestForm.MatchString(id) {
		return Product{Image: tidewaiter.Digest(id)}, true
	}
	plain := packageURL(id)
	switch {
	case plain == "":
		return p, false
	case !isImage(plain):
		return Product{Package: plain}, true
	}
	if _, digest, ok := strings.Cut(plain, "@"); ok && digestForm.MatchString(digest) {
		return Product{Image: tidewaiter.Digest(digest)}, true
	}
	return p, false // a name alone says nothing about content
}

// packageURL returns a package URL without qualifiers, subpath and escapes, or
// "" for what is none (https://github.com/package-url/purl-spec). The epoch of
// an rpm's version, which is a qualifier, is in the version.
func packageURL(text string) string {
	text, _, _ = strings.Cut(text, "#")
	text, qualifiers, _ := strings.Cut(text, "?")
	rest, ok := strings.CutPrefix(text, "pkg:")
	if !ok {
		return ""
	}
	kind, name, ok := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if !ok || kind == "" || name == "" {
		return ""
	}
	name, err := url.PathUnescape(name)
	if err != nil {
		return ""
	}
	plain := "pkg:" + strings.ToLower(kind) + "/" + name
	if base, version, ok := cutVersion(plain); ok && strings.HasPrefix(plain, "pkg:rpm/") && !strings.Contains(version, ":") {
		for qualifier := range strings.SplitSeq(qualifiers, "&") {
			if epoch, ok := strings.CutPrefix(qualifier, "epoch="); ok && epochForm.MatchString(epoch) {
				return base + "@" + epoch + ":" + version
			}
		}
	}
	return plain
}

var epochForm = regexp.MustCompile(`^[1-9][0-9]{0,9}$`) // 0 is none

// isImage tells whether a package URL, as packageURL returns it, is of an image.
func isImage(plain string) bool {
	return strings.HasPrefix(plain, "pkg:oci/") || strings.HasPrefix(plain, "pkg:docker/")
}

// isPackage tells whether an id is the package URL of what an image may hold.
func isPackage(id string) bool {
	plain := packageURL(id)
	return plain != "" && !isImage(plain)
}

// cutVersion takes a package URL apart, as packageURL returns it: an @ within
// the namespace of npm is followed by a slash.
func cutVersion(plain string) (base, version string, ok bool) {
	if at := strings.LastIndexByte(plain, '@'); at > 0 && !strings.Contains(plain[at:], "/") {
		return plain[:at], plain[at+1:], true
	}
	return plain, "", false
}
