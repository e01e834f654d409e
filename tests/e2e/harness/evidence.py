"""The evidence log from outside: spans signed, bundles exported, and read by whoever verifies them."""

import json
import pathlib

from .daemon import program
from .process import ROOT
from .servers import run

SIGN, VERIFY = "/api/compliance/spans/sign", "/api/compliance/verify/span"
SELDOM = {"betrace.evidence.checkpoint.interval-seconds": 86400}


def span(tenant="acme", **more):
    return {"framework": "soc2", "control": "CC6_1", "evidenceType": "AUDIT_TRAIL",
            "tenantId": tenant, "timestamp": "2026-11-26T22:00:00Z", "outcome": "success", **more}


def sign(daemon, *spans, **options):
    return daemon.ok("POST", SIGN, json={"spans": list(spans)}, **options)["spans"]


def verdict(daemon, signed):
    return daemon.ok("POST", VERIFY, json={"span": signed})


def checkpoint(daemon, tenant="acme"):
    """One over all that was acknowledged, kept in a file."""
    done = daemon.cli("evidence", "checkpoint", "--tenant", tenant)
    assert done.returncode == 0, done.stderr
    path = daemon.folder / f"{tenant}-{size_of(done.stdout)}.checkpoint"
    path.write_text(done.stdout)
    return path


def size_of(note):
    return int(note.split("\n")[1])


def export(daemon, *options, tenant="acme", name="bundle", **more):
    path = daemon.folder / f"{tenant}-{name}.evidence"
    done = daemon.cli("evidence", "export", "--tenant", tenant, "-o", path, *options, **more)
    assert done.returncode == 0, done.stderr
    return path


def leaves_of(bundle):
    return [json.loads(line) for line in bundle.read_bytes().splitlines()[1:]]


def static_verifier():
    path = program().parent / "betrace-verify-evidence"
    assert path.exists(), f"{path} is missing: build it"
    return path


def verified(bundle, *options, static=False, **more):
    """The finished verification of a bundle by the command, or by the auditor's own program."""
    command = [static_verifier()] if static else [program(), "verify-evidence"]
    return run([*command, bundle, *options], **more)


def report(bundle, *options, static=False, code=0, **more):
    done = verified(bundle, *options, "--json", static=static, **more)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def log_key(daemon):
    return daemon.ok("GET", "/api/compliance/log-key")["key"]


def folder_of(daemon, tenant="acme"):
    folder = daemon.properties.get("betrace.evidence.log.folder", daemon.data / "evidence")
    return pathlib.Path(folder) / "tenants" / f"t-{tenant}"


def read_by_go(daemon, tenant="acme"):
    """What Go's own libraries say of a log on disk: (exit code, text)."""
    key = log_key(daemon)
    done = run([ROOT / "build/bin/tlogcheck", key, f"{key.split('+')[0]}/{tenant}",
                folder_of(daemon, tenant)], timeout=120)
    return done.returncode, (done.stdout + done.stderr).strip()
