-- What the life of a key needs: who vouched for a successor, when a secret was destroyed, and what
-- daemons on one store agree on.

-- Of signing keys from version 2 on. 'unsigned': made before successions were signed.
ALTER TABLE keys ADD COLUMN succession TEXT
  CHECK (succession IN ('rotation', 'compromise', 'unsigned'));
ALTER TABLE keys ADD COLUMN succession_by_predecessor BLOB;
ALTER TABLE keys ADD COLUMN succession_by_service BLOB;
ALTER TABLE keys ADD COLUMN secret_destroyed_at INTEGER;

UPDATE keys SET succession = 'unsigned' WHERE type = 'signing' AND version > 1;

CREATE INDEX keys_successors ON keys (created_at) WHERE version > 1;
CREATE INDEX keys_retired_seeds ON keys (state_changed_at)
  WHERE type = 'signing' AND state = 'rotated' AND secret_destroyed_at IS NULL;

-- How many wrappings each master key holds, kept by triggers; 'wrappings:…' in totals is no more.
CREATE TABLE wrapping_totals (
  provider      TEXT    NOT NULL,
  master_key_id TEXT    NOT NULL,
  value         INTEGER NOT NULL,
  PRIMARY KEY (provider, master_key_id)
) WITHOUT ROWID;

INSERT INTO wrapping_totals
  SELECT provider, master_key_id, count(*) FROM wrappings GROUP BY provider, master_key_id;
DELETE FROM totals WHERE name LIKE 'wrappings:%';

DROP TRIGGER wrappings_count_insert;
DROP TRIGGER wrappings_count_update;
DROP TRIGGER wrappings_count_delete;
CREATE TRIGGER wrappings_count_insert AFTER INSERT ON wrappings BEGIN
  INSERT INTO wrapping_totals VALUES (NEW.provider, NEW.master_key_id, 1)
    ON CONFLICT (provider, master_key_id) DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER wrappings_count_update AFTER UPDATE OF provider, master_key_id ON wrappings BEGIN
  UPDATE wrapping_totals SET value = value - 1
    WHERE provider = OLD.provider AND master_key_id = OLD.master_key_id;
  INSERT INTO wrapping_totals VALUES (NEW.provider, NEW.master_key_id, 1)
    ON CONFLICT (provider, master_key_id) DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER wrappings_count_delete AFTER DELETE ON wrappings BEGIN
  UPDATE wrapping_totals SET value = value - 1
    WHERE provider = OLD.provider AND master_key_id = OLD.master_key_id;
END;

-- Small documents of the service's own: runs, certificates, marks.
CREATE TABLE notes (
  name TEXT NOT NULL PRIMARY KEY,
  text TEXT NOT NULL
) WITHOUT ROWID;

-- `expires_at` is milliseconds of the machine's monotonic clock since the boot `boot`; a row of
-- another boot has run out. A row stays when its lease is released, for its fencing number.
CREATE TABLE leases (
  name       TEXT    NOT NULL PRIMARY KEY,
  node       TEXT    NOT NULL,
  fence      INTEGER NOT NULL,
  boot       TEXT    NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE nodes (
  id         TEXT    NOT NULL PRIMARY KEY,
  generation INTEGER NOT NULL,
  boot       TEXT    NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
