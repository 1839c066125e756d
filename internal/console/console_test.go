package console

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestVisible writes out what a name from a registry could hide.
func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain <b>文字</b>\n\t\r\n":   "plain <b>文字</b>\n\t\r\n",
		"a\u202egnp.exe":            "a⟨U+202E⟩gnp.exe",
		"\x1b[31mred":               "⟨U+001B⟩[31mred",
		"zero\u200bwidth\u2066x":    "zero⟨U+200B⟩width⟨U+2066⟩x",
		"c1 \u009b, line \u2028.":   "c1 ⟨U+009B⟩, line ⟨U+2028⟩.",
		"bom \ufeff and \u00e9\xff": "bom ⟨U+FEFF⟩ and é\xff",
	} {
		if got := string(visible([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// FuzzVisible finds nothing hidden in what visible returns, and no change in
// what has nothing hidden.
func FuzzVisible(f *testing.F) {
	f.Add("a\u202eb\x00")
	f.Fuzz(func(t *testing.T, in string) {
		out := string(visible([]byte(in)))
		if i := strings.IndexFunc(out, hidden); i >= 0 {
			t.Errorf("%q: hidden at %d of %q", in, i, out)
		}
		if strings.IndexFunc(in, hidden) < 0 && out != in {
			t.Errorf("%q became %q", in, out)
		}
	})
}

// TestLocal goes on to pages of this server only.
func TestLocal(t *testing.T) {
	for next, want := range map[string]string{
		"/p/1/images?offset=50":  "/p/1/images?offset=50",
		"":                       "/",
		"https://example.com/p/": "/",
		"//example.com/p/1":      "/",
		`/\example.com/p/`:       "/",
		"/p/1\r\nX: y":           "/",
		"javascript:alert(1)":    "/",
		"/v5/1/image":            "/",
	} {
		if got := local(next); got != want {
			t.Errorf("%q: got %q, want %q", next, got, want)
		}
	}
}

// TestAssets compares the files that are not ours with what is noted of them,
// and finds nothing in any file that loads from elsewhere.
func TestAssets(t *testing.T) {
	notes, err := assetFiles.ReadFile("assets/README.md")
	if err != nil {
		t.Fatal(err)
	}
	assets, err := readAssets()
	if err != nil {
		t.Fatal(err)
	}
	ours := []string{"app.css", "app.js", "icon.svg"}
	elsewhere := regexp.MustCompile(`@import|url\(["']?(https?:)?//`)
	for name, a := range assets {
		sum := sha256.Sum256(a.content)
		if !slices.Contains(ours, name) && !strings.Contains(string(notes), hex.EncodeToString(sum[:])) {
			t.Errorf("%s is not what README.md says of it", name)
		}
		if found := elsewhere.Find(a.content); found != nil {
			t.Errorf("%s loads from elsewhere: %s", name, found)
		}
	}
	total := 0
	for _, name := range []string{"tabler.min.css", "app.css", "app.js", "icon.svg"} {
		total += len(assets[name].zipped)
	}
	if total == 0 || total > 250_000 {
		t.Errorf("the first page loads %d bytes of assets; it should weigh below 300,000 in all", total)
	}
}

// TestTemplates finds no script or style in the pages, which the policy would
// refuse, and a Chinese text for each English one.
func TestTemplates(t *testing.T) {
	if _, err := parseTemplates(); err != nil {
		t.Fatal(err)
	}
	var texts map[string]string
	if err := json.Unmarshal(zh, &texts); err != nil {
		t.Fatal(err)
	}
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(>| [^s])|javascript:|https?://`)
	translated := regexp.MustCompile(`\.T "([^"]+)"|\(list [^()]*?"[^"]*" "([A-Z][^"]+)"\)|\(list \$p \.\w+ "([^"]+)"\)`)
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d templates, %v", len(files), err)
	}
	used := 0
	check := func(file, text string) {
		used++
		if texts[text] == "" {
			t.Errorf("%s: %q has no Chinese text in zh.json", file, text)
		}
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := inline.Find(b); found != nil {
			t.Errorf("%s has something inline: %q", file, found)
		}
		for _, m := range translated.FindAllStringSubmatch(string(b), -1) {
			check(file, m[1]+m[2]+m[3])
		}
	}
	for _, title := range titles {
		check("titles", title)
	}
	if used < 100 {
		t.Errorf("only %d texts were found: the test does not see them", used)
	}
}

// TestSize reads well at the bounds of the units.
func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1_500_000: "1.5 MB", 3_000_000_000_000_000: "3000.0 TB"} {
		if got := size(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
