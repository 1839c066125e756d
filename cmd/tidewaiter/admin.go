package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

// named builds a command that has one argument, the name or id of a thing.
func (p *program) named(use, short string, f func(ctx context.Context, c *client, cmd *cobra.Command, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("%s takes one argument, but got %d", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withClient(cmd, func(ctx context.Context, c *client) error { return f(ctx, c, cmd, args[0]) })
		},
	}
}

// plain builds a command without arguments.
func (p *program) plain(use, short string, f func(ctx context.Context, c *client, cmd *cobra.Command) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withClient(cmd, func(ctx context.Context, c *client) error { return f(ctx, c, cmd) })
		},
	}
}

// group builds a command whose work its subcommands do.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("%s has no command %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addClientFlags(cmd)
	cmd.AddCommand(commands...)
	return cmd
}

// find returns the one thing of a list that has a name or an id.
func find[T any](ctx context.Context, c *client, kind, path, nameOrID string, id func(T) string) (T, error) {
	var list adminapi.List[T]
	if err := c.do(ctx, http.MethodGet, path+"?name="+url.QueryEscape(nameOrID), nil, &list); err != nil {
		return *new(T), err
	}
	if len(list.Items) == 1 {
		return list.Items[0], nil
	}
	if err := c.do(ctx, http.MethodGet, path, nil, &list); err != nil {
		return *new(T), err
	}
	for _, v := range list.Items {
		if id(v) == nameOrID {
			return v, nil
		}
	}
	return *new(T), fmt.Errorf("there is no %s with the name or id %q", kind, nameOrID)
}

func findUser(ctx context.Context, c *client, nameOrID string) (adminapi.User, error) {
	return find(ctx, c, "user", "/users", nameOrID, func(u adminapi.User) string { return u.ID })
}

func findProject(ctx context.Context, c *client, nameOrID string) (adminapi.Project, error) {
	return find(ctx, c, "project", "/projects", nameOrID, func(p adminapi.Project) string { return p.ID })
}

func findEnterpriseProject(ctx context.Context, c *client, nameOrID string) (adminapi.EnterpriseProject, error) {
	return find(ctx, c, "enterprise project", "/enterprise-projects", nameOrID, func(e adminapi.EnterpriseProject) string { return e.ID })
}

func findPolicy(ctx context.Context, c *client, nameOrID string) (adminapi.Policy, error) {
	return find(ctx, c, "policy", "/policies", nameOrID, func(p adminapi.Policy) string { return p.ID })
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
