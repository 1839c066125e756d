package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/component"
)

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "tidewaiter "+tidewaiter.Version)
			return err
		},
	}
}

func (p *program) componentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "component", Short: "The scan component's image that this program carries", Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.componentShow(), p.componentPush())
	return cmd
}

func (p *program) componentShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Print the version, the platforms and the digests", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := component.Embedded()
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "%s %s\nindex %s\n", component.ImageName, b.Version(), b.IndexDigest())
			for _, p := range b.Platforms() {
				fmt.Fprintf(w, "%s manifest %s config %s\n", p, p.Manifest, p.Config)
			}
			return nil
		},
	}
}

func (p *program) componentPush() *cobra.Command {
	var registry, namespace, username, ca, keys, data string
	var fromStdin bool
	var tokenHosts []string
	cmd := &cobra.Command{
		Use:   "push",
		Short: "Push the scan component into a registry, all platforms as one index, without docker",
		Example: `  tidewaiter component push --registry registry.example.com:5000 --namespace library \
    --username me --password-stdin < password.txt`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, required := range []struct{ flag, value string }{{"registry", registry}, {"namespace", namespace}} {
				if required.value == "" {
					return &usageError{fmt.Errorf("%s needs --%s", cmd.CommandPath(), required.flag)}
				}
			}
			if fromStdin != (username != "") {
				return &usageError{fmt.Errorf("%s takes --username and --password-stdin together, or neither", cmd.CommandPath())}
			}
			addr, err := tidewaiter.ParseRegistryAddress(registry)
			if err != nil {
				return err
			}
			path, err := tidewaiter.ParseNamespace(namespace)
			if err != nil {
				return err
			}
			o := component.PushOptions{
				Address: addr, Namespace: path, Username: username, TokenHosts: tokenHosts,
			}
			if fromStdin {
				if o.Password, err = readSecret(p.stdin); err != nil {
					return err
				}
			}
			if o.Transport, err = newTransport(ca); err != nil {
				return err
			}
			return p.pushComponent(cmd.Context(), cmd, o, keysFolder(keys, data))
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&registry, "registry", "", "`address` of the registry: host or host:port; http:// before it speaks plain http")
	fs.StringVar(&namespace, "namespace", "", "`path` in the registry that receives the image")
	fs.StringVar(&username, "username", "", "`user` who may push")
	fs.BoolVar(&fromStdin, "password-stdin", false, "read the user's password from standard input")
	fs.StringVar(&ca, "ca", "", "PEM `file` with the authorities that the registry's certificate may come from (default: the system's)")
	fs.StringSliceVar(&tokenHosts, "token-host", nil, "another `host` that may see the credentials, where the registry's tokens come from elsewhere")
	fs.StringVar(&keys, "keys", "", "`folder` with the server's keys, to push its signatures as well (default: keys in --data, if it is there)")
	fs.StringVar(&data, "data", "./tidewaiter-data", "the server's data `folder`")
	return cmd
}

func keysFolder(keys, data string) string {
	if keys != "" {
		return keys
	}
	return filepath.Join(data, "keys")
}

func (p *program) pushComponent(ctx context.Context, cmd *cobra.Command, o component.PushOptions, keys string) error {
	b, err := component.Embedded()
	if err != nil {
		return err
	}
	var key *component.SigningKey
	path := filepath.Join(keys, "component.key")
	if _, err := os.Stat(path); err == nil {
		if key, err = component.LoadOrCreateSigningKey(path); err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	result, err := component.Push(ctx, b, key, o)
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	fmt.Fprintln(w, result.Reference)
	for _, tag := range result.Tags {
		fmt.Fprintln(w, "  tag", tag)
	}
	return nil
}
