-- Scans: tasks, what layers hold, and what images do.

-- +goose Up
-- priority: lower goes first. Within it the work that is due for longest does.
-- lost counts those of the failures that nobody reported.
ALTER TABLE work ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
ALTER TABLE work ADD COLUMN lost BIGINT NOT NULL DEFAULT 0;
DROP INDEX work_next;
CREATE INDEX work_queued ON work (cluster_id, kind, priority, not_before, id) WHERE state = 'queued';
CREATE INDEX work_leased ON work (cluster_id, kind, deadline) WHERE state = 'leased';
CREATE INDEX work_failing ON work (failures) WHERE failures > 0;
CREATE INDEX work_kind ON work (kind, state, created);

-- limits is JSON, or '' for the usual ones.
ALTER TABLE clusters ADD COLUMN limits TEXT NOT NULL DEFAULT '';

-- What the scans of a manifest, be it an image's or an index's, have come to.
-- work_id is the work that is queued or under way, or ''. status is '' before
-- the first that ended. The rest is what lists of images show.
CREATE TABLE scans (
    manifest_id      BIGINT NOT NULL PRIMARY KEY REFERENCES manifests (id) ON DELETE CASCADE,
    registry_number  BIGINT NOT NULL REFERENCES registries (number) ON DELETE CASCADE,
    work_id          TEXT   NOT NULL,
    status           TEXT   NOT NULL,
    failed_code      TEXT   NOT NULL,
    reason           TEXT   NOT NULL,
    extractors       TEXT   NOT NULL,
    scanned          BIGINT NOT NULL,
    vulnerabilities  BIGINT NOT NULL,
    unsafe_settings  BIGINT NOT NULL,
    malicious_files  BIGINT NOT NULL,
    severity         TEXT   NOT NULL
);
CREATE INDEX scans_registry ON scans (registry_number);
CREATE INDEX scans_work ON scans (work_id) WHERE work_id <> '';

-- What one piece of work has reported of the images of an index, or of an image.
CREATE TABLE scan_parts (
    work_id     TEXT   NOT NULL REFERENCES work (id) ON DELETE CASCADE,
    manifest_id BIGINT NOT NULL,
    failed_code TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    PRIMARY KEY (work_id, manifest_id)
);

-- Layers that were looked into, by what was read (digest) and what the image
-- says that it is (diff_id). They are shared within a project and a cluster.
-- limits are those that a cut depends on, '' if there is no such cut.
CREATE TABLE layers (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    project_id TEXT    NOT NULL,
    cluster_id TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    diff_id    TEXT    NOT NULL,
    extractors TEXT    NOT NULL,
    limits     TEXT    NOT NULL,
    ready      BOOLEAN NOT NULL,
    size       BIGINT  NOT NULL,
    created    BIGINT  NOT NULL
);
CREATE UNIQUE INDEX layers_key ON layers (project_id, cluster_id, digest, diff_id, extractors);
CREATE INDEX layers_created ON layers (created);

-- facts is as package codec writes them.
CREATE TABLE layer_facts (
    layer_number BIGINT NOT NULL PRIMARY KEY REFERENCES layers (number) ON DELETE CASCADE,
    facts        BLOB   NOT NULL
);

-- Who is looking into a layer at the moment, by the lease of its work.
CREATE TABLE layer_claims (
    project_id TEXT   NOT NULL,
    cluster_id TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    diff_id    TEXT   NOT NULL,
    extractors TEXT   NOT NULL,
    work_id    TEXT   NOT NULL REFERENCES work (id) ON DELETE CASCADE,
    attempt    BIGINT NOT NULL,
    PRIMARY KEY (project_id, cluster_id, digest, diff_id, extractors)
);
CREATE INDEX layer_claims_work ON layer_claims (work_id);

-- The files of layers that belong to no package, by their names: the last parts of
-- their paths, with a to z for A to Z, as they are searched for.
CREATE TABLE file_names (
    id   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT    NOT NULL
);
CREATE UNIQUE INDEX file_names_name ON file_names (name);
-- entry is the place of a file in the list of its layer's, which is in order.
CREATE TABLE layer_files (
    layer_number BIGINT NOT NULL REFERENCES layers (number) ON DELETE CASCADE,
    entry        BIGINT NOT NULL,
    name_id      BIGINT NOT NULL,
    path         TEXT NOT NULL,
    size         BIGINT NOT NULL,
    PRIMARY KEY (layer_number, entry)
) WITHOUT ROWID;
CREATE INDEX layer_files_name ON layer_files (name_id, layer_number, entry);

-- What is known of an image of one platform: the last good result, or a partial
-- one while there is none. document has its config, build steps, packages and
-- cuts. chain_id is that of all its layers.
CREATE TABLE scan_results (
    manifest_id     BIGINT  NOT NULL PRIMARY KEY REFERENCES manifests (id) ON DELETE CASCADE,
    registry_number BIGINT  NOT NULL REFERENCES registries (number) ON DELETE CASCADE,
    complete        BOOLEAN NOT NULL,
    failed_code     TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    extractors      TEXT    NOT NULL,
    scanned         BIGINT  NOT NULL,
    chain_id        TEXT    NOT NULL,
    os_id           TEXT    NOT NULL,
    os_version      TEXT    NOT NULL,
    os_name         TEXT    NOT NULL,
    end_of_life     BIGINT  NOT NULL,
    packages        BIGINT  NOT NULL,
    files           BIGINT  NOT NULL,
    file_bytes      BIGINT  NOT NULL,
    loose_files     BIGINT  NOT NULL,
    document        BLOB    NOT NULL
);
CREATE INDEX scan_results_registry ON scan_results (registry_number, manifest_id, loose_files);
CREATE INDEX scan_results_chain ON scan_results (chain_id);

-- registry_number is that of the manifest, here and below.
CREATE TABLE manifest_layers (
    manifest_id     BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    position        BIGINT NOT NULL,
    layer_number    BIGINT NOT NULL REFERENCES layers (number),
    registry_number BIGINT NOT NULL,
    PRIMARY KEY (manifest_id, position)
) WITHOUT ROWID;
CREATE INDEX manifest_layers_layer ON manifest_layers (layer_number, registry_number, manifest_id, position);

-- Files of an image's layers that belong to no package of theirs, and yet are
-- not in the image, or belong to a package of it.
CREATE TABLE hidden_files (
    manifest_id     BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    position        BIGINT NOT NULL,
    entry           BIGINT NOT NULL,
    layer_number    BIGINT NOT NULL,
    registry_number BIGINT NOT NULL,
    PRIMARY KEY (manifest_id, position, entry)
) WITHOUT ROWID;
CREATE INDEX hidden_files_layer ON hidden_files (layer_number, entry, registry_number);

-- Each version of a package once for all images. fingerprint is the SHA-256 of
-- all other columns.
CREATE TABLE packages (
    id             INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    fingerprint    TEXT    NOT NULL,
    ecosystem      TEXT    NOT NULL,
    release        TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    version        TEXT    NOT NULL,
    source_name    TEXT    NOT NULL,
    source_version TEXT    NOT NULL,
    architecture   TEXT    NOT NULL,
    type           TEXT    NOT NULL,
    namespace      TEXT    NOT NULL
);
CREATE UNIQUE INDEX packages_fingerprint ON packages (fingerprint);
CREATE INDEX packages_name ON packages (name, id);

-- The files that say of packages that they are there.
CREATE TABLE package_paths (
    id   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL
);
CREATE UNIQUE INDEX package_paths_path ON package_paths (path);

-- Which images hold a package, by which file, and from which layer on: a position
-- in manifest_layers. The largest table by far: hence its narrow columns. Manifests
-- may be gone by now: dead_manifests has those whose rows are still to be removed.
CREATE TABLE image_packages (
    package_id      INTEGER NOT NULL,
    registry_number INTEGER NOT NULL,
    manifest_id     BIGINT  NOT NULL,
    path_id         INTEGER NOT NULL,
    origin          INTEGER NOT NULL,
    PRIMARY KEY (package_id, registry_number, manifest_id)
) WITHOUT ROWID;
CREATE INDEX image_packages_manifest ON image_packages (manifest_id);
CREATE TABLE dead_manifests (
    manifest_id BIGINT NOT NULL PRIMARY KEY
);

-- How many images hold a package, by registry; and a package of that name, whatever
-- its version, by enterprise project, each version that an image holds counted.
CREATE TABLE package_counts (
    package_id      BIGINT NOT NULL,
    registry_number BIGINT NOT NULL REFERENCES registries (number) ON DELETE CASCADE,
    images          BIGINT NOT NULL,
    PRIMARY KEY (package_id, registry_number)
) WITHOUT ROWID;
CREATE INDEX package_counts_registry ON package_counts (registry_number);
CREATE TABLE software_counts (
    project_id            TEXT NOT NULL,
    name                  TEXT NOT NULL,
    enterprise_project_id TEXT NOT NULL,
    images                BIGINT NOT NULL,
    PRIMARY KEY (project_id, name, enterprise_project_id)
) WITHOUT ROWID;

-- Images are asked for by the id that clients show.
CREATE INDEX manifests_image_id ON manifests (image_id);

-- selection is JSON: which images. cursor is the id of the last image that was
-- made an item of the task, all_there that the last one was. next_due is when
-- the next image may be scanned, with a rate limit.
-- looked counts the images that somebody had to look into. It was pace_looked
-- at pace_time, some minutes ago, and mark_looked at mark_time, which takes the
-- place of the former once it is some minutes ago itself.
CREATE TABLE scan_tasks (
    id                    TEXT    NOT NULL PRIMARY KEY,
    project_id            TEXT    NOT NULL,
    enterprise_project_id TEXT    NOT NULL,
    kind                  TEXT    NOT NULL,
    policy_id             TEXT    NOT NULL,
    state                 TEXT    NOT NULL,
    scope                 BIGINT  NOT NULL,
    rate_limit            BIGINT  NOT NULL,
    is_all                BOOLEAN NOT NULL,
    priority              BIGINT  NOT NULL,
    selection             TEXT    NOT NULL,
    cursor                BIGINT  NOT NULL,
    all_there             BOOLEAN NOT NULL,
    next_due              BIGINT  NOT NULL,
    total                 BIGINT  NOT NULL,
    succeeded             BIGINT  NOT NULL,
    failed                BIGINT  NOT NULL,
    risky                 BIGINT  NOT NULL,
    created               BIGINT  NOT NULL,
    ended                 BIGINT  NOT NULL,
    looked                BIGINT  NOT NULL,
    pace_time             BIGINT  NOT NULL,
    pace_looked           BIGINT  NOT NULL,
    mark_time             BIGINT  NOT NULL,
    mark_looked           BIGINT  NOT NULL
);
CREATE INDEX scan_tasks_project ON scan_tasks (project_id, created);
CREATE INDEX scan_tasks_state ON scan_tasks (state);
CREATE INDEX scan_tasks_ended ON scan_tasks (ended);

-- image_id and manifest_id are no references: what a task did outlives them.
CREATE TABLE scan_task_images (
    task_id     TEXT   NOT NULL REFERENCES scan_tasks (id) ON DELETE CASCADE,
    image_id    BIGINT NOT NULL,
    manifest_id BIGINT NOT NULL,
    status      TEXT   NOT NULL,
    PRIMARY KEY (task_id, image_id)
) WITHOUT ROWID;
CREATE INDEX scan_task_images_waiting ON scan_task_images (manifest_id, task_id) WHERE status = 'waiting';
CREATE TABLE scan_failures (
    task_id       TEXT   NOT NULL REFERENCES scan_tasks (id) ON DELETE CASCADE,
    image_id      BIGINT NOT NULL,
    registry_id   TEXT   NOT NULL,
    registry_name TEXT   NOT NULL,
    registry_type TEXT   NOT NULL,
    namespace     TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    tag           TEXT   NOT NULL,
    code          TEXT   NOT NULL,
    reason        TEXT   NOT NULL,
    PRIMARY KEY (task_id, image_id)
);

-- registries is JSON: their ids. next_run is 0 where enabled is not.
CREATE TABLE scan_policies (
    id                    TEXT    NOT NULL PRIMARY KEY,
    project_id            TEXT    NOT NULL,
    enterprise_project_id TEXT    NOT NULL,
    enabled               BOOLEAN NOT NULL,
    cycle_days            BIGINT  NOT NULL,
    scope                 BIGINT  NOT NULL,
    rate_limit            BIGINT  NOT NULL,
    time_scope            BIGINT  NOT NULL,
    registries            TEXT    NOT NULL,
    next_run              BIGINT  NOT NULL,
    updated               BIGINT  NOT NULL
);
CREATE UNIQUE INDEX scan_policies_project ON scan_policies (project_id, enterprise_project_id);
CREATE INDEX scan_policies_next_run ON scan_policies (next_run);

-- How many scans have succeeded, ever.
CREATE TABLE scan_totals (
    project_id            TEXT   NOT NULL,
    enterprise_project_id TEXT   NOT NULL,
    succeeded             BIGINT NOT NULL,
    PRIMARY KEY (project_id, enterprise_project_id)
);
