package eol

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

func TestOf(t *testing.T) {
	for _, c := range []struct{ id, version, name, want string }{
		{"alpine", "3.19.1", "Alpine Linux v3.19", "2025-11-01"},
		{"alpine", "3.19", "", "2025-11-01"},
		{"alpine", "3.1.4", "", "2016-11-01"},
		{"alpine", "3.10.9", "", "2021-05-01"},
		{"alpine", "3.23.0_alpha20250612", "Alpine Linux edge", "unknown"},
		{"alpine", "3", "", "unknown"},
		{"alpine", "", "", "unknown"},
		{"debian", "12", "Debian GNU/Linux 12 (bookworm)", "2028-06-30"},
		{"debian", "9.13", "", "2022-06-30"},
		{"debian", "", "Debian GNU/Linux trixie/sid", "unknown"},
		{"ubuntu", "22.04", "Ubuntu 22.04.4 LTS", "2027-06-01"},
		{"ubuntu", "23.10", "", "2024-07-11"},
		{"ubuntu", "22", "", "unknown"},
		{"rhel", "8.9", "Red Hat Enterprise Linux 8.9 (Ootpa)", "2029-05-31"},
		{"rhel", "7.9", "", "2024-06-30"},
		{"centos", "7", "CentOS Linux 7 (Core)", "2024-06-30"},
		{"centos", "6.10", "CentOS release 6.10 (Final)", "2020-11-30"},
		{"centos", "8", "CentOS Linux 8", "2021-12-31"},
		{"centos", "8", "CentOS Stream 8", "2024-05-31"},
		{"centos", "9", "CentOS Stream 9", "2027-05-31"},
		{"centos", "9", "CentOS Linux 9", "unknown"},
		{"fedora", "40", "Fedora Linux 40 (Container Image)", "2025-05-13"},
		{"rocky", "9.3", "", "2032-05-31"},
		{"almalinux", "9.4", "", "2032-05-31"},
		{"amzn", "2", "Amazon Linux 2", "2026-06-30"},
		{"amzn", "2018.03", "Amazon Linux AMI 2018.03", "2023-12-31"},
		{"amzn", "2023", "Amazon Linux 2023.6.20241010", "2029-06-30"},
		{"opensuse-leap", "15.5", "", "2024-12-31"},
		{"opensuse-tumbleweed", "20241010", "", "none"},
		{"sles", "15.5", "", "2024-12-31"},
		{"sles", "15", "SUSE Linux Enterprise Server 15", "2019-12-31"},
		{"sles", "15.9", "", "unknown"},
		{"ol", "8.9", "", "2029-07-31"},
		{"photon", "1.0", "", "2022-02-28"},
		{"mariner", "2.0", "CBL-Mariner/Linux", "2025-07-31"},
		{"wolfi", "20230201", "Wolfi", "none"},
		{"chainguard", "20230214", "Chainguard", "none"},
		{"arch", "", "Arch Linux", "none"},
		{"arch", "20241010.0.1", "Arch Linux", "none"},
		{"openEuler", "22.03", "openEuler 22.03 (LTS-SP3)", "2025-12-31"},
		{"openEuler", "22.03", "openEuler 22.03 (LTS)", "2024-03-31"},
		{"openEuler", "22.03", "openEuler 22.03", "unknown"},
		{"openEuler", "22.03", "openEuler (LTS", "unknown"},
		{"Debian", "12", "", "unknown"},
		{"", "12", "", "unknown"},
		{"#", "debian:", "", "unknown"},
		{"nothing", "*", "", "unknown"},
		{"debian", "*", "", "unknown"},
		{"kylin", "V10", "Kylin Linux Advanced Server V10", "unknown"},
	} {
		end, known := Of(tidewaiter.System{ID: c.id, VersionID: c.version, Name: c.name})
		got := end.Format(time.DateOnly)
		switch {
		case !known && end.IsZero():
			got = "unknown"
		case end.IsZero():
			got = "none"
		}
		if got != c.want {
			t.Errorf("%s %s (%s) ends %s, want %s", c.id, c.version, c.name, got, c.want)
		}
	}
}

// TestTable reads every row: that it has what it should, can be found, and is
// in order.
func TestTable(t *testing.T) {
	var ids []string
	seen := make(map[string]bool)
	for line := range strings.Lines(ends) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, " ")
		if len(fields) != 4 {
			t.Errorf("%q has %d fields", line, len(fields))
			continue
		}
		id, version, end, source := fields[0], fields[1], fields[2], fields[3]
		ids = append(ids, id)
		if seen[id+" "+version] || seen[id+" *"] {
			t.Errorf("%q is there twice", line)
		}
		seen[id+" "+version] = true
		if u, err := url.Parse(source); err != nil || u.Scheme != "https" || u.Host == "" {
			t.Errorf("%q names no page", line)
		}
		if (end == "rolling") != (version == "*") {
			t.Errorf("%q: a rolling distribution has no versions, and no end", line)
		}
		system := tidewaiter.System{ID: id, VersionID: version}
		if v, ok := strings.CutSuffix(version, "-stream"); ok {
			system.VersionID, system.Name = v, "CentOS Stream"
		}
		if v, pack, ok := strings.Cut(version, "-LTS"); ok {
			system.VersionID, system.Name = v, "openEuler (LTS"+pack+")"
		}
		if version == "*" {
			system.VersionID = "1"
		}
		got, known := Of(system)
		if end == "rolling" {
			if !known || !got.IsZero() {
				t.Errorf("%q is found as %v, %v", line, got, known)
			}
			continue
		}
		want, err := time.Parse(time.DateOnly, end)
		if err != nil || want.Year() < 2010 || want.Year() > 2040 {
			t.Errorf("%q has no date that can be: %v", line, err)
		}
		if !known || !got.Equal(want) {
			t.Errorf("%q is found as %v, %v", line, got, known)
		}
	}
	if !slices.IsSorted(ids) || len(ids) < 100 {
		t.Errorf("the %d rows are not in the order of their IDs", len(ids))
	}
}

// TestDistributions wants a row of each that is common in images.
func TestDistributions(t *testing.T) {
	for _, id := range []string{
		"debian", "ubuntu", "alpine", "rhel", "centos", "fedora", "rocky", "almalinux", "amzn", "opensuse-leap", "sles", "ol",
		"photon", "mariner", "wolfi", "arch", "openEuler",
	} {
		if !strings.Contains(ends, "\n"+id+" ") {
			t.Errorf("nothing is known about %s", id)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add("alpine", "3.19.1", "")
	f.Add("openEuler", "22.03", "(LTS-SP1)")
	f.Add("centos", "9", "Stream")
	f.Fuzz(func(t *testing.T, id, version, name string) {
		end, known := Of(tidewaiter.System{ID: id, VersionID: version, Name: name})
		if !known && !end.IsZero() {
			t.Errorf("%q %q: unknown, and ends %v", id, version, end)
		}
	})
}
