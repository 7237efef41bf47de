-- Policies as files, under the hash of their names and texts. Which of them are in force stands in the head, so that it is
-- of the same revision as everybody's roles.
CREATE TABLE policy_bundle (
    sha256 TEXT    PRIMARY KEY CHECK (length(sha256) = 64),
    files  TEXT    NOT NULL,
    at     INTEGER NOT NULL
) STRICT;
ALTER TABLE head ADD COLUMN policy TEXT REFERENCES policy_bundle (sha256);
