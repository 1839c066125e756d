// Package swr lists a SoftWare Repository for Container of Huawei Cloud, or of
// a cloud built with it, by its management API: own repositories
// (https://support.huaweicloud.com/intl/en-us/api-swr/swr_02_0034.html), those
// that others share, and those of an instance of the enterprise edition
// (https://support.huaweicloud.com/intl/en-us/api-swr2/swr_03_0307.html).
// Requests to it are signed with an access key; the secret key is never sent.
package swr

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity/aksk"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/oci"
)

const pageSize = 100

// Connector lists one edition of SWR.
type Connector struct {
	client         *registry.Client
	api            registry.Origin
	access, secret string // "" if only the login for docker is known
	now            func() time.Time
	edition        edition
}

var _ registry.Connector = (*Connector)(nil)

// edition is what differs between the editions.
type edition interface {
	repositories() (path, query string)
	decodeRepositories(body []byte) (list []repository, total int, err error)
	tags(namespace, name string) (path, query string)
	decodeTags(body []byte) (items int, tags []listed, total int, err error)
}

type repository struct {
	Namespace     string `json:"namespace"`      // shared and private
	NamespaceName string `json:"namespace_name"` // enterprise
	Name          string `json:"name"`
	DomainName    string `json:"domain_name"` // shared: who shares it
}

// listed is a tag as it is listed, its digest unchecked.
type listed struct {
	registry.Tag
	digest string
}

// New returns a connector for the edition that the type names. Errors are of
// kind Invalid and name the field that lacks.
func New(client *registry.Client, now func() time.Time) (*Connector, error) {
	c := &Connector{client: client, now: now}
	config := client.Config()
	c.access, c.secret, _ = config.AccessKey()
	switch config.Type {
	case registry.SwrPrivate:
		c.edition = basic{}
	case registry.SwrShared:
		c.edition = basic{shared: true}
	case registry.SwrEnterprise:
		c.edition = enterprise{project: config.SWR.ProjectID, instance: config.SWR.InstanceID}
	default:
		return nil, tidewaiter.InvalidField("registry_type", "is none of SWR's; use SwrPrivate, SwrShared or SwrEnterprise")
	}
	if c.access == "" {
		return c, nil // the repositories must be given
	}
	if config.Type == registry.SwrEnterprise && (config.SWR.ProjectID == "" || config.SWR.InstanceID == "") {
		return nil, tidewaiter.InvalidField("instance_id", "is empty, or project_id is; the enterprise edition needs the id of the instance and of its project")
	}
	var err error
	c.api, err = config.SWRAPI()
	return c, err
}

func (c *Connector) request(path string) registry.Request {
	return registry.Request{At: c.api, Path: path, Auth: registry.AuthSign, Sign: func(r *http.Request) error {
		r.Header.Set("Content-Type", "application/json")
		return aksk.Sign(r, c.access, []byte(c.secret), nil, c.now())
	}}
}

// Ping asks /v2/, and the API where it is needed.
func (c *Connector) Ping(ctx context.Context) error {
	if err := c.client.Ping(ctx); err != nil || c.access == "" {
		return err
	}
	path, query := c.edition.repositories()
	q := c.request(path)
	q.Query = numbered(query)(0)
	_, _, err := c.client.Read(ctx, q, registry.MaxAnswer)
	return err
}

// Repositories lists what the access key may see.
func (c *Connector) Repositories(ctx context.Context) iter.Seq2[registry.Repository, error] {
	config := c.client.Config()
	return func(yield func(registry.Repository, error) bool) {
		if len(config.Repositories) > 0 {
			config.Given(yield)
			return
		}
		if c.access == "" {
			yield(registry.Repository{}, tidewaiter.InvalidField("registry_password", "is a login key, with which SWR lists nothing; give the secret access key with the access key as the user name, or give the repositories in the registry's settings"))
			return
		}
		lister := registry.NewLister(config)
		path, query := c.edition.repositories()
		err := c.client.Numbered(ctx, c.request(path), pageSize, numbered(query), func(body []byte) (int, int, bool, error) {
			list, total, err := c.edition.decodeRepositories(body)
			if err != nil {
				return 0, 0, false, err
			}
			for _, item := range list {
				r, ok, err := lister.Repository(item.Namespace + item.NamespaceName + "/" + item.Name)
				r.Owner = item.DomainName
				if err != nil || ok && !yield(r, nil) {
					return 0, 0, false, err
				}
			}
			return len(list), total, true, nil
		})
		if err != nil {
			yield(registry.Repository{}, err)
		}
	}
}

// Tags lists the tags with digests, sizes and times, or without them where only
// the login for docker is known.
func (c *Connector) Tags(ctx context.Context, r registry.Repository) iter.Seq2[registry.Tag, error] {
	if c.access == "" {
		return oci.Tags(ctx, c.client, r)
	}
	return func(yield func(registry.Tag, error) bool) {
		namespace, name, ok := strings.Cut(r.Name, "/")
		if problem := registry.CheckRepository(r.Name); problem != "" || !ok {
			yield(registry.Tag{}, registry.Errorf(tidewaiter.Invalid, registry.ReasonAnswer, "a repository of SWR is ORGANIZATION/NAME, in lower case"))
			return
		}
		lister := registry.NewLister(c.client.Config())
		path, query := c.edition.tags(namespace, name)
		err := c.client.Numbered(ctx, c.request(path), pageSize, numbered(query), func(body []byte) (int, int, bool, error) {
			items, tags, total, err := c.edition.decodeTags(body)
			if err != nil {
				return 0, 0, false, err
			}
			for _, item := range tags {
				t, ok, err := lister.Tag(item.Tag, item.digest)
				if err != nil || ok && !yield(t, nil) {
					return 0, 0, false, err
				}
			}
			return items, total, true, nil
		})
		if err != nil {
			yield(registry.Tag{}, err)
		}
	}
}

func numbered(query string) func(i int) string {
	if query != "" {
		query += "&"
	}
	return func(i int) string { return fmt.Sprintf("%slimit=%d&offset=%d", query, pageSize, i*pageSize) }
}

// basic is the shared, also called basic edition: the own repositories, or
// those that others share with this account.
type basic struct{ shared bool }

func (b basic) repositories() (string, string) {
	if b.shared {
		return "/v2/manage/shared-repositories", "center=thirdparty"
	}
	return "/v2/manage/repos", ""
}

func (basic) decodeRepositories(body []byte) ([]repository, int, error) {
	var list []repository
	return list, -1, registry.Decode(body, &list)
}

// tags: the API wants "$" for a slash in the name of a repository.
func (basic) tags(namespace, name string) (string, string) {
	return "/v2/manage/namespaces/" + url.PathEscape(namespace) + "/repos/" + url.PathEscape(strings.ReplaceAll(name, "/", "$")) + "/tags", ""
}

func (basic) decodeTags(body []byte) (int, []listed, int, error) {
	var page []struct {
		Tag     string `json:"Tag"`
		Digest  string `json:"digest"`
		Size    int64  `json:"size"`
		Updated string `json:"updated"`
	}
	if err := registry.Decode(body, &page); err != nil {
		return 0, nil, 0, err
	}
	list := make([]listed, 0, len(page))
	for _, t := range page {
		list = append(list, listed{digest: t.Digest, Tag: registry.Tag{Name: t.Tag, Size: t.Size, Pushed: registry.ParseTime(t.Updated)}})
	}
	return len(page), list, -1, nil
}

// enterprise is an instance of the enterprise edition.
type enterprise struct{ project, instance string }

func (e enterprise) repositories() (string, string) {
	return "/v2/" + url.PathEscape(e.project) + "/instances/" + url.PathEscape(e.instance) + "/repositories", ""
}

func (enterprise) decodeRepositories(body []byte) ([]repository, int, error) {
	var page struct {
		Total        *int         `json:"total"`
		Repositories []repository `json:"repositories"`
	}
	err := registry.Decode(body, &page)
	return page.Repositories, total(page.Total), err
}

func (e enterprise) tags(namespace, name string) (string, string) {
	return "/v2/" + url.PathEscape(e.project) + "/instances/" + url.PathEscape(e.instance) + "/namespaces/" +
		url.PathEscape(namespace) + "/repositories/" + url.PathEscape(name) + "/artifacts", ""
}

func (enterprise) decodeTags(body []byte) (int, []listed, int, error) {
	var page struct {
		Total     *int `json:"total"`
		Artifacts []struct {
			Digest            string `json:"digest"`
			ManifestMediaType string `json:"manifest_media_type"`
			Size              int64  `json:"size"`
			Tags              []struct {
				Name     string `json:"name"`
				PushTime string `json:"push_time"`
			} `json:"tags"`
		} `json:"artifacts"`
	}
	if err := registry.Decode(body, &page); err != nil {
		return 0, nil, 0, err
	}
	var list []listed
	for _, a := range page.Artifacts {
		for _, t := range a.Tags {
			list = append(list, listed{digest: a.Digest, Tag: registry.Tag{
				Name: t.Name, MediaType: a.ManifestMediaType, Size: a.Size, Pushed: registry.ParseTime(t.PushTime),
			}})
		}
	}
	return len(page.Artifacts), list, total(page.Total), nil
}

func total(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}
