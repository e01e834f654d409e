"""Every fenced block of docs/runbooks, run against a daemon under an AWS emulator; the table says
for each what a reader replaces. What the first commands print in each failure of the provider is
compared with the decision table of kms-provider-failure.md."""

import re

import pytest

from harness.daemon import program
from harness.fenced import CannotRun, Loads, Reader, Runs, anchors, blocks, table_faults
from harness.process import ROOT
from harness.prometheus import MONITORING

FOLDER = ROOT / "docs/runbooks"
PAGES = sorted(FOLDER.glob("*.md"))

KEY = {"arn:aws:kms:us-east-1:123456789012:key/abcd-1234": "{key}"}
ROLE = {"arn:aws:iam::123456789012:role": "arn:aws:iam::000000000000:role"}
ENDPOINT = {"https://kms.us-east-1.amazonaws.com": "{aws}"}
# The emulator has no Cost Explorer.
MOTO = {"AWS_ENDPOINT_URL": "{moto}"}
# The next probe sees it: up to 10 s after the cause is gone.
HEALTHY = "until curl -sf http://localhost:8080/q/health/ready; do sleep 0.1; done"
OUTAGE = "echo 'KmsException: as in an outage' >> /var/log/betrace/backend.log"
A_MISS = """
call() { curl -sf -H "Authorization: Bearer $ADMIN_TOKEN" "$@"; }
call -X PUT http://localhost:8080/api/admin/log-level \\
  -d '{"category":"com.betrace.services.KeyRetrievalService","level":"DEBUG"}'
call -X POST http://localhost:8080/api/tenants/acme/rotate
call -X POST http://localhost:8080/api/tenants/acme/sign -d '{"payload":"eA=="}'
"""

TABLE = {
    "README.md: Before the first command": Runs(
        {"/var/lib/betrace-kms": "{data}"}, prints=("^UP$",)),

    "kms-provider-failure.md: First command": Runs(prints=("^overall +PASS",)),
    "kms-provider-failure.md: Access denied": Runs(KEY),
    "kms-provider-failure.md: Access denied #2": Runs(
        KEY | ROLE, prints=[rf"kms:{action}\s+allowed" for action in (
            "GenerateDataKey", "Encrypt", "Decrypt", "DescribeKey")]),
    "kms-provider-failure.md: Access denied #3": Runs(prints=('"Action": "kms:',)),
    "kms-provider-failure.md: Credentials": Runs(prints=("^arn:aws:iam::",)),
    "kms-provider-failure.md: Key disabled or pending deletion": Runs(
        before="aws kms schedule-key-deletion --key-id {key} --pending-window-in-days 7",
        prints=(r"^PendingDeletion\s+\S+",)),
    "kms-provider-failure.md: Key disabled or pending deletion #2": Runs(prints=("{key}",)),
    "kms-provider-failure.md: Key disabled or pending deletion #3": Runs(
        before="aws kms disable-key --key-id {key}"),
    "kms-provider-failure.md: Key disabled or pending deletion #4": Runs(),
    "kms-provider-failure.md: Configuration": Runs(
        prints=("^betrace.kms.provider=aws", "^aws.kms.region=us-east-1")),
    "kms-provider-failure.md: Configuration #2": Runs(prints=("^{key}$", "aws .*{key}")),
    "kms-provider-failure.md: Network": Runs(ENDPOINT, prints=(r"^\d{3} connect [\d.]+s tls",)),
    "kms-provider-failure.md: Network #2": Runs(
        before="aws ec2 create-vpc-endpoint --vpc-id vpc-1 --vpc-endpoint-type Interface"
               " --service-name com.amazonaws.us-east-1.kms --subnet-ids subnet-1",
        prints=(r"^vpce-\w+\s+available",)),
    "kms-provider-failure.md: Throttling": Runs(
        prints=(r'^kms_operation_seconds_count\{provider="aws",operation="generate_data_key"\} ',)),
    "kms-provider-failure.md: Throttling #2": Loads(),
    "kms-provider-failure.md: Which errors": Runs(
        before=OUTAGE,
        prints=("no errors|kms_errors_total", "^KmsException: as in an outage")),
    "kms-provider-failure.md: Which errors #2": Runs(prints=('"status":"success"',)),
    "kms-provider-failure.md: It is over when": Runs(before=HEALTHY, prints=("^UP",)),
    "kms-provider-failure.md: It is over when #2": Runs(
        before=HEALTHY, prints=("kms-signing-key +CLOSED",)),
    "kms-provider-failure.md: Afterwards": Loads(),

    "key-rotation-failure.md: First command": Runs(prints=("acme", "1 key")),
    "key-rotation-failure.md: The scheduler": Runs(
        prints=('"enabled": true', '"cron": "0 0 2 ', '"nextExecution": "2')),
    "key-rotation-failure.md: The scheduler #2": Runs(
        before="betrace-kms rotate --all", prints=("KeyRotationScheduler.*Key rotation complete",)),
    "key-rotation-failure.md: The last run": Runs(
        prints=('"status": "COMPLETE"', '"rotated": 1', r'"failures": \[\]')),
    "key-rotation-failure.md: Rotate now": Runs(prints=("^complete: 0 of 0 tenants",)),
    "key-rotation-failure.md: Rotate now #2": Runs(),
    "key-rotation-failure.md: One tenant": Runs(prints=("signing", "encryption")),
    "key-rotation-failure.md: Settings": Runs(prints=("kms.rotation.max-age-days=90",)),
    "key-rotation-failure.md: Settings #2": Loads(),
    "key-rotation-failure.md: It is over when": Runs(
        prints=("^0 keys are due", "^The oldest active key is 0 days old$")),
    "key-rotation-failure.md: Afterwards": Runs(prints=("^rotation,.*acme",)),

    "kms-cache-hit-rate-low.md: First command": Runs(
        prints=(r'kms_cache_miss_total\{key_type="signing"\}',
                r'cache_evictions_total\{cache="privateKeys",cause="size"\}')),
    "kms-cache-hit-rate-low.md: The rate": Runs(prints=(r"^Cache hit rate: [\d.]+%$",)),
    "kms-cache-hit-rate-low.md: A larger cache": Loads(),
    "kms-cache-hit-rate-low.md: Longer times": Loads(),
    "kms-cache-hit-rate-low.md: Longer times #2": Runs(prints=('"privateKeyTTL": "PT1H"',)),
    "kms-cache-hit-rate-low.md: Warming": Loads(),
    "kms-cache-hit-rate-low.md: Warming #2": Runs(prints=(r"KMS cache warmed \(\d+ tenants\)",)),
    "kms-cache-hit-rate-low.md: Who": Runs(prints=('"level":"DEBUG"',)),
    "kms-cache-hit-rate-low.md: Who #2": Runs(
        before=A_MISS, prints=(r"^ +\d+ acme$",)),
    "kms-cache-hit-rate-low.md: Who #3": Runs(prints=('"level":"INFO"',)),
    "kms-cache-hit-rate-low.md: Who #4": Runs(prints=('"maxRequestsPerMinute":600',)),

    "kms-high-latency.md: First command": Runs(prints=(r"^generate_data_key +PASS \([\d.]+ ms\)",)),
    "kms-high-latency.md: The way": Runs(prints=("^aws.kms.region=us-east-1",)),
    "kms-high-latency.md: The way #2": Runs(prints=("us-east-1",)),
    "kms-high-latency.md: The way #3": Runs(ENDPOINT, prints=("^resolve .* first byte [0-9.]+s",)),
    "kms-high-latency.md: The way #4": Runs(prints=("real",)),
    "kms-high-latency.md: VPC endpoint": Runs(prints=('"VpcEndpointType": "Interface"',)),
    "kms-high-latency.md: Retries": Runs(
        before=OUTAGE, prints=("^KmsException: as in an outage",)),
    "kms-high-latency.md: The machine": Runs(
        prints=("load average", "^process_cpu_seconds_total ", "^process_open_fds ")),
    "kms-high-latency.md: The machine #2": Runs(prints=(r'bucket\{le="0.1"\}',)),
    "kms-high-latency.md: It is over when": Runs(prints=('"generate_data_key": ',)),

    "kms-circuit-breaker-open.md: First command": Runs(prints=("^status +HEALTHY",)),
    "kms-circuit-breaker-open.md: Which calls": Runs(
        prints=(r'^circuit_breaker_state\{name="kms-signing-key"\} 0$',)),
    "kms-circuit-breaker-open.md: Which calls #2": Runs(
        before=OUTAGE, prints=("^KmsException: as in an outage",)),
    "kms-circuit-breaker-open.md: Let it probe": Runs(prints=('"cache_hit":',)),
    "kms-circuit-breaker-open.md: It is over when": Runs(prints=("kms-signing-key +CLOSED",)),
    "kms-circuit-breaker-open.md: It is over when #2": Runs(
        endless=True, prints=(r'kms-signing-key"\} 0',)),

    "kms-cost-optimization.md: First command": Runs(
        prints=(r"^\d{3,} calls an hour, \d+\.\d\d USD a month$",)),
    "kms-cost-optimization.md: Which calls": Runs(prints=('operation="decrypt"',)),
    "kms-cost-optimization.md: Who else": Runs(KEY, prints=('"Label": "SuccessfulRequest"',)),
    "kms-cost-optimization.md: Who else #2": Runs(environment=MOTO, prints=('"ResultsByTime"',)),
    "kms-cost-optimization.md: Longer times": Loads(),
    "kms-cost-optimization.md: It is over when": Runs(
        {"sleep 60": "sleep 0"}, prints=(r"^\d+ misses an hour$",)),
}
BLOCKS = [block for page in PAGES for block in blocks(page)]


def test_every_block_has_its_row():
    assert len(BLOCKS) > 60
    assert not table_faults(BLOCKS, TABLE)
    assert {block.language for block in BLOCKS} == {"bash", "properties"}


def test_a_block_without_a_row_and_a_row_without_a_block_are_noticed():
    place = BLOCKS[0].place
    fewer = {at: row for at, row in TABLE.items() if at != place}
    assert f"{place!r}" in table_faults(BLOCKS, fewer)[0]
    assert table_faults(BLOCKS[1:], TABLE) == [f"no block for the row {place!r}"]
    assert table_faults(BLOCKS, TABLE | {place: Runs({"not there": ""})})
    assert table_faults(BLOCKS, TABLE | {place: CannotRun("")})


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_it_does_what_the_page_says(block, reader):
    row = TABLE[block.place]
    if not isinstance(row, CannotRun):
        reader.read(block, row)


# --- what else the pages promise ------------------------------------------------------------------

@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs/KMS_TROUBLESHOOTING.md"],
                         ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(other), f"{page}: {target}"


def test_each_alert_names_a_page_that_names_it():
    alerts = re.findall(r"- alert: (\w+)$.*?runbook_url: (\S+)$",
                        (MONITORING / "alerts.yaml").read_text(), re.MULTILINE | re.DOTALL)
    assert len(alerts) == 7
    for alert, page in alerts:
        assert f"Alert `{alert}`" in (ROOT / page).read_text()
        assert f"`{alert}`" in (FOLDER / "README.md").read_text()


def denied(action):
    return (f"User: arn:aws:iam::123456789012:role/betrace-backend-role is not authorized to"
            f" perform: {action} because no identity-based policy allows the {action} action")


FAULTS = {
    "is not authorized to perform": {"type": "AccessDeniedException",
                                     "message": denied("kms:Decrypt")},
    "security token included in the request": {
        "type": "ExpiredTokenException", "status": 403,
        "message": "The security token included in the request is expired"},
    "does not exist": {"type": "NotFoundException", "message": "Key 'x' does not exist"},
    "Rate exceeded": {"type": "ThrottlingException", "message": "Rate exceeded"},
    "is in state Disabled": "Disabled",
    "is in state PendingDeletion": "PendingDeletion",
    "timed out": {"kind": "hang"},
    "Failed to connect": None,
    "overall PASS": {},
}


def test_validate_prints_what_the_decision_table_reads(aws_daemon, fake_kms):
    page = (FOLDER / "kms-provider-failure.md").read_text()
    table = re.search(r"## Decide\n\n(.*?)\n\n##", page, re.DOTALL)[1]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) == sorted(
        FAULTS, key=table.index)
    daemon = aws_daemon({"kms.timeout-ms": 300})
    for printed, fault in FAULTS.items():
        if isinstance(fault, str):
            fake_kms.control(states={fake_kms.key_id: fault})
        elif fault is None:
            fake_kms.die()
        elif fault:
            fake_kms.faults({"kind": "error", "status": 400} | fault)
        done = daemon.cli("validate")
        assert done.returncode == (0 if printed == "overall PASS" else 1), printed
        assert printed in re.sub(" +", " ", done.stdout), done.stdout
        if not fake_kms.running:
            fake_kms.start()
        fake_kms.control(faults=[], states={fake_kms.key_id: "Enabled"})


def test_letting_it_probe_closes_a_half_open_breaker(tripped_daemon, fake_kms):
    fake_kms.faults()
    tripped_daemon.wait_breaker(2)
    page = "kms-circuit-breaker-open.md"
    first, probe = (next(block for block in BLOCKS if block.place == f"{page}: {heading}")
                    for heading in ("First command", "Let it probe"))
    reader = Reader(tripped_daemon, program())
    assert "kms-signing-key HALF_OPEN" in re.sub(" +", " ", reader.read(first, Runs()))
    reader.read(probe, Runs(prints=('"cache_hit":false',)))
    assert tripped_daemon.breaker() == 0
