"""The alert rules by themselves, under promtool: each fires and clears at its time. With a daemon
and a real Prometheus: test_alerts.py."""

import re

from harness.prometheus import MONITORING, promtool

RULES = MONITORING / "alerts.yaml"
# Name: how long it must last, and how bad it is.
ALERTS = {
    "KMSCacheHitRateLow": ("10m", "warning"),
    "KMSOperationFailures": ("5m", "critical"),
    "KMSProviderDown": ("2m", "critical"),
    "KMSHighLatency": ("10m", "warning"),
    "KMSKeyRotationOverdue": ("1h", "critical"),
    "KMSCircuitBreakerOpen": ("5m", "warning"),
    "KMSHighAPIUsage": ("6h", "info"),
}


def test_prometheus_loads_the_alerts_with_their_times_and_severities():
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", RULES)
    found = re.findall(r"- alert: (\w+)$.*?^ +for: (\w+)$.*?^ +severity: (\w+)$",
                       RULES.read_text(), re.MULTILINE | re.DOTALL)
    assert {name: (time, severity) for name, time, severity in found} == ALERTS


def test_each_alert_fires_and_clears_and_none_fires_without_traffic():
    tests = MONITORING / "alerts_test.yaml"
    for name in ALERTS:  # both sides are there
        mentions = re.findall(rf"alertname: {name}\b.*?exp_alerts:( \[\])?", tests.read_text(),
                              re.DOTALL)
        assert "" in mentions and " []" in mentions, name
    assert "SUCCESS" in promtool("test", "rules", tests)
