"""AWS as it checks its callers: signatures, IAM policies, session tokens, roles, clocks. And boto3,
which is not our code, opens what we store."""

import pathlib

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.aws import FOUR, Account, aws_environment, aws_properties
from harness.daemon import b64, problem, unb64
from harness.store import Store
from harness.waiting import until

FAKETIME = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@pytest.fixture
def account(ministack):
    return Account(ministack)


@pytest.fixture
def serve(daemons, ministack, account):
    def make(credentials, properties=None, **options):
        return daemons(aws_properties(ministack, account.key) | (properties or {}),
                       environment=aws_environment(**credentials), **options)
    return make


def test_without_generate_data_key_validation_fails_with_awss_own_sentence(serve, account):
    name, credentials = account.user(["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"])
    daemon = serve(credentials)
    report = daemon.validate()
    sentence = (f"User: arn:aws:iam::000000000000:user/{name} is not authorized to perform: "
                "kms:GenerateDataKey because no identity-based policy allows the "
                "kms:GenerateDataKey action")
    assert report["overall"] == "FAIL"
    assert report["tests"]["generate_data_key"] == f"FAIL: {sentence}"
    assert [report["tests"][test] for test in ("encrypt", "decrypt", "describe_key")] == [
        "PASS"] * 3
    assert any("kms:GenerateDataKey" in words for words in report["recommendations"])

    answer = daemon.put("/api/tenants/acme")
    assert problem(answer, 503, "kms_access_denied").startswith(sentence)
    assert daemon.log_lines(f"KmsException: {sentence}")
    check = daemon.wait_health("DOWN")
    assert sentence in check["data"]["error"]

    account.allow(name, FOUR)
    assert daemon.validate()["overall"] == "PASS"
    daemon.create("acme")


@pytest.mark.parametrize("missing", FOUR)
def test_each_missing_permission_is_named(serve, account, missing):
    _, credentials = account.user([action for action in FOUR if action != missing])
    daemon = serve(credentials)
    report = daemon.validate()
    assert report["overall"] == "FAIL"
    failed = {test for test, words in report["tests"].items()
              if f"is not authorized to perform: {missing} " in words}
    expected = {"kms:GenerateDataKey": "generate_data_key", "kms:Encrypt": "encrypt",
                "kms:Decrypt": "decrypt", "kms:DescribeKey": "describe_key"}[missing]
    assert expected in failed


def test_with_the_four_permissions_validation_passes_and_leaves_nothing_behind(serve, account):
    _, credentials = account.user(FOUR)
    daemon = serve(credentials)
    assert daemon.validate()["overall"] == "PASS"
    assert daemon.ok("GET", "/api/tenants")["tenants"] == []
    assert Store(daemon).query("SELECT count(*) FROM tenants") == [(0,)]


def test_boto3_opens_a_stored_key_and_gets_the_seed_of_the_published_key(serve, account):
    _, credentials = account.user(FOUR)
    daemon = serve(credentials)
    daemon.create("acme")
    provider, master_key_id, blob = Store(daemon).wrapping("acme")
    assert (provider, master_key_id) == ("aws", account.key)
    context = {"tenantId": "acme", "keyType": "signing"}
    seed = account.kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"]
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    assert public.public_bytes_raw() == unb64(daemon.public_keys("acme")[0]["publicKey"])[12:]
    public.verify(unb64(daemon.sign("acme", b"evidence")["signature"]), b"evidence")
    for wrong in ({"tenantId": "acme", "keyType": "encryption"}, {"tenantId": "acme"}, {}):
        with pytest.raises(ClientError, match="InvalidCiphertext"):
            account.kms.decrypt(CiphertextBlob=blob, EncryptionContext=wrong)


def test_session_tokens_are_sent(serve, account, ministack):
    name, credentials = account.user(FOUR)
    role = account.role(name, FOUR)
    assumed = ministack.client("sts", **credentials).assume_role(
        RoleArn=role, RoleSessionName="betrace")["Credentials"]
    session = {"key": assumed["AccessKeyId"], "secret": assumed["SecretAccessKey"]}
    daemon = serve(session | {"token": assumed["SessionToken"]}, name="with-token")
    assert daemon.validate()["overall"] == "PASS"
    without = serve(session, name="without-token")
    answer = without.put("/api/tenants/acme")
    assert "security token" in problem(answer, 503, "kms_access_denied")


def test_a_profile_assumes_its_role(daemons, ministack, account):
    name, credentials = account.user([])
    role = account.role(name, FOUR)
    daemon = daemons(aws_properties(ministack, account.key), start=False)
    aws = daemon.folder / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text(
        f"[base]\naws_access_key_id = {credentials['key']}\n"
        f"aws_secret_access_key = {credentials['secret']}\n")
    (aws / "config").write_text(
        f"[profile kms]\nrole_arn = {role}\nsource_profile = base\nregion = us-east-1\n")
    daemon.more_environment = {"AWS_PROFILE": "kms", "AWS_ENDPOINT_URL_STS": ministack.url}
    daemon.start()
    assert daemon.validate()["overall"] == "PASS"
    daemon.create("acme")
    assert daemon.verifies("acme", b"x", daemon.sign("acme", b"x")["signature"])["valid"]


def test_static_keys_of_a_profile_file_are_found(daemons, ministack, account):
    _, credentials = account.user(FOUR)
    daemon = daemons(aws_properties(ministack, account.key), start=False)
    path = daemon.folder / "my-credentials"
    path.write_text(f"[default]\naws_access_key_id={credentials['key']}\n"
                    f"aws_secret_access_key={credentials['secret']}\n")
    daemon.more_environment = {"AWS_SHARED_CREDENTIALS_FILE": str(path)}
    daemon.start()
    assert daemon.validate()["overall"] == "PASS"


def test_a_wrong_secret_is_said_in_awss_words_and_not_retried(serve, account):
    _, credentials = account.user(FOUR)
    daemon = serve(credentials | {"secret": "not-the-secret"})
    before = daemon.metrics()
    detail = problem(daemon.put("/api/tenants/acme"), 503, "kms_access_denied")
    assert "The request signature we calculated does not match the signature you provided" in detail
    assert "not-the-secret" not in detail
    count = 'kms_errors_total{operation="generate_data_key",error="kms_access_denied"}'
    assert daemon.metric(count) == before.get(count, 0) + 1
    assert daemon.validate()["overall"] == "FAIL"


def test_no_credentials_at_all_say_where_they_were_looked_for(daemons, ministack, account):
    daemon = daemons(aws_properties(ministack, account.key))
    detail = problem(daemon.put("/api/tenants/acme"), 503, "kms_access_denied")
    assert "AWS_ACCESS_KEY_ID" in detail
    assert daemon.wait_health("DOWN")["data"]["provider"] == "aws"


@pytest.mark.parametrize("offset", ["-20m", "+20m"])
def test_a_clock_that_is_off_is_said_to_be(serve, account, offset):
    _, credentials = account.user(FOUR)
    daemon = serve(credentials, start=False)
    assert FAKETIME.exists(), f"{FAKETIME} is missing: run tools/install-test-deps"
    daemon.more_environment |= {"LD_PRELOAD": FAKETIME, "FAKETIME": offset,
                                "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    daemon.start()
    detail = problem(daemon.put("/api/tenants/acme"), 503, "kms_access_denied")
    assert "Signature" in detail and "clock" in detail
    assert daemon.health("live")[0] == 200


def test_a_disabled_key_is_down_and_comes_back_enabled(serve, account):
    _, credentials = account.user(FOUR)
    daemon = serve(credentials)
    daemon.wait_health("UP")
    account.kms.disable_key(KeyId=account.key)
    try:
        detail = problem(daemon.put("/api/tenants/acme"), 503, "kms_key_disabled")
        assert detail.startswith(f"{account.key} is disabled.")
        daemon.wait_health("DOWN")
    finally:
        account.kms.enable_key(KeyId=account.key)
    daemon.create("acme")
    daemon.wait_health("UP")


def test_rights_on_another_key_do_not_help(serve, account):
    name, credentials = account.user(FOUR)
    other = account.kms.create_key()["KeyMetadata"]["Arn"]
    account.allow(name, FOUR, other)
    daemon = serve(credentials)
    problem(daemon.put("/api/tenants/acme"), 503, "kms_access_denied")
    account.allow(name, FOUR)
    until(lambda: daemon.put("/api/tenants/acme").status_code in (200, 201), 5, "a tenant")
    assert daemon.post("/api/tenants/acme/sign", {"payload": b64("x")}).status_code == 200
