package extract

import (
	"cmp"
	"time"
)

// Limits bound what a layer may cost. A zero field stands for its default.
// Whatever bites leaves a cut, and what was found so far is kept.
type Limits struct {
	LayerBytes int64 // of a layer, uncompressed: 16 GiB
	Ratio      int64 // of uncompressed to compressed bytes, once RatioFrom bytes came out: 200
	RatioFrom  int64 // 256 MiB
	Entries    int   // of a layer: 500,000
	TextBytes  int64 // of all paths and link targets of a layer: 64 MiB
	PathBytes  int   // of one path or link target: 4096, as Linux has it
	PathDepth  int   // folders in a path: 256

	HeldFile   int64 // bytes of a wanted file that are held in memory; larger ones are spooled: 16 MiB
	HeldBytes  int64 // of all files held in memory at one time: 32 MiB
	SpoolBytes int64 // of a wanted file in the spool, of which there is one at a time: 1 GiB

	NestedDepth   int   // archives within an archive of Java, within one another: 10
	NestedBytes   int64 // that are unpacked of such a file: 4 GiB
	NestedEntries int   // of all archives in such a file: 500,000

	ZstdWindow uint64        // bytes of memory that a zstd frame may ask for: 64 MiB
	Packages   int           // of a layer: 100,000
	Owned      int           // paths of a layer that packages say are theirs: 1,000,000; more leave a note, no cut
	Time       time.Duration // for a layer: 30 minutes
	FileTime   time.Duration // for one extractor with one file: 1 minute
}

// maxComponent is how long a name between two slashes can be on Linux.
const maxComponent = 255

func (l Limits) withDefaults() Limits {
	return Limits{
		LayerBytes: cmp.Or(l.LayerBytes, 16<<30),
		Ratio:      cmp.Or(l.Ratio, 200),
		RatioFrom:  cmp.Or(l.RatioFrom, 256<<20),
		Entries:    cmp.Or(l.Entries, 500_000),
		TextBytes:  cmp.Or(l.TextBytes, 64<<20),
		PathBytes:  cmp.Or(l.PathBytes, 4096),
		PathDepth:  cmp.Or(l.PathDepth, 256),
		HeldFile:   cmp.Or(l.HeldFile, 16<<20),
		HeldBytes:  max(cmp.Or(l.HeldBytes, 32<<20), cmp.Or(l.HeldFile, 16<<20)),
		SpoolBytes: cmp.Or(l.SpoolBytes, 1<<30),

		NestedDepth:   cmp.Or(l.NestedDepth, 10),
		NestedBytes:   cmp.Or(l.NestedBytes, 4<<30),
		NestedEntries: cmp.Or(l.NestedEntries, 500_000),

		ZstdWindow: max(cmp.Or(l.ZstdWindow, 64<<20), 1<<10),
		Packages:   cmp.Or(l.Packages, 100_000),
		Owned:      cmp.Or(l.Owned, 1_000_000),
		Time:       cmp.Or(l.Time, 30*time.Minute),
		FileTime:   cmp.Or(l.FileTime, time.Minute),
	}
}
