-- VEX documents that are attached to images in their registries, and how risks were before.

-- +goose Up
-- What was last seen attached to a manifest, and what was made of it: the
-- exceptions with this source. With a problem nothing was.
CREATE TABLE attached_vex (
    manifest_id BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    document    TEXT COLLATE "C" NOT NULL, -- digest of the blob
    media_type  TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL, -- which the document gives itself
    author      TEXT COLLATE "C" NOT NULL,
    source      TEXT COLLATE "C" NOT NULL,
    statements  BIGINT NOT NULL,
    exceptions  BIGINT NOT NULL,
    problem     TEXT COLLATE "C" NOT NULL,
    seen        BIGINT NOT NULL,
    PRIMARY KEY (manifest_id, document)
);

-- How things stood at the end of a day, or stand today: images by their risk, and
-- vulnerabilities in packages of images that nobody had handled, by severity. day
-- counts days since 1970 in UTC. unknown are images that were not judged as a whole.
CREATE TABLE risk_days (
    day                   BIGINT NOT NULL,
    project_id            TEXT COLLATE "C" NOT NULL,
    enterprise_project_id TEXT COLLATE "C" NOT NULL,
    high                  BIGINT NOT NULL,
    medium                BIGINT NOT NULL,
    low                   BIGINT NOT NULL,
    secure                BIGINT NOT NULL,
    unknown               BIGINT NOT NULL,
    open_critical         BIGINT NOT NULL,
    open_high             BIGINT NOT NULL,
    open_medium           BIGINT NOT NULL,
    open_low              BIGINT NOT NULL,
    PRIMARY KEY (project_id, enterprise_project_id, day)
);

-- For the history of one image. (One on finding_change_images would make each
-- change of many images slower; changes that are about many are few.)
CREATE INDEX finding_changes_manifest ON finding_changes (manifest_id, id);
