package registrytest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity/aksk"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// Pushed is when everything was pushed.
const Pushed = "2026-03-01T10:20:30Z"

// object is JSON in the making.
type object = map[string]any

// repositories returns the names in order, by what comes before the first slash.
func (f *Fake) repositories(first string) []string {
	var list []string
	for name := range f.Content {
		if head, _, _ := strings.Cut(name, "/"); first == "" || head == first {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// firsts returns the parts before the first slash, in order.
func (f *Fake) firsts() []string {
	var list []string
	for _, name := range f.repositories("") {
		head, _, _ := strings.Cut(name, "/")
		list = append(list, head)
	}
	return slices.Compact(list)
}

// basic checks the credential as products' own interfaces do: no challenge.
func basic(w http.ResponseWriter, r *http.Request) bool {
	if user, password, ok := r.BasicAuth(); ok && user == Username && password == Password {
		return true
	}
	Errors(w, http.StatusUnauthorized, "UNAUTHORIZED")
	return false
}

// NewHarbor starts a Harbor, version "V2" or "V1" of its API.
func NewHarbor(t testing.TB, content map[string][]string, version string) *Fake {
	f := newFake(t, registry.Harbor, content)
	f.Version, f.bearer = version, true
	f.api = f.harbor2
	if version == "V1" {
		f.api = f.harbor1
	}
	return f
}

// harborPage answers with a page as Harbor does: X-Total-Count and Link.
func harborPage(w http.ResponseWriter, r *http.Request, all []object) {
	q := r.URL.Query()
	page, size := atoi(q.Get("page"), 1), min(atoi(q.Get("page_size"), 10), 100)
	w.Header().Set("X-Total-Count", fmt.Sprint(len(all)))
	if page*size < len(all) {
		q.Set("page", fmt.Sprint(page+1))
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.EscapedPath(), q.Encode()))
	}
	items := numbered(all, (page-1)*size, size)
	if items == nil {
		items = []object{}
	}
	JSON(w, items)
}

func (f *Fake) harborProjects() []object {
	var all []object
	for i, name := range f.firsts() {
		all = append(all, object{"project_id": i + 1, "name": name, "owner_name": "admin", "metadata": object{"public": "false"}})
	}
	return all
}

func (f *Fake) harbor2(w http.ResponseWriter, r *http.Request) bool {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api/v2.0/projects")
	if !ok {
		return false
	}
	if !basic(w, r) {
		return true
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case path == "":
		harborPage(w, r, f.harborProjects())
	case len(parts) == 2 && parts[1] == "repositories":
		var all []object
		for i, name := range f.repositories(parts[0]) {
			all = append(all, object{"id": i, "name": name, "project_id": 1, "artifact_count": len(f.Content[name])})
		}
		harborPage(w, r, all)
	case len(parts) == 4 && parts[1] == "repositories" && parts[3] == "artifacts":
		once, _ := url.PathUnescape(parts[2])
		twice, _ := url.PathUnescape(once) // a name with a slash must be encoded twice
		tags, ok := f.Content[parts[0]+"/"+twice]
		if !ok || once == twice && strings.Contains(twice, "/") {
			Errors(w, http.StatusNotFound, "NOT_FOUND")
			return true
		}
		all := []object{{"digest": f.Digest, "type": "IMAGE", "tags": nil}} // without a tag
		for _, tag := range tags {
			all = append(all, object{
				"digest": f.Digest, "type": "IMAGE", "size": 1234, "push_time": Pushed,
				"media_type": tidewaiter.MediaTypeDockerConfig, "manifest_media_type": tidewaiter.MediaTypeDockerManifest,
				"tags": []object{{"name": tag, "push_time": Pushed, "immutable": false}},
			})
		}
		harborPage(w, r, all)
	default:
		http.NotFound(w, r)
	}
	return true
}

func (f *Fake) harbor1(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		return false
	}
	if !basic(w, r) {
		return true
	}
	name, isTags := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/api/repositories/"), "/tags")
	switch {
	case r.URL.Path == "/api/projects":
		harborPage(w, r, f.harborProjects())
	case r.URL.Path == "/api/repositories":
		var all []object
		id := atoi(r.URL.Query().Get("project_id"), 0)
		if projects := f.firsts(); id > 0 && id <= len(projects) {
			for i, name := range f.repositories(projects[id-1]) {
				all = append(all, object{"id": i, "name": name, "project_id": id, "tags_count": len(f.Content[name])})
			}
		}
		harborPage(w, r, all)
	case isTags && f.Content[name] != nil:
		var all []object
		for _, tag := range f.Content[name] {
			all = append(all, object{"digest": f.Digest, "name": tag, "size": 1234, "architecture": "amd64", "os": "linux", "push_time": Pushed})
		}
		JSON(w, all)
	default:
		http.Error(w, `{"code":404,"message":"resource not found"}`, http.StatusNotFound)
	}
	return true
}

// NewArtifactory starts an Artifactory that is reached by repository paths:
// the first parts of the names are the keys of its repositories. A virtual one
// shows them all a second time.
func NewArtifactory(t testing.TB, content map[string][]string) *Fake {
	f := newFake(t, registry.Jfrog, content)
	f.api = f.artifactory
	return f
}

func (f *Fake) artifactory(w http.ResponseWriter, r *http.Request) bool {
	path, ok := strings.CutPrefix(r.URL.Path, "/artifactory/api/")
	if !ok {
		return false
	}
	if !basic(w, r) {
		return true
	}
	key, isCatalog := strings.CutSuffix(strings.TrimPrefix(path, "docker/"), "/v2/_catalog")
	switch {
	case path == "repositories" && r.URL.Query().Get("packageType") == "docker":
		all := []object{{"key": "everything", "type": "VIRTUAL", "packageType": "Docker", "url": f.URL + "/artifactory/everything"}}
		for _, key := range f.firsts() {
			all = append(all, object{"key": key, "type": "LOCAL", "packageType": "Docker", "url": f.URL + "/artifactory/" + key})
		}
		JSON(w, all)
	case isCatalog && slices.Contains(f.firsts(), key):
		var names []string
		for _, name := range f.repositories(key) {
			names = append(names, strings.TrimPrefix(name, key+"/"))
		}
		f.names(w, r, "repositories", names)
	default:
		http.Error(w, `{"errors":[{"status":404,"message":"Not Found"}]}`, http.StatusNotFound)
	}
	return true
}

// The access key of the fake SWR, and the login for docker that follows from it.
const (
	swrAccess = "AKEXAMPLE0123456789"
	swrSecret = "SKexample0123456789abcdefghij"
	swrUser   = "region-1@" + swrAccess
)

func swrPassword() string {
	mac := hmac.New(sha256.New, []byte(swrSecret))
	mac.Write([]byte(swrAccess))
	return hex.EncodeToString(mac.Sum(nil))
}

// NewSWR starts an SWR of one of its types. Its API is at the registry's address.
func NewSWR(t testing.TB, content map[string][]string, kind registry.Type) *Fake {
	f := newFake(t, kind, content)
	f.api = f.swr
	f.config = func(c *registry.Config) {
		c.SWR.API = c.Address.String()
		c.Username, c.Password = swrUser, swrSecret
		if kind == registry.SwrEnterprise {
			c.Password = swrPassword()
			c.SWR.AccessKey, c.SWR.SecretKey = swrAccess, swrSecret
			c.SWR.ProjectID, c.SWR.InstanceID = "project-1", "instance-1"
		}
	}
	return f
}

// signed checks the signature with the server's own reading of the algorithm.
func signed(w http.ResponseWriter, r *http.Request) bool {
	empty := sha256.Sum256(nil)
	s, err := aksk.Parse(r)
	if err == nil {
		err = s.Verify(r, hex.EncodeToString(empty[:]), aksk.NewKey([]byte(swrSecret)), time.Now())
	}
	if err == nil {
		return true
	}
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprint(w, `{"error_code":"APIG.0301","error_msg":"Incorrect IAM authentication information"}`)
	return false
}

func (f *Fake) swr(w http.ResponseWriter, r *http.Request) bool {
	manage := strings.HasPrefix(r.URL.Path, "/v2/manage/")
	instance, enterprise := strings.CutPrefix(r.URL.Path, "/v2/project-1/instances/instance-1/")
	if !manage && !enterprise {
		return false
	}
	if !signed(w, r) {
		return true
	}
	q := r.URL.Query()
	page := func(all []object) []object {
		items := numbered(all, atoi(q.Get("offset"), 0), min(atoi(q.Get("limit"), 100), 100))
		w.Header().Set("Content-Range", fmt.Sprintf("%s-%d/%d", q.Get("offset"), len(items), len(all)))
		if items == nil {
			return []object{}
		}
		return items
	}
	if enterprise {
		f.swrEnterprise(w, instance, page)
		return true
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v2/manage/"), "/")
	switch {
	case parts[0] == "repos" && f.Type == registry.SwrPrivate, parts[0] == "shared-repositories" && f.Type == registry.SwrShared && q.Get("center") == "thirdparty":
		var all []object
		for _, name := range f.repositories("") {
			namespace, short, _ := strings.Cut(name, "/")
			all = append(all, object{"name": short, "namespace": namespace, "domain_name": "owner", "num_images": len(f.Content[name]), "tags": f.Content[name]})
		}
		JSON(w, page(all))
	case len(parts) == 5 && parts[0] == "namespaces" && parts[2] == "repos" && parts[4] == "tags":
		tags, ok := f.Content[parts[1]+"/"+strings.ReplaceAll(parts[3], "$", "/")]
		if !ok {
			swrNotFound(w)
			return true
		}
		var all []object
		for i, tag := range tags {
			all = append(all, object{"id": i, "Tag": tag, "digest": f.Digest, "size": 1234, "schema": 2, "updated": Pushed, "manifest": "{}", "tag_type": 0})
		}
		JSON(w, page(all))
	default:
		swrNotFound(w)
	}
	return true
}

func (f *Fake) swrEnterprise(w http.ResponseWriter, path string, page func([]object) []object) {
	parts := strings.Split(path, "/")
	switch {
	case path == "repositories":
		var all []object
		for i, name := range f.repositories("") {
			namespace, short, _ := strings.Cut(name, "/")
			all = append(all, object{"id": i, "name": short, "namespace_name": namespace})
		}
		JSON(w, object{"total": len(all), "repositories": page(all)})
	case len(parts) >= 5 && parts[0] == "namespaces" && parts[2] == "repositories" && parts[len(parts)-1] == "artifacts":
		tags, ok := f.Content[parts[1]+"/"+strings.Join(parts[3:len(parts)-1], "/")]
		if !ok {
			swrNotFound(w)
			return
		}
		var all []object
		for i, tag := range tags {
			all = append(all, object{"id": i, "digest": f.Digest, "type": "IMAGE", "size": 1234, "push_time": Pushed,
				"manifest_media_type": tidewaiter.MediaTypeDockerManifest, "tags": []object{{"name": tag, "push_time": Pushed}}})
		}
		JSON(w, object{"total": len(all), "artifacts": page(all)})
	default:
		swrNotFound(w)
	}
}

func swrNotFound(w http.ResponseWriter) {
	w.WriteHeader(http.StatusNotFound)
	_ = json.NewEncoder(w).Encode(object{"errors": []object{{"errorCode": "SVCSTG.SWR.4040001", "errorMessage": "not found"}}})
}
