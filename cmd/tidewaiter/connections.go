package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

// registryCommand manages the connections of a server to registries; check looks
// at one from this machine.
func (p *program) registryCommand() *cobra.Command {
	cmd := addProject(group("registry", "Connect registries, and synchronise their images",
		p.registryAdd(), p.registryList(), p.registryShow(), p.registryTest(), p.registrySync(), p.registryRemove()))
	cmd.AddCommand(p.registryCheck())
	return cmd
}

// connections returns the registries of the project whose name or id it is, or
// for "" all.
func connections(ctx context.Context, c *adminClient) ([]hssapi.RegistryInfo, error) {
	all, _, err := listed[hssapi.RegistryInfo](ctx, c, "/image/registries", url.Values{}, 0)
	return all, err
}

// connection returns the registry of a name or an id.
func connection(ctx context.Context, c *adminClient, nameOrID string) (hssapi.RegistryInfo, error) {
	all, err := connections(ctx, c)
	if err != nil {
		return hssapi.RegistryInfo{}, err
	}
	i := slices.IndexFunc(all, func(r hssapi.RegistryInfo) bool { return r.RegistryName == nameOrID || r.ID == nameOrID })
	if i < 0 {
		return hssapi.RegistryInfo{}, fmt.Errorf("there is no registry with the name or id %q; tidewaiter registry list shows those that there are", nameOrID)
	}
	return all[i], nil
}

// own asks an operation of the server's own API on a registry.
func (c *adminClient) own(ctx context.Context, method, id, what string, in, out any) error {
	return c.inProject(ctx, method, "/registries/"+url.PathEscape(id)+what, url.Values{}, in, out)
}

func (p *program) registryList() *cobra.Command {
	cmd := p.plain("list", "List the registries", func(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
		all, err := connections(ctx, c)
		if err != nil {
			return err
		}
		return show(cmd, all, "NAME TYPE ADDRESS STATUS IMAGES SYNCHRONISED ID", func(r hssapi.RegistryInfo) []any {
			return []any{r.RegistryName, r.RegistryType, r.Protocol + "://" + r.RegistryAddr, r.Status, imagesOf(int(r.ImagesNum), r.LatestSyncTime != 0), timeOf(r.LatestSyncTime), r.ID}
		})
	})
	cmd.Example = "  tidewaiter registry list -o yaml"
	return cmd
}

func (p *program) registryShow() *cobra.Command {
	cmd := p.onConnection("show REGISTRY", "Show all that is known about a registry", func(ctx context.Context, c *adminClient, cmd *cobra.Command, r hssapi.RegistryInfo) error {
		var d adminapi.RegistryDetails
		if err := c.own(ctx, http.MethodGet, r.ID, "", nil, &d); err != nil {
			return err
		}
		return showConnection(cmd, d)
	})
	cmd.Example = "  tidewaiter registry show harbor"
	return cmd
}

func showConnection(cmd *cobra.Command, d adminapi.RegistryDetails) error {
	if done, err := writeAs(cmd, d); done {
		return err
	}
	err := showOne(cmd, d, "registry", d.Name, "id", d.ID, "type", d.Type, "address", d.Protocol+"://"+d.Address, "user", d.Username, "cluster", d.ClusterName,
		"status", d.Status, "detail", orDash(d.FailDetail), "images", imagesOf(d.Images, d.Synchronized != ""), "synchronised", orDash(d.Synchronized), "next", orDash(d.NextSynchronization))
	for _, w := range d.Warnings {
		fmt.Fprintln(cmd.OutOrStdout(), "warning: "+printable(w))
	}
	if d.Check == nil || err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return showSteps(cmd, *d.Check)
}

// imagesOf is how many images a registry has, as far as it was ever listed.
func imagesOf(n int, listed bool) string {
	if !listed {
		return "-"
	}
	return fmt.Sprint(n)
}

func showSteps(cmd *cobra.Command, check adminapi.AccessCheck) error {
	return show(cmd, check.Steps, "STEP STATUS TIME RESULT", func(s adminapi.AccessStep) []any {
		return []any{s.Name, s.Status, fmt.Sprintf("%.3fs", s.Milliseconds/1000), s.Message}
	})
}

// onConnection builds a command on one registry, by its name or id.
func (p *program) onConnection(use, short string, f func(context.Context, *adminClient, *cobra.Command, hssapi.RegistryInfo) error) *cobra.Command {
	cmd := p.named(use, short, func(ctx context.Context, c *adminClient, cmd *cobra.Command, ref string) error {
		r, err := connection(ctx, c, ref)
		if err != nil {
			return err
		}
		return f(ctx, c, cmd, r)
	})
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, _ string) (names []string, _ cobra.ShellCompDirective) {
		err := p.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			all, err := connections(ctx, c)
			for _, r := range all {
				names = append(names, r.RegistryName)
			}
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

func (p *program) registryTest() *cobra.Command {
	cmd := p.onConnection("test REGISTRY", "Have a scan component try a registry, and say what to mend", func(ctx context.Context, c *adminClient, cmd *cobra.Command, r hssapi.RegistryInfo) error {
		c.HTTP.Timeout = 5 * time.Minute // for a component to take it, and for slow registries
		var check adminapi.AccessCheck
		if err := c.own(ctx, http.MethodPost, r.ID, "/test", nil, &check); err != nil {
			return err
		}
		done, err := writeAs(cmd, check)
		if !done {
			err = showSteps(cmd, check)
		}
		if err == nil && !check.OK {
			return errUnusable
		}
		return err
	})
	cmd.Long = "Have a scan component try a registry, and say what to mend. To try one from this\n" +
		"machine, without a server, use tidewaiter registry check."
	cmd.Example = "  tidewaiter registry test harbor"
	return cmd
}

func (p *program) registrySync() *cobra.Command {
	var wait bool
	cmd := p.onConnection("sync REGISTRY", "Synchronise the list of a registry's images", func(ctx context.Context, c *adminClient, cmd *cobra.Command, r hssapi.RegistryInfo) error {
		var task adminapi.SynchronizationTask
		if err := c.own(ctx, http.MethodPost, r.ID, "/synchronize", nil, &task); err != nil {
			return err
		}
		if !wait {
			return showOne(cmd, task, "task", task.TaskID)
		}
		return p.watchTask(ctx, c, cmd, "image_sync", task.TaskID)
	})
	cmd.Example = "  tidewaiter registry sync harbor --wait"
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is done, as task watch does")
	return cmd
}

func (p *program) registryRemove() *cobra.Command {
	cmd := p.onConnection("rm REGISTRY", "Remove a registry with all that is known of its images; the registry itself is not touched",
		func(ctx context.Context, c *adminClient, _ *cobra.Command, r hssapi.RegistryInfo) error {
			return c.hss(ctx, http.MethodDelete, "/image/registries/"+url.PathEscape(r.ID), nil, nil, nil)
		})
	cmd.Example = "  tidewaiter registry rm harbor"
	return cmd
}

// connectFlags are those of registry add.
type connectFlags struct {
	hssapi.AddRegistryRequestBody

	cluster, enterpriseProject, ca       string
	fromStdin, skipVerify, noWait        bool
	tokenHosts, include, exclude, listed []string
}

func (p *program) registryAdd() *cobra.Command {
	f := connectFlags{}
	cmd := &cobra.Command{
		Use: "add NAME ADDRESS", Short: "Connect a registry, and wait until a scan component has tried it",
		Long: "Connect a registry, and wait until a scan component has tried it. The user's password is\n" +
			"asked for, or read from standard input. It is sealed on arrival for the cluster's scan\n" +
			"components; the server cannot read it again.",
		Example: "  tidewaiter registry add harbor harbor.example.com --type Harbor --username 'robot$scan' --namespace tools --password-stdin < password.txt\n" +
			"  tidewaiter registry add plain localhost:5000 --protocol http --username me --namespace tools",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return &usageError{fmt.Errorf("%s takes a name and an address, but got %d arguments", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.RegistryName, f.RegistryAddr = args[0], args[1]
			return p.withClient(cmd, func(ctx context.Context, c *adminClient) error { return p.addRegistry(ctx, c, cmd, f) })
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.RegistryType, "type", "Other", "`product`: Harbor, Jfrog, SwrPrivate, SwrShared, SwrEnterprise, or Other for any OCI registry")
	fs.StringVar(&f.APIVersion, "api-version", "V2", "`version` of the product's own API: V1 or V2")
	fs.StringVar(&f.Protocol, "protocol", "https", "`protocol`: https, or http without encryption")
	fs.StringVar(&f.RegistryUsername, "username", "", "`user` who may list and pull")
	fs.BoolVar(&f.fromStdin, "password-stdin", false, "read the user's password from standard input")
	fs.StringVar(&f.Namespace, "namespace", "", "`project` of the registry that holds the scan component; with it, the cluster has the component from there")
	fs.StringVar(&f.cluster, "cluster", tidewaiter.LocalClusterID, "`cluster` whose scan components reach the registry, by id or name")
	fs.StringVar(&f.enterpriseProject, "enterprise-project", tidewaiter.DefaultEnterpriseProject, "`id` of the enterprise project that the images belong to")
	fs.StringVar(&f.ca, "registry-ca", "", "PEM `file` with authorities that the registry's certificate may come from")
	fs.BoolVar(&f.skipVerify, "tls-skip-verify", false, "accept any certificate (anyone on the way can then read the password)")
	fs.StringSliceVar(&f.tokenHosts, "token-host", nil, "another `host` that may see the credentials, where the registry's tokens come from elsewhere")
	fs.StringSliceVar(&f.include, "include", nil, "`pattern` of repositories to list, such as team/**; may be repeated")
	fs.StringSliceVar(&f.exclude, "exclude", nil, "`pattern` of repositories not to list; may be repeated")
	fs.StringSliceVar(&f.listed, "repository", nil, "`repository` to list, for a registry that cannot list them; may be repeated")
	fs.BoolVar(&f.noWait, "no-wait", false, "do not wait for the scan component")
	return cmd
}

func (p *program) addRegistry(ctx context.Context, c *adminClient, cmd *cobra.Command, f connectFlags) error {
	if f.RegistryUsername == "" {
		return &usageError{fmt.Errorf("%s needs --username", cmd.CommandPath())}
	}
	settings, change, err := f.settings()
	if err != nil {
		return err
	}
	f.ConnectClusterID = f.cluster
	if f.cluster != tidewaiter.LocalClusterID {
		if f.ConnectClusterID, err = clusterID(ctx, c, f.cluster); err != nil {
			return err
		}
	}
	f.GetScanImageChannel = "Swr"
	if f.Namespace != "" {
		f.GetScanImageChannel = "Other"
	}
	a := asker{program: p, fromStdin: f.fromStdin}
	if f.RegistryPassword, err = a.secret("password of " + f.RegistryUsername); err != nil {
		return err
	}
	query := url.Values{"enterprise_project_id": {f.enterpriseProject}}
	if err := c.hss(ctx, http.MethodPost, "/image/registries", query, f.AddRegistryRequestBody, nil); err != nil {
		return err
	}
	r, err := connection(ctx, c, f.RegistryName)
	if err != nil {
		return err
	}
	var d adminapi.RegistryDetails
	if change {
		if err := c.own(ctx, http.MethodPatch, r.ID, "", settings, &d); err != nil {
			return fmt.Errorf("the registry is connected, but its settings could not be set: %w", err)
		}
	}
	for {
		if err := c.own(ctx, http.MethodGet, r.ID, "", nil, &d); err != nil {
			return err
		}
		if d.Status != "accessing" || f.noWait {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchEvery / 2):
		}
	}
	if err := showConnection(cmd, d); err != nil {
		return err
	}
	if d.Status == "fail" {
		return errors.New("the registry is connected, but cannot be used as it is; see the detail, then mend it and run tidewaiter registry test")
	}
	if d.Status == "success" && d.Synchronized == "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "its images are being listed: see tidewaiter image list")
	}
	return nil
}

// settings returns what is set beyond the contract, and whether anything is.
func (f connectFlags) settings() (s adminapi.RegistryChange, some bool, err error) {
	if f.ca != "" {
		b, err := os.ReadFile(f.ca)
		if err != nil {
			return s, false, wrongConfig("registry-ca", "the file %q cannot be read", f.ca)
		}
		text := string(b)
		s.CA, some = &text, true
	}
	if f.skipVerify {
		s.TLSSkipVerify, some = &f.skipVerify, true
	}
	for _, list := range []struct {
		to   **[]string
		from []string
	}{{&s.TokenHosts, f.tokenHosts}, {&s.Include, f.include}, {&s.Exclude, f.exclude}, {&s.Repositories, f.listed}} {
		if len(list.from) > 0 {
			*list.to, some = &list.from, true
		}
	}
	return s, some, nil
}

// clusterID returns the id of a cluster, by its id or name.
func clusterID(ctx context.Context, c *adminClient, nameOrID string) (string, error) {
	var found adminapi.List[adminapi.Cluster]
	if err := c.inProject(ctx, http.MethodGet, "/clusters", url.Values{}, nil, &found); err != nil {
		return "", err
	}
	for _, k := range found.Items {
		if k.ID == nameOrID || k.Name == nameOrID {
			return k.ID, nil
		}
	}
	return "", wrongConfig("cluster", "there is none with the name or id %q; tidewaiter cluster list shows those that there are", nameOrID)
}
