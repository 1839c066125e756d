// Package all is the table of extractors. What names their set is
// [extract.Version].
package all

import (
	"slices"

	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/langpkg"
	"github.com/tidewaiter/tidewaiter/internal/extract/ospkg"
)

// Extractors returns every extractor, in the order in which they see a file.
func Extractors() []extract.Extractor {
	return slices.Concat(ospkg.Extractors(), langpkg.Extractors())
}
