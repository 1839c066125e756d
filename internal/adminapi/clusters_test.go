package adminapi_test

import (
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/identity/aksk"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
)

// inProject makes requests of the root user with a token for the first project,
// and returns the one for the domain.
func (h *house) inProject() (domain string) {
	h.Helper()
	domain, h.token = h.token, h.signIn("admin", h.boot.Password, "default")
	return domain
}

// enrol uses a token of a cluster as a component that holds a key does.
func (h *house) enrol(token string, key *seal.Key) tidewaiter.Component {
	h.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	h.must(err)
	own, err := seal.NewKey()
	h.must(err)
	description := protocol.Description{Name: "host-1", Version: "1.2.3", Platform: "linux/amd64"}
	enrolled, err := h.fleet.Enrol(h.Context(), protocol.EnrolRequest{
		Versions: protocol.Ours(), Description: description, Token: token, SigningKey: public, Recipient: own.Recipient(),
	})
	h.must(err)
	c, err := h.fleet.Component(h.Context(), enrolled.ComponentID)
	h.must(err)
	_, err = h.fleet.Hello(h.Context(), c, protocol.HelloRequest{
		Versions: protocol.Ours(), Description: description, ClusterRecipient: key.Recipient(), Started: true,
	})
	h.must(err)
	return c
}

func newKey(h *house) *seal.Key {
	key, err := seal.NewKey()
	h.must(err)
	return key
}

func TestClusters(t *testing.T) {
	h := newHouse(t)
	h.inProject()
	a := h.ask(201, "POST", "/clusters", object{"name": "office"})
	id, _ := a.body["id"].(string)
	token, _ := a.body["token"].(string)
	want := "docker run -d --name tidewaiter-component --restart unless-stopped --read-only --cap-drop ALL --security-opt no-new-privileges " +
		"-v tidewaiter-component:/var/lib/tidewaiter -e TIDEWAITER_SERVER=https://tidewaiter.example.com -e TIDEWAITER_TOKEN=" + token +
		" tidewaiter.example.com/tidewaiter/scan-component@sha256:" + strings.Repeat("0", 64) + " run"
	if a.body["command"] != want || !strings.HasPrefix(token, "twe_") || a.body["status"] != "no_component" || a.body["kind"] != "attached" ||
		a.body["project_id"] != h.boot.Project.ID || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a new cluster: %s", a.text)
	}
	if left := until(t, a); left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("the token expires in %s", left)
	}

	key := newKey(h)
	c := h.enrol(token, key)
	for _, path := range []string{"/clusters/office", "/clusters/" + id} {
		a := h.ask(200, "GET", path, nil)
		component := a.body["components"].([]any)[0].(object)
		if a.body["status"] != "online" || a.body["online"] != 1. || a.body["key"] != key.Recipient() || a.body["advice"] != nil ||
			component["id"] != c.ID || component["status"] != "online" || component["has_key"] != true || component["name"] != "host-1" ||
			component["version"] != "1.2.3" || component["platform"] != "linux/amd64" || component["seen"] == "" || component["enrolled"] == "" {
			t.Errorf("%s: %s", path, a.text)
		}
		if strings.Contains(a.text, "twe_") {
			t.Errorf("%s shows a token: %s", path, a.text)
		}
	}
	if diff := cmp.Diff([]string{"office"}, h.ask(200, "GET", "/clusters", nil).items("name")); diff != "" {
		t.Error(diff)
	}

	a = h.ask(201, "POST", "/clusters/office/tokens", object{"image": "registry.example.com/x:1", "container": "second", "valid_seconds": 60})
	if command, _ := a.body["command"].(string); !strings.Contains(command, "--name second ") || !strings.HasSuffix(command, " registry.example.com/x:1 run") || until(t, a) > time.Minute {
		t.Errorf("one more component: %s", a.text)
	}
	h.ask(201, "POST", "/clusters/office/tokens", nil)
	if a := h.ask(200, "POST", "/clusters/office/rotate-key", nil); a.body["key"] != nil || a.body["key_changes"] != 1. {
		t.Errorf("a key that was changed: %s", a.text)
	}
	h.ask(204, "DELETE", "/clusters/office/components/"+c.ID, nil)
	if a := h.ask(200, "GET", "/clusters/office", nil); a.body["status"] != "no_component" {
		t.Errorf("without its component: %s", a.text)
	}
	h.ask(204, "DELETE", "/clusters/"+id, nil)
	h.fail(404, "HSS.0011", "there is no such cluster", "GET", "/clusters/office", nil)
}

// until returns how long the token of an answer is good for.
func until(t *testing.T, a answer) time.Duration {
	t.Helper()
	text, _ := a.body["expires"].(string)
	expires, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return time.Until(expires)
}

func TestClustersThatFail(t *testing.T) {
	h := newHouse(t)
	h.inProject()
	h.must(h.fleet.EnsureLocal(t.Context()))
	h.ask(201, "POST", "/clusters", object{"name": "office"})
	h.fail(409, "HSS.0010", "name", "POST", "/clusters", object{"name": "office"})
	for message, body := range map[string]object{
		"property name to be present": {}, "name: expected length >= 1": {"name": ""}, "name": {"name": "a b"}, "name: is that of the cluster inside": {"name": "local"},
		"image: is no reference of an image": {"name": "x", "image": "--privileged"}, "container: is no name": {"name": "x", "container": "a b"},
		"valid_seconds": {"name": "x", "valid_seconds": 59}, "none of this operation's": {"name": "x", "kind": "local"},
	} {
		h.fail(400, "HSS.0001", message, "POST", "/clusters", body)
	}
	if got := h.ask(200, "GET", "/clusters", nil).items("name"); !cmp.Equal(got, []string{"local", "office"}) && !cmp.Equal(got, []string{"office", "local"}) {
		t.Errorf("requests that failed left %v", got)
	}
	for _, try := range [][2]string{
		{"GET", "/clusters/none"}, {"DELETE", "/clusters/none"}, {"POST", "/clusters/none/tokens"}, {"POST", "/clusters/none/rotate-key"},
		{"DELETE", "/clusters/none/components/x"},
	} {
		h.fail(404, "HSS.0011", "there is no such cluster", try[0], try[1], nil)
	}
	h.fail(404, "HSS.0011", "", "DELETE", "/clusters/office/components/none", nil)
	h.fail(409, "HSS.0010", "key", "POST", "/clusters/office/rotate-key", nil)

	// The cluster of every project is seen, but not changed, by who has a project.
	h.ask(200, "GET", "/clusters/local", nil)
	for _, try := range [][2]string{
		{"DELETE", "/clusters/local"}, {"POST", "/clusters/local/tokens"}, {"POST", "/clusters/local/rotate-key"}, {"DELETE", "/clusters/local/components/x"},
	} {
		h.fail(403, "APIGW.0302", "the token is scoped to a project", try[0], try[1], nil)
	}
	h.token = h.signIn("admin", h.boot.Password, "")
	h.fail(409, "HSS.0010", "cannot be removed", "DELETE", "/clusters/local", nil)
	h.fail(409, "HSS.0010", "the component of the local cluster is the server itself", "POST", "/clusters/local/tokens", nil)
	if got := h.ask(200, "GET", "/clusters", nil).items("name"); !cmp.Equal(got, []string{"local"}) {
		t.Errorf("a token for the domain shows %v", got)
	}
	h.fail(403, "APIGW.0302", "auth.scope.project", "POST", "/clusters", object{"name": "x"})
}

func TestClustersOfProjects(t *testing.T) {
	h := newHouse(t)
	domain := h.inProject()
	h.ask(201, "POST", "/clusters", object{"name": "office"})
	other, err := h.id.CreateProject(t.Context(), h.root, "other", "")
	h.must(err)
	h.fail(400, "HSS.0001", "project_id: the token is scoped to another project", "GET", "/clusters?project_id=other", nil)
	h.ask(200, "GET", "/clusters?project_id=default", nil)
	h.ask(200, "GET", "/clusters?project_id="+h.boot.Project.ID, nil)

	inOther := h.signIn("admin", h.boot.Password, "other")
	if a := h.as(inOther, "GET", "/clusters", nil); a.text != "{\"items\":[]}\n" {
		t.Errorf("another project sees %s", a.text)
	}
	h.wantError(h.as(inOther, "DELETE", "/clusters/office", nil), 404, "HSS.0011", "there is no such cluster")
	h.wantError(h.as(domain, "GET", "/clusters?project_id=other", nil), 403, "APIGW.0302", "auth.scope.project")

	// A signature names the project, or needs to, once there are several.
	h.wantError(h.signed("GET", "/clusters", nil), 400, "HSS.0001", "project_id: it is missing, and the caller may use 2 projects")
	h.wantError(h.signed("GET", "/clusters?project_id=nowhere", nil), 400, "HSS.0001", "project_id: there is no such project")
	if a := h.signed("GET", "/clusters?project_id=default", nil); !cmp.Equal(a.items("name"), []string{"office"}) {
		t.Errorf("got %s", a.text)
	}
	h.must(h.id.DeleteProject(t.Context(), h.root, other.ID))
	if a := h.signed("GET", "/clusters", nil); !cmp.Equal(a.items("name"), []string{"office"}) {
		t.Errorf("with one project: %s", a.text)
	}

	_, password, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "reader"})
	h.must(err)
	_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "reader", PolicyID: "HSS ReadOnlyAccess"})
	h.must(err)
	reader := h.signIn("reader", password, "default")
	if a := h.as(reader, "GET", "/clusters/office", nil); a.StatusCode != http.StatusOK {
		t.Errorf("a reader gets %s", a.text)
	}
	for _, try := range [][2]string{
		{"POST", "/clusters"}, {"DELETE", "/clusters/office"}, {"POST", "/clusters/office/tokens"}, {"POST", "/clusters/office/rotate-key"},
		{"DELETE", "/clusters/office/components/x"},
	} {
		var body any
		if try[1] == "/clusters" {
			body = object{"name": "x"}
		}
		h.wantError(h.as(reader, try[0], try[1], body), 403, "APIGW.0302", "no policy of the caller allows hss:containers:set")
	}
	h.wantError(h.as("", "GET", "/clusters", nil), 401, "APIGW.0301", "x-auth-token not found")
}

// signed sends a request that is signed with the root user's access key.
func (h *house) signed(method, path string, body []byte) answer {
	h.Helper()
	return h.send(method, path, string(body), func(r *http.Request) {
		h.must(aksk.Sign(r, h.boot.AccessKey, []byte(h.boot.SecretKey), body, time.Now()))
	})
}
