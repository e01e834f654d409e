"""The troubleshooting manual, executed: every fenced block of our edition of it has a row, and the
users' own manual has the same blocks at the same places but for the differences that
docs/manual-differences.md lists."""

import dataclasses
import difflib
import json
import os
import pathlib
import re
import tarfile
import warnings

import pytest
from botocore.exceptions import ClientError

from harness.aws import aws_environment
from harness.daemon import program
from harness.fenced import CannotRun, Loads, Reader, Runs, anchors, blocks, table_faults
from harness.process import ROOT
from harness.servers import aws_client

DOCS = ROOT / "docs"
OURS = DOCS / "KMS_TROUBLESHOOTING.md"
THEIRS = pathlib.Path(os.environ.get("BETRACE_MANUAL",
                                     ROOT.parent / "shared/guide/KMS_TROUBLESHOOTING.md"))
DIFFERENCES = DOCS / "manual-differences.md"


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


def manual(path):
    """{place: block}; the issues by their numbers alone."""
    found = [dataclasses.replace(block, heading=re.sub(r"^(Issue \d+): .*", r"\1", block.heading))
             for block in blocks(path)]
    return {block.place.removeprefix(f"{path.name}: "): block for block in found}


BLOCKS = manual(OURS)
TABLE = {f"{OURS.name}: {place}": row for place, row in ROWS.items()}


def one_line(text):
    return " ".join(line.strip() for line in text.splitlines())


@pytest.fixture(scope="module")
def manual_reader(reader, ministack):
    """The reader, with what the manual says is there."""
    kms, ec2, iam = map(ministack.client, ("kms", "ec2", "iam"))
    disabled, dying = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    kms.disable_key(KeyId=disabled)
    kms.schedule_key_deletion(KeyId=dying, PendingWindowInDays=7)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    temporary = reader.daemon.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    reader.things |= {
        "disabled key": disabled, "dying key": dying, "config": reader.daemon.config,
        "group": ec2.create_security_group(
            GroupName="betrace", Description="betrace", VpcId=vpc)["GroupId"],
        "tmp": temporary, "data of another": reader.daemon.folder / "another",
        "plaintext": "dGVzdC1wbGFpbnRleHQK"}
    policy = BLOCKS["Issue 1 #3"].text
    (reader.daemon.folder / "betrace-kms-policy.json").write_text(policy)
    iam.put_role_policy(RoleName="betrace-backend-role", PolicyName="betrace-kms-access",
                        PolicyDocument=policy)
    return reader


# --- what is left behind --------------------------------------------------------------------------


def bundle_holds_its_eight_parts(reader):
    path = max(reader.things["tmp"].glob("betrace-kms-diagnostic-*.tar.gz"))
    with tarfile.open(path) as bundle:
        parts = {pathlib.Path(name).name: bundle.extractfile(name).read().decode()
                 for name in bundle.getnames() if bundle.getmember(name).isfile()}
    assert set(parts) == {"config.txt", "health.json", "validation.json", "status.json",
                          "metrics.txt", "logs.txt", "kms-key-info.json", "iam-policy.json"}
    assert json.loads(parts["health.json"])["status"] == "UP"
    assert json.loads(parts["validation.json"])["overall"] == "PASS"
    assert json.loads(parts["status.json"])["status"] == "HEALTHY"
    assert json.loads(parts["kms-key-info.json"])["KeyMetadata"]["KeyState"] == "Enabled"
    assert "kms:GenerateDataKey" in parts["iam-policy.json"]
    assert "betrace.kms.provider=aws" in parts["config.txt"]
    assert "kms_errors_total" in parts["metrics.txt"]
    assert "com.betrace.kms" in parts["logs.txt"]
    assert not [name for name, text in parts.items() if reader.daemon.token in text]


def key_is_enabled(reader, name):
    kms = aws_client("kms", reader.things["aws"])
    assert kms.describe_key(KeyId=reader.things[name])["KeyMetadata"]["KeyState"] == "Enabled"


AFTERWARDS = {
    "Issue 2 #4": lambda reader: key_is_enabled(reader, "disabled key"),
    "Issue 2 #5": lambda reader: key_is_enabled(reader, "dying key"),
    "Before Escalating": bundle_holds_its_eight_parts,
}


# --- the table ------------------------------------------------------------------------------------


def test_every_block_has_its_row():
    assert len(BLOCKS) == 60
    assert not table_faults(list(BLOCKS.values()), TABLE)
    run = [row for row in ROWS.values() if isinstance(row, (Runs, Loads))]
    assert len(run) >= 43


def test_a_block_without_a_row_and_a_row_without_a_block_are_noticed():
    some = list(BLOCKS.values())
    assert "Quick Diagnostic" in table_faults(some, dict(list(TABLE.items())[1:]))[0]
    assert "Quick Diagnostic" in table_faults(some[1:], TABLE)[0]


def sources():
    return "\n".join(path.read_text() for path in (ROOT / "tests/unit").rglob("*.cpp"))


def body_of(test):
    """The lines of a gtest `Suite.Name`, without their indentation."""
    suite, name = test.split(".")
    found = re.search(rf"^TEST(_F)?\({suite}, {name}\) \{{$(.*?)^\}}$", sources(),
                      re.MULTILINE | re.DOTALL)
    assert found, test
    return [line.strip() for line in found[2].splitlines()]


@pytest.mark.parametrize("place", [at for at, row in ROWS.items() if isinstance(row, Shown)])
def test_what_is_no_command_is_shown_by_a_test(place):
    test = ROWS[place].by
    if "." not in test:
        assert callable(globals()[test])
        return
    assert BLOCKS[place].language == "cpp"
    body = body_of(test)
    for line in BLOCKS[place].text.splitlines():
        assert line.startswith("//") or line.strip() in body, line


def test_java_has_a_tested_equivalent():
    assert body_of("KeyServiceTest.WarmsTheTenantsThatWereActive")
    assert body_of("KeyServiceTest.ADataKeyOpensUnderItsContextAlone")


def test_the_users_manual_differs_by_what_is_listed_alone():
    if not THEIRS.exists():
        warnings.warn(f"{THEIRS} IS NOT HERE: only our own edition of the manual was run."
                      " BETRACE_MANUAL says where it is.")
        return
    theirs = manual(THEIRS)
    assert list(theirs) == list(BLOCKS)
    different = {place for place, block in theirs.items()
                 if (block.text, block.language) != (BLOCKS[place].text, BLOCKS[place].language)}
    assert different == set(DIFFERENT)
    for place in different:
        if theirs[place].language == BLOCKS[place].language:
            diff = difflib.ndiff(theirs[place].text.splitlines(), BLOCKS[place].text.splitlines())
            for line in (line[2:] for line in diff if line.startswith("- ")):
                assert any(words in line for words in DIFFERENT[place]), (
                    f"{place}: no difference is named for {line!r}")
        assert all(words in theirs[place].text for words in DIFFERENT[place]), place


def test_each_difference_is_listed():
    listed = DIFFERENCES.read_text().replace(r"\|", "|")
    for place, differences in DIFFERENT.items():
        for words in differences:
            assert words in listed, f"{place}: {words!r} does not stand in {DIFFERENCES.name}"


@pytest.mark.parametrize("place", BLOCKS)
def test_it_does_what_the_manual_says(place, manual_reader):
    row = ROWS[place]
    if isinstance(row, (Runs, Loads)):
        manual_reader.read(BLOCKS[place], row)
        AFTERWARDS.get(place, lambda reader: None)(manual_reader)


def test_the_users_own_settings_load_as_they_stand(manual_reader):
    """Their comments behind the values are cut off, and warned about."""
    if not THEIRS.exists():
        return
    for place, block in manual(THEIRS).items():
        if block.language == "properties":
            text = manual_reader.text(block, ROWS[place])
            warned, meant = manual_reader.load(text), re.sub("  +#.*", "", text)
            commented = text.splitlines() if text != meant else []
            assert [each for each in warned if "not in effect" in each] == [
                f"not in effect: {line}" for line in commented if re.search(r"=.*  #", line)]
            assert not manual_reader.load(meant)
            assert bool(warned) == (text != meant), place


# --- what it quotes -------------------------------------------------------------------------------


def test_aws_words_for_a_denied_call_are_in_the_log(aws_daemon, fake_kms):
    said = one_line(BLOCKS["Issue 1"].text).removeprefix("KmsException: ")
    daemon = aws_daemon()
    fake_kms.error("AccessDeniedException", said)
    daemon.put("/api/tenants/acme")
    assert daemon.log_lines(f"KmsException: {said}")


def log_line_as_quoted(daemon, place):
    """The level and the words; between them are category and thread."""
    level, words = BLOCKS[place].text.strip().split(maxsplit=1)
    return [line for line in daemon.log_lines(f" {level} ") if line.endswith(f") {words}")]


def shape(value):
    return {key: shape(each) for key, each in value.items()} if isinstance(
        value, dict) else type(value)


def test_health_is_down_as_quoted(aws_daemon, fake_kms):
    fake_kms.faults({"kind": "hang"})
    check = aws_daemon({"kms.timeout-ms": 300}).wait_health("DOWN")
    quoted = json.loads(BLOCKS["Issue 2"].text)
    assert shape(check) == shape(quoted)
    assert (check["data"]["error_type"], check["data"]["help_url"]) == (
        quoted["data"]["error_type"], quoted["data"]["help_url"])
    assert check["data"]["error"].startswith("Failed to ")
    assert "timed out" in check["data"]["error"]
    page, anchor = check["data"]["help_url"].split("#")
    assert anchor in anchors(ROOT / page)


def test_local_says_that_it_is_not_for_production(daemons):
    daemon = daemons({"betrace.kms.provider": "local"})
    daemon.wait_health("UP")
    assert log_line_as_quoted(daemon, "Issue 3")
    reader = Reader(daemon, program())
    reader.read(BLOCKS["Issue 3 #2"], Runs(prints=("^local$",)))
    reader.read(BLOCKS["Quick Diagnostic Commands"], Runs(prints=(
        "^betrace.kms.provider=local$", '"status": "operational"', *PASSES, *LATENCIES,
        '^  "provider": "local",\n  "status": "WARNING"', "Initializing KMS provider: local$",
        "^kms_errors_total")))


def test_the_latencies_of_validation_are_as_quoted(aws_daemon):
    measured = aws_daemon().validate()["latency_ms"]
    for name, value in json.loads(BLOCKS["Issue 4"].text)["latency_ms"].items():
        assert type(measured[name]) in (int, float) and type(value) is int
        assert measured[name] >= 0


def test_an_unknown_provider_is_refused_as_quoted(daemons):
    daemon = daemons({"betrace.kms.provider": "valt"}, start=False)
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert BLOCKS["Issue 6"].text.strip() in daemon.text()


def test_the_rotation_alert_says_what_is_quoted():
    name, words = BLOCKS["Issue 7"].text.removeprefix("ALERT: ").strip().split(" - ")
    rules = (ROOT / "monitoring/alerts.yaml").read_text()
    rule = rules[rules.index(f"- alert: {name}\n"):]
    summary = re.search(r"summary: (.*)", rule)[1]
    said = re.escape(summary).replace(re.escape("{{ $value | humanizeDuration }}"), r"95d [\w ]+")
    assert re.fullmatch(said, words), summary


def test_another_context_is_refused_as_quoted(aws_daemon):
    daemon = aws_daemon()
    daemon.create("acme")
    sealed = daemon.encrypt("acme", b"x", {"tenantId": "abc-123"})
    answer = daemon.post("/api/tenants/acme/decrypt", {
        "ciphertext": sealed, "context": {"tenant_id": "abc-123"}})
    quoted = one_line(BLOCKS["Issue 8"].text)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(quoted.removeprefix("KmsException: "))
    assert daemon.log_lines(quoted)


def test_a_storm_of_wrong_contexts_is_no_storm_of_lines(aws_daemon):
    daemon = aws_daemon()
    daemon.create("acme")
    sealed = daemon.encrypt("acme", b"x", {"a": "b"})
    results = daemon.ok("POST", "/api/tenants/acme/decrypt",
                        json={"ciphertexts": [sealed] * 500, "context": {}})["results"]
    assert all(each["error"]["code"] == "invalid_ciphertext" for each in results)
    assert 0 < len(daemon.log_lines("The encryption context provided")) < 10


def number(text):
    return float(text.replace(",", ""))


def test_the_cost_calculation_is_right_as_a_product():
    calls = re.findall(r"(\d+) req/sec × (\d+)% miss rate × (\d+) sec/day × (\d+) days",
                       BLOCKS["Issue 9 #4"].text)
    costs = re.findall(r"\(([\d,]+) / 10,000\) × \$0\.03 = \$([\d,]+)/month",
                       BLOCKS["Issue 9 #4"].text)
    saved, percent = re.search(r"Savings: \$([\d,]+)/month \((\d+)% reduction\)",
                               BLOCKS["Issue 9 #4"].text).groups()
    assert len(calls) == len(costs) == 2
    for (rate, misses, seconds, days), (count, dollars) in zip(calls, costs):
        assert number(count) == int(rate) * int(misses) / 100 * int(seconds) * int(days)
        assert number(dollars) == round(number(count) / 10_000 * 0.03)
    before, after = (number(dollars) for _, dollars in costs)
    assert number(saved) == before - after
    assert int(percent) == round(100 * (before - after) / before)


def test_an_open_breaker_says_what_is_quoted(tripped_daemon):
    assert log_line_as_quoted(tripped_daemon, "Issue 10")


# --- policies -------------------------------------------------------------------------------------


def test_the_policy_allows_what_the_service_calls_and_nothing_else(daemons, ministack):
    iam = ministack.client("iam")
    key = ministack.client("kms").create_key()["KeyMetadata"]["Arn"]
    iam.create_user(UserName="manual")
    iam.put_user_policy(UserName="manual", PolicyName="betrace-kms-access",
                        PolicyDocument=BLOCKS["Issue 1 #3"].text.replace(
                            "123456789012", key.split(":")[4]))
    made = iam.create_access_key(UserName="manual")["AccessKey"]
    credentials = {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}
    daemon = daemons({"betrace.kms.provider": "aws", "aws.kms.endpoint": ministack.url,
                      "aws.kms.master-key-id": key}, environment=aws_environment(**credentials))
    assert daemon.validate()["overall"] == "PASS"
    with pytest.raises(ClientError, match="AccessDenied"):
        aws_client("kms", ministack.url, **credentials).disable_key(KeyId=key)


def test_the_key_policy_for_another_account_is_accepted(ministack):
    kms = ministack.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    statement = json.loads(BLOCKS["Q: Can I use KMS from a different AWS account?"].text.replace(
        "BETRACE_ACCOUNT_ID", "210987654321"))
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(
        {"Version": "2012-10-17", "Statement": [statement]}))
    policy = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    assert json.loads(policy)["Statement"] == [statement]
