-- A process that only decides has a database role of its own, which may write no row but its own replicas'.
ALTER TABLE replica ADD COLUMN owner TEXT COLLATE "C" NOT NULL DEFAULT current_user;
ALTER TABLE replica ENABLE ROW LEVEL SECURITY;
CREATE POLICY replicas_are_known ON replica FOR SELECT USING (true);
CREATE POLICY replicas_are_their_owners ON replica USING (owner = current_user) WITH CHECK (owner = current_user);
