package hssapi

import (
	"regexp"
	"testing"
)

// The contract has 92 operations; each has a name, a place and a permission of
// its own kind.
func TestOperations(t *testing.T) {
	action := regexp.MustCompile(`^hss:[a-zA-Z]+:(get|list|set|operate)$`)
	names, places := map[string]bool{}, map[string]bool{}
	for _, op := range Operations() {
		if names[op.Name] || places[op.Method+op.Path] {
			t.Errorf("%s is there twice", op.Name)
		}
		names[op.Name], places[op.Method+op.Path] = true, true
		if !action.MatchString(op.Action) {
			t.Errorf("%s: action %q", op.Name, op.Action)
		}
		if op.Method != "GET" && regexp.MustCompile(`^hss:[a-zA-Z]+:(get|list)$`).MatchString(op.Action) {
			switch op.Name {
			// These read, although they are not GET: their selection is in the body.
			case "ListImageHandleAffectVulnerabilities", "ShowImageSecurityReportStatistic",
				"ParseMultiCloudClusterConfig", "CreateCicdConfigurationCommand":
			default:
				t.Errorf("%s changes something, but a reader may call it: %s", op.Name, op.Action)
			}
		}
	}
	if len(names) != 92 {
		t.Errorf("%d operations, the contract has 92", len(names))
	}
}
