-- What the whole handover keeps besides: disputes, custody, codes, terms, reminders, accounts, evidence.

ALTER TABLE site ADD COLUMN frozen_since INTEGER;
-- when time deletes a site in the trash
ALTER TABLE site ADD COLUMN purge_at INTEGER;
ALTER TABLE site ADD COLUMN dispute TEXT;
ALTER TABLE site ADD COLUMN custody TEXT;
ALTER TABLE site ADD COLUMN site_code TEXT;
-- what the platform reports to stand in the way of an offer, as a JSON list
ALTER TABLE site ADD COLUMN reported TEXT NOT NULL DEFAULT '[]';
UPDATE site SET frozen_since = frozen_until WHERE frozen_until IS NOT NULL;

-- Sites that have to follow what became of their agency, found without reading the others.
CREATE INDEX site_to_be_returned ON site (agency) WHERE mode = 'partner_managed' AND return_reason IS NULL;
CREATE INDEX site_returned_for_agency ON site (agency)
    WHERE return_reason IN ('agency_suspended', 'agency_dissolved');

ALTER TABLE agency ADD COLUMN status_since INTEGER NOT NULL DEFAULT 0;
-- when the sites of an agency that may not go on go back to their clients
ALTER TABLE agency ADD COLUMN returns_at INTEGER;
ALTER TABLE agency ADD COLUMN card INTEGER NOT NULL DEFAULT 1 CHECK (card IN (0, 1));
CREATE INDEX agency_not_active ON agency (id) WHERE status <> 'active';

ALTER TABLE handover ADD COLUMN requested_by TEXT;
ALTER TABLE handover ADD COLUMN reminders TEXT NOT NULL DEFAULT '[]';
ALTER TABLE handover ADD COLUMN terms TEXT;
-- a person, or trust and safety
UPDATE handover SET initiated_by = 'user:' || initiated_by;
-- How often an account offered and was offered something lately.
CREATE INDEX handover_by_initiator ON handover (initiator, offered_at);
CREATE INDEX handover_by_recipient ON handover (recipient, offered_at);

-- On what evidence something was done: a sign-in, a confirmation, a case, a text that was read.
ALTER TABLE audit ADD COLUMN evidence TEXT;

-- Accounts that are being closed or are closed; all others are open and need no row.
CREATE TABLE account (
    account TEXT PRIMARY KEY,
    status  TEXT NOT NULL CHECK (status IN ('closing', 'closed')),
    since   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX site_by_content_owner ON site (content_owner) WHERE content_owner IS NOT NULL;
CREATE INDEX site_by_plan_holder ON site (plan_holder) WHERE plan_holder IS NOT NULL;

-- What every commit kept up and nothing read: a commit costs a page for each. Which keys changed after a revision, the
-- change feed tells, and each site and agency carries its own.
DROP INDEX transition_by_time;
DROP TABLE key_head;
