package registrytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// Content is what the suite fills a registry with: enough for several pages of
// repositories and of tags, and names with more than two parts.
func Content() map[string][]string {
	content := map[string][]string{"team/deep/er/name": {"v1"}, "other/app": {"1.0", "latest"}}
	for i := range 230 {
		content[fmt.Sprintf("team/repo-%03d", i)] = []string{"latest"}
	}
	for i := range 210 {
		content["team/many"] = append(content["team/many"], fmt.Sprintf("v%03d", i))
	}
	return content
}

// Run puts a connector through what every connector must do. start starts a
// registry with a content; connect makes the connector.
func Run(t *testing.T, connect func(*registry.Client) (registry.Connector, error), start func(testing.TB, map[string][]string) *Fake) {
	s := suite{connect: connect, start: start}
	t.Run("Everything", s.everything)
	t.Run("Patterns", s.patterns)
	t.Run("Credential", s.credential)
	t.Run("Statuses", s.statuses)
	t.Run("RateLimit", s.rateLimit)
	t.Run("Garbage", s.garbage)
	t.Run("SamePageForEver", s.samePage)
	t.Run("Gone", s.gone)
	t.Run("Break", s.leaveOff)
	t.Run("Cancel", s.cancel)
}

type suite struct {
	connect func(*registry.Client) (registry.Connector, error)
	start   func(testing.TB, map[string][]string) *Fake
}

// options wait for nothing.
func options(waited *time.Duration) registry.Options {
	return registry.Options{Sleep: func(ctx context.Context, d time.Duration) error {
		if waited != nil {
			*waited += d
		}
		return ctx.Err()
	}}
}

func (s suite) open(t *testing.T, c registry.Config, o registry.Options) (registry.Connector, *registry.Client) {
	t.Helper()
	client, err := registry.NewClient(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	connector, err := s.connect(client)
	if err != nil {
		t.Fatal(err)
	}
	return connector, client
}

// names lists the names of all repositories.
func names(ctx context.Context, c registry.Connector) ([]string, error) {
	var list []string
	for r, err := range c.Repositories(ctx) {
		if err != nil {
			return list, err
		}
		if r.Problem == "" {
			list = append(list, r.Name)
		}
	}
	slices.Sort(list)
	return list, nil
}

func (s suite) everything(t *testing.T) {
	f := s.start(t, Content())
	c, client := s.open(t, f.Config(), options(nil))
	if err := c.Ping(t.Context()); err != nil {
		t.Fatalf("Ping: %v", err)
	}
	got, err := names(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(f.Content)), got); diff != "" {
		t.Errorf("repositories (-want +got):\n%s", diff)
	}
	for _, name := range []string{"team/many", "team/deep/er/name", "other/app"} {
		var tags []string
		for tag, err := range c.Tags(t.Context(), registry.Repository{Name: name}) {
			if err != nil {
				t.Fatalf("Tags of %s: %v", name, err)
			}
			if tag.Problem != "" || tag.Digest != "" && tag.Digest != f.Digest {
				t.Errorf("%s: tag %+v, want digest %s", name, tag, f.Digest)
			}
			tags = append(tags, tag.Name)
		}
		slices.Sort(tags)
		if diff := cmp.Diff(slices.Sorted(slices.Values(f.Content[name])), tags); diff != "" {
			t.Errorf("tags of %s (-want +got):\n%s", name, diff)
		}
		d, err := client.Head(t.Context(), name, tags[0])
		if err != nil || d.Digest != f.Digest {
			t.Errorf("Head of %s: %+v, %v", name, d, err)
		}
		if _, err := client.Manifest(t.Context(), name, tags[0]); err != nil {
			t.Errorf("Manifest of %s: %v", name, err)
		}
	}
}

func (s suite) patterns(t *testing.T) {
	f := s.start(t, map[string][]string{"team/a": {"v1", "dev-1", "v2"}, "team/deep/b": {"v1"}, "other/c": {"v1"}})
	config := f.Config()
	config.Include, config.Exclude = []string{"team/**"}, []string{"team/deep/*"}
	config.ExcludeTags = []string{"dev-*"}
	c, _ := s.open(t, config, options(nil))
	got, err := names(t.Context(), c)
	if diff := cmp.Diff([]string{"team/a"}, got); diff != "" || err != nil {
		t.Errorf("repositories (-want +got):\n%s%v", diff, err)
	}
	var tags []string
	for tag, err := range c.Tags(t.Context(), registry.Repository{Name: "team/a"}) {
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, tag.Name)
	}
	slices.Sort(tags)
	if diff := cmp.Diff([]string{"v1", "v2"}, tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}

func (s suite) credential(t *testing.T) {
	f := s.start(t, map[string][]string{"team/a": {"v1"}})
	config := f.Config()
	config.Password = "wrong-password-1"
	c, _ := s.open(t, config, options(nil))
	err := c.Ping(t.Context())
	if tidewaiter.KindOf(err) != tidewaiter.Unauthenticated {
		t.Errorf("Ping with a wrong password: %v, want Unauthenticated", err)
	}
	if err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, errors.Unwrap(err)), config.Password) {
		t.Error("the error holds the password")
	}
	if n := len(f.Requests()); n > 6 {
		t.Errorf("a wrong password was tried with %d requests: %q", n, f.Requests())
	}
}

// drain lists repositories and one's tags until an error.
func drain(ctx context.Context, c registry.Connector) error {
	if _, err := names(ctx, c); err != nil {
		return err
	}
	for _, err := range c.Tags(ctx, registry.Repository{Name: "team/a"}) {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s suite) statuses(t *testing.T) {
	for status, want := range map[int]tidewaiter.Kind{403: tidewaiter.Forbidden, 500: tidewaiter.Unavailable, 503: tidewaiter.Unavailable, 418: tidewaiter.Invalid} {
		f := s.start(t, map[string][]string{"team/a": {"v1"}})
		c, _ := s.open(t, f.Config(), options(nil))
		f.Fault(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true })
		if err := drain(t.Context(), c); tidewaiter.KindOf(err) != want {
			t.Errorf("status %d: %v, want %v", status, err, want)
		}
	}
}

func (s suite) rateLimit(t *testing.T) {
	f := s.start(t, map[string][]string{"team/a": {"v1"}})
	var waited time.Duration
	c, _ := s.open(t, f.Config(), options(&waited))
	limited := 0
	f.Fault(func(w http.ResponseWriter, _ *http.Request) bool {
		if limited++; limited > 2 {
			return false
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	if err := drain(t.Context(), c); err != nil || waited != 14*time.Second {
		t.Errorf("after two 429: %v, waited %v, want 14s", err, waited)
	}
}

func (s suite) garbage(t *testing.T) {
	for _, body := range []string{"", "<html>", "[{", `"text"`, "[[[[", `{"repositories":7}`, `{"repositories":[{}],"projects":1}`} {
		f := s.start(t, map[string][]string{"team/a": {"v1"}})
		c, _ := s.open(t, f.Config(), options(nil))
		f.Fault(func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte(body))
			return true
		})
		for r, err := range c.Repositories(t.Context()) {
			if err != nil && tidewaiter.KindOf(err) != tidewaiter.Invalid || err == nil && r.Problem == "" {
				t.Errorf("body %q: %+v, %v, want Invalid or nothing", body, r, err)
			}
		}
	}
}

// samePage has a registry that gives the first page again, whatever is asked.
func (s suite) samePage(t *testing.T) {
	f := s.start(t, Content())
	c, _ := s.open(t, f.Config(), options(nil))
	f.Fault(func(_ http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		for _, name := range []string{"page", "last", "offset"} {
			q.Del(name)
		}
		r.URL.RawQuery = q.Encode()
		return false
	})
	if f.Type == registry.SwrPrivate || f.Type == registry.SwrShared || f.Type == registry.SwrEnterprise {
		t.Skip("a signature covers the query")
	}
	_, err := names(t.Context(), c)
	if tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("the same page for ever: %v, want Invalid", err)
	}
	if n := len(f.Requests()); n > 20 {
		t.Errorf("it took %d requests to notice", n)
	}
}

func (s suite) gone(t *testing.T) {
	f := s.start(t, map[string][]string{"team/a": {"v1"}})
	c, _ := s.open(t, f.Config(), options(nil))
	for _, err := range c.Tags(t.Context(), registry.Repository{Name: "team/gone"}) {
		if tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("Tags of what is not there: %v, want NotFound", err)
		}
		return
	}
	t.Error("Tags of what is not there gives nothing")
}

func (s suite) leaveOff(t *testing.T) {
	f := s.start(t, Content())
	c, _ := s.open(t, f.Config(), options(nil))
	for _, err := range c.Repositories(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	before := len(f.Requests())
	if before > 8 {
		t.Errorf("the first of many took %d requests", before)
	}
}

func (s suite) cancel(t *testing.T) {
	f := s.start(t, Content())
	c, _ := s.open(t, f.Config(), registry.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	var last error
	for _, err := range c.Repositories(ctx) {
		if n++; n == 3 {
			cancel()
		}
		last = err
	}
	cancel()
	if !errors.Is(last, context.Canceled) {
		t.Errorf("after cancel: %v", last)
	}
}
