// Tidewaiter gives private container registries access and scanning through
// the HSS v5 image API. See https://github.com/tidewaiter/tidewaiter.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := program{name: os.Args[0], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	status := p.run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

// program is the command line as a value: all that it reads from and writes to.
type program struct {
	name           string // as it was called
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
}

// run executes a command line and returns the exit status: 0 for success, 1 for
// a failure, 2 for a command line or a configuration that is wrong, and
// statusPartial for a scan that left something out, statusVulnerable for one that
// found what it was told to look for.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.rootCommand()
	root.SetArgs(args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(p.stderr, "tidewaiter: "+printable(oneLine(err)))
	if errors.Is(err, errPartial) || errors.Is(err, errUnjudged) || errors.Is(err, errFailedImages) {
		return statusPartial
	}
	if errors.Is(err, errVulnerable) {
		return statusVulnerable
	}
	if _, ok := errors.AsType[*configError](err); ok {
		return 2
	}
	if e, ok := errors.AsType[*tidewaiter.Error](err); ok && e.Kind == tidewaiter.Invalid && e.Field != "" {
		return 2
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return 2
	}
	return 1
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (p *program) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tidewaiter",
		Short: "Access and scanning for private container registries",
		Long: "Tidewaiter gives private container registries access and scanning\n" +
			"through the HSS v5 image API.",
		Version:       tidewaiter.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("tidewaiter {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Run a server", []*cobra.Command{p.serveCommand(), p.advisoriesCommand(), p.bundleCommand(), p.clusterCommand(), p.componentCommand()}},
		{"Sign in to one", []*cobra.Command{p.loginCommand(), p.logoutCommand(), p.contextCommand(), p.tokenCommand()}},
		{"Registries, images, vulnerabilities", []*cobra.Command{
			p.uploadCommandCommand(), p.registryCommand(), p.imageCommand(), p.taskCommand(), p.vulnCommand(), p.vexCommand(), p.scanCommand(),
		}},
		{"Accounts", []*cobra.Command{p.userCommand(), p.accessKeyCommand(), p.policyCommand(), p.projectCommand(), p.enterpriseProjectCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, cmd := range g.commands {
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(p.versionCommand())
	addExamples(root)
	return root
}
