package tidewaiter_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

// TestScanLimits gives each field of the limits values around its range: zero is
// the default, and what is out of range is refused by the field's name.
func TestScanLimits(t *testing.T) {
	if err := (tidewaiter.ScanLimits{}).Check(); err != nil {
		t.Errorf("no limits: %v", err)
	}
	for _, c := range []struct {
		field, wire string
		least, most int64
	}{
		{"LayerBytes", "layer_bytes", 1 << 20, 1 << 40},
		{"Ratio", "ratio", 10, 1_000_000},
		{"Entries", "entries", 1_000, 500_000},
		{"HeldFile", "held_file", 1 << 20, 1 << 30},
		{"SpoolBytes", "spool_bytes", 1 << 20, 1 << 40},
		{"ZstdWindow", "zstd_window", 1 << 20, 1 << 30},
		{"NestedDepth", "nested_depth", 1, 32},
		{"NestedBytes", "nested_bytes", 1 << 20, 1 << 40},
		{"LayerSeconds", "layer_seconds", 1, 86_400},
		{"ImageBytes", "image_bytes", 1 << 20, 1 << 44},
		{"Layers", "layers", 1, 1_000},
		{"ImageSeconds", "image_seconds", 1, 86_400},
	} {
		for value, ok := range map[int64]bool{0: true, c.least: true, c.most: true, c.least - 1: c.least == 1, c.most + 1: false, -1: false} {
			var l tidewaiter.ScanLimits
			reflect.ValueOf(&l).Elem().FieldByName(c.field).SetInt(value)
			err := l.Check()
			if (err == nil) != ok {
				t.Errorf("%s %d: %v", c.field, value, err)
			}
			e, is := errors.AsType[*tidewaiter.Error](err)
			if err != nil && (!is || e.Kind != tidewaiter.Invalid || e.Field != c.wire || !strings.Contains(e.Message, "or 0 for the default")) {
				t.Errorf("%s %d: error %+v", c.field, value, err)
			}
		}
	}
	if n := reflect.TypeFor[tidewaiter.ScanLimits]().NumField(); n != 12 {
		t.Errorf("there are %d limits: a new one needs a row here", n)
	}
}
