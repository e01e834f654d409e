"""What a provider can do wrong, one fault at a time: the right class of error, the right number of
tries, the provider's own words, and the circuit breaker as specified."""

import time

import pytest

from harness.aws import aws_properties
from harness.daemon import b64, problem
from harness.waiting import until

DENIED = ("User: arn:aws:iam::123456789012:role/betrace-backend-role is not authorized to perform: "
          "kms:Decrypt on resource: arn:aws:kms:us-east-1:123456789012:key/abcd-1234")
THROTTLED = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
INTERNAL = ("The request was rejected because an internal exception occurred. The request can be "
            "retried.")
EXPIRED = ("Signature expired: 20261123T230000Z is now earlier than 20261123T231000Z "
           "(20261123T231500Z - 5 min.)")


def error(kind, message=None, status=400, **more):
    return {"kind": "error", "type": kind, "message": message, "status": status, **more}


# name: (the fault, our code, tries, words that the detail must hold)
FAULTS = {
    "access denied": (error("AccessDeniedException", DENIED), "kms_access_denied", 1, DENIED),
    "access denied, type in a header": (
        error("AccessDeniedException", DENIED, 403, where="header"), "kms_access_denied", 1, DENIED),
    "access denied as XML": (
        error("AccessDenied", DENIED, 403, where="xml"), "kms_access_denied", 1, DENIED),
    "access denied, prefixed type": (
        error("AccessDeniedException", DENIED, where="prefixed"), "kms_access_denied", 1, DENIED),
    "invalid state": (
        error("KMSInvalidStateException", "arn:aws:kms:x:1:key/k is pending import."),
        "kms_key_disabled", 1, "arn:aws:kms:x:1:key/k is pending import."),
    "no such key": (error("NotFoundException", "Key 'k' does not exist"), "kms_key_disabled", 1,
                    "Key 'k' does not exist"),
    "throttling": (error("ThrottlingException", THROTTLED), "kms_unavailable", 4, THROTTLED),
    "500": (error("KMSInternalException", INTERNAL, 500), "kms_unavailable", 4, INTERNAL),
    "503": (error("ServiceUnavailableException", "Service is unavailable", 503),
            "kms_unavailable", 4, "Service is unavailable"),
    "503 of a proxy": ({"kind": "proxy", "status": 503}, "kms_unavailable", 4, "503"),
    "502 of a proxy": ({"kind": "proxy", "status": 502}, "kms_unavailable", 4, "502"),
    "key unavailable": (error("KeyUnavailableException", "The key store is not connected", 500),
                        "kms_unavailable", 4, "The key store is not connected"),
    "half an answer": ({"kind": "half"}, "kms_unavailable", 4, ""),
    "wrong JSON": ({"kind": "garbage"}, "kms_unavailable", 4, ""),
    "no body": ({"kind": "empty"}, "kms_unavailable", 4, ""),
    "another shape": ({"kind": "wrong_shape"}, "kms_unavailable", 4, ""),
    "clock skew": (error("InvalidSignatureException", EXPIRED, clockOffset=900),
                   "kms_access_denied", 1, EXPIRED),
    "request expired": (error("RequestExpired", EXPIRED, clockOffset=-900),
                        "kms_access_denied", 1, EXPIRED),
}


@pytest.fixture
def cold(aws_daemon):
    """A daemon with these tenants, none of them cached."""
    def make(*tenants, **properties):
        daemon = aws_daemon({"kms.cache.warm-tenants": 0} | properties)
        for tenant in tenants:
            daemon.create(tenant)
        return daemon.restart()
    return make


def sign(daemon, tenant="acme"):
    return daemon.post(f"/api/tenants/{tenant}/sign", {"payload": b64("x")})


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_its_class_its_tries_and_its_words(aws_daemon, fake_kms, name):
    fault, code, tries, words = FAULTS[name]
    daemon = aws_daemon({"kms.cache.warm-tenants": 0})
    daemon.create("acme")
    fake_kms.control(faults=[fault], reset=True)
    daemon.restart()

    check = daemon.wait_health("DOWN", 8)
    assert words in check["data"]["error"]
    assert check["data"]["provider"] == "aws" and check["data"]["error_type"]

    before = daemon.metrics()
    detail = problem(sign(daemon), 503, code)
    assert words in detail
    assert len(fake_kms.tries("acme", "Decrypt")) == tries
    label = f'kms_errors_total{{operation="decrypt",error="{code}"}}'
    assert daemon.metric(label) - before.get(label, 0) == tries
    assert daemon.breaker() == 0
    assert daemon.log_lines("KmsException: ")

    fake_kms.faults()
    assert sign(daemon).status_code == 200
    assert daemon.validate()["overall"] == "PASS"


def test_a_closed_connection_is_tried_again(cold, fake_kms):
    daemon = cold("acme")
    fake_kms.faults({"kind": "close", "actions": ["Decrypt"]})
    problem(sign(daemon), 503, "kms_unavailable")
    # The HTTP client may itself repeat a request on a connection that turns out to be closed.
    assert 4 <= len(fake_kms.tries("acme", "Decrypt")) <= 5
    fake_kms.faults({"kind": "close", "tenant": "acme", "times": 2})
    assert sign(daemon).status_code == 200


@pytest.mark.parametrize("fault", [{"kind": "hang"}, {"kind": "slow_body", "seconds": 20},
                                   {"kind": "delay", "seconds": 20}], ids=lambda f: f["kind"])
def test_a_slow_provider_is_given_the_budget_of_the_operation_and_no_more(cold, fake_kms, fault):
    daemon = cold("acme", **{"kms.timeout-ms": 700})
    fake_kms.control(faults=[fault | {"tenant": "acme"}], reset=True)
    started = time.monotonic()
    detail = problem(sign(daemon), 503, "kms_timeout")
    assert 0.6 <= time.monotonic() - started < 3
    assert "Decrypt" in detail or "decrypt" in detail
    assert len(fake_kms.tries("acme")) == 1
    fake_kms.faults()
    assert sign(daemon).status_code == 200


def test_a_slow_provider_within_the_budget_is_no_failure(cold, fake_kms):
    daemon = cold("acme")
    fake_kms.faults({"kind": "slow_body", "seconds": 0.4, "tenant": "acme"})
    assert sign(daemon).status_code == 200
    assert len(fake_kms.tries("acme", "Decrypt")) == 1


def test_throttling_backs_off_exponentially(cold, fake_kms):
    daemon = cold("acme", **{"kms.retry.delay-ms": 100, "kms.retry.jitter-ms": 0})
    fake_kms.faults(error("ThrottlingException", THROTTLED, tenant="acme"))
    problem(sign(daemon), 503, "kms_unavailable")
    at = [call["at"] for call in fake_kms.tries("acme", "Decrypt")]
    pauses = [later - earlier for earlier, later in zip(at, at[1:])]
    assert len(pauses) == 3
    assert pauses[0] >= 0.09 and pauses[1] >= 1.8 * 0.1 and pauses[2] >= 3.6 * 0.1


@pytest.mark.parametrize("status", [400, 503])
def test_retry_after_is_obeyed(cold, fake_kms, status):
    daemon = cold("acme")
    fake_kms.faults(error("ThrottlingException", THROTTLED, status, tenant="acme", times=1,
                          retryAfter="1"))
    assert sign(daemon).status_code == 200
    first, second = (call["at"] for call in fake_kms.tries("acme", "Decrypt"))
    assert second - first >= 0.95


def test_a_retry_after_beyond_the_budget_is_not_waited_for(cold, fake_kms):
    daemon = cold("acme")
    fake_kms.faults(error("ThrottlingException", THROTTLED, tenant="acme", retryAfter="60"))
    started = time.monotonic()
    answer = sign(daemon)
    assert problem(answer, 503, "kms_unavailable") == THROTTLED
    assert time.monotonic() - started < 2
    assert len(fake_kms.tries("acme", "Decrypt")) == 1
    assert int(answer.headers["retry-after"]) >= 1


def test_two_failures_and_then_success_is_a_success(cold, fake_kms):
    daemon = cold("acme")
    fake_kms.faults(error("KMSInternalException", INTERNAL, 500, tenant="acme", times=2))
    assert sign(daemon).status_code == 200
    assert len(fake_kms.tries("acme", "Decrypt")) == 3


@pytest.mark.parametrize("kind", ["wrong_key", "short_key"])
def test_a_seed_that_is_not_the_published_keys_is_corrupt_and_never_signs(cold, fake_kms, kind):
    daemon = cold("acme", "umbrella")
    fake_kms.faults({"kind": kind, "tenant": "acme"})
    answer = sign(daemon)
    assert answer.status_code in (500, 503) and "signature" not in answer.text
    if kind == "wrong_key":
        problem(answer, 500, "corrupt")
        assert daemon.breaker() == 0
    assert sign(daemon, "umbrella").status_code == 200


@pytest.mark.parametrize("kind", ["short_key"])
def test_a_data_key_of_another_size_is_refused(cold, fake_kms, kind):
    daemon = cold()
    fake_kms.faults({"kind": kind, "tenant": "acme"})
    assert daemon.put("/api/tenants/acme").status_code == 503
    fake_kms.faults()
    daemon.create("acme")


def test_a_disabled_key_answers_its_state_in_health(cold, fake_kms):
    daemon = cold("acme")
    fake_kms.control(states={fake_kms.key_id: "Disabled"})
    daemon.restart()
    check = daemon.wait_health("DOWN", 8)
    assert "isabled" in check["data"]["error"]
    detail = problem(sign(daemon), 503, "kms_key_disabled")
    assert detail == f"{fake_kms.key_arn} is disabled."
    fake_kms.control(states={fake_kms.key_id: "Enabled"})
    daemon.wait_health("UP")


def test_access_denied_opens_the_breaker_without_a_retry(cold, fake_kms):
    tenants = [f"t{i}" for i in range(12)]
    daemon = cold(*tenants)
    for tenant in tenants[:5]:
        assert sign(daemon, tenant).status_code == 200
    fake_kms.control(faults=[error("AccessDeniedException", DENIED)], reset=True)
    for failures in range(1, 6):
        assert daemon.breaker() == 0, failures
        problem(sign(daemon, "t5"), 503, "kms_access_denied")
        assert len(fake_kms.tries("t5")) == failures
    # Ten results, five of them failures.
    assert daemon.breaker() == 1
    assert daemon.breaker("encryption") == 0 and daemon.breaker("public") == 0
    assert sign(daemon, "t0").status_code == 200


def test_five_failures_do_not_open_a_ring_that_is_not_full(cold, fake_kms):
    daemon = cold("acme")
    fake_kms.faults(error("AccessDeniedException", DENIED))
    for _ in range(9):
        problem(sign(daemon), 503, "kms_access_denied")
        assert daemon.breaker() == 0
    problem(sign(daemon), 503, "kms_access_denied")
    assert daemon.breaker() == 1


def open_breaker(daemon, fake_kms, tenant):
    fake_kms.faults(error("AccessDeniedException", DENIED))
    until(lambda: sign(daemon, tenant).json()["code"] == "circuit_open", 10, "an open breaker",
          every=0)


def test_the_breaker_opens_probes_closes_and_reopens_as_specified(cold, fake_kms):
    tenants = [f"t{i}" for i in range(8)]
    daemon = cold(*tenants, **{"kms.circuit-breaker.delay-ms": 1500})
    open_breaker(daemon, fake_kms, "t0")
    assert len(daemon.log_lines(
        "Circuit breaker 'kms-signing-key' is OPEN - blocking all requests")) == 1

    fake_kms.control(reset=True)
    answer = sign(daemon, "t1")
    problem(answer, 503, "circuit_open")
    assert int(answer.headers["retry-after"]) >= 1
    assert fake_kms.tries("t1") == []

    # By a timer, seen in the gauge, though nobody asks.
    daemon.wait_breaker(2, seconds=5)
    problem(sign(daemon, "t1"), 503, "kms_access_denied")
    assert daemon.breaker() == 1
    assert len(fake_kms.tries("t1")) == 1

    fake_kms.faults()
    daemon.wait_breaker(2, seconds=5)
    for tenant, state in (("t1", 2), ("t2", 2), ("t3", 0)):
        assert sign(daemon, tenant).status_code == 200
        assert daemon.breaker() == state
    assert sign(daemon, "t4").status_code == 200


def test_a_probe_that_fails_after_two_successes_reopens(cold, fake_kms):
    daemon = cold("t0", "t1", "t2", "t3")
    open_breaker(daemon, fake_kms, "t0")
    fake_kms.faults()
    daemon.wait_breaker(2)
    assert sign(daemon, "t1").status_code == 200
    assert sign(daemon, "t2").status_code == 200
    fake_kms.faults(error("AccessDeniedException", DENIED))
    problem(sign(daemon, "t3"), 503, "kms_access_denied")
    assert daemon.breaker() == 1


def test_what_is_not_the_providers_fault_opens_nothing(cold, fake_kms):
    daemon = cold("acme")
    fake_kms.faults(error("InvalidCiphertextException"))
    for _ in range(15):
        answer = sign(daemon)
        assert answer.json()["code"] in ("corrupt", "invalid_ciphertext"), answer.text
    assert daemon.breaker() == 0
    fake_kms.faults()
    assert sign(daemon).status_code == 200


def test_validate_and_health_go_round_the_breaker(cold, fake_kms):
    daemon = cold("acme", **{"kms.circuit-breaker.delay-ms": 60000})
    for _ in range(4):
        fake_kms.faults(error("AccessDeniedException", DENIED))
        for _ in range(3):
            assert daemon.validate()["overall"] == "FAIL"
    assert daemon.breaker() == 0 and daemon.breaker("encryption") == 0
    open_breaker(daemon, fake_kms, "acme")
    fake_kms.faults()
    assert daemon.validate()["tests"]["generate_data_key"] == "PASS"
    assert daemon.breaker() == 1


def test_health_probes_buy_no_data_keys(aws_daemon, fake_kms):
    daemon = aws_daemon()
    daemon.wait_health("UP")
    bought = fake_kms.calls("GenerateDataKey")
    for _ in range(200):
        assert daemon.get("/q/health", token=None).status_code == 200
    assert fake_kms.calls("GenerateDataKey") == bought <= 3


def test_the_context_of_every_call_is_tenant_and_key_type(aws_daemon, fake_kms):
    daemon = aws_daemon()
    daemon.create("acme")
    calls = fake_kms.tries("acme", "GenerateDataKey")
    contexts = [call["request"]["EncryptionContext"] for call in calls]
    assert sorted(context["keyType"] for context in contexts) == ["encryption", "signing"]
    assert all(set(context) == {"tenantId", "keyType"} for context in contexts)
    daemon.restart()
    daemon.sign("acme", b"x")
    for call in fake_kms.tries("acme", "Decrypt"):
        assert call["request"]["KeyId"] == fake_kms.key_arn


def test_an_assumed_role_signs_the_calls(daemons, fake_kms):
    daemon = daemons(aws_properties(fake_kms, fake_kms.key_arn), start=False)
    (daemon.folder / ".aws").mkdir()
    (daemon.folder / ".aws/credentials").write_text(
        "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = base-secret\n")
    (daemon.folder / ".aws/config").write_text(
        "[profile kms]\nrole_arn = arn:aws:iam::123456789012:role/kms\nsource_profile = base\n")
    daemon.more_environment = {"AWS_PROFILE": "kms", "AWS_ENDPOINT_URL_STS": fake_kms.url}
    daemon.start()
    daemon.create("acme")
    calls = fake_kms.report()["requests"]
    assert fake_kms.calls("AssumeRole") == 1
    for call in calls:
        if call["action"] == "AssumeRole":
            assert call["scope"].startswith("AKIABASE/") and "/sts/" in call["scope"]
        else:
            assert call["scope"].startswith("ASIAFAKEASSUMED/") and "/kms/" in call["scope"]
            assert call["token"] == "assumed-session-token"
