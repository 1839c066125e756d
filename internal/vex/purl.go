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
	if plain == "" {
		return p, false
	}
	kind, rest, _ := strings.Cut(strings.TrimPrefix(plain, "pkg:"), "/")
	if kind != "oci" && kind != "docker" {
		return Product{Package: plain}, true
	}
	if _, digest, ok := strings.Cut(rest, "@"); ok && digestForm.MatchString(digest) {
		return Product{Image: tidewaiter.Digest(digest)}, true
	}
	return p, false // a name alone says nothing about content
}

// packageURL returns a package URL without qualifiers, subpath and escapes, or
// "" for what is none (https://github.com/package-url/purl-spec).
func packageURL(text string) string {
	text, _, _ = strings.Cut(text, "#")
	text, _, _ = strings.Cut(text, "?")
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
	return "pkg:" + strings.ToLower(kind) + "/" + name
}

// within returns a product narrowed to a package.
func (p Product) within(purl string) (Product, bool) {
	plain := packageURL(purl)
	if plain == "" || strings.HasPrefix(plain, "pkg:oci/") || strings.HasPrefix(plain, "pkg:docker/") {
		return p, false
	}
	p.Package = plain
	return p, true
}
