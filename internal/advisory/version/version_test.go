package version_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter/internal/advisory/version"
)

// compare orders two versions by their keys.
func compare(o version.Order, a, b string) string {
	keyA, _ := o.Key(a)
	keyB, _ := o.Key(b)
	return [3]string{"<", "=", ">"}[bytes.Compare(keyA, keyB)+1]
}

// TestVectors has what the ecosystems themselves say.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 15 {
		t.Fatalf("vectors: %d files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			lines, ecosystem := vectors(t, name)
			if len(lines) == 0 {
				t.Error("no vectors")
			}
			order := version.OrderOf(ecosystem)
			for _, v := range lines {
				if got := compare(order, v[0], v[2]); got != v[1] {
					t.Errorf("%s %s %s, want %s", v[0], got, v[2], v[1])
				}
				if got := compare(order, v[2], v[0]); (got == "=") != (v[1] == "=") || got == v[1] && got != "=" {
					t.Errorf("%s %s %s, which contradicts %s", v[2], got, v[0], strings.Join(v, " "))
				}
			}
		})
	}
}

// vectors reads lines of a version, <, = or >, and a version. The first line
// names the ecosystem.
func vectors(t testing.TB, name string) (lines [][]string, ecosystem string) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(bytes.NewReader(content))
	for scan.Scan() {
		line := scan.Text()
		if after, ok := strings.CutPrefix(line, "# Order of versions in "); ok {
			ecosystem = strings.TrimSuffix(after, ".")
		}
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			t.Fatalf("%s: %q", name, line)
		}
		lines = append(lines, fields)
	}
	return lines, ecosystem
}

// TestDpkg asks dpkg, where there is one, about versions that nobody chose.
func TestDpkg(t *testing.T) {
	program, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("no dpkg")
	}
	operator := map[string]string{"<": "lt", "=": "eq", ">": "gt"}
	part := rapid.SliceOfN(rapid.SampledFrom([]string{"1", "0", "10", ".", "-", "~", "+", "a", "b", "deb12u", "Z", "00"}), 0, 6)
	versions := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "0:", "2:"}).Draw(t, "epoch") + "1" + strings.Join(part.Draw(t, "parts"), "")
	})
	rapid.Check(t, func(t *rapid.T) {
		a := versions.Draw(t, "a")
		b := versions.Draw(t, "b")
		if strings.HasSuffix(a, "-") || strings.HasSuffix(b, "-") {
			t.Skip("dpkg refuses empty revisions")
		}
		got := compare(version.Debian, a, b)
		if err := exec.Command(program, "--compare-versions", a, operator[got], b).Run(); err != nil {
			t.Fatalf("%s %s %s: dpkg says no", a, got, b)
		}
	})
}

// TestEqualSpellings has versions that are one and the same.
func TestEqualSpellings(t *testing.T) {
	for _, tt := range []struct {
		ecosystem string
		same      []string
	}{
		{"PyPI", []string{"1.0", "1", "1.0.0", "v1.0", "0!1.0", " 1.0 ", "01.00"}},
		{"PyPI", []string{"1.0a1", "1.0-alpha.1", "1.0_ALPHA_1", "1a1"}},
		{"PyPI", []string{"1.0-1", "1.0.post1", "1.0r1", "1.0-rev-1"}},
		{"PyPI", []string{"1.0rc1", "1.0c1", "1.0-preview1", "1.0pre1"}},
		{"Go", []string{"v1.2.3", "1.2.3", "1.2.3+incompatible"}},
		{"NuGet", []string{"1.0", "1.0.0", "1.0.0.0", "1.0.0+sha"}},
		{"NuGet", []string{"1.0-Beta", "1.0-beta"}},
		{"Debian:12", []string{"1.0-1", "0:1.0-1", "1.0-01"}},
		{"Debian", []string{"1.0", "1.0-0"}},
		{"Red Hat:rhel:8", []string{"1.0-1.el8", "0:1.0-1.el8", "1.0-1_el8"}},
		{"Maven", []string{"1.0", "1", "1.0.0", "1-ga", "1.Final", "1.0.0-RELEASE"}},
		{"Maven", []string{"1-a1", "1-ALPHA-1", "1.0alpha1"}},
		{"RubyGems", []string{"1.0", "1", "1.0.0"}},
		{"Packagist", []string{"v1.0", "1.0.0.0", "1.0-stable"}},
		{"Packagist", []string{"1.0-beta1", "1.0.0b1", "1.0-BETA.1"}},
	} {
		for _, v := range tt.same[1:] {
			if got := compare(version.OrderOf(tt.ecosystem), tt.same[0], v); got != "=" {
				t.Errorf("%s: %s %s %s", tt.ecosystem, tt.same[0], got, v)
			}
		}
	}
}

// TestNotUnderstood has versions that an order does not know.
func TestNotUnderstood(t *testing.T) {
	for _, tt := range []struct{ ecosystem, version string }{
		{"PyPI", "2004a-final-really"}, {"PyPI", "1..0"}, {"PyPI", ""}, {"PyPI", "1.0+"},
		{"npm", "latest"}, {"npm", ""}, {"Go", "(devel)"},
		{"CRAN", "1.0b"}, {"RubyGems", "1.0_1"}, {"Packagist", "dev-master"}, {"Alpine", "edge"},
		{"Conda", "1.0"}, {"", "1.0"},
		{"Debian", strings.Repeat("1", 513)}, {"Debian", ""},
	} {
		key, ok := version.OrderOf(tt.ecosystem).Key(tt.version)
		if ok {
			t.Errorf("%s %q is understood", tt.ecosystem, tt.version)
		}
		if zero, _ := version.Debian.Key("0"); bytes.Compare(key, zero) >= 0 {
			t.Errorf("%s %q does not come first", tt.ecosystem, tt.version)
		}
	}
}

// TestOrderOf has ecosystems with suffixes.
func TestOrderOf(t *testing.T) {
	for ecosystem, want := range map[string]version.Order{
		"Debian:12": version.Debian, "Ubuntu:Pro:18.04:LTS": version.Debian, "Alpine:v3.19": version.APK,
		"Red Hat:rhel_aus:8.4::appstream": version.RPM, "openSUSE:Leap 15.6": version.RPM,
		"Maven:https://maven.google.com": version.Maven, "Root:PyPI": version.PEP440, "Root:Alpine:3.18": version.APK,
		"Conda": version.Unordered, "debian": version.Unordered, "": version.Unordered,
	} {
		if got := version.OrderOf(ecosystem); got != want {
			t.Errorf("%s: order %d, want %d", ecosystem, got, want)
		}
	}
}

// TestNumbersOfAnySize looks at numbers beyond 64 bits.
func TestNumbersOfAnySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[1-9][0-9]{0,160}`)
		a, b := digits.Draw(t, "a"), digits.Draw(t, "b")
		want := "="
		switch {
		case len(a) < len(b), len(a) == len(b) && a < b:
			want = "<"
		case a != b:
			want = ">"
		}
		for o := version.SemVer; o <= version.RPM; o++ {
			if got := compare(o, a, b); got != want {
				t.Errorf("order %d: %s %s %s", o, a, got, b)
			}
		}
	})
}

// TestSorted sorts by key the versions of each file of vectors, and wants
// the vectors to hold between any two places: order is transitive.
func TestSorted(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, name := range files {
		lines, ecosystem := vectors(t, name)
		order := version.OrderOf(ecosystem)
		var all []string
		for _, v := range lines {
			all = append(all, v[0], v[2])
		}
		key := func(v string) string { k, _ := order.Key(v); return string(k) }
		slices.SortFunc(all, func(a, b string) int { return strings.Compare(key(a), key(b)) })
		place := make(map[string]int)
		for i, v := range all {
			if i == 0 || key(v) != key(all[i-1]) {
				place[key(v)] = i
			}
		}
		for _, v := range lines {
			a, b := place[key(v[0])], place[key(v[2])]
			if (a < b) != (v[1] == "<") || (a == b) != (v[1] == "=") {
				t.Errorf("%s: %s", name, strings.Join(v, " "))
			}
		}
	}
}

// FuzzKey looks for panics and for keys out of bounds.
func FuzzKey(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, name := range files {
		lines, ecosystem := vectors(f, name)
		for _, v := range lines[:min(20, len(lines))] {
			f.Add(byte(version.OrderOf(ecosystem)), v[0])
		}
	}
	f.Fuzz(func(t *testing.T, o byte, v string) {
		order := version.Order(o % byte(version.RPM+1))
		key, ok := order.Key(v)
		if len(key) > 8*513 {
			t.Errorf("a key of %d bytes", len(key))
		}
		again, _ := order.Key(v)
		if !bytes.Equal(key, again) {
			t.Error("not the same twice")
		}
		if ok && key[0] == 0 || !ok && key[0] != 0 {
			t.Errorf("understood: %v, and the key begins with %d", ok, key[0])
		}
	})
}

func BenchmarkKey(b *testing.B) {
	for _, tt := range []struct{ ecosystem, version string }{
		{"Debian", "1:3.0.11-1~deb12u2"}, {"Red Hat", "1:3.0.7-24.el9_3"}, {"Alpine", "3.1.4_git20231012-r5"},
		{"npm", "4.17.21-rc.1"}, {"PyPI", "2.31.0.post1"}, {"Maven", "2.13.4.1-redhat-00001"},
		{"RubyGems", "7.0.8.1.pre"}, {"Packagist", "v5.4.21-beta1"}, {"CRAN", "1.4-2"},
	} {
		order := version.OrderOf(tt.ecosystem)
		b.Run(tt.ecosystem, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				order.Key(tt.version)
			}
		})
	}
}
