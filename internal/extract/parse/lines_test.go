package parse_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 20<<10)
	for text, want := range map[string][]string{
		"":                        nil,
		"a":                       {"a"},
		"a\nb\r\n\nc\n":           {"a", "b", "", "c"},
		"a\n" + long + "\nb\n":    {"a", "b"},
		"a\n" + long:              {"a"},
		long[:16<<10-1] + "\nb\n": {long[:16<<10-1], "b"},
		long[:16<<10] + "\nb\n":   {"b"},
	} {
		var got []string
		err := parse.Lines(t.Context(), iotest.HalfReader(strings.NewReader(text)), func(line []byte) { got = append(got, string(line)) })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%.20q of %d bytes: %.20q, %v", text, len(text), got, err)
		}
	}
	broken := errors.New("broken")
	if err := parse.Lines(t.Context(), io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken)), func([]byte) {}); !errors.Is(err, broken) {
		t.Errorf("a broken file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := parse.Lines(ctx, strings.NewReader("a\n"), func([]byte) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}
