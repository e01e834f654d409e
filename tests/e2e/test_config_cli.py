"""The program as its operators meet it: configuration, commands, exit codes, TLS, signals, and what
Prometheus makes of the metrics."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from harness.aws import aws_environment, aws_properties
from harness.daemon import Daemon, b64, program, unb64
from harness.process import clean_environment, free_port
from harness.servers import run
from harness.waiting import until


def cli(*words, cwd, env=None, **options):
    return run([program(), *words], cwd=cwd, env=clean_environment(cwd, **(env or {})), **options)


# --- configuration --------------------------------------------------------------------------------


def entries(cwd, *words, **env):
    done = cli("config", "--json", *words, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return {entry["key"]: entry for entry in json.loads(done.stdout)["entries"]}


def test_config_prints_every_value_with_its_source(tmp_path):
    (tmp_path / "application.properties").write_text(
        "# the manual's own lines\nkms.cache.max-size=2000  # Default: 1000\n"
        "kms.timeout-ms : 7000\nquarkus.http.port 9000\nkms.retry.max-retries=${TRIES:4}\n")
    got = entries(tmp_path, "-Dquarkus.http.port=9002", KMS_TIMEOUT_MS="8000",
                  QUARKUS_HTTP_PORT="9001", AWS_KMS_REGION="")
    assert got["kms.cache.max-size"]["value"] == "2000"
    assert got["kms.cache.max-size"]["source"].endswith("application.properties:2")
    assert got["kms.timeout-ms"]["value"] == "8000"
    assert "KMS_TIMEOUT_MS" in got["kms.timeout-ms"]["source"]
    assert got["quarkus.http.port"]["value"] == "9002"
    assert "-D" in got["quarkus.http.port"]["source"]
    assert got["kms.retry.max-retries"]["value"] == "4"
    assert got["aws.kms.region"]["value"] == "us-east-1"
    assert got["aws.kms.region"]["source"] == "default"

    done = cli("config", cwd=tmp_path)
    assert "kms.cache.max-size=2000" in done.stdout
    assert "application.properties:2" in done.stdout
    warning = done.stderr + done.stdout
    assert "Default: 1000" in warning or "#" in done.stderr


def test_the_key_may_be_written_with_betrace_before_it(tmp_path):
    (tmp_path / "application.properties").write_text("betrace.kms.cache.max-size=77\n")
    assert entries(tmp_path)["kms.cache.max-size"]["value"] == "77"


def test_the_configuration_is_looked_for_in_the_usual_places(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/application.properties").write_text("kms.cache.max-size=5\n")
    assert entries(tmp_path)["kms.cache.max-size"]["value"] == "5"
    (tmp_path / "application.properties").write_text("kms.cache.max-size=6\n")
    assert entries(tmp_path)["kms.cache.max-size"]["value"] == "6"
    other = tmp_path / "other"
    other.write_text("kms.cache.max-size=7\n")
    assert entries(tmp_path, "--config", str(other))["kms.cache.max-size"]["value"] == "7"


def test_secrets_are_masked_and_read_from_files(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("a-token-from-a-file\n")
    secret.chmod(0o644)
    (tmp_path / "application.properties").write_text(
        f"betrace.admin.token-file={secret}\nvault.token=hvs.in-the-file\n")
    done = cli("config", cwd=tmp_path)
    assert done.returncode == 0
    everything = done.stdout + done.stderr
    assert "hvs.in-the-file" not in everything and "a-token-from-a-file" not in everything
    assert "vault.token=****" in done.stdout
    assert str(secret) in done.stderr, "a file that others can read must warn"


# What is written: the key, the value, and what must be said.
WRONG = {
    "kms.cache.max-size=many": ["kms.cache.max-size", "many", "whole number"],
    "kms.cache.max-size=0": ["kms.cache.max-size", "'0'", "1"],
    "kms.cache.stale-minutes=241": ["kms.cache.stale-minutes", "241", "240"],
    "quarkus.http.port=65536": ["quarkus.http.port", "65536", "65535"],
    "kms.circuit-breaker.failure-ratio=1.5": ["kms.circuit-breaker.failure-ratio", "1.5"],
    "kms.rotation.enabled=maybe": ["kms.rotation.enabled", "maybe", "true"],
    "betrace.admin.anonymous=sometimes": ["betrace.admin.anonymous", "sometimes", "loopback"],
    "quarkus.log.level=LOUD": ["quarkus.log.level", "LOUD", "INFO"],
    "aws.kms.endpoint=ftp://x": ["aws.kms.endpoint", "ftp://x", "http"],
    "kms.rotation.check-cron=every day": ["kms.rotation.check-cron", "every day"],
    "betrace.kms.store.url=mysql://x": ["betrace.kms.store.url", "mysql", "sqlite:"],
    "kms.timeout-ms=${NOWHERE}": ["kms.timeout-ms", "NOWHERE"],
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_value_ends_start_up_and_names_key_value_and_source(tmp_path, line):
    (tmp_path / "application.properties").write_text(f"# first line\n{line}\n")
    for command in ("serve", "config"):
        done = cli(command, cwd=tmp_path)
        assert done.returncode == 2, (command, done.stdout, done.stderr)
        for word in [*WRONG[line], "application.properties:2"]:
            assert word in done.stderr, (word, done.stderr)
    name, value = line.split("=", 1)
    done = cli("serve", f"-D{name}={value}", cwd=tmp_path)
    assert done.returncode == 2 and name in done.stderr and "-D" in done.stderr


def test_a_wrong_variable_is_named(tmp_path):
    done = cli("serve", cwd=tmp_path, env={"KMS_TIMEOUT_MS": "soon"})
    assert done.returncode == 2
    for word in ("kms.timeout-ms", "soon", "KMS_TIMEOUT_MS"):
        assert word in done.stderr


def test_an_unknown_key_warns_with_the_nearest_known_name(tmp_path):
    (tmp_path / "application.properties").write_text(
        "kms.cache.max-sise=1\nspring.datasource.url=x\n")
    done = cli("config", cwd=tmp_path)
    assert done.returncode == 0
    assert "kms.cache.max-sise" in done.stderr and "kms.cache.max-size" in done.stderr
    assert "spring.datasource.url" not in done.stderr


def test_an_unknown_provider_is_refused_in_the_words_users_know(tmp_path):
    (tmp_path / "application.properties").write_text("betrace.kms.provider=x\n")
    done = cli("serve", cwd=tmp_path)
    assert done.returncode == 2
    assert ("Unknown KMS provider: 'x'. Supported: local, aws, vault, gcp, azure, pkcs11"
            in done.stderr)


@pytest.mark.parametrize("name,key", [
    ("vault", "vault.token"), ("gcp", "gcp.kms.project-id"), ("AZURE", "azure.keyvault.uri"),
    ("pkcs11", "pkcs11.module")])
def test_a_provider_without_its_settings_names_what_is_missing(tmp_path, name, key):
    done = cli("serve", f"-Dbetrace.kms.provider={name}", cwd=tmp_path)
    assert done.returncode == 2
    assert key in done.stderr


def test_aws_without_a_master_key_says_which_key_is_missing(tmp_path):
    done = cli("serve", "-Dbetrace.kms.provider=aws", cwd=tmp_path)
    assert done.returncode == 2
    assert "aws.kms.master-key-id" in done.stderr


def test_a_configuration_file_that_does_not_exist_is_said(tmp_path):
    done = cli("serve", "--config", "nowhere.properties", cwd=tmp_path)
    assert done.returncode == 2 and "nowhere.properties" in done.stderr


def test_the_provider_is_not_case_sensitive(daemons):
    daemon = daemons({"betrace.kms.provider": "LOCAL"})
    assert daemon.status()["provider"] == "local"


# --- commands -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("cli")).start()
    daemon.create("acme")
    daemon.wait_health("UP")
    yield daemon
    assert daemon.stop() == 0


COMMANDS = ["serve", "status", "health", "validate", "tenants", "sign", "verify", "encrypt",
            "decrypt", "rewrap", "revoke", "keys", "rotate", "rotation-report", "migrate",
            "config", "version"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(tmp_path, command):
    done = cli(command, "--help", cwd=tmp_path)
    assert done.returncode == 0 and command in done.stdout


def test_the_program_itself_has_help_and_lists_its_commands(tmp_path):
    done = cli("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert not [command for command in COMMANDS if command not in done.stdout]


@pytest.mark.parametrize("words", [["nonsense"], ["sign"], ["status", "--nonsense"], [],
                                   ["verify", "--tenant", "acme"], ["sign", "--tenant", "a/b"],
                                   ["encrypt", "--tenant", "acme", "-c", "no-equals-sign"]])
def test_wrong_usage_is_2(shared, words):
    done = shared.cli(*words, input="")
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr or done.stdout


@pytest.mark.parametrize("words", [["status"], ["health"], ["validate"], ["tenants", "list"],
                                   ["sign", "--tenant", "acme"]])
def test_no_service_is_3(tmp_path, words):
    url = f"http://127.0.0.1:{free_port()}"
    done = cli(*words, "--url", url, cwd=tmp_path, input="x", env={"ADMIN_TOKEN": "x" * 20})
    assert done.returncode == 3
    assert url in done.stderr


def test_commands_find_address_and_token_by_themselves(shared, tmp_path):
    done = shared.cli("status")
    assert done.returncode == 0 and "local" in done.stdout
    elsewhere = clean_environment(tmp_path, BETRACE_KMS_URL=shared.url, ADMIN_TOKEN=shared.token)
    done = shared.cli("tenants", "list", cwd=tmp_path, env=elsewhere)
    assert done.returncode == 0 and "acme" in done.stdout.split()
    token = tmp_path / "token"
    token.write_text(shared.token + "\n")
    done = cli("tenants", "list", "--url", shared.url, "--token-file", str(token), cwd=tmp_path)
    assert done.returncode == 0 and "acme" in done.stdout.split()
    done = cli("tenants", "list", "--url", shared.url, cwd=tmp_path,
               env={"ADMIN_TOKEN": "wrong-token-wrong-token"})
    assert done.returncode in (1, 2) and "unauthenticated" in done.stderr


def test_a_file_is_signed_and_verified(shared, tmp_path):
    report = tmp_path / "report.pdf"
    report.write_bytes(bytes(range(256)) * 10)
    signature = shared.cli("sign", "--tenant", "acme", str(report))
    assert signature.returncode == 0 and len(unb64(signature.stdout.strip())) == 64
    good = shared.cli("verify", "--tenant", "acme", "--signature", signature.stdout.strip(),
                      str(report))
    assert good.returncode == 0 and "valid" in good.stdout
    other = tmp_path / "other"
    other.write_bytes(b"another")
    bad = shared.cli("verify", "--tenant", "acme", "--signature", signature.stdout.strip(),
                     str(other))
    assert bad.returncode == 1 and "invalid" in bad.stdout
    (tmp_path / "signature").write_text(signature.stdout)
    again = shared.cli("verify", "--tenant", "acme", "--signature", f"@{tmp_path}/signature",
                       "--json", str(report))
    assert again.returncode == 0 and json.loads(again.stdout)["valid"] is True


def test_standard_input_and_raw_output(shared, tmp_path):
    done = subprocess.run([program(), "sign", "--tenant", "acme", "--raw"], input=b"from a pipe\x00",
                          capture_output=True, cwd=shared.folder, env=shared.environment(),
                          timeout=30)
    assert done.returncode == 0 and len(done.stdout) == 64
    assert shared.verifies("acme", b"from a pipe\x00", b64(done.stdout))["valid"]
    (tmp_path / "raw").write_bytes(done.stdout)
    done = subprocess.run([program(), "verify", "--tenant", "acme", "--signature",
                           f"@{tmp_path}/raw"], input=b"from a pipe\x00", capture_output=True,
                          cwd=shared.folder, env=shared.environment(), timeout=30)
    assert done.returncode == 0


def test_encrypt_and_decrypt_give_back_the_bytes(shared, tmp_path):
    secret = bytes(range(256))
    (tmp_path / "secret").write_bytes(secret)
    sealed = shared.cli("encrypt", "--tenant", "acme", "-c", "user=42", "-c", "x=a=b",
                        str(tmp_path / "secret"))
    assert sealed.returncode == 0 and sealed.stdout.startswith("betrace:v1:")
    assert shared.decrypt("acme", sealed.stdout.strip(), {"user": "42", "x": "a=b"}) == secret
    (tmp_path / "sealed").write_text(sealed.stdout)
    command = [program(), "decrypt", "--tenant", "acme", "-c", "user=42", "-c", "x=a=b"]
    done = subprocess.run([*command, tmp_path / "sealed"], capture_output=True, cwd=shared.folder,
                          env=shared.environment(), timeout=30)
    assert done.returncode == 0 and done.stdout == secret
    wrong = shared.cli("decrypt", "--tenant", "acme", "-c", "user=43", str(tmp_path / "sealed"))
    assert wrong.returncode in (1, 2) and "invalid_ciphertext" in wrong.stderr


def test_reports_have_a_json_form(shared):
    for words in (["status"], ["health"], ["validate"], ["tenants", "list"],
                  ["tenants", "show", "acme"], ["rotate", "--tenant", "acme"], ["version"],
                  ["config"], ["public-keys", "--tenant", "acme"], ["keys", "list", "-t", "acme"],
                  ["rotate", "--all", "--dry-run"], ["rotation-report"]):
        done = shared.cli(*words, "--json")
        assert done.returncode == 0, (words, done.stderr)
        assert isinstance(json.loads(done.stdout), dict), words


def test_tenants_are_created_and_an_unknown_one_is_1(shared):
    done = shared.cli("tenants", "create", "by-command")
    assert done.returncode == 0 and "created" in done.stdout
    assert shared.cli("tenants", "create", "by-command").returncode == 0
    done = shared.cli("sign", "--tenant", "nobody", input="x")
    assert done.returncode == 1 and "tenant_not_found" in done.stderr


def test_a_failed_check_is_1(daemons, fake_kms):
    fake_kms.error("AccessDeniedException", "not authorized to perform: kms:GenerateDataKey")
    daemon = daemons(aws_properties(fake_kms, fake_kms.key_arn), environment=aws_environment())
    daemon.wait_health("DOWN")
    for words in (["health"], ["validate"], ["status"]):
        done = daemon.cli(*words)
        assert done.returncode == 1, (words, done.stdout, done.stderr)
        assert "kms:GenerateDataKey" in done.stdout, words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(tmp_path, shell):
    done = cli("completion", shell, cwd=tmp_path)
    assert done.returncode == 0 and "betrace-kms" in done.stdout and "rotate" in done.stdout
    if shell == "bash":
        assert run(["bash", "-n"], input=done.stdout).returncode == 0


# --- the daemon as its surroundings see it --------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_a_tls_listener_serves_whoever_trusts_its_certificate(daemons, certificate):
    cert, key = certificate
    port = free_port()
    daemon = daemons({"quarkus.http.ssl-port": port, "quarkus.http.ssl.certificate.files": cert,
                      "quarkus.http.ssl.certificate.key-files": key})
    url = f"https://localhost:{port}/q/health/live"
    done = run(["curl", "-sS", "--cacert", cert, url])
    assert done.returncode == 0 and json.loads(done.stdout)["status"] == "UP"
    assert run(["curl", "-sS", url]).returncode == 60
    assert run(["curl", "-sS", "--cacert", cert, "--tls-max", "1.1", url]).returncode != 0
    daemon.scheme, daemon.verify = "https", str(cert)
    plain, daemon.port = daemon.port, port
    daemon.create("acme")
    assert daemon.verifies("acme", b"x", daemon.sign("acme", b"x")["signature"])["valid"]
    daemon.port, daemon.scheme = plain, "http"


def test_with_insecure_requests_disabled_there_is_no_plain_port(daemons, certificate):
    cert, key = certificate
    port = free_port()
    daemon = daemons({"quarkus.http.ssl-port": port, "quarkus.http.ssl.certificate.files": cert,
                      "quarkus.http.ssl.certificate.key-files": key,
                      "quarkus.http.insecure-requests": "disabled"}, start=False)
    plain, daemon.port, daemon.scheme, daemon.verify = daemon.port, port, "https", str(cert)
    daemon.start()
    assert run(["curl", "-s", f"http://127.0.0.1:{plain}/q/health/live"]).returncode == 7
    done = daemon.cli("tenants", "create", "acme")
    assert done.returncode == 0, done.stderr


def test_a_certificate_that_is_missing_ends_start_up(daemons, tmp_path):
    daemon = daemons({"quarkus.http.ssl.certificate.files": tmp_path / "no.pem",
                      "quarkus.http.ssl.certificate.key-files": tmp_path / "no.key"}, start=False)
    daemon.start(ready=False)
    assert daemon.wait() == 2 and str(tmp_path / "no.pem") in daemon.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_a_signal_ends_an_idle_daemon_at_once_with_0(daemons, number):
    daemon = daemons()
    started = time.monotonic()
    daemon.signal(number)
    assert daemon.wait() == 0
    assert time.monotonic() - started < 3


def test_sighup_reopens_the_log_after_logrotate_has_moved_it(daemons):
    daemon = daemons()
    moved = daemon.log_path.with_suffix(".1")
    daemon.log_path.rename(moved)
    daemon.signal(signal.SIGHUP)
    until(daemon.log_path.exists, 5, "a new log file")
    daemon.create("acme")
    until(lambda: daemon.log_lines("verb=create-tenant"), 5, "the line in the new file")


def test_listening_beyond_loopback_without_tls_warns(daemons):
    daemon = daemons({"quarkus.http.host": "0.0.0.0"})
    until(lambda: [line for line in daemon.log_lines("WARN")
                   if "0.0.0.0" in line and "TLS" in line], 5, "the warning")


def test_log_lines_have_the_shape_users_grep(daemons):
    daemon = daemons()
    import re
    shape = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO |WARN |ERROR|DEBUG|TRACE) "
                       r"\[[\w.]+\] \([^)]+\) .+")
    lines = daemon.log().splitlines()
    assert lines and not [line for line in lines if not shape.match(line)]


def test_json_logs_are_json_lines(daemons):
    daemon = daemons({"quarkus.log.console.json": "true"})
    lines = [json.loads(line) for line in daemon.text().splitlines()]
    assert any("Initializing KMS provider: local" in str(line.get("message")) for line in lines)


def test_the_log_level_changes_while_running(daemons):
    daemon = daemons({"kms.cache.warm-tenants": 0})
    daemon.create("acme")
    category = "com.betrace.services.KeyRetrievalService"
    answer = daemon.put("/api/admin/log-level", json={"category": category, "level": "DEBUG"})
    assert answer.status_code in (200, 204), answer.text
    daemon.get("/api/tenants/acme/public-keys")
    daemon.ok("POST", "/api/tenants/acme/rotate")
    daemon.sign("acme", b"x")
    until(lambda: [line for line in daemon.log_lines(
        "Cache miss for signing key, loading from KMS: tenant ")
        if line.endswith("tenant acme")], 5, "a cache miss in the log")


PROMETHEUS_ACCEPT = ("application/openmetrics-text;version=1.0.0;q=0.5,"
                     "text/plain;version=0.0.4;q=0.2,*/*;q=0.1")


def test_prometheus_gets_metadata_that_promtool_finds_sound(daemons):
    daemon = daemons()
    daemon.create("acme")
    daemon.sign("acme", b"x")
    answer = daemon.get("/q/metrics", token=None, headers={"Accept": PROMETHEUS_ACCEPT})
    assert answer.headers["content-type"].startswith("text/plain")
    assert "# HELP kms_errors_total" in answer.text
    assert "# TYPE kms_retrieve_signing_key_seconds histogram" in answer.text
    assert shutil.which("promtool"), "promtool is missing: run tools/install-test-deps"
    done = run(["promtool", "check", "metrics"], input=answer.text)
    assert done.returncode == 0, done.stdout + done.stderr


def test_curl_gets_samples_only_and_every_closed_series_from_the_start(daemons):
    daemon = daemons()
    text = daemon.get("/q/metrics", token=None).text
    assert "#" not in text
    metrics = daemon.metrics()
    for name in ([f'kms_cache_{what}_total{{key_type="{key}"}}' for what in ("hit", "miss")
                  for key in ("signing", "public", "encryption")]
                 + [f'circuit_breaker_state{{name="kms-{key}-key"}}'
                    for key in ("signing", "public", "encryption")]
                 + [f'cache_size{{cache="{key}"}}'
                    for key in ("privateKeys", "publicKeys", "encryptionKeys")]
                 + [f'cache_evictions_total{{cache="privateKeys",cause="{cause}"}}'
                    for cause in ("size", "expired", "explicit")]
                 + ["kms_rotation_success_total", "kms_rotation_failures_total",
                    "kms_tenants_rotated_total", "kms_signatures_total"]):
        assert name in metrics, name
    assert any(name.startswith("kms_errors_total{") for name in metrics)
    assert "kms_last_rotation_timestamp_seconds" not in metrics
    buckets = [name for name in metrics if name.startswith("kms_retrieve_signing_key_seconds_b")]
    assert len(buckets) == 18


def test_aliases_and_cache_config_answer(daemons):
    daemon = daemons({"kms.cache.max-size": 123})
    assert daemon.get("/health", token=None).status_code == 200
    assert daemon.get("/metrics", token=None).status_code == 200
    got = daemon.ok("GET", "/api/admin/cache/config", token=None)
    assert got["maxEntries"] == 123
    assert set(got) >= {"privateKeyTTL", "publicKeyTTL", "encryptionKeyTTL", "maxEntries"}


def test_anonymous_reading_can_be_switched_off(daemons):
    daemon = daemons({"betrace.admin.anonymous": "never"})
    assert daemon.get("/api/admin/kms/status", token=None).status_code == 401
    assert daemon.get("/api/admin/kms/status").status_code == 200
    assert daemon.get("/q/health/live", token=None).status_code == 200


def test_public_keys_can_be_made_public(daemons):
    daemon = daemons({"betrace.kms.public-keys.anonymous": "true"})
    daemon.create("acme")
    for path in ("/api/tenants/acme/public-keys", "/api/tenants/acme/jwks.json",
                 "/api/public-keys"):
        assert daemon.get(path, token=None).status_code == 200
    assert daemon.get("/api/tenants/acme", token=None).status_code == 401


def test_a_data_directory_that_is_a_file_is_refused(daemons):
    daemon = daemons(start=False)
    daemon.data.write_text("not a directory")
    daemon.start(ready=False)
    assert daemon.wait() == 2 and str(daemon.data) in daemon.text()
    os.unlink(daemon.data)
