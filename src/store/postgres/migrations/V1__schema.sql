-- The system of record, as SQLite's migrations have made it: the same tables, the same names, the same values, so that
-- one text of every statement serves both. Identifiers and JSON are text in byte order (COLLATE "C"), times whole
-- microseconds since 1970, booleans 0 or 1. The CHECKs and triggers are a second wall: the types of the program make
-- such rows impossible to build. Released files never change (their checksum is kept); a later schema is a new file.

CREATE TABLE head (
    one      BIGINT PRIMARY KEY CHECK (one = 1),
    epoch    TEXT COLLATE "C" NOT NULL CHECK (length(epoch) = 32),
    revision BIGINT NOT NULL CHECK (revision >= 0),
    chain    TEXT COLLATE "C" NOT NULL CHECK (length(chain) = 64),
    at       BIGINT NOT NULL
);
INSERT INTO head (one, epoch, revision, chain, at)
VALUES (1, replace(gen_random_uuid()::text, '-', ''), 0,
        '0000000000000000000000000000000000000000000000000000000000000000', 0);

CREATE TABLE agency (
    id           TEXT COLLATE "C" PRIMARY KEY,
    revision     BIGINT NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    domain       TEXT COLLATE "C" NOT NULL,
    verified     BIGINT NOT NULL CHECK (verified IN (0, 1)),
    status       TEXT COLLATE "C" NOT NULL CHECK (status IN ('active', 'suspended', 'dissolving')),
    status_since BIGINT NOT NULL DEFAULT 0,
    -- when the sites of an agency that may not go on go back to their clients
    returns_at   BIGINT,
    card         BIGINT NOT NULL DEFAULT 1 CHECK (card IN (0, 1))
);
CREATE INDEX agency_not_active ON agency (id) WHERE status <> 'active';

CREATE TABLE agency_member (
    agency TEXT COLLATE "C" NOT NULL REFERENCES agency (id),
    "user" TEXT COLLATE "C" NOT NULL,
    role   TEXT COLLATE "C" NOT NULL CHECK (role IN ('admin', 'member', 'billing')),
    PRIMARY KEY (agency, "user")
);
CREATE INDEX agency_member_by_user ON agency_member ("user");

CREATE TABLE staff (
    id   TEXT COLLATE "C" PRIMARY KEY,
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('support', 'trust_safety'))
);

CREATE TABLE site (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    revision            BIGINT NOT NULL,
    mode                TEXT COLLATE "C" NOT NULL,
    -- seats, titles: accounts, written `user:ID` or `agency:ID`
    owner               TEXT COLLATE "C",
    client              TEXT COLLATE "C",
    partner             TEXT COLLATE "C",
    content_owner       TEXT COLLATE "C",
    plan_holder         TEXT COLLATE "C",
    -- the agency in a seat, without its kind
    agency              TEXT COLLATE "C" REFERENCES agency (id),
    -- the engagement of a client and a partner
    since               BIGINT,
    settling_until      BIGINT,
    handover            TEXT COLLATE "C",
    plan_before         TEXT COLLATE "C",
    freeze_used         BIGINT NOT NULL DEFAULT 0 CHECK (freeze_used IN (0, 1)),
    return_reason       TEXT COLLATE "C" CHECK (return_reason IN
                            ('reclaim', 'resign', 'agency_suspended', 'agency_dissolved', 'plan_lapsed')),
    return_requested_at BIGINT,
    return_effective_at BIGINT,
    return_locked       BIGINT CHECK (return_locked IN (0, 1)),
    return_keep         TEXT COLLATE "C",
    plan                TEXT COLLATE "C" NOT NULL,
    published           BIGINT NOT NULL CHECK (published IN (0, 1)),
    domains             TEXT COLLATE "C" NOT NULL,
    trashed_at          BIGINT,
    -- when time deletes a site in the trash
    purge_at            BIGINT,
    frozen_since        BIGINT,
    frozen_until        BIGINT,
    frozen_case         TEXT COLLATE "C",
    dispute             TEXT COLLATE "C",
    custody             TEXT COLLATE "C",
    site_code           TEXT COLLATE "C",
    -- what the platform reports to stand in the way of an offer, as a JSON list
    reported            TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    -- when time alone makes a commit due; computed from the row on every write
    next_deadline       BIGINT,

    -- I1 to I4: which seats a mode has, and whose content and plan it is, is one fact
    CONSTRAINT seats_fit_the_mode CHECK (CASE mode
        WHEN 'self_managed' THEN
            owner IS NOT NULL AND substr(owner, 1, 5) = 'user:' AND client IS NULL AND partner IS NULL
            AND content_owner IS NOT DISTINCT FROM owner AND plan_holder IS NOT DISTINCT FROM owner AND agency IS NULL
        WHEN 'partner_built' THEN
            owner IS NOT NULL AND agency IS NOT NULL AND owner = 'agency:' || agency
            AND client IS NULL AND partner IS NULL
            AND content_owner IS NOT DISTINCT FROM owner AND plan_holder IS NOT DISTINCT FROM owner
        WHEN 'partner_managed' THEN
            owner IS NULL AND client IS NOT NULL AND substr(client, 1, 5) = 'user:'
            AND partner IS NOT NULL AND agency IS NOT NULL AND partner = 'agency:' || agency
            AND content_owner IS NOT DISTINCT FROM client AND plan_holder IS NOT DISTINCT FROM partner
            AND since IS NOT NULL AND settling_until IS NOT NULL
        WHEN 'purged' THEN
            owner IS NULL AND client IS NULL AND partner IS NULL
            AND content_owner IS NULL AND plan_holder IS NULL AND agency IS NULL
        ELSE false END),
    CONSTRAINT engagement_only_with_a_partner CHECK (mode = 'partner_managed'
        OR (since IS NULL AND settling_until IS NULL AND handover IS NULL AND plan_before IS NULL
            AND freeze_used = 0 AND return_reason IS NULL)),
    CONSTRAINT return_is_whole CHECK (
        (return_reason IS NULL) = (return_requested_at IS NULL)
        AND (return_reason IS NULL) = (return_effective_at IS NULL)
        AND (return_reason IS NULL) = (return_locked IS NULL)
        AND (return_reason IS NULL) = (return_keep IS NULL)),
    CONSTRAINT freeze_is_whole CHECK ((frozen_until IS NULL) = (frozen_case IS NULL))
);
CREATE INDEX site_by_deadline ON site (next_deadline, id) WHERE next_deadline IS NOT NULL;
CREATE INDEX site_by_agency ON site (agency) WHERE agency IS NOT NULL;
CREATE INDEX site_to_be_returned ON site (agency) WHERE mode = 'partner_managed' AND return_reason IS NULL;
CREATE INDEX site_returned_for_agency ON site (agency)
    WHERE return_reason IN ('agency_suspended', 'agency_dissolved');
CREATE INDEX site_by_content_owner ON site (content_owner) WHERE content_owner IS NOT NULL;
CREATE INDEX site_by_plan_holder ON site (plan_holder) WHERE plan_holder IS NOT NULL;

CREATE FUNCTION mandate_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = TG_ARGV[0];
END $$;

-- The id of a purged site is never used again.
CREATE TRIGGER site_is_kept BEFORE DELETE ON site FOR EACH ROW
EXECUTE FUNCTION mandate_refuse('a site is never deleted: its id stays taken');
CREATE TRIGGER purged_is_final BEFORE UPDATE ON site FOR EACH ROW
WHEN (OLD.mode = 'purged' AND NEW.mode <> 'purged')
EXECUTE FUNCTION mandate_refuse('a purged site does not come back');

CREATE TABLE contributor (
    site     TEXT COLLATE "C" NOT NULL REFERENCES site (id),
    "user"   TEXT COLLATE "C" NOT NULL,
    role     TEXT COLLATE "C" NOT NULL,
    grantor  TEXT COLLATE "C" NOT NULL,
    side     TEXT COLLATE "C" NOT NULL CHECK (side IN ('client', 'partner')),
    revision BIGINT NOT NULL,
    PRIMARY KEY (site, "user")
);
CREATE INDEX contributor_by_user ON contributor ("user");

CREATE TABLE agency_grant (
    site       TEXT COLLATE "C" NOT NULL REFERENCES site (id),
    "user"     TEXT COLLATE "C" NOT NULL,
    template   TEXT COLLATE "C" NOT NULL CHECK (template IN ('builder', 'commerce', 'manager')),
    expires_at BIGINT,
    PRIMARY KEY (site, "user")
);

CREATE TABLE blocked (
    site   TEXT COLLATE "C" NOT NULL REFERENCES site (id),
    "user" TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (site, "user")
);

CREATE TABLE confirmation (
    site       TEXT COLLATE "C" NOT NULL REFERENCES site (id),
    n          BIGINT NOT NULL,
    action     TEXT COLLATE "C" NOT NULL,
    operation  TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (site, n)
);

CREATE TABLE support_session (
    site       TEXT COLLATE "C" NOT NULL REFERENCES site (id),
    n          BIGINT NOT NULL,
    agent      TEXT COLLATE "C" NOT NULL,
    granted_by TEXT COLLATE "C" NOT NULL,
    until      BIGINT NOT NULL,
    PRIMARY KEY (site, n)
);

CREATE TABLE handover (
    id                TEXT COLLATE "C" PRIMARY KEY,
    site              TEXT COLLATE "C" NOT NULL REFERENCES site (id),
    kind              TEXT COLLATE "C" NOT NULL CHECK (kind IN
                          ('partner_handover', 'client_assignment', 'partner_replacement', 'ownership_transfer')),
    initiator         TEXT COLLATE "C" NOT NULL,
    initiated_by      TEXT COLLATE "C" NOT NULL,
    recipient         TEXT COLLATE "C" NOT NULL,
    status            TEXT COLLATE "C" NOT NULL CHECK (status IN ('requested', 'open', 'accepted', 'declined',
                          'cancelled', 'expired', 'superseded', 'invalidated')),
    consents_needed   TEXT COLLATE "C" NOT NULL,
    consents_given    TEXT COLLATE "C" NOT NULL,
    offered_at        BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    ended_at          BIGINT,
    revision_at_offer BIGINT NOT NULL,
    preview_digest    TEXT COLLATE "C" NOT NULL,
    requested_by      TEXT COLLATE "C",
    reminders         TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    terms             TEXT COLLATE "C",
    CONSTRAINT live_has_not_ended CHECK (ended_at IS NULL OR status NOT IN ('requested', 'open'))
);
CREATE INDEX handover_by_site ON handover (site, offered_at, id);
-- I13: one live handover for a site, and quick to find by either party.
CREATE UNIQUE INDEX one_live_handover ON handover (site) WHERE status IN ('requested', 'open');
CREATE INDEX live_handover_by_initiator ON handover (initiator) WHERE status IN ('requested', 'open');
CREATE INDEX live_handover_by_recipient ON handover (recipient) WHERE status IN ('requested', 'open');
-- How often an account offered and was offered something lately.
CREATE INDEX handover_by_initiator ON handover (initiator, offered_at);
CREATE INDEX handover_by_recipient ON handover (recipient, offered_at);
CREATE TRIGGER handover_end_is_final BEFORE UPDATE ON handover FOR EACH ROW
WHEN (OLD.status NOT IN ('requested', 'open') AND NEW.status <> OLD.status)
EXECUTE FUNCTION mandate_refuse('a handover that has ended stays as it ended');

CREATE TABLE audit (
    seq      BIGINT PRIMARY KEY,
    revision BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    site     TEXT COLLATE "C",
    kind     TEXT COLLATE "C" NOT NULL,
    actor    TEXT COLLATE "C",
    via      TEXT COLLATE "C",
    data     TEXT COLLATE "C" NOT NULL,
    hash     TEXT COLLATE "C" NOT NULL CHECK (length(hash) = 64),
    -- On what evidence something was done: a sign-in, a confirmation, a case, a text that was read.
    evidence TEXT COLLATE "C"
);
CREATE INDEX audit_by_site ON audit (site, seq) WHERE site IS NOT NULL;
CREATE INDEX audit_without_site ON audit (seq) WHERE site IS NULL;
-- What the chain was at a revision.
CREATE INDEX audit_by_revision ON audit (revision, seq);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE ON audit FOR EACH ROW
EXECUTE FUNCTION mandate_refuse('audit events are only ever added');
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT
EXECUTE FUNCTION mandate_refuse('audit events are only ever added');

-- One row for each event, and one for each key that changed without an event.
CREATE TABLE change (
    revision BIGINT NOT NULL,
    n        BIGINT NOT NULL,
    key      TEXT COLLATE "C" NOT NULL,
    at       BIGINT NOT NULL,
    seq      BIGINT REFERENCES audit (seq),
    PRIMARY KEY (revision, n)
);

-- Replies kept for idempotency keys, in the order in which they were given.
CREATE TABLE transition (
    n           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    caller      TEXT COLLATE "C" NOT NULL,
    path        TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    revision    BIGINT NOT NULL,
    body        TEXT COLLATE "C" NOT NULL,
    at          BIGINT NOT NULL,
    UNIQUE (caller, path, key)
);

-- Accounts that are being closed or are closed; all others are open and need no row.
CREATE TABLE account (
    account TEXT COLLATE "C" PRIMARY KEY,
    status  TEXT COLLATE "C" NOT NULL CHECK (status IN ('closing', 'closed')),
    since   BIGINT NOT NULL
);

-- What has been delivered of the audit events, for each subscriber ("sink"). The audit log itself is the queue.
-- Every event up to `cursor` is delivered, or dead, or belongs to a lane that has a row and has not passed it.
CREATE TABLE sink (
    name         TEXT COLLATE "C" PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
    kind         TEXT COLLATE "C" NOT NULL CHECK (kind IN ('webhook', 'redis')),
    -- 1 while the settings name it
    active       BIGINT NOT NULL CHECK (active IN (0, 1)),
    cursor       BIGINT NOT NULL CHECK (cursor >= 0),
    succeeded_at BIGINT,
    failed_at    BIGINT,
    failure      TEXT COLLATE "C",
    CONSTRAINT failure_is_whole CHECK ((failed_at IS NULL) = (failure IS NULL))
);

-- A lane is the events of one site, or ('') those of no site. All of its events before `seq` are settled.
CREATE TABLE lane (
    sink     TEXT COLLATE "C" NOT NULL REFERENCES sink (name),
    site     TEXT COLLATE "C" NOT NULL,
    seq      BIGINT NOT NULL CHECK (seq > 0),
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    due      BIGINT NOT NULL,
    PRIMARY KEY (sink, site)
);

-- Events that were given up; kept after a retry that succeeded, so that a repeated retry finds them.
CREATE TABLE dead_letter (
    id       BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    sink     TEXT COLLATE "C" NOT NULL REFERENCES sink (name),
    seq      BIGINT NOT NULL REFERENCES audit (seq),
    state    TEXT COLLATE "C" NOT NULL CHECK (state IN ('dead', 'queued', 'delivered')),
    -- attempts since it was last put into the queue
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    due      BIGINT NOT NULL,
    failure  TEXT COLLATE "C" NOT NULL,
    status   BIGINT,
    at       BIGINT NOT NULL,
    UNIQUE (sink, seq)
);
CREATE INDEX dead_letter_queued ON dead_letter (sink, seq) WHERE state = 'queued';

-- The journal of billing sagas (docs/billing.md). Kept for ever: it is the record of who was told to pay, and when.
CREATE TABLE billing_saga (
    id           TEXT COLLATE "C" PRIMARY KEY,
    site         TEXT COLLATE "C" NOT NULL REFERENCES site (id),
    attempt      BIGINT NOT NULL CHECK (attempt >= 1),
    kind         TEXT COLLATE "C" NOT NULL,
    -- none when nobody pays any more
    payer        TEXT COLLATE "C",
    payer_before TEXT COLLATE "C",
    plan         TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL
                     CHECK (state IN ('reserving', 'confirming', 'confirmed', 'releasing', 'released')),
    revision     BIGINT,
    effective_at BIGINT,
    since        BIGINT NOT NULL,
    due_at       BIGINT,
    tries        BIGINT NOT NULL CHECK (tries >= 0),
    failure      TEXT COLLATE "C",
    CONSTRAINT committed_is_whole CHECK (
        (state IN ('confirming', 'confirmed')) = (revision IS NOT NULL)
        AND (revision IS NULL) = (effective_at IS NULL)),
    CONSTRAINT somebody_is_asked CHECK (payer IS NOT NULL OR revision IS NOT NULL),
    CONSTRAINT an_end_is_not_due CHECK ((state IN ('confirmed', 'released')) = (due_at IS NULL))
);
CREATE INDEX billing_saga_by_due ON billing_saga (due_at) WHERE due_at IS NOT NULL;
-- Billing hears of a site's changes in the order of their revisions.
CREATE UNIQUE INDEX billing_saga_to_confirm ON billing_saga (site, revision) WHERE state = 'confirming';

CREATE FUNCTION mandate_saga_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- An upsert passes here too, whether it inserts or not.
    IF EXISTS (SELECT 1 FROM billing_saga WHERE id = NEW.id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
        MESSAGE = 'a billing saga begins with its first reservation or commit';
END $$;
CREATE TRIGGER billing_saga_begins BEFORE INSERT ON billing_saga FOR EACH ROW
WHEN (NEW.attempt <> 1 OR NEW.state NOT IN ('reserving', 'confirming'))
EXECUTE FUNCTION mandate_saga_begins();
CREATE TRIGGER billing_saga_moves BEFORE UPDATE ON billing_saga FOR EACH ROW
WHEN (NEW.site <> OLD.site OR NOT CASE NEW.state
    WHEN 'reserving' THEN OLD.state IN ('releasing', 'released') AND NEW.attempt = OLD.attempt + 1
    WHEN 'releasing' THEN OLD.state IN ('reserving', 'releasing') AND NEW.attempt = OLD.attempt
    WHEN 'released' THEN OLD.state = 'releasing' AND NEW.attempt = OLD.attempt
    WHEN 'confirming' THEN NEW.attempt = OLD.attempt AND NEW.payer IS NOT DISTINCT FROM OLD.payer
        AND (OLD.state = 'reserving'
            OR (OLD.state = 'confirming' AND NEW.revision = OLD.revision AND NEW.effective_at = OLD.effective_at))
    ELSE OLD.state = 'confirming' AND NEW.attempt = OLD.attempt AND NEW.payer IS NOT DISTINCT FROM OLD.payer
        AND NEW.revision = OLD.revision AND NEW.effective_at = OLD.effective_at
    END)
EXECUTE FUNCTION mandate_refuse('a billing saga does not move this way');
CREATE TRIGGER billing_saga_is_kept BEFORE DELETE ON billing_saga FOR EACH ROW
EXECUTE FUNCTION mandate_refuse('billing sagas are only ever added');

-- The sidecars that answer from copies of this database, and how far each of them is (docs/consistency.md).
CREATE TABLE replica (
    id           TEXT COLLATE "C" PRIMARY KEY,
    -- up to where it has published what it knows, in which history
    epoch        TEXT COLLATE "C" NOT NULL,
    timeline     TEXT COLLATE "C" NOT NULL,
    applied      BIGINT NOT NULL,
    -- how long it may answer from its copy after a poll
    max_stale_ms BIGINT NOT NULL CHECK (max_stale_ms > 0),
    -- a mark that is compared for equality, never with a clock
    renewed_at   BIGINT NOT NULL,
    address      TEXT COLLATE "C" NOT NULL,
    build        TEXT COLLATE "C" NOT NULL
) WITH (fillfactor = 50);

-- The lease term is data, so that who answers and who waits cannot disagree about it.
CREATE TABLE lease (
    one        BIGINT PRIMARY KEY CHECK (one = 1),
    ttl_ms     BIGINT NOT NULL CHECK (ttl_ms BETWEEN 200 AND 60000),
    -- the largest term that any replica may still answer under
    ttl_max_ms BIGINT NOT NULL CHECK (ttl_max_ms >= ttl_ms)
);
INSERT INTO lease (one, ttl_ms, ttl_max_ms) VALUES (1, 5000, 5000);
