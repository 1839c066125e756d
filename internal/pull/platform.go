package pull

import (
	"runtime"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// ParsePlatform reads os/architecture or os/architecture/variant. Errors are of
// kind Invalid and name platform.
func ParsePlatform(s string) (tidewaiter.Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return tidewaiter.Platform{}, tidewaiter.InvalidField("platform", "is no platform; write os/architecture, such as linux/arm64, or os/architecture/variant")
	}
	p := tidewaiter.Platform{OS: parts[0], Architecture: architecture(parts[1])}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// architecture returns Go's name of what uname calls otherwise.
func architecture(name string) string {
	switch name {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "i386", "i686":
		return "386"
	}
	return name
}

// variant returns the variant that a platform means, where one is usual.
func variant(p tidewaiter.Platform) string {
	switch {
	case p.Architecture == "arm64" && p.Variant == "":
		return "v8"
	case p.Architecture == "arm" && p.Variant == "":
		return "v7"
	case p.Architecture == "amd64" && p.Variant == "v1":
		return ""
	case p.Variant != "" && p.Variant[0] >= '0' && p.Variant[0] <= '9':
		return "v" + p.Variant
	}
	return p.Variant
}

// choose returns which of the platforms is wanted. Errors are NotFound, and
// Conflict if there are several that are as good as each other.
func (o Options) choose(have []tidewaiter.Platform) (int, error) {
	want := o.Platform
	if want == (tidewaiter.Platform{}) {
		if len(have) == 1 {
			return 0, nil
		}
		want = tidewaiter.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	var same, exact []int
	for i, p := range have {
		if p.OS != want.OS || architecture(p.Architecture) != want.Architecture {
			continue
		}
		same = append(same, i)
		if variant(p) == variant(want) {
			exact = append(exact, i)
		}
	}
	found := exact
	if want.Variant == "" && len(exact) == 0 {
		found = same
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, notFound("there is no image for %s; choose with --platform: %s", want, platforms(have))
	}
	return 0, tidewaiter.Errorf(tidewaiter.Conflict, "there are several images for %s; name one by its digest, or choose with --platform: %s", want, platforms(have))
}

func platforms(have []tidewaiter.Platform) string {
	var names []string
	for _, p := range have {
		name := p.String()
		if p.OS == "" && p.Architecture == "" {
			name = "(one that does not say)"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return list(names)
}
