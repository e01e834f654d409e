"""The provider dies under load: who is warm notices nothing, who is cold is told at once."""

import resource
import threading
import time

import pytest

from harness.aws import aws_environment, aws_properties
from harness.daemon import b64, problem
from harness.waiting import until
from harness.wire import Load, at_once

WARM = [f"warm-{i}" for i in range(200)]
COLD = [f"cold-{i}" for i in range(40)]


@pytest.mark.parametrize("death", ["closed port", "silence"])
def test_warm_tenants_sign_through_an_outage_and_cold_ones_fail_fast(daemons, fake_kms, death):
    daemon = daemons(aws_properties(fake_kms, fake_kms.key_arn)
                     | {"kms.cache.warm-tenants": 0}, environment=aws_environment())
    answers = at_once(daemon, [("PUT", f"/api/tenants/{name}", None) for name in WARM + COLD])
    assert {answer.status for answer in answers} == {201}
    daemon.restart()
    payload = {"payload": b64("evidence")}

    def call(tenant):
        return ("POST", f"/api/tenants/{tenant}/sign", payload)
    assert {a.status for a in at_once(daemon, [call(name) for name in WARM])} == {200}
    daemon.wait_health("UP")

    with Load(daemon, lambda n: call(WARM[n % len(WARM)])) as load:
        until(lambda: len(load.answers) > 200, 10, "load")
        if death == "closed port":
            fake_kms.die()
        else:
            fake_kms.faults({"kind": "hang"})

        # Cold tenants fail within the budget of an operation; these fill the breaker's ring.
        answers = at_once(daemon, [call(name) for name in COLD[:12]])
        assert {answer.status for answer in answers} == {503}
        assert max(answer.seconds for answer in answers) < 5.5
        daemon.wait_breaker(1, seconds=6)
        for name in COLD[12:20]:
            started = time.monotonic()
            answer = daemon.post(f"/api/tenants/{name}/sign", payload)
            if answer.json()["code"] == "circuit_open":
                assert time.monotonic() - started < 0.5
            else:  # the breaker let this one probe
                problem(answer, 503, {"closed port": "kms_unavailable",
                                      "silence": "kms_timeout"}[death])
        daemon.wait_health("DOWN")
        assert daemon.health("group/serving")[0] == 200
        assert daemon.health("live")[0] == 200
        during = len(load.answers)

        if death == "closed port":
            fake_kms.start()
        else:
            fake_kms.faults()
        daemon.wait_breaker(2, seconds=12)
        for name in COLD[20:23]:
            until(lambda: daemon.post(f"/api/tenants/{name}/sign", payload).status_code == 200, 8,
                  "a cold tenant to be served again", every=0.1)
        daemon.wait_breaker(0, seconds=5)
        daemon.wait_health("UP")
        until(lambda: len(load.answers) > during + 200, 10, "load after the outage")
    assert set(load.statuses) == {200}, load.statuses
    answers = at_once(daemon, [call(name) for name in COLD])
    assert {answer.status for answer in answers} == {200}


def test_a_daemon_starts_while_its_kms_is_down_and_recovers_by_itself(aws_daemon, fake_kms):
    fake_kms.die()
    daemon = aws_daemon()
    assert daemon.health("live")[0] == 200
    check = daemon.wait_health("DOWN")
    assert check["data"]["provider"] == "aws" and str(fake_kms.port) in check["data"]["error"]
    assert daemon.put("/api/tenants/acme").json()["code"] in ("kms_unavailable", "circuit_open")
    fake_kms.start()
    daemon.wait_health("UP")
    until(lambda: daemon.put("/api/tenants/acme").status_code in (200, 201), 10, "a new tenant")
    assert daemon.sign("acme", b"x")["version"] == 1


def test_overload_is_said_and_holds_up_neither_health_nor_warm_tenants(daemons, fake_kms):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, files[1]), files[1]))
    daemon = daemons(aws_properties(fake_kms, fake_kms.key_arn), environment=aws_environment())
    daemon.create("warm")
    daemon.restart()
    daemon.sign("warm", b"x")
    fake_kms.faults({"kind": "hang", "actions": ["GenerateDataKey"]})
    answers = []
    crowd = threading.Thread(target=lambda: answers.extend(
        at_once(daemon, [("PUT", f"/api/tenants/new-{i}", None) for i in range(3000)])))
    crowd.start()
    until(lambda: fake_kms.report()["running"] >= 8, 10, "the provider's threads to be taken")
    while crowd.is_alive():
        started = time.monotonic()
        assert daemon.health("live")[0] == 200
        assert daemon.sign("warm", b"x")["version"] == 1
        assert daemon.metrics()
        assert time.monotonic() - started < 2.5
        crowd.join(0.2)
    assert {answer.status for answer in answers} == {503}
    overloaded = [answer for answer in answers if b'"overloaded"' in answer.body]
    assert overloaded and all("retry-after" in answer.headers for answer in overloaded)
    fake_kms.faults()
    until(lambda: daemon.put("/api/tenants/after").status_code in (200, 201), 15, "a new tenant")
