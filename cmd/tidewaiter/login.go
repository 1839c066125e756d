package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tidewaiter/tidewaiter/internal/client"
)

// loginFlags are what a sign-in is asked with.
type loginFlags struct {
	context, user, domain, project, ca, accessKey string
	fromStdin                                     bool
}

func (p *program) loginCommand() *cobra.Command {
	var f loginFlags
	cmd := &cobra.Command{
		Use:   "login [URL]",
		Short: "Sign in to a server, and work on it from then on",
		Long: "Sign in to a server, and work on it from then on: with a user's password, for as long\n" +
			"as the server lets a token live, or with an access key, until that is removed. The\n" +
			"password or the secret key is asked for, or read from standard input. What is kept is\n" +
			"in ~/.config/tidewaiter/contexts.json (or TIDEWAITER_CONTEXTS), for its owner alone;\n" +
			"a password is not kept. Without a URL it is a context's server once more.",
		Example: "  tidewaiter login https://tidewaiter.example.com --user admin\n" +
			"  tidewaiter login https://tidewaiter.example.com --user alice --project team --password-stdin < password.txt\n" +
			"  tidewaiter login https://tidewaiter.example.com --access-key AK… --context ci --password-stdin < secret-key.txt",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{fmt.Errorf("%s takes one argument, the server's URL, but got %d", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			server := ""
			if len(args) == 1 {
				server = args[0]
			}
			return p.login(cmd, server, f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.context, "context", "", "`name` to keep it under (default: the server's host)")
	fs.StringVar(&f.user, "user", "", "`name` of the user (default: asked for)")
	fs.StringVar(&f.domain, "domain", "", "`account` of the user (default: tidewaiter)")
	fs.StringVar(&f.project, "project", "", "`project` to work on, by name or id (default: the only one that there is)")
	fs.StringVar(&f.accessKey, "access-key", "", "sign in with this access `key`; its secret key is asked for in place of a password")
	fs.BoolVar(&f.fromStdin, "password-stdin", false, "read the password, or the secret key, from standard input")
	fs.StringVar(&f.ca, "ca", "", "PEM `file` with the authorities that the server's certificate may come from (default: the system's)")
	return cmd
}

func (p *program) login(cmd *cobra.Command, server string, f loginFlags) error {
	all, err := p.readContexts()
	if err != nil {
		return err
	}
	name, saved := f.context, &savedContext{}
	if server == "" || all.Contexts[name] != nil {
		known, old, err := all.named(name)
		if err != nil {
			return err
		}
		if old == nil {
			return &usageError{fmt.Errorf("%s needs the server's URL, such as https://tidewaiter.example.com", cmd.CommandPath())}
		}
		if server == "" || strings.TrimSuffix(server, "/") == old.Server {
			*saved, name, server = *old, known, old.Server
		}
	}
	if err := checkServer(server); err != nil {
		return err
	}
	saved.Server = strings.TrimSuffix(server, "/")
	if name == "" {
		u, _ := url.Parse(server) // checked
		name = u.Host
	}
	if f.ca != "" {
		if saved.CA, err = filepath.Abs(f.ca); err != nil {
			return err
		}
	}
	if f.accessKey == "" {
		saved.User, saved.Domain = cmp.Or(f.user, saved.User), cmp.Or(f.domain, saved.Domain, "tidewaiter")
	} else if f.user != "" || f.domain != "" {
		return &usageError{fmt.Errorf("%s takes --access-key, or --user and --domain", cmd.CommandPath())}
	} else {
		saved.User, saved.Domain = "", ""
	}
	if f.project != "" {
		saved.ProjectID, saved.ProjectName = "", ""
	}
	a := asker{program: p, fromStdin: f.fromStdin}
	if f.accessKey == "" && saved.User == "" {
		if saved.User, err = a.user(); err != nil {
			return err
		}
	}
	what := "password of " + saved.User
	if f.accessKey != "" {
		what = "secret key of " + f.accessKey
	}
	secret, err := a.secret(what)
	if err != nil {
		return err
	}
	saved.forget()
	if f.accessKey != "" {
		saved.AccessKey, saved.SecretKey = f.accessKey, secret
		err = p.enterWithKey(cmd.Context(), saved, f.project)
	} else {
		err = p.enterWithPassword(cmd.Context(), saved, secret, f.project)
	}
	if err != nil {
		return err
	}
	all.Contexts[name], all.Current = saved, name
	if err := p.writeContexts(all); err != nil {
		return err
	}
	until := "until the access key is removed"
	if !saved.Expires.IsZero() {
		until = "until " + saved.Expires.Local().Format("2006-01-02 15:04")
	}
	fmt.Fprintln(cmd.OutOrStdout(), printable(fmt.Sprintf("signed in to %s, project %s, %s (context %s)", saved.Server, saved.ProjectName, until, name)))
	return nil
}

// enterWithKey finds out whether an access key is good, and for which project.
func (p *program) enterWithKey(ctx context.Context, saved *savedContext, project string) error {
	c, err := p.clientOf("", saved)
	if err != nil {
		return err
	}
	found, err := c.findProject(ctx, cmp.Or(project, saved.ProjectID))
	if err != nil {
		return err
	}
	saved.ProjectID, saved.ProjectName = found.ID, found.Name
	return nil
}

// enterWithPassword obtains tokens: one for the account, and one for the project.
func (p *program) enterWithPassword(ctx context.Context, saved *savedContext, password, project string) error {
	transport, err := newTransport(saved.CA)
	if err != nil {
		return err
	}
	c := &adminClient{Client: &client.Client{Base: saved.Server, HTTP: httpClient(transport)}}
	login := newPasswordLogin(saved.User, saved.Domain, password)
	if saved.DomainToken, _, err = c.obtainToken(ctx, login, scope{Domain: &named{Name: saved.Domain}}); err != nil {
		return err
	}
	c.HTTP.Transport = tokenTransport{domain: saved.DomainToken, project: saved.DomainToken, next: transport}
	found, err := c.findProject(ctx, cmp.Or(project, saved.ProjectID))
	if err != nil {
		return err
	}
	saved.ProjectID, saved.ProjectName = found.ID, found.Name
	c.HTTP.Transport = transport
	saved.Token, saved.Expires, err = c.obtainToken(ctx, login, scope{Project: &named{ID: found.ID}})
	return err
}

func (p *program) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout [CONTEXT]", Short: "Sign out: revoke the tokens of a context, and forget its secrets",
		Example:           "  tidewaiter logout",
		ValidArgsFunction: p.completeContexts,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{fmt.Errorf("%s takes one argument, the context, but got %d", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := p.readContexts()
			if err != nil {
				return err
			}
			name, saved, err := all.named(strings.Join(args, ""))
			if err != nil {
				return err
			}
			if saved == nil {
				return errors.New("nobody is signed in: there is no current context")
			}
			revokeErr := p.revoke(cmd.Context(), name, saved)
			saved.forget()
			if err := p.writeContexts(all); err != nil {
				return err
			}
			if revokeErr != nil {
				return fmt.Errorf("the secrets of %q are forgotten here, but its token could not be revoked: %w", name, revokeErr)
			}
			return nil
		},
	}
}

// revoke ends the tokens of a context. An access key stays: others may use it.
func (p *program) revoke(ctx context.Context, name string, saved *savedContext) error {
	if saved.AccessKey != "" || saved.signedIn(name, time.Now()) != nil {
		return nil
	}
	c, err := p.clientOf(name, saved)
	if err != nil {
		return err
	}
	for _, token := range []string{saved.Token, saved.DomainToken} {
		c.Header = http.Header{"X-Subject-Token": {token}}
		if err := c.Do(ctx, http.MethodDelete, "/v3/auth/tokens", nil, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// asker asks a person for what is missing, or reads it from standard input.
type asker struct {
	program   *program
	fromStdin bool // secrets
}

// terminal returns the descriptor of the terminal that there is to ask on.
func (a asker) terminal() (fd int, ok bool) {
	file, ok := a.program.stdin.(*os.File)
	if !ok {
		return 0, false
	}
	fd = int(file.Fd()) //nolint:gosec // descriptors are small
	return fd, term.IsTerminal(fd)
}

// secret asks for a secret, which is not shown while it is typed.
func (a asker) secret(what string) (string, error) {
	if a.fromStdin {
		return readSecret(a.program.stdin)
	}
	fd, ok := a.terminal()
	if !ok {
		return "", &usageError{fmt.Errorf("there is no terminal to ask for the %s; send it to standard input, with --password-stdin", printable(what))}
	}
	fmt.Fprintf(a.program.stderr, "%s: ", printable(what))
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(a.program.stderr)
	if err == nil && len(b) == 0 {
		err = fmt.Errorf("the %s is empty", printable(what))
	}
	return string(b), err
}

// user asks who is to sign in.
func (a asker) user() (string, error) {
	if _, ok := a.terminal(); !ok {
		return "", &usageError{errors.New("there is no terminal to ask for the user; give --user")}
	}
	fmt.Fprint(a.program.stderr, "user: ")
	line, err := bufio.NewReader(a.program.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", errors.New("the user is empty")
	}
	return line, nil
}
