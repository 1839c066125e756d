package export

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestDocs wants every field of the JSON, and every code of a cut, in
// docs/scan.md.
func TestDocs(t *testing.T) {
	docs, err := os.ReadFile("../../docs/scan.md")
	if err != nil {
		t.Fatal(err)
	}
	said := func(name string) bool {
		return regexp.MustCompile("`(images\\[\\]\\.)?" + regexp.QuoteMeta(name) + "(\\[\\])?`").Match(docs)
	}
	var fields func(reflect.Type)
	fields = func(of reflect.Type) {
		for of.Kind() == reflect.Slice || of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct {
			return
		}
		for i := range of.NumField() {
			f := of.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !said(name) {
				t.Errorf("docs/scan.md does not speak of %s, a field of %s", name, of.Name())
			}
			fields(f.Type)
		}
	}
	fields(reflect.TypeFor[jsonReport]())
	source, err := os.ReadFile("../extract/extract.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`(?m)^\tCut[A-Z]\w+ += "(\w+)"`).FindAllSubmatch(source, -1)
	if len(codes) < 5 {
		t.Fatalf("found %d codes", len(codes))
	}
	for _, code := range codes {
		if !said(string(code[1])) {
			t.Errorf("docs/scan.md does not speak of the code %s", code[1])
		}
	}
}
