"""What test_manual.py does with each fenced block of the manual, by its place, and where the users'
own manual differs."""

import dataclasses

from harness.fenced import CannotRun, Loads, Runs


@dataclasses.dataclass(frozen=True)
class Shown:
    """Not a command: what it says is shown by a test of this file, or Suite.Name of the sources."""
    by: str


ARN = "arn:aws:kms:us-east-1:123456789012:key/abcd-1234-..."
KEY = {ARN: "{key}"}
ENDPOINT = {"https://kms.us-east-1.amazonaws.com": "{aws}"}
TEMPORARY = {"/tmp": "{tmp}"}
# The emulator of the rest has no Cost Explorer.
MOTO = {"AWS_ENDPOINT_URL": "{moto}"}
MISMATCH = """
call() { curl -s -H "Authorization: Bearer $ADMIN_TOKEN" "http://localhost:8080/api/tenants/$@"; }
sealed=$(call acme/encrypt -d '{"plaintext":"eA==","context":{"tenantId":"abc-123"}}' |
  jq -c '.context = {"tenant_id": "abc-123"}')
call acme/decrypt -d "$sealed" | grep invalid_ciphertext
"""
HITS = """
for i in $(seq 40); do
  curl -sf -H "Authorization: Bearer $ADMIN_TOKEN" http://localhost:8080/api/tenants/acme/sign \\
    -d '{"payload":"eA=="}'
done
"""
RATE = r"^Cache hit rate: \d+\.\d\d%$"
PASSES = [rf'^    "{test}": "PASS",?$' for test in (
    "generate_data_key", "encrypt", "decrypt", "describe_key", "key_retrieval_cache_miss",
    "key_retrieval_cache_hit")]
LATENCIES = [rf'^    "{name}": [\d.]+,?$' for name in (
    "generate_data_key", "encrypt", "decrypt", "describe_key", "cache_miss", "cache_hit")]
DATA_KEY = ('"CiphertextBlob": "', '"Plaintext": "')

ROWS = {
    "Quick Diagnostic Commands": Runs(prints=(
        "^betrace.kms.provider=aws$",
        r'^  "name": "kms",\n  "status": "UP",\n  "data": {\n    "provider": "aws",\n'
        r'    "latency_ms": \d+,\n    "status": "operational"',
        '^  "provider": "aws",\n  "overall": "PASS"', *PASSES, *LATENCIES,
        r'^  "recommendations": \[',
        '^  "provider": "aws",\n  "status": "HEALTHY"', r'^  "cache_size": \d+',
        r'^  "cache_private_keys": \d+', r'^  "cache_public_keys": \d+',
        r'^  "cache_encryption_keys": \d+', r'^  "issues": \[\]',
        "Initializing KMS provider: aws$",
        r'^kms_errors_total\{operation="\w+",error="\w+"\} \d+$')),

    "Issue 1": Shown("test_aws_words_for_a_denied_call_are_in_the_log"),
    "Issue 1 #2": Runs(prints=(
        '"AttachedPolicies": ', '"betrace-kms-access"', '"kms:DescribeKey"')),
    "Issue 1 #3": Shown("test_the_policy_allows_what_the_service_calls_and_nothing_else"),
    "Issue 1 #4": Runs(),
    "Issue 1 #5": Runs(KEY, prints=DATA_KEY),

    "Issue 2": Shown("test_health_is_down_as_quoted"),
    "Issue 2 #2": Runs(KEY | ENDPOINT, prints=(
        "^< HTTP/1.1 ", '"KeyId": ', '^"Enabled"$')),
    "Issue 2 #3": Runs({"sg-abc123": "{group}"}, prints=(
        '"IpProtocol": "-1"', r'"CidrIp": "0\.0\.0\.0/0"')),
    "Issue 2 #4": Runs({ARN: "{disabled key}"}),
    "Issue 2 #5": Runs({ARN: "{dying key}"}, prints=("{dying key}",)),
    "Issue 2 #6": Runs(prints=('^"UP"$',)),

    "Issue 3": Shown("test_local_says_that_it_is_not_for_production"),
    "Issue 3 #2": Runs(prints=("^aws$",)),
    "Issue 3 #3": Loads(KEY),
    "Issue 3 #4": Runs({"betrace-kms serve": "betrace-kms -Dquarkus.http.port=0 "
                        "-Dbetrace.kms.data-dir={data of another} "
                        "-Dquarkus.log.file.enable=false serve"}, endless=True, prints=(
        "Initializing KMS provider: aws$", "Using AWS KMS - region: us-east-1, key: ",
        "listening on http://127.0.0.1:")),
    "Issue 3 #5": Runs(prints=("^aws$",)),

    "Issue 4": Shown("test_the_latencies_of_validation_are_as_quoted"),
    "Issue 4 #2": Runs(KEY, prints=("^aws.kms.region=us-east-1$", "^us-east-1", *DATA_KEY,
                                    r"^real\t")),
    "Issue 4 #3": Runs(prints=('"VpcEndpointType": "Interface"',)),
    "Issue 4 #4": Runs(prints=(r"^\d+(\.\d+)?$",)),

    "Issue 5": Runs(before=HITS, prints=(r"^Cache hit rate: ([89]\d|100)\.\d\d%$",)),
    "Issue 5 #2": Runs(before="echo kms.cache.max-size=1000 >> application.properties",
                       prints=("^kms.cache.max-size=1000$", r"^\d+$")),
    "Issue 5 #3": Loads(),
    "Issue 5 #4": Loads(),
    "Issue 5 #5": Loads(),  # the Java of the manual: KeyServiceTest.WarmsTheTenantsThatWereActive
    "Issue 5 #6": Runs(),

    "Issue 6": Shown("test_an_unknown_provider_is_refused_as_quoted"),
    "Issue 6 #2": Runs(prints=("^betrace.kms.provider=aws$",)),
    "Issue 6 #3": Loads(KEY),
    "Issue 6 #4": Runs(prints=("^aws$",)),

    "Issue 7": Shown("test_the_rotation_alert_says_what_is_quoted"),
    "Issue 7 #2": Runs(before="until betrace-kms rotate --all; do sleep 0.1; done", prints=(
        r"^kms_last_rotation_timestamp_seconds \d+(\.\d+)?$",
        r"^Days since last rotation: (0|100)$", r"\[com\.betrace\.kms\.KeyRotationScheduler\]")),
    "Issue 7 #3": Loads(),
    "Issue 7 #4": Runs(prints=('"total_tenants"',)),
    "Issue 7 #5": Runs(before="until betrace-kms rotate --all; do sleep 0.1; done",
                       prints=(r"Key rotation complete: \d+ signing keys rotated",)),

    "Issue 8": Shown("test_another_context_is_refused_as_quoted"),
    "Issue 8 #2": Runs(before=MISMATCH, prints=(
        "The encryption context provided does not match the encryption context",)),
    "Issue 8 #3": Shown("KeyServiceTest.DecryptsOnlyForTheSameTenantAndContext"),
    "Issue 8 #4": Shown("KeyServiceTest.DecryptsOnlyForTheSameTenantAndContext"),
    "Issue 8 #5": Runs(prints=('^"PASS"\n"PASS"$',)),

    "Issue 9": CannotRun("a bill, which nobody but AWS writes"),
    "Issue 9 #2": Runs(KEY, before=HITS, prints=('"Label": "SuccessfulRequest"', RATE)),
    "Issue 9 #3": Loads(),
    "Issue 9 #4": Shown("test_the_cost_calculation_is_right_as_a_product"),
    "Issue 9 #5": Runs(environment=MOTO, prints=('"ResultsByTime"',)),

    "Issue 10": Shown("test_an_open_breaker_says_what_is_quoted"),
    "Issue 10 #2": Runs(prints=(r'^circuit_breaker_state\{name="kms-signing-key"\} 0$',
                                r"^kms_errors_total\{")),
    "Issue 10 #3": Runs(endless=True, prints=(
        r'circuit_breaker_state\{name="kms-signing-key"\} 0',)),
    "Issue 10 #4": CannotRun("needs systemd as the machine's first process"),

    "Enable Debug Logging": Loads(),
    "Enable Debug Logging #2": Runs(endless=True, prints=(r"\[com\.betrace\.kms",)),
    "Test KMS Directly (Bypass BeTrace)": Runs(KEY | TEMPORARY, prints=(*DATA_KEY, "{plaintext}")),
    "Inspect OpenTelemetry Traces": CannotRun("needs Grafana Tempo, which no registry has"),
    "Performance Profiling": Runs(prints=(
        r'^kms_retrieve_signing_key_seconds_bucket\{le="0\.1"\} \d+$',)),
    "Before Escalating": Runs(
        TEMPORARY | {"betrace-kms config": "betrace-kms --config {config} config"},
        environment={"AWS_KMS_KEY_ARN": "{key}"}, prints=("^Diagnostic bundle created: ",)),

    "Q: Can I use KMS from a different AWS account?": Shown(
        "test_the_key_policy_for_another_account_is_accepted"),
    "Q: Can I rotate AWS KMS master keys automatically?": Runs(
        KEY, prints=('"KeyRotationEnabled": true',)),
    "Q: Can I rotate AWS KMS master keys automatically? #2": Loads(),
    "Q: Can I use LocalStack to test AWS KMS integration?": Loads(
        {"docker run -d -p 4566:4566 -e SERVICES=kms localstack/localstack":
         "# from PyPI: test_aws_localstack.py"}),
}
# What the users' manual has instead, in words of DIFFERENCES.
DIFFERENT = {
    "Quick Diagnostic Commands": ["backend/src/main/resources/application.properties"],
    "Issue 2": ['"error": "Failed to generate data key: '],
    "Issue 2 #3": ["Port: 0-65535"],
    "Issue 2 #5": ["aws kms cancel-key-deletion"],
    "Issue 3 #3": ["backend/src/main/resources/application.properties"],
    "Issue 3 #4": ["nix run .#backend"],
    "Issue 4 #2": ["curl http://169.254.169.254/latest/meta-data/placement/region"],
    "Issue 4 #3": ["--route-table-ids rtb-abc123", "com.amazonaws.us-east-1.kms"],
    "Issue 4 #4": ["Expected: <100ms"],
    "Issue 5": ["scale=2; $hits / ($hits + $misses) * 100", "Output: 45%"],
    "Issue 5 #4": ["  # "],
    "Issue 5 #5": ["getActiveT enants"],
    "Issue 6": ["UnsupportedOperationException: VaultKmsAdapter not yet implemented",
                "Supported providers: 'aws' (production), 'local' (development only)."],
    "Issue 6 #2": ["betrace.kms.provider=vault"],
    "Issue 7": ["Key rotation has not occurred for 95 days"],
    "Issue 7 #3": ["  # "],
    "Issue 7 #5": ["Wait 24 hours, then check"],
    "Issue 8 #3": ['kms.generateDataKey("AES_256", context)'],
    "Issue 8 #4": ["kms.decrypt(encrypted, context2)"],
    "Issue 9 #2": ["grep kms_cache_hit_total | awk '{print $2}'", "kms_cache_miss_total",
                   "scale=2; $hits / ($hits + $misses) * 100", "--metric-name NumberOfRequests",
                   "--dimensions Name=KeyId,"],
    "Issue 9 #3": ["  # "],
    "Issue 9 #5": ["Start=2025-10-01,End=2025-10-31"],
    "Test KMS Directly (Bypass BeTrace)": ["--plaintext fileb:///tmp/plaintext.txt", "base64"],
    "Inspect OpenTelemetry Traces": [
        "http://localhost:3100/api/search?tags=span.error=true&tags=span.kms.*"],
    "Before Escalating": ['grep -A 10 "KMS" /path/to/application.properties > config.txt'],
}
