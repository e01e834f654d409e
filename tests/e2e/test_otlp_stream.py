"""Compliance spans on their way through an OpenTelemetry pipeline: the SDK, a Collector, the daemon,
another Collector; what comes out is verified by another implementation."""

import gzip
import json
import time

import pytest
import requests
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Status, StatusCode

from evidence_verifier import is_logged, public_keys, verifies
from harness.collector import SendingCollector
from harness.evidence import export, report
from harness.otlp import COMPLIANCE
from harness.verifier import run_python
from harness.waiting import until
from otlp_mapping import is_compliance, span_of, text_attributes

ITEMS = "kms_otlp_items_total"


@pytest.fixture
def daemon(daemons, collector):
    daemon = daemons({"betrace.otlp.forward-endpoint": collector.url})
    for tenant in ("acme", "other"):
        daemon.create(tenant)
    return daemon


def send_spans(url, number, headers=None, attributes=None, compression=Compression.NoCompression):
    """With everything that a span may have; every second one is no compliance span."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(
        f"{url}/v1/traces", headers=headers, compression=compression)))
    tracer = provider.get_tracer("application")
    with tracer.start_as_current_span("parent") as parent:
        for n in range(number):
            tenant = {"compliance.tenant_id": "acme" if n % 4 else "other"}
            of_compliance = (COMPLIANCE | tenant) if n % 2 == 0 else {}
            with tracer.start_as_current_span(
                    f"step {n}", links=[Link(parent.get_span_context(), {"why": "x"})],
                    attributes=of_compliance | (attributes or {}) | {
                        "n": n, "big": 2**62 + n, "ratio": n / 7, "whole": 3.0, "flag": n % 3 == 0,
                        "names": ["Zo\u00eb", "\U0001f511"], "numbers": [1, 2], "empty": ""}) as span:
                span.add_event("looked", {"row": n})
                span.set_status(Status(StatusCode.ERROR, "no") if n % 5 == 0 else
                                Status(StatusCode.OK))
    provider.shutdown()


def send_logs(url, number, headers=None):
    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(
        OTLPLogExporter(f"{url}/v1/logs", headers=headers)))
    for n in range(number):
        provider.get_logger("application").emit(LogRecord(
            timestamp=time.time_ns(), severity_number=SeverityNumber.WARN, severity_text="WARN",
            body={"message": "read", "rows": [n, {"deep": True}]}, event_name="access",
            attributes=(COMPLIANCE if n % 2 == 0 else {}) | {"n": n}))
    provider.shutdown()


def signed(items):
    return [item for item in items if is_compliance(item)]


def all_verify(daemon, items):
    keys = {tenant: public_keys(daemon, tenant) for tenant in ("acme", "other")}
    return all(verifies(span_of(item), keys[text_attributes(item)["compliance.tenant_id"]])
               for item in items)


def bearer(daemon):
    return {"Authorization": f"Bearer {daemon.token}"}


@pytest.mark.parametrize("compression,encoding", [("gzip", "proto"), ("zstd", "proto"),
                                                  ("none", "json")])
def test_what_the_sdk_sends_through_two_collectors_comes_out_signed(
        daemon, collector, tmp_path, compression, encoding):
    sending = SendingCollector(tmp_path / "sending", daemon.url, daemon.token, compression,
                               encoding).start()
    try:
        send_spans(sending.url, 200)
        send_logs(sending.url, 50)
        until(lambda: len(collector.raw_spans()) >= 201 and len(collector.raw_logs()) >= 50, 20,
              "everything to arrive")
    finally:
        sending.stop()
    spans, logs = collector.raw_spans(), collector.raw_logs()
    assert (len(spans), len(logs)) == (201, 50)
    assert (len(signed(spans)), len(signed(logs))) == (100, 25)
    assert all_verify(daemon, signed(spans)) and all_verify(daemon, signed(logs))
    for item in spans + logs:
        carries = "betrace.signature" in text_attributes(item)
        assert carries == is_compliance(item)
    # The service says so too, and its log has them.
    answer = daemon.ok("POST", "/api/compliance/verify/batch",
                       json={"spans": [span_of(item) for item in signed(spans + logs)]})
    assert answer["invalid"] == 0, [each for each in answer["results"] if not each["valid"]][:2]
    assert daemon.metrics()[f'{ITEMS}{{signal="traces",result="signed"}}'] == 100


def test_a_changed_span_does_not_verify_after_the_pipeline(daemon, collector):
    send_spans(daemon.url, 10, bearer(daemon))
    until(lambda: len(collector.raw_spans()) >= 11, 20, "everything to arrive")
    for item in signed(collector.raw_spans()):
        assert all_verify(daemon, [item])
        for change in ({"name": "other"}, {"startTimeUnixNano": "1"}, {"kind": 4},
                       {"attributes": item["attributes"][1:]}, {"events": []}):
            assert not all_verify(daemon, [item | change]), change


def test_a_second_pass_leaves_signatures_alone_and_flags_what_was_changed(daemon, collector):
    send_spans(daemon.url, 8, bearer(daemon))
    until(lambda: len(collector.raw_spans()) >= 9, 20, "everything to arrive")
    first = collector.raw_spans()
    body = json.loads(collector.received().splitlines()[0])
    changed = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
    reordered = [item | {"attributes": item.get("attributes", [])[::-1]} for item in changed]
    spoiled = dict(signed(reordered)[0], name="spoiled")
    body["resourceSpans"][0]["scopeSpans"][0]["spans"] = reordered + [spoiled]
    answer = requests.post(f"{daemon.url}/v1/traces", json=body, headers=bearer(daemon), timeout=10)
    assert answer.status_code == 200
    assert "signing_failed" in answer.json()["partialSuccess"]["errorMessage"]
    until(lambda: len(collector.raw_spans()) >= 2 * len(first) + 1, 20, "the second pass")
    again = collector.raw_spans()[len(first):]
    signature = {item["spanId"]: text_attributes(item)["betrace.signature"] for item in signed(first)}
    for item in signed(again):
        texts = text_attributes(item)
        assert texts["betrace.signature"] == signature[item["spanId"]]
        assert (texts["betrace.signature.status"] == "signed") == (item["name"] != "spoiled")
        assert all_verify(daemon, [item]) == (item["name"] != "spoiled")
    metrics = daemon.metrics()
    assert metrics[f'{ITEMS}{{signal="traces",result="signed_before"}}'] == 4
    assert metrics[f'{ITEMS}{{signal="traces",result="signing_failed"}}'] == 1


def span(**more):
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in COMPLIANCE.items()]
    return {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
            "name": "x", "startTimeUnixNano": "1544712660000000123",
            "attributes": attributes} | more


def request(*spans):
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def without(name):
    return [each for each in span()["attributes"] if each["key"] != name]


@pytest.mark.parametrize("flaw,why", [
    (dict(attributes=without("compliance.tenant_id")), "compliance.tenant_id"),
    (dict(startTimeUnixNano="0"), "no time"),
    (dict(attributes=without("compliance.control") + [
        {"key": "compliance.control", "value": {"stringValue": "CC99"}}]), "CC99"),
    (dict(attributes=span()["attributes"] * 2), "twice"),
    (dict(attributes=without("compliance.tenant_id") + [
        {"key": "compliance.tenant_id", "value": {"stringValue": "nobody"}}]), "nobody"),
    (dict(attributes=without("compliance.tenant_id") + [
        {"key": "compliance.tenant_id", "value": {"intValue": "7"}}]), "not a string")])
def test_what_cannot_be_signed_goes_on_flagged_and_is_said(daemon, collector, flaw, why):
    answer = requests.post(f"{daemon.url}/v1/traces", json=request(span(), span(**flaw)),
                           headers=bearer(daemon), timeout=10)
    assert answer.status_code == 200
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedSpans"] == "0" and why in partial["errorMessage"], partial
    until(lambda: len(collector.raw_spans()) == 2, 20, "both")
    statuses = [text_attributes(item)["betrace.signature.status"] for item in collector.raw_spans()]
    assert statuses == ["signed", "signing_failed"]
    assert "signing_failed" in daemon.text() and why in daemon.text()


def test_nothing_acknowledged_is_lost_while_the_next_in_line_is_down_or_we_are_killed(
        daemon, collector):
    collector.stop()
    for n in range(3):
        send_spans(daemon.url, 20, bearer(daemon), {"round": n}, Compression.Gzip)
        if n == 1:
            daemon.kill()
            daemon.start()
    collector.start()
    until(lambda: len({item["spanId"] for item in collector.raw_spans()}) >= 63, 40, "all of it")
    assert all_verify(daemon, signed(collector.raw_spans()))
    until(lambda: daemon.metrics()["kms_otlp_queue_bytes"] == 0, 10, "an empty queue")


def forwarding_to(daemons, server, **more):
    daemon = daemons({"betrace.otlp.forward-endpoint": server.url} | more)
    daemon.create("acme")
    return daemon


def test_a_wrong_token_or_address_of_the_next_in_line_loses_nothing(daemons, next_in_line):
    daemon = forwarding_to(daemons, next_in_line,
                           **{"betrace.otlp.forward-headers": "Authorization=Bearer%20canary-71c"})
    for status in (401, 404, 500):
        next_in_line.status = lambda body, status=status: status
        requests.post(f"{daemon.url}/v1/traces", json=request(span()), headers=bearer(daemon), timeout=10)
        until(lambda: next_in_line.seen and next_in_line.seen[-1][0] == status, 20, str(status))
    next_in_line.status = lambda body: 200
    until(lambda: daemon.metrics()["kms_otlp_queue_bytes"] == 0, 40, "an empty queue")
    assert {token for _, token in next_in_line.seen} == {"Bearer canary-71c"}
    assert "canary-71c" not in daemon.text() and "401" in daemon.text()
    assert not (daemon.data / "evidence/refused").exists()


def test_what_the_next_in_line_refuses_for_good_is_kept_and_the_rest_goes_on(daemons, next_in_line):
    next_in_line.status = lambda body: 400 if b"poison" in body else 200
    daemon = forwarding_to(daemons, next_in_line)
    for name in ("good", "poison", "better"):
        assert requests.post(f"{daemon.url}/v1/traces", json=request(span(name=name)),
                             headers=bearer(daemon), timeout=10).status_code == 200
    until(lambda: daemon.metrics()['kms_otlp_forwards_total{result="refused"}'] == 1, 20, "refusal")
    (kept,) = (daemon.data / "evidence/refused").iterdir()
    assert b"poison" in kept.read_bytes() and str(kept) in daemon.text()
    assert {status for status, _ in next_in_line.seen} == {200, 400}


def test_the_queue_is_told_while_the_next_in_line_wants_to_be_left_alone(daemons, next_in_line):
    next_in_line.status, next_in_line.headers = lambda body: 503, {"Retry-After": "300"}
    daemon = forwarding_to(daemons, next_in_line)

    def send_and_wait_for(bytes_more_than):
        requests.post(f"{daemon.url}/v1/traces", json=request(span()), headers=bearer(daemon), timeout=10)
        return until(lambda: (queue := daemon.metric("kms_otlp_queue_bytes")) > bytes_more_than and queue,
                     10, "a longer queue")
    first = send_and_wait_for(0)
    until(lambda: len(next_in_line.seen) == 1, 10, "the refusal")
    assert send_and_wait_for(first) == 2 * first
    assert len(next_in_line.seen) == 1


def test_an_endpoint_with_the_route_in_it_is_refused_at_the_start(daemons):
    daemon = daemons({"betrace.otlp.forward-endpoint": "http://x:4318/v1/traces"}, start=False)
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert "without /v1/traces" in daemon.text()


@pytest.mark.parametrize("headers,body,status,says", [
    ({"Content-Type": "text/plain"}, b"x", 400, "Content-Type"),
    ({"Content-Type": "application/json"}, b"[", 400, "JSON"),
    ({"Content-Type": "application/json"}, b"[]", 400, "object"),
    ({"Content-Type": "application/json"}, b'{"resourceSpans":7}', 400, "OTLP/JSON"),
    ({"Content-Type": "application/json", "Content-Encoding": "br"}, b"x", 400, "zstd"),
    ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"x", 400, "gzip"),
    ({"Content-Type": "application/json", "Content-Encoding": "gzip"},
     gzip.compress(b" " * (65 << 20)), 413, "decompressed")])
def test_what_is_no_request_is_refused_with_a_status(daemon, headers, body, status, says):
    answer = requests.post(f"{daemon.url}/v1/traces", data=body, headers=headers | bearer(daemon),
                           timeout=20)
    assert answer.status_code == status
    assert says.encode() in answer.content, answer.content
    assert daemon.ok("GET", "/q/health")


def test_without_an_endpoint_the_answer_says_what_was_signed(daemons):
    daemon = daemons()
    daemon.create("acme")
    answer = requests.post(f"{daemon.url}/v1/traces", headers=bearer(daemon), timeout=10, json=request(
        span(), {"name": "plain"}, span(startTimeUnixNano="0")))
    assert answer.status_code == 200
    said = answer.json()["partialSuccess"]["errorMessage"]
    assert "1 of 3 items were signed" in said
    assert "1 of 2 compliance items could not be signed and are kept nowhere" in said
    assert "says no time" in said
    assert daemon.ok("GET", "/api/tenants/acme/evidence/inclusion?index=0")["size"] == "1"


def test_where_the_log_stands_for_signatures_items_carry_their_places(daemons, collector):
    daemon = daemons({"betrace.otlp.forward-endpoint": collector.url, "betrace.otlp.signing": "log"})
    for tenant in ("acme", "other"):
        daemon.create(tenant)
    send_spans(daemon.url, 80, bearer(daemon))
    send_logs(daemon.url, 20, bearer(daemon))
    until(lambda: len(collector.raw_spans()) >= 81 and len(collector.raw_logs()) >= 20, 20,
          "everything to arrive")
    items = signed(collector.raw_spans() + collector.raw_logs())
    spans = [span_of(item) for item in items]
    origin = daemon.ok("GET", "/api/compliance/log-key")["key"].split("+")[0]
    for item, span in zip(items, spans):
        texts = text_attributes(item)
        assert texts["betrace.signature.log"] == f"{origin}/{span['tenantId']}"
        assert "betrace.signature" not in texts and is_logged(daemon, span)
        assert not is_logged(daemon, span | {"timestamp": "2026-01-01T00:00:00Z"})
    places = {(span["tenantId"], span["leafIndex"]) for span in spans}
    assert len(places) == len(items) == 50
    answer = daemon.ok("POST", "/api/compliance/verify/batch", json={"spans": spans})
    assert answer["invalid"] == 0, [each for each in answer["results"] if not each["valid"]][:2]
    spoiled = [span | {"framework": "hipaa"} for span in spans]
    answer = daemon.ok("POST", "/api/compliance/verify/batch", json={"spans": spoiled})
    assert answer["valid"] == 0
    for tenant in ("acme", "other"):
        bundle, of_it = export(daemon, tenant=tenant), sum(each == tenant for each, _ in places)
        found, other = report(bundle), run_python(bundle, "--json")
        assert found["validSpans"] == found["loggedSpans"] == of_it, found["problems"]
        assert other.returncode == 0 and json.loads(other.stdout)["loggedSpans"] == of_it


def test_signatures_by_the_log_need_the_log(daemons):
    daemon = daemons({"betrace.otlp.signing": "log", "betrace.evidence.log.enabled": False},
                     start=False)
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert "betrace.otlp.signing: 'log' needs the evidence log" in daemon.text()
