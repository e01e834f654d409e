"""A real Prometheus scrapes the daemon: each alert goes from pending to firing on a fault, and
clears when the fault is gone. The rules are those of monitoring/alerts.yaml with short windows and
waits; their own times are held by test_alert_rules.py."""

import pytest

from harness.prometheus import MONITORING, Prometheus, shortened
from harness.store import Store
from harness.wire import Load

TENANTS = [f"tenant-{number}" for number in range(24)]
# Fewer places than tenants: asking for one after the other misses always.
TINY_CACHE = {"kms.cache.max-size": 2, "kms.cache.warm-tenants": 0}
RULES = shortened((MONITORING / "alerts.yaml").read_text(), {"> 1000": "> 40"})


@pytest.fixture
def watched(tmp_path):
    """A maker of Prometheus servers that watch a daemon."""
    made = []

    def make(daemon):
        made.append(Prometheus(tmp_path / f"prometheus-{len(made)}", daemon, RULES))
        return made[-1].start()

    yield make
    for server in made:
        server.stop()


class Callers(Load):
    """They sign for all tenants in turn, or, once `calm`, for one, whose key is then cached."""

    def __init__(self, daemon):
        super().__init__(daemon, self.sign, connections=2)
        self.calm = False

    def sign(self, number):
        tenant = TENANTS[0 if self.calm else number % len(TENANTS)]
        return "POST", f"/api/tenants/{tenant}/sign", {"payload": "eA=="}


@pytest.fixture
def busy_daemon(aws_daemon):
    daemon = aws_daemon(TINY_CACHE)
    for tenant in TENANTS:
        daemon.create(tenant)
    return daemon


def test_a_miss_storm_raises_the_hit_rate_and_the_usage_alert(busy_daemon, watched):
    prometheus = watched(busy_daemon)
    with Callers(busy_daemon) as callers:
        prometheus.wait_firing("KMSCacheHitRateLow", "KMSHighAPIUsage")
        assert not {name for name, _ in prometheus.alerts()} & {"KMSOperationFailures",
                                                               "KMSCircuitBreakerOpen"}
        callers.calm = True
        prometheus.wait_clear()


def test_a_failing_provider_raises_the_failure_and_the_breaker_alert(busy_daemon, watched,
                                                                      fake_kms):
    prometheus = watched(busy_daemon)
    with Callers(busy_daemon) as callers:
        fake_kms.error("KMSInternalException", "as in an outage", 500)
        prometheus.wait_firing("KMSOperationFailures", "KMSCircuitBreakerOpen")
        fake_kms.faults()
        busy_daemon.wait_breaker(0)
        callers.calm = True
        prometheus.wait_clear()


def test_an_outage_that_no_caller_has_noticed_raises_the_provider_alert(aws_daemon, watched, fake_kms):
    daemon = aws_daemon()
    daemon.create("warm")
    daemon.sign("warm", b"x")
    prometheus = watched(daemon)
    prometheus.wait_for("kms_provider_up == 1")
    fake_kms.error("KMSInternalException", "as in an outage", 500)
    prometheus.wait_firing("KMSProviderDown")
    daemon.sign("warm", b"x")
    fake_kms.faults()
    prometheus.wait_clear()


def test_an_outage_alarms_as_long_as_the_breaker_refuses_every_call(aws_daemon, watched, fake_kms):
    # It stays open for longer than the window: no call is made in it.
    daemon = aws_daemon(TINY_CACHE | {"kms.circuit-breaker.delay-ms": 600_000})
    for tenant in TENANTS:
        daemon.create(tenant)
    prometheus = watched(daemon)
    with Callers(daemon):
        fake_kms.error("KMSInternalException", "as in an outage", 500)
        daemon.wait_breaker(1)
        fake_kms.control(reset=True)
        prometheus.wait_firing("KMSOperationFailures", "KMSCircuitBreakerOpen")
        silent = "sum(rate(kms_operation_seconds_count[8s])) == 0"
        prometheus.wait_for(silent)
        prometheus.wait_firing("KMSOperationFailures")


def test_a_slow_provider_raises_the_latency_alert(busy_daemon, watched, fake_kms):
    prometheus = watched(busy_daemon)
    with Callers(busy_daemon) as callers:
        fake_kms.faults({"kind": "delay", "seconds": 0.3, "actions": ["Decrypt"]})
        prometheus.wait_firing("KMSHighLatency")
        fake_kms.faults()
        callers.calm = True
        prometheus.wait_clear()


def test_an_old_key_raises_the_rotation_alert_until_it_is_rotated(daemons, watched):
    daemon = daemons({"kms.rotation.enabled": "false"})
    prometheus = watched(daemon)
    prometheus.wait_for("up == 1")
    assert not prometheus.query("kms_last_rotation_timestamp_seconds")
    for tenant in ("old", "young"):
        daemon.create(tenant)
    prometheus.wait_for("kms_last_rotation_timestamp_seconds")
    prometheus.wait_clear()

    assert daemon.stop() == 0
    Store(daemon).age("old", days=91)
    daemon.start()
    prometheus.wait_firing("KMSKeyRotationOverdue")
    assert [value for _, value in prometheus.query(
        "floor((time() - kms_last_rotation_timestamp_seconds) / 86400)")] == [91]

    done = daemon.cli("rotate", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    prometheus.wait_clear()
