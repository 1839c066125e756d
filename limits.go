package tidewaiter

// ScanLimits bound what a scan may cost. They belong to a cluster: to the
// machines that do the work. A zero field stands for the default that is named
// beside it. A limit that bites leaves the image failed, with the contract's
// code and a reason, and what was found so far is kept: never clean.
type ScanLimits struct {
	LayerBytes   int64 // of a layer, uncompressed: 16 GiB
	Ratio        int64 // of uncompressed to compressed bytes: 200
	Entries      int   // of a layer: 500,000
	HeldFile     int64 // bytes of a file that is held in memory for an extractor: 16 MiB
	SpoolBytes   int64 // of a larger one, in the spool file: 1 GiB
	ZstdWindow   int64 // bytes of memory that a zstd frame may ask for: 64 MiB
	NestedDepth  int   // archives within archives: 10
	NestedBytes  int64 // of all that is in an archive and those within it, uncompressed: 4 GiB
	LayerSeconds int   // for a layer: 1,800
	ImageBytes   int64 // of all layers of an image, compressed: 20 GiB
	Layers       int   // of an image: 200
	ImageSeconds int   // for an image: 3,600
}

// Check tells whether the limits make sense. Errors are of kind [Invalid] and
// name the field as it is on the wire.
func (l ScanLimits) Check() error {
	for _, f := range []struct {
		name        string
		value       int64
		least, most int64
	}{
		{"layer_bytes", l.LayerBytes, 1 << 20, 1 << 40},
		{"ratio", l.Ratio, 10, 1_000_000},
		{"entries", int64(l.Entries), 1_000, 500_000},
		{"held_file", l.HeldFile, 1 << 20, 1 << 30},
		{"spool_bytes", l.SpoolBytes, 1 << 20, 1 << 40},
		{"zstd_window", l.ZstdWindow, 1 << 20, 1 << 30},
		{"nested_depth", int64(l.NestedDepth), 1, 32},
		{"nested_bytes", l.NestedBytes, 1 << 20, 1 << 40},
		{"layer_seconds", int64(l.LayerSeconds), 1, 86_400},
		{"image_bytes", l.ImageBytes, 1 << 20, 1 << 44},
		{"layers", int64(l.Layers), 1, 1_000},
		{"image_seconds", int64(l.ImageSeconds), 1, 86_400},
	} {
		if f.value != 0 && (f.value < f.least || f.value > f.most) {
			return InvalidField(f.name, "is out of range; give %d to %d, or 0 for the default", f.least, f.most)
		}
	}
	return nil
}
