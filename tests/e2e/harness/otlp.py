"""OTLP requests of spans that carry a number as their id, and what of them has arrived."""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACES = "/v1/traces"
PROTOBUF = {"Content-Type": "application/x-protobuf"}
COMPLIANCE = {"compliance.framework": "soc2", "compliance.control": "CC6_1",
              "compliance.evidence_type": "AUDIT_TRAIL", "compliance.outcome": "success",
              "compliance.tenant_id": "acme", "compliance.user_id": "u-1"}
PLAIN = {"http.request.method": "GET", "http.route": "/api/patients/{id}", "server.port": "8443",
         "server.address": "backend.internal", "user_agent.original": "Mozilla/5.0 (X11; Linux)",
         "network.protocol.version": "1.1"}


def request_of(numbers, tenant_of):
    """Protobuf. `tenant_of(number)`: whose compliance span it is, or None."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in numbers:
        span = spans.add(trace_id=bytes(15) + b"\1", span_id=number.to_bytes(8, "big"),
                         name="GET /api/patients/{id}", kind=2,
                         start_time_unix_nano=1_795_737_600_000_000_000,
                         end_time_unix_nano=1_795_737_600_012_345_678)
        tenant = tenant_of(number)
        attributes = PLAIN if tenant is None else COMPLIANCE | {"compliance.tenant_id": tenant}
        for key, value in attributes.items():
            span.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()


def spans_of(body):
    return [span for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for of_scope in of_resource.scope_spans for span in of_scope.spans]


def number_of(span):
    return int.from_bytes(span.span_id, "big")


def signature_of(span):
    """None of one without."""
    for each in span.attributes:
        if each.key == "betrace.signature":
            return each.value.string_value
    return None


class Template:
    """A request of `size` spans that is made again and again at the cost of a copy: the n-th has the
    numbers n << 32 to (n << 32) + size - 1. `tenant_of` is given the last part."""

    MARK = 0xDEADBEEF

    def __init__(self, size, tenant_of):
        body = request_of(((self.MARK << 32) + i for i in range(size)),
                          lambda number: tenant_of(number & 0xFFFFFFFF))
        self.pieces = body.split(self.MARK.to_bytes(4, "big"))
        assert len(self.pieces) == size + 1

    def request(self, n):
        return n.to_bytes(4, "big").join(self.pieces)
