package export

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// PackageURL returns the package URL of a package in an image with the given
// operating system
// (https://github.com/package-url/purl-spec/blob/main/docs/specification/how-to-build.md,
// and the types' own rules), or "" if it has no name. Qualifiers are what
// others write as well: arch, distro (ID-VERSION_ID), epoch, and in upstream
// the source package where it has another name or version.
func PackageURL(p tidewaiter.Package, s tidewaiter.System) string {
	name, namespace, version := p.Name, p.Namespace, p.Version
	var qualifiers []string
	add := func(key, value string) {
		if value != "" {
			qualifiers = append(qualifiers, key+"="+encode(value))
		}
	}
	switch p.Type {
	case "deb", "apk", "rpm":
		named, _ := s.Named(p)
		namespace = strings.ToLower(named.Namespace)
		if p.Type == "rpm" {
			namespace = vendor(namespace)
			if epoch, rest, ok := strings.Cut(version, ":"); ok {
				add("epoch", epoch)
				version = rest
			}
		} else {
			name = strings.ToLower(name)
		}
		add("arch", p.Architecture)
		add("distro", distro(s))
		add("upstream", upstream(p))
	case "maven":
		if namespace != "" {
			name = strings.TrimPrefix(name, namespace+":")
		}
	case "golang", "composer":
		name = strings.ToLower(strings.TrimPrefix(name, namespace+"/"))
		namespace = strings.ToLower(namespace)
	case "npm":
		name = strings.ToLower(strings.TrimPrefix(name, namespace+"/"))
		namespace = strings.ToLower(namespace)
	case "pypi":
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	}
	if name = strings.Trim(name, "/"); name == "" {
		return ""
	}
	return build(first(p.Type, "generic"), namespace, name, version, qualifiers)
}

func build(kind, namespace, name, version string, qualifiers []string) string {
	var b strings.Builder
	b.WriteString("pkg:" + strings.ToLower(kind) + "/")
	for part := range strings.SplitSeq(namespace, "/") {
		if part != "" {
			b.WriteString(encode(part) + "/")
		}
	}
	b.WriteString(encode(name))
	if version != "" {
		b.WriteString("@" + encode(version))
	}
	slices.Sort(qualifiers)
	if len(qualifiers) > 0 {
		b.WriteString("?" + strings.Join(qualifiers, "&"))
	}
	return b.String()
}

// upstream names the source package of a distribution's package.
func upstream(p tidewaiter.Package) string {
	switch {
	case p.SourceName == "":
		return ""
	case p.Type == "rpm":
		return p.SourceName + "-" + p.SourceVersion + ".src.rpm"
	case p.SourceVersion != "" && p.SourceVersion != p.Version:
		return p.SourceName + "@" + p.SourceVersion
	case p.SourceName == p.Name:
		return ""
	}
	return p.SourceName
}

func distro(s tidewaiter.System) string {
	if s.ID == "" || s.VersionID == "" {
		return s.ID
	}
	return s.ID + "-" + s.VersionID
}

// vendor returns the namespace of a distribution's rpm packages.
func vendor(id string) string {
	switch {
	case id == "rhel":
		return "redhat"
	case strings.HasPrefix(id, "opensuse-"):
		return "opensuse"
	}
	return id
}

// encode writes all but letters, digits, ".", "-", "_", "~" and ":" as percent
// signs and hexadecimal digits.
func encode(s string) string {
	var b strings.Builder
	for _, c := range []byte(strings.ToValidUTF8(s, "\uFFFD")) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(".-_~:", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
