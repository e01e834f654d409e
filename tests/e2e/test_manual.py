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
from harness.fenced import Loads, Reader, Runs, anchors, blocks, table_faults
from harness.process import ROOT
from harness.servers import aws_client
from manual_rows import DIFFERENT, LATENCIES, PASSES, ROWS, Shown

DOCS = ROOT / "docs"
OURS = DOCS / "KMS_TROUBLESHOOTING.md"
THEIRS = pathlib.Path(os.environ.get("BETRACE_MANUAL",
                                     ROOT.parent / "shared/guide/KMS_TROUBLESHOOTING.md"))
DIFFERENCES = DOCS / "manual-differences.md"


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
