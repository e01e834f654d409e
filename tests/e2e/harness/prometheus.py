"""Prometheus as the tests' independent reader of metrics, and promtool as the judge of rules."""

import os
import pathlib
import re
import shutil

import requests

from .process import ROOT
from .servers import Server, run
from .waiting import until

MONITORING = ROOT / "monitoring"


def tool(name):
    """`prometheus` or `promtool`: the one that tools/install-prometheus brought, else the
    system's."""
    path = shutil.which(name, path=os.pathsep.join([str(ROOT / "build/bin"), os.environ["PATH"]]))
    if path is None:
        raise RuntimeError(f"{name} is missing: run tools/install-test-deps")
    return pathlib.Path(path)


def promtool(*words):
    """Its output; a verdict against us fails the test."""
    done = run([tool("promtool"), *words], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shortened(rules, thresholds):
    """The alert rules with windows of 8 s and waits of 2 s, for a test that cannot last for hours;
    `thresholds`: text of an expression → what stands for it."""
    for found, short in ((r"\[(5m|1h)\]", "[8s]"), (r"for: \w+$", "for: 2s")):
        rules, times = re.subn(found, short, rules, flags=re.MULTILINE)
        assert times >= 6
    for ours, short in thresholds.items():
        assert rules.count(ours) == 1, ours
        rules = rules.replace(ours, short)
    return rules


class Prometheus(Server):
    """Scrapes a daemon twice a second and evaluates these rules as often."""

    ready_seconds = 60.0

    def __init__(self, folder, daemon, rules):
        super().__init__(folder)
        (self.folder / "rules.yaml").write_text(rules)
        (self.folder / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: betrace-kms
    metrics_path: /q/metrics
    static_configs: [{{targets: ['127.0.0.1:{daemon.port}']}}]
""")

    def arguments(self):
        return [tool("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]

    def is_ready(self):
        return requests.get(f"{self.url}/-/ready", timeout=2).status_code == 200

    def query(self, expression):
        """[(labels, value)]"""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        return [(each["metric"], float(each["value"][1]))
                for each in answer.json()["data"]["result"]]

    def wait_for(self, expression):
        """Until it answers something."""
        return until(lambda: self.query(expression), 30, expression, every=0.2)

    def alerts(self):
        """{(name, state)}"""
        found = requests.get(f"{self.url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return {(each["labels"]["alertname"], each["state"]) for each in found}

    def wait_firing(self, *names):
        """Until all are; asserts that each was pending before."""
        for name in names:
            until(lambda: (name, "firing") in self.alerts(), 60, f"{name} to fire", every=0.2)
            was = f'count_over_time(ALERTS{{alertname="{name}",alertstate="pending"}}[10m])'
            assert self.query(was), f"{name} was never pending"

    def wait_clear(self):
        """Until no alert is firing or pending."""
        until(lambda: not self.alerts(), 60, "all alerts to clear", every=0.2)
