package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// contextsFile is what the command line knows of servers: the form of the file
// of TIDEWAITER_CONTEXTS. It holds secrets.
type contextsFile struct {
	Current  string                   `json:"current"`
	Contexts map[string]*savedContext `json:"contexts"`
}

// savedContext is a server, and who signs in there: with tokens, or with an
// access key. What it holds is sent to its own server and to no other.
type savedContext struct {
	Server      string    `json:"server"`
	CA          string    `json:"ca,omitempty"` // path of a file
	Domain      string    `json:"domain,omitempty"`
	User        string    `json:"user,omitempty"`
	ProjectID   string    `json:"project_id,omitempty"`
	ProjectName string    `json:"project_name,omitempty"`
	AccessKey   string    `json:"access_key,omitempty"`
	SecretKey   string    `json:"secret_key,omitempty"`
	DomainToken string    `json:"domain_token,omitempty"`
	Token       string    `json:"token,omitempty"` // for the project
	Expires     time.Time `json:"expires,omitzero"`
}

// signedIn tells whether a context can be used, or says what to do.
func (c *savedContext) signedIn(name string, now time.Time) error {
	switch {
	case c.AccessKey != "":
		return nil
	case c.Token == "":
		return fmt.Errorf("nobody is signed in to the context %q; run tidewaiter login --context %s", name, name)
	case !now.Before(c.Expires):
		return fmt.Errorf("the sign-in to the context %q was good until %s; run tidewaiter login --context %s", name, c.Expires.Format(time.RFC3339), name)
	}
	return nil
}

// forget removes what proves who somebody is.
func (c *savedContext) forget() {
	c.AccessKey, c.SecretKey, c.DomainToken, c.Token, c.Expires = "", "", "", "", time.Time{}
}

// contextsPath returns where the contexts are kept.
func (p *program) contextsPath() (string, error) {
	if path := p.getenv("TIDEWAITER_CONTEXTS"); path != "" {
		return path, nil
	}
	folder := p.getenv("XDG_CONFIG_HOME")
	if folder == "" {
		home := p.getenv("HOME")
		if home == "" {
			return "", errors.New("there is no place for contexts: neither HOME nor XDG_CONFIG_HOME is set; name a file with TIDEWAITER_CONTEXTS")
		}
		folder = filepath.Join(home, ".config")
	}
	return filepath.Join(folder, "tidewaiter", "contexts.json"), nil
}

// readContexts reads the contexts; without a file there are none.
func (p *program) readContexts() (*contextsFile, error) {
	none := &contextsFile{Contexts: map[string]*savedContext{}}
	path, err := p.contextsPath()
	if err != nil {
		return none, nil //nolint:nilerr // who has no home has no contexts
	}
	b, err := os.ReadFile(path) //nolint:gosec // the user names the file
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return nil, wrongConfig("contexts", "the file cannot be read: %s", oneLine(err))
	}
	f, err := parseContexts(b)
	if err != nil {
		return nil, wrongConfig("contexts", "%q %s; correct it, or remove it and sign in again", path, oneLine(err))
	}
	return f, nil
}

// parseContexts reads the file. Its errors show nothing of what is in it.
func parseContexts(b []byte) (*contextsFile, error) {
	f := &contextsFile{}
	if err := json.Unmarshal(b, f); err != nil {
		return nil, errors.New("is not the JSON that tidewaiter login writes")
	}
	if f.Contexts == nil {
		f.Contexts = map[string]*savedContext{}
	}
	for name, c := range f.Contexts {
		if c == nil || name == "" {
			return nil, errors.New("has a context that is empty, or has no name")
		}
		if err := checkServer(c.Server); err != nil {
			return nil, fmt.Errorf("has a context whose server cannot be used: %w", err)
		}
	}
	if f.Current != "" && f.Contexts[f.Current] == nil {
		return nil, errors.New("has a current context that is not there")
	}
	return f, nil
}

func (p *program) writeContexts(f *contextsFile) error {
	path, err := p.contextsPath()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writeSecretFile(path, f)
}

// named returns a context, or for "" the current one, nil if there is none.
func (f *contextsFile) named(name string) (string, *savedContext, error) {
	if name == "" {
		name = f.Current
	}
	if name == "" {
		return "", nil, nil
	}
	c := f.Contexts[name]
	if c == nil {
		return "", nil, wrongConfig("context", "there is no context %q; tidewaiter context list shows those that there are", name)
	}
	return name, c, nil
}

// shownContext is a context without its secrets.
type shownContext struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	Server  string `json:"server"`
	User    string `json:"user"`
	Project string `json:"project"`
	SignIn  string `json:"sign_in"`
}

func showContexts(cmd *cobra.Command, f *contextsFile) error {
	list := make([]shownContext, 0, len(f.Contexts))
	for _, name := range slices.Sorted(maps.Keys(f.Contexts)) {
		c := f.Contexts[name]
		s := shownContext{Name: name, Current: name == f.Current, Server: c.Server, User: c.User, Project: cmp.Or(c.ProjectName, c.ProjectID)}
		switch {
		case c.AccessKey != "":
			s.SignIn = "access key " + c.AccessKey
		case c.Token == "":
			s.SignIn = "none"
		case !time.Now().Before(c.Expires):
			s.SignIn = "over"
		default:
			s.SignIn = "until " + c.Expires.Format(time.RFC3339)
		}
		list = append(list, s)
	}
	return show(cmd, list, "CURRENT NAME SERVER USER PROJECT SIGN-IN", func(s shownContext) []any {
		mark := ""
		if s.Current {
			mark = "*"
		}
		return []any{mark, s.Name, s.Server, orDash(s.User), orDash(s.Project), s.SignIn}
	})
}

func (p *program) contextCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "context", Short: "Manage the servers that this machine has signed in to",
		Long: "Manage the servers that this machine has signed in to. A context is a server and who\n" +
			"signs in there; commands work on the current one, unless they name another (--context),\n" +
			"a server (--server) or a data folder (--data).",
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringP("output", "o", "table", outputUsage)
	one := func(use, short string, f func(cmd *cobra.Command, all *contextsFile, name string) error) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: oneArgument,
			ValidArgsFunction: p.completeContexts,
			RunE: func(cmd *cobra.Command, args []string) error {
				all, err := p.readContexts()
				if err != nil {
					return err
				}
				if _, _, err := all.named(args[0]); err != nil {
					return err
				}
				return f(cmd, all, args[0])
			},
		}
	}
	list := &cobra.Command{
		Use: "list", Short: "List the contexts", Example: "  tidewaiter context list", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd); err != nil {
				return err
			}
			all, err := p.readContexts()
			if err != nil {
				return err
			}
			return showContexts(cmd, all)
		},
	}
	cmd.AddCommand(list,
		one("use NAME", "Make a context the current one", func(_ *cobra.Command, all *contextsFile, name string) error {
			all.Current = name
			return p.writeContexts(all)
		}),
		one("rm NAME", "Forget a context, and its secrets", func(_ *cobra.Command, all *contextsFile, name string) error {
			delete(all.Contexts, name)
			if all.Current == name {
				all.Current = ""
			}
			return p.writeContexts(all)
		}),
	)
	return cmd
}

// completeContexts is what a shell offers for the name of a context.
func (p *program) completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, err := p.readContexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return slices.Sorted(maps.Keys(all.Contexts)), cobra.ShellCompDirectiveNoFileComp
}
