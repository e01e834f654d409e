"""The evidence log when it is killed, damaged, or out of room: what was acknowledged is in it, and what
cannot be in it is refused with the reason."""

import contextlib
import json
import os
import shutil

import pytest

from conftest import TORTURE
from harness.daemon import problem
from harness.disk import small_disk
from harness.evidence import (SELDOM, SIGN, checkpoint, export, folder_of, leaves_of, log_key,
                              read_by_go, report, sign, span, verdict)
from harness.kills import Kills, seeded, whole_log
from harness.waiting import until

KILLS = 200 if TORTURE else 8


@pytest.fixture
def daemon(daemons):
    daemon = daemons(SELDOM)
    daemon.create("acme")
    return daemon


def acknowledged(answers):
    """The spans that answers have signed."""
    bodies = [json.loads(answer.body) for answer in answers if answer.status == 200]
    return [one for body in bodies for one in body["spans"] if one.get("status") == "signed"]


# --- kills --------------------------------------------------------------------------------------


def test_what_was_acknowledged_is_in_the_log_however_often_it_is_killed(daemons):
    daemon = daemons({"betrace.evidence.checkpoint.interval-seconds": 1,
                      "betrace.evidence.checkpoint.leaves": 40})
    for tenant in ("acme", "other"):
        daemon.create(tenant)

    def batch(n):
        return "POST", SIGN, {"spans": [span(tenant, n=n, i=i) for i in range(1 + n % 5)
                                        for tenant in ("acme", "other")]}
    kills = Kills(daemon, batch, acknowledged, seeded())
    signed = [one for taken in kills.each(KILLS) for one in taken]
    sign(daemon, span(), span("other"))
    for tenant in ("acme", "other"):
        in_log = set(whole_log(daemon, tenant, lambda leaf: leaf["signature"]))
        of_tenant = [one for one in signed if one["tenantId"] == tenant]
        assert len(of_tenant) >= 5 * KILLS
        assert not [one for one in of_tenant if one["signature"] not in in_log]
    kills.check_checkpoints()


# --- damage -------------------------------------------------------------------------------------


def flip(path, at=0):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def a_hash_tile(daemon):
    path = folder_of(daemon) / "tile/0/001.p/44"
    flip(path)
    return folder_of(daemon)


def an_entries_tile(daemon):
    path = folder_of(daemon) / "tile/entries/001.p/44"
    flip(path, 100)
    return path


def a_lost_tile(daemon):
    path = folder_of(daemon) / "tile/0/001.p/44"
    path.unlink()
    return path


def a_checkpoint(daemon):
    path = folder_of(daemon) / "checkpoint"
    path.write_text("nothing\n")
    return path


@pytest.mark.parametrize("damage", [a_hash_tile, an_entries_tile, a_lost_tile, a_checkpoint],
                         ids=lambda damage: damage.__name__)
def test_a_damaged_log_of_a_tenant_takes_no_more_and_says_which_file(daemon, damage):
    daemon.create("other")
    signed = sign(daemon, *(span(n=n) for n in range(300)))
    checkpoint(daemon)
    assert daemon.stop() == 0
    named = damage(daemon)
    daemon.start()
    answer = daemon.post(SIGN, json={"span": span()})
    assert str(named) in problem(answer, 500, "corrupt")
    assert sign(daemon, span("other"))[0]["status"] == "signed"
    assert verdict(daemon, signed[0])["valid"]
    daemon.sign("acme", b"payload")
    done = daemon.cli("evidence", "export", "--tenant", "acme", "-o", "bundle")
    assert done.returncode != 0 or damage is a_hash_tile, done.stdout
    assert not (daemon.folder / "bundle.part").exists()


def journal_files(daemon):
    return sorted((daemon.data / "evidence/journal").glob("*.journal"))


def a_cut_journal(daemon):
    (path,) = journal_files(daemon)
    os.truncate(path, path.stat().st_size // 2)
    return path


def a_flipped_journal(daemon):
    (path,) = journal_files(daemon)
    flip(path, path.stat().st_size // 2)
    return path


def a_lost_key(daemon):
    path = daemon.data / "evidence/log-key.json"
    path.unlink()
    return path


def a_changed_key(daemon):
    path = daemon.data / "evidence/log-key.json"
    path.write_text(path.read_text()[:-20])
    return path


@pytest.mark.parametrize("damage", [a_cut_journal, a_flipped_journal, a_lost_key, a_changed_key],
                         ids=lambda damage: damage.__name__)
def test_a_damaged_log_signs_nothing_and_everything_else_goes_on(daemon, damage):
    signed = [sign(daemon, span(n=n))[0] for n in range(20)]
    checkpoint(daemon)
    evidence, kept = daemon.data / "evidence", daemon.folder / "kept"
    assert daemon.stop() == 0
    shutil.copytree(evidence, kept)
    named = damage(daemon)
    daemon.start()
    for answer in (daemon.post(SIGN, json={"span": span()}), daemon.get("/api/compliance/log-key")):
        detail = problem(answer, 503, "store_unavailable")
        assert detail.startswith(("the evidence log cannot be used: ", "span: the evidence log"))
        assert str(named) in detail
    (line,) = daemon.log_lines("the evidence log cannot be opened")
    assert str(named) in line
    assert verdict(daemon, signed[0])["valid"]
    daemon.sign("acme", b"payload")
    assert daemon.health("live")[0] == 200
    assert daemon.stop() == 0
    shutil.rmtree(evidence)
    kept.rename(evidence)
    daemon.start()
    sign(daemon, span(n=20))
    assert [leaf["n"] for leaf in leaves_of(export(daemon))] == list(range(21))


@pytest.mark.parametrize("before", ["lost", "older"])
def test_a_checkpoint_that_was_lost_or_is_an_old_one_is_had_from_the_list(daemon, before):
    current = folder_of(daemon) / "checkpoint"
    sign(daemon, *(span(n=n) for n in range(10)))
    checkpoint(daemon)
    old = current.read_text()
    sign(daemon, *(span(n=n) for n in range(10, 300)))
    kept, key = checkpoint(daemon), log_key(daemon)
    assert daemon.stop() == 0
    current.unlink()
    if before == "older":
        current.write_text(old)
    with open(folder_of(daemon) / "checkpoints.jsonl", "a") as listed:
        listed.write('{"size":"9')  # as a crash leaves it
    daemon.start()
    assert checkpoint(daemon).read_text() == kept.read_text()
    sign(daemon, span(n=300))
    bundle = export(daemon)
    assert [leaf["n"] for leaf in leaves_of(bundle)] == list(range(301))
    assert report(bundle, "--checkpoint", kept, "--log-key", key)["held"]["consistent"]
    assert read_by_go(daemon) == (0, "301 leaves, 3 checkpoints")


# --- no room ------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "small", 2) as disk:
        yield disk


def test_a_full_disk_refuses_what_it_cannot_keep_and_loses_nothing(daemons, disk):
    daemon = daemons({"betrace.evidence.checkpoint.interval-seconds": 1,
                      "betrace.evidence.log.folder": disk.folder / "log"}, start=False)
    disk.hold(daemon)
    daemon.start()
    daemon.create("acme")
    signed, refused = [], []
    while len(refused) < 20:
        answers = sign(daemon, *(span(n=len(signed) + i, note="x" * 1000) for i in range(20)))
        signed += [one for one in answers if "error" not in one]
        refused += [one["error"] for one in answers if "error" in one]
        assert len(signed) < 4000
    assert {error["code"] for error in refused} <= {"store_unavailable", "overloaded"}
    assert disk.says in refused[0]["detail"], refused[0]
    assert str(disk.folder / "log/journal") in refused[0]["detail"]
    assert daemon.health("live")[0] == 200
    daemon.sign("acme", b"payload")
    assert all(verdict(daemon, one)["valid"] for one in signed[-3:])
    if disk.mounted:  # else the tiles are other files, with room of their own
        refusal = problem(daemon.get("/api/tenants/acme/evidence/checkpoint"), 503,
                          "store_unavailable")
        assert disk.says in refusal
    daemon.kill()  # full, and killed on top of it
    daemon.start()
    daemon.kill()
    disk.grow(16, daemon)
    daemon.start()

    def recovered():
        (one,) = sign(daemon, span(n="after"))
        return "error" not in one
    until(recovered, 10, "spans to be signed again", every=0.1)
    in_log = {leaf["signature"] for leaf in leaves_of(export(daemon))}
    assert not [one for one in signed if one["signature"] not in in_log]
    assert report(export(daemon))["valid"]
    assert read_by_go(daemon)[0] == 0


def test_a_folder_that_has_no_room_at_the_start_is_tried_again(daemons, disk):
    """Full, or where nothing can be mounted with a file in its place."""
    log = disk.folder / "log"
    in_the_way = disk.folder / "filler" if disk.mounted else log
    with contextlib.suppress(OSError), open(in_the_way, "wb", buffering=0) as file:
        while disk.mounted:
            file.write(b"x" * 65536)
    daemon = daemons(SELDOM | {"betrace.evidence.log.folder": log})
    daemon.create("acme")
    refusal = problem(daemon.post(SIGN, json={"span": span()}), 503, "store_unavailable")
    assert str(log) in refusal and (not disk.mounted or disk.says in refusal)
    in_the_way.unlink()
    until(lambda: daemon.post(SIGN, json={"span": span()}).status_code == 200, 10,
          "spans to be signed", every=0.1)
