package adminapi

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
)

// ScanLimits are what a scan may cost, on the wire. What is missing, or 0, is
// the default.
type ScanLimits struct {
	LayerBytes   int64 `json:"layer_bytes,omitempty" doc:"Of a layer, uncompressed; by default 16 GiB."`
	Ratio        int64 `json:"ratio,omitempty" doc:"Of uncompressed to compressed bytes; by default 200."`
	Entries      int   `json:"entries,omitempty" doc:"Files of a layer; by default 500,000."`
	HeldFile     int64 `json:"held_file,omitempty" doc:"Bytes of a file that is held in memory; by default 16 MiB."`
	SpoolBytes   int64 `json:"spool_bytes,omitempty" doc:"Bytes of a larger file, on disk; by default 1 GiB."`
	ZstdWindow   int64 `json:"zstd_window,omitempty" doc:"Bytes of memory that a zstd frame may ask for; by default 64 MiB."`
	NestedDepth  int   `json:"nested_depth,omitempty" doc:"Archives within archives; by default 10."`
	NestedBytes  int64 `json:"nested_bytes,omitempty" doc:"Of all that is in an archive, uncompressed; by default 4 GiB."`
	LayerSeconds int   `json:"layer_seconds,omitempty" doc:"For a layer; by default 1,800."`
	ImageBytes   int64 `json:"image_bytes,omitempty" doc:"Of all layers of an image, compressed; by default 20 GiB."`
	Layers       int   `json:"layers,omitempty" doc:"Of an image; by default 200."`
	ImageSeconds int   `json:"image_seconds,omitempty" doc:"For an image; by default 3,600."`
}

// ScanLimitsChange changes some limits. What is missing stays; 0 is the default.
type ScanLimitsChange struct {
	LayerBytes   *int64 `json:"layer_bytes,omitempty"`
	Ratio        *int64 `json:"ratio,omitempty"`
	Entries      *int   `json:"entries,omitempty"`
	HeldFile     *int64 `json:"held_file,omitempty"`
	SpoolBytes   *int64 `json:"spool_bytes,omitempty"`
	ZstdWindow   *int64 `json:"zstd_window,omitempty"`
	NestedDepth  *int   `json:"nested_depth,omitempty"`
	NestedBytes  *int64 `json:"nested_bytes,omitempty"`
	LayerSeconds *int   `json:"layer_seconds,omitempty"`
	ImageBytes   *int64 `json:"image_bytes,omitempty"`
	Layers       *int   `json:"layers,omitempty"`
	ImageSeconds *int   `json:"image_seconds,omitempty"`
}

func set[T any](to *T, value *T) {
	if value != nil {
		*to = *value
	}
}

func (c ScanLimitsChange) apply(l *tidewaiter.ScanLimits) {
	set(&l.LayerBytes, c.LayerBytes)
	set(&l.Ratio, c.Ratio)
	set(&l.Entries, c.Entries)
	set(&l.HeldFile, c.HeldFile)
	set(&l.SpoolBytes, c.SpoolBytes)
	set(&l.ZstdWindow, c.ZstdWindow)
	set(&l.NestedDepth, c.NestedDepth)
	set(&l.NestedBytes, c.NestedBytes)
	set(&l.LayerSeconds, c.LayerSeconds)
	set(&l.ImageBytes, c.ImageBytes)
	set(&l.Layers, c.Layers)
	set(&l.ImageSeconds, c.ImageSeconds)
}

// updateCluster changes the limits of a cluster. Scans that begin later keep to
// them.
func (s *server) updateCluster(ctx context.Context, in *struct {
	ClusterByID
	Body struct {
		Limits *ScanLimitsChange `json:"limits,omitempty" doc:"What is missing stays as it is; 0 is the default."`
	}
}) (*output[Cluster], error) {
	c, err := s.clusterToChange(ctx, in.ProjectID, in.ID)
	if err != nil {
		return nil, err
	}
	if change := in.Body.Limits; change != nil {
		if err := s.fleet.ChangeLimits(ctx, c.ID, change.apply); err != nil {
			return nil, err
		}
	}
	if c, err = s.fleet.Cluster(ctx, c.ID); err != nil {
		return nil, err
	}
	return one(wireCluster(c)), nil
}
