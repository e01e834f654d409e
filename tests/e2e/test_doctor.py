"""Doctor: each of the manual's ten issues is made to happen, and is its first finding; a healthy
service has none. And what it advises is done, word by word, and helps."""

import json
import re
import shlex
import threading

import pytest

from harness.aws import aws_environment, aws_properties
from harness.store import Store
from harness.waiting import until
from harness.wire import at_once
from test_aws_ministack import FAKETIME, FOUR, Account

FIELDS = {"id", "severity", "title", "evidence", "cause", "remedy", "manual"}
DAY_MS = 24 * 3600 * 1000


def checked(report):
    """The findings of a report in the contract's shape, worst first."""
    assert set(report) == {"healthy", "findings"}, report
    findings = report["findings"]
    for each in findings:
        assert set(each) == FIELDS, each
        assert all(isinstance(each[name], str) and each[name] for name in FIELDS - {"remedy"}), each
        assert each["remedy"] and all(isinstance(line, str) for line in each["remedy"]), each
    order = [["critical", "warning", "info"].index(each["severity"]) for each in findings]
    assert order == sorted(order)
    assert report["healthy"] == (not order or min(order) == 2)
    assert len({each["id"] for each in findings}) == len(findings)
    return findings


def route(daemon):
    return checked(daemon.ok("GET", "/api/admin/kms/doctor", token=None))


def command(daemon, *words, code=None):
    ended = daemon.cli("doctor", "--json", *words)
    findings = checked(json.loads(ended.stdout))
    ill = any(each["severity"] != "info" for each in findings)
    assert ended.returncode == (code if code is not None else 1 if ill else 0), ended
    return findings


def first(findings, name, others=()):
    """The first finding is of that name, and nothing else is critical."""
    assert findings and findings[0]["id"] == name, findings
    assert all(each["severity"] != "critical" for each in findings[1:]), findings
    assert {each["id"] for each in findings[1:]} <= set(others), findings
    return findings[0]


def route_finds(daemon, name, seconds=25, others=()):
    """The running service says so once its probe has seen it."""
    return first(until(lambda: (f := route(daemon)) and f[0]["id"] == name and f, seconds,
                       f"{name} on the route"), name, others)


def run_remedy(client, commands):
    """Does what the `aws kms` commands among them say; answers how many there were."""
    done = 0
    for line in commands:
        words = shlex.split(line)
        if words[:2] != ["aws", "kms"]:
            continue
        key = words[words.index("--key-id") + 1]
        getattr(client, words[2].replace("-", "_"))(KeyId=key)
        done += 1
    return done


# --- healthy --------------------------------------------------------------------------------------


def test_a_healthy_service_under_aws_has_no_findings_in_fifty_runs(aws_daemon):
    daemon = aws_daemon()
    for i in range(5):
        daemon.create(f"t{i}")
        for _ in range(40):
            daemon.sign(f"t{i}", b"x")
    daemon.wait_health("UP")
    for run in range(50):
        assert route(daemon) == [], run
        assert command(daemon) == [], run
    text = daemon.cli("doctor")
    assert text.returncode == 0 and "healthy: nothing found" in text.stdout
    assert "resolve" in text.stdout and "first byte" in text.stdout


def test_a_fresh_service_has_no_findings(aws_daemon):
    daemon = aws_daemon()
    daemon.wait_health("UP")
    assert route(daemon) == [] and command(daemon) == []


# --- Issue 1 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", FOUR)
def test_a_missing_permission_is_named_and_the_remedy_grants_it(daemons, ministack, missing):
    account = Account(ministack)
    name, credentials = account.user([action for action in FOUR if action != missing])
    daemon = daemons(aws_properties(ministack, account.key),
                     environment=aws_environment(**credentials))
    it = first(command(daemon), "iam-denied")
    assert it["manual"] == "Issue 1" and it["severity"] == "critical"
    assert f"user/{name} is not authorized to perform: {missing} " in it["evidence"]
    assert it["title"] == f"Access denied: {missing}", "and no other"
    assert missing in route_finds(daemon, "iam-denied")["title"]

    (line,) = [line for line in it["remedy"] if line.startswith("aws iam put-user-policy")]
    words = shlex.split(line)
    option = {words[i]: words[i + 1] for i in range(3, len(words) - 1, 2)}
    account.iam.put_user_policy(UserName=option["--user-name"], PolicyName=option["--policy-name"],
                                PolicyDocument=option["--policy-document"])
    until(lambda: route(daemon) == [], 25, "the route to be content")
    assert command(daemon) == []


def test_without_any_permission_all_four_are_named(daemons, ministack):
    account = Account(ministack)
    _, credentials = account.user(["kms:ListKeys"])
    daemon = daemons(aws_properties(ministack, account.key),
                     environment=aws_environment(**credentials))
    it = first(command(daemon), "iam-denied")
    for action in FOUR:
        assert f"is not authorized to perform: {action} " in it["evidence"]


# --- Issue 2 --------------------------------------------------------------------------------------


@pytest.fixture
def kms(localstack):
    return localstack.client("kms")


def on_localstack(daemons, localstack, key):
    return daemons(aws_properties(localstack, key), environment=aws_environment())


def test_a_disabled_key_is_found_and_enabled(daemons, localstack, kms):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    daemon = on_localstack(daemons, localstack, key)
    daemon.create("acme")
    kms.disable_key(KeyId=key)
    it = first(command(daemon), "key-disabled")
    assert it["manual"] == "Issue 2" and f"{key} is disabled." in it["evidence"]
    route_finds(daemon, "key-disabled")
    assert run_remedy(kms, it["remedy"]) == 2  # describe-key, enable-key
    until(lambda: route(daemon) == [], 25, "the route to be content")
    assert command(daemon) == []


def test_a_pending_deletion_is_found_with_its_date_and_cancelled(daemons, localstack, kms):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    daemon = on_localstack(daemons, localstack, key)
    when = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)["DeletionDate"]
    it = first(command(daemon), "key-pending-deletion")
    assert when.strftime("%Y-%m-%dT%H:%M") in it["evidence"], it["evidence"]
    assert [shlex.split(line)[2] for line in it["remedy"][:2]] == ["cancel-key-deletion",
                                                                   "enable-key"]
    assert all(key in line and localstack.url in line for line in it["remedy"][:2])
    route_finds(daemon, "key-pending-deletion")
    run_remedy(kms, it["remedy"])
    until(lambda: route(daemon) == [], 25, "the route to be content")
    assert command(daemon) == []


def test_a_black_hole_is_unreachable_and_holds_up_neither_doctor_health_nor_metrics(
        daemons, fake_kms):
    daemon = daemons(aws_properties(fake_kms, fake_kms.key_arn), environment=aws_environment())
    daemon.create("warm")
    daemon.wait_health("UP")
    fake_kms.faults({"kind": "hang"})
    answers = []
    crowd = threading.Thread(target=lambda: answers.extend(
        at_once(daemon, [("PUT", f"/api/tenants/new-{i}", None) for i in range(64)])))
    crowd.start()
    until(lambda: fake_kms.report()["running"] >= 16, 10, "every provider thread to hang")
    seconds = []
    while crowd.is_alive():
        for path in ("/api/admin/kms/doctor", "/q/health", "/q/metrics"):
            answer = daemon.get(path, token=None)
            assert answer.status_code in (200, 503)
            seconds.append(answer.elapsed.total_seconds())
        crowd.join(0.1)
    # Nobody waited for one of the calls that hang for five seconds.
    assert len(seconds) > 9 and max(seconds) < 2.5
    it = first(command(daemon), "provider-unreachable", {"breaker-open"})
    assert it["manual"] == "Issue 2" and str(fake_kms.port) in it["evidence"]
    assert any(line.startswith(f"curl -v --max-time 5 {fake_kms.url}") for line in it["remedy"])
    route_finds(daemon, "provider-unreachable", others={"breaker-open"})
    fake_kms.faults()


# --- Issue 3 --------------------------------------------------------------------------------------


def test_local_is_a_warning_and_critical_beyond_loopback(daemons):
    daemon = daemons()
    it = first(route(daemon), "local-in-production")
    assert it["severity"] == "warning" and "NOT FOR PRODUCTION" in it["title"]
    assert first(command(daemon), "local-in-production")["severity"] == "warning"
    daemon.stop()
    findings = command(daemon, "-Dquarkus.http.host=192.0.2.1", "--timeout", "1")
    it = first(findings, "local-in-production", {"service-unreachable"})
    assert it["severity"] == "critical" and it["manual"] == "Issue 3"


# --- Issue 4 --------------------------------------------------------------------------------------


def test_a_slow_endpoint_is_slow_and_the_phases_are_shown(aws_daemon, fake_kms):
    daemon = aws_daemon()
    fake_kms.faults({"kind": "delay", "seconds": 0.35})
    it = first(command(daemon), "high-latency")
    assert it["severity"] == "warning" and it["manual"] == "Issue 4"
    for part in ("generate_data_key", "resolve", "connect", "TLS", "first byte"):
        assert part in it["evidence"]
    route_finds(daemon, "high-latency", 60)


# --- Issues 5 and 9 -------------------------------------------------------------------------------


def use_in_turn(daemon, tenants, rounds):
    for _ in range(rounds):
        for i in range(tenants):
            daemon.sign(f"t{i}", b"x")


def create_all(daemon, tenants):
    answers = at_once(daemon, [("PUT", f"/api/tenants/t{i}", None) for i in range(tenants)])
    assert {answer.status for answer in answers} == {201}


def test_a_tiny_cache_has_a_low_hit_rate_and_the_right_size_is_named(aws_daemon):
    daemon = aws_daemon({"kms.cache.max-size": 10})
    create_all(daemon, 15)
    use_in_turn(daemon, 15, 14)
    it = first(route(daemon), "cache-hit-rate-low")
    # One turn begins with what the creation left in the cache.
    assert it["manual"] == "Issue 5"
    assert re.match(r"signing keys: \d hits, 2\d\d misses, [0-4] %, in ", it["evidence"])
    assert "kms.cache.max-size=20 would have given signing keys a hit rate of 9" in it["cause"]
    assert it["remedy"][0] == f"echo kms.cache.max-size=20 >> {daemon.config}"
    assert first(command(daemon), "cache-hit-rate-low") == it


def test_a_miss_storm_is_expensive_and_the_bill_is_named(aws_daemon):
    daemon = aws_daemon({"kms.cache.max-size": 20})
    create_all(daemon, 60)
    while daemon.metric('kms_cache_miss_total{key_type="signing"}') <= 1000:
        answers = at_once(daemon, [("POST", f"/api/tenants/t{i}/sign", {"payload": "eA=="})
                                   for i in range(60)])
        assert {answer.status for answer in answers} == {200}
    it = first(route(daemon), "high-cost", {"cache-hit-rate-low"})
    assert it["manual"] == "Issue 9"
    misses = int(it["evidence"].split()[0])
    calls = misses * 24 * 30
    assert misses > 1000
    assert f"{calls} calls: ${calls / 10_000 * 0.03:.2f}, and $1.00 a master key" in it["evidence"]
    first(command(daemon), "high-cost", {"cache-hit-rate-low"})


# --- Issue 6 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["nonsense", "AWSS"])
def test_an_unsupported_provider_is_a_finding_and_the_remedy_works(daemons, provider):
    daemon = daemons({"betrace.kms.provider": provider}, start=False)
    daemon.config.write_text("".join(f"{k}={v}\n" for k, v in daemon.properties.items()))
    it = first(command(daemon, code=2), "unsupported-provider", {"service-unreachable"})
    assert it["manual"] == "Issue 6" and f"'{provider.lower()}'" in it["evidence"].lower()
    assert it["remedy"][0] == f"echo betrace.kms.provider=aws >> {daemon.config}"


# --- Issue 7 --------------------------------------------------------------------------------------


def test_rotation_that_is_off_and_overdue(aws_daemon):
    daemon = aws_daemon({"kms.rotation.enabled": "false"})
    daemon.create("acme")
    first(route(daemon), "rotation-off")
    first(command(daemon), "rotation-off")
    with Store(daemon).open() as store:
        store.execute("UPDATE keys SET created_at = created_at - ? WHERE tenant = 'acme'",
                      (95 * DAY_MS,))
    daemon.restart()
    it = route_finds(daemon, "rotation-overdue")
    assert it["manual"] == "Issue 7" and it["severity"] == "critical"
    assert "1 of 1 tenants" in it["title"] and "95 days old" in it["evidence"]
    assert "kms.rotation.enabled=false" in it["evidence"]
    it = first(command(daemon), "rotation-overdue")
    assert it["remedy"][-1] == "betrace-kms rotate --all"
    assert daemon.cli(*shlex.split(it["remedy"][-1])[1:]).returncode == 0
    daemon.restart()
    first(until(lambda: (f := route(daemon)) and f[0]["id"] == "rotation-off" and f, 15,
                "nothing to be overdue"), "rotation-off")


# --- Issue 8 --------------------------------------------------------------------------------------


def test_a_callers_other_context_is_found(aws_daemon):
    daemon = aws_daemon()
    daemon.create("acme")
    sealed = daemon.encrypt("acme", b"x", {"tenantId": "abc-123"})
    refused = daemon.post("/api/tenants/acme/decrypt",
                          {"ciphertext": sealed, "context": {"tenant_id": "abc-123"}})
    assert refused.status_code == 400
    it = first(route(daemon), "context-mismatch")
    assert it["manual"] == "Issue 8" and it["severity"] == "warning"
    assert "The encryption context provided does not match the encryption context" in it["evidence"]
    assert any(str(daemon.log_path) in line for line in it["remedy"])
    assert first(command(daemon), "context-mismatch") == it


def test_a_provider_that_opens_nothing_for_its_context_is_found(aws_daemon, fake_kms):
    daemon = aws_daemon()
    daemon.wait_health("UP")
    fake_kms.error("InvalidCiphertextException", actions=["Decrypt"])
    assert first(command(daemon), "context-mismatch")["severity"] == "critical"
    route_finds(daemon, "context-mismatch")


# --- Issue 10 -------------------------------------------------------------------------------------


def test_an_open_breaker_is_found_while_the_provider_is_well(aws_daemon, fake_kms):
    daemon = aws_daemon({"kms.circuit-breaker.delay-ms": 60000, "kms.cache.warm-tenants": 0})
    daemon.create("cold")
    daemon.restart()
    daemon.wait_health("UP")
    fake_kms.error("KMSInternalException", "internal", 500, actions=["Decrypt"], tenant="cold",
                   times=1000)
    for _ in range(4):
        daemon.post("/api/tenants/cold/sign", {"payload": "eA=="})
    daemon.wait_breaker(1)
    it = first(route(daemon), "breaker-open")
    assert it["manual"] == "Issue 10" and it["severity"] == "critical"
    assert "Circuit breaker 'kms-signing-key' is OPEN - blocking all requests" in it["evidence"]
    assert first(command(daemon), "breaker-open") == it


# --- what the manual does not know ----------------------------------------------------------------


def test_a_service_that_is_down_is_a_finding_and_the_provider_is_asked_all_the_same(
        aws_daemon, fake_kms):
    daemon = aws_daemon()
    daemon.stop()
    fake_kms.control(reset=True)
    first(command(daemon), "service-unreachable")
    assert fake_kms.report()["calls"] == {"GenerateDataKey": 1, "Encrypt": 1, "Decrypt": 1,
                                          "DescribeKey": 1}


def test_an_alias_that_was_moved_is_found_and_migration_heals_it(aws_daemon, fake_kms):
    daemon = aws_daemon(key="alias/betrace")
    daemon.create("acme")
    fake_kms.control(aliases={"alias/betrace": fake_kms.other_key_id})
    daemon.restart()
    it = route_finds(daemon, "alias-moved")
    assert fake_kms.key_arn in it["evidence"] and fake_kms.other_key_arn in it["evidence"]
    assert daemon.cli(*shlex.split(it["remedy"][-1])[1:]).returncode == 0
    daemon.restart()
    daemon.wait_health("UP")
    until(lambda: route(daemon) == [], 15, "nothing to be left")


def test_keys_of_the_local_provider_are_counted_until_they_have_moved(daemons, fake_kms):
    daemon = daemons()
    daemon.create("acme")
    daemon.stop()
    daemon.properties |= aws_properties(fake_kms, fake_kms.key_arn)
    daemon.more_environment = aws_environment()
    daemon.start()
    it = route_finds(daemon, "wrapped-elsewhere")
    assert it["title"].startswith("3 keys") and it["severity"] == "warning"
    assert first(command(daemon), "wrapped-elsewhere") == it
    assert daemon.cli("migrate").returncode == 0
    daemon.restart()
    daemon.wait_health("UP")
    until(lambda: route(daemon) == [], 15, "nothing to be left")


def test_a_region_that_is_not_the_keys_and_a_clock_and_files(aws_daemon, fake_kms):
    daemon = aws_daemon({"aws.kms.region": "eu-west-1", "kms.cache.max-sise": 3})
    (daemon.data / "admin-token").chmod(0o644)
    found = {each["id"]: each for each in command(daemon)}
    assert f"echo aws.kms.region=us-east-1 >> {daemon.config}" in found["region-mismatch"]["remedy"]
    assert f"chmod 600 {daemon.data}/admin-token" in found["token-readable"]["remedy"]
    assert "kms.cache.max-sise" in found["unknown-configuration"]["evidence"]
    assert set(found) == {"region-mismatch", "token-readable", "unknown-configuration"}


def test_a_clock_that_is_off_is_blamed_before_the_policy(daemons, ministack):
    account = Account(ministack)
    _, credentials = account.user(FOUR)
    daemon = daemons(aws_properties(ministack, account.key),
                     environment=aws_environment(**credentials))
    daemon.more_environment |= {"LD_PRELOAD": FAKETIME, "FAKETIME": "-20m",
                                "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    it = first(command(daemon), "clock-skew")
    assert it["severity"] == "critical" and "behind the provider's" in it["title"]
    assert "timedatectl set-ntp true" in it["remedy"]
