"""The daemon's SQLite store as somebody with a SQL shell sees it."""

import contextlib
import sqlite3


class Store:
    def __init__(self, daemon):
        self.path = daemon.data / "betrace-kms.db"

    @contextlib.contextmanager
    def open(self):
        connection = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()

    def query(self, sql, *values):
        with self.open() as connection:
            return connection.execute(sql, values).fetchall()

    def wrapping(self, tenant, key_type="signing", version=1):
        """(provider, master key id, blob)"""
        (row,) = self.query(
            "SELECT w.provider, w.master_key_id, w.blob FROM wrappings w"
            " JOIN keys k ON k.id = w.key_id WHERE k.tenant = ? AND k.type = ? AND k.version = ?",
            tenant, key_type, version)
        return row

    def public_key(self, tenant, version=1):
        ((key,),) = self.query("SELECT public_key FROM keys WHERE tenant = ? AND version = ?"
                               " AND type = 'signing'", tenant, version)
        return key

    def wrapping_counts(self):
        """{provider: how many}"""
        return dict(self.query("SELECT provider, count(*) FROM wrappings GROUP BY provider"))

    def age(self, tenant, days):
        """Puts the creation of the tenant's active encryption key back. (That of a signing key is
        attested by the service key: altering it makes the key corrupt.) The daemon should be
        down: it learns of changes that daemons make."""
        self.query("UPDATE keys SET created_at = created_at - ? WHERE tenant = ?"
                   " AND type = 'encryption' AND state = 'active'", days * 86_400_000, tenant)
