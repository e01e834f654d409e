"""Two master keys: every key is wrapped by both, and either alone opens it."""

import subprocess

import pytest

from harness.aws import further_properties
from harness.daemon import problem, program
from harness.servers import FakeKms
from harness.store import Store
from harness.waiting import until


@pytest.fixture
def second_kms(tmp_path):
    server = FakeKms(tmp_path / "second-kms").start()
    yield server
    server.stop()


def migrate(daemon):
    done = subprocess.run([program(), "migrate"], capture_output=True, text=True, timeout=60,
                          env={"BETRACE_KMS_URL": daemon.url, "ADMIN_TOKEN": daemon.token})
    assert done.returncode == 0, done
    return done.stdout


def masters(daemon):
    """How many keys are wrapped by which master keys."""
    return dict(Store(daemon).query(
        "SELECT masters, count(*) FROM (SELECT group_concat(substr(master_key_id, -12), ' ') AS"
        " masters FROM wrappings GROUP BY key_id) GROUP BY masters"))


def finding(daemon, wanted):
    """The finding of that id, once doctor has it."""
    def found():
        findings = daemon.ok("GET", "/api/admin/kms/doctor")["findings"]
        return next((each for each in findings if each["id"] == wanted), None)
    return until(found, 30, wanted)


def healthy(daemon):
    until(lambda: daemon.ok("GET", "/api/admin/kms/doctor")["findings"] == [], 30, "a healthy doctor")


ONE, OTHER = FakeKms.key_arn[-12:], FakeKms.other_key_arn[-12:]


def test_it_is_added_carries_an_outage_of_either_and_is_left(aws_daemon, fake_kms, second_kms):
    daemon = aws_daemon({"kms.cache.warm-tenants": 0})
    daemon.create("before")
    signature = daemon.sign("before", "x")
    sealed = daemon.encrypt("before", "pii")
    daemon.stop()

    second = further_properties("second", second_kms, second_kms.other_key_arn)
    daemon.properties |= second
    daemon.start()
    assert daemon.log_lines("Wrapping every key twice, also by the second provider: AWS KMS")
    daemon.create("acme")
    assert masters(daemon) == {ONE: 3, f"{ONE} {OTHER}": 2}
    it = finding(daemon, "wrapped-once")
    assert it["title"].startswith("3 keys") and "betrace-kms migrate" in it["remedy"]
    assert "complete: 3 of 3 keys moved" in migrate(daemon)
    assert masters(daemon) == {f"{ONE} {OTHER}": 5}
    healthy(daemon)

    second_kms.die()
    daemon.restart()
    assert daemon.sign("before", "x") == signature
    it = finding(daemon, "provider-unreachable")
    assert it["severity"] == "critical" and it["title"].endswith("of the second provider")
    refused = problem(daemon.put("/api/tenants/new"), 503, "kms_unavailable")
    assert "by the second provider: " in refused
    assert daemon.metric('kms_provider_up{provider="aws@second"}') == 0
    assert daemon.metric('kms_provider_up{provider="aws"}') == 1
    second_kms.start()

    fake_kms.die()
    daemon.restart()
    assert daemon.sign("before", "x") == signature
    assert daemon.decrypt("before", sealed) == b"pii"
    assert daemon.health()[1]["status"] == "DOWN"
    assert second_kms.tries("before", "Decrypt")
    fake_kms.start()
    until(lambda: daemon.put("/api/tenants/new").status_code == 201, 30, "new keys to be made")
    assert daemon.metric('circuit_breaker_state{name="kms-signing-key@second"}') == 0

    daemon.stop()
    for name in second:
        del daemon.properties[name]
    daemon.start()
    assert "complete: 7 of 7 keys moved" in migrate(daemon)
    assert masters(daemon) == {ONE: 7}
    second_kms.die()
    daemon.restart()
    assert daemon.sign("before", "x") == signature


def test_the_same_master_key_twice_is_said(aws_daemon, fake_kms):
    daemon = aws_daemon(further_properties("second", fake_kms, fake_kms.key_arn))
    refused = problem(daemon.put("/api/tenants/acme"), 400, "invalid_argument")
    assert "betrace.kms.second-provider leads to the same master key" in refused
