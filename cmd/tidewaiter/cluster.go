package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

func (p *program) clusterCommand() *cobra.Command {
	rotate := p.named("rotate-key NAME", "Change the key of a cluster; its registries need their passwords again",
		func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
			return showClusterOf(ctx, c, cmd, http.MethodPost, "/"+pathEscape(name)+"/rotate-key")
		})
	cmd := group("cluster", "Manage the clusters of scan components, which reach the registries",
		p.clusterCreate(),
		p.plain("list", "List the clusters", listClusters),
		p.named("show NAME", "Show a cluster with its scan components",
			func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
				return showClusterOf(ctx, c, cmd, http.MethodGet, "/"+pathEscape(name))
			}),
		p.clusterToken(),
		rotate,
		p.named("delete NAME", "Delete a cluster that no registry uses, with its scan components",
			func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
				return c.cluster(ctx, http.MethodDelete, "/"+pathEscape(name), nil, nil)
			}),
		p.clusterRemoveComponent(),
	)
	cmd.PersistentFlags().String("project", "", "`project` of the cluster, by name or id (default: the only one that there is)")
	return cmd
}

// cluster asks an operation on the clusters of the project, or on one of them.
func (c *adminClient) cluster(ctx context.Context, method, path string, in, out any) error {
	query := url.Values{}
	if c.project != "" {
		query.Set("project_id", c.project)
	}
	return c.Do(ctx, method, "/tidewaiter/v1/clusters"+path, query, in, out)
}

func listClusters(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
	var clusters adminapi.List[adminapi.Cluster]
	if err := c.cluster(ctx, http.MethodGet, "", nil, &clusters); err != nil {
		return err
	}
	return show(cmd, clusters.Items, "NAME ID KIND STATUS COMPONENTS ONLINE CREATED", func(c adminapi.Cluster) []any {
		return []any{c.Name, c.ID, c.Kind, c.Status, len(c.Components), c.Online, c.Created}
	})
}

// showClusterOf sends a request that is answered by a cluster, and shows it.
func showClusterOf(ctx context.Context, c *adminClient, cmd *cobra.Command, method, path string) error {
	var cluster adminapi.Cluster
	if err := c.cluster(ctx, method, path, nil, &cluster); err != nil {
		return err
	}
	fields := []string{"name", cluster.Name, "id", cluster.ID, "kind", cluster.Kind, "status", cluster.Status}
	if cluster.Advice != "" {
		fields = append(fields, "advice", cluster.Advice)
	}
	if cluster.Key != "" {
		fields = append(fields, "key", cluster.Key)
	}
	if done, err := writeAs(cmd, cluster); done {
		return err
	}
	if err := showOne(cmd, cluster, fields...); err != nil || len(cluster.Components) == 0 {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return show(cmd, cluster.Components, "COMPONENT ID STATUS VERSION PLATFORM SEEN", func(c adminapi.ClusterComponent) []any {
		return []any{c.Name, c.ID, c.Status, c.Version, c.Platform, c.Seen}
	})
}

// startFlags are the flags that say how a scan component is going to be
// started.
type startFlags struct {
	image, container string
	valid            time.Duration
}

func (o *startFlags) define(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&o.image, "image", "", "`image` of the scan component, such as the one that was uploaded into a registry (default: this server's)")
	fs.StringVar(&o.container, "container", "", "`name` of the container and of its volume (default: tidewaiter-component)")
	fs.DurationVar(&o.valid, "valid", 24*time.Hour, "how long the token may be used")
}

func (o *startFlags) start() (adminapi.Start, error) {
	if o.valid < time.Minute || o.valid > 30*24*time.Hour {
		return adminapi.Start{}, &usageError{errors.New("--valid is out of range; use 1m to 720h")}
	}
	return adminapi.Start{Image: o.image, Container: o.container, ValidSeconds: int(o.valid.Seconds())}, nil
}

func (p *program) clusterCreate() *cobra.Command {
	var o startFlags
	cmd := p.named("create NAME", "Make a cluster, and print the command that starts its first scan component",
		func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
			start, err := o.start()
			if err != nil {
				return err
			}
			var created adminapi.CreatedCluster
			err = c.cluster(ctx, http.MethodPost, "", adminapi.NewCluster{Name: name, Start: start}, &created)
			if err != nil {
				return err
			}
			if done, err := writeAs(cmd, created); done {
				return err
			}
			showStart(cmd, name, created.ClusterToken)
			fmt.Fprintf(cmd.OutOrStdout(), "\nConnect registries with this connect_cluster_id:\n\n    %s\n", created.ID)
			return nil
		})
	cmd.Example = "  tidewaiter cluster create office --data /var/lib/tidewaiter\n" +
		"  tidewaiter cluster create office --image registry.example.com/tools/scan-component:1.0.0"
	o.define(cmd)
	return cmd
}

func (p *program) clusterToken() *cobra.Command {
	var o startFlags
	cmd := p.named("token NAME", "Print the command that starts one more scan component of a cluster",
		func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
			start, err := o.start()
			if err != nil {
				return err
			}
			var token adminapi.ClusterToken
			if err := c.cluster(ctx, http.MethodPost, "/"+pathEscape(name)+"/tokens", start, &token); err != nil {
				return err
			}
			if done, err := writeAs(cmd, token); done {
				return err
			}
			showStart(cmd, name, token)
			return nil
		})
	o.define(cmd)
	return cmd
}

// showStart prints the command that starts a scan component, and what to do
// besides.
func showStart(cmd *cobra.Command, name string, t adminapi.ClusterToken) {
	for _, note := range t.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note: "+printable(note))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Run this with docker, where the registries can be reached:\n\n    %s\n\n"+
		"The token in it starts one component, until %s.\nThen see whether it came: tidewaiter cluster show %s\n",
		printable(t.Command), t.Expires, printable(name))
}

func (p *program) clusterRemoveComponent() *cobra.Command {
	return &cobra.Command{
		Use:   "remove-component NAME ID",
		Short: "Remove a scan component from a cluster, so that it can do no more work",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 || args[0] == "" || args[1] == "" {
				return &usageError{fmt.Errorf("%s takes two arguments, the cluster and the id of the component, but got %d", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withClient(cmd, func(ctx context.Context, c *adminClient) error {
				return c.cluster(ctx, http.MethodDelete, "/"+pathEscape(args[0])+"/components/"+pathEscape(args[1]), nil, nil)
			})
		},
	}
}
