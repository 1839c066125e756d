package tidewaiter_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
)

func TestStepOf(t *testing.T) {
	full, empty := tidewaiter.BuildStep{}, tidewaiter.BuildStep{Empty: true}
	for name, c := range map[string]struct {
		steps  []tidewaiter.BuildStep
		layers int
		want   []int // of the layers 0, 1, …
	}{
		"each its layer":    {[]tidewaiter.BuildStep{full, full}, 2, []int{0, 1, -1}},
		"empty ones":        {[]tidewaiter.BuildStep{empty, full, empty, empty, full, empty}, 2, []int{1, 4, -1}},
		"no history":        {nil, 2, []int{-1, -1}},
		"no layers":         {[]tidewaiter.BuildStep{empty}, 0, []int{-1}},
		"too few steps":     {[]tidewaiter.BuildStep{full}, 2, []int{-1, -1}},
		"too many steps":    {[]tidewaiter.BuildStep{full, full}, 1, []int{-1, -1}},
		"all steps say not": {[]tidewaiter.BuildStep{empty, empty}, 2, []int{-1, -1}},
	} {
		config := tidewaiter.ImageConfig{Steps: c.steps, DiffIDs: make([]tidewaiter.Digest, c.layers)}
		if got := config.StepOf(-1); got != -1 {
			t.Errorf("%s: the layer -1 is of step %d", name, got)
		}
		for layer, want := range c.want {
			if got := config.StepOf(layer); got != want {
				t.Errorf("%s: layer %d is of step %d, want %d", name, layer, got, want)
			}
		}
	}
	// The steps of the layers are those that are not empty, in their order.
	rapid.Check(t, func(t *rapid.T) {
		var c tidewaiter.ImageConfig
		var want []int
		for i, empty := range rapid.SliceOfN(rapid.Bool(), 0, 20).Draw(t, "empty") {
			c.Steps = append(c.Steps, tidewaiter.BuildStep{Empty: empty})
			if !empty {
				c.DiffIDs, want = append(c.DiffIDs, ""), append(want, i)
			}
		}
		for layer, step := range want {
			if got := c.StepOf(layer); got != step {
				t.Fatalf("layer %d is of step %d, want %d", layer, got, step)
			}
		}
	})
}
