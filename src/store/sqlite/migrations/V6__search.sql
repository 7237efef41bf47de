-- For questions about whole lists: on which sites is somebody anybody?
CREATE INDEX agency_grant_by_user ON agency_grant (user);
CREATE INDEX support_session_by_agent ON support_session (agent);
-- What authenticates the places where pages of such lists go on, the same for every process on this database.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL CHECK (length(value) = 64)
) STRICT, WITHOUT ROWID;
INSERT INTO secret (name, value) VALUES ('pages', lower(hex(randomblob(32))));
