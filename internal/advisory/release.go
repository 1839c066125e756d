package advisory

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// debianReleases are the numbers of Debian's releases, for images that name
// theirs in words alone: those of a release to come.
var debianReleases = map[string]string{
	"buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "duke": "15",
}

var openEulerRelease = regexp.MustCompile(`^openEuler ([0-9.]+) ?\(([A-Z0-9-]+)\)$`)

// ReleaseOf returns the release of a distribution as advisories name it. It has
// no ecosystems if there are no advisories about that distribution, or if it is
// not clear which release it is.
func ReleaseOf(s tidewaiter.System) tidewaiter.Release {
	major, _, _ := strings.Cut(s.VersionID, ".")
	named := func(base, release string) tidewaiter.Release {
		if release == "" {
			return tidewaiter.Release{}
		}
		return tidewaiter.Release{Ecosystems: []string{base + ":" + release}}
	}
	switch strings.ToLower(s.ID) {
	case "debian":
		if s.VersionID == "" && debianReleases[s.Codename] != "" {
			return named("Debian", debianReleases[s.Codename])
		}
		return named("Debian", major)
	case "ubuntu":
		return named("Ubuntu", ubuntuRelease(s.VersionID))
	case "alpine":
		if parts := strings.Split(s.VersionID, "."); len(parts) >= 2 {
			return named("Alpine", "v"+parts[0]+"."+parts[1])
		}
	case "alpaquita":
		return tidewaiter.Release{Ecosystems: []string{"Alpaquita:" + orStream(s.VersionID), "BellSoft Hardened Containers:" + orStream(s.VersionID)}}
	case "wolfi":
		return tidewaiter.Release{Ecosystems: []string{"Wolfi"}}
	case "chainguard":
		return tidewaiter.Release{Ecosystems: []string{"Chainguard", "Wolfi"}}
	case "minimos":
		return tidewaiter.Release{Ecosystems: []string{"MinimOS"}}
	case "rhel":
		return redHatRelease(s, major)
	case "centos": // has the packages of Red Hat, and no advisories of its own
		return named("Red Hat", withPrefix("enterprise_linux:", major))
	case "rocky":
		return named("Rocky Linux", major)
	case "almalinux":
		return named("AlmaLinux", major)
	case "mageia":
		return named("Mageia", major)
	case "photon":
		return named("Photon OS", s.VersionID)
	case "azurelinux", "mariner":
		return named("Azure Linux", major)
	case "openeuler":
		if found := openEulerRelease.FindStringSubmatch(s.Name); found != nil {
			return named("openEuler", found[1]+"-"+found[2])
		}
		return named("openEuler", s.VersionID)
	case "opensuse-leap", "opensuse-tumbleweed", "opensuse":
		return named("openSUSE", strings.TrimPrefix(s.Name, "openSUSE "))
	}
	if strings.HasPrefix(s.Name, "SUSE ") { // sles, sled, sle_hpc, sl-micro, …
		return named("SUSE", strings.TrimPrefix(s.Name, "SUSE "))
	}
	return tidewaiter.Release{}
}

func withPrefix(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func orStream(version string) string {
	if version == "" {
		return "stream"
	}
	return version
}

// ubuntuRelease says LTS of those of April in even years.
func ubuntuRelease(version string) string {
	year, month, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(year); err == nil && n%2 == 0 && month == "04" {
		return version + ":LTS"
	}
	return version
}

// redHatRelease goes by the name that the system has in CPE, which tells the
// streams of a release apart that get updates for longer.
func redHatRelease(s tidewaiter.System, major string) tidewaiter.Release {
	if _, product, ok := strings.Cut(s.CPE, ":redhat:"); ok {
		if parts := strings.Split(product, ":"); len(parts) > 1 && strings.HasPrefix(parts[0], "rhel_") {
			return tidewaiter.Release{Ecosystems: []string{"Red Hat:" + parts[0] + ":" + parts[1], "Red Hat:enterprise_linux:" + major}}
		}
	}
	if major == "" {
		return tidewaiter.Release{}
	}
	return tidewaiter.Release{Ecosystems: []string{"Red Hat:enterprise_linux:" + major}}
}
