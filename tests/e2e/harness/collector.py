"""The OpenTelemetry Collector as the tests' independent reader of traces."""

import json
import shutil

import requests

from .process import ROOT
from .servers import Server

CONFIGURATION = """
receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:{port}
exporters:
  file:
    path: {file}
    append: true
    flush_interval: 100ms
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [file]
"""


def value_of(any_value):
    (kind, value), = any_value.items()
    return int(value) if kind == "intValue" else value


def attributes_of(thing):
    return {each["key"]: value_of(each["value"]) for each in thing.get("attributes", [])}


class Collector(Server):
    """Writes what it receives to a file, which a restart goes on with."""

    def __init__(self, folder):
        super().__init__(folder)
        self.file = self.folder / "traces.json"

    def arguments(self):
        program = shutil.which("otelcol", path=str(ROOT / "build/bin"))
        if program is None:
            raise RuntimeError("otelcol is missing: run tools/install-test-deps")
        configuration = self.folder / "collector.yaml"
        configuration.write_text(CONFIGURATION.format(port=self.port, file=self.file))
        return [program, "--config", configuration]

    def is_ready(self):
        return requests.post(f"{self.url}/v1/traces", json={}, timeout=2).status_code == 200

    def received(self):
        """What it has written, in whole lines; it writes while we read."""
        written = self.file.read_text() if self.file.exists() else ""
        return written[:written.rfind("\n") + 1]

    def spans(self):
        """All so far: OTLP's JSON, with `attributes` and `resource` as dictionaries."""
        found = []
        for line in self.received().splitlines():
            for of_resource in json.loads(line)["resourceSpans"]:
                resource = attributes_of(of_resource["resource"])
                for of_scope in of_resource["scopeSpans"]:
                    for span in of_scope["spans"]:
                        found.append(span | {"attributes": attributes_of(span),
                                             "resource": resource})
        return found

    def named(self, name):
        return [span for span in self.spans() if span["name"] == name]
