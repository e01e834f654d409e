"""Writes traces.pb, traces.json, logs.pb and logs.json beside itself: requests by PyPI's
opentelemetry-proto 1.45.2, and the same as OTLP/JSON, whose ids are in hexadecimal."""

import base64
import json
import pathlib

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

HERE = pathlib.Path(__file__).parent
TRACE, SPAN, OTHER = bytes(range(16)), bytes(range(8)), bytes(range(8, 16))


def value(content):
    if isinstance(content, bool):
        return AnyValue(bool_value=content)
    if isinstance(content, int):
        return AnyValue(int_value=content)
    if isinstance(content, float):
        return AnyValue(double_value=content)
    if isinstance(content, bytes):
        return AnyValue(bytes_value=content)
    if isinstance(content, list):
        return AnyValue(array_value=ArrayValue(values=map(value, content)))
    if isinstance(content, dict):
        return AnyValue(kvlist_value=KeyValueList(values=attributes(content)))
    return AnyValue() if content is None else AnyValue(string_value=content)


def attributes(content):
    return [KeyValue(key=key, value=value(each)) for key, each in content.items()]


VALUES = {"text": "Zo\u00eb \U0001f511", "yes": True, "no": False, "big": -2**63, "ratio": 1 / 3,
          "huge": 1e300, "tiny": 5e-324, "whole": 3.0, "zero": 0.0, "bytes": b"\x00\xff",
          "list": [1, "two", [3.5]], "map": {"deep": {"er": None}}, "none": None, "": "no name"}


def traces():
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add(schema_url="https://example.org/schema")
    resource.resource.attributes.extend(attributes({"service.name": "x"}))
    scope = resource.scope_spans.add()
    scope.scope.name = "s"
    span = scope.spans.add(trace_id=TRACE, span_id=SPAN, parent_span_id=OTHER, name="n", kind=2,
                           trace_state="a=b", start_time_unix_nano=1544712660000000123,
                           end_time_unix_nano=2**64 - 1, flags=257, dropped_events_count=3)
    span.attributes.extend(attributes(VALUES))
    span.events.add(name="e", time_unix_nano=5).attributes.extend(attributes({"row": 1}))
    span.links.add(trace_id=TRACE, span_id=OTHER).attributes.extend(attributes({"why": "x"}))
    span.status.code, span.status.message = 2, "no"
    scope.spans.add(trace_id=TRACE, span_id=OTHER)
    return request


def logs():
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    record = scope.log_records.add(time_unix_nano=7, observed_time_unix_nano=8, severity_number=13,
                                   severity_text="WARN", event_name="e", trace_id=TRACE,
                                   span_id=SPAN, body=value({"m": [1, {"n": "x"}]}))
    record.attributes.extend(attributes(VALUES))
    scope.log_records.add(observed_time_unix_nano=9, body=value("only text"))
    return request


def with_hexadecimal_ids(message):
    if isinstance(message, list):
        return [with_hexadecimal_ids(each) for each in message]
    if not isinstance(message, dict):
        return message
    return {name: base64.b64decode(each).hex()
            if name in ("traceId", "spanId", "parentSpanId") else with_hexadecimal_ids(each)
            for name, each in message.items()}


for name, request in (("traces", traces()), ("logs", logs())):
    (HERE / f"{name}.pb").write_bytes(request.SerializeToString(deterministic=True))
    as_json = MessageToDict(request, use_integers_for_enums=True)
    (HERE / f"{name}.json").write_text(json.dumps(with_hexadecimal_ids(as_json), indent=1) + "\n")
