package advisory_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/advisory/osv"
)

var update = flag.Bool("update", false, "write what is matched into the cases")

// TestCases matches the packages of each case in testdata against its
// advisories, and compares what is found with the file "want". A new case is a
// new file: -update fills in "want", for you to read. The file "packages" has a
// line for each: the ecosystem, or deb, apk or rpm, the name, the version, and the
// name and version of the source package. "os-release" is that of the image.
func TestCases(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var list []tidewaiter.Advisory
			var packages, systemText string
			want := -1
			for i, f := range archive.Files {
				switch f.Name {
				case "want":
					want = i
				case "packages":
					packages = string(f.Data)
				case "os-release":
					systemText = string(f.Data)
				default:
					a, err := osv.Parse(f.Data)
					if err != nil {
						t.Fatalf("%s: %v", f.Name, err)
					}
					list = append(list, a)
				}
			}
			if want < 0 {
				t.Fatal("the case has no file want")
			}
			x := open(t, build(t, list...))
			got := matchLines(t, x, packages, advisory.ReleaseOf(systemOf(systemText)))
			if *update {
				archive.Files[want].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[want].Data), got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// matchLines matches packages, and writes what is found.
func matchLines(t *testing.T, x *advisory.Index, packages string, release tidewaiter.Release) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(packages) {
		line = strings.TrimSpace(line)
		fields := strings.Split(line, "|")
		for len(fields) < 5 {
			fields = append(fields, "")
		}
		p := tidewaiter.Package{Ecosystem: fields[0], Name: fields[1], Version: fields[2], SourceName: fields[3], SourceVersion: fields[4]}
		if slices.Contains([]string{"deb", "apk", "rpm"}, p.Ecosystem) {
			p.Type, p.Ecosystem = p.Ecosystem, ""
		}
		result, err := x.Match(p, release)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(&out, line)
		if result.Gap != tidewaiter.NoGap {
			fmt.Fprintf(&out, " (gap: %s)", result.Gap)
		}
		fmt.Fprintln(&out)
		for _, m := range result.Matches {
			fmt.Fprintf(&out, "\t%s %s by %s", m.AdvisoryID, m.Status, m.Reason)
			for _, e := range m.Range {
				fmt.Fprintf(&out, " %s=%s", e.Kind, e.Version)
			}
			if len(m.Fixed) > 0 {
				fmt.Fprintf(&out, ", fixed in %s", strings.Join(m.Fixed, " "))
			}
			if m.Severity.Method != "" {
				fmt.Fprintf(&out, ", %s %.1f by %s of %s", m.Severity.Level, m.Severity.Score, m.Severity.Method, m.Severity.Source)
			}
			if m.Urgency != "" {
				fmt.Fprintf(&out, ", urgency %s", m.Urgency)
			}
			fmt.Fprintf(&out, " [%s %s %s]", m.Ecosystem, m.Name, m.Version)
			if len(m.Aliases)+len(m.Upstream) > 0 {
				fmt.Fprintf(&out, " %s", strings.Join(slices.Concat(m.Aliases, m.Upstream), " "))
			}
			fmt.Fprintln(&out)
		}
	}
	return out.String()
}

// systemOf reads the assignments of an os-release file.
func systemOf(text string) tidewaiter.System {
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields[name] = value
	}
	return tidewaiter.System{
		ID: fields["ID"], VersionID: fields["VERSION_ID"], Codename: fields["VERSION_CODENAME"], Name: fields["PRETTY_NAME"], CPE: fields["CPE_NAME"],
	}
}

func TestReleaseOf(t *testing.T) {
	for _, tt := range []struct {
		system tidewaiter.System
		want   []string
	}{
		{tidewaiter.System{ID: "debian", VersionID: "12"}, []string{"Debian:12"}},
		{tidewaiter.System{ID: "debian", Codename: "trixie"}, []string{"Debian:13"}},
		{tidewaiter.System{ID: "debian"}, nil},
		{tidewaiter.System{ID: "ubuntu", VersionID: "22.04"}, []string{"Ubuntu:22.04:LTS"}},
		{tidewaiter.System{ID: "ubuntu", VersionID: "23.04"}, []string{"Ubuntu:23.04"}},
		{tidewaiter.System{ID: "ubuntu", VersionID: "24.10"}, []string{"Ubuntu:24.10"}},
		{tidewaiter.System{ID: "alpine", VersionID: "3.19.1"}, []string{"Alpine:v3.19"}},
		{tidewaiter.System{ID: "alpine", VersionID: "3.22.0_alpha20250108"}, []string{"Alpine:v3.22"}},
		{tidewaiter.System{ID: "alpine"}, nil},
		{tidewaiter.System{ID: "wolfi", VersionID: "20230201"}, []string{"Wolfi"}},
		{tidewaiter.System{ID: "chainguard"}, []string{"Chainguard", "Wolfi"}},
		{tidewaiter.System{ID: "rocky", VersionID: "9.3"}, []string{"Rocky Linux:9"}},
		{tidewaiter.System{ID: "almalinux", VersionID: "8.10"}, []string{"AlmaLinux:8"}},
		{tidewaiter.System{ID: "rhel", VersionID: "9.4", CPE: "cpe:/o:redhat:enterprise_linux:9::baseos"}, []string{"Red Hat:enterprise_linux:9"}},
		{tidewaiter.System{ID: "rhel", VersionID: "8.6", CPE: "cpe:/o:redhat:rhel_eus:8.6::baseos"}, []string{"Red Hat:rhel_eus:8.6", "Red Hat:enterprise_linux:8"}},
		{tidewaiter.System{ID: "centos", VersionID: "7"}, []string{"Red Hat:enterprise_linux:7"}},
		{tidewaiter.System{ID: "opensuse-leap", VersionID: "15.6", Name: "openSUSE Leap 15.6"}, []string{"openSUSE:Leap 15.6"}},
		{tidewaiter.System{ID: "opensuse-tumbleweed", Name: "openSUSE Tumbleweed"}, []string{"openSUSE:Tumbleweed"}},
		{tidewaiter.System{ID: "sles", VersionID: "15.5", Name: "SUSE Linux Enterprise Server 15 SP5"}, []string{"SUSE:Linux Enterprise Server 15 SP5"}},
		{tidewaiter.System{ID: "photon", VersionID: "5.0"}, []string{"Photon OS:5.0"}},
		{tidewaiter.System{ID: "azurelinux", VersionID: "3.0"}, []string{"Azure Linux:3"}},
		{tidewaiter.System{ID: "openEuler", VersionID: "22.03", Name: "openEuler 22.03 (LTS-SP3)"}, []string{"openEuler:22.03-LTS-SP3"}},
		{tidewaiter.System{ID: "mageia", VersionID: "9"}, []string{"Mageia:9"}},
		{tidewaiter.System{ID: "alpaquita", VersionID: "23"}, []string{"Alpaquita:23", "BellSoft Hardened Containers:23"}},
		{tidewaiter.System{ID: "arch"}, nil},
		{tidewaiter.System{}, nil},
	} {
		if diff := cmp.Diff(tt.want, advisory.ReleaseOf(tt.system).Ecosystems); diff != "" {
			t.Errorf("%+v:\n%s", tt.system, diff)
		}
	}
}
