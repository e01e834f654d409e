"""Traces as a real OpenTelemetry Collector receives them, from callers with OpenTelemetry's own SDK."""

import base64

import pytest
from opentelemetry import propagate
from opentelemetry.sdk.trace import TracerProvider

from harness.aws import aws_environment
from harness.waiting import until

ADMIN_TOKEN = "canary-admin-token-7d1f0c2b9a"
COLLECTOR_TOKEN = "canary-collector-token-81ba"
PAYLOAD = b"canary payload: employee 4711"
DROPPED = "kms_trace_spans_dropped_total"
SERVER, CLIENT, INTERNAL, FAILED = 2, 3, 1, 2


@pytest.fixture
def traced(aws_daemon, collector):
    """A maker of daemons that export to the collector."""
    def make(properties=None, environment=None, **options):
        return aws_daemon(
            {"quarkus.otel.exporter.otlp.endpoint": collector.url} | (properties or {}),
            environment=aws_environment() | (environment or {}), **options)
    return make


def ended(daemon):
    """It has sent what it had: the end is a flush."""
    assert daemon.stop() == 0


def one(collector, name, **attributes):
    """The span of that name with these attributes ('_' for '.'), which must be alone."""
    wanted = {key.replace("_", "."): value for key, value in attributes.items()}
    found = until(lambda: [span for span in collector.named(name)
                           if wanted.items() <= span["attributes"].items()], 10, name)
    assert len(found) == 1, found
    return found[0]


def test_a_callers_span_is_the_parent_of_server_retrieval_and_provider_spans(
        traced, collector, fake_kms):
    daemon = traced({"kms.cache.warm-tenants": 0})
    daemon.create("acme")
    daemon.restart()
    with TracerProvider().get_tracer("caller").start_as_current_span("call") as caller:
        headers = {"tracestate": "vendor=value"}
        propagate.inject(headers)
        for _ in range(2):
            assert daemon.post("/api/tenants/acme/sign", json={"payload": "eA=="},
                               headers=headers).status_code == 200
    ended(daemon)
    context = caller.get_span_context()
    trace = f"{context.trace_id:032x}"
    until(lambda: len([s for s in collector.spans() if s["traceId"] == trace]) == 5, 10, "spans")
    spans = [span for span in collector.spans() if span["traceId"] == trace]
    servers = [span for span in spans if span["kind"] == SERVER]
    assert len(servers) == 2
    for server in servers:
        assert server["name"] == "POST /api/tenants/{id}/sign"
        assert server["parentSpanId"] == f"{context.span_id:016x}"
        assert {"http.request.method": "POST", "http.route": "/api/tenants/{id}/sign",
                "http.response.status_code": 200, "url.scheme": "http", "tenant.id": "acme",
                "url.path": "/api/tenants/acme/sign"}.items() <= server["attributes"].items()
        assert server["traceState"] == "vendor=value"
        assert server["resource"]["service.name"] == "betrace-kms"
        assert server["resource"]["service.version"]
    ids = {server["spanId"] for server in servers}
    miss, = (s for s in spans if s["attributes"].get("cache.hit") is False)
    hit, = (s for s in spans if s["attributes"].get("cache.hit") is True)
    assert {miss["parentSpanId"], hit["parentSpanId"]} == ids
    for retrieval in (miss, hit):
        assert retrieval["name"] == "kms.retrieve_signing_key"
        assert retrieval["attributes"]["tenant.id"] == "acme"
        assert retrieval["attributes"]["key.type"] == "signing"
        assert retrieval["attributes"]["latency.ms"] >= 0
        assert int(retrieval["endTimeUnixNano"]) >= int(retrieval["startTimeUnixNano"])
    provider, = (s for s in spans if s["kind"] == CLIENT)
    assert provider["name"] == "kms.decrypt"
    assert provider["parentSpanId"] == miss["spanId"]
    assert provider["attributes"]["kms.provider"] == "aws"


def test_each_kind_of_key_has_its_span(traced, collector):
    daemon = traced()
    daemon.create("acme")
    signature = daemon.sign("acme", b"x")["signature"]
    daemon.verifies("acme", b"x", signature)
    daemon.decrypt("acme", daemon.encrypt("acme", b"x"))
    ended(daemon)
    for kind in ("signing", "public", "encryption"):
        found = until(lambda: collector.named(f"kms.retrieve_{kind}_key"), 10, kind)
        assert {span["attributes"]["key.type"] for span in found} == {kind}
    assert collector.named("kms.generate_data_key")


def test_an_error_span_says_what_the_provider_said(traced, collector, fake_kms):
    daemon = traced({"kms.cache.warm-tenants": 0, "kms.retry.max-retries": 1})
    daemon.create("acme")
    daemon.restart()
    fake_kms.error("KMSInternalException", "as in an outage", 500)
    assert daemon.post("/api/tenants/acme/sign", json={"payload": "eA=="}).status_code == 503
    fake_kms.faults()
    ended(daemon)
    retrieval = one(collector, "kms.retrieve_signing_key", error=True)
    assert "as in an outage" in retrieval["attributes"]["error.message"]
    assert retrieval["status"]["code"] == FAILED
    attempts = [s for s in collector.named("kms.decrypt") if s["attributes"].get("error")
                and s["parentSpanId"] == retrieval["spanId"]]
    assert len(attempts) == 2  # each attempt is a span
    server = one(collector, "POST /api/tenants/{id}/sign")
    assert server["status"]["code"] == FAILED
    assert server["attributes"]["error.type"] == "kms_unavailable"


@pytest.mark.parametrize("flag, count", [("01", 1), ("00", 0)])
def test_the_callers_sampled_flag_decides(traced, collector, flag, count):
    daemon = traced()
    daemon.create("acme")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    daemon.post("/api/tenants/acme/sign", json={"payload": "eA=="},
                headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-{flag}"})
    ended(daemon)
    until(lambda: collector.named("PUT /api/tenants/{id}"), 10, "the creation's span")
    assert len([s for s in collector.spans()
                if s["traceId"] == trace and s["kind"] == SERVER]) == count


def test_the_sampler_is_read_from_opentelemetrys_variables(traced, collector):
    daemon = traced(environment={"OTEL_TRACES_SAMPLER": "always_off"})
    daemon.create("acme")
    daemon.post("/api/tenants/acme/sign", json={"payload": "eA=="},
                headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    ended(daemon)
    named = traced(environment={"OTEL_SERVICE_NAME": "mine",
                                "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=a%20b"})
    named.create("acme")
    ended(named)
    until(lambda: collector.spans(), 10, "the second daemon's spans")
    for span in collector.spans():
        assert span["resource"]["service.name"] == "mine"
        assert span["resource"]["deployment.environment"] == "a b"


@pytest.mark.parametrize("variable, value, accepted", [
    ("OTEL_TRACES_SAMPLER", "sometimes", "parentbased_always_on"),
    ("OTEL_TRACES_SAMPLER_ARG", "2", "a number from 0 to 1")])
def test_a_wrong_sampler_is_refused_with_what_is_accepted(traced, variable, value, accepted):
    daemon = traced(start=False, environment={variable: value})
    daemon.start(ready=False)
    assert daemon.process.wait(timeout=20) == 2
    for words in (variable, value, accepted):
        assert words in daemon.text()


def test_the_service_outlives_its_collector_and_goes_on_when_it_is_back(traced, collector):
    collector.stop()
    daemon = traced()
    daemon.create("acme")
    for _ in range(1500):  # two or three spans each, beyond the queue of 2,048 and a batch of 512
        daemon.sign("acme", b"x")
    assert daemon.metric(DROPPED) > 0
    assert len(daemon.log_lines("trace spans were not exported")) <= 2
    assert daemon.ok("GET", "/q/health")["status"] == "UP"
    assert len(daemon.log_lines("Traces cannot be exported: connecting to ")) == 1
    collector.start()
    until(lambda: collector.named("POST /api/tenants/{id}/sign"), 60, "spans after the return")
    until(lambda: daemon.log_lines("Traces are exported again"), 10, "the log to say so")


def test_no_secret_is_in_any_span(traced, collector):
    address = collector.url.replace("http://", f"http://user:{COLLECTOR_TOKEN}@")
    daemon = traced({"betrace.admin.token": ADMIN_TOKEN,
                     "quarkus.otel.exporter.otlp.endpoint": address},
                    environment={"OTEL_EXPORTER_OTLP_HEADERS": f"x-token={COLLECTOR_TOKEN}"})
    header = {"Authorization": f"Bearer {ADMIN_TOKEN}"}

    def call(verb, body):
        return daemon.post(f"/api/tenants/acme/{verb}", json=body, token=ADMIN_TOKEN)

    assert daemon.call("PUT", "/api/tenants/acme", token=ADMIN_TOKEN).status_code == 201
    text = base64.b64encode(PAYLOAD).decode()
    call("sign", {"payload": text})
    sealed = call("encrypt", {"plaintext": text, "context": {"canary": "canary-context"}}).json()
    call("decrypt", sealed | {"context": {"canary": "canary-other"}})
    call("sign", {"payload": "canary-not-base64!"})
    daemon.session.get(f"{daemon.url}/nowhere/{ADMIN_TOKEN}?token={ADMIN_TOKEN}", headers=header)
    ended(daemon)
    until(lambda: len(collector.named("POST /api/tenants/{id}/sign")) == 2, 10, "the spans")
    said = collector.received() + daemon.log()
    for secret in (ADMIN_TOKEN, COLLECTOR_TOKEN, PAYLOAD.decode(), text, sealed["ciphertext"],
                   "canary-context", "canary-other", "canary-not-base64"):
        assert secret not in said


def test_health_and_metrics_are_in_no_trace(traced, collector):
    daemon = traced()
    daemon.get("/q/health", token=None)
    daemon.get("/metrics", token=None)
    daemon.create("acme")
    ended(daemon)
    until(lambda: collector.named("PUT /api/tenants/{id}"), 10, "the creation's span")
    assert not [s for s in collector.spans() if "health" in s["name"] or "metrics" in s["name"]]
