package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

// TestReference has a page for each operation of the OpenAPI document and of the
// contract, without a sign-in; the ones that are not built say so.
func TestReference(t *testing.T) {
	h := newHouse(t)
	v := h.visitor()
	status, _, index := v.visit("/docs")
	if status != 200 {
		t.Fatalf("/docs: %d", status)
	}
	resp, err := v.Get(v.base + "/openapi.json")
	h.must(err)
	defer resp.Body.Close()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	h.must(json.NewDecoder(resp.Body).Decode(&doc))
	names := make(map[string]bool)
	for path, item := range doc.Paths {
		for method, op := range item {
			names[op.OperationID] = true
			status, _, page := v.visit("/docs/" + op.OperationID)
			if status != 200 || !strings.Contains(page, strings.ToUpper(method)+" "+path) || !strings.Contains(page, "curl") || strings.Contains(page, "This release does not have") {
				t.Errorf("%s: %d", op.OperationID, status)
			}
		}
	}
	if !strings.Contains(index, "hss:images:get") {
		t.Error("the list has no permissions")
	}
	missing := 0
	for _, op := range hssapi.Operations() {
		if !strings.Contains(index, `href="/docs/`+op.Name+`"`) {
			t.Errorf("%s is not in the list", op.Name)
		}
		if names[op.Name] {
			continue
		}
		missing++
		if _, _, page := v.visit("/docs/" + op.Name); !strings.Contains(page, "This release does not have") {
			t.Errorf("%s is not built, and its page does not say so", op.Name)
		}
	}
	if len(names) < 80 || len(hssapi.Operations()) != 92 || missing == 0 {
		t.Errorf("%d operations are documented, %d of the contract are missing: this tests nothing", len(names), missing)
	}
	for path, words := range map[string][]string{
		"/docs/ShowImageUploadCommand": {"registry_addr", "image_command", "hss:", `$PROJECT_ID`, "--data-urlencode", "HSS.0001", "APIGW.0301"},
		"/docs/AddRegistry":            {"Body of the request", "registry_password", "up to 128 characters", "-d @body.json"},
		"/docs/ListRegistryImages":     {"data_list[].image_id", "1 to 200", "severity_level"},
	} {
		_, _, page := v.visit(path)
		for _, w := range words {
			if !strings.Contains(page, w) {
				t.Errorf("%s does not say %q", path, w)
			}
		}
	}
	if status, _, page := v.visit("/docs/%3Cscript%3E"); status != http.StatusNotFound || strings.Contains(page, "<script>") {
		t.Errorf("no operation: %d", status)
	}
}
