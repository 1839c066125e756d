package worker_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// read0 returns the texts of a state file.
func stateOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "component.json"))
	check(t, err)
	var all map[string]any
	check(t, json.Unmarshal(text, &all))
	texts := make(map[string]string)
	for name, v := range all {
		if s, ok := v.(string); ok {
			texts[name] = s
		}
	}
	return texts
}
