package extract

import (
	"os"

	"golang.org/x/sys/unix"
)

// openSpool returns a file without a name in a folder, by default that of the
// system for temporary files.
func openSpool(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	// Not every file system can do this.
	if f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600); err == nil {
		return f, nil
	}
	return createSpool(dir)
}
