package tidewaiter

import "strings"

// MatchesPackageURL tells whether a package URL without qualifiers and
// subpath, and perhaps without a version, is of a package, by its own name or
// that of its source (https://github.com/package-url/purl-spec). It has no escapes.
func MatchesPackageURL(purl string, p Package) bool {
	base, version, versioned := cutVersion(purl)
	base = foldPURL(base)
	if p.Type == "golang" { // written with a v and without
		version = strings.TrimPrefix(version, "v")
		p.Version = strings.TrimPrefix(p.Version, "v")
	}
	for _, name := range []string{p.Name, p.SourceName} {
		if name == "" || base != foldPURL(purlName(p.Type, p.Namespace, name)) {
			continue
		}
		if !versioned || version == p.Version || name == p.SourceName && version == p.SourceVersion {
			return true
		}
	}
	return false
}

// foldPURL returns a package URL as it is compared, by the rules of its type
// (https://github.com/package-url/purl-spec/tree/main/types).
func foldPURL(base string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(base, "pkg:"), "/")
	switch kind {
	case "pypi":
		return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(base))
	case "golang", "composer", "npm", "deb", "apk":
		return strings.ToLower(base)
	}
	return base
}

// cutVersion takes a package URL apart: an @ within the namespace of npm is
// followed by a slash.
func cutVersion(purl string) (base, version string, ok bool) {
	if at := strings.LastIndexByte(purl, '@'); at > 0 && !strings.Contains(purl[at:], "/") {
		return purl[:at], purl[at+1:], true
	}
	return purl, "", false
}

// purlName is a package URL as far as the name, without escapes. Go's and
// Maven's names hold what is the namespace there.
func purlName(kind, namespace, name string) string {
	switch {
	case kind == "maven":
		name = strings.Replace(name, ":", "/", 1)
	case namespace != "" && kind != "golang" && kind != "npm":
		name = namespace + "/" + name
	}
	return "pkg:" + kind + "/" + name
}
