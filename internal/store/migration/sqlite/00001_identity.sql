-- Times are microseconds since 1970-01-01 UTC. Ids are 32 hex digits.

-- +goose Up
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE domains (
    id      TEXT    NOT NULL PRIMARY KEY,
    name    TEXT    NOT NULL,
    enabled BOOLEAN NOT NULL,
    created BIGINT  NOT NULL
);
CREATE UNIQUE INDEX domains_name ON domains (name);

CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY,
    domain_id     TEXT    NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name          TEXT    NOT NULL,
    enabled       BOOLEAN NOT NULL,
    root          BOOLEAN NOT NULL,
    authz         TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    epoch         BIGINT  NOT NULL,
    created       BIGINT  NOT NULL
);
CREATE UNIQUE INDEX users_name ON users (domain_id, name);

CREATE TABLE projects (
    id          TEXT    NOT NULL PRIMARY KEY,
    domain_id   TEXT    NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    enabled     BOOLEAN NOT NULL,
    epoch       BIGINT  NOT NULL,
    created     BIGINT  NOT NULL
);
CREATE UNIQUE INDEX projects_name ON projects (domain_id, name);

CREATE TABLE enterprise_projects (
    id          TEXT    NOT NULL PRIMARY KEY,
    domain_id   TEXT    NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    enabled     BOOLEAN NOT NULL,
    created     BIGINT  NOT NULL,
    updated     BIGINT  NOT NULL
);
CREATE UNIQUE INDEX enterprise_projects_name ON enterprise_projects (domain_id, name);

CREATE TABLE policies (
    id          TEXT   NOT NULL PRIMARY KEY,
    domain_id   TEXT   NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name        TEXT   NOT NULL,
    description TEXT   NOT NULL,
    document    TEXT   NOT NULL,
    created     BIGINT NOT NULL
);
CREATE UNIQUE INDEX policies_name ON policies (domain_id, name);

-- policy_id may name a built-in policy, which has no row. '' stands for every
-- project and for every enterprise project.
CREATE TABLE grants (
    user_id               TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    policy_id             TEXT   NOT NULL,
    project_id            TEXT   NOT NULL,
    enterprise_project_id TEXT   NOT NULL,
    created               BIGINT NOT NULL,
    PRIMARY KEY (user_id, policy_id, project_id, enterprise_project_id)
);
CREATE INDEX grants_policy ON grants (policy_id);
CREATE INDEX grants_project ON grants (project_id);
CREATE INDEX grants_enterprise_project ON grants (enterprise_project_id);

CREATE TABLE access_keys (
    id            TEXT    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    enabled       BOOLEAN NOT NULL,
    sealed_secret BLOB    NOT NULL,
    created       BIGINT  NOT NULL
);
CREATE INDEX access_keys_user ON access_keys (user_id);

-- hash is the SHA-256 of the token. A token is dead once an epoch has moved on.
CREATE TABLE tokens (
    hash          BLOB   NOT NULL PRIMARY KEY,
    user_id       TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    user_epoch    BIGINT NOT NULL,
    project_id    TEXT   REFERENCES projects (id) ON DELETE CASCADE,
    project_epoch BIGINT NOT NULL,
    issued        BIGINT NOT NULL,
    expires       BIGINT NOT NULL
);
CREATE INDEX tokens_user ON tokens (user_id);
CREATE INDEX tokens_project ON tokens (project_id);
CREATE INDEX tokens_expires ON tokens (expires);
