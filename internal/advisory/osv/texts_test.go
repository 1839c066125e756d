package osv_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/osv"
)

func TestTexts(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{"a.json": `{"id":"A"}`, "b.json": ` [{"id":"B"}, 7]`, "c.json": "", "d.txt": "{}"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	visit := func(name string, text []byte) error {
		got = append(got, name+" "+string(text))
		return nil
	}
	if err := osv.Texts(context.Background(), folder, osv.Limits{}, visit); err != nil {
		t.Fatal(err)
	}
	if want := []string{`a.json {"id":"A"}`, `b.json {"id":"B"}`, "b.json 7", "c.json "}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if err := osv.Texts(context.Background(), folder, osv.Limits{Advisories: 3}, visit); tidewaiter.KindOf(err) != tidewaiter.TooLarge {
		t.Errorf("got %v", err)
	}
	planted := errors.New("planted")
	// An error names the file, however the folder is written.
	err := osv.Texts(context.Background(), folder+"/./././././.", osv.Limits{}, func(string, []byte) error { return planted })
	if !errors.Is(err, planted) || !strings.HasPrefix(err.Error(), "a.json: ") {
		t.Errorf("got %v", err)
	}
}
