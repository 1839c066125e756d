package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// The permissions of registries, as in the contract where it has the operation.
func registryPermission(verb string) permission {
	return permission{action: "hss:registries:" + verb, exempt: true}
}

func synchronizePermission() permission {
	return permission{action: "hss:imageSync:operate", exempt: true}
}

func (s *server) registerRegistries() {
	const one = "/registries/{id}"
	gateway.Register(s.api, inProject("ListRegistryConnections", http.MethodGet, "/registries", registryPermission("list"),
		"List registry connections with their settings"), s.listRegistries)
	gateway.Register(s.api, inProject("ShowRegistryConnection", http.MethodGet, one, registryPermission("get"),
		"Show all that is known about a registry connection"), s.showRegistry)
	gateway.Register(s.api, inProject("UpdateRegistrySettings", http.MethodPatch, one, registryPermission("set"),
		"Change what a registry connection has beyond the contract"), s.updateRegistry)
	test := inProject("TestRegistryConnection", http.MethodPost, one+"/test", registryPermission("set"),
		"Have a scan component try a registry, and wait for what it finds")
	test.Status = http.StatusOK
	gateway.Register(s.api, test, s.testRegistry)
	gateway.Register(s.api, inProject("SynchronizeRegistry", http.MethodPost, one+"/synchronize", synchronizePermission(),
		"Synchronise the images of a registry"), s.synchronizeRegistry)
}

// Registry is a registry connection on the wire.
type Registry struct {
	ID                  string           `json:"id"`
	Name                string           `json:"name"`
	ProjectID           string           `json:"project_id"`
	EnterpriseProjectID string           `json:"enterprise_project_id"`
	Type                string           `json:"type" enum:"Harbor,Jfrog,SwrPrivate,SwrShared,SwrEnterprise,Other"`
	APIVersion          string           `json:"api_version" enum:"V1,V2"`
	Protocol            string           `json:"protocol" enum:"http,https"`
	Address             string           `json:"address"`
	Username            string           `json:"username"`
	Namespace           string           `json:"namespace"`
	ClusterID           string           `json:"cluster_id"`
	Channel             string           `json:"channel" enum:"Swr,Other"`
	Status              string           `json:"status" enum:"accessing,success,fail"`
	FailReason          string           `json:"fail_reason,omitempty" enum:"CREATE_JOB_FAILED,REQUEST_API_ERROR,SERVER_ERROR"`
	FailDetail          string           `json:"fail_detail,omitempty" doc:"What to mend, in words."`
	Warnings            []string         `json:"warnings" nullable:"false" doc:"What works and should not stay so, in words."`
	Checked             string           `json:"checked,omitempty" doc:"When the last access check ended."`
	Images              int              `json:"images"`
	Synchronized        string           `json:"synchronized,omitempty"`
	NextSynchronization string           `json:"next_synchronization,omitempty" doc:"Absent where none is scheduled."`
	Created             string           `json:"created"`
	Updated             string           `json:"updated"`
	Settings            RegistrySettings `json:"settings"`
}

// RegistrySettings are what a connection has beyond the contract.
type RegistrySettings struct {
	CA               string   `json:"ca" doc:"PEM certificates that are trusted in addition to the public authorities."`
	TLSSkipVerify    bool     `json:"tls_skip_verify" doc:"Any certificate is accepted."`
	TokenHosts       []string `json:"token_hosts" nullable:"false" doc:"host or host:port of token services that may see the credential."`
	Include          []string `json:"include" nullable:"false" doc:"Patterns of repositories to list; none is all."`
	Exclude          []string `json:"exclude" nullable:"false"`
	IncludeTags      []string `json:"include_tags" nullable:"false" doc:"Patterns of tags to list; none is all."`
	ExcludeTags      []string `json:"exclude_tags" nullable:"false"`
	Repositories     []string `json:"repositories" nullable:"false" doc:"The repositories, for a registry that cannot list them."`
	RequestBudget    int      `json:"request_budget" doc:"Requests per hour; 0 is no limit."`
	SyncAt           string   `json:"sync_at" doc:"When the images are synchronised each day: HH:MM in the server's time zone, off, or empty for the server's default."`
	SWRAPI           string   `json:"swr_api" doc:"host or host:port of SWR's management API; empty is derived from the address."`
	SWRProjectID     string   `json:"swr_project_id"`
	SWRInstanceID    string   `json:"swr_instance_id"`
	SWRInstanceName  string   `json:"swr_instance_name"`
	SWRAccessKey     string   `json:"swr_access_key"`
	ArtifactoryWay   string   `json:"artifactory_way" enum:",repository-path,sub-domain,port" doc:"How docker reaches a repository; empty is found out."`
	TrustAttachedVEX bool     `json:"trust_attached_vex" doc:"What VEX documents say that are attached to images counts: whoever may push to a repository can say which vulnerabilities of its images do not matter."`
}

// RegistryDetails is all that is known about a connection. It holds no secret.
type RegistryDetails struct {
	Registry
	ClusterName     string           `json:"cluster_name"`
	Secrets         []RegistrySecret `json:"secrets" nullable:"false"`
	Check           *AccessCheck     `json:"check,omitempty" doc:"The last access check."`
	Synchronization *Synchronization `json:"synchronization,omitempty" doc:"The synchronisation that waits or is under way."`
	Skipped         []Skipped        `json:"skipped" nullable:"false" doc:"Tags that are not listed as images, and why."`
}

// RegistrySecret says that a secret is there.
type RegistrySecret struct {
	Name    string `json:"name" enum:"password,proxy,swr_secret_key"`
	Current bool   `json:"current" doc:"false: the key of the cluster was changed, and the secret has to be given again."`
}

// AccessCheck is what an access check found.
type AccessCheck struct {
	OK         bool         `json:"ok"`
	FailReason string       `json:"fail_reason,omitempty" enum:"CREATE_JOB_FAILED,REQUEST_API_ERROR,SERVER_ERROR"`
	Steps      []AccessStep `json:"steps" nullable:"false"`
	Warnings   []string     `json:"warnings" nullable:"false"`
	Ended      string       `json:"ended,omitempty"`
}

// AccessStep is one step of it.
type AccessStep struct {
	Name         string  `json:"name" enum:"dns,tcp,tls,auth,list,pull"`
	Status       string  `json:"status" enum:"ok,failed,skipped"`
	Milliseconds float64 `json:"milliseconds"`
	Message      string  `json:"message" doc:"What was found, and what to mend."`
}

// Synchronization is how far a synchronisation has come.
type Synchronization struct {
	State            string `json:"state" enum:"queued,leased"`
	Repositories     int    `json:"repositories" doc:"Found so far."`
	RepositoriesDone int    `json:"repositories_done"`
	Images           int    `json:"images" doc:"Found so far."`
	Skipped          int    `json:"skipped" doc:"Tags that are no images, found so far."`
	Requests         int    `json:"requests" doc:"Made to the registry."`
	Created          string `json:"created"`
}

// Skipped counts tags that are not listed as images.
type Skipped struct {
	Kind    string `json:"kind"`
	Reason  string `json:"reason"`
	Count   int    `json:"count"`
	Example string `json:"example"`
}

// RegistryChange changes the settings that it has. Secrets are sealed on
// arrival, and never shown again.
type RegistryChange struct {
	CA               *string   `json:"ca,omitempty" maxLength:"65536"`
	TLSSkipVerify    *bool     `json:"tls_skip_verify,omitempty"`
	Proxy            *string   `json:"proxy,omitempty" maxLength:"512" doc:"URL of a forward proxy, with user:password@ if it wants one; empty removes it."`
	TokenHosts       *[]string `json:"token_hosts,omitempty" maxItems:"20"`
	Include          *[]string `json:"include,omitempty" maxItems:"100"`
	Exclude          *[]string `json:"exclude,omitempty" maxItems:"100"`
	IncludeTags      *[]string `json:"include_tags,omitempty" maxItems:"100"`
	ExcludeTags      *[]string `json:"exclude_tags,omitempty" maxItems:"100"`
	Repositories     *[]string `json:"repositories,omitempty" maxItems:"1000"`
	RequestBudget    *int      `json:"request_budget,omitempty" minimum:"0" maximum:"1000000"`
	SyncAt           *string   `json:"sync_at,omitempty" maxLength:"5"`
	SWRAPI           *string   `json:"swr_api,omitempty" maxLength:"256"`
	SWRProjectID     *string   `json:"swr_project_id,omitempty" maxLength:"64"`
	SWRInstanceID    *string   `json:"swr_instance_id,omitempty" maxLength:"128"`
	SWRInstanceName  *string   `json:"swr_instance_name,omitempty" maxLength:"128"`
	SWRAccessKey     *string   `json:"swr_access_key,omitempty" maxLength:"128"`
	SWRSecretKey     *string   `json:"swr_secret_key,omitempty" maxLength:"128" doc:"Empty removes it."`
	ArtifactoryWay   *string   `json:"artifactory_way,omitempty" enum:",repository-path,sub-domain,port"`
	TrustAttachedVEX *bool     `json:"trust_attached_vex,omitempty" doc:"false also removes what such documents have made."`
}

func (c RegistryChange) change() inventory.RegistryChange {
	return inventory.RegistryChange{Settings: inventory.SettingsChange{
		CA: c.CA, SkipTLSVerify: c.TLSSkipVerify, Proxy: c.Proxy, TokenHosts: c.TokenHosts,
		Include: c.Include, Exclude: c.Exclude, IncludeTags: c.IncludeTags, ExcludeTags: c.ExcludeTags,
		Repositories: c.Repositories, RequestBudget: c.RequestBudget, SyncAt: c.SyncAt,
		SWRAPI: c.SWRAPI, SWRProjectID: c.SWRProjectID, SWRInstanceID: c.SWRInstanceID, SWRInstanceName: c.SWRInstanceName,
		SWRAccessKey: c.SWRAccessKey, SWRSecretKey: c.SWRSecretKey, ArtifactoryWay: c.ArtifactoryWay, TrustAttachedVEX: c.TrustAttachedVEX,
	}}
}

func wireRegistry(r tidewaiter.Registry) Registry {
	s := r.Settings
	return Registry{
		ID: r.ID, Name: r.Name, ProjectID: r.ProjectID, EnterpriseProjectID: r.EnterpriseProjectID, Type: string(r.Type),
		APIVersion: r.APIVersion, Protocol: r.Protocol, Address: r.Address, Username: r.Username, Namespace: r.Namespace,
		ClusterID: r.ClusterID, Channel: r.Channel, Status: string(r.Status), FailReason: r.FailReason, FailDetail: r.FailDetail,
		Warnings: texts(inventory.Warnings(r)), Checked: optionalTime(r.Checked), Images: r.Images,
		Synchronized: optionalTime(r.Synced), NextSynchronization: optionalTime(r.NextSync),
		Created: wireTime(r.Created), Updated: wireTime(r.Updated),
		Settings: RegistrySettings{
			CA: s.CA, TLSSkipVerify: s.SkipTLSVerify, TokenHosts: texts(s.TokenHosts),
			Include: texts(s.Include), Exclude: texts(s.Exclude), IncludeTags: texts(s.IncludeTags), ExcludeTags: texts(s.ExcludeTags),
			Repositories: texts(s.Repositories), RequestBudget: s.RequestBudget, SyncAt: s.SyncAt,
			SWRAPI: s.SWRAPI, SWRProjectID: s.SWRProjectID, SWRInstanceID: s.SWRInstanceID, SWRInstanceName: s.SWRInstanceName,
			SWRAccessKey: s.SWRAccessKey, ArtifactoryWay: s.ArtifactoryWay, TrustAttachedVEX: s.TrustAttachedVEX,
		},
	}
}

// texts returns a list that is [] in JSON and not null.
func texts(list []string) []string { return append([]string{}, list...) }

func optionalTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return wireTime(t)
}

func wireCheck(r protocol.AccessReport, ended time.Time) AccessCheck {
	w := AccessCheck{
		OK: r.FailReason == "", FailReason: r.FailReason, Warnings: texts(r.Warnings), Ended: optionalTime(ended),
		Steps: make([]AccessStep, 0, len(r.Steps)),
	}
	for _, s := range r.Steps {
		w.Steps = append(w.Steps, AccessStep{Name: s.Name, Status: s.Status, Milliseconds: float64(s.Microseconds) / 1000, Message: s.Message})
	}
	return w
}

func wireDetails(d inventory.RegistryDetails) RegistryDetails {
	w := RegistryDetails{Registry: wireRegistry(d.Registry), ClusterName: d.Cluster.Name, Secrets: []RegistrySecret{}, Skipped: []Skipped{}}
	w.Warnings = texts(d.Warnings)
	for _, s := range d.Secrets {
		w.Secrets = append(w.Secrets, RegistrySecret(s))
	}
	for _, s := range d.Skipped {
		w.Skipped = append(w.Skipped, Skipped(s))
	}
	if d.Check != nil {
		check := wireCheck(d.Check.Report, d.Check.Ended)
		w.Check = &check
	}
	if d.Sync != nil {
		p := d.Sync.Progress
		w.Synchronization = &Synchronization{
			State: string(d.Sync.State), Repositories: p.Repositories, RepositoriesDone: p.RepositoriesDone,
			Images: p.Images, Skipped: p.Skipped, Requests: p.Requests, Created: wireTime(d.Sync.Created),
		}
	}
	return w
}

func (s *server) listRegistries(ctx context.Context, in *struct {
	OfProject
	Name   string `query:"name" minLength:"1" maxLength:"128" doc:"Name; * stands for any characters."`
	Offset int    `query:"offset" minimum:"0" maximum:"2000000" default:"0"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"100"`
}) (*listOutput[Registry], error) {
	e, err := s.extent(ctx, registryPermission("list"), in.ProjectID)
	if err != nil {
		return nil, err
	}
	found, _, err := s.inventory.Registries(ctx, e, store.RegistryFilter{Name: in.Name}, store.Page{Offset: in.Offset, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return list(found, wireRegistry), nil
}

// RegistryByID names the registry in the path.
type RegistryByID struct {
	OfProject
	ID string `path:"id" maxLength:"64" doc:"Registry id."`
}

func (s *server) details(ctx context.Context, e tidewaiter.Extent, id string) (*output[RegistryDetails], error) {
	d, err := s.inventory.Details(ctx, e, id)
	if err != nil {
		return nil, err
	}
	return one(wireDetails(d)), nil
}

func (s *server) showRegistry(ctx context.Context, in *RegistryByID) (*output[RegistryDetails], error) {
	e, err := s.extent(ctx, registryPermission("get"), in.ProjectID)
	if err != nil {
		return nil, err
	}
	return s.details(ctx, e, in.ID)
}

func (s *server) updateRegistry(ctx context.Context, in *struct {
	RegistryByID
	Body RegistryChange
}) (*output[RegistryDetails], error) {
	e, err := s.extent(ctx, registryPermission("set"), in.ProjectID)
	if err != nil {
		return nil, err
	}
	trust := in.Body.TrustAttachedVEX
	if trust != nil {
		// Who may not say which vulnerabilities count may not have others say it.
		of, err := s.extent(ctx, attachedPermission("operate"), in.ProjectID)
		if err != nil {
			return nil, err
		}
		if _, err := s.inventory.Registry(ctx, of, in.ID); err != nil {
			return nil, err
		}
	}
	if _, err := s.inventory.UpdateRegistry(ctx, e, in.ID, in.Body.change()); err != nil {
		return nil, err
	}
	if trust != nil && !*trust {
		if err := s.findings.DetachVEX(ctx, in.ID); err != nil {
			return nil, err
		}
	}
	return s.details(ctx, e, in.ID)
}

func (s *server) testRegistry(ctx context.Context, in *RegistryByID) (*output[AccessCheck], error) {
	e, err := s.extent(ctx, registryPermission("set"), in.ProjectID)
	if err != nil {
		return nil, err
	}
	report, err := s.inventory.Test(ctx, e, in.ID)
	if err != nil {
		return nil, err
	}
	return one(wireCheck(report, time.Time{})), nil
}

// SynchronizationTask is a task that was started.
type SynchronizationTask struct {
	TaskID string `json:"task_id" doc:"See ListAssociateRegistries of the contract."`
}

func (s *server) synchronizeRegistry(ctx context.Context, in *RegistryByID) (*output[SynchronizationTask], error) {
	e, err := s.extent(ctx, synchronizePermission(), in.ProjectID)
	if err != nil {
		return nil, err
	}
	r, err := s.inventory.Registry(ctx, e, in.ID)
	if err != nil {
		return nil, err
	}
	task, err := s.inventory.Synchronize(ctx, e, inventory.Wish{
		EnterpriseProjectID: r.EnterpriseProjectID, Kind: tidewaiter.ManualSync, IDs: []string{r.ID},
	})
	if err != nil {
		return nil, err
	}
	return one(SynchronizationTask{TaskID: task.ID}), nil
}
