package adminapi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func TestRiskHistory(t *testing.T) {
	h, id, _, _ := connected(t)
	h.must(h.findings.RecordRisks(t.Context()))
	a := h.ask(200, "GET", "/risk-history", nil)
	items, _ := a.body["items"].([]any)
	if len(items) != 1 {
		t.Fatalf("got %s", a.text)
	}
	none := object{"critical": 0., "high": 0., "medium": 0., "low": 0.}
	want := object{"day": store.Now().Format("2006-01-02"), "images": object{"high": 0., "medium": 0., "low": 0., "secure": 0., "unknown": 0.}, "open": none}
	if diff := cmp.Diff(want, items[0]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, query := range []string{"?enterprise_project_id=0", "?enterprise_project_id=all_granted_eps", "?days=400"} {
		if a := h.ask(200, "GET", "/risk-history"+query, nil); len(a.body["items"].([]any)) != 1 {
			t.Errorf("%s: %s", query, a.text)
		}
	}
	if a := h.ask(200, "GET", "/risk-history?enterprise_project_id=another", nil); len(a.body["items"].([]any)) != 0 {
		t.Errorf("of another: %s", a.text)
	}
	h.fail(400, "HSS.0001", "days", "GET", "/risk-history?days=401", nil)
	h.fail(400, "HSS.0001", "days", "GET", "/risk-history?days=0", nil)

	// One who may see another enterprise project only.
	shop, err := h.id.CreateEnterpriseProject(t.Context(), h.root, "shop", "")
	h.must(err)
	_, password, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "bob"})
	h.must(err)
	_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "bob", PolicyID: "HSS ReadOnlyAccess", ProjectID: h.boot.Project.ID, EnterpriseProjectID: shop.ID})
	h.must(err)
	bob := h.signIn("bob", password, "default")
	for path, status := range map[string]int{
		"/risk-history": 200, "/risk-history?enterprise_project_id=" + shop.ID: 200, "/risk-history?enterprise_project_id=0": 403,
		"/recent-vulnerabilities": 200, "/recent-vulnerabilities?enterprise_project_id=0": 403, "/registries/" + id + "/attached-vex": 404,
		"/images/none/layers": 404, "/images/none/changes": 404,
	} {
		if a := h.as(bob, "GET", path, nil); a.StatusCode != status || status == 200 && len(a.body["items"].([]any)) != 0 {
			t.Errorf("bob, %s: %d %s", path, a.StatusCode, a.text)
		}
	}
}
