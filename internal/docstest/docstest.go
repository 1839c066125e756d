// Package docstest finds what the project's pages have their reader type, for the
// tests that look at it.
package docstest

import (
	"path/filepath"
	"strings"
	"testing"
)

// Pages returns the pages below docs, as paths from the root of the repository.
func Pages(t testing.TB, root string) (list []string) {
	t.Helper()
	for _, pattern := range []string{"docs/*.md", "docs/how-to/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			page, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, filepath.ToSlash(page))
		}
	}
	return list
}

// Blocks returns the blocks of a page that are of a shell or of no language,
// without the indentation of the list that they are in.
func Blocks(page string) (list []string) {
	var b strings.Builder
	inside, wanted, indent := false, false, ""
	for line := range strings.Lines(page) {
		if language, ok := strings.CutPrefix(strings.TrimSpace(line), "```"); ok {
			if inside = !inside; !inside && wanted {
				list = append(list, b.String())
			}
			b.Reset()
			indent, _, _ = strings.Cut(line, "`")
			wanted = inside && (language == "" || language == "sh")
			continue
		}
		if wanted {
			b.WriteString(strings.TrimPrefix(line, indent))
		}
	}
	return list
}
