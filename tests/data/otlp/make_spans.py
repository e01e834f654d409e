#!/usr/bin/env python3
"""Requests of OTLP and what docs/evidence-format.md, "From OTLP", makes of them, by an implementation
that shares nothing with ours: PyPI `opentelemetry-proto` 1.45.2 with `protobuf` 7.36.2 for the
messages and their JSON, `rfc8785` 0.1.4 for the canonical form. Writes spans.json beside it.

Each test: a request in protobuf (base64) and in OTLP/JSON, its number of items, and of each
compliance item the index and either the RFC 8785 form of its span or a word of why it has none.
"""

import base64
import datetime
import json
import math
import pathlib
import random
import struct

import rfc8785
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.common.v1.common_pb2 import (AnyValue, ArrayValue, EntityRef,
                                                      InstrumentationScope, KeyValue, KeyValueList)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

TRACE = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
SPAN = bytes.fromhex("b7ad6b7169203331")
TIME = 1764194400123456789
FIELDS = {"compliance.framework": "framework", "compliance.control": "control",
          "compliance.evidence_type": "evidenceType", "compliance.outcome": "outcome",
          "compliance.tenant_id": "tenantId"}
SIGNATURE = {"betrace.signature": "signature", "betrace.signature.key_id": "keyId",
             "betrace.signature.algorithm": "algorithm", "betrace.signature.status": "status"}


# --- messages -----------------------------------------------------------------------------------

def value(of):
    if isinstance(of, AnyValue):
        return of
    if isinstance(of, bool):
        return AnyValue(bool_value=of)
    if isinstance(of, int):
        return AnyValue(int_value=of)
    if isinstance(of, float):
        return AnyValue(double_value=of)
    if isinstance(of, str):
        return AnyValue(string_value=of)
    if isinstance(of, bytes):
        return AnyValue(bytes_value=of)
    if isinstance(of, list):
        return AnyValue(array_value=ArrayValue(values=[value(each) for each in of]))
    if isinstance(of, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(of)))
    return AnyValue()


def pairs(of):
    """A dict, or a list of pairs, where a key may come twice."""
    return [KeyValue(key=key, value=value(each))
            for key, each in (of.items() if isinstance(of, dict) else of)]


LEAST = {"compliance.framework": "soc2", "compliance.control": "CC6_1",
         "compliance.tenant_id": "acme"}
USUAL = LEAST | {"compliance.evidence_type": "AUDIT_TRAIL", "compliance.outcome": "success",
                 "compliance.user_id": "u-1"}


def span(attributes=None, **fields):
    made = {"trace_id": TRACE, "span_id": SPAN, "name": "GET /", "start_time_unix_nano": TIME}
    return Span(attributes=pairs(USUAL if attributes is None else attributes), **(made | fields))


def record(attributes=None, **fields):
    return LogRecord(attributes=pairs(USUAL if attributes is None else attributes),
                     **({"time_unix_nano": TIME} | fields))


def traces(*spans, **resource):
    return trace_service.ExportTraceServiceRequest(resource_spans=[
        ResourceSpans(scope_spans=[ScopeSpans(spans=spans)], **resource)])


def logs(*records):
    return logs_service.ExportLogsServiceRequest(resource_logs=[
        ResourceLogs(scope_logs=[ScopeLogs(log_records=records)])])


def nested(depth):
    of = "leaf"
    for _ in range(depth):
        of = [of]
    return of


def doubles():
    source = random.Random(8785)
    found = [0.0, -0.0, 1.0, -1.5, 0.1, 0.1 + 0.2, 1e-6, 1e-7, 1.5e-7, 5e-324, 2.2250738585072014e-308,
             1.7976931348623157e308, 1e20, 1e21, 123456789012345680000.0, 9007199254740992.0,
             9007199254740993.0, 333333333.33333329, math.nan, math.inf, -math.inf]
    while len(found) < 300:
        number = struct.unpack("<d", source.randbytes(8))[0]
        found += [number] if math.isfinite(number) else []
    return found + [source.random() for _ in range(300)]


EVERYTHING = span(
    USUAL | {"z": 1, "": "no name", "no value": None, "empty": "", "bytes": b"\xfb\xff\x00",
             "no bytes": b"", "list": [1, "a", [True, None], {"k": 2.5}], "no list": [], "kv": {},
             "map": {"b": 1, "a": {"": [b"x"]}}, "\u20ac": "e\u0301", "\U0001f511": "\U0001f600",
             "\ufb33": "\u2028\u007f\u0001\b\t\n\f\r\"\\/", "int": -2**63, "big": 2**63 - 1,
             "exact": 2**53 + 1, "traceId": "not hexadecimal", "compliance.user_id": 7},
    trace_state="vendor=x", parent_span_id=bytes(range(8)), flags=0x101,
    kind=Span.SPAN_KIND_SERVER, end_time_unix_nano=TIME + 1, dropped_attributes_count=3,
    events=[Span.Event(name="looked", time_unix_nano=TIME, attributes=pairs({"row": 1}),
                       dropped_attributes_count=1), Span.Event(),
            Span.Event(name="signed", attributes=pairs({"betrace.signature": "an event's own"}))],
    dropped_events_count=2,
    links=[Span.Link(trace_id=TRACE[::-1], span_id=SPAN[::-1], trace_state="a=b", flags=1,
                     attributes=pairs({"why": "x", "betrace.signature.x": [1]}))],
    dropped_links_count=4,
    status=Status(code=Status.STATUS_CODE_ERROR, message="no"))

RESOURCE = Resource(attributes=pairs({"service.name": "shop", "compliance.tenant_id": "other"}),
                    dropped_attributes_count=1,
                    entity_refs=[EntityRef(schema_url="u", type="service", id_keys=["service.name"],
                                           description_keys=["a", "b"])])


def of_several_scopes():
    plain = span({"http.status_code": 200})
    half = span({"compliance.framework": "soc2"})
    made = traces(plain, span(), half, resource=RESOURCE, schema_url="https://schema/1")
    made.resource_spans.add().scope_spans.add(
        scope=InstrumentationScope(name="lib", version="1", attributes=pairs({"x": 1}),
                                   dropped_attributes_count=9),
        spans=[span(name="second", attributes=LEAST), plain, EVERYTHING], schema_url="s")
    return made


OURS = {"betrace.signature": base64.b64encode(bytes(64)).decode(),
        "betrace.signature.key_id": "01a219eb-c6a1-7d62-b0dd-a85f6c46ab9e",
        "betrace.signature.algorithm": "Ed25519", "betrace.signature.status": "signed",
        "betrace.signature.later": "x"}

REQUESTS = {
    "the least": traces(Span(attributes=pairs(LEAST), start_time_unix_nano=1)),
    "nothing": traces(),
    "everything that a span may have": traces(EVERYTHING, resource=RESOURCE),
    "several resources and scopes": of_several_scopes(),
    "ids of another length are the span format's to refuse": traces(
        span(trace_id=b"\x01", span_id=b"\xab" * 20)),
    "the last time": traces(span(start_time_unix_nano=2**64 - 1)),
    "doubles": traces(span(USUAL | {"d": doubles()})),
    "a span signed before": traces(span(USUAL | OURS)),
    "a status alone": traces(span(USUAL | {"betrace.signature.status": "signing_failed"})),
    "as deep as may be": traces(span(
        USUAL, events=[Span.Event(attributes=pairs({"deep": nested(12)}))])),
    "log records": logs(
        record(), record({}), record(body=value("text"), severity_text="WARN",
                                     severity_number=13, event_name="access", flags=1,
                                     trace_id=TRACE, span_id=SPAN, dropped_attributes_count=1,
                                     observed_time_unix_nano=TIME + 5),
        record(time_unix_nano=0, observed_time_unix_nano=TIME + 5), record(body=value(None)),
        record(body=value({"message": "read", "rows": [1, {"betrace.signature": True}]})),
        record(body=value(b"\x00")), record(body=value(False)), record(body=value(0))),
    # What has no span.
    "an attribute twice": traces(span([*USUAL.items(), ("a", 1), ("a", 1)])),
    "a hidden attribute twice": traces(span([*(USUAL | OURS).items(), *OURS.items()])),
    "an attribute of an event twice": traces(span(events=[
        Span.Event(attributes=pairs([("a", 1), ("a", 2)]))])),
    "a field of a map twice": logs(record(body=AnyValue(kvlist_value=KeyValueList(
        values=pairs([("k", 1), ("k", 1)]))))),
    "no tenant": traces(span({"compliance.framework": "soc2", "compliance.control": "CC6_1"},
                             name="x"), resource=RESOURCE),
    "a control that is a number": traces(span(LEAST | {"compliance.control": 6})),
    "a tenant that is a list": traces(span(LEAST | {"compliance.tenant_id": ["acme"]})),
    "an outcome without a value": traces(span(LEAST | {"compliance.outcome": None})),
    "no time": traces(span(start_time_unix_nano=0, end_time_unix_nano=TIME)),
    "no time at all": logs(record(time_unix_nano=0)),
    "too deep": traces(span(USUAL | {"deep": nested(13)})),
}


# --- the format ---------------------------------------------------------------------------------

class NoSpan(Exception):
    pass


def typed(of, depth=0):
    if depth > 12:
        raise NoSpan("deeper than 12")
    kind = of.WhichOneof("value")
    if kind is None:
        return {}
    content = getattr(of, kind)
    if kind == "array_value":
        return {"array": [typed(each, depth + 1) for each in content.values]}
    if kind == "kvlist_value":
        return {"kvlist": named(content.values, depth + 1)}
    if kind == "double_value":
        special = {math.inf: "Infinity", -math.inf: "-Infinity"}
        return {"double": "NaN" if math.isnan(content)
                else special.get(content) or rfc8785.dumps(content).decode()}
    if kind == "int_value":
        return {"int": str(content)}
    if kind == "bytes_value":
        return {"bytes": base64.b64encode(content).decode()}
    return {kind.removesuffix("_value"): content}


def named(attributes, depth=0, hides=False):
    keys = [each.key for each in attributes]
    if doubled := [key for key in keys if keys.count(key) > 1]:
        raise NoSpan(f"'{doubled[0]}' is there twice")
    return {each.key: typed(each.value, depth) for each in attributes
            if not (hides and each.key.startswith("betrace.signature"))}


def filled(**fields):
    return {name: each for name, each in fields.items() if each not in ("", 0, "0", {}, [])}


def described(item):
    if isinstance(item, LogRecord):
        return filled(signal="log", timeUnixNano=str(item.time_unix_nano),
                      severityNumber=item.severity_number, severityText=item.severity_text,
                      eventName=item.event_name, body=typed(item.body),
                      attributes=named(item.attributes, hides=True))
    return filled(
        signal="span", name=item.name, kind=item.kind, parentSpanId=item.parent_span_id.hex(),
        startTimeUnixNano=str(item.start_time_unix_nano),
        endTimeUnixNano=str(item.end_time_unix_nano), attributes=named(item.attributes, hides=True),
        events=[filled(name=each.name, timeUnixNano=str(each.time_unix_nano),
                       attributes=named(each.attributes)) for each in item.events],
        links=[filled(traceId=each.trace_id.hex(), spanId=each.span_id.hex(),
                      attributes=named(each.attributes)) for each in item.links],
        status=filled(code=item.status.code, message=item.status.message))


def span_of(item):
    own = {each.key: each.value for each in item.attributes}
    made = {}
    for name, field in FIELDS.items():
        if name in own:
            if own[name].WhichOneof("value") != "string_value":
                raise NoSpan(f"{name}: it is not a string")
            made[field] = own[name].string_value
    if "tenantId" not in made:
        raise NoSpan("compliance.tenant_id: it is missing")
    time = item.time_unix_nano or item.observed_time_unix_nano if isinstance(item, LogRecord) \
        else item.start_time_unix_nano
    if not time:
        raise NoSpan("no time")
    second = datetime.datetime.fromtimestamp(time // 10**9, datetime.UTC)
    made |= filled(timestamp=second.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time % 10**9:09d}Z",
                   traceId=item.trace_id.hex(), spanId=item.span_id.hex())
    if "betrace.signature" in own:
        made |= {field: own[name].string_value for name, field in SIGNATURE.items() if name in own}
    return made | {"otel": described(item)}


def mapped(index, item):
    try:
        return {"index": index, "span": rfc8785.dumps(span_of(item)).decode()}
    except NoSpan as why:
        return {"index": index, "refusal": str(why)}


# --- the file -----------------------------------------------------------------------------------

def otlp_json(of):
    """Hexadecimal ids where protobuf's own JSON has base64. Enumerations are numbers already."""
    if isinstance(of, list):
        return [otlp_json(each) for each in of]
    if isinstance(of, dict):
        return {name: base64.b64decode(each).hex() if name in ("traceId", "spanId", "parentSpanId")
                else otlp_json(each) for name, each in of.items()}
    return of


def items_of(request):
    if isinstance(request, trace_service.ExportTraceServiceRequest):
        return [each for resource in request.resource_spans for scope in resource.scope_spans
                for each in scope.spans]
    return [each for resource in request.resource_logs for scope in resource.scope_logs
            for each in scope.log_records]


def test(name, request):
    items = items_of(request)
    return {
        "name": name, "items": len(items),
        "signal": "traces" if isinstance(request, trace_service.ExportTraceServiceRequest)
        else "logs",
        "protobuf": base64.b64encode(request.SerializeToString(deterministic=True)).decode(),
        "json": json.dumps(otlp_json(MessageToDict(request, use_integers_for_enums=True))),
        "spans": [mapped(index, item) for index, item in enumerate(items)
                  if {"compliance.framework", "compliance.control"} <=
                  {each.key for each in item.attributes}]}


def main():
    answers = [trace_service.ExportTraceServiceResponse(
        partial_success=trace_service.ExportTracePartialSuccess(rejected_spans=rejected,
                                                                error_message=message))
               for rejected, message in ((0, "a word"), (5, "five of them"))]
    tests = [test(name, request) for name, request in REQUESTS.items()]
    written = {"count": len(tests), "tests": tests,
               "answers": [base64.b64encode(each.SerializeToString()).decode() for each in answers]}
    path = pathlib.Path(__file__).with_name("spans.json")
    path.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
