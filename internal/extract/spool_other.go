//go:build !linux

package extract

import "os"

// openSpool returns a file without a name in a folder, by default that of the
// system for temporary files.
func openSpool(dir string) (*os.File, error) { return createSpool(dir) }
