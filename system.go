package tidewaiter

import "strings"

// Distribution returns the ecosystem that packages of the operating system's
// own package manager belong to, as OSV names it, and which release of it: in
// OSV what follows the colon, as in Debian:12, Alpine:v3.19 or Rocky Linux:9
// (https://ossf.github.io/osv-schema/#affectedpackage-field). The ecosystem of
// a distribution that OSV does not know is its id; "" is of no system at all.
func (s System) Distribution() (ecosystem, release string) {
	version := s.VersionID
	major, _, _ := strings.Cut(version, ".")
	switch s.ID {
	case "":
		return "", ""
	case "debian":
		if version == "" { // testing and unstable have none
			version = s.Codename
		}
		return "Debian", version
	case "alpine":
		if parts := strings.SplitN(version, ".", 3); len(parts) >= 2 {
			return "Alpine", "v" + parts[0] + "." + parts[1]
		}
		return "Alpine", "edge"
	case "sles", "sled":
		return "SUSE", version
	case "opensuse-leap":
		return "openSUSE", "Leap " + version
	case "opensuse-tumbleweed":
		return "openSUSE", "Tumbleweed"
	}
	if name, ok := map[string]string{
		"ubuntu": "Ubuntu", "wolfi": "Wolfi", "chainguard": "Chainguard", "fedora": "Fedora", "azurelinux": "Azure Linux",
		"mariner": "Azure Linux", "openEuler": "openEuler", "photon": "Photon OS", "amzn": "Amazon Linux", "openela": "OpenELA",
	}[s.ID]; ok {
		if s.ID == "wolfi" || s.ID == "chainguard" {
			version = "" // they roll
		}
		return name, version
	}
	if name, ok := map[string]string{
		"rhel": "Red Hat", "centos": "CentOS", "rocky": "Rocky Linux", "almalinux": "AlmaLinux", "ol": "Oracle Linux",
	}[s.ID]; ok {
		return name, major
	}
	return s.ID, version
}

// Named returns a package with the ecosystem, and the namespace of its package
// URL, that follow from the operating system that it is installed in, and the
// release of that. Packages of languages stay as they are, and have no release.
func (s System) Named(p Package) (named Package, release string) {
	switch p.Type {
	case "deb", "apk", "rpm":
	default:
		return p, ""
	}
	if p.Ecosystem == "" {
		p.Ecosystem, release = s.Distribution()
	}
	if p.Namespace == "" {
		p.Namespace = strings.ToLower(s.ID)
	}
	return p, release
}
