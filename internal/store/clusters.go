package store

import (
	"context"

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
	Created   int64
}

func (r clusterRow) noun() tidewaiter.Cluster {
	return tidewaiter.Cluster{
		ID: r.ID, ProjectID: r.ProjectID, Name: r.Name, Kind: r.Kind,
		Recipient: r.Recipient, KeyEpoch: r.KeyEpoch, Created: fromMicros(r.Created),
	}
}

// CreateCluster adds a cluster. Its name is unique in its project.
func (db *DB) CreateCluster(ctx context.Context, c tidewaiter.Cluster) error {
	row := clusterRow{
		ID: c.ID, ProjectID: c.ProjectID, Name: c.Name, Kind: c.Kind,
		Recipient: c.Recipient, KeyEpoch: c.KeyEpoch, Created: micros(c.Created),
	}
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "cluster")
}

// Cluster returns the cluster of an id.
func (db *DB) Cluster(ctx context.Context, id string) (tidewaiter.Cluster, error) {
	var row clusterRow
	err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	return row.noun(), notFound(err, "cluster")
}

// Clusters returns the clusters of a project and those of every project,
// oldest first.
func (db *DB) Clusters(ctx context.Context, projectID string) ([]tidewaiter.Cluster, error) {
	var rows []clusterRow
	err := db.read.NewSelect().Model(&rows).Where("project_id IN ('', ?)", projectID).Order("created", "id").Scan(ctx)
	return nouns(rows, clusterRow.noun), notFound(err, "clusters")
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
