package console

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

// clustersContent are the clusters, and the command for a scan component that was
// asked for just now: its token is shown this once.
type clustersContent struct {
	Clusters []adminapi.Cluster
	Name     string // of a new cluster that could not be made
	Cluster  string // for which the command is
	Start    *adminapi.ClusterToken
}

func (c *console) clusters(ctx context.Context, r *request) (any, error) {
	return c.clustersOf(ctx, r)
}

func (c *console) clustersOf(ctx context.Context, r *request) (*clustersContent, error) {
	var found adminapi.List[adminapi.Cluster]
	err := c.own(ctx, r, http.MethodGet, "/clusters", &found)
	return &clustersContent{Clusters: found.Items}, err
}

// addCluster makes a cluster, and shows the line that starts its first component;
// the page then sees it come.
func (c *console) addCluster(ctx context.Context, r *request) (string, error) {
	name := r.PostFormValue("name")
	var made adminapi.CreatedCluster
	err := c.change(ctx, r, http.MethodPost, "/clusters", adminapi.NewCluster{Name: name}, &made)
	return c.clustersAgain(ctx, r, err, func(v *clustersContent) {
		if v.Name = name; err == nil {
			v.Name, v.Cluster, v.Start = "", name, &made.ClusterToken
		}
	})
}

// startComponent shows the line that starts one more component of a cluster.
func (c *console) startComponent(ctx context.Context, r *request) (string, error) {
	var token adminapi.ClusterToken
	err := c.change(ctx, r, http.MethodPost, "/clusters/"+url.PathEscape(r.PathValue("id"))+"/tokens", adminapi.Start{}, &token)
	return c.clustersAgain(ctx, r, err, func(v *clustersContent) {
		if err == nil {
			v.Cluster, v.Start = r.PostFormValue("name"), &token
		}
	})
}

func (c *console) deleteCluster(ctx context.Context, r *request) (string, error) {
	err := c.change(ctx, r, http.MethodDelete, "/clusters/"+url.PathEscape(r.PathValue("id")), nil, nil)
	if err != nil {
		return c.clustersAgain(ctx, r, err, func(*clustersContent) {})
	}
	return projectPath(r.project) + "clusters", nil
}

func (c *console) clustersAgain(ctx context.Context, r *request, err error, change func(*clustersContent)) (string, error) {
	v, loadErr := c.clustersOf(ctx, r)
	if loadErr != nil {
		return "", loadErr
	}
	change(v)
	return "", &formError{err, v}
}
