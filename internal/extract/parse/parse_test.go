package parse_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

func stanzas(t *testing.T, s *parse.Stanzas) []parse.Stanza {
	t.Helper()
	var list []parse.Stanza
	for {
		stanza, err := s.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, stanza)
	}
}

func TestStanzas(t *testing.T) {
	long := strings.Repeat("x", 20<<10)
	for _, test := range []struct {
		name, text string
		want       []parse.Stanza
	}{
		{"empty", "", nil},
		{"blank lines only", "\n \n\t\r\n\n", nil},
		{"one", "A: 1\nB: 2\n", []parse.Stanza{{"A": {"1"}, "B": {"2"}}}},
		{"no newline at the end", "A: 1", []parse.Stanza{{"A": {"1"}}}},
		{"two", "\n\nA: 1\n\n\nA: 2\n\n", []parse.Stanza{{"A": {"1"}}, {"A": {"2"}}}},
		{"returns", "A: 1\r\nB:2\r\n\r\nA:3\r\n", []parse.Stanza{{"A": {"1"}, "B": {"2"}}, {"A": {"3"}}}},
		{"case", "a: 1\n", []parse.Stanza{{"A": {"1"}}}},
		{"repeated", "A: 1\nA: 2\n", []parse.Stanza{{"A": {"1", "2"}}}},
		{"folded", "A: 1\n 2\n\t3\nB: 4\n", []parse.Stanza{{"A": {"1 2 3"}, "B": {"4"}}}},
		{"folded, not wanted", "A: 1\nX: 2\n A: 3\n", []parse.Stanza{{"A": {"1"}}}},
		{"folded without a field", " A: 1\nB: 2\n", []parse.Stanza{{"B": {"2"}}}},
		{"nothing wanted", "X: 1\n\nA: 1\n", []parse.Stanza{{}, {"A": {"1"}}}},
		{"colons", "A: b:c: d\n", []parse.Stanza{{"A": {"b:c: d"}}}},
		{"no field", "what\nA: 1\n", []parse.Stanza{{"A": {"1"}}}},
		{"long, not wanted", "X: " + long + "\nA: 1\n", []parse.Stanza{{"A": {"1"}}}},
		{"long at the end", "A: 1\nX: " + long, []parse.Stanza{{"A": {"1"}}}},
		{"long", "A: " + long + "\nB: 2\n", []parse.Stanza{{"B": {"2"}}}},
		{"long by folding", "A: 1\n" + strings.Repeat(" 0123456789\n", 2000) + "B: 2\n", []parse.Stanza{{"A": {}, "B": {"2"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := stanzas(t, parse.NewStanzas(strings.NewReader(test.text), "A", "B"))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// TestManifestLines joins lines as manifests of Java are cut, anywhere.
func TestManifestLines(t *testing.T) {
	s := parse.NewStanzas(strings.NewReader("A: one \r\n two\r\n  three\r\n"), "A")
	s.Join = ""
	if diff := cmp.Diff([]parse.Stanza{{"A": {"one two three"}}}, stanzas(t, s)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// TestStanzasRoundTrip writes stanzas and reads them.
func TestStanzasRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringMatching(`[a-z0-9.:~+-]{1,20}`)
		written := rapid.SliceOf(rapid.MapOfN(rapid.SampledFrom([]string{"A", "B", "X"}), value, 1, 3)).Draw(t, "stanzas")
		var text strings.Builder
		var want []parse.Stanza
		for _, fields := range written {
			stanza := parse.Stanza{}
			for name, value := range fields {
				fmt.Fprintf(&text, "%s: %s\n", name, value)
				if name != "X" {
					stanza[name] = []string{value}
				}
			}
			text.WriteString("\n")
			want = append(want, stanza)
		}
		s := parse.NewStanzas(strings.NewReader(text.String()), "A", "B")
		var got []parse.Stanza
		for {
			stanza, err := s.Next()
			if err != nil {
				break
			}
			got = append(got, stanza)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("want (-), got (+):\n%s", diff)
		}
	})
}

func TestList(t *testing.T) {
	list := parse.NewList("x")
	for _, p := range []tidewaiter.Package{
		{Name: "good", Version: "1", Licenses: []string{"MIT", "", "a\x00b", strings.Repeat("l", 2000)}},
		{Name: "", Version: "1"},
		{Name: "escape\x1b[0m", Version: "1"},
		{Name: "bytes\xff", Version: "1"},
		{Name: "long", Version: strings.Repeat("1", 1025)},
		{Name: "two\nlines", Version: "1"},
		{Name: "source", Version: "1", SourceName: "a\nb"},
	} {
		if !list.Add(p) {
			t.Errorf("the list is closed after %q", p.Name)
		}
	}
	for i := range 100 {
		list.Cut(extract.CutNesting, fmt.Sprint("cut ", i))
	}
	found := list.Found()
	want := []tidewaiter.Package{{Name: "good", Version: "1", Licenses: []string{"MIT"}, Extractor: "x"}}
	if diff := cmp.Diff(want, found.Packages); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if len(found.Cuts) != 34 || !strings.Contains(found.Cuts[32].Reason, "6 of its packages") {
		t.Errorf("%d cuts, the last two %v", len(found.Cuts), found.Cuts[max(0, len(found.Cuts)-2):])
	}
}

// TestListText keeps no more text of one file than is said.
func TestListText(t *testing.T) {
	list := parse.NewList("x")
	open := true
	for i := 0; open && i < parse.MaxPackages; i++ {
		open = list.Add(tidewaiter.Package{Name: strings.Repeat("n", 1000), Version: strings.Repeat("v", 1000)})
	}
	if found := list.Found(); open || len(found.Packages) > 32<<20/2000 || len(found.Cuts) != 1 {
		t.Errorf("open %v, %d packages, cuts %v", open, len(found.Packages), found.Cuts)
	}
}

func TestMembers(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"list":["x","y"],"b":{"c":[]}}`: "a list=x,y b ",
		`{}`:                                    "",
		`[]`:                                    "error",
		``:                                      "error",
		`{"a":`:                                 "a error",
		`{"list":{}}`:                           "list=error",
		`{"list":["x",`:                         "list=x,error",
	} {
		var got strings.Builder
		dec := json.NewDecoder(strings.NewReader(text))
		err := parse.Members(dec, func(name string) error {
			got.WriteString(name)
			if name != "list" {
				got.WriteString(" ")
				return parse.Skip(dec)
			}
			got.WriteString("=")
			first := true
			err := parse.Elements(dec, func() error {
				var s parse.Text
				err := dec.Decode(&s)
				if err == nil && !first {
					got.WriteString(",")
				}
				first = false
				got.WriteString(string(s))
				return err
			})
			if err == nil {
				got.WriteString(" ")
			}
			return err
		})
		if err != nil {
			if strings.HasSuffix(got.String(), "x") {
				got.WriteString(",")
			}
			got.WriteString("error")
		}
		if got.String() != want {
			t.Errorf("%s: %q, want %q", text, got.String(), want)
		}
	}
}

func TestTexts(t *testing.T) {
	for text, want := range map[string]parse.Texts{
		`"MIT"`: {"MIT"}, `["a","b"]`: {"a", "b"}, `""`: nil, `7`: nil, `{}`: nil, `["a",1]`: {"a", ""}, `null`: nil,
	} {
		var got parse.Texts
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", text, diff)
		}
	}
}

func FuzzStanzas(f *testing.F) {
	f.Add([]byte("A: 1\n more\n\nB: 2\r\nX: 3"), true, "")
	f.Fuzz(func(t *testing.T, text []byte, exact bool, join string) {
		s := parse.NewStanzas(strings.NewReader(string(text)), "A", "b")
		s.Exact, s.Join = exact, join
		for n := 0; ; n++ {
			stanza, err := s.Next()
			if err != nil {
				return
			}
			if n > len(text) {
				t.Fatal("more stanzas than bytes")
			}
			for name, values := range stanza {
				if name != "A" && name != "b" {
					t.Errorf("field %q was not asked for", name)
				}
				for _, value := range values {
					if len(value) > 20<<10 {
						t.Errorf("a value of %d bytes", len(value))
					}
				}
			}
		}
	})
}
