-- The system of record. Identifiers and JSON are text, times whole microseconds since 1970, booleans 0 or 1.
-- The CHECKs and triggers are a second wall: the types of the program make such rows impossible to build.
-- Released files never change (their checksum is kept); a later schema is a new file.

CREATE TABLE head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    epoch    TEXT    NOT NULL CHECK (length(epoch) = 32),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    chain    TEXT    NOT NULL CHECK (length(chain) = 64),
    at       INTEGER NOT NULL
) STRICT;
INSERT INTO head (one, epoch, revision, chain, at)
VALUES (1, lower(hex(randomblob(16))), 0, '0000000000000000000000000000000000000000000000000000000000000000', 0);

CREATE TABLE agency (
    id       TEXT    PRIMARY KEY,
    revision INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    domain   TEXT    NOT NULL,
    verified INTEGER NOT NULL CHECK (verified IN (0, 1)),
    status   TEXT    NOT NULL CHECK (status IN ('active', 'suspended', 'dissolving'))
) STRICT, WITHOUT ROWID;

CREATE TABLE agency_member (
    agency TEXT NOT NULL REFERENCES agency (id),
    user   TEXT NOT NULL,
    role   TEXT NOT NULL CHECK (role IN ('admin', 'member', 'billing')),
    PRIMARY KEY (agency, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX agency_member_by_user ON agency_member (user);

CREATE TABLE staff (
    id   TEXT PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('support', 'trust_safety'))
) STRICT, WITHOUT ROWID;

CREATE TABLE site (
    id                  TEXT    PRIMARY KEY,
    revision            INTEGER NOT NULL,
    mode                TEXT    NOT NULL,
    -- seats, titles: accounts, written `user:ID` or `agency:ID`
    owner               TEXT,
    client              TEXT,
    partner             TEXT,
    content_owner       TEXT,
    plan_holder         TEXT,
    -- the agency in a seat, without its kind
    agency              TEXT REFERENCES agency (id),
    -- the engagement of a client and a partner
    since               INTEGER,
    settling_until      INTEGER,
    handover            TEXT,
    plan_before         TEXT,
    freeze_used         INTEGER NOT NULL DEFAULT 0 CHECK (freeze_used IN (0, 1)),
    return_reason       TEXT CHECK (return_reason IN
                            ('reclaim', 'resign', 'agency_suspended', 'agency_dissolved', 'plan_lapsed')),
    return_requested_at INTEGER,
    return_effective_at INTEGER,
    return_locked       INTEGER CHECK (return_locked IN (0, 1)),
    return_keep         TEXT,
    plan                TEXT    NOT NULL,
    published           INTEGER NOT NULL CHECK (published IN (0, 1)),
    domains             TEXT    NOT NULL,
    trashed_at          INTEGER,
    frozen_until        INTEGER,
    frozen_case         TEXT,
    -- when time alone makes a commit due; computed from the row on every write
    next_deadline       INTEGER,

    -- I1 to I4: which seats a mode has, and whose content and plan it is, is one fact
    CONSTRAINT seats_fit_the_mode CHECK (CASE mode
        WHEN 'self_managed' THEN
            owner IS NOT NULL AND substr(owner, 1, 5) = 'user:' AND client IS NULL AND partner IS NULL
            AND content_owner IS owner AND plan_holder IS owner AND agency IS NULL
        WHEN 'partner_built' THEN
            owner IS NOT NULL AND agency IS NOT NULL AND owner = 'agency:' || agency
            AND client IS NULL AND partner IS NULL AND content_owner IS owner AND plan_holder IS owner
        WHEN 'partner_managed' THEN
            owner IS NULL AND client IS NOT NULL AND substr(client, 1, 5) = 'user:'
            AND partner IS NOT NULL AND agency IS NOT NULL AND partner = 'agency:' || agency
            AND content_owner IS client AND plan_holder IS partner
            AND since IS NOT NULL AND settling_until IS NOT NULL
        WHEN 'purged' THEN
            owner IS NULL AND client IS NULL AND partner IS NULL
            AND content_owner IS NULL AND plan_holder IS NULL AND agency IS NULL
        ELSE 0 END),
    CONSTRAINT engagement_only_with_a_partner CHECK (mode = 'partner_managed'
        OR (since IS NULL AND settling_until IS NULL AND handover IS NULL AND plan_before IS NULL
            AND freeze_used = 0 AND return_reason IS NULL)),
    CONSTRAINT return_is_whole CHECK (
        (return_reason IS NULL) = (return_requested_at IS NULL)
        AND (return_reason IS NULL) = (return_effective_at IS NULL)
        AND (return_reason IS NULL) = (return_locked IS NULL)
        AND (return_reason IS NULL) = (return_keep IS NULL)),
    CONSTRAINT freeze_is_whole CHECK ((frozen_until IS NULL) = (frozen_case IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX site_by_deadline ON site (next_deadline) WHERE next_deadline IS NOT NULL;
CREATE INDEX site_by_agency ON site (agency) WHERE agency IS NOT NULL;

-- The id of a purged site is never used again.
CREATE TRIGGER site_is_kept BEFORE DELETE ON site
BEGIN SELECT RAISE(ABORT, 'a site is never deleted: its id stays taken'); END;
CREATE TRIGGER purged_is_final BEFORE UPDATE ON site WHEN OLD.mode = 'purged' AND NEW.mode <> 'purged'
BEGIN SELECT RAISE(ABORT, 'a purged site does not come back'); END;

CREATE TABLE contributor (
    site     TEXT    NOT NULL REFERENCES site (id),
    user     TEXT    NOT NULL,
    role     TEXT    NOT NULL,
    grantor  TEXT    NOT NULL,
    side     TEXT    NOT NULL CHECK (side IN ('client', 'partner')),
    revision INTEGER NOT NULL,
    PRIMARY KEY (site, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX contributor_by_user ON contributor (user);

CREATE TABLE agency_grant (
    site       TEXT NOT NULL REFERENCES site (id),
    user       TEXT NOT NULL,
    template   TEXT NOT NULL CHECK (template IN ('builder', 'commerce', 'manager')),
    expires_at INTEGER,
    PRIMARY KEY (site, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE blocked (
    site TEXT NOT NULL REFERENCES site (id),
    user TEXT NOT NULL,
    PRIMARY KEY (site, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE confirmation (
    site       TEXT    NOT NULL REFERENCES site (id),
    n          INTEGER NOT NULL,
    action     TEXT    NOT NULL,
    operation  TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (site, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE support_session (
    site       TEXT    NOT NULL REFERENCES site (id),
    n          INTEGER NOT NULL,
    agent      TEXT    NOT NULL,
    granted_by TEXT    NOT NULL,
    until      INTEGER NOT NULL,
    PRIMARY KEY (site, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE handover (
    id                TEXT    PRIMARY KEY,
    site              TEXT    NOT NULL REFERENCES site (id),
    kind              TEXT    NOT NULL CHECK (kind IN
                          ('partner_handover', 'client_assignment', 'partner_replacement', 'ownership_transfer')),
    initiator         TEXT    NOT NULL,
    initiated_by      TEXT    NOT NULL,
    recipient         TEXT    NOT NULL,
    status            TEXT    NOT NULL CHECK (status IN ('requested', 'open', 'accepted', 'declined', 'cancelled',
                          'expired', 'superseded', 'invalidated')),
    consents_needed   TEXT    NOT NULL,
    consents_given    TEXT    NOT NULL,
    offered_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    ended_at          INTEGER,
    revision_at_offer INTEGER NOT NULL,
    preview_digest    TEXT    NOT NULL,
    CONSTRAINT live_has_not_ended CHECK (ended_at IS NULL OR status NOT IN ('requested', 'open'))
) STRICT, WITHOUT ROWID;
CREATE INDEX handover_by_site ON handover (site, offered_at, id);
-- I13: one live handover for a site, and quick to find by either party.
CREATE UNIQUE INDEX one_live_handover ON handover (site) WHERE status IN ('requested', 'open');
CREATE INDEX live_handover_by_initiator ON handover (initiator) WHERE status IN ('requested', 'open');
CREATE INDEX live_handover_by_recipient ON handover (recipient) WHERE status IN ('requested', 'open');
CREATE TRIGGER handover_end_is_final BEFORE UPDATE ON handover
WHEN OLD.status NOT IN ('requested', 'open') AND NEW.status <> OLD.status
BEGIN SELECT RAISE(ABORT, 'a handover that has ended stays as it ended'); END;

CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    site     TEXT,
    kind     TEXT    NOT NULL,
    actor    TEXT,
    via      TEXT,
    data     TEXT    NOT NULL,
    hash     TEXT    NOT NULL CHECK (length(hash) = 64)
) STRICT;
CREATE INDEX audit_by_site ON audit (site, seq) WHERE site IS NOT NULL;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit events are only ever added'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit events are only ever added'); END;

-- One row for each event, and one for each key that changed without an event.
CREATE TABLE change (
    revision INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    key      TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    seq      INTEGER REFERENCES audit (seq),
    PRIMARY KEY (revision, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_head (
    key      TEXT    PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX key_head_by_revision ON key_head (revision);

-- Replies kept for idempotency keys.
CREATE TABLE transition (
    caller      TEXT    NOT NULL,
    path        TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    revision    INTEGER NOT NULL,
    body        TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    UNIQUE (caller, path, key)
) STRICT;
CREATE INDEX transition_by_time ON transition (at);
