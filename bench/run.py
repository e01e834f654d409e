"""`make bench`: each row beside its own limit, measured in the same run, interleaved, medians.

    run.py [--quick] [rotation|stuck|providers]   all rows; or those of rotation, of a provider that
                                        hangs, or of each provider beside its request, alone, which leaves results.json as it is; --quick
                                        rotates 5,000 tenants instead of 100,000
"""

import argparse
import base64
import concurrent.futures
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile

from evidence import evidence, raw_verify_us
from measure import BUILD, ROOT, Daemon, Requests, Server, free_port, load, median
from providers import providers
from rotation import rotation
from stuck import stuck

ROUNDS = 5
SPANS = 512  # in a batch
PAYLOAD = base64.b64encode(b"x" * 256).decode()
RESULTS = []


def row(name, value, unit, beside, limit, ratio=None, at_least=False, note=""):
    """`value` beside `beside`; `limit` bounds the ratio, or the value itself where nothing is
    beside."""
    figure = value if ratio is None else ratio
    met = figure >= limit if at_least else figure <= limit
    RESULTS.append({"row": name, "value": value, "unit": unit, "beside": beside, "ratio": ratio,
                    "limit": limit, "at_least": at_least, "met": met, "note": note})
    shown = f"{figure:.2f} x" if ratio is not None else f"{figure:.1f} {unit}"
    print(f"  {'met   ' if met else 'MISSED'} {name:58s} {shown:>14s}  "
          f"({'>=' if at_least else '<='} {limit:g})", flush=True)


def library():
    out = subprocess.run([BUILD / "bench/library_bench", str(ROUNDS + 2)], check=True,
                         capture_output=True, text=True).stdout
    rows = {item["row"]: item for item in map(json.loads, out.splitlines())}
    for name, limit in (("library sign, warm, 256 B", 1.10), ("library encrypt, warm, 256 B", 1.25)):
        ours, beside = median(rows[name]["ours"]), median(rows[name]["beside"])
        row(name, ours, "ns", beside, limit, ours / beside)
    row("cache hit, one thread", median(rows["cache hit, 1 thread"]["ours"]), "ns", None, 60)
    row("cache hit, two threads", median(rows["cache hit, 2 threads"]["ours"]), "ns", None, 90)
    two = rows["two I/O threads against one"]
    ratio = median([b / a for a, b in zip(two["beside"], two["ours"])])
    row("two I/O threads against one, inside the process", median(two["ours"]), "requests/s",
        median(two["beside"]), 1.7, ratio, at_least=True)
    return (median(rows["library sign, warm, 256 B"]["beside"]) / 1000,
            median(rows["library encrypt, warm, 256 B"]["beside"]) / 1000)


def sign(tenant):
    return ("POST", f"/api/tenants/{tenant}/sign", {"payload": PAYLOAD})


def spans(count):
    one = {"framework": "soc2", "control": "CC6_1", "evidenceType": "AUDIT_TRAIL",
           "tenantId": "acme", "timestamp": "2026-11-26T22:00:00.123Z", "outcome": "success",
           "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
           "metadata": {"user": "alice", "action": "read", "records": 3}}
    return [one | {"spanId": f"{number:016x}"} for number in range(count)]


def create(daemon, tenants):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda t: daemon.call("PUT", f"/api/tenants/{t}"), tenants))


def over_http(raw_sign_us, raw_gcm_us):
    with tempfile.TemporaryDirectory() as folder, Daemon(folder) as daemon, \
            Server([BUILD / "bench/empty_beast_server", "0", "2"], talks=True) as empty:
        empty_port = int(empty.process.stdout.readline())
        create(daemon, ["acme"])
        signing = Requests([sign("acme")], daemon.headers)
        encrypting = Requests([("POST", "/api/tenants/acme/encrypt",
                                {"plaintext": PAYLOAD, "context": {"field": "name"}})],
                              daemon.headers)
        batch = Requests([("POST", "/api/tenants/acme/sign", {"payloads": [PAYLOAD] * 100})],
                         daemon.headers)
        evidence = Requests([("POST", "/api/compliance/spans/sign", {"spans": spans(SPANS)})],
                            daemon.headers)
        figures = {"empty": [], "sign": [], "encrypt": [], "batch": [], "spans": []}
        for each in (signing, encrypting, batch, evidence):
            load(daemon, daemon.port, each, seconds=1)
        for _ in range(ROUNDS):
            figures["empty"].append(load(empty, empty_port, signing)["cpu_us"])
            figures["sign"].append(load(daemon, daemon.port, signing)["cpu_us"])
            figures["encrypt"].append(load(daemon, daemon.port, encrypting)["cpu_us"])
            figures["batch"].append(load(daemon, daemon.port, batch, connections=8)["cpu_us"])
            figures["spans"].append(load(daemon, daemon.port, evidence, connections=8)["cpu_us"])
        empty_us, sign_us, encrypt_us, batch_us, spans_us = (
            median(figures[name]) for name in ("empty", "sign", "encrypt", "batch", "spans"))
        row("HTTP sign, 64 connections, CPU a request", sign_us, "us", raw_sign_us + empty_us, 1.20,
            sign_us / (raw_sign_us + empty_us), note=f"empty Beast answer {empty_us:.1f} us")
        row("HTTP encrypt, 64 connections, CPU a request", encrypt_us, "us", raw_gcm_us + empty_us,
            1.5, encrypt_us / (raw_gcm_us + empty_us))
        row("batch sign of 100, signatures a CPU second", 1e8 / batch_us, "1/s", 1e6 / raw_sign_us,
            0.85, 1e8 / batch_us / (1e6 / raw_sign_us), at_least=True)
        rate = SPANS * 1e6 / spans_us
        row(f"compliance spans in batches of {SPANS}, signed a CPU second", rate, "1/s",
            1e6 / raw_sign_us, 0.7, rate / (1e6 / raw_sign_us), at_least=True)


def many_tenants():
    tenants = [f"tenant-{i:05d}" for i in range(10_000)]
    with tempfile.TemporaryDirectory() as folder:
        with Daemon(folder) as daemon:
            create(daemon, tenants)
        with Daemon(folder, {"kms.cache.max-size": 20_000, "kms.cache.warm-tenants": 0}) as cached, \
                Daemon(folder, {"kms.cache.warm-tenants": 0}) as uncached:
            one = Requests([sign(tenants[0])], cached.headers)
            some = Requests([sign(t) for t in tenants[:1000]], cached.headers)
            each = Requests([sign(t) for t in tenants], cached.headers)
            # Connections and code are there before the keys are counted.
            load(cached, cached.port, some, seconds=2)
            before = cached.resident_bytes()
            load(cached, cached.port, each, seconds=3)
            per_key = (cached.resident_bytes() - before) / (len(tenants) - 1000)
            figures = {"one": [], "cached": [], "uncached": []}
            for _ in range(ROUNDS):
                figures["one"].append(load(cached, cached.port, one)["cpu_us"])
                figures["cached"].append(load(cached, cached.port, each)["cpu_us"])
                figures["uncached"].append(load(uncached, uncached.port, each)["cpu_us"])
        one_us, cached_us, uncached_us = (median(figures[n]) for n in ("one", "cached", "uncached"))
        row("HTTP sign over 10,000 tenants, all cached", cached_us, "us", one_us, 1.1,
            cached_us / one_us)
        row("HTTP sign over 10,000 tenants, none cached", uncached_us, "us", one_us, 2.5,
            uncached_us / one_us)
        row("resident memory per cached key", per_key, "B", None, 400)


def fill(folder, count):
    """Adds tenants whose keys nobody will open: rows as large as real ones."""
    store = sqlite3.connect(pathlib.Path(folder) / "betrace-kms.db", isolation_level=None)
    store.create_function("filler", 1, lambda i: f"zz-{i * 2654435761 % 2**32:08x}-{i:07d}",
                          deterministic=True)
    store.executescript(f"""
        PRAGMA synchronous = OFF;
        BEGIN;
        CREATE TEMP TABLE more AS WITH RECURSIVE n(i) AS
          (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i, filler(i) AS id FROM n;
        INSERT INTO tenants (id, created_at) SELECT id, 1763856000000 + i FROM more ORDER BY id;
        CREATE TEMP TABLE fresh AS SELECT id AS tenant, t.type, 1763856000000 + i AS created_at,
          randomblob(16) AS id FROM more, (SELECT 'signing' AS type UNION SELECT 'encryption') t
          ORDER BY 1, 2;
        INSERT INTO keys (tenant, type, version, id, state, created_at, public_key, attestation)
          SELECT tenant, type, 1, id, 'active', created_at, randomblob(32), randomblob(64)
          FROM fresh ORDER BY tenant, type;
        INSERT INTO wrappings (key_id, provider, master_key_id, blob)
          SELECT id, 'local', 'local', randomblob(77) FROM fresh ORDER BY id;
        DELETE FROM changes WHERE generation < (SELECT max(generation) FROM changes);
        COMMIT;
        PRAGMA wal_checkpoint(TRUNCATE);
    """)
    store.close()


def store_size():
    tenants = [f"tenant-{i:05d}" for i in range(1000)]
    properties = {"kms.cache.max-size": 10, "kms.cache.warm-tenants": 0}
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as large:
        for folder in (small, large):
            with Daemon(folder) as daemon:
                create(daemon, tenants)
        print("  filling a store with 1,000,000 tenants …", flush=True)
        fill(large, 1_000_000)
        with Daemon(small, properties) as few, Daemon(large, properties) as many:
            requests = [Requests([sign(t) for t in tenants], d.headers) for d in (few, many)]
            figures = {"few": [], "many": []}
            for each, daemon in zip(requests, (few, many)):
                load(daemon, daemon.port, each, connections=1, seconds=1)
            for _ in range(ROUNDS):
                figures["few"].append(1e6 / load(few, few.port, requests[0], 1)["rate"])
                figures["many"].append(1e6 / load(many, many.port, requests[1], 1)["rate"])
        few_us, many_us = median(figures["few"]), median(figures["many"])
        row("cold miss, 1,000,000 tenants beside 1,000", many_us, "us", few_us, 1.3,
            many_us / few_us)
        starts = []
        for _ in range(ROUNDS):
            with Daemon(large) as daemon:
                starts.append(daemon.ready_seconds * 1000)
        row("start to ready with 1,000,000 tenants", median(starts), "ms", None, 300)


def idle_memory():
    readings = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder, Daemon(folder) as daemon:
            readings.append(daemon.resident_bytes() / 2**20)
    row("resident memory, idle", median(readings), "MiB", None, 16)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="rotate fewer tenants")
    parser.add_argument("only", nargs="?", choices=["rotation", "stuck", "providers", "evidence"], help="these rows alone")
    wanted = parser.parse_args()
    print("make bench: medians of", ROUNDS, "interleaved rounds")
    if wanted.only == "stuck":
        stuck(row)
    if wanted.only == "providers":
        providers(row)
    if wanted.only == "evidence":
        evidence(row, raw_verify_us())
    if wanted.only == "rotation":
        rotation(row, wanted.quick)
    if wanted.only:
        return 0
    raw_sign_us, raw_gcm_us = library()
    over_http(raw_sign_us, raw_gcm_us)
    idle_memory()
    many_tenants()
    store_size()
    stuck(row)
    providers(row)
    evidence(row, raw_verify_us())
    rotation(row, wanted.quick)
    (ROOT / "bench/results.json").write_text(json.dumps(RESULTS, indent=1) + "\n")
    missed = [result["row"] for result in RESULTS if not result["met"]]
    print(f"{len(RESULTS) - len(missed)} met, {len(missed)} missed; bench/results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
