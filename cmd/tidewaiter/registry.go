package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/access"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/all"
)

// errUnusable is a check that found something; the output says what.
var errUnusable = errors.New("the registry cannot be used as it is; see the step that failed")

func (p *program) registryCheck() *cobra.Command {
	var o registryFlags
	cmd := &cobra.Command{
		Use:   "check ADDRESS",
		Short: "Try name, connection, certificate, password, list and one manifest, and say what to mend",
		Long: "Try name, connection, certificate, password, list and one manifest, from this machine and\n" +
			"without a server, and say what to mend. A user's password is asked for, or read from\n" +
			"standard input. The address is host or host:port, or http://host:port without encryption.",
		Example: "  tidewaiter registry check registry.example.com:5000 --username me --password-stdin < password.txt\n" +
			"  tidewaiter registry check harbor.example.com --type Harbor --ca ca.pem -o json\n" +
			"  tidewaiter registry check http://localhost:5000",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("%s takes one argument, the address, but got %d", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(cmd); err != nil {
				return err
			}
			var ofServer error // of the other commands on registries
			cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
				if f.Changed {
					ofServer = &usageError{fmt.Errorf("%s asks no server; leave --%s out, or use tidewaiter registry test", cmd.CommandPath(), f.Name)}
				}
			})
			if ofServer != nil {
				return ofServer
			}
			config, err := p.registryConfig(cmd, args[0], o)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Minute)
			defer cancel()
			report := access.Check(ctx, config, all.New, registry.Options{})
			if err := showReport(cmd, report); err != nil {
				return err
			}
			if !report.OK() {
				return errUnusable
			}
			return nil
		},
	}
	o.define(cmd)
	cmd.Flags().StringP("output", "o", "table", outputUsage)
	return cmd
}

// registryFlags are the flags that say how a registry is reached.
type registryFlags struct {
	kind, apiVersion, username, ca, proxy string
	fromStdin, skipVerify                 bool
	tokenHosts, repositories              []string
}

func (o *registryFlags) define(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&o.kind, "type", string(registry.Other), "`product`: Harbor, Jfrog, SwrPrivate, SwrShared, SwrEnterprise, or Other for any OCI registry")
	fs.StringVar(&o.apiVersion, "api-version", "V2", "`version` of the product's own API: V1 or V2")
	fs.StringVar(&o.username, "username", "", "`user` who may read (default: nobody, anonymous)")
	fs.BoolVar(&o.fromStdin, "password-stdin", false, "read the user's password from standard input")
	fs.StringVar(&o.ca, "ca", "", "PEM `file` with authorities to trust besides the system's")
	fs.BoolVar(&o.skipVerify, "tls-skip-verify", false, "accept any certificate (anyone on the way can then read the password)")
	fs.StringVar(&o.proxy, "proxy", "", "`URL` of a forward proxy")
	fs.StringSliceVar(&o.tokenHosts, "token-host", nil, "another `host` that may see the credentials, where the registry's tokens come from elsewhere")
	fs.StringSliceVar(&o.repositories, "repository", nil, "`repository` to look at, for a registry that cannot list them; may be repeated")
}

func (p *program) registryConfig(cmd *cobra.Command, address string, o registryFlags) (registry.Config, error) {
	addr, err := tidewaiter.ParseRegistryAddress(address)
	if err != nil {
		return registry.Config{}, err
	}
	if o.fromStdin && o.username == "" {
		return registry.Config{}, &usageError{fmt.Errorf("%s takes --password-stdin with --username", cmd.CommandPath())}
	}
	c := registry.Config{
		Type: registry.Type(o.kind), APIVersion: o.apiVersion, Address: addr, Username: o.username,
		SkipTLSVerify: o.skipVerify, Proxy: o.proxy, TokenHosts: o.tokenHosts, Repositories: o.repositories,
	}
	if o.ca != "" {
		if c.CA, err = os.ReadFile(o.ca); err != nil { //nolint:gosec // the user names the file
			return c, wrongConfig("ca", "the file %q cannot be read", o.ca)
		}
	}
	if o.username != "" {
		c.Password, err = asker{program: p, fromStdin: o.fromStdin}.secret("password of " + o.username)
	}
	return c, err
}

// stepOutput is a step as JSON.
type stepOutput struct {
	Step    string  `json:"step"`
	Status  string  `json:"status"`
	Seconds float64 `json:"seconds"`
	Message string  `json:"message"`
}

func showReport(cmd *cobra.Command, r access.Report) error {
	var steps []stepOutput
	for _, s := range r.Steps {
		steps = append(steps, stepOutput{string(s.Name), string(s.Status), s.Duration.Seconds(), s.Message})
	}
	done, err := writeAs(cmd, map[string]any{
		"ok": r.OK(), "fail_reason": r.FailReason, "steps": steps, "warnings": append([]string{}, r.Warnings...),
	})
	if done {
		return err
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+printable(w))
	}
	return show(cmd, steps, "STEP STATUS TIME RESULT", func(s stepOutput) []any {
		return []any{s.Step, s.Status, fmt.Sprintf("%.3fs", s.Seconds), s.Message}
	})
}
