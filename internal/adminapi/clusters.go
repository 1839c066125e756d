package adminapi

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/uploadcmd"
)

// clusterPermission is that of the contract's operations on clusters.
func clusterPermission(verb string) permission {
	return permission{action: "hss:containers:" + verb, whole: verb == "set"}
}

func (s *server) registerClusters() {
	const one = "/clusters/{id}"
	gateway.Register(s.api, inProject("ListClusters", http.MethodGet, "/clusters", clusterPermission("list"),
		"List the clusters of scan components"), s.listClusters)
	gateway.Register(s.api, inProject("CreateCluster", http.MethodPost, "/clusters", clusterPermission("set"),
		"Make a cluster, and the command that starts its first scan component"), s.createCluster)
	gateway.Register(s.api, inProject("ShowCluster", http.MethodGet, one, clusterPermission("get"),
		"Show a cluster with its scan components"), s.showCluster)
	gateway.Register(s.api, inProject("UpdateCluster", http.MethodPatch, one, clusterPermission("set"),
		"Change what a scan may cost in a cluster"), s.updateCluster)
	gateway.Register(s.api, inProject("DeleteCluster", http.MethodDelete, one, clusterPermission("set"),
		"Delete a cluster that no registry uses, with its scan components"), s.deleteCluster)
	gateway.Register(s.api, inProject("CreateClusterToken", http.MethodPost, one+"/tokens", clusterPermission("set"),
		"Make a one-time token, and the command that starts one more scan component"), s.createClusterToken)
	rotate := inProject("RotateClusterKey", http.MethodPost, one+"/rotate-key", clusterPermission("set"),
		"Change the key of a cluster; every registry that uses it needs its password again")
	rotate.Status = http.StatusOK
	gateway.Register(s.api, rotate, s.rotateClusterKey)
	gateway.Register(s.api, inProject("RemoveClusterComponent", http.MethodDelete, one+"/components/{component_id}", clusterPermission("set"),
		"Remove a scan component from a cluster"), s.removeClusterComponent)
}

// Cluster is a cluster on the wire.
type Cluster struct {
	ID         string             `json:"id" doc:"Usable as connect_cluster_id."`
	Name       string             `json:"name"`
	Kind       string             `json:"kind" enum:"local,attached" doc:"local: the component inside the server. attached: the user starts the components."`
	ProjectID  string             `json:"project_id" doc:"Empty: every project may use it."`
	Status     string             `json:"status" enum:"no_component,online,offline,waiting_for_key,wrong_version"`
	Advice     string             `json:"advice,omitempty" doc:"What to do, in one sentence; only where something is to be done."`
	Key        string             `json:"key,omitempty" doc:"The public half of the key that credentials are sealed to (age)."`
	KeyChanges int64              `json:"key_changes" doc:"How often the key was changed."`
	Online     int                `json:"online" doc:"Components that take work."`
	Components []ClusterComponent `json:"components" nullable:"false"`
	Limits     ScanLimits         `json:"limits" doc:"What a scan may cost, where that is not the default."`
	Created    string             `json:"created"`
}

// ClusterComponent is a scan component on the wire. Its name, version and
// platform are what it says of itself.
type ClusterComponent struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	Platform string `json:"platform"`
	Status   string `json:"status" enum:"online,offline,waiting_for_key,wrong_version" doc:"offline: not seen for 90 seconds."`
	HasKey   bool   `json:"has_key" doc:"It can open what is sealed to the cluster's key."`
	Enrolled string `json:"enrolled"`
	Seen     string `json:"seen" doc:"Its last request."`
}

// NewCluster is what a cluster is created from.
type NewCluster struct {
	Name string `json:"name" minLength:"1" maxLength:"64" doc:"Unique in the project."`
	Start
}

// Start says how a scan component is going to be started.
type Start struct {
	Image        string `json:"image,omitempty" maxLength:"512" doc:"Image of the scan component, such as the one that was uploaded into a registry of the user's own; by default this server's."`
	Container    string `json:"container,omitempty" maxLength:"64" doc:"Name of the container and of its volume; by default tidewaiter-component."`
	ValidSeconds int    `json:"valid_seconds,omitempty" minimum:"60" maximum:"2592000" doc:"How long the token may be used; by default a day."`
}

// ClusterToken is a one-time token, and the command that uses it.
type ClusterToken struct {
	Token   string   `json:"token" doc:"Good for one component. Shown once."`
	Expires string   `json:"expires"`
	Command string   `json:"command" doc:"Shell command that starts the scan component where docker is; the same in dash, bash and zsh."`
	Notes   []string `json:"notes" nullable:"false" doc:"What to know before running the command."`
}

// CreatedCluster is a new cluster, with the command that starts its first
// component.
type CreatedCluster struct {
	Cluster
	ClusterToken
}

func wireCluster(c fleet.State) Cluster {
	w := Cluster{
		ID: c.ID, Name: c.Name, Kind: string(c.Kind), ProjectID: c.ProjectID, Status: string(c.Status), Advice: c.Advice,
		Key: c.Recipient, KeyChanges: c.KeyEpoch, Components: []ClusterComponent{}, Limits: ScanLimits(c.Limits), Created: wireTime(c.Created),
	}
	for _, p := range c.Components {
		w.Components = append(w.Components, ClusterComponent{
			ID: p.ID, Name: p.Name, Version: p.Version, Platform: p.Platform, Status: string(p.Status), HasKey: p.HasKey(c.Cluster),
			Enrolled: wireTime(p.Enrolled), Seen: optionalTime(p.Seen),
		})
		if p.Status == fleet.StatusOnline {
			w.Online++
		}
	}
	return w
}

// clustersOf returns the id of the project whose clusters a request is about,
// "" for those of every project alone: a token for the domain has no project.
func (s *server) clustersOf(ctx context.Context, p permission, project string) (string, error) {
	if caller := gateway.CallerFrom(ctx); caller.Scope == tidewaiter.DomainScope && project == "" {
		return "", caller.AuthorizeDomain(p.action)
	}
	return s.project(ctx, p, project)
}

// cluster returns the cluster with a name or an id, as far as the caller may
// know of it.
func (s *server) cluster(ctx context.Context, p permission, project, nameOrID string) (fleet.State, error) {
	id, err := s.clustersOf(ctx, p, project)
	if err != nil {
		return fleet.State{}, err
	}
	all, err := s.fleet.Clusters(ctx, id)
	if err != nil {
		return fleet.State{}, err
	}
	var named *fleet.State
	for i, c := range all {
		if c.ID == nameOrID {
			return c, nil
		}
		// A project's own cluster comes before one of every project.
		if c.Name == nameOrID && (named == nil || named.ProjectID == "") {
			named = &all[i]
		}
	}
	if named == nil {
		return fleet.State{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such cluster in the project")
	}
	return *named, nil
}

// clusterToChange returns a cluster that the caller may change. One that every
// project may use takes a permission for the whole account.
func (s *server) clusterToChange(ctx context.Context, project, nameOrID string) (fleet.State, error) {
	p := clusterPermission("set")
	c, err := s.cluster(ctx, p, project, nameOrID)
	if err == nil && c.ProjectID == "" {
		err = gateway.CallerFrom(ctx).AuthorizeDomain(p.action)
	}
	return c, err
}

func (s *server) listClusters(ctx context.Context, in *OfProject) (*listOutput[Cluster], error) {
	id, err := s.clustersOf(ctx, clusterPermission("list"), in.ProjectID)
	if err != nil {
		return nil, err
	}
	all, err := s.fleet.Clusters(ctx, id)
	if err != nil {
		return nil, err
	}
	return list(all, wireCluster), nil
}

func (s *server) createCluster(ctx context.Context, in *struct {
	OfProject
	Body NewCluster
}) (*output[CreatedCluster], error) {
	if err := s.checkStart(in.Body.Start); err != nil {
		return nil, err
	}
	id, err := s.project(ctx, clusterPermission("set"), in.ProjectID)
	if err != nil {
		return nil, err
	}
	c, err := s.fleet.CreateCluster(ctx, id, in.Body.Name)
	if err != nil {
		return nil, err
	}
	token, err := s.token(ctx, c, in.Body.Start)
	if err != nil {
		return nil, err
	}
	state, err := s.fleet.Cluster(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	return one(CreatedCluster{Cluster: wireCluster(state), ClusterToken: token}), nil
}

// ClusterByID names the cluster in the path.
type ClusterByID struct {
	OfProject
	ID string `path:"id" maxLength:"64" doc:"Id or name."`
}

func (s *server) showCluster(ctx context.Context, in *ClusterByID) (*output[Cluster], error) {
	c, err := s.cluster(ctx, clusterPermission("get"), in.ProjectID, in.ID)
	if err != nil {
		return nil, err
	}
	return one(wireCluster(c)), nil
}

func (s *server) deleteCluster(ctx context.Context, in *ClusterByID) (*struct{}, error) {
	c, err := s.clusterToChange(ctx, in.ProjectID, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.fleet.DeleteCluster(ctx, c.ID)
}

func (s *server) createClusterToken(ctx context.Context, in *struct {
	ClusterByID
	Body *Start
}) (*output[ClusterToken], error) {
	var start Start
	if in.Body != nil {
		start = *in.Body
	}
	if err := s.checkStart(start); err != nil {
		return nil, err
	}
	c, err := s.clusterToChange(ctx, in.ProjectID, in.ID)
	if err != nil {
		return nil, err
	}
	token, err := s.token(ctx, c.Cluster, start)
	if err != nil {
		return nil, err
	}
	return one(token), nil
}

func (s *server) rotateClusterKey(ctx context.Context, in *ClusterByID) (*output[Cluster], error) {
	c, err := s.clusterToChange(ctx, in.ProjectID, in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.fleet.RotateKey(ctx, c.ID); err != nil {
		return nil, err
	}
	if c, err = s.fleet.Cluster(ctx, c.ID); err != nil {
		return nil, err
	}
	return one(wireCluster(c)), nil
}

func (s *server) removeClusterComponent(ctx context.Context, in *struct {
	ClusterByID
	ComponentID string `path:"component_id" maxLength:"64"`
}) (*struct{}, error) {
	c, err := s.clusterToChange(ctx, in.ProjectID, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.fleet.RemoveComponent(ctx, c.ID, in.ComponentID)
}

// container says how a scan component is started.
func (s *server) container(start Start) uploadcmd.Container {
	c := uploadcmd.Container{
		Name: start.Container, Image: start.Image, Server: s.component.Server,
	}
	if c.Name == "" {
		c.Name = uploadcmd.DefaultContainer
	}
	if c.Image == "" {
		c.Image = s.component.Repository + "@" + s.component.Digest
	}
	u, err := url.Parse(c.Server)
	if err != nil {
		return c
	}
	c.HostNetwork = isLoopback(u.Hostname())
	c.InsecureHTTP = u.Scheme == "http" && !c.HostNetwork
	return c
}

func (s *server) checkStart(start Start) error {
	if s.component.Server == "" {
		return tidewaiter.Errorf(tidewaiter.Unavailable, "the address of the server is not known here, and the component needs it; start the server once, or work on one that runs with --server")
	}
	return uploadcmd.CheckContainer(s.container(start))
}

// token makes a one-time token for a cluster, and the command that uses it.
func (s *server) token(ctx context.Context, c tidewaiter.Cluster, start Start) (ClusterToken, error) {
	if c.Kind == tidewaiter.LocalCluster {
		return ClusterToken{}, tidewaiter.Errorf(tidewaiter.Conflict, "the component of the local cluster is the server itself; make a cluster of your own for components that run elsewhere")
	}
	token, err := s.fleet.NewToken(ctx, c.ID, time.Duration(start.ValidSeconds)*time.Second)
	if err != nil {
		return ClusterToken{}, err
	}
	container := s.container(start)
	container.Token = token.Text
	return ClusterToken{Token: token.Text, Expires: wireTime(token.Expires), Command: uploadcmd.Run(container), Notes: notes(container)}, nil
}

// notes says what to know before a container is started.
func notes(c uploadcmd.Container) []string {
	list := []string{}
	switch {
	case c.HostNetwork:
		list = append(list, "The server listens on a loopback address: the command works on the server's own machine only, where the container shares the network of the host. For components elsewhere, start the server with --public-url.")
	case c.InsecureHTTP:
		list = append(list, "The server's address is plain http: anyone between the component and the server can read the names of images. Passwords stay sealed, but use https.")
	}
	return list
}

func isLoopback(host string) bool {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
