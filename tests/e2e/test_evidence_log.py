"""The evidence log as an auditor, a second daemon and whoever keeps checkpoints see it."""

import http.server
import os
import re
import stat
import threading

import pytest

from harness.daemon import problem
from harness.evidence import (SELDOM, SIGN, checkpoint, export, folder_of, leaves_of, log_key,
                              read_by_go, report, sign, size_of, span, static_verifier, verdict,
                              verified)
from harness.servers import run
from harness.waiting import until


@pytest.fixture
def daemon(daemons):
    daemon = daemons(SELDOM)
    daemon.create("acme")
    return daemon


@pytest.fixture
def two_versions(daemon):
    """700 spans of acme by two key versions, and a checkpoint that was kept from early on."""
    for n in range(3):
        sign(daemon, *(span(n=100 * n + i) for i in range(100)))
    early = checkpoint(daemon)
    daemon.ok("POST", "/api/tenants/acme/rotate")
    for n in range(3, 7):
        sign(daemon, *(span(n=100 * n + i, outcome="failure") for i in range(100)))
    return daemon, early


def keys_of(daemon):
    done = daemon.cli("evidence", "keys", "--json")
    assert done.returncode == 0, done.stderr
    shown = daemon.cli("evidence", "keys").stdout
    return dict(re.findall(r'"(\w+)":"([^"]+)"', done.stdout)), shown


# --- a bundle -----------------------------------------------------------------------------------


@pytest.mark.parametrize("static", [False, True], ids=["command", "static program"])
def test_a_bundle_over_two_key_versions_verifies_against_what_was_kept(two_versions, static):
    daemon, early = two_versions
    keys, shown = keys_of(daemon)
    assert keys["serviceKey"] in shown and keys["logKey"] in shown
    assert keys["logKey"] == log_key(daemon)
    bundle = export(daemon)
    assert [leaf["n"] for leaf in leaves_of(bundle)] == list(range(700))
    pinned = ("--checkpoint", early, "--service-key", keys["serviceKey"],
              "--log-key", keys["logKey"])
    found = report(bundle, *pinned, static=static)
    assert found["valid"] and found["validSpans"] == found["spans"] == 700
    assert found["held"] == {"size": 300, "consistent": True}
    assert found["serviceKeyPinned"] and found["logKeyPinned"]
    assert found["byControl"] == [{"framework": "soc2", "control": "CC6_1", "success": 300,
                                   "failure": 400, "other": 0}]
    assert sorted(key["spans"] for key in found["keys"]) == [300, 400]
    page = daemon.folder / "report.html"
    done = verified(bundle, *pinned, "--html", page, static=static)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("VERIFIED: all 700 spans, and that none of these leaves")
    assert "(as you gave it)" in done.stdout and "taken on trust" not in done.stdout
    assert "consistent: nothing before it was changed" in done.stdout
    assert "VERIFIED: all 700 spans" in page.read_text()


@pytest.mark.parametrize("static", [False, True], ids=["command", "static program"])
def test_a_bundle_that_was_changed_ends_with_1_and_what_is_none_with_2(two_versions, static):
    daemon, early = two_versions
    bundle = export(daemon)
    lines = bundle.read_bytes().splitlines(keepends=True)

    def changed(name, content):
        path = daemon.folder / name
        path.write_bytes(b"".join(content))
        return path
    edited = changed("edited", [*lines[:5], lines[5].replace(b'"success"', b'"failure"'),
                                *lines[6:]])
    found = report(edited, static=static, code=1)
    assert found["problems"][0] == {"leaf": 4, "message": "Signature invalid or tampered"}
    done = verified(edited, static=static)
    assert done.returncode == 1 and done.stdout.startswith("NOT VERIFIED: ")
    assert "problem: leaf 4: Signature invalid or tampered" in done.stdout
    dropped = changed("dropped", [*lines[:300], *lines[301:]])
    assert "leaves are missing: there are 699" in verified(dropped, static=static).stdout
    swapped = changed("swapped", [*lines[:7], lines[8], lines[7], *lines[9:]])
    assert "changed, dropped, inserted or reordered" in verified(swapped, static=static).stdout
    cut = changed("cut", [*lines[:-1], lines[-1][:-1]])
    assert "the last line is cut off" in verified(cut, static=static).stdout

    for path, words in ((early, "is no bundle of evidence"), (daemon.folder / "none", "cannot read"),
                        (daemon.folder, "Is a directory")):
        done = verified(path, static=static)
        assert done.returncode == 2 and words in done.stderr, done.stderr
    for option, wrong in (("--log-key", "nonsense"), ("--service-key", "nonsense"),
                          ("--checkpoint", bundle), ("--checkpoint", daemon.folder / "none")):
        done = verified(bundle, option, wrong, static=static)
        assert done.returncode == 2 and f"{option}: " in done.stderr, done.stderr


def test_a_period_is_proven_with_what_lies_beside_it(daemon):
    for day in range(1, 6):
        sign(daemon, *(span(day=day, timestamp=f"2026-03-0{day}T12:00:00Z") for _ in range(50)))
    early = checkpoint(daemon)
    sign(daemon, span(day=6, timestamp="2026-03-06T00:00:00Z"))
    bundle = export(daemon, "--from", "2026-03-02", "--to", "2026-03-03", "--checkpoint", early)
    assert {leaf["day"] for leaf in leaves_of(bundle)} == {2, 3}
    found = report(bundle, "--checkpoint", early, static=True)
    assert (found["begin"], found["end"]) == (50, 150)
    assert found["held"] == {"size": 250, "consistent": True}


def test_an_export_that_cannot_be_says_why_and_leaves_nothing(daemon):
    def refused(*options, code=2):
        done = daemon.cli("evidence", "export", "--tenant", "acme", "-o", *options)
        assert done.returncode == code, done.stdout
        return done.stderr
    assert "tenant acme has no evidence: none of its spans was signed yet" in refused("bundle")
    sign(daemon, span())
    assert "nowhere/bundle: No such file" in refused("nowhere/bundle")
    bogus = daemon.folder / "bogus"
    bogus.write_text("name\n9999\nroot\n")
    assert "has 1: it is another log's, or this one has lost leaves" in refused(
        "bundle", "--checkpoint", bogus)
    # A device is written, never replaced.
    pipe = daemon.folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert daemon.cli("evidence", "export", "--tenant", "acme", "-o", pipe).returncode == 0
    assert os.read(reader, 1 << 20).count(b"\n") == 2
    os.close(reader)
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    assert not {"bundle", "bundle.part", "pipe.part"} & set(os.listdir(daemon.folder))


def test_a_bundle_of_nothing_says_that_it_is_empty(daemon):
    sign(daemon, span())
    bundle = export(daemon, "--from", "2020-01-01", "--to", "2020-01-31")
    assert verified(bundle).stdout.startswith("VERIFIED, and EMPTY: it has no spans")
    assert verified(bundle, "--html", "/dev/stdout").stdout.count("VERIFIED, and EMPTY") == 2


def test_a_checkpoint_of_another_history_is_contradicted(daemons):
    first, second = (daemons(SELDOM, name=name) for name in ("first", "second"))
    for each, n in ((first, 1), (second, 2)):
        each.create("acme")
        sign(each, span(n=n))
    done = verified(export(second), "--checkpoint", checkpoint(first))
    assert done.returncode == 1
    assert "the checkpoint that you hold: " in done.stdout


def test_the_auditors_program_needs_nothing_of_the_machine(two_versions, tmp_path):
    daemon, _ = two_versions
    headers = run(["readelf", "-lW", static_verifier()]).stdout
    assert "INTERP" not in headers and "DYNAMIC" not in headers and "LOAD" in headers
    bundle, empty = export(daemon), tmp_path / "empty"
    empty.mkdir()
    done = verified(bundle, static=True, env={}, cwd=empty)
    assert done.returncode == 0 and done.stdout.startswith("VERIFIED"), done.stderr
    assert not any(empty.iterdir())


# --- a revoked key ------------------------------------------------------------------------------


def test_a_revoked_keys_spans_verify_where_the_log_had_them_before(daemon):
    daemon.stop()
    daemon.properties["betrace.evidence.log.enabled"] = "false"
    daemon.start()
    unseen = sign(daemon, span(n="unseen"))[0]
    problem(daemon.get("/api/tenants/acme/evidence/checkpoint"), 404, "not_found")
    daemon.stop()
    daemon.properties["betrace.evidence.log.enabled"] = "true"
    daemon.start()
    seen = sign(daemon, span(n="seen"))[0]
    key = seen["keyId"]
    daemon.ok("POST", f"/api/tenants/acme/keys/{key}/revoke", json={"reason": "stolen"})
    after = sign(daemon, span(n="after"))[0]
    bundle = export(daemon)

    found = verdict(daemon, seen)
    assert found["valid"] and found["keyStatus"] == "REVOKED"
    assert found["message"].startswith("Signature valid: the key was revoked at 2")
    assert found["message"].endswith("has the span")
    found = verdict(daemon, unseen)
    assert not found["valid"]
    assert found["message"].endswith("nothing proves the span older than that")
    assert verdict(daemon, after)["message"] == "Signature valid"

    for static in (False, True):
        assert report(bundle, static=static)["validSpans"] == 2
    assert leaves_of(bundle) == [seen, after]


def test_a_period_takes_the_checkpoint_along_that_is_older_than_a_revocation(daemon):
    for day in range(1, 6):
        sign(daemon, *(span(day=day, timestamp=f"2026-03-0{day}T12:00:00Z") for _ in range(50)))
    checkpoint(daemon)
    (key,) = daemon.public_keys("acme")
    daemon.ok("POST", f"/api/tenants/acme/keys/{key['keyId']}/revoke", json={"reason": "stolen"})
    sign(daemon, span(day=6, timestamp="2026-03-06T00:00:00Z"))
    bundle = export(daemon, "--from", "2026-03-02", "--to", "2026-03-03")
    assert verdict(daemon, leaves_of(bundle)[0])["valid"]
    found = report(bundle, static=True)
    assert found["valid"] and found["spans"] - found["outsidePeriod"] == 100


# --- two daemons --------------------------------------------------------------------------------


def test_a_second_daemon_serves_keys_and_takes_the_log_over(daemons):
    first = daemons(SELDOM)
    first.create("acme")
    signed = sign(first, *(span(n=n) for n in range(20)))
    early = checkpoint(first)
    (key,) = first.public_keys("acme")
    second = daemons({**SELDOM, "betrace.kms.data-dir": first.data})
    second.data = first.data
    second.sign("acme", b"payload")
    assert verdict(second, signed[0])["valid"]
    refusal = problem(second.post(SIGN, json={"span": span()}), 503, "store_unavailable")
    assert refusal.endswith(f"another process uses {first.data}/evidence"), refusal
    for path in ("/api/compliance/log-key", "/api/tenants/acme/evidence/checkpoint"):
        assert "another process uses" in problem(second.get(path), 503, "store_unavailable")
    (line,) = second.log_lines("the evidence log cannot be opened")
    assert "another process uses" in line and "trying again" in line
    until(lambda: "evidence-log" in second.cli("doctor", "--json").stdout, 20,
          "the doctor to see that no spans are signed", every=0.5)
    (late,) = sign(first, span(n=20))
    # By the daemon that cannot make a checkpoint first, and says so.
    second.ok("POST", f"/api/tenants/acme/keys/{key['keyId']}/revoke", json={"reason": "stolen"})
    assert second.log_lines("Before a key was revoked no checkpoint could be made: the evidence log")
    # Not that nothing proves it: nobody could look.
    found = verdict(second, signed[0])
    assert not found["valid"] and "another process uses" in found["message"], found
    assert first.stop() == 0
    last = until(lambda: second.post(SIGN, json={"span": span(n=21)}).json().get("span"), 5,
                 "the second daemon to have the log", every=0.1)
    assert second.log_lines("The evidence log is open")
    assert verdict(second, signed[0])["valid"]
    bundle = export(second)
    assert [leaf["n"] for leaf in leaves_of(bundle)] == list(range(22))
    assert leaves_of(bundle)[-1] == last
    found = verdict(second, late)
    assert not found["valid"] and found["message"].endswith("nothing proves the span older than that")
    for static in (False, True):
        found = report(bundle, "--checkpoint", early, static=static, code=1)
        assert found["held"]["consistent"] and found["validSpans"] == 21
        ((problem_of_late),) = found["problems"]
        assert problem_of_late["leaf"] == 20  # no checkpoint had it
        assert "nothing proves the span older" in problem_of_late["message"]


# --- checkpoints handed on ----------------------------------------------------------------------


class Keeper(http.server.BaseHTTPRequestHandler):
    """Refuses two checkpoints, and keeps what comes then."""

    def do_POST(self):
        note = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.seen.append((self.path, self.headers["content-type"]))
        if len(self.server.seen) > 2:
            self.server.kept.append(note)
        self.send_response(503 if len(self.server.seen) <= 2 else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def keeper():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keeper)
    server.seen, server.kept = [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def kept_verifies(daemon, note):
    path = daemon.folder / "kept"
    path.write_text(note)
    found = report(export(daemon), "--checkpoint", path, "--log-key", log_key(daemon))
    return found["held"]["consistent"]


def metric(daemon, name, **labels):
    text = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return daemon.metric(f"kms_evidence_{name}_total" + (f"{{{text}}}" if text else ""))


def test_checkpoints_arrive_in_a_folder(daemons, tmp_path):
    kept = tmp_path / "kept"
    daemon = daemons({"betrace.evidence.checkpoint.interval-seconds": 1,
                      "betrace.evidence.checkpoint.push": f"file:{kept}"})
    daemon.create("acme")
    sign(daemon, *(span(n=n) for n in range(300)))
    (path,) = until(lambda: list(kept.glob("t-acme/[0-9]*[0-9]")), 10, "a checkpoint to arrive")
    assert path.name == f"{300:020}"
    assert kept_verifies(daemon, path.read_text())
    assert metric(daemon, "leaves") == 300
    assert metric(daemon, "checkpoints", result="made") >= 1
    assert metric(daemon, "pushes", result="sent") >= 1


def test_a_checkpoint_is_handed_on_when_its_keeper_is_back(daemons, keeper):
    url = f"http://127.0.0.1:{keeper.server_address[1]}/keep"
    daemon = daemons({**SELDOM, "betrace.evidence.checkpoint.push": url})
    daemon.create("acme")
    sign(daemon, *(span(n=n) for n in range(10)))
    mine = checkpoint(daemon).read_text()
    until(lambda: keeper.kept, 15, "the checkpoint to arrive")
    assert keeper.kept == [mine] and size_of(mine) == 10
    assert keeper.seen == [("/keep/acme", "text/plain; charset=utf-8")] * 3
    assert kept_verifies(daemon, keeper.kept[0])
    until(lambda: metric(daemon, "pushes", result="sent") == 1, 2, "the push to be counted")
    assert metric(daemon, "pushes", result="failed") == 2
    (line,) = daemon.log_lines("the checkpoint of tenant acme was not handed on")[:1]
    assert f"{url}/acme answered 503" in line


def test_a_checkpoint_that_did_not_get_there_before_a_restart_does_after_it(daemons, tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("a file where the folder belongs")
    daemon = daemons({**SELDOM, "betrace.evidence.checkpoint.push": f"file:{kept}"})
    daemon.create("acme")
    sign(daemon, *(span(n=n) for n in range(10)))
    mine = checkpoint(daemon).read_text()
    until(lambda: daemon.log_lines("was not handed on"), 5, "the push to fail")
    daemon.restart()
    kept.unlink()
    (path,) = until(lambda: list(kept.glob("t-acme/[0-9]*[0-9]")), 15, "the checkpoint to arrive")
    assert path.read_text() == mine
    daemon.restart()
    assert daemon.metric('kms_evidence_pushes_total{result="sent"}') == 0


# --- the log on disk ----------------------------------------------------------------------------


def test_go_reads_the_log_on_disk_by_itself(daemons):
    daemon = daemons({**SELDOM, "betrace.evidence.checkpoint.leaves": 64})
    daemon.create("acme")
    for size in (1, 255, 256, 300, 511, 1024):
        have = int(metric(daemon, "leaves"))
        sign(daemon, *(span(n=n) for n in range(have, size)))
        checkpoint(daemon)
        code, text = read_by_go(daemon)
        assert code == 0 and text.startswith(f"{size} leaves, "), text
    daemon.restart()
    sign(daemon, span(n=1024))
    checkpoint(daemon)
    assert read_by_go(daemon)[1].startswith("1025 leaves, ")
    entries = folder_of(daemon) / "tile/entries/002"
    entries.write_bytes(entries.read_bytes().replace(b'"success"', b'"failure"', 1))
    assert read_by_go(daemon) == (1, "entry 512 is not the leaf that the tree has there")
