// Package harbor lists a Harbor by its own API, which tells digests, sizes and
// times with the tags, and needs no right to read the whole catalog: version
// 2.0 (https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml) and
// the one of Harbor 1.x.
package harbor

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

const pageSize = 100

// Connector lists a Harbor.
type Connector struct {
	client *registry.Client
	api    dialect
}

var _ registry.Connector = (*Connector)(nil)

// dialect is what differs between the versions of the API.
type dialect interface {
	projects() string
	repositories(p project) (path, query string)
	tags(project, repository string) (path, query string)
	decodeTags(body []byte) (items int, tags []listed, err error)
}

// project is the same in both versions, as far as we read it.
type project struct {
	ID   int64  `json:"project_id"`
	Name string `json:"name"`
}

// listed is a tag as it is listed, its digest unchecked.
type listed struct {
	registry.Tag
	digest string
}

// New returns a connector for the configured version of the API.
func New(client *registry.Client) *Connector {
	c := &Connector{client: client, api: v2{}}
	if client.Config().APIVersion == "V1" {
		c.api = v1{}
	}
	return c
}

// Ping asks /v2/ and the API, since either may be switched off or kept away by
// a proxy.
func (c *Connector) Ping(ctx context.Context) error {
	if err := c.client.Ping(ctx); err != nil {
		return err
	}
	_, _, err := c.client.Read(ctx, registry.Request{Path: c.api.projects(), Query: "page=1&page_size=1", Auth: registry.AuthBasic}, registry.MaxAnswer)
	return wrongVersion(err)
}

// wrongVersion says what a missing API means.
func wrongVersion(err error) error {
	if registry.ReasonOf(err) == registry.ReasonNotFound {
		return tidewaiter.Wrap(tidewaiter.NotFound, err, "there is no Harbor API of this version; set the API version to V2 for Harbor 2.0 and later, V1 before, or the registry type to Other")
	}
	return err
}

// Repositories goes through the projects that the user sees.
func (c *Connector) Repositories(ctx context.Context) iter.Seq2[registry.Repository, error] {
	if len(c.client.Config().Repositories) > 0 {
		return c.client.Config().Given
	}
	return func(yield func(registry.Repository, error) bool) {
		lister := registry.NewLister(c.client.Config())
		q := registry.Request{Path: c.api.projects(), Auth: registry.AuthBasic}
		err := c.client.Numbered(ctx, q, pageSize, numbered(""), func(body []byte) (int, int, bool, error) {
			var page []project
			if err := registry.Decode(body, &page); err != nil {
				return 0, 0, false, err
			}
			for _, p := range page {
				if more, err := c.project(ctx, p, lister, yield); err != nil || !more {
					return 0, 0, false, err
				}
			}
			return len(page), -1, true, nil
		})
		if err != nil {
			yield(registry.Repository{}, wrongVersion(err))
		}
	}
}

// project lists one project. One that may not be read is a problem of its own.
func (c *Connector) project(ctx context.Context, p project, lister *registry.Lister, yield func(registry.Repository, error) bool) (more bool, err error) {
	if problem := registry.CheckRepository(p.Name); problem != "" || strings.Contains(p.Name, "/") {
		r, ok, err := lister.Repository(p.Name)
		r.Problem = "its project has a name that none may have"
		return err != nil || !ok || yield(r, nil), err
	}
	more = true
	path, query := c.api.repositories(p)
	err = c.client.Numbered(ctx, registry.Request{Path: path, Auth: registry.AuthBasic}, pageSize, numbered(query), func(body []byte) (int, int, bool, error) {
		var page []struct {
			Name string `json:"name"`
		}
		if err := registry.Decode(body, &page); err != nil {
			return 0, 0, false, err
		}
		for _, item := range page {
			r, ok, err := lister.Repository(item.Name)
			if err != nil {
				return 0, 0, false, err
			}
			if ok && !yield(r, nil) {
				more = false
				return 0, 0, false, nil
			}
		}
		return len(page), -1, true, nil
	})
	switch tidewaiter.KindOf(err) {
	case tidewaiter.NotFound:
		return more, nil // deleted meanwhile
	case tidewaiter.Forbidden:
		return yield(registry.Repository{Name: p.Name, Problem: "the user may not list the repositories of this project"}, nil), nil
	}
	return more, err
}

// Tags lists the tags, with digests, sizes and times.
func (c *Connector) Tags(ctx context.Context, r registry.Repository) iter.Seq2[registry.Tag, error] {
	return func(yield func(registry.Tag, error) bool) {
		project, name, ok := strings.Cut(r.Name, "/")
		if problem := registry.CheckRepository(r.Name); problem != "" || !ok {
			yield(registry.Tag{}, registry.Errorf(tidewaiter.Invalid, registry.ReasonAnswer, "a repository of Harbor is PROJECT/NAME, in lower case"))
			return
		}
		lister := registry.NewLister(c.client.Config())
		path, query := c.api.tags(project, name)
		err := c.client.Numbered(ctx, registry.Request{Path: path, Auth: registry.AuthBasic}, pageSize, numbered(query), func(body []byte) (int, int, bool, error) {
			items, tags, err := c.api.decodeTags(body)
			if err != nil {
				return 0, 0, false, err
			}
			for _, item := range tags {
				t, ok, err := lister.Tag(item.Tag, item.digest)
				if err != nil || ok && !yield(t, nil) {
					return 0, 0, false, err
				}
			}
			return items, -1, true, nil
		})
		if err != nil {
			yield(registry.Tag{}, err)
		}
	}
}

// numbered makes the query of page i of a list.
func numbered(query string) func(i int) string {
	if query != "" {
		query += "&"
	}
	return func(i int) string { return fmt.Sprintf("%spage=%d&page_size=%d", query, i+1, pageSize) }
}

// v2 is the API of Harbor 2.0 and later.
type v2 struct{}

func (v2) projects() string { return "/api/v2.0/projects" }

func (v2) repositories(p project) (string, string) {
	return "/api/v2.0/projects/" + url.PathEscape(p.Name) + "/repositories", ""
}

// tags: a slash in the name of a repository is encoded twice, as Harbor wants it.
func (v2) tags(project, repository string) (string, string) {
	return "/api/v2.0/projects/" + url.PathEscape(project) + "/repositories/" +
		url.PathEscape(url.PathEscape(repository)) + "/artifacts", "with_tag=true"
}

func (v2) decodeTags(body []byte) (int, []listed, error) {
	var page []struct {
		Digest            string `json:"digest"`
		ManifestMediaType string `json:"manifest_media_type"`
		Size              int64  `json:"size"`
		Tags              []struct {
			Name     string `json:"name"`
			PushTime string `json:"push_time"`
		} `json:"tags"`
	}
	if err := registry.Decode(body, &page); err != nil {
		return 0, nil, err
	}
	var list []listed
	for _, artifact := range page {
		for _, tag := range artifact.Tags {
			list = append(list, listed{digest: artifact.Digest, Tag: registry.Tag{
				Name: tag.Name, MediaType: artifact.ManifestMediaType, Size: artifact.Size, Pushed: registry.ParseTime(tag.PushTime),
			}})
		}
	}
	return len(page), list, nil
}

// v1 is the API of Harbor 1.x. It lists all tags of a repository at once.
type v1 struct{}

func (v1) projects() string { return "/api/projects" }

func (v1) repositories(p project) (string, string) {
	return "/api/repositories", fmt.Sprintf("project_id=%d", p.ID)
}

func (v1) tags(project, repository string) (string, string) {
	return "/api/repositories/" + project + "/" + repository + "/tags", "detail=1"
}

func (v1) decodeTags(body []byte) (int, []listed, error) {
	var page []struct {
		Name     string `json:"name"`
		Digest   string `json:"digest"`
		Size     int64  `json:"size"`
		PushTime string `json:"push_time"`
	}
	if err := registry.Decode(body, &page); err != nil {
		return 0, nil, err
	}
	list := make([]listed, 0, len(page))
	for _, tag := range page {
		list = append(list, listed{digest: tag.Digest, Tag: registry.Tag{Name: tag.Name, Size: tag.Size, Pushed: registry.ParseTime(tag.PushTime)}})
	}
	return 0, list, nil // no pages: this was all
}
