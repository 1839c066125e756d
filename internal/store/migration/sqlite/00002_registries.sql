-- Clusters, components and their work; registries and what is in them.

-- +goose Up
-- project_id '' is every project. Projects may be those of an external identity
-- service, so that there is no reference to them.
CREATE TABLE clusters (
    id         TEXT   NOT NULL PRIMARY KEY,
    project_id TEXT   NOT NULL,
    name       TEXT NOT NULL,
    kind       TEXT   NOT NULL,
    recipient  TEXT   NOT NULL,
    key_epoch  BIGINT NOT NULL,
    created    BIGINT NOT NULL
);
CREATE UNIQUE INDEX clusters_name ON clusters (project_id, name);

CREATE TABLE components (
    id                 TEXT   NOT NULL PRIMARY KEY,
    cluster_id         TEXT   NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    name               TEXT   NOT NULL,
    version            TEXT   NOT NULL,
    platform           TEXT   NOT NULL,
    protocol           BIGINT NOT NULL,
    signing_key        BLOB NOT NULL,
    recipient          TEXT   NOT NULL,
    cluster_recipient  TEXT   NOT NULL,
    sealed_cluster_key BLOB,
    enrolled           BIGINT NOT NULL,
    seen               BIGINT NOT NULL
);
CREATE INDEX components_cluster ON components (cluster_id);

-- hash is the SHA-256 of a one-time token. component_id is who has used it.
CREATE TABLE enrolments (
    hash         BLOB NOT NULL PRIMARY KEY,
    cluster_id   TEXT   NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    component_id TEXT   REFERENCES components (id) ON DELETE CASCADE,
    created      BIGINT NOT NULL,
    expires      BIGINT NOT NULL
);
CREATE INDEX enrolments_cluster ON enrolments (cluster_id);
CREATE INDEX enrolments_component ON enrolments (component_id);
CREATE INDEX enrolments_expires ON enrolments (expires);

-- subject is a registry's id, or for share_key a component's. attempt only grows:
-- it fences. failures are the leases that came to nothing.
CREATE TABLE work (
    id         TEXT    NOT NULL PRIMARY KEY,
    cluster_id TEXT    NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    kind       TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    attempt    BIGINT  NOT NULL,
    failures   BIGINT  NOT NULL,
    owner      TEXT    NOT NULL,
    deadline   BIGINT  NOT NULL,
    not_before BIGINT  NOT NULL,
    stop       BOOLEAN NOT NULL,
    progress   TEXT    NOT NULL,
    created    BIGINT  NOT NULL,
    finished   BIGINT  NOT NULL,
    failure    TEXT    NOT NULL
);
CREATE INDEX work_next ON work (cluster_id, state, created);
CREATE INDEX work_subject ON work (subject, kind, created);
CREATE INDEX work_state ON work (state, deadline);
CREATE INDEX work_owner ON work (owner, state);
CREATE INDEX work_finished ON work (finished);

-- number is the key within the database: what is in a registry refers to it, for
-- indexes half the size. It orders the registries by their age.
CREATE TABLE registries (
    number                INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id                    TEXT   NOT NULL,
    project_id            TEXT   NOT NULL,
    enterprise_project_id TEXT   NOT NULL,
    name                  TEXT NOT NULL,
    type                  TEXT   NOT NULL,
    api_version           TEXT   NOT NULL,
    protocol              TEXT   NOT NULL,
    address               TEXT NOT NULL,
    username              TEXT   NOT NULL,
    namespace             TEXT   NOT NULL,
    cluster_id            TEXT   NOT NULL REFERENCES clusters (id),
    channel               TEXT   NOT NULL,
    settings              TEXT   NOT NULL,
    revision              BIGINT NOT NULL,
    status                TEXT   NOT NULL,
    fail_reason           TEXT   NOT NULL,
    fail_detail           TEXT   NOT NULL,
    checked               BIGINT NOT NULL,
    images                BIGINT NOT NULL,
    synced                BIGINT NOT NULL,
    next_sync             BIGINT NOT NULL,
    created               BIGINT NOT NULL,
    updated               BIGINT NOT NULL
);
CREATE UNIQUE INDEX registries_id ON registries (id);
CREATE UNIQUE INDEX registries_name ON registries (project_id, name);
CREATE INDEX registries_cluster ON registries (cluster_id);
CREATE INDEX registries_next_sync ON registries (next_sync);

-- sealed is an age file that only the components of the registry's cluster open.
CREATE TABLE registry_secrets (
    registry_id TEXT NOT NULL REFERENCES registries (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    recipient   TEXT NOT NULL,
    sealed      BLOB NOT NULL,
    PRIMARY KEY (registry_id, name)
);
CREATE INDEX registry_secrets_recipient ON registry_secrets (recipient);

-- The last access check of a registry. report is JSON.
CREATE TABLE registry_checks (
    registry_id TEXT   NOT NULL PRIMARY KEY REFERENCES registries (id) ON DELETE CASCADE,
    work_id     TEXT   NOT NULL,
    report      TEXT   NOT NULL,
    ended       BIGINT NOT NULL
);

CREATE TABLE sync_tasks (
    id                    TEXT   NOT NULL PRIMARY KEY,
    project_id            TEXT   NOT NULL,
    enterprise_project_id TEXT   NOT NULL,
    kind                  TEXT   NOT NULL,
    created               BIGINT NOT NULL,
    ended                 BIGINT NOT NULL
);
CREATE INDEX sync_tasks_project ON sync_tasks (project_id, created);
CREATE INDEX sync_tasks_ended ON sync_tasks (ended);

-- registry_id is no reference: what a task did outlives the registry.
CREATE TABLE sync_task_registries (
    task_id       TEXT   NOT NULL REFERENCES sync_tasks (id) ON DELETE CASCADE,
    registry_id   TEXT   NOT NULL,
    registry_name TEXT NOT NULL,
    registry_type TEXT   NOT NULL,
    work_id       TEXT   NOT NULL,
    status        TEXT   NOT NULL,
    failed_reason TEXT   NOT NULL,
    ended         BIGINT NOT NULL,
    PRIMARY KEY (task_id, registry_id)
);
CREATE INDEX sync_task_registries_work ON sync_task_registries (work_id);

-- sync_id is the work that has last listed all of the repository. namespace and
-- image are the parts of the name; images counts those that are not gone.
CREATE TABLE repositories (
    id              INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    registry_number BIGINT  NOT NULL REFERENCES registries (number) ON DELETE CASCADE,
    name            TEXT    NOT NULL,
    namespace       TEXT    NOT NULL,
    image           TEXT    NOT NULL,
    owner           TEXT    NOT NULL,
    problem         TEXT    NOT NULL,
    skipped         TEXT    NOT NULL,
    images          BIGINT  NOT NULL,
    sync_id         TEXT    NOT NULL,
    synced          BIGINT  NOT NULL,
    gone            BIGINT  NOT NULL
);
CREATE UNIQUE INDEX repositories_name ON repositories (registry_number, name);
CREATE INDEX repositories_image ON repositories (registry_number, image, namespace, synced, images);
CREATE INDEX repositories_gone ON repositories (gone) WHERE gone > 0;

-- review is since when a manifest may be unused, 0 once it was seen to be in use.
CREATE TABLE manifests (
    id              INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    registry_number BIGINT  NOT NULL REFERENCES registries (number) ON DELETE CASCADE,
    digest          TEXT    NOT NULL,
    media_type      TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    image_id        TEXT    NOT NULL,
    size            BIGINT  NOT NULL,
    os              TEXT    NOT NULL,
    architecture    TEXT    NOT NULL,
    variant         TEXT    NOT NULL,
    os_version      TEXT    NOT NULL,
    created         BIGINT  NOT NULL,
    review          BIGINT  NOT NULL
);
CREATE UNIQUE INDEX manifests_digest ON manifests (registry_number, digest);
CREATE INDEX manifests_review ON manifests (review) WHERE review > 0;

CREATE TABLE manifest_children (
    parent_id BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    position  BIGINT NOT NULL,
    child_id  BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    PRIMARY KEY (parent_id, position)
);
CREATE INDEX manifest_children_child ON manifest_children (child_id);

-- Tags that stand for something else than an image. They keep their manifests,
-- so that these are not looked into again each day.
CREATE TABLE skipped_tags (
    repository_id BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    tag           TEXT   NOT NULL,
    manifest_id   BIGINT NOT NULL REFERENCES manifests (id),
    sync_id       TEXT   NOT NULL,
    PRIMARY KEY (repository_id, tag)
);
CREATE INDEX skipped_tags_manifest ON skipped_tags (manifest_id);

-- sync_id is the work that has last seen the tag. facet is what the lists filter
-- by and what has few values, in one number (facet.go knows its parts).
CREATE TABLE images (
    id               INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    registry_number  BIGINT  NOT NULL REFERENCES registries (number) ON DELETE CASCADE,
    repository_id    BIGINT  NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    tag              TEXT    NOT NULL,
    manifest_id      BIGINT  NOT NULL REFERENCES manifests (id),
    size             BIGINT  NOT NULL,
    multi_arch       BOOLEAN NOT NULL,
    latest           BOOLEAN NOT NULL,
    updated          BIGINT  NOT NULL,
    sync_id          TEXT    NOT NULL,
    gone             BIGINT  NOT NULL,
    scan_status      TEXT    NOT NULL,
    scan_failed_code TEXT    NOT NULL,
    scanned          BIGINT  NOT NULL,
    vulnerabilities  BIGINT  NOT NULL,
    unsafe_settings  BIGINT  NOT NULL,
    malicious_files  BIGINT  NOT NULL,
    severity         TEXT    NOT NULL,
    facet            BIGINT  NOT NULL
);
CREATE UNIQUE INDEX images_tag ON images (repository_id, tag);
-- The order of the lists, with all that they filter by.
CREATE INDEX images_list ON images (registry_number, repository_id, id, facet, tag, size, updated, scanned);
CREATE INDEX images_facet ON images (registry_number, facet, repository_id, id);
CREATE INDEX images_by_tag ON images (tag, registry_number, facet);
CREATE INDEX images_by_size ON images (size, registry_number, facet);
CREATE INDEX images_updated ON images (registry_number, updated, facet);
CREATE INDEX images_scanned ON images (scanned, registry_number, id, facet) WHERE scanned > 0;
CREATE INDEX images_manifest ON images (manifest_id);
CREATE INDEX images_gone ON images (gone) WHERE gone > 0;

-- How many images of a registry have a facet.
CREATE TABLE image_counts (
    registry_number BIGINT NOT NULL REFERENCES registries (number) ON DELETE CASCADE,
    facet           BIGINT NOT NULL,
    images          BIGINT NOT NULL,
    PRIMARY KEY (registry_number, facet)
);
