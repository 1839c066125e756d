-- VEX documents that are attached to images in their registries.

-- +goose Up
-- What was last seen attached to a manifest, and what was made of it: the
-- exceptions with this source. With a problem nothing was.
CREATE TABLE attached_vex (
    manifest_id BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    document    TEXT   NOT NULL, -- digest of the blob
    media_type  TEXT   NOT NULL,
    id          TEXT   NOT NULL, -- which the document gives itself
    author      TEXT   NOT NULL,
    source      TEXT   NOT NULL,
    statements  BIGINT NOT NULL,
    exceptions  BIGINT NOT NULL,
    problem     TEXT   NOT NULL,
    seen        BIGINT NOT NULL,
    PRIMARY KEY (manifest_id, document)
);
