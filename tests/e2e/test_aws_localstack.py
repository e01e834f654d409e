"""LocalStack, as the manual's FAQ says it: key states, contexts, aliases; health, validation and
messages follow."""

import uuid

import pytest

from harness.aws import aws_environment, aws_properties
from harness.daemon import b64, problem
from harness.store import Store


@pytest.fixture
def kms(localstack):
    return localstack.client("kms")


@pytest.fixture
def key(kms):
    return kms.create_key()["KeyMetadata"]["Arn"]


@pytest.fixture
def serve(daemons, localstack):
    def make(key, properties=None, **options):
        return daemons(aws_properties(localstack, key) | (properties or {}),
                       environment=aws_environment(), **options)
    return make


def sign_cold(daemon, tenant):
    """After a restart, so that the key has to come from the provider."""
    daemon.restart()
    return daemon.post(f"/api/tenants/{tenant}/sign", {"payload": b64("x")})


def test_the_manuals_settings_work(serve, key):
    daemon = serve(key)
    assert daemon.log_lines(f"Using AWS KMS - region: us-east-1, key: {key}")
    assert daemon.validate()["overall"] == "PASS"
    daemon.create("acme")
    sealed = daemon.encrypt("acme", b"x", {"a": "b"})
    daemon.restart()
    assert daemon.decrypt("acme", sealed, {"a": "b"}) == b"x"


def test_a_bare_key_id_works(serve, key):
    daemon = serve(key.rsplit("/", 1)[1])
    assert daemon.validate()["overall"] == "PASS"
    daemon.create("acme")
    assert Store(daemon).wrapping("acme")[1] == key


def test_a_disabled_key_is_reported_everywhere_and_enabling_it_heals(serve, kms, key):
    daemon = serve(key, {"kms.cache.warm-tenants": 0})
    daemon.create("acme")
    daemon.restart()
    daemon.sign("acme", b"cold")
    daemon.wait_health("UP")
    kms.disable_key(KeyId=key)
    sentence = f"{key} is disabled."

    report = daemon.validate()
    assert report["overall"] == "FAIL"
    assert report["tests"]["generate_data_key"] == f"FAIL: {sentence}"
    assert report["tests"]["decrypt"].startswith("FAIL: ")
    check = daemon.wait_health("DOWN")
    assert check["data"]["provider"] == "aws" and "isabled" in check["data"]["error"]
    assert check["data"]["error_type"] and "#issue-2-" in check["data"]["help_url"]
    assert daemon.health("group/serving")[0] == 200
    assert daemon.sign("acme", b"warm")["version"] == 1
    status = daemon.status()
    assert status["status"] == "DOWN" and any("isabled" in each for each in status["issues"])
    assert problem(sign_cold(daemon, "acme"), 503, "kms_key_disabled").startswith(sentence)
    assert daemon.log_lines(f"KmsException: {sentence}")

    kms.enable_key(KeyId=key)
    daemon.wait_health("UP")
    assert daemon.validate()["overall"] == "PASS"
    assert daemon.sign("acme", b"x")["version"] == 1


def test_a_key_pending_deletion_is_reported_until_cancelled_and_enabled(serve, kms, key):
    daemon = serve(key, {"kms.cache.warm-tenants": 0})
    daemon.create("acme")
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    detail = problem(sign_cold(daemon, "acme"), 503, "kms_key_disabled")
    assert detail.startswith(f"{key} is pending deletion.")
    assert "pending deletion" in daemon.validate()["tests"]["generate_data_key"]
    daemon.wait_health("DOWN")
    kms.cancel_key_deletion(KeyId=key)  # leaves it disabled
    assert "is disabled" in daemon.validate()["tests"]["generate_data_key"]
    kms.enable_key(KeyId=key)
    daemon.wait_health("UP")
    assert daemon.sign("acme", b"x")["version"] == 1


def test_a_moved_alias_loses_nothing(serve, kms, key):
    other = kms.create_key()["KeyMetadata"]
    alias = f"alias/betrace-{uuid.uuid4()}"
    kms.create_alias(AliasName=alias, TargetKeyId=key.rsplit("/", 1)[1])
    daemon = serve(alias, {"kms.cache.warm-tenants": 0})
    daemon.create("before")
    sealed = daemon.encrypt("before", b"kept")
    old = daemon.sign("before", b"x")
    assert Store(daemon).wrapping("before")[1] == key
    kms.update_alias(AliasName=alias, TargetKeyId=other["KeyId"])
    daemon.restart()
    daemon.create("after")
    assert Store(daemon).wrapping("after")[1] == other["Arn"]
    assert daemon.sign("before", b"x") == old
    assert daemon.decrypt("before", sealed) == b"kept"
    daemon.ok("POST", "/api/tenants/before/rotate")
    assert Store(daemon).wrapping("before", version=2)[1] == other["Arn"]
    daemon.restart()
    assert daemon.decrypt("before", sealed) == b"kept"
    assert daemon.verifies("before", b"x", old["signature"])["valid"]


def test_an_alias_that_names_nothing_is_said_in_awss_words(serve):
    daemon = serve("alias/nothing-here")
    detail = problem(daemon.put("/api/tenants/acme"), 503, "kms_key_disabled")
    assert "Unable to find KMS alias with name alias/nothing-here" in detail
    assert "alias/nothing-here" in daemon.wait_health("DOWN")["data"]["error"]


def test_a_wrapping_moved_to_another_tenant_or_type_does_not_open(serve, key):
    daemon = serve(key, {"kms.cache.warm-tenants": 0})
    for tenant in ("acme", "umbrella", "plain"):
        daemon.create(tenant)
    store = Store(daemon)
    daemon.stop()
    for source, source_type in (("umbrella", "signing"), ("acme", "encryption")):
        blob = store.wrapping(source, source_type)[2]
        store.query("UPDATE wrappings SET blob = ? WHERE key_id = (SELECT id FROM keys"
                    " WHERE tenant = 'acme' AND type = 'signing')", blob)
        daemon.start()
        answer = daemon.post("/api/tenants/acme/sign", {"payload": b64("x")})
        assert answer.status_code in (400, 500), answer.text
        assert answer.json()["code"] in ("corrupt", "invalid_ciphertext")
        assert ("The encryption context provided does not match the encryption context used to "
                "generate the data key") in answer.json()["detail"]
        assert daemon.breaker() == 0
        assert daemon.sign("plain", b"x")["version"] == 1
        daemon.stop()


def test_a_store_wrapped_by_another_master_key_is_said_to_be(serve, kms, key):
    daemon = serve(key, {"kms.cache.warm-tenants": 0})
    daemon.create("acme")
    stranger = kms.create_key()["KeyMetadata"]
    daemon.stop()
    Store(daemon).query("UPDATE wrappings SET master_key_id = ?", stranger["Arn"])
    daemon.start()
    answer = daemon.post("/api/tenants/acme/sign", {"payload": b64("x")})
    problem(answer, 503, "wrapped_elsewhere")
    assert daemon.breaker() == 0


def test_the_region_of_an_arn_that_is_not_ours_warns(serve, key):
    daemon = serve(key.replace("us-east-1", "eu-west-1"))
    assert [line for line in daemon.log_lines("WARN") if "eu-west-1" in line
            and "us-east-1" in line and "aws.kms.region" in line]
