-- VEX documents that are attached to images in their registries.

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
