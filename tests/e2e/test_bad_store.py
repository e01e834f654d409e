"""A store that is read-only, full, locked, missing, damaged or from the future: said clearly,
nothing that was acknowledged is lost."""

import os
import sqlite3

import pytest

from harness.daemon import b64, problem
from harness.disk import small_disk
from harness.process import ROOT
from harness.store import Store
from harness.wire import at_once


def test_a_full_disk_refuses_new_tenants_and_keeps_the_old_ones(daemons):
    daemon = daemons(start=False)
    daemon.properties["quarkus.log.file.enable"] = "false"
    with small_disk(daemon.data, 2) as disk:
        disk.hold(daemon)
        daemon.start()
        acknowledged, refused = [], []
        for start in range(0, 20_000, 100):
            names = [f"tenant-{i}" for i in range(start, start + 100)]
            answers = at_once(daemon, [("PUT", f"/api/tenants/{name}", None) for name in names])
            for name, answer in zip(names, answers):
                (acknowledged if answer.status == 201 else refused).append((name, answer))
            if refused:
                break
        assert acknowledged and refused
        assert {answer.status for _, answer in refused} == {503}
        # A batch that did not fit leaves room for single ones.
        answer = next(answer for i in range(1000)
                      if (answer := daemon.put(f"/api/tenants/single-{i}")).status_code != 201)
        assert "full" in problem(answer, 503, "store_unavailable")
        first, last = acknowledged[0][0], acknowledged[-1][0]
        signature = daemon.sign(first, b"x")
        assert daemon.verifies(last, b"x", daemon.sign(last, b"x")["signature"])["valid"]
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.sign(first, b"x") == signature
        answers = at_once(daemon, [("GET", f"/api/tenants/{name}", None)
                                   for name, _ in acknowledged[-200:]])
        assert {answer.status for answer in answers} == {200}
        assert daemon.stop() == 0


def test_a_read_only_store_is_said_to_be(daemons):
    daemon = daemons(start=False)
    with small_disk(daemon.data, 8) as disk:
        daemon.start()
        daemon.create("acme")
        assert daemon.stop() == 0
        disk.remount("ro")
        if not disk.mounted:
            for path in daemon.data.iterdir():
                path.chmod(0o400)
            daemon.data.chmod(0o500)
        try:
            daemon.start(ready=False)
            code = daemon.wait()
            assert code == 2
            assert "betrace-kms.db" in daemon.text()
            assert "read-only" in daemon.text().lower() or "readonly" in daemon.text().lower()
        finally:
            disk.remount("rw")
            if not disk.mounted:
                daemon.data.chmod(0o700)
                for path in daemon.data.iterdir():
                    path.chmod(0o600)
        daemon.start()
        assert daemon.sign("acme", b"x")["version"] == 1
        assert daemon.stop() == 0


def test_a_locked_store_refuses_changes_while_cached_keys_go_on(daemons):
    daemon = daemons()
    daemon.create("acme")
    signature = daemon.sign("acme", b"x")
    lock = sqlite3.connect(Store(daemon).path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        detail = problem(daemon.put("/api/tenants/umbrella"), 503, "store_unavailable")
        assert "lock" in detail or "busy" in detail
        assert daemon.sign("acme", b"x") == signature
        assert daemon.health("live")[0] == 200
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    daemon.create("umbrella")
    assert daemon.sign("umbrella", b"x")["version"] == 1


def test_a_store_in_a_folder_that_does_not_exist_is_said_to_be(daemons, tmp_path):
    path = tmp_path / "nowhere" / "keys.db"
    daemon = daemons({"betrace.kms.store.url": f"sqlite:{path}"}, start=False)
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert str(path) in daemon.text()


def test_a_store_that_vanished_acknowledges_nothing_more(daemons):
    daemon = daemons()
    daemon.create("acme")
    path = Store(daemon).path
    moved = path.with_suffix(".moved")
    path.rename(moved)
    answer = daemon.put("/api/tenants/umbrella")
    problem(answer, 503, "store_unavailable")
    daemon.stop()
    moved.rename(path)
    daemon.start()
    assert daemon.sign("acme", b"x")["version"] == 1


def test_a_file_that_is_no_database_is_left_alone(daemons):
    daemon = daemons(start=False)
    daemon.data.mkdir(mode=0o700)
    path = daemon.data / "betrace-kms.db"
    path.write_bytes(b"this is not a database, it is a letter\n" * 200)
    before = path.read_bytes()
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert str(path) in daemon.text()
    assert path.read_bytes() == before


def test_a_store_from_the_future_is_refused_and_left_alone(daemons):
    daemon = daemons()
    daemon.create("acme")
    daemon.stop()
    store = Store(daemon)
    ((now,),) = store.query("PRAGMA user_version")
    assert now >= 1
    store.query("PRAGMA user_version = 999")
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert "999" in daemon.text() and str(store.path) in daemon.text()
    store.query(f"PRAGMA user_version = {now}")
    daemon.start()
    assert daemon.sign("acme", b"x")["version"] == 1


def test_a_store_of_the_first_release_is_brought_up_to_date_and_the_log_says_so(daemons):
    daemon = daemons()
    steps = sorted((ROOT / "src/stores/migrations").glob("*.sql"))
    daemon.stop()
    store = Store(daemon)
    ((application,),) = store.query("PRAGMA application_id")
    for file in daemon.data.glob("betrace-kms.db*"):
        file.unlink()
    with sqlite3.connect(store.path) as old:
        old.executescript(steps[0].read_text())
        old.execute(f"PRAGMA application_id = {application}")
        old.execute("PRAGMA user_version = 1")
    old.close()
    daemon.start()
    assert any(f"is brought from schema version 1 to {len(steps)}" in line
               for line in daemon.log_lines(str(store.path)))
    daemon.create("acme")
    daemon.restart()
    assert daemon.sign("acme", b"x")["version"] == 1
    assert len(daemon.log_lines("is brought from schema version")) == 1


def test_a_damaged_page_is_an_error_and_no_crash(daemons):
    daemon = daemons()
    calls = [("PUT", f"/api/tenants/tenant-{i}", None) for i in range(300)]
    assert {answer.status for answer in at_once(daemon, calls)} == {201}
    assert daemon.stop() == 0
    path = Store(daemon).path
    whole = path.read_bytes()
    # Every page but the schema's.
    path.write_bytes(whole[:32768] + os.urandom(len(whole) - 32768))
    daemon.start(ready=False)
    try:
        daemon.wait_ready()
    except RuntimeError:
        assert daemon.process.returncode == 2
        assert str(path) in daemon.text()
    else:
        codes = set()
        for i in range(300):
            answer = daemon.post(f"/api/tenants/tenant-{i}/sign", {"payload": b64("x")})
            codes.add(answer.json().get("code") if answer.status_code != 200 else "ok")
        assert codes <= {"ok", "store_unavailable", "corrupt", "tenant_not_found"}, codes
        daemon.stop()
    path.write_bytes(whole)
    daemon.start()
    assert daemon.sign("tenant-299", b"x")["version"] == 1
