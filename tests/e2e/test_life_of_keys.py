"""Rotation, revocation and destruction, on one daemon and on two that share a store."""

import json
import random
import signal
import subprocess
import threading
import time

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from conftest import TORTURE
from harness.aws import previous_properties
from harness.daemon import b64, problem, program, unb64
from harness.store import Store
from harness.waiting import until

KILLS = 20  # of a store
STORES = 25 if TORTURE else 1
# At least, after the first 20 tenants, so that few keys are to be checked.
SIGNATURES_A_TENANT = 0 if TORTURE else 10
LEASE = 2  # seconds
REASON = {"reason": "laptop lost"}


@pytest.fixture
def pair(daemons):
    """Two daemons on one store."""
    first = daemons({"betrace.kms.node-lease-seconds": LEASE})
    second = daemons({"betrace.kms.node-lease-seconds": LEASE,
                      "betrace.kms.data-dir": first.data}, start=False)
    second.data = first.data
    return first, second.start()


def active(daemon, tenant, kind="signing"):
    keys = daemon.ok("GET", f"/api/tenants/{tenant}")["keys"]
    found = [key for key in keys if key["keyType"] == kind and key["status"] == "ACTIVE"]
    assert len(found) == 1, keys
    return found[0]


def wait_for_rotation(daemon, seconds=60):
    return until(lambda: (run := daemon.ok("GET", "/api/admin/kms/rotation-status"))
                 and run["status"] == "COMPLETE" and run, seconds, "the rotation to end", every=0.05)


def connections_of(port):
    """Established at the server's end, accepted by it or not."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_a_rotation_is_served_by_the_other_daemon_within_a_second(pair):
    first, second = pair
    first.create("acme")
    for version in range(1, 6):
        assert second.sign("acme", "x")["version"] == version
        first.ok("POST", "/api/tenants/acme/rotate")
        until(lambda: second.sign("acme", "x")["version"] == version + 1, 1, "the new version",
              every=0.02)


def test_after_a_revocation_is_acknowledged_no_daemon_signs_with_the_key(pair):
    first, second = pair
    first.create("acme")
    stop, signed = threading.Event(), []

    def keep_signing(daemon):
        while not stop.is_set():
            begun = time.monotonic()
            signed.append((begun, daemon.sign("acme", "x")["version"]))

    threads = [threading.Thread(target=keep_signing, args=(each,)) for each in (first, second) * 2]
    for each in threads:
        each.start()
    for version in range(1, 4):
        key = active(first, "acme")["keyId"]
        first.ok("POST", f"/api/tenants/acme/keys/{key}/revoke", json=REASON)
        acknowledged = time.monotonic()
        late = until(lambda: len(found := [used for begun, used in list(signed)
                                           if begun > acknowledged]) >= 40 and found,
                     10, "signatures after the acknowledgement")
        assert min(late) > version
    stop.set()
    for each in threads:
        each.join(30)


def test_a_stopped_daemon_holds_an_acknowledgement_back_for_its_lease_and_woken_signs_nothing(pair):
    first, second = pair
    first.create("acme")
    assert second.sign("acme", "x")["version"] == 1
    second.signal(signal.SIGSTOP)
    begun = time.monotonic()
    first.ok("POST", f"/api/tenants/acme/keys/{active(first, 'acme')['keyId']}/revoke", json=REASON)
    took = time.monotonic() - begun
    assert LEASE * 0.5 < took < LEASE + 5
    # Waiting for it in its socket.
    answers = []
    callers = [threading.Thread(target=lambda: answers.append(
        second.post("/api/tenants/acme/sign", {"payload": b64("x")}))) for _ in range(20)]
    for each in callers:
        each.start()
    until(lambda: connections_of(second.port) >= len(callers), 10, "all callers to wait")
    second.signal(signal.SIGCONT)
    for each in callers:
        each.join(30)
    assert len(answers) == 20
    for answer in answers:
        if answer.status_code == 200:
            assert answer.json()["version"] == 2
        else:
            problem(answer, 503, "store_unavailable")
    until(lambda: second.post("/api/tenants/acme/sign", {"payload": b64("x")}).status_code == 200,
          5, "it to be itself again")


def test_the_files_of_the_store_hold_no_wrapped_key_of_a_destroyed_tenant(daemons):
    daemon = daemons()
    for tenant in ("acme", "kept"):
        daemon.create(tenant)
        for _ in range(3):
            daemon.ok("POST", f"/api/tenants/{tenant}/rotate")
    sealed = daemon.encrypt("acme", "pii")
    signature = daemon.sign("acme", "evidence")

    def wrapped(tenant):
        return [blob for blob, in Store(daemon).query(
            "SELECT blob FROM wrappings w JOIN keys k ON k.id = w.key_id WHERE k.tenant = ?",
            tenant)]

    blobs = wrapped("acme")
    assert len(blobs) == 8

    def found(some):
        files = b"".join(each.read_bytes() for each in daemon.data.glob("betrace-kms.db*"))
        return sum(blob in files for blob in some)

    assert found(blobs) == 8
    problem(daemon.call("DELETE", "/api/tenants/acme"), 400, "invalid_argument")
    answer = daemon.ok("DELETE", "/api/tenants/acme?confirm=acme")
    assert answer["destroyed"] == {"signing": 4, "encryption": 4} and not answer["pending"], answer
    assert wrapped("acme") == [] and found(blobs) == 0
    assert found(wrapped("kept")) == 8
    problem(daemon.post("/api/tenants/acme/decrypt", {"ciphertext": sealed}), 410, "destroyed")
    problem(daemon.put("/api/tenants/acme"), 410, "destroyed")
    verified = daemon.verifies("acme", "evidence", signature["signature"])
    assert verified["valid"] and verified["trusted"] and verified["keyStatus"] == "DESTROYED"
    daemon.restart()
    assert daemon.ok("DELETE", "/api/tenants/acme?confirm=acme") == answer


def test_a_reader_that_keeps_the_log_in_use_keeps_a_destruction_pending_until_it_goes(daemons):
    daemon = daemons({"betrace.kms.node-lease-seconds": LEASE})
    for tenant in ("acme", "kept"):
        daemon.create(tenant)
    with Store(daemon).open() as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM wrappings").fetchall()
        answer = daemon.ok("DELETE", "/api/tenants/acme?confirm=acme")
        assert answer["pending"] and answer["certificate"]
    until(lambda: not daemon.ok("DELETE", "/api/tenants/acme?confirm=acme")["pending"], 30,
          "the log to be cut")
    assert daemon.sign("kept", "x")


def test_rotation_goes_by_its_schedule_and_says_so(daemons):
    daemon = daemons({"kms.rotation.check-cron": "0/1 * * * * ?  # every second"})
    until(lambda: daemon.ok("GET", "/q/scheduler/status", token=None)["schedulers"][0][
        "lastExecution"], 10, "the first scheduled run")
    assert "trailing comment" in daemon.log() or "comment" in daemon.log()
    run = wait_for_rotation(daemon)
    assert run["trigger"] == "schedule" and run["total_tenants"] == 0
    assert daemon.log_lines("Starting automated key rotation (age threshold: 90 days)")
    assert daemon.log_lines("Key rotation complete: 0 signing keys rotated, 0 encryption keys")


def test_the_command_line_rotates_all_and_fails_when_a_tenant_did(daemons):
    daemon = daemons()
    for tenant in ("a", "b", "c"):
        daemon.create(tenant)

    def rotate(*words):
        return subprocess.run([program(), "rotate", "--all", *words], capture_output=True,
                              text=True, timeout=60, env={
                                  "BETRACE_KMS_URL": daemon.url, "ADMIN_TOKEN": daemon.token})

    assert rotate("--dry-run").stderr.startswith("0 keys are due")
    done = rotate("--force")
    assert done.returncode == 0 and "3 of 3 tenants rotated" in done.stdout, done
    Store(daemon).query("UPDATE wrappings SET blob = zeroblob(60) WHERE key_id IN (SELECT id FROM"
                        " keys WHERE tenant = 'b' AND type = 'signing' AND state = 'active')")
    daemon.restart()
    done = rotate("--force")
    assert done.returncode == 1 and "b" in done.stdout + done.stderr, done
    assert active(daemon, "a")["version"] == 3 and active(daemon, "b")["version"] == 2
    assert daemon.metric("kms_rotation_failures_total") == 1


class Life:
    """Callers who create, use, rotate and destroy tenants and move their keys to the current master
    key, and remember what was acknowledged."""

    def __init__(self, daemon):
        self.daemon, self.lock = daemon, threading.Lock()
        self.migrations = 0
        self.tenants, self.signatures, self.ciphertexts = [], [], []
        self.destroying, self.destroyed = set(), set()
        self.numbers = iter(range(10**9))
        self.ended = threading.Event()

    def run(self):
        self.ended.clear()
        self.threads = [threading.Thread(target=self.caller, args=(work,), daemon=True)
                        for work in (self.create, self.use, self.use, self.rotate, self.rotate_all,
                                     self.migrate, self.destroy)]
        for each in self.threads:
            each.start()

    def join(self):
        for each in self.threads:
            each.join(30)

    def caller(self, work):
        try:
            while not self.ended.is_set():
                work()
        except (requests.RequestException, OSError):
            return  # killed

    def until(self, condition):
        until(lambda: self.ended.is_set() or condition(), 60, "the others' work")

    def any_tenant(self):
        with self.lock:
            free = [each for each in self.tenants[-40:] if each not in self.destroying]
        return random.choice(free) if free else None

    def create(self):
        self.until(lambda: len(self.signatures) >= SIGNATURES_A_TENANT * (len(self.tenants) - 20))
        tenant = f"t{next(self.numbers)}"
        if self.daemon.put(f"/api/tenants/{tenant}").status_code == 201:
            self.tenants.append(tenant)

    def use(self):
        tenant = self.any_tenant()
        if tenant is None:
            return self.until(lambda: self.tenants)
        answer = self.daemon.post(f"/api/tenants/{tenant}/sign", {"payload": b64(tenant)})
        if answer.status_code == 200:
            self.signatures.append((tenant, answer.json()))
        answer = self.daemon.post(f"/api/tenants/{tenant}/encrypt", {"plaintext": b64(tenant)})
        if answer.status_code == 200:
            self.ciphertexts.append((tenant, answer.json()["ciphertext"]))

    def rotate(self):
        tenant = self.any_tenant()
        if tenant is not None:
            self.daemon.post(f"/api/tenants/{tenant}/rotate")

    def rotate_all(self):
        self.daemon.post("/api/admin/kms/rotate-all-keys", {"force": True})
        made = len(self.tenants)
        self.until(lambda: len(self.tenants) > made + 5)

    def migrate(self):
        # Refused while the lease of a killed daemon's run is not over.
        self.migrations += self.daemon.post("/api/admin/kms/migrate").status_code == 202
        self.until(lambda: migration(self.daemon)["status"] != "RUNNING")
        made = len(self.signatures)
        self.until(lambda: len(self.signatures) > made + 20)

    def destroy(self):
        self.until(lambda: len(self.tenants) > 10 * len(self.destroying))
        tenant = self.any_tenant()
        if tenant is None:
            return
        with self.lock:
            self.destroying.add(tenant)
        answer = self.daemon.call("DELETE", f"/api/tenants/{tenant}?confirm={tenant}")
        if answer.status_code == 200:
            self.destroyed.add(tenant)


def migration(daemon):
    return daemon.ok("GET", "/api/admin/kms/migration-status")


def move_to(daemon, key, old_key):
    """At its next start: new keys under `key`, those under `old_key` stay readable."""
    daemon.properties |= {"aws.kms.master-key-id": key,
                          "betrace.kms.previous.aws.kms.master-key-id": old_key}


def finish_migration(daemon, keys):
    """Until a run to the first of `keys` has ended and left nothing under the other."""
    def done():
        run = migration(daemon)
        if run["status"] != "RUNNING" and any(
                each["keys"] and each["master_key_id"] != keys[0] for each in run["wrappings"]):
            daemon.post("/api/admin/kms/migrate")
            return None
        return run["status"] != "RUNNING" and run
    run = until(done, 600, "the last migration to end", every=0.1)
    assert run["failed"] == 0, run


def opens_with(kms, key, row):
    """Whether boto3 opens this wrapping under `key`, and finds what belongs to the public key."""
    tenant, key_type, public, blob = row
    secret = kms.decrypt(CiphertextBlob=blob, KeyId=key, EncryptionContext={
        "tenantId": tenant, "keyType": key_type})["Plaintext"]
    if key_type == "encryption":
        return len(secret) == 32
    half = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    return half == public


@pytest.mark.parametrize("store", range(STORES))
def test_kill_9_at_any_moment_tears_nothing(aws_daemon, fake_kms, store):
    keys = [fake_kms.key_arn, fake_kms.other_key_arn]
    daemon = aws_daemon({"betrace.kms.node-lease-seconds": LEASE, "kms.rotation.batch-size": 5,
                         **previous_properties(fake_kms, keys[1])})
    life = Life(daemon)
    for _ in range(KILLS):
        begun = life.migrations
        life.run()
        # Into the midst of a migration as often as not: short lives see the lease of a dead one.
        if random.random() < 0.5:
            until(lambda: life.migrations > begun, 60, "a migration")
        goal = len(life.signatures) + random.randint(5, 150)
        until(lambda: len(life.signatures) >= goal, 60, "signatures", every=0.001)
        life.ended.set()
        daemon.signal(signal.SIGKILL)
        daemon.wait(20)
        life.join()
        if random.random() < 0.5:
            keys.reverse()
            move_to(daemon, *keys)
        daemon.start()
    assert life.tenants and life.signatures and life.ciphertexts and life.destroying
    assert life.migrations > 0
    rows = Store(daemon).query
    until(lambda: not rows("SELECT 1 FROM notes WHERE name LIKE 'destroying/%'"), 60,
          "the interrupted destructions to be finished")
    wait_for_rotation(daemon)
    finish_migration(daemon, keys)
    # From here on the other master key serves nobody, and nobody waits for a dead daemon's lease: a
    # disk that is slow for two seconds is no reason to refuse.
    del daemon.properties["betrace.kms.node-lease-seconds"]
    fake_kms.control(states={keys[1].rsplit("/", 1)[1]: "Disabled"})
    daemon.restart()
    # Exactly one active version of each key of each open tenant; of a destroyed one all or nothing.
    assert rows("SELECT tenant, type, sum(state = 'active') AS active FROM keys"
                " WHERE tenant_destroyed = 0 GROUP BY tenant, type HAVING active <> 1") == []
    assert rows("SELECT k.tenant FROM keys k JOIN wrappings w ON w.key_id = k.id"
                " WHERE k.tenant_destroyed = 1") == []
    # One wrapping of each key that has a secret, and the target key alone opens it.
    assert rows("SELECT k.id, count(w.key_id) AS n FROM keys k LEFT JOIN wrappings w"
                " ON w.key_id = k.id WHERE k.secret_destroyed_at IS NULL"
                " GROUP BY k.id HAVING n <> 1") == []
    assert daemon.log_lines("Migration failed for") == []
    taken_over = len(daemon.log_lines("Migration goes on"))
    print(f"{KILLS} kills, {life.migrations} migrations begun, {taken_over} taken over,"
          f" {len(life.tenants)} tenants, {len(life.signatures)} signatures")
    kms = fake_kms.client("kms")
    wrapped = rows("SELECT k.tenant, k.type, k.public_key, w.blob FROM keys k"
                   " JOIN wrappings w ON w.key_id = k.id")
    assert [row for row in wrapped if not opens_with(kms, keys[0], row)] == []
    gone = {row[0] for row in rows("SELECT id FROM tenants WHERE destroyed = 1")}
    assert life.destroyed <= gone <= life.destroying
    known = {row[0] for row in rows("SELECT id FROM tenants")}
    assert set(life.tenants) <= known
    for tenant, signature in life.signatures:
        verified = daemon.verifies(tenant, tenant, signature["signature"], keyId=signature["keyId"])
        assert verified["valid"] and verified["trusted"], (tenant, signature, verified)
    for tenant, ciphertext in life.ciphertexts:
        if tenant in gone:
            problem(daemon.post(f"/api/tenants/{tenant}/decrypt", {"ciphertext": ciphertext}),
                    410, "destroyed")
        else:
            assert daemon.decrypt(tenant, ciphertext) == tenant.encode()
    for tenant in known - gone:
        daemon.sign(tenant, tenant)
    certificate = daemon.ok("DELETE", f"/api/tenants/{min(gone)}?confirm={min(gone)}")
    assert certificate["certificate"] and not certificate["pending"]
    assert json.loads(unb64(certificate["certificate"]["payload"]))["tenantId"] == min(gone)
