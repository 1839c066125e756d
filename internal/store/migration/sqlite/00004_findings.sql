-- Advisories, what they say about what images hold, and what people say to that.

-- +goose Up
-- Sets of advisories that this server knows: each is a file, named by its digest.
-- newest is when the newest of the advisories was changed. document is JSON: what
-- it was made of.
CREATE TABLE advisory_sets (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    digest     TEXT    NOT NULL,
    size       BIGINT  NOT NULL,
    newest     BIGINT  NOT NULL,
    advisories BIGINT  NOT NULL,
    created    BIGINT  NOT NULL,
    document   TEXT    NOT NULL
);
CREATE UNIQUE INDEX advisory_sets_digest ON advisory_sets (digest);

-- One row. set_number is the set in force, 0 for none. generation counts the
-- changes of it: what is known of packages is as of this one, always. rules are
-- those by which packages were matched (advisory.Rules).
CREATE TABLE advisory_state (
    id         BIGINT NOT NULL PRIMARY KEY,
    set_number BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    rules      BIGINT NOT NULL,
    activated  BIGINT NOT NULL
);
INSERT INTO advisory_state (id, set_number, generation, rules, activated) VALUES (1, 0, 0, 0, 0);

-- Where the advisories of the next set come from: files and URLs, as they were
-- imported last. digest names the file that was kept of it. document is JSON.
CREATE TABLE advisory_sources (
    location TEXT   NOT NULL PRIMARY KEY,
    digest   TEXT   NOT NULL,
    newest   BIGINT NOT NULL,
    imported BIGINT NOT NULL,
    document TEXT   NOT NULL
);

-- Files of sets and sources, in pieces, where replicas have no folder in common.
CREATE TABLE advisory_files (
    digest   TEXT   NOT NULL,
    position BIGINT NOT NULL,
    piece    BLOB   NOT NULL,
    PRIMARY KEY (digest, position)
);

-- A vulnerability by the name that people know it by, once for the packages of
-- operating systems, and once for those of applications. severity is the highest
-- that it has in any package, as a rank: 0 none, 1 low, 2 unknown, 3 medium, 4 high,
-- 5 critical. score is in hundredths, 0 if nobody gave one. exploited is since when it
-- is known to be exploited, or 0. created is when it was first found anywhere.
CREATE TABLE vulnerabilities (
    id        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name      TEXT    NOT NULL,
    is_system BOOLEAN NOT NULL,
    severity  BIGINT  NOT NULL,
    score     BIGINT  NOT NULL,
    exploited BIGINT  NOT NULL,
    created   BIGINT  NOT NULL
);
CREATE UNIQUE INDEX vulnerabilities_name ON vulnerabilities (name, is_system);
CREATE INDEX vulnerabilities_severity ON vulnerabilities (is_system, severity, score, name);

-- Which versions of packages were matched: all that an image holds. gap is why
-- advisories may be missing, or ''.
CREATE TABLE package_matches (
    package_id BIGINT NOT NULL PRIMARY KEY,
    gap        TEXT   NOT NULL
);
-- The names under which advisories may speak of a package.
CREATE TABLE package_subjects (
    name       TEXT   NOT NULL,
    ecosystem  TEXT   NOT NULL,
    package_id BIGINT NOT NULL,
    PRIMARY KEY (name, ecosystem, package_id)
) WITHOUT ROWID;
CREATE INDEX package_subjects_ecosystem ON package_subjects (ecosystem, package_id);

-- What vulnerabilities a version of a package has, as of the set in force.
-- set_number is the set with which that was last changed, first_seen when it
-- was first known. document is JSON: why.
CREATE TABLE package_vulnerabilities (
    package_id       BIGINT NOT NULL,
    vulnerability_id BIGINT NOT NULL,
    severity         BIGINT NOT NULL,
    score            BIGINT NOT NULL,
    advisory         TEXT   NOT NULL,
    status           TEXT   NOT NULL,
    fixed            TEXT   NOT NULL,
    first_seen       BIGINT NOT NULL,
    set_number       BIGINT NOT NULL,
    document         TEXT   NOT NULL,
    PRIMARY KEY (package_id, vulnerability_id)
) WITHOUT ROWID;
CREATE INDEX package_vulnerabilities_vulnerability ON package_vulnerabilities (vulnerability_id, package_id, severity, score);

-- How many vulnerabilities in packages an image of one platform has, of each
-- severity, that nobody has handled; how many that somebody has; and how many of
-- its packages have a gap. since is when it was first scanned.
CREATE TABLE image_risks (
    manifest_id     BIGINT NOT NULL PRIMARY KEY REFERENCES manifests (id) ON DELETE CASCADE,
    registry_number BIGINT NOT NULL REFERENCES registries (number) ON DELETE CASCADE,
    none            BIGINT NOT NULL,
    low             BIGINT NOT NULL,
    unknown         BIGINT NOT NULL,
    medium          BIGINT NOT NULL,
    high            BIGINT NOT NULL,
    critical        BIGINT NOT NULL,
    handled         BIGINT NOT NULL,
    gaps            BIGINT NOT NULL,
    since           BIGINT NOT NULL
);
CREATE INDEX image_risks_registry ON image_risks (registry_number);

-- How many images of one platform have a vulnerability in a package that nobody
-- has handled; how many have it only in packages where somebody has.
CREATE TABLE vulnerability_counts (
    vulnerability_id      BIGINT NOT NULL,
    project_id            TEXT   NOT NULL,
    enterprise_project_id TEXT   NOT NULL,
    images                BIGINT NOT NULL,
    handled               BIGINT NOT NULL,
    ever                  BIGINT NOT NULL,
    PRIMARY KEY (project_id, enterprise_project_id, vulnerability_id)
) WITHOUT ROWID;
CREATE INDEX vulnerability_counts_vulnerability ON vulnerability_counts (vulnerability_id);

-- What people and documents say to vulnerabilities: in which images, of which
-- enterprise project ('' for all), in which packages ('' for all, else a package
-- URL with or without version) they count as handled. vulnerability is a name;
-- system says of which packages: 'linux_vul', 'app_vul', or '' for both.
CREATE TABLE exceptions (
    number                INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id                    TEXT    NOT NULL,
    project_id            TEXT    NOT NULL,
    enterprise_project_id TEXT    NOT NULL,
    vulnerability         TEXT    NOT NULL,
    kind                  TEXT    NOT NULL,
    action                TEXT    NOT NULL,
    scope                 TEXT    NOT NULL,
    registry_types        TEXT    NOT NULL,
    package               TEXT    NOT NULL,
    status                TEXT    NOT NULL,
    justification         TEXT    NOT NULL,
    remark                TEXT    NOT NULL,
    source                TEXT    NOT NULL,
    author                TEXT    NOT NULL,
    created               BIGINT  NOT NULL,
    updated               BIGINT  NOT NULL,
    expires               BIGINT  NOT NULL
);
CREATE UNIQUE INDEX exceptions_id ON exceptions (id);
CREATE INDEX exceptions_vulnerability ON exceptions (vulnerability, project_id);
CREATE INDEX exceptions_project ON exceptions (project_id, action, created);
CREATE INDEX exceptions_source ON exceptions (source) WHERE source <> '';
CREATE INDEX exceptions_expires ON exceptions (expires) WHERE expires > 0;

-- The images of an exception that is about given ones: image_id is a tag's, or 0
-- where an image is meant by its content alone. manifest_id is what stands there
-- now, 0 for nothing.
CREATE TABLE exception_images (
    exception_number BIGINT NOT NULL REFERENCES exceptions (number) ON DELETE CASCADE,
    image_id         BIGINT NOT NULL,
    manifest_id      BIGINT NOT NULL,
    PRIMARY KEY (exception_number, image_id, manifest_id)
);
CREATE INDEX exception_images_manifest ON exception_images (manifest_id);
CREATE INDEX exception_images_image ON exception_images (image_id) WHERE image_id > 0;

-- What people did about vulnerabilities. What it is about may be gone by now.
CREATE TABLE exception_history (
    id                    INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    project_id            TEXT    NOT NULL,
    enterprise_project_id TEXT    NOT NULL,
    vulnerability         TEXT    NOT NULL,
    kind                  TEXT    NOT NULL,
    image_id              TEXT    NOT NULL,
    manifest_id           BIGINT  NOT NULL,
    namespace             TEXT    NOT NULL,
    image                 TEXT    NOT NULL,
    tag                   TEXT    NOT NULL,
    digest                TEXT    NOT NULL,
    package_name          TEXT    NOT NULL,
    package_version       TEXT    NOT NULL,
    package_path          TEXT    NOT NULL,
    action                TEXT    NOT NULL,
    remark                TEXT    NOT NULL,
    author                TEXT    NOT NULL,
    created               BIGINT  NOT NULL
);
CREATE INDEX exception_history_vulnerability ON exception_history (project_id, vulnerability, id);

-- What came and went, and why: cause is 'advisories', 'content' or 'exceptions'.
-- manifest_id is the image of a change of content, else 0, and
-- finding_change_images has the images. document is JSON in a zstd frame: which
-- vulnerabilities in which packages.
CREATE TABLE finding_changes (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    cause       TEXT    NOT NULL,
    set_number  BIGINT  NOT NULL,
    manifest_id BIGINT  NOT NULL,
    created     BIGINT  NOT NULL,
    document    BLOB    NOT NULL
);
CREATE INDEX finding_changes_created ON finding_changes (created);
CREATE TABLE finding_change_images (
    change_id   BIGINT NOT NULL REFERENCES finding_changes (id) ON DELETE CASCADE,
    manifest_id BIGINT NOT NULL,
    PRIMARY KEY (change_id, manifest_id)
) WITHOUT ROWID;

-- Who is told of changes. change_id and manifest_id name the last event that was
-- delivered. origin is scheme and host of the URL; sealed is the URL and the secret,
-- sealed with a key outside of the database.
CREATE TABLE webhooks (
    id          TEXT   NOT NULL PRIMARY KEY,
    project_id  TEXT   NOT NULL,
    origin      TEXT   NOT NULL,
    sealed      BLOB   NOT NULL,
    change_id   BIGINT NOT NULL,
    manifest_id BIGINT NOT NULL,
    failures    BIGINT NOT NULL,
    problem     TEXT   NOT NULL,
    next_due    BIGINT NOT NULL,
    created     BIGINT NOT NULL
);
CREATE INDEX webhooks_project ON webhooks (project_id);
CREATE INDEX webhooks_next_due ON webhooks (next_due);

-- Lists of images take the number of vulnerabilities from image_risks. What stays
-- with images is what they filter by.
ALTER TABLE images RENAME COLUMN vulnerabilities TO vulnerable;
ALTER TABLE scans RENAME COLUMN vulnerabilities TO vulnerable;
