"""The commands of the user's manual, as they stand there but for the address, the configuration's
path and the log's path, under `local` and under `aws`."""

import json
import time

import pytest

from harness.aws import aws_environment, aws_properties
from harness.process import clean_environment
from harness.servers import run

CONFIGURATION = "backend/src/main/resources/application.properties"
LOG = "/var/log/betrace/backend.log"

PROVIDER = 'grep "betrace.kms.provider" backend/src/main/resources/application.properties'
HEALTH = ("curl http://localhost:8080/q/health/ready"
          " | jq '.checks[] | select(.name == \"kms\")'")
VALIDATE = "curl -X POST http://localhost:8080/api/admin/kms/validate | jq ."
STATUS = "curl http://localhost:8080/api/admin/kms/status | jq ."
ERRORS_IN_LOG = r'grep "KmsException\|KMS\|kms" /var/log/betrace/backend.log | tail -n 50'
ERRORS_COUNTED = "curl -s http://localhost:8080/q/metrics | grep kms_errors_total"

HIT_RATE = r"""
hits=$(curl -s http://localhost:8080/q/metrics | grep 'kms_cache_hit_total{key_type="signing"}' | awk '{print $2}')
misses=$(curl -s http://localhost:8080/q/metrics | grep 'kms_cache_miss_total{key_type="signing"}' | awk '{print $2}')
hit_rate=$(echo "scale=2; $hits / ($hits + $misses) * 100" | bc)
echo "Cache hit rate: ${hit_rate}%"
"""
DAYS_SINCE_ROTATION = r"""
last_rotation=$(curl -s http://localhost:8080/q/metrics | grep kms_last_rotation_timestamp_seconds | awk '{print $2}')
current_time=$(date +%s)
days_since_rotation=$(( ($current_time - $(echo $last_rotation | cut -d. -f1)) / 86400 ))
echo "Days since last rotation: $days_since_rotation"
"""
BREAKER = ("curl -s http://localhost:8080/q/metrics"
           " | grep 'circuit_breaker_state{name=\"kms-signing-key\"}'")
BUNDLE = r"""
curl http://localhost:8080/q/health/ready > health.json
curl -X POST http://localhost:8080/api/admin/kms/validate > validation.json
curl http://localhost:8080/api/admin/kms/status > status.json
curl -s http://localhost:8080/q/metrics | grep kms_ > metrics.txt
grep -A 5 -B 5 "KmsException\|KMS\|kms" /var/log/betrace/backend.log | tail -n 200 > logs.txt
tar -czf bundle.tar.gz health.json validation.json status.json metrics.txt logs.txt
"""
VALIDATE_TESTS = {"generate_data_key", "encrypt", "decrypt", "describe_key",
                  "key_retrieval_cache_miss", "key_retrieval_cache_hit"}
LATENCIES = {"generate_data_key", "encrypt", "decrypt", "describe_key", "cache_miss", "cache_hit"}


class Shell:
    """The manual's reader, sitting at the daemon's machine."""

    def __init__(self, daemon):
        self.daemon = daemon

    def __call__(self, command):
        for manual, ours in ((CONFIGURATION, self.daemon.config), (LOG, self.daemon.log_path),
                             ("localhost:8080", f"localhost:{self.daemon.port}")):
            command = command.replace(manual, str(ours))
        done = run(["bash", "-e", "-o", "pipefail", "-c", command], cwd=self.daemon.folder,
                   env=clean_environment(self.daemon.folder))
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, command):
        return json.loads(self(command))


@pytest.fixture(params=["local", "aws"])
def provider(request):
    return request.param


@pytest.fixture
def shell(provider, daemons, ministack):
    if provider == "local":
        daemon = daemons({"betrace.kms.provider": "local"})
    else:
        key = ministack.client("kms").create_key()["KeyMetadata"]["Arn"]
        daemon = daemons(aws_properties(ministack, key), environment=aws_environment())
    daemon.wait_health("UP")
    return Shell(daemon)


def test_the_six_quick_commands_print_what_the_manual_says(shell, provider):
    assert shell(PROVIDER) == f"betrace.kms.provider={provider}\n"

    check = shell.json(HEALTH)
    assert check["name"] == "kms" and check["status"] == "UP"
    data = check["data"]
    assert data["provider"] == provider and data["status"] == "operational"
    assert type(data["latency_ms"]) is int

    report = shell.json(VALIDATE)
    assert report["overall"] == "PASS" and report["provider"] == provider
    assert report["tests"] == dict.fromkeys(VALIDATE_TESTS, "PASS")
    assert set(report["latency_ms"]) == LATENCIES
    assert all(type(ms) in (int, float) and ms >= 0 for ms in report["latency_ms"].values())
    assert isinstance(report["recommendations"], list)

    status = shell.json(STATUS)
    assert status["provider"] == provider
    assert status["status"] == {"local": "WARNING", "aws": "HEALTHY"}[provider]
    for name in ("cache_size", "cache_private_keys", "cache_public_keys",
                 "cache_encryption_keys"):
        assert type(status[name]) is int, name
    assert isinstance(status["issues"], list)

    assert f"Initializing KMS provider: {provider}" in shell(ERRORS_IN_LOG)

    for line in shell(ERRORS_COUNTED).splitlines():
        name, value = line.rsplit(" ", 1)
        assert name.startswith("kms_errors_total{operation=") and float(value) == 0, line


def test_the_single_values_of_the_manual_are_single_values(shell, provider):
    url = "curl http://localhost:8080"
    assert shell(f"{url}/q/health/ready | jq '.checks[] | select(.name == \"kms\").status'"
                 ) == '"UP"\n'
    assert shell(f"{url}/api/admin/kms/status | jq -r '.provider'") == f"{provider}\n"
    post = "curl -X POST http://localhost:8080/api/admin/kms/validate"
    latency = shell(f"{post} | jq '.latency_ms.generate_data_key'")
    assert float(latency) >= 0
    assert shell(f"{post} | jq '.tests.encrypt, .tests.decrypt'") == '"PASS"\n"PASS"\n'
    assert int(shell(f"{url}/api/admin/kms/status | jq '.cache_size'")) >= 0
    assert shell(BREAKER) == 'circuit_breaker_state{name="kms-signing-key"} 0\n'


def test_the_hit_rate_pipeline_yields_one_number(shell):
    daemon = shell.daemon
    daemon.create("acme")
    for _ in range(40):
        daemon.sign("acme", b"x")
    before = daemon.metrics()
    hits = before['kms_cache_hit_total{key_type="signing"}']
    misses = before['kms_cache_miss_total{key_type="signing"}']
    words = shell(HIT_RATE)
    assert words.startswith("Cache hit rate: ") and words.endswith("%\n")
    rate = float(words.removeprefix("Cache hit rate: ").removesuffix("%\n"))
    assert abs(rate - 100 * hits / (hits + misses)) < 1.1
    assert rate > 80


def test_issue_9_sums_the_hits_of_all_key_types(shell):
    daemon = shell.daemon
    daemon.create("acme")
    daemon.sign("acme", b"x")
    daemon.encrypt("acme", b"x")
    total = shell("curl -s http://localhost:8080/q/metrics | grep kms_cache_hit_total"
                  " | awk '{s+=$2} END {print s}'")
    metrics = daemon.metrics()
    assert float(total) == sum(value for name, value in metrics.items()
                               if name.startswith("kms_cache_hit_total"))


def test_the_days_since_rotation_are_counted(shell):
    shell.daemon.create("acme")
    shell.daemon.restart()
    assert shell(DAYS_SINCE_ROTATION) == "Days since last rotation: 0\n"
    stamp = shell.daemon.metric("kms_last_rotation_timestamp_seconds")
    assert abs(stamp - time.time()) < 300


def test_the_diagnostic_bundle_collects(shell):
    shell(BUNDLE)
    for name in ("health.json", "validation.json", "status.json"):
        json.loads((shell.daemon.folder / name).read_text())
    assert (shell.daemon.folder / "metrics.txt").read_text().count("\n") > 20
    assert (shell.daemon.folder / "bundle.tar.gz").stat().st_size > 200


def test_the_p99_histogram_has_the_alerts_boundary(shell):
    out = shell("curl -s http://localhost:8080/q/metrics"
                " | grep kms_retrieve_signing_key_seconds_bucket")
    assert 'kms_retrieve_signing_key_seconds_bucket{le="0.1"} ' in out
