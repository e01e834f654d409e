"""Backup while serving, restore, check: what comes back, what never comes back, what is refused."""

import json
import os
import random
import shutil
import signal
import threading

import pytest

from conftest import TORTURE
from harness.daemon import problem
from harness.store import Store
from harness.waiting import until

KILLS = 100 if TORTURE else 8
REASON = {"reason": "laptop lost"}
FAST = {"betrace.kms.node-lease-seconds": 2}


def backup(daemon, name="backup.db"):
    file = daemon.folder / name
    done = daemon.cli("backup", file)
    assert done.returncode == 0, done
    return file


def restore(daemon, *words):
    return daemon.cli("restore", *words)


def signing_key(daemon, tenant):
    return next(key["keyId"] for key in daemon.ok("GET", f"/api/tenants/{tenant}")["keys"]
                if key["keyType"] == "signing" and key["status"] == "ACTIVE")


def mark_epoch(daemon):
    import base64
    mark = daemon.data / "high-water-mark"
    if not mark.exists():
        return 0
    payload = json.loads(mark.read_text())["payload"]
    return int(json.loads(base64.b64decode(payload))["epoch"])


def wait_for_epoch(daemon, above=0):
    """Until all that was done so far is written down outside the store."""
    until(lambda: mark_epoch(daemon) > above, 20, "the high-water mark to be raised")


def test_a_backup_is_taken_while_serving_and_restores_what_was_signed_and_encrypted(daemons):
    daemon = daemons(FAST)
    for tenant in ("acme", "other"):
        daemon.create(tenant)
    daemon.ok("POST", "/api/tenants/acme/rotate")
    signature = daemon.sign("acme", "evidence")
    sealed = daemon.encrypt("acme", "pii", {"t": "1"})
    stop = threading.Event()
    failed = []

    def keep_going():
        number = 0
        while not stop.is_set():
            number += 1
            answer = daemon.put(f"/api/tenants/meanwhile-{number}")
            if answer.status_code != 201:
                failed.append(answer.text)

    caller = threading.Thread(target=keep_going)
    caller.start()
    file = backup(daemon)
    stop.set()
    caller.join(30)
    assert not failed
    checked = daemon.cli("check", file, "--json")
    assert checked.returncode == 0 and json.loads(checked.stdout)["ok"], checked
    # On another machine: nothing but the backup and the local master key.
    elsewhere = daemons(FAST, start=False)
    elsewhere.data.mkdir(mode=0o700)
    shutil.copy(daemon.data / "local-master.key", elsewhere.data)
    elsewhere.config.write_text("".join(f"{k}={v}\n" for k, v in elsewhere.properties.items()))
    done = restore(elsewhere, file)
    assert done.returncode == 0, done
    elsewhere.start()
    assert elsewhere.sign("acme", "evidence") == signature
    assert elsewhere.decrypt("acme", sealed, {"t": "1"}) == b"pii"
    assert elsewhere.verifies("acme", "evidence", signature["signature"])["trusted"]


def test_an_older_backup_is_refused_and_with_accept_rollback_says_what_is_lost(daemons):
    daemon = daemons(FAST)
    daemon.create("acme")
    file = backup(daemon)
    daemon.create("later")
    revoked = signing_key(daemon, "acme")
    daemon.ok("POST", f"/api/tenants/acme/keys/{revoked}/revoke", json=REASON)
    # A daemon that runs has the store open.
    busy = restore(daemon, file)
    assert busy.returncode == 1 and "is in use" in busy.stderr, busy
    assert daemon.stop() == 0
    before = (daemon.data / "betrace-kms.db").read_bytes()
    refused = restore(daemon, file)
    assert refused.returncode == 1, refused
    assert "is older than what was here" in refused.stderr
    assert "1 tenants, 3 key versions" in refused.stderr and "1 revocations" in refused.stderr
    assert "--accept-rollback" in refused.stderr and "Nothing was changed" in refused.stderr
    assert len(before) == len((daemon.data / "betrace-kms.db").read_bytes())
    daemon.start()
    assert daemon.sign("later", "x")
    assert daemon.stop() == 0
    accepted = restore(daemon, file, "--accept-rollback")
    assert accepted.returncode == 0, accepted
    assert f"betrace-kms revoke --tenant 'acme' --key-id {revoked} --reason 'laptop lost'" \
        in accepted.stdout
    assert list(daemon.data.glob("betrace-kms.db.before-restore-*"))
    assert list(daemon.data.glob("high-water-mark.superseded-*"))
    daemon.start()
    problem(daemon.post("/api/tenants/later/sign", {"payload": "eA=="}), 404, "tenant_not_found")
    assert daemon.sign("acme", "x")["keyId"] == revoked
    # History goes on above what it was, so that the store that was replaced is the older one now.
    old_mark = max(daemon.data.glob("high-water-mark.superseded-*"))
    was = json.loads(__import__("base64").b64decode(json.loads(old_mark.read_text())["payload"]))
    daemon.ok("POST", "/api/tenants/acme/rotate")
    wait_for_epoch(daemon, int(was["epoch"]))


def test_a_store_that_was_replaced_by_hand_with_an_older_copy_does_not_start(daemons):
    daemon = daemons(FAST)
    daemon.create("acme")
    assert daemon.stop() == 0
    old = daemon.folder / "old.db"
    shutil.copy(daemon.data / "betrace-kms.db", old)
    daemon.start()
    daemon.ok("POST", f"/api/tenants/acme/keys/{signing_key(daemon, 'acme')}/revoke", json=REASON)
    assert daemon.stop() == 0
    shutil.copy(old, daemon.data / "betrace-kms.db")
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert "the store is older than it was" in daemon.text()
    checked = daemon.cli("check")
    assert checked.returncode == 1 and "older than it was" in checked.stdout, checked
    accepted = restore(daemon, "--accept-rollback")
    assert accepted.returncode == 0 and "accepted at epoch" in accepted.stdout, accepted
    daemon.start()
    assert daemon.sign("acme", "x")["version"] == 1


def test_a_destroyed_tenant_stays_destroyed_after_a_restore(daemons):
    daemon = daemons(FAST)
    for tenant in ("gone", "kept"):
        daemon.create(tenant)
    sealed = daemon.encrypt("gone", "pii")
    signature = daemon.sign("gone", "evidence")
    blobs = [blob for blob, in Store(daemon).query(
        "SELECT blob FROM wrappings w JOIN keys k ON k.id = w.key_id WHERE k.tenant = 'gone'")]
    file = backup(daemon)
    certificate = daemon.ok("DELETE", "/api/tenants/gone?confirm=gone")["certificate"]
    assert daemon.stop() == 0
    assert restore(daemon, file).returncode == 1
    done = restore(daemon, file, "--accept-rollback")
    assert done.returncode == 0 and "1 tenants were destroyed before" in done.stdout, done

    def is_gone():
        problem(daemon.post("/api/tenants/gone/decrypt", {"ciphertext": sealed}), 410, "destroyed")
        problem(daemon.put("/api/tenants/gone"), 410, "destroyed")
        assert daemon.verifies("gone", "evidence", signature["signature"])["valid"]
        files = b"".join(each.read_bytes() for each in daemon.data.glob("betrace-kms.db*")
                         if "before-restore" not in each.name)
        assert not any(blob in files for blob in blobs)

    daemon.start()
    is_gone()
    assert daemon.sign("kept", "x")
    until(lambda: not daemon.ok("DELETE", "/api/tenants/gone?confirm=gone")["pending"], 20,
          "the destruction to be complete")
    assert daemon.ok("DELETE", "/api/tenants/gone?confirm=gone")["certificate"] == certificate
    # By hand, past the command: the tombstone is obeyed at the start.
    assert daemon.stop() == 0
    for each in daemon.data.glob("betrace-kms.db*"):
        each.unlink()
    shutil.copy(file, daemon.data / "betrace-kms.db")
    (daemon.data / "high-water-mark").unlink()
    daemon.start()
    assert daemon.log_lines("Tenant gone was destroyed and is alive in this store")
    until(lambda: not daemon.ok("DELETE", "/api/tenants/gone?confirm=gone")["pending"], 20,
          "the destruction to be complete")
    is_gone()


def test_check_names_what_does_not_fit(daemons):
    daemon = daemons(FAST)
    for tenant in ("acme", "other"):
        daemon.create(tenant)
    assert daemon.cli("check").returncode == 0  # while it serves
    assert daemon.stop() == 0
    good = daemon.cli("check", "--json")
    report = json.loads(good.stdout)
    assert good.returncode == 0 and report["ok"] and report["tenants"] == 2, good
    assert {(each["keyType"], each["state"]): each["keys"] for each in report["keys"]} == {
        ("signing", "active"): 2, ("encryption", "active"): 2}
    Store(daemon).query("UPDATE keys SET public_key = zeroblob(32) WHERE tenant = 'other' AND"
                        " type = 'signing'")
    bad = daemon.cli("check")
    assert bad.returncode == 1, bad
    assert "problem: other" in bad.stdout and "does not vouch" in bad.stdout


def test_what_a_restore_makes_as_root_belongs_to_the_folders_owner(daemons):
    daemon = daemons(FAST)
    daemon.create("acme")
    file = backup(daemon)
    daemon.ok("DELETE", "/api/tenants/acme?confirm=acme")
    assert daemon.stop() == 0
    assert os.geteuid() == 0, "this is for root, who restores for the service's user"
    os.chown(daemon.data, 65534, 65534)
    (daemon.data / "tombstones").unlink()
    assert restore(daemon, file, "--accept-rollback").returncode == 0
    for name in ("betrace-kms.db", "tombstones", ".lock"):
        assert (daemon.data / name).stat().st_uid == 65534, name


def test_a_store_that_cannot_be_read_is_replaced_only_when_that_is_accepted(daemons):
    daemon = daemons(FAST)
    daemon.create("acme")
    file = backup(daemon)
    assert daemon.stop() == 0
    (daemon.data / "high-water-mark").unlink()
    with open(daemon.data / "betrace-kms.db", "r+b") as store:
        store.write(b"x" * 4096)
    refused = restore(daemon, file)
    assert refused.returncode == 1 and "is not known" in refused.stderr, refused
    accepted = restore(daemon, file, "--accept-rollback", "--json")
    assert accepted.returncode == 0 and not json.loads(accepted.stdout)["lostKnown"], accepted
    daemon.start()
    assert daemon.sign("acme", "x")


def test_a_torn_high_water_mark_has_a_way_out(daemons):
    daemon = daemons(FAST)
    daemon.create("acme")
    file = backup(daemon)
    assert daemon.stop() == 0
    (daemon.data / "high-water-mark").write_text("")
    daemon.start(ready=False)
    assert daemon.wait() == 2 and "restore --accept-rollback" in daemon.text()
    assert restore(daemon, file).returncode == 1
    assert restore(daemon, "--accept-rollback").returncode == 0
    daemon.start()
    assert daemon.stop() == 0
    (daemon.data / "high-water-mark").write_text("torn")
    assert restore(daemon, file, "--accept-rollback").returncode == 0
    daemon.start()
    assert daemon.sign("acme", "x")


def test_a_key_version_that_was_destroyed_stays_destroyed(daemons):
    daemon = daemons(FAST)
    daemon.create("acme")
    sealed = daemon.encrypt("acme", "pii")
    old = next(key["keyId"] for key in daemon.ok("GET", "/api/tenants/acme")["keys"]
               if key["keyType"] == "encryption")
    daemon.ok("POST", "/api/tenants/acme/rotate")
    file = backup(daemon)
    daemon.ok("DELETE", f"/api/tenants/acme/keys/{old}?unused=true")
    assert daemon.stop() == 0
    done = restore(daemon, file)
    if done.returncode == 1:  # the epoch has moved on
        done = restore(daemon, file, "--accept-rollback")
    assert done.returncode == 0 and "1 key versions were destroyed before" in done.stdout, done
    daemon.start()
    problem(daemon.post("/api/tenants/acme/decrypt", {"ciphertext": sealed}), 410, "destroyed")


def test_a_tenant_that_was_only_marked_by_hand_keeps_its_keys(daemons):
    daemon = daemons(FAST)
    daemon.create("acme")
    file = backup(daemon)
    assert daemon.stop() == 0
    Store(daemon).query("UPDATE tenants SET destroyed = 1 WHERE id = 'acme'")
    assert restore(daemon, file, "--accept-rollback").returncode == 0
    daemon.start()
    assert daemon.sign("acme", "x")


def test_a_reason_is_one_word_of_the_command_to_paste(daemons):
    import shlex
    daemon = daemons(FAST)
    daemon.create("acme")
    file = backup(daemon)
    reason = "Bob's laptop; touch /tmp/pasted"
    daemon.ok("POST", f"/api/tenants/acme/keys/{signing_key(daemon, 'acme')}/revoke",
              json={"reason": reason})
    assert daemon.stop() == 0
    done = restore(daemon, file, "--accept-rollback")
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("revoke again: ")]
    assert shlex.split(line)[-2:] == ["--reason", reason]


@pytest.mark.parametrize("words, code, said", [
    (["backup"], 2, "required"),
    (["backup", "existing.txt"], 1, "exists"),
    (["backup", "no/such/folder/file"], 1, "No such file"),
    (["restore"], 2, "FILE is missing"),
    (["restore", "", "--accept-rollback"], 2, "empty word"),
    (["restore", "absent.db"], 1, "is not a file"),
    (["restore", "existing.txt"], 1, "is not a SQLite database"),
    (["check", "absent.db"], 1, "is not a file"),
])
def test_wrong_words_are_answered_in_one_line(daemons, words, code, said):
    daemon = daemons(FAST)
    daemon.create("acme")
    if words[0] == "restore":
        daemon.stop()
    (daemon.folder / "existing.txt").write_text("not a store, and too long to be an empty one")
    done = daemon.cli(*words)
    assert done.returncode == code, done
    assert said in done.stderr and done.stdout == "", done
    assert (daemon.folder / "existing.txt").read_text().startswith("not a store")


def test_a_restore_that_is_killed_leaves_the_old_store_or_the_new_one(daemons):
    import subprocess
    from harness.daemon import program
    daemon = daemons(FAST)
    for number in range(50):
        daemon.create(f"t{number}")
    file = backup(daemon)
    daemon.create("later")
    assert daemon.stop() == 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [str(program()), "restore", str(file), "--accept-rollback"], cwd=daemon.folder,
            env=daemon.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(random.uniform(0, 0.15))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
        # Whichever it is, a restore that is not killed ends it well.
        assert daemon.cli("check", "--json").returncode in (0, 1)
    done = restore(daemon, file, "--accept-rollback")
    assert done.returncode == 0, done
    daemon.start()
    for number in range(50):
        assert daemon.sign(f"t{number}", "x")
