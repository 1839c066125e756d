package worker_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/worker"
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

// The state folder belongs to one process at a time, and is for its owner only.
func TestFolder(t *testing.T) {
	s := newServer(t)
	dir := filepath.Join(t.TempDir(), "state")
	w := start(t, s.options(dir))
	if _, err := worker.New(s.options(dir)); tidewaiter.KindOf(err) != tidewaiter.Conflict {
		t.Errorf("a second worker: %v", err)
	}
	for name, want := range map[string]os.FileMode{".": os.ModeDir | 0o700, "component.json": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, error %v, want %v", name, info.Mode(), err, want)
		}
	}
	check(t, w.Close())

	// What is damaged is refused, and stays as it is.
	file := filepath.Join(dir, "component.json")
	good, err := os.ReadFile(file)
	check(t, err)
	for name, text := range map[string]string{
		"empty": "", "cut": string(good[:len(good)/2]), "no JSON": "hello", "no keys": "{}",
		"newer": strings.Replace(string(good), `"format": 1`, `"format": 2`, 1),
		"key":   strings.Replace(string(good), "AGE-SECRET-KEY-1", "AGE-SECRET-KEY-2", 1),
	} {
		check(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := worker.New(s.options(dir))
		if tidewaiter.KindOf(err) != tidewaiter.Invalid || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: error %v", name, err)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != text {
			t.Errorf("%s: the file was changed", name)
		}
	}
	check(t, os.WriteFile(file, good, 0o600))
	check(t, os.WriteFile(file+".new", []byte("left by one who was killed"), 0o600))
	w = start(t, s.options(dir))
	check(t, w.Start(t.Context()))
}
