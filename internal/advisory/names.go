package advisory

import (
	"regexp"
	"strings"
)

// keySeparator stands between the ecosystem and the name in the key of a package.
const keySeparator = "\x00"

// packageKey returns where advisories about a package stand in an index.
func packageKey(ecosystem, name string) string {
	return ecosystemKey(ecosystem) + keySeparator + nameKey(ecosystem, name)
}

var slesRelease = regexp.MustCompile(`^Linux Enterprise .*?(\d+(?:\.\d+)?(?: SP\d+)?)(?:-[A-Za-z0-9-]+)?$`)

// ecosystemKey returns the ecosystem of which an advisory speaks, less what
// makes no difference to a package that is installed: the repository that it
// comes from, the product of which SUSE's or Red Hat's release is part, and
// whether Ubuntu's is one for the long term.
func ecosystemKey(ecosystem string) string {
	base, suffix, ok := strings.Cut(ecosystem, ":")
	if !ok {
		return ecosystem
	}
	switch base {
	case "Maven", "Packagist", "VSCode":
		return base
	case "Ubuntu":
		return base + ":" + strings.TrimSuffix(suffix, ":LTS")
	case "SUSE":
		if found := slesRelease.FindStringSubmatch(suffix); found != nil {
			return base + ":Linux Enterprise " + found[1]
		}
	case "Red Hat":
		if parts := strings.SplitN(suffix, ":", 3); len(parts) > 2 {
			return base + ":" + parts[0] + ":" + parts[1]
		}
	}
	return ecosystem
}

// nameKey returns the name of a package, less what makes no difference in the
// ecosystem.
func nameKey(ecosystem, name string) string {
	base, _, _ := strings.Cut(ecosystem, ":")
	switch base {
	case "PyPI":
		return normalPython(name)
	case "NuGet", "Packagist", "VSCode", "GitHub Actions", "Hex":
		return strings.ToLower(name)
	}
	return name
}

// normalPython is https://packaging.python.org/en/latest/specifications/name-normalization/.
func normalPython(name string) string {
	var b strings.Builder
	b.Grow(len(name))
	separated := false
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '-' || c == '_' || c == '.':
			if !separated {
				b.WriteByte('-')
			}
			separated = true
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		separated = false
		b.WriteByte(c)
	}
	return b.String()
}
