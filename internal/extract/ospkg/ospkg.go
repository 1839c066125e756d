// Package ospkg reads the databases of the package managers of distributions,
// and the files by which a distribution says what it is.
//
// A database alone mostly does not say of which distribution it is: packages
// come without an ecosystem and a namespace, which follow from the os-release
// file of the image.
package ospkg

import (
	"github.com/tidewaiter/tidewaiter/internal/extract"
)

// Extractors returns the extractors of this package.
func Extractors() []extract.Extractor {
	return []extract.Extractor{Dpkg{}, DpkgFiles{}, Chisel{}, Apk{}, RPM{}, RPMManifest{}, Release{}}
}
