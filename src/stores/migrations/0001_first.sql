-- Times are milliseconds since 1970, UTC. Tables are WITHOUT ROWID and keyed by what is looked up,
-- so that a cold load goes down two trees only: that of keys and that of wrappings.

CREATE TABLE tenants (
  id          TEXT    NOT NULL PRIMARY KEY,
  created_at  INTEGER NOT NULL,
  destroyed   INTEGER NOT NULL DEFAULT 0 CHECK (destroyed IN (0, 1)),
  last_active INTEGER
) WITHOUT ROWID;

CREATE INDEX tenants_by_activity ON tenants (last_active DESC, id)
  WHERE last_active IS NOT NULL AND destroyed = 0;

-- Every version of every key. The service's own keys belong to '@service', which is no tenant.
CREATE TABLE keys (
  tenant           TEXT    NOT NULL,
  type             TEXT    NOT NULL CHECK (type IN ('signing', 'encryption')),
  version          INTEGER NOT NULL CHECK (version >= 1),
  id               BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
  state            TEXT    NOT NULL CHECK (state IN ('active', 'rotated', 'revoked', 'destroyed')),
  created_at       INTEGER NOT NULL,
  state_changed_at INTEGER,
  reason           TEXT    NOT NULL DEFAULT '',
  public_key       BLOB,
  attestation      BLOB,
  -- tenants.destroyed, copied by triggers: it saves every cold load a third tree.
  tenant_destroyed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, type, version)
) WITHOUT ROWID;

CREATE UNIQUE INDEX keys_one_active ON keys (tenant, type) WHERE state = 'active';

CREATE INDEX keys_by_age ON keys (created_at)
  WHERE state = 'active' AND tenant <> '@service' AND tenant_destroyed = 0;

CREATE TABLE wrappings (
  key_id        BLOB NOT NULL REFERENCES keys (id),
  provider      TEXT NOT NULL,
  master_key_id TEXT NOT NULL,
  blob          BLOB NOT NULL,
  PRIMARY KEY (key_id, provider, master_key_id)
) WITHOUT ROWID;

-- `value` is the next one that nobody has.
CREATE TABLE counters (
  name  TEXT    NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL CHECK (value >= 0)
) WITHOUT ROWID;

-- Kept by triggers, because counting a million rows takes longer than a start may:
-- 'tenants' (not destroyed) and, for every provider, 'wrappings:' and its name.
CREATE TABLE totals (
  name  TEXT    NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO totals VALUES ('tenants', 0);

-- Whose keys changed, oldest first. Written by triggers, so that an edit with the sqlite3 shell is
-- noticed like any other. The program deletes old rows, never the newest.
CREATE TABLE changes (
  generation INTEGER PRIMARY KEY,
  tenant     TEXT NOT NULL
);

CREATE TRIGGER tenants_count_insert AFTER INSERT ON tenants WHEN NEW.destroyed = 0 BEGIN
  UPDATE totals SET value = value + 1 WHERE name = 'tenants';
END;
CREATE TRIGGER tenants_count_update AFTER UPDATE OF destroyed ON tenants
WHEN OLD.destroyed <> NEW.destroyed BEGIN
  UPDATE totals SET value = value + OLD.destroyed - NEW.destroyed WHERE name = 'tenants';
END;
CREATE TRIGGER tenants_count_delete AFTER DELETE ON tenants WHEN OLD.destroyed = 0 BEGIN
  UPDATE totals SET value = value - 1 WHERE name = 'tenants';
END;

CREATE TRIGGER tenants_log_update AFTER UPDATE OF destroyed ON tenants BEGIN
  INSERT INTO changes (tenant) VALUES (NEW.id);
END;
CREATE TRIGGER tenants_log_delete AFTER DELETE ON tenants BEGIN
  INSERT INTO changes (tenant) VALUES (OLD.id);
END;

-- Triggers rather than foreign keys, which the sqlite3 shell leaves off.
CREATE TRIGGER tenants_keep_while_keys BEFORE DELETE ON tenants
WHEN EXISTS (SELECT 1 FROM keys WHERE tenant = OLD.id) BEGIN
  SELECT RAISE(ABORT, 'the tenant has keys: delete those first, if you mean to lose them');
END;
CREATE TRIGGER tenants_keep_id BEFORE UPDATE OF id ON tenants BEGIN
  SELECT RAISE(ABORT, 'a tenant keeps its id: it is bound into the wrappings of its keys');
END;
CREATE TRIGGER keys_need_tenant BEFORE INSERT ON keys
WHEN NEW.tenant <> '@service' AND NOT EXISTS (SELECT 1 FROM tenants WHERE id = NEW.tenant) BEGIN
  SELECT RAISE(ABORT, 'the key belongs to a tenant that does not exist');
END;
CREATE TRIGGER keys_keep_tenant BEFORE UPDATE OF tenant ON keys BEGIN
  SELECT RAISE(ABORT, 'a key keeps its tenant: it is bound into the wrappings of the key');
END;

CREATE TRIGGER tenants_destroyed_update AFTER UPDATE OF destroyed ON tenants
WHEN OLD.destroyed <> NEW.destroyed BEGIN
  UPDATE keys SET tenant_destroyed = NEW.destroyed WHERE tenant = NEW.id;
END;
CREATE TRIGGER keys_destroyed_insert AFTER INSERT ON keys
WHEN NEW.tenant_destroyed IS NOT (SELECT destroyed FROM tenants WHERE id = NEW.tenant)
  AND NEW.tenant <> '@service' BEGIN
  UPDATE keys SET tenant_destroyed = (SELECT destroyed FROM tenants WHERE id = NEW.tenant)
    WHERE tenant = NEW.tenant AND type = NEW.type AND version = NEW.version;
END;
CREATE TRIGGER keys_take_wrappings BEFORE DELETE ON keys BEGIN
  DELETE FROM wrappings WHERE key_id = OLD.id;
END;

CREATE TRIGGER keys_log_insert AFTER INSERT ON keys BEGIN
  INSERT INTO changes (tenant) VALUES (NEW.tenant);
END;
CREATE TRIGGER keys_log_update AFTER UPDATE ON keys BEGIN
  INSERT INTO changes (tenant) VALUES (NEW.tenant);
END;
CREATE TRIGGER keys_log_delete AFTER DELETE ON keys BEGIN
  INSERT INTO changes (tenant) VALUES (OLD.tenant);
END;

CREATE TRIGGER wrappings_count_insert AFTER INSERT ON wrappings BEGIN
  INSERT INTO totals VALUES ('wrappings:' || NEW.provider, 1)
    ON CONFLICT (name) DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER wrappings_count_update AFTER UPDATE OF provider ON wrappings
WHEN OLD.provider <> NEW.provider BEGIN
  UPDATE totals SET value = value - 1 WHERE name = 'wrappings:' || OLD.provider;
  INSERT INTO totals VALUES ('wrappings:' || NEW.provider, 1)
    ON CONFLICT (name) DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER wrappings_count_delete AFTER DELETE ON wrappings BEGIN
  UPDATE totals SET value = value - 1 WHERE name = 'wrappings:' || OLD.provider;
END;

CREATE TRIGGER wrappings_log_insert AFTER INSERT ON wrappings BEGIN
  INSERT INTO changes (tenant) SELECT tenant FROM keys WHERE id = NEW.key_id;
END;
CREATE TRIGGER wrappings_log_update AFTER UPDATE ON wrappings BEGIN
  INSERT INTO changes (tenant) SELECT tenant FROM keys WHERE id IN (OLD.key_id, NEW.key_id);
END;
CREATE TRIGGER wrappings_log_delete AFTER DELETE ON wrappings BEGIN
  INSERT INTO changes (tenant) SELECT tenant FROM keys WHERE id = OLD.key_id;
END;
