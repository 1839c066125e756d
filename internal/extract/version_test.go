package extract_test

import (
	"context"
	"io/fs"
	"slices"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/extract"
)

// named is an extractor of which only the name and the version matter.
type named struct {
	name    string
	version int
}

func (n named) Name() string                        { return n.name }
func (n named) Version() int                        { return n.version }
func (named) Wants(string, fs.FileMode, int64) bool { return false }
func (named) Extract(context.Context, extract.Input) (extract.Found, error) {
	return extract.Found{}, nil
}

// TestVersion wants a version that changes with each name and version, and
// with nothing else.
func TestVersion(t *testing.T) {
	set := []extract.Extractor{named{"a", 1}, named{"b", 11}}
	other := slices.Clone(set)
	slices.Reverse(other)
	if extract.Version(set) != extract.Version(other) {
		t.Error("the order of the extractors changes the version")
	}
	seen := map[string]bool{extract.Version(set): true}
	for _, changed := range [][]extract.Extractor{
		{named{"a", 1}}, {named{"a", 1}, named{"b", 12}}, {named{"a", 11}, named{"b", 1}}, {named{"a", 1}, named{"c", 11}},
		{named{"a", 1}, named{"b", 11}, named{"c", 1}}, {},
	} {
		v := extract.Version(changed)
		if seen[v] {
			t.Errorf("%v has the version of another set", changed)
		}
		seen[v] = true
	}
}
