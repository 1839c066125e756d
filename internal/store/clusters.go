package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type clusterRow struct {
	bun.BaseModel `bun:"clusters"`

	ID        string
	ProjectID string
	Name      string
	Kind      tidewaiter.ClusterKind
	Recipient string
	KeyEpoch  int64
	Limits    string // JSON, a limitsDocument, or ""
	Created   int64
}

// limitsDocument has the names that the API has.
type limitsDocument struct {
	LayerBytes   int64 `json:"layer_bytes,omitempty"`
	Ratio        int64 `json:"ratio,omitempty"`
	Entries      int   `json:"entries,omitempty"`
	HeldFile     int64 `json:"held_file,omitempty"`
	SpoolBytes   int64 `json:"spool_bytes,omitempty"`
	ZstdWindow   int64 `json:"zstd_window,omitempty"`
	NestedDepth  int   `json:"nested_depth,omitempty"`
	NestedBytes  int64 `json:"nested_bytes,omitempty"`
	LayerSeconds int   `json:"layer_seconds,omitempty"`
	ImageBytes   int64 `json:"image_bytes,omitempty"`
	Layers       int   `json:"layers,omitempty"`
	ImageSeconds int   `json:"image_seconds,omitempty"`
}

func encodeLimits(l tidewaiter.ScanLimits) (string, error) {
	if l == (tidewaiter.ScanLimits{}) {
		return "", nil
	}
	b, err := json.Marshal(limitsDocument(l))
	if err != nil {
		return "", fmt.Errorf("write limits: %w", err)
	}
	return string(b), nil
}

func (r clusterRow) noun() (tidewaiter.Cluster, error) {
	c := tidewaiter.Cluster{
		ID: r.ID, ProjectID: r.ProjectID, Name: r.Name, Kind: r.Kind,
		Recipient: r.Recipient, KeyEpoch: r.KeyEpoch, Created: fromMicros(r.Created),
	}
	if r.Limits != "" {
		var d limitsDocument
		if err := json.Unmarshal([]byte(r.Limits), &d); err != nil {
			return c, fmt.Errorf("read limits of cluster %q: %w", r.ID, err)
		}
		c.Limits = tidewaiter.ScanLimits(d)
	}
	return c, nil
}

// CreateCluster adds a cluster. Its name is unique in its project.
func (db *DB) CreateCluster(ctx context.Context, c tidewaiter.Cluster) error {
	limits, err := encodeLimits(c.Limits)
	if err != nil {
		return err
	}
	row := clusterRow{
		ID: c.ID, ProjectID: c.ProjectID, Name: c.Name, Kind: c.Kind,
		Recipient: c.Recipient, KeyEpoch: c.KeyEpoch, Limits: limits, Created: micros(c.Created),
	}
	_, err = db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "cluster")
}

// Cluster returns the cluster of an id.
func (db *DB) Cluster(ctx context.Context, id string) (tidewaiter.Cluster, error) {
	var row clusterRow
	if err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return tidewaiter.Cluster{}, notFound(err, "cluster")
	}
	return row.noun()
}

// SetClusterLimits sets what scans of a cluster may cost. Errors: NotFound.
func (db *DB) SetClusterLimits(ctx context.Context, id string, l tidewaiter.ScanLimits) error {
	limits, err := encodeLimits(l)
	if err != nil {
		return err
	}
	r, err := db.write.NewRaw("UPDATE clusters SET limits = ? WHERE id = ?", limits, id).Exec(ctx)
	return changed(r, err, "cluster")
}

// Clusters returns the clusters of a project and those of every project,
// oldest first.
func (db *DB) Clusters(ctx context.Context, projectID string) ([]tidewaiter.Cluster, error) {
	var rows []clusterRow
	err := db.read.NewSelect().Model(&rows).Where("project_id IN ('', ?)", projectID).Order("created", "id").Scan(ctx)
	if err != nil {
		return nil, notFound(err, "clusters")
	}
	list := make([]tidewaiter.Cluster, len(rows))
	for i, r := range rows {
		if list[i], err = r.noun(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// SetClusterKey sets the recipient of a cluster from one value to another; to
// "" it also counts the change. Errors: NotFound; Conflict if the recipient is
// not the first value.
func (db *DB) SetClusterKey(ctx context.Context, id, from, to string) error {
	changes := 0
	if to == "" {
		changes = 1
	}
	r, err := db.write.NewRaw("UPDATE clusters SET recipient = ?, key_epoch = key_epoch + ? WHERE id = ? AND recipient = ?",
		to, changes, id, from).Exec(ctx)
	return db.swapped(ctx, r, err, "clusters", "cluster", id, "the key of the cluster was changed meanwhile")
}

// DeleteCluster removes a cluster with its components, enrolments and work.
// Errors: NotFound; Conflict while registries use it.
func (db *DB) DeleteCluster(ctx context.Context, id string) error {
	r, err := db.write.NewRaw("DELETE FROM clusters WHERE id = ?", id).Exec(ctx)
	if err != nil && isForeignKey(err) {
		return tidewaiter.Wrap(tidewaiter.Conflict, err, "registries use the cluster; delete them or give them another cluster first")
	}
	return changed(r, err, "cluster")
}
