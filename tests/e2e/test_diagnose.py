"""The command diagnose: one archive for whoever helps, whatever runs or does not, without a secret."""

import base64
import json
import os
import re
import resource
import signal
import subprocess
import tarfile

import pytest

from harness.aws import aws_properties
from harness.daemon import program

# The manual's diagnostic-bundle.sh, part by part, and doctor's report.
PARTS = {"config.txt", "health.json", "validation.json", "status.json", "metrics.txt", "logs.txt",
         "kms-key-info.json", "iam-policy.json"}
DOCTOR = {"doctor.txt", "doctor.json"}


def forms(secret):
    """Of the whole secret, as bytes."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    texts = {raw.hex(), raw.hex().upper()} | {
        encode(before + raw + b"and more").decode() for before in (b"", b"a", b"ab")
        for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return {raw, *(text.encode() for text in texts)}


def unpacked(file):
    """Name in the folder → text, by another reader of archives."""
    with tarfile.open(file) as archive:
        texts = {}
        for member in archive.getmembers():
            assert member.mode == 0o600 and member.isreg()
            folder, name = member.name.split("/")
            assert folder == "betrace-kms-diagnostic"
            texts[name] = archive.extractfile(member).read().decode(errors="replace")
    return texts


def diagnose(daemon, *words):
    done = daemon.cli("diagnose", "-o", daemon.folder / "bundle.tar.gz", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done, unpacked(daemon.folder / "bundle.tar.gz")


def test_it_holds_the_manuals_parts_and_doctors_report(aws_daemon):
    daemon = aws_daemon()
    daemon.create("acme")
    done, parts = diagnose(daemon)
    assert parts.keys() == PARTS | DOCTOR
    assert "aws.kms.region=us-east-1" in parts["config.txt"]
    assert json.loads(parts["health.json"])["status"] == "UP"
    assert json.loads(parts["validation.json"])["overall"] == "PASS"
    assert json.loads(parts["status.json"])["provider"] == "aws"
    assert "\nkms_signatures_total 0\n" in parts["metrics.txt"]
    assert "Initializing KMS provider: aws" in parts["logs.txt"]
    assert json.loads(parts["kms-key-info.json"])["state"] == "Enabled"
    assert json.loads(parts["iam-policy.json"])["calls"] == {
        call: "PASS" for call in ("generate_data_key", "encrypt", "decrypt", "describe_key")}
    assert json.loads(parts["doctor.json"])["healthy"] is True
    assert "healthy" in parts["doctor.txt"]
    for name in parts:
        assert re.search(rf"^{re.escape(name)} +ok$", done.stdout, re.MULTILINE), done.stdout
    assert f"Diagnostic bundle created: {daemon.folder}/bundle.tar.gz" in done.stdout
    assert os.stat(daemon.folder / "bundle.tar.gz").st_mode & 0o777 == 0o600
    assert subprocess.run(["tar", "-tzf", daemon.folder / "bundle.tar.gz"], check=True,
                          capture_output=True, text=True).stdout.count("\n") == len(parts)


def test_with_the_daemon_down_each_part_says_why(daemons):
    daemon = daemons()
    assert daemon.stop() == 0
    done, parts = diagnose(daemon, "--json")
    listed = {part["name"]: part["trouble"] for part in json.loads(done.stdout)["parts"]}
    for name in ("health.json", "validation.json", "status.json"):
        assert "cannot reach the service" in json.loads(parts[name])["error"]
        assert "cannot reach the service" in listed[name]
    assert listed["config.txt"] is None and "betrace.kms.provider=local" in parts["config.txt"]
    assert "KMS cache warmed" in parts["logs.txt"]
    assert "service-unreachable" in parts["doctor.json"]


def test_a_configuration_that_is_refused_is_in_it_with_the_reason(daemons, tmp_path):
    daemon = daemons(start=False)
    daemon.config.parent.mkdir(exist_ok=True)
    daemon.config.write_text("betrace.kms.provider=aws\nkms.cache.max-size=many\n")
    _, parts = diagnose(daemon)
    assert "kms.cache.max-size" in parts["config.txt"] and "many" in parts["config.txt"]
    assert json.loads(parts["doctor.json"])["healthy"] is False


def test_it_overwrites_nothing_and_leaves_no_half_file(daemons):
    daemon = daemons()
    there = daemon.folder / "there.tar.gz"
    there.write_text("mine")
    done = daemon.cli("diagnose", "-o", there)
    assert done.returncode == 1 and "File exists" in done.stderr
    assert there.read_text() == "mine"

    def tiny_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    full = daemon.folder / "full.tar.gz"
    done = subprocess.run([program(), "diagnose", "--config", daemon.config, "-o", full],
                          env=daemon.environment(), preexec_fn=tiny_disk, capture_output=True,
                          text=True)
    assert done.returncode == 1 and "File too large" in done.stderr, done.stderr
    assert not full.exists()


CANARIES = {
    "vault.token": "canary-vault-token-61aa", "vault.secret-id": "canary-vault-secret-id-72bb",
    "azure.keyvault.client-secret": "canary-azure-client-secret-83cc",
    "pkcs11.pin": "canary-pkcs11-pin-94dd", "betrace.admin.token": "canary-admin-token-a5ee",
    "quarkus.otel.exporter.otlp.headers": "x-key=canary-otlp%20header-d8b1",
    "betrace.kms.second.vault.token": "canary-second-vault-token-b6ff",
}


def test_the_canaries_are_every_secret_of_the_table(daemons):
    entries = json.loads(daemons().cli("config", "--json").stdout)["entries"]
    source = (program().parents[2] / "src/app/config_keys.cpp").read_text()
    secret = set(re.findall(r'\.name = "([^"]+)",\s*\.type = secret', source))
    assert secret == {name for name in CANARIES if "second" not in name}
    assert secret <= {entry["key"] for entry in entries}


@pytest.mark.parametrize("place", ["file", "environment", "secret file"])
def test_no_secret_is_in_it_wherever_it_was_planted(daemons, fake_kms, tmp_path, place):
    environment = {"AWS_ACCESS_KEY_ID": "AKIACANARY",
                   "AWS_SECRET_ACCESS_KEY": "canaryAwsSecret/0123456789abcdef",
                   "AWS_SESSION_TOKEN": "canary-session-token-c7a0"}
    properties = aws_properties(fake_kms, fake_kms.key_arn)
    for key, value in CANARIES.items():
        if place == "file":
            properties[key] = value
        elif place == "environment":
            environment[re.sub(r"[^A-Za-z0-9]", "_", key).upper()] = value
        else:
            held = tmp_path / key
            held.write_text(value + "\n")
            held.chmod(0o600)
            properties[f"{key}-file"] = held
    daemon = daemons(properties, environment=environment)
    master = os.urandom(32)
    (daemon.data / "local-master.key").write_bytes(master)
    secrets = [*CANARIES.values(), "canary-otlp header-d8b1", *list(environment.values())[1:3],
               master]
    # As a careless library, or a proxy before us, might have logged them.
    with open(daemon.log_path, "ab") as log:
        for secret in secrets:
            log.writelines(b"x" + form + b"y\n" for form in forms(secret))
        log.write(b"Authorization: Bearer canary-of-a-stranger\n"
                  b"postgresql://kms:canary-of-a-stranger@db/kms\n"
                  b'{"clientSecret":"canary-of-a-stranger"}\n')
    _, parts = diagnose(daemon)
    everything = "\n".join(parts.values())
    assert "Authorization: " in parts["logs.txt"]
    assert "canary" not in everything.lower().replace("akiacanary", "")
    with tarfile.open(daemon.folder / "bundle.tar.gz") as archive:
        held = b"".join(archive.extractfile(member).read() for member in archive.getmembers())
    for secret in secrets:
        raw = secret if isinstance(secret, bytes) else secret.encode()
        # What base64 shows of it where it does not stand alone: without its first and last bytes.
        inner = [base64.b64encode(raw[shift:len(raw) - (len(raw) - shift) % 3]) for shift in range(3)]
        for form in [raw, raw.hex().encode(), raw.hex().upper().encode(), *inner]:
            assert form not in held
            assert form.translate(bytes.maketrans(b"+/", b"-_")) not in held
