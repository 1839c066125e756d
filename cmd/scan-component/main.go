// Command scan-component is the program inside the scan component image. It
// runs beside a registry, lists and scans the images there, and reports
// metadata to a Tidewaiter server.
//
// This release brings the image, its distribution and the self-check; the
// commands that do the work follow.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	_ "golang.org/x/crypto/x509roots/fallback" // CA roots, where there is no bundle on disk

	"github.com/tidewaiter/tidewaiter"
)

// revision is the commit that the program was built from. The image build
// sets it with -ldflags "-X main.revision=...".
var revision = "unknown"

const usage = `The Tidewaiter scan component.

Usage:

	scan-component selfcheck   say what this container has, and whether it is usable
	scan-component version     print the version
	scan-component help        print this text

Exit status: 0 success, 1 not usable, 2 wrong usage.
`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// A failure is an error that says with which status to exit.
type failure struct {
	status int
	text   string
}

func (f failure) Error() string { return f.text }

// run is the whole program. It returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	var out bytes.Buffer
	err := execute(args, &out)
	if _, writeErr := out.WriteTo(stdout); err == nil {
		err = writeErr
	}
	if err == nil {
		return 0
	}
	if _, err := fmt.Fprintf(stderr, "scan-component: %v\n", err); err != nil {
		return 1
	}
	if f, ok := errors.AsType[failure](err); ok {
		return f.status
	}
	return 1
}

func execute(args []string, out *bytes.Buffer) error {
	if len(args) == 0 {
		return failure{2, "a command is missing\n\n" + strings.TrimSpace(usage)}
	}
	command, rest := args[0], args[1:]
	switch command {
	case "help", "-h", "-help", "--help":
		out.WriteString(usage)
		return nil
	case "run":
		// Named before it exists, so that a newer server's instructions
		// get a clear answer from an older image.
		return failure{2, fmt.Sprintf("%s is not in this release (%s) yet; use the image of a newer release", command, tidewaiter.Version)}
	case "version", "-version", "--version", "selfcheck":
	default:
		return failure{2, fmt.Sprintf("unknown command %q; try: scan-component help", command)}
	}
	if len(rest) > 0 {
		return failure{2, command + " takes no arguments"}
	}
	if command != "selfcheck" {
		fmt.Fprintln(out, versionLine())
		return nil
	}
	return selfCheck{root: rootFS(), getenv: os.Getenv, writable: canWrite}.report(out)
}

func versionLine() string {
	return fmt.Sprintf("scan-component %s (revision %s, %s, %s/%s)",
		tidewaiter.Version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// rootFS is the container's file system.
func rootFS() fs.FS { return os.DirFS("/") }
