"""Evidence: leaves into the log, and a million spans verified without a network."""

import json
import os
import pathlib
import subprocess
import tempfile
import time
from statistics import median

from measure import BUILD, Daemon, FileRequest, load

SPANS_A_REQUEST = 1000
OTLP_ITEMS = 512


def log_rows(row):
    runs = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(json.loads(subprocess.run([BUILD / "bench/evidence_bench", folder],
                                                  check=True, capture_output=True).stdout))
    raw, ours, wall, publishing = (median(run[name] for run in runs) for name in (
        "sha256_us", "append_cpu_us", "append_wall_us", "publish_cpu_us"))
    row("evidence log: leaves in batches of 512 with one fsync, a CPU second", 1e6 / ours, "1/s",
        1e6 / raw, 0.35, raw / ours, at_least=True,
        note=f"{1e6 / wall:,.0f} a second of the clock; tiles and checkpoints {publishing:.2f} us "
             "more a leaf")


def otlp_request():
    attributes = {"compliance.framework": "soc2", "compliance.control": "CC6_1",
                  "compliance.evidence_type": "AUDIT_TRAIL", "compliance.outcome": "success",
                  "compliance.tenant_id": "acme", "http.request.method": "GET",
                  "url.path": "/records/" + "7" * 40, "enduser.id": "alice"}
    items = [{"traceId": f"{n + 1:032x}", "spanId": f"{n + 1:016x}", "name": "read", "kind": 2,
              "startTimeUnixNano": str(1764288000 * 10**9 + n), "status": {"code": 1},
              "endTimeUnixNano": str(1764288001 * 10**9 + n),
              "attributes": [{"key": key, "value": {"stringValue": text}}
                             for key, text in attributes.items()]
              + [{"key": "http.response.status_code", "value": {"intValue": "200"}}]}
             for n in range(OTLP_ITEMS)]
    return {"resourceSpans": [{"scopeSpans": [{"spans": items}]}]}


def otlp_row(row):
    with tempfile.TemporaryDirectory() as folder:
        body = pathlib.Path(folder) / "body"
        body.with_suffix(".json").write_text(json.dumps(otlp_request()))
        measured = {"raw": [], "ours": [], "publishing": []}
        with Daemon(folder, {"betrace.otlp.signing": "log"}) as daemon:
            daemon.call("PUT", "/api/tenants/acme")
            for _ in range(3):
                measured["raw"].append(float(subprocess.run(
                    [BUILD / "bench/evidence_bench", body.with_suffix(".json"), body], check=True,
                    capture_output=True).stdout))
                request = FileRequest(folder, "/v1/traces", body, daemon.headers | {
                    "Content-Type": "application/x-protobuf"})
                before = daemon.cpu_seconds("kms-evidence")
                met = load(daemon, daemon.port, request, connections=8)
                spent = daemon.cpu_seconds("kms-evidence") - before
                publishing = spent * 1e6 / met["count"] / OTLP_ITEMS
                measured["publishing"].append(publishing)
                measured["ours"].append(met["cpu_us"] / OTLP_ITEMS - publishing)
        raw, ours, publishing = (median(each) for each in measured.values())
        row(f"OTLP in to acknowledged, batch mode, {OTLP_ITEMS} spans a request, a CPU second",
            1e6 / ours, "1/s", 1e6 / raw, 0.6, raw / ours, at_least=True,
            note=f"tiles and checkpoints {publishing:.2f} us more a span")


def signed_bundle(folder, count):
    """What a daemon signed and exported."""
    with Daemon(folder, {"betrace.kms.tenants.auto-create": "true"}) as daemon:
        for at in range(0, count, SPANS_A_REQUEST):
            daemon.call("POST", "/api/compliance/spans/sign", {"spans": [
                {"framework": "soc2", "control": "CC6_1", "tenantId": "acme", "n": at + i,
                 "evidenceType": "AUDIT_TRAIL", "outcome": "success",
                 "timestamp": f"2026-11-{1 + at // SPANS_A_REQUEST % 28:02d}T00:00:00Z",
                 "metadata": {"user": f"user-{i}", "resource": "/records/" + "7" * 40}}
                for i in range(SPANS_A_REQUEST)]})
        bundle = daemon.data / "acme.evidence"
        subprocess.run([BUILD / "betrace-kms", "evidence", "export", "--tenant", "acme", "-o", bundle,
                        "--url", f"http://127.0.0.1:{daemon.port}",
                        "--token-file", daemon.data / "admin-token"], check=True,
                       capture_output=True)
    return bundle


def verify(bundle, count):
    """Seconds, and the peak of memory in MiB."""
    begun = time.monotonic()
    process = subprocess.Popen([BUILD / "betrace-verify-evidence", bundle, "--json"],
                               stdout=subprocess.PIPE)
    report = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0 and report["valid"] and report["spans"] == count, report["problems"][:3]
    return time.monotonic() - begun, used.ru_maxrss / 1024


def offline_rows(row, raw_verify_us):
    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
        _, small = verify(signed_bundle(few, 50_000), 50_000)
        seconds, large = verify(signed_bundle(many, 1_000_000), 1_000_000)
    alone = raw_verify_us / len(os.sched_getaffinity(0))
    row("1,000,000 spans verified offline, beside raw signatures on all cores", seconds, "s", alone,
        1.5, seconds / alone)
    row("memory of that, beside 50,000 spans", large, "MiB", small, 1.2, large / small)


def raw_verify_us():
    """Of libsodium's verification, one core; its own speed test has none for signatures."""
    return float(subprocess.run([BUILD / "bench/evidence_bench"], check=True,
                                capture_output=True).stdout)


def evidence(row, raw_verify_us):
    log_rows(row)
    otlp_row(row)
    offline_rows(row, raw_verify_us)
