"""The Grafana dashboard: in the form that Grafana reads, and every query of it evaluated by a real
Prometheus that scrapes a daemon which has done and suffered all that is on it."""

import copy
import json
import math
import re

import pytest

from harness.process import ROOT
from harness.prometheus import MONITORING, Prometheus, promtool, shortened
from harness.servers import run
from harness.waiting import until

DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# What Grafana puts in.
VARIABLES = {"$__rate_interval": "10s", "$instance": ".*"}


def test_the_example_configuration_is_sound():
    assert "rules found" in promtool("check", "config", MONITORING / "prometheus.yml")


def test_it_has_the_form_that_grafana_imports():
    assert DASHBOARD["schemaVersion"] >= 36 and DASHBOARD["id"] is None and DASHBOARD["uid"]
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["instance"]["datasource"] == SOURCE
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    for panel in PANELS:
        assert panel["title"] and panel["datasource"] == SOURCE, panel
        assert panel["type"] in ("stat", "timeseries")
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(set(references)) == len(references)
        assert all(target["datasource"] == SOURCE for target in panel["targets"])


def judged(dashboard, tmp_path):
    """What the types that Grafana generates from its schemas say of it."""
    path = tmp_path / "dashboard.json"
    path.write_text(json.dumps(dashboard))
    done = run([ROOT / "build/bin/dashboard-check", path], timeout=60)
    return done.stderr.strip() or ("sound" if done.returncode == 0 else "unsound")


def test_grafanas_own_types_read_it(tmp_path):
    assert judged(DASHBOARD, tmp_path) == "sound"
    misspelt = copy.deepcopy(DASHBOARD)
    next(panel for panel in misspelt["panels"] if panel["type"] == "stat")["options"]["colourMode"] = 1
    assert "colourMode" in judged(misspelt, tmp_path)


def test_its_panels_fill_24_columns_and_do_not_overlap():
    taken = {}
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] >= 0 and grid["x"] + grid["w"] <= 24, panel["title"]
        for cell in ((x, y) for x in range(grid["x"], grid["x"] + grid["w"])
                     for y in range(grid["y"], grid["y"] + grid["h"])):
            assert cell not in taken, f"{panel['title']} is over {taken[cell]}"
            taken[cell] = panel["title"]


def queries():
    """(where, expression), those of annotations and variables included."""
    of_variables = [re.fullmatch(r"label_values\((\w+), instance\)", each["query"]["query"])[1]
                    for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return ([(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
            + [(each["name"], each["expr"]) for each in DASHBOARD["annotations"]["list"]
               if "expr" in each]
            + [("variable", expression) for expression in of_variables])


def test_every_metric_is_on_it():
    documented = re.findall(r"^\| `(\w+)` \| (?:gauge|counter|histogram)",
                            (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    assert len(documented) > 20
    text = " ".join(expression for _, expression in queries())
    assert not [name for name in documented if not re.search(rf"\b{name}(_bucket|_count)?\b", text)]


@pytest.fixture
def watched_work(aws_daemon, fake_kms, tmp_path):
    """A Prometheus that watches a daemon, and what makes the daemon work, well and badly."""
    daemon = aws_daemon({"kms.cache.max-size": 2})
    for number in range(12):
        daemon.create(f"tenant-{number}")
    rules = shortened((MONITORING / "alerts.yaml").read_text(), {})
    server = Prometheus(tmp_path / "prometheus", daemon, rules).start()
    signature = daemon.sign("tenant-0", b"x")["signature"]
    ciphertext = daemon.encrypt("tenant-0", b"x")

    def work():
        """Some of everything."""
        for number in range(12):
            daemon.sign(f"tenant-{number}", b"x")
            daemon.encrypt(f"tenant-{number}", b"x")
        daemon.verifies("tenant-0", b"x", signature)
        daemon.verifies("tenant-0", b"y", signature)
        assert daemon.decrypt("tenant-0", ciphertext) == b"x"
        assert daemon.get("/api/tenants/nobody").status_code == 404
        daemon.ok("POST", "/api/admin/kms/rotate-all-keys", 202, json={"force": True})
        until(lambda: daemon.ok("GET", "/api/admin/kms/rotation-status")["status"] == "COMPLETE",
              20, "the rotation's end")
        fake_kms.faults({"kind": "error", "type": "ThrottlingException", "status": 400,
                         "message": "Rate exceeded", "times": 1})
        daemon.sign("tenant-1", b"x")
        daemon.sign("tenant-2", b"x")

    yield server, work
    server.stop()


def evaluated(prometheus, expression):
    """How many values that are numbers."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return sum(math.isfinite(value) for _, value in prometheus.query(expression))


def test_every_query_returns_data(watched_work):
    prometheus, work = watched_work

    def all_answer():
        work()
        empty = [(title, expression) for title, expression in queries()
                 if not evaluated(prometheus, expression)]
        assert not empty, empty
        return True

    until(all_answer, 60, "every query to return data")
