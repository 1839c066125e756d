// Package all is the table of extractors.
package all

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/langpkg"
	"github.com/tidewaiter/tidewaiter/internal/extract/ospkg"
)

// Extractors returns every extractor, in the order in which they see a file.
func Extractors() []extract.Extractor {
	return slices.Concat(ospkg.Extractors(), langpkg.Extractors())
}

// Version names the set: 16 digits that change whenever an extractor joins,
// leaves or changes what it finds, and facts have to be found anew.
func Version() string { return version(Extractors()) }

func version(set []extract.Extractor) string {
	var lines []string
	for _, e := range set {
		lines = append(lines, fmt.Sprintf("%s %d\n", e.Name(), e.Version()))
	}
	slices.Sort(lines)
	digest := sha256.New()
	for _, line := range lines {
		digest.Write([]byte(line))
	}
	return fmt.Sprintf("%x", digest.Sum(nil)[:8])
}
