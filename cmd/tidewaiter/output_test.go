package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// TestWriteYAML has texts stay texts, for readers of YAML 1.1, too.
func TestWriteYAML(t *testing.T) {
	type item struct {
		Version string   `json:"version"`
		Number  int64    `json:"number"`
		None    *string  `json:"none"`
		List    []string `json:"list"`
	}
	in := []item{
		{Version: "1:20", Number: 1774000000000, List: []string{"yes", "null", "012", "0x1F", "1e3", "~", "2026-11-27", "", "- a", "a: b", "#"}},
		{Version: "7.88.1-10+deb12u4", List: []string{}},
	}
	var b bytes.Buffer
	if err := writeYAML(&b, in); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`- version: "1:20"`, `  number: 1774000000000`, `  none: null`, `    - "yes"`, `    - "null"`, `- version: 7.88.1-10+deb12u4`, `  list: []`} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("there is no line %q in\n%s", line, &b)
		}
	}
	var decoded any
	if err := yaml.Unmarshal(b.Bytes(), &decoded); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(decoded)
	if err != nil {
		t.Fatal(err)
	}
	var out []item
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("what is read is not what was written (-want +got)\n%s", diff)
	}
}
