// Command scan-component is the program inside the scan component image. It
// runs beside a registry, lists and scans the images there, and reports
// metadata to a Tidewaiter server.
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

	scan-component run [flags]  enrol with a server, then do what it asks for
	scan-component selfcheck    say what this container has, and whether it is usable
	scan-component version      print the version
	scan-component help         print this text

Settings of run, as a flag or in the environment:

	--server         TIDEWAITER_SERVER         the server's address, such as https://tidewaiter.example.com
	                 TIDEWAITER_TOKEN          one-time token, for the first start
	--token-file     TIDEWAITER_TOKEN_FILE     a file that holds it
	--state          TIDEWAITER_STATE          folder for the component's keys (/var/lib/tidewaiter)
	--ca             TIDEWAITER_CA             PEM file: trusted for the server's certificate, too
	--name           TIDEWAITER_NAME           how the server calls this component (the host's name)
	--parallel       TIDEWAITER_PARALLEL       registries to synchronise at a time (2)
	--insecure-http  TIDEWAITER_INSECURE_HTTP  allow plain http to a server elsewhere
	--log-format     TIDEWAITER_LOG_FORMAT     text or json, to standard error (text)
	--log-level      TIDEWAITER_LOG_LEVEL      debug, info, warn or error (info)

HTTPS_PROXY and NO_PROXY say how the server is reached. A signal (TERM, INT)
ends the component; it gives back what it was at.

Exit status: 0 success, 1 failure, 2 wrong usage or settings, 3 the server does
not know this component any more, 4 server and component are too far apart.
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
	err := execute(args, &out, stderr)
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
	return statusFailed
}

// execute does what a command line asks for. What goes to stderr is a log.
func execute(args []string, out *bytes.Buffer, stderr io.Writer) error {
	if len(args) == 0 {
		return failure{statusUsage, "a command is missing\n\n" + strings.TrimSpace(usage)}
	}
	command, rest := args[0], args[1:]
	switch command {
	case "help", "-h", "-help", "--help":
		out.WriteString(usage)
		return nil
	case "run":
		err := work(rest, os.Getenv, stderr)
		if f, ok := errors.AsType[failure](err); ok && f.status == 0 {
			out.WriteString(usage)
			return nil
		}
		return err
	case "version", "-version", "--version", "selfcheck":
	default:
		return failure{statusUsage, fmt.Sprintf("unknown command %q; try: scan-component help", command)}
	}
	if len(rest) > 0 {
		return failure{statusUsage, command + " takes no arguments"}
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
