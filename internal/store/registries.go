package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// RegistryFilter says which registries to list. What is empty lets all
// through. Name and Address are exact, but * stands for any run of characters.
type RegistryFilter struct {
	ID, Name, Address string
	Types             []tidewaiter.RegistryType
	Status            tidewaiter.RegistryStatus
}

type registryRow struct {
	bun.BaseModel `bun:"registries"`

	Number              int64 `bun:",pk,autoincrement"`
	ID                  string
	ProjectID           string
	EnterpriseProjectID string
	Name                string
	Type                tidewaiter.RegistryType
	APIVersion          string
	Protocol            string
	Address             string
	Username            string
	Namespace           string
	ClusterID           string
	Channel             string
	Settings            string // JSON, a settingsDocument
	Revision            int64
	Status              tidewaiter.RegistryStatus
	FailReason          string
	FailDetail          string
	Checked             int64
	Images              int
	Synced              int64
	NextSync            int64
	Created             int64
	Updated             int64
}

type settingsDocument struct {
	CA               string   `json:"ca,omitempty"`
	SkipTLSVerify    bool     `json:"skip_tls_verify,omitempty"`
	TokenHosts       []string `json:"token_hosts,omitempty"`
	Include          []string `json:"include,omitempty"`
	Exclude          []string `json:"exclude,omitempty"`
	IncludeTags      []string `json:"include_tags,omitempty"`
	ExcludeTags      []string `json:"exclude_tags,omitempty"`
	Repositories     []string `json:"repositories,omitempty"`
	RequestBudget    int      `json:"request_budget,omitempty"`
	SyncAt           string   `json:"sync_at,omitempty"`
	SWRAPI           string   `json:"swr_api,omitempty"`
	SWRProjectID     string   `json:"swr_project_id,omitempty"`
	SWRInstanceID    string   `json:"swr_instance_id,omitempty"`
	SWRInstanceName  string   `json:"swr_instance_name,omitempty"`
	SWRAccessKey     string   `json:"swr_access_key,omitempty"`
	ArtifactoryWay   string   `json:"artifactory_way,omitempty"`
	TrustAttachedVEX bool     `json:"trust_attached_vex,omitempty"`
}

func decodeSettings(registryID, text string) (tidewaiter.RegistrySettings, error) {
	var d settingsDocument
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return tidewaiter.RegistrySettings{}, fmt.Errorf("read settings of registry %q: %w", registryID, err)
	}
	return tidewaiter.RegistrySettings(d), nil
}

func (r registryRow) noun() (tidewaiter.Registry, error) {
	settings, err := decodeSettings(r.ID, r.Settings)
	if err != nil {
		return tidewaiter.Registry{}, err
	}
	return tidewaiter.Registry{
		ID: r.ID, ProjectID: r.ProjectID, EnterpriseProjectID: r.EnterpriseProjectID, Name: r.Name,
		Type: r.Type, APIVersion: r.APIVersion, Protocol: r.Protocol, Address: r.Address, Username: r.Username,
		Namespace: r.Namespace, ClusterID: r.ClusterID, Channel: r.Channel, Settings: settings, Revision: r.Revision,
		Status: r.Status, FailReason: r.FailReason, FailDetail: r.FailDetail, Checked: optionalTime(r.Checked),
		Images: r.Images, Synced: optionalTime(r.Synced), NextSync: optionalTime(r.NextSync),
		Created: fromMicros(r.Created), Updated: fromMicros(r.Updated),
	}, nil
}

func newRegistryRow(r tidewaiter.Registry) (registryRow, error) {
	settings, err := json.Marshal(settingsDocument(r.Settings))
	if err != nil {
		return registryRow{}, fmt.Errorf("write settings of registry %q: %w", r.ID, err)
	}
	return registryRow{
		ID: r.ID, ProjectID: r.ProjectID, EnterpriseProjectID: r.EnterpriseProjectID, Name: r.Name,
		Type: r.Type, APIVersion: r.APIVersion, Protocol: r.Protocol, Address: r.Address, Username: r.Username,
		Namespace: r.Namespace, ClusterID: r.ClusterID, Channel: r.Channel, Settings: string(settings), Revision: r.Revision,
		Status: r.Status, FailReason: r.FailReason, FailDetail: r.FailDetail, Checked: optionalMicros(r.Checked),
		Images: r.Images, Synced: optionalMicros(r.Synced), NextSync: optionalMicros(r.NextSync),
		Created: micros(r.Created), Updated: micros(r.Updated),
	}, nil
}

func registryNouns(rows []registryRow, err error) ([]tidewaiter.Registry, error) {
	if err != nil {
		return nil, notFound(err, "registries")
	}
	list := make([]tidewaiter.Registry, len(rows))
	for i, row := range rows {
		if list[i], err = row.noun(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// CreateRegistry adds a registry. Its name is unique in its project. Errors:
// Conflict (the name), NotFound if its cluster is not there.
func (db *DB) CreateRegistry(ctx context.Context, r tidewaiter.Registry) error {
	row, err := newRegistryRow(r)
	if err != nil {
		return err
	}
	_, err = db.write.NewInsert().Model(&row).Returning("NULL").Exec(ctx)
	return conflict(err, "registry")
}

// Registry returns the registry of an id.
func (db *DB) Registry(ctx context.Context, id string) (tidewaiter.Registry, error) {
	return db.registry(ctx, id, "")
}

// LockRegistry returns the registry of an id and keeps others who call it for
// the same one from going on until the transaction ends. It does not keep them
// from reading, nor from writing without the lock.
func (db *DB) LockRegistry(ctx context.Context, id string) (tidewaiter.Registry, error) {
	return db.registry(ctx, id, db.forUpdate())
}

func (db *DB) registry(ctx context.Context, id string, lock bun.Safe) (tidewaiter.Registry, error) {
	var row registryRow
	if err := db.read.NewRaw("SELECT * FROM registries WHERE id = ??", id, lock).Scan(ctx, &row); err != nil {
		return tidewaiter.Registry{}, notFound(err, "registry")
	}
	return row.noun()
}

// Registries returns a page of the registries of an extent that the filter
// lets through, newest first, and how many there are in all.
func (db *DB) Registries(ctx context.Context, e tidewaiter.Extent, f RegistryFilter, p Page) ([]tidewaiter.Registry, int, error) {
	var rows []registryRow
	total := 0
	err := db.snapshot(ctx, func(tx *DB) error {
		q := in(extent(tx.read.NewSelect().Model(&rows), e), "type", f.Types)
		q = tx.like(tx.like(q, "name", f.Name), "address", f.Address)
		if f.ID != "" {
			q = q.Where("id = ?", f.ID)
		}
		if f.Status != "" {
			q = q.Where("status = ?", f.Status)
		}
		var err error
		total, err = paged(ctx, q, p, "registries", "created DESC", "number DESC")
		return err
	})
	list, err := registryNouns(rows, err)
	return list, total, err
}

// RegistriesOfCluster returns the registries that the components of a cluster
// reach, oldest first.
func (db *DB) RegistriesOfCluster(ctx context.Context, clusterID string) ([]tidewaiter.Registry, error) {
	var rows []registryRow
	err := db.read.NewSelect().Model(&rows).Where("cluster_id = ?", clusterID).Order("number").Scan(ctx)
	return registryNouns(rows, err)
}

// RegistriesAfter returns registries of all projects with greater ids than
// one, by id.
func (db *DB) RegistriesAfter(ctx context.Context, id string, limit int) ([]tidewaiter.Registry, error) {
	var rows []registryRow
	err := db.read.NewSelect().Model(&rows).Where("id > ?", id).Order("id").Limit(int64(limit)).Scan(ctx)
	return registryNouns(rows, err)
}

// DueRegistries returns registries of all projects that are to be synchronised
// by now, those that waited longest first.
func (db *DB) DueRegistries(ctx context.Context, now time.Time, limit int) ([]tidewaiter.Registry, error) {
	var rows []registryRow
	err := db.read.NewSelect().Model(&rows).Where("next_sync > 0 AND next_sync <= ?", micros(now)).
		Order("next_sync", "number").Limit(int64(limit)).Scan(ctx)
	return registryNouns(rows, err)
}

// RegistryCounts returns how many registries of some types, nil for all, an
// extent has in each status. A status that none has is left out.
func (db *DB) RegistryCounts(ctx context.Context, e tidewaiter.Extent, types []tidewaiter.RegistryType) (map[tidewaiter.RegistryStatus]int, error) {
	var rows []struct {
		Status tidewaiter.RegistryStatus
		Count  int
	}
	err := in(extent(db.read.NewSelect().Table("registries"), e), "type", types).
		Column("status").ColumnExpr("COUNT(*) AS count").Group("status").Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("count registries: %w", err)
	}
	counts := make(map[tidewaiter.RegistryStatus]int, len(rows))
	for _, r := range rows {
		counts[r.Status] = r.Count
	}
	return counts, nil
}

// CountRegistries returns how many registries a project has.
func (db *DB) CountRegistries(ctx context.Context, projectID string) (int, error) {
	n := 0
	err := db.read.NewRaw("SELECT COUNT(*) FROM registries WHERE project_id = ?", projectID).Scan(ctx, &n)
	return n, notFound(err, "registries")
}

// UpdateRegistry writes what a user sets of a registry, with its revision,
// status, schedule and time of change, if its revision is still the one given.
// Errors: NotFound; Conflict (the revision moved on, or the name is taken).
func (db *DB) UpdateRegistry(ctx context.Context, r tidewaiter.Registry, revision int64) error {
	row, err := newRegistryRow(r)
	if err != nil {
		return err
	}
	res, err := db.write.NewUpdate().Model(&row).
		ExcludeColumn("number", "id", "project_id", "checked", "images", "synced", "created").
		Where("id = ? AND revision = ?", r.ID, revision).Exec(ctx)
	return db.swapped(ctx, res, err, "registries", "registry", r.ID, "the registry was changed meanwhile; read it again and repeat the change")
}

// SetRegistryStatus writes what an access check found out about a registry, if
// its revision is still the one that was checked. Errors: NotFound if it is
// not, or there is no such registry.
func (db *DB) SetRegistryStatus(ctx context.Context, id string, revision int64, status tidewaiter.RegistryStatus, reason, detail string, checked time.Time) error {
	r, err := db.write.NewRaw("UPDATE registries SET status = ?, fail_reason = ?, fail_detail = ?, checked = ? WHERE id = ? AND revision = ?",
		status, reason, detail, optionalMicros(checked), id, revision).Exec(ctx)
	return changed(r, err, "registry at that revision")
}

// SetRegistrySynced notes that a synchronisation of a registry ended well, and
// how many images it found.
func (db *DB) SetRegistrySynced(ctx context.Context, id string, images int, synced time.Time) error {
	r, err := db.write.NewRaw("UPDATE registries SET images = ?, synced = ? WHERE id = ?", images, optionalMicros(synced), id).Exec(ctx)
	return changed(r, err, "registry")
}

// SetNextSync sets when a registry is synchronised from one time to another;
// zero is never. Errors: NotFound; Conflict if it is not the first time.
func (db *DB) SetNextSync(ctx context.Context, id string, from, to time.Time) error {
	r, err := db.write.NewRaw("UPDATE registries SET next_sync = ? WHERE id = ? AND next_sync = ?",
		optionalMicros(to), id, optionalMicros(from)).Exec(ctx)
	return db.swapped(ctx, r, err, "registries", "registry", id, "the schedule of the registry was changed meanwhile")
}

// DeleteRegistry removes a registry with all that hangs on it: secrets, the
// last check, repositories, manifests and images. What tasks say of it stays,
// and so does work about it: see [DB.StopWork]. Errors: NotFound.
func (db *DB) DeleteRegistry(ctx context.Context, id string) error {
	return db.Tx(ctx, func(tx *DB) error {
		if err := tx.HoldFindings(ctx); err != nil {
			return err
		}
		number, err := tx.lockNumber(ctx, id)
		if err != nil {
			return err
		}
		if err := tx.uncountSoftware(ctx, number); err != nil {
			return err
		}
		if err := tx.uncountVulnerabilities(ctx, number, "registry_number = ?", number); err != nil {
			return err
		}
		if err := tx.dropAttachedExceptions(ctx, "manifest_id IN (SELECT id FROM manifests WHERE registry_number = ?)", number); err != nil {
			return err
		}
		// Table by table, which is several times faster than row by row, as the
		// references would have it.
		for _, query := range []string{
			"INSERT INTO dead_manifests (manifest_id) SELECT manifest_id FROM scan_results WHERE registry_number = ?",
			"DELETE FROM package_counts WHERE registry_number = ?",
			"DELETE FROM hidden_files WHERE manifest_id IN (SELECT manifest_id FROM scan_results WHERE registry_number = ?)",
			"DELETE FROM manifest_layers WHERE manifest_id IN (SELECT manifest_id FROM scan_results WHERE registry_number = ?)",
			"DELETE FROM image_risks WHERE registry_number = ?",
			"DELETE FROM scan_results WHERE registry_number = ?",
			"DELETE FROM scans WHERE registry_number = ?",
			"DELETE FROM images WHERE registry_number = ?",
			"DELETE FROM image_counts WHERE registry_number = ?",
			"DELETE FROM skipped_tags WHERE repository_id IN (SELECT id FROM repositories WHERE registry_number = ?)",
			"DELETE FROM repositories WHERE registry_number = ?",
			"DELETE FROM manifest_children WHERE parent_id IN (SELECT id FROM manifests WHERE registry_number = ?)",
			"DELETE FROM attached_vex WHERE manifest_id IN (SELECT id FROM manifests WHERE registry_number = ?)",
			"DELETE FROM manifests WHERE registry_number = ?",
			"DELETE FROM registries WHERE number = ?",
		} {
			if _, err := tx.write.NewRaw(query, number).Exec(ctx); err != nil {
				return fmt.Errorf("delete registry: %w", err)
			}
		}
		return nil
	})
}

// lockNumber returns the number of a registry, and locks it against deletion
// and others who lock it.
func (db *DB) lockNumber(ctx context.Context, id string) (int64, error) {
	var number int64
	err := db.read.NewRaw("SELECT number FROM registries WHERE id = ??", id, db.forUpdate()).Scan(ctx, &number)
	return number, notFound(err, "registry")
}

// number returns the number of a registry.
func (db *DB) number(ctx context.Context, id string) (int64, error) {
	var number int64
	err := db.read.NewRaw("SELECT number FROM registries WHERE id = ?", id).Scan(ctx, &number)
	return number, notFound(err, "registry")
}
