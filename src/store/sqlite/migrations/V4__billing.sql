-- The journal of billing sagas (docs/billing.md). Kept for ever: it is the record of who was told to pay, and when.

CREATE TABLE billing_saga (
    id           TEXT    PRIMARY KEY,
    site         TEXT    NOT NULL REFERENCES site (id),
    attempt      INTEGER NOT NULL CHECK (attempt >= 1),
    kind         TEXT    NOT NULL,
    -- none when nobody pays any more
    payer        TEXT,
    payer_before TEXT,
    plan         TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('reserving', 'confirming', 'confirmed', 'releasing', 'released')),
    revision     INTEGER,
    effective_at INTEGER,
    since        INTEGER NOT NULL,
    due_at       INTEGER,
    tries        INTEGER NOT NULL CHECK (tries >= 0),
    failure      TEXT,
    CONSTRAINT committed_is_whole CHECK (
        (state IN ('confirming', 'confirmed')) = (revision IS NOT NULL)
        AND (revision IS NULL) = (effective_at IS NULL)),
    CONSTRAINT somebody_is_asked CHECK (payer IS NOT NULL OR revision IS NOT NULL),
    CONSTRAINT an_end_is_not_due CHECK ((state IN ('confirmed', 'released')) = (due_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX billing_saga_by_due ON billing_saga (due_at) WHERE due_at IS NOT NULL;
-- Billing hears of a site's changes in the order of their revisions.
CREATE UNIQUE INDEX billing_saga_to_confirm ON billing_saga (site, revision) WHERE state = 'confirming';

CREATE TRIGGER billing_saga_begins BEFORE INSERT ON billing_saga
-- An upsert passes here too, whether it inserts or not.
WHEN (NEW.attempt <> 1 OR NEW.state NOT IN ('reserving', 'confirming'))
    AND NOT EXISTS (SELECT 1 FROM billing_saga WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'a billing saga begins with its first reservation or commit'); END;
CREATE TRIGGER billing_saga_moves BEFORE UPDATE ON billing_saga
WHEN NEW.site <> OLD.site OR NOT CASE NEW.state
    WHEN 'reserving' THEN OLD.state IN ('releasing', 'released') AND NEW.attempt = OLD.attempt + 1
    WHEN 'releasing' THEN OLD.state IN ('reserving', 'releasing') AND NEW.attempt = OLD.attempt
    WHEN 'released' THEN OLD.state = 'releasing' AND NEW.attempt = OLD.attempt
    WHEN 'confirming' THEN NEW.attempt = OLD.attempt AND NEW.payer IS OLD.payer AND (OLD.state = 'reserving'
        OR (OLD.state = 'confirming' AND NEW.revision = OLD.revision AND NEW.effective_at = OLD.effective_at))
    ELSE OLD.state = 'confirming' AND NEW.attempt = OLD.attempt AND NEW.payer IS OLD.payer
        AND NEW.revision = OLD.revision AND NEW.effective_at = OLD.effective_at
    END
BEGIN SELECT RAISE(ABORT, 'a billing saga does not move this way'); END;
CREATE TRIGGER billing_saga_is_kept BEFORE DELETE ON billing_saga
BEGIN SELECT RAISE(ABORT, 'billing sagas are only ever added'); END;
