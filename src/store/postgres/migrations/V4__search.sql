-- For questions about whole lists: on which sites is somebody anybody? In the order in which pages are read.
DROP INDEX site_by_agency;
CREATE INDEX site_by_agency ON site (agency, id) WHERE agency IS NOT NULL;
DROP INDEX site_by_content_owner;
CREATE INDEX site_by_content_owner ON site (content_owner, id) WHERE content_owner IS NOT NULL;
DROP INDEX contributor_by_user;
CREATE INDEX contributor_by_user ON contributor ("user", site);
CREATE INDEX agency_grant_by_user ON agency_grant ("user", site);
CREATE INDEX support_session_by_agent ON support_session (agent, site);
-- What authenticates the places where pages of such lists go on, the same for every process on this database.
CREATE TABLE secret (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL CHECK (length(value) = 64)
);
INSERT INTO secret (name, value) VALUES ('pages', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
