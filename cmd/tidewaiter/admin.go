package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

// named builds a command that has one argument, the name or id of a thing.
func (p *program) named(use, short string, f func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  oneArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withClient(cmd, func(ctx context.Context, c *adminClient) error { return f(ctx, c, cmd, args[0]) })
		},
	}
}

// oneArgument wants one argument that is not empty.
func oneArgument(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &usageError{fmt.Errorf("%s takes one argument, but got %d", cmd.CommandPath(), len(args))}
	}
	if args[0] == "" {
		return &usageError{fmt.Errorf("%s got an empty argument", cmd.CommandPath())}
	}
	return nil
}

// plain builds a command without arguments.
func (p *program) plain(use, short string, f func(ctx context.Context, c *adminClient, cmd *cobra.Command) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withClient(cmd, func(ctx context.Context, c *adminClient) error { return f(ctx, c, cmd) })
		},
	}
}

// group builds a command whose work its subcommands do.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addClientFlags(cmd)
	cmd.AddCommand(commands...)
	return cmd
}

// noSuchCommand refuses the arguments of a command whose work its subcommands
// do: they are subcommands that do not exist.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("%s has no command %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())}
	}
	return nil
}

// findEnterpriseProject returns the one with a name or an id; everything else
// the API finds by either itself.
func findEnterpriseProject(ctx context.Context, c *adminClient, nameOrID string) (adminapi.EnterpriseProject, error) {
	var list adminapi.List[adminapi.EnterpriseProject]
	if err := c.do(ctx, http.MethodGet, "/enterprise-projects", nil, &list); err != nil {
		return adminapi.EnterpriseProject{}, err
	}
	for _, e := range list.Items {
		if e.ID == nameOrID || e.Name == nameOrID {
			return e, nil
		}
	}
	return adminapi.EnterpriseProject{}, fmt.Errorf("there is no enterprise project with the name or id %q", nameOrID)
}

// readSecret reads one secret from standard input: its first line, without the
// end of the line.
func readSecret(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", errors.New("standard input is empty; send the password there, as in: tidewaiter … --password-stdin < file")
	}
	return line, nil
}

// readFileOrStdin reads a file, or standard input for "-".
func (p *program) readFileOrStdin(path string, limit int64) ([]byte, error) {
	r := p.stdin
	if path != "-" {
		f, err := os.Open(path) //nolint:gosec // the user names the file
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // it was only read
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
