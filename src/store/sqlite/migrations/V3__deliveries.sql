-- What has been delivered of the audit events, for each subscriber ("sink"). The audit log itself is the queue: a row
-- here only says how far somebody is in it, so that no row is written for an event that is delivered at once.

-- Every event up to `cursor` is delivered, or dead, or belongs to a lane that has a row and has not passed it.
CREATE TABLE sink (
    name         TEXT    PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
    kind         TEXT    NOT NULL CHECK (kind IN ('webhook', 'redis')),
    -- 1 while the settings name it
    active       INTEGER NOT NULL CHECK (active IN (0, 1)),
    cursor       INTEGER NOT NULL CHECK (cursor >= 0),
    succeeded_at INTEGER,
    failed_at    INTEGER,
    failure      TEXT,
    CONSTRAINT failure_is_whole CHECK ((failed_at IS NULL) = (failure IS NULL))
) STRICT, WITHOUT ROWID;

-- A lane is the events of one site, or ('') those of no site. All of its events before `seq` are settled.
CREATE TABLE lane (
    sink     TEXT    NOT NULL REFERENCES sink (name),
    site     TEXT    NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq > 0),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    due      INTEGER NOT NULL,
    PRIMARY KEY (sink, site)
) STRICT, WITHOUT ROWID;

-- Events that were given up; kept after a retry that succeeded, so that a repeated retry finds them.
CREATE TABLE dead_letter (
    id       INTEGER PRIMARY KEY,
    sink     TEXT    NOT NULL REFERENCES sink (name),
    seq      INTEGER NOT NULL REFERENCES audit (seq),
    state    TEXT    NOT NULL CHECK (state IN ('dead', 'queued', 'delivered')),
    -- attempts since it was last put into the queue
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    due      INTEGER NOT NULL,
    failure  TEXT    NOT NULL,
    status   INTEGER,
    at       INTEGER NOT NULL,
    UNIQUE (sink, seq)
) STRICT;
CREATE INDEX dead_letter_queued ON dead_letter (sink, seq) WHERE state = 'queued';

CREATE INDEX audit_without_site ON audit (seq) WHERE site IS NULL;
