"""The OpenTelemetry Collector: the tests' independent reader of traces and logs, and one that sends."""

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
  file/logs:
    path: {logs}
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
    logs:
      receivers: [otlp]
      exporters: [file/logs]
"""

SENDING = """
receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:{port}
processors:
  batch:
    timeout: 100ms
    send_batch_size: 64
exporters:
  otlphttp:
    endpoint: {url}
    compression: {compression}
    encoding: {encoding}
    headers:
      Authorization: Bearer {token}
    retry_on_failure:
      initial_interval: 200ms
      max_interval: 1s
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces: &pipeline
      receivers: [otlp]
      processors: [batch]
      exporters: [otlphttp]
    logs: *pipeline
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
        self.logs_file = self.folder / "logs.json"

    def arguments(self):
        program = shutil.which("otelcol", path=str(ROOT / "build/bin"))
        if program is None:
            raise RuntimeError("otelcol is missing: run tools/install-test-deps")
        configuration = self.folder / "collector.yaml"
        configuration.write_text(self.configuration())
        return [program, "--config", configuration]

    def configuration(self):
        return CONFIGURATION.format(port=self.port, file=self.file, logs=self.logs_file)

    def is_ready(self):
        return requests.post(f"{self.url}/v1/traces", json={}, timeout=2).status_code == 200

    def received(self, file=None):
        """What it has written, in whole lines; it writes while we read."""
        file = file or self.file
        written = file.read_text() if file.exists() else ""
        return written[:written.rfind("\n") + 1]

    def raw_spans(self):
        return [span for line in self.received().splitlines()
                for of_resource in json.loads(line)["resourceSpans"]
                for of_scope in of_resource["scopeSpans"] for span in of_scope["spans"]]

    def raw_logs(self):
        return [record for line in self.received(self.logs_file).splitlines()
                for of_resource in json.loads(line)["resourceLogs"]
                for of_scope in of_resource["scopeLogs"] for record in of_scope["logRecords"]]

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


class SendingCollector(Collector):
    """Hands what it receives on to `url`, in batches, and again when it was not taken."""

    def __init__(self, folder, url, token, compression="gzip", encoding="proto"):
        super().__init__(folder)
        self.target = dict(url=url, token=token, compression=compression, encoding=encoding)

    def configuration(self):
        return SENDING.format(port=self.port, **self.target)
