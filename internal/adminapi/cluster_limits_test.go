package adminapi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

func TestClusterLimits(t *testing.T) {
	h := newHouse(t)
	h.inProject()
	a := h.ask(201, "POST", "/clusters", object{"name": "office"})
	id, _ := a.body["id"].(string)
	if diff := cmp.Diff(any(object{}), a.body["limits"]); diff != "" {
		t.Errorf("a new cluster (-want +got)\n%s", diff)
	}
	for _, step := range []struct{ body, want object }{
		{object{"limits": object{"layers": 100, "layer_bytes": 1 << 30}}, object{"layers": 100., "layer_bytes": float64(1 << 30)}},
		{object{}, object{"layers": 100., "layer_bytes": float64(1 << 30)}},
		{object{"limits": object{}}, object{"layers": 100., "layer_bytes": float64(1 << 30)}},
		{object{"limits": object{"layers": 0, "image_seconds": 60}}, object{"layer_bytes": float64(1 << 30), "image_seconds": 60.}},
		{object{"limits": object{
			"layer_bytes": 1 << 20, "ratio": 10, "entries": 1000, "held_file": 1 << 20, "spool_bytes": 1 << 20, "zstd_window": 1 << 20,
			"nested_depth": 1, "nested_bytes": 1 << 20, "layer_seconds": 1, "image_bytes": 1 << 20, "layers": 1, "image_seconds": 1,
		}}, object{
			"layer_bytes": float64(1 << 20), "ratio": 10., "entries": 1000., "held_file": float64(1 << 20), "spool_bytes": float64(1 << 20), "zstd_window": float64(1 << 20),
			"nested_depth": 1., "nested_bytes": float64(1 << 20), "layer_seconds": 1., "image_bytes": float64(1 << 20), "layers": 1., "image_seconds": 1.,
		}},
	} {
		for _, a := range []answer{h.ask(200, "PATCH", "/clusters/office", step.body), h.ask(200, "GET", "/clusters/"+id, nil)} {
			if diff := cmp.Diff(any(step.want), a.body["limits"]); diff != "" {
				t.Errorf("after %v (-want +got)\n%s", step.body, diff)
			}
		}
	}
	for field, value := range map[string]any{
		"layer_bytes": 1, "ratio": 9, "entries": 500_001, "held_file": 1<<30 + 1, "spool_bytes": -1, "zstd_window": 1 << 31, "nested_depth": 33, "nested_bytes": 5,
		"layer_seconds": 86_401, "image_bytes": 1, "layers": 1001, "image_seconds": -1,
	} {
		h.fail(400, "HSS.0001", field+": is out of range", "PATCH", "/clusters/office", object{"limits": object{field: value}})
	}
	h.fail(400, "HSS.0001", "layers", "PATCH", "/clusters/office", object{"limits": object{"layers": "many"}})
	h.fail(400, "HSS.0001", "none of this operation's", "PATCH", "/clusters/office", object{"name": "x"})
	h.fail(404, "HSS.0011", "there is no such cluster", "PATCH", "/clusters/none", object{})

	// Whoever has a project sees the cluster of every project, and leaves it alone.
	h.must(h.fleet.EnsureLocal(t.Context()))
	h.fail(403, "APIGW.0302", "the token is scoped to a project", "PATCH", "/clusters/local", object{"limits": object{"layers": 5}})
	_, password, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "reader"})
	h.must(err)
	_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "reader", PolicyID: "HSS ReadOnlyAccess"})
	h.must(err)
	h.wantError(h.as(h.signIn("reader", password, "default"), "PATCH", "/clusters/office", object{}), 403, "APIGW.0302", "no policy of the caller allows hss:containers:set")
	h.token = h.signIn("admin", h.boot.Password, "")
	h.ask(200, "PATCH", "/clusters/local", object{"limits": object{"layers": 5}})
	if a := h.ask(200, "GET", "/clusters/local", nil); !cmp.Equal(a.body["limits"], any(object{"layers": 5.})) {
		t.Errorf("the local cluster: %s", a.text)
	}
}
